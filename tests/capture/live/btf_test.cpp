// Offsets from a kernel's type information, made up byte by byte.

#include "capture/btf.h"

#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <string>
#include <vector>

namespace skbscope {
namespace {

class MadeUpBtf {
public:
    std::uint32_t text(const std::string& word)
    {
        const auto at = static_cast<std::uint32_t>(strings_.size());
        strings_ += word + '\0';
        return at;
    }
    struct Member {
        std::string name;
        std::uint32_t type;
        std::uint32_t offset; ///< bits; with bit fields the upper byte is the field's size
    };
    void structure(const std::string& name, std::uint32_t size, const std::vector<Member>& members, bool bit_fields = false,
                   std::uint32_t kind = 4)
    {
        put(name.empty() ? 0 : text(name));
        put((bit_fields ? 1U << 31 : 0U) | kind << 24 | static_cast<std::uint32_t>(members.size()));
        put(size);
        for (const Member& member : members) {
            put(member.name.empty() ? 0 : text(member.name));
            put(member.type);
            put(member.offset);
        }
    }
    void integer(const std::string& name)
    {
        put(text(name));
        put(1U << 24);
        put(4);
        put(32);
    }
    void other(std::uint32_t kind)
    {
        put(0);
        put(kind << 24);
        put(0);
    }
    [[nodiscard]] std::vector<std::uint8_t> bytes() const
    {
        std::vector<std::uint8_t> all;
        const auto add = [&](std::uint32_t number) {
            for (int i = 0; i < 4; ++i) {
                all.push_back(static_cast<std::uint8_t>(number >> 8 * i));
            }
        };
        add(0x0001eb9f);
        add(24);
        add(0);
        add(static_cast<std::uint32_t>(types_.size() * 4));
        add(static_cast<std::uint32_t>(types_.size() * 4));
        add(static_cast<std::uint32_t>(strings_.size()));
        for (const std::uint32_t number : types_) {
            add(number);
        }
        all.insert(all.end(), strings_.begin(), strings_.end());
        return all;
    }

private:
    void put(std::uint32_t number) { types_.push_back(number); }
    std::vector<std::uint32_t> types_;
    std::string strings_ = std::string(1, '\0');
};

MadeUpBtf small_kernel()
{
    MadeUpBtf btf;
    btf.integer("u32");                                              // 1
    btf.structure("", 16, {{"next", 1, 0}, {"dev", 1, 64}}, false, 4); // 2
    btf.structure("", 16, {{"", 2, 0}, {"rbnode", 1, 0}}, false, 5);   // 3: a union
    btf.structure("sk_buff", 48, {{"", 3, 64}, {"len", 1, 192}, {"cloned", 1, 1U << 24 | 225}, {"inner", 5, 256}}, true); // 4
    btf.structure("header", 8, {{"port", 1, 32}});                     // 5
    return btf;
}

TEST(Btf, FindsMembersInsideUnnamedStructuresAndUnions)
{
    const auto bytes = small_kernel().bytes();
    const auto btf = Btf::parse(bytes);
    ASSERT_TRUE(btf) << btf.error().describe();
    EXPECT_EQ(btf->offset_of("sk_buff", "dev"), 16U);
    EXPECT_EQ(btf->offset_of("sk_buff", "len"), 24U);
    EXPECT_EQ(btf->offset_of("sk_buff", "inner.port"), 36U);
    EXPECT_EQ(btf->size_of("sk_buff"), 48U);
}

TEST(Btf, GivesNoOffsetForBitFieldsAndForWhatIsNotThere)
{
    const auto bytes = small_kernel().bytes();
    const auto btf = Btf::parse(bytes);
    ASSERT_TRUE(btf);
    EXPECT_EQ(btf->offset_of("sk_buff", "cloned"), std::nullopt);
    EXPECT_EQ(btf->offset_of("sk_buff", "nothing"), std::nullopt);
    EXPECT_EQ(btf->offset_of("net_device", "name"), std::nullopt);
    EXPECT_EQ(btf->size_of("u32"), std::nullopt);
    EXPECT_FALSE(skb_layout(*btf).has_value());
}

TEST(Btf, OfAKindThatIsNotKnownIsRefused)
{
    MadeUpBtf btf = small_kernel();
    btf.other(31);
    const auto bytes = btf.bytes();
    ASSERT_FALSE(Btf::parse(bytes));
    EXPECT_EQ(Btf::parse(bytes).error().kind, ErrorKind::unsupported);
}

TEST(Btf, CutAnywhereIsRefusedOrReadAsFarAsItGoes)
{
    const auto bytes = small_kernel().bytes();
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const std::vector<std::uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
        if (const auto btf = Btf::parse(cut)) {
            (void)btf->offset_of("sk_buff", "dev");
        }
    }
}

TEST(Btf, OfThisKernelHasWhatTheProbesNeed)
{
    std::ifstream file("/sys/kernel/btf/vmlinux", std::ios::binary);
    const std::vector<char> text{std::istreambuf_iterator<char>(file), {}};
    if (text.empty()) {
        GTEST_SKIP() << "this kernel shows no type information";
    }
    const auto btf = Btf::parse({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    ASSERT_TRUE(btf) << btf.error().describe();
    const auto layout = skb_layout(*btf);
    ASSERT_TRUE(layout.has_value());
    EXPECT_EQ(layout->dev, 16U); // since 4.14 on all 64-bit builds
    EXPECT_LT(layout->data, layout->size);
    EXPECT_EQ(layout->data, layout->head + 8);
}

} // namespace
} // namespace skbscope
