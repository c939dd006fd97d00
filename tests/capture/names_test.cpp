// Names as numbers, fields of records, symbols by address: what an import does millions of times.

#include "capture/event_format.h"
#include "capture/names.h"
#include "capture/symbol_table.h"
#include "core/catalog/catalog.h"

#include <array>
#include <gtest/gtest.h>
#include <map>
#include <numeric>

namespace skbscope {
namespace {

TEST(Names, ALiteralHasTheNumberOfTheSameNameInARecording)
{
    const KnownName name(std::string("dev_hard_") + "start_xmit");
    EXPECT_TRUE(name == "dev_hard_start_xmit");
    EXPECT_FALSE(name == "dev_hard_start");
    EXPECT_TRUE(is_one_of(name, {"napi_poll", "dev_hard_start_xmit"}));
    EXPECT_FALSE(is_one_of(name, {"napi_poll", "__dev_queue_xmit"}));
    EXPECT_FALSE(KnownName() == "") << "nobody's name is not the empty one";
}

TEST(Names, NoTwoFunctionsOfTheCatalogShareANumber)
{
    std::map<std::uint64_t, std::string_view> names;
    for (const auto& function : Catalog::functions()) {
        const auto [at, is_new] = names.emplace(number_of_name(function.name), function.name);
        EXPECT_TRUE(is_new || at->second == function.name) << function.name << " and " << at->second;
    }
    EXPECT_GT(names.size(), 500U);
}

TEST(ShortBytes, AreEqualWhereEachByteIs)
{
    std::array<std::uint8_t, 24> bytes{};
    std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
    for (std::size_t size = 2; size <= 16; ++size) {
        const std::span<const std::uint8_t> all(bytes);
        const ShortBytes known(all.first(size));
        ASSERT_EQ(known.size, size);
        ASSERT_LT(known.place(), 16U);
        EXPECT_EQ(known, ShortBytes(all.first(size)));
        EXPECT_NE(known, ShortBytes(all.first(size + 1)));
        for (std::size_t changed = 0; changed < size; ++changed) {
            auto other = bytes;
            other[changed] ^= 0x80;
            EXPECT_NE(known, ShortBytes(std::span<const std::uint8_t>(other).first(size))) << size << " bytes, number " << changed;
        }
    }
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{17}}) {
        EXPECT_EQ(ShortBytes(std::span<const std::uint8_t>(bytes).first(size)).size, 0U) << size;
    }
}

TEST(EventField, IsReadToTheLastByteOfARecordAndNotBeyond)
{
    const auto format = EventFormat::parse("test", "name: one\nID: 7\n"
                                                   "\tfield:unsigned char a;\toffset:0;\tsize:1;\tsigned:0;\n"
                                                   "\tfield:short b;\toffset:1;\tsize:2;\tsigned:1;\n"
                                                   "\tfield:int c;\toffset:8;\tsize:4;\tsigned:1;\n"
                                                   "\tfield:unsigned int d;\toffset:8;\tsize:4;\tsigned:0;\n"
                                                   "\tfield:long e;\toffset:4;\tsize:8;\tsigned:1;\n"
                                                   "\tfield:char f[3];\toffset:0;\tsize:3;\tsigned:0;\n");
    ASSERT_TRUE(format);
    const std::array<std::uint8_t, 12> record = {0xfe, 0xff, 0xff, 0, 1, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff};
    const auto read = [&](const char* name, std::size_t bytes) { return format->field(name).read(std::span(record).first(bytes)); };
    for (const std::size_t bytes : {std::size_t{3}, std::size_t{12}}) { // with and without bytes behind them
        EXPECT_EQ(read("a", bytes), 0xfeU);
        EXPECT_EQ(read("b", bytes), ~std::uint64_t{0});
    }
    EXPECT_EQ(read("c", 12), ~std::uint64_t{2});
    EXPECT_EQ(read("d", 12), 0xfffffffdU);
    EXPECT_EQ(read("e", 12), 0xfffffffd00000001U);
    EXPECT_EQ(read("c", 11), 0U) << "a byte is missing";
    EXPECT_EQ(read("e", 11), 0U);
    EXPECT_EQ(read("f", 12), 0U) << "three bytes are no number";
    EXPECT_EQ(read("absent", 12), 0U);
}

TEST(SymbolTable, TakesEachKindOfLine)
{
    SymbolTable symbols;
    symbols.parse("ffffffff81000000 T first\n"
                  "ffffffff81000100 D data\n"
                  "ffffffffc0000000 t of_module\t[veth]\n"
                  "81000200 t short_address\n"
                  "0000000000000000 T hidden\n"
                  "x81000300 t no_number\n"
                  "ffffffff81000300 t \n"
                  "\n"
                  "ffffffff81000400 W last");
    EXPECT_EQ(symbols.find(0xffffffff81000004).name, "first");
    EXPECT_EQ(symbols.find(0xffffffff81000104).name, "first") << "data is no function";
    EXPECT_EQ(symbols.find(0xffffffff81000304).name, "first") << "a name is missing";
    EXPECT_EQ(symbols.find(0xffffffff81000404).name, "last");
    EXPECT_EQ(symbols.find(0x81000204).name, "short_address");
    EXPECT_EQ(symbols.find(0xffffffffc0000010).name, "of_module");
    EXPECT_TRUE(symbols.find(0xffffffffc0000010).in_module);
    EXPECT_FALSE(symbols.find(0xffffffff81000404).in_module);
    EXPECT_FALSE(symbols.contains("hidden"));
}

} // namespace
} // namespace skbscope
