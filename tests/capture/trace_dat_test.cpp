#include "capture/trace_dat.h"

#include "capture/import.h"
#include "tests/capture/recordings.h"
#include "tests/capture/trace_dat_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <unistd.h>
#include <zlib.h>

namespace skbscope {
namespace {

using testing::TraceDatBuilder;
using Layout = TraceDatBuilder::Layout;
namespace fs = std::filesystem;

class Scratch {
public:
    Scratch() : path_(fs::temp_directory_path() / fmt::format("skbscope-{}-{}", ::getpid(), next_++)) {}
    ~Scratch()
    {
        std::error_code error;
        fs::remove(path_, error);
    }
    const std::string& write(const std::string& bytes)
    {
        std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
        text_ = path_.string();
        return text_;
    }

private:
    static inline int next_ = 0;
    fs::path path_;
    std::string text_;
};

TraceDatBuilder small_trace()
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
    trace.call("e1000_clean_rx_irq", "e1000_clean").call("__napi_alloc_skb", "e1000_clean_rx_irq");
    trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(0xffff0000aaaa0000, 92).gro_exit(3);
    trace.on(1, TraceDatBuilder::task, 171).call("__x64_sys_recvfrom", "do_syscall_64");
    trace.on(0, TraceDatBuilder::softirq).softirq_exit();
    return trace;
}

std::vector<std::string> functions_of(const TraceDat& file)
{
    std::vector<std::string> names;
    file.for_each([&](const RawRecord& record) {
        const EventFormat* format = file.kernel().format(record.event_id);
        names.push_back(format == nullptr ? "?"
                        : format->name == "function"
                            ? std::string(file.kernel().symbols.find(format->field("ip").read(record.data)).name)
                            : "[" + format->name + "]");
    });
    return names;
}

class EachLayout : public ::testing::TestWithParam<Layout> {};

TEST_P(EachLayout, RecordsComeInTimeOrderWithTheirNames)
{
    Scratch scratch;
    const auto file = TraceDat::open(scratch.write(small_trace().file(GetParam())));
    ASSERT_TRUE(file) << file.error().describe();
    EXPECT_EQ(file->kernel().release, "6.1.0-56-amd64");
    EXPECT_EQ(file->kernel().cpus, 2);
    EXPECT_EQ(file->kernel().task_name(171), "reader");
    EXPECT_THAT(file->damage(), ::testing::IsEmpty());
    EXPECT_THAT(functions_of(*file),
                ::testing::ElementsAre("[softirq_entry]", "net_rx_action", "e1000_clean_rx_irq",
                                       "__napi_alloc_skb", "napi_gro_receive", "[napi_gro_receive_entry]",
                                       "[napi_gro_receive_exit]", "__x64_sys_recvfrom", "[softirq_exit]"));
}

TEST_P(EachLayout, LongPausesKeepTheirTime)
{
    TraceDatBuilder trace;
    trace.on(0, TraceDatBuilder::task, 171).call("a", "b").wait(5'000'000'000).call("c", "b");
    Scratch scratch;
    const auto file = TraceDat::open(scratch.write(trace.file(GetParam())));
    ASSERT_TRUE(file) << file.error().describe();
    std::vector<std::uint64_t> times;
    file->for_each([&](const RawRecord& record) { times.push_back(record.time_ns); });
    EXPECT_THAT(times, ::testing::ElementsAre(1'000'000'100, 6'000'000'200));
}

TEST_P(EachLayout, LostRecordsAreCountedAndMarkTheLivingPackets)
{
    TraceDatBuilder trace = small_trace();
    trace.on(0, TraceDatBuilder::softirq).lost(17).softirq_entry().softirq_exit();
    Scratch scratch;
    const auto imported = import_trace_dat(scratch.write(trace.file(GetParam())));
    ASSERT_TRUE(imported) << imported.error().describe();
    EXPECT_EQ(imported->trace.info.lost_events, 17U);
    ASSERT_EQ(imported->trace.packet_count(), 1U);
    EXPECT_TRUE(imported->trace.packet(PacketId{1}).touched_by_loss);
    EXPECT_EQ(imported->trace.packet(PacketId{1}).length, 106U);
}

TEST_P(EachLayout, ReadAheadOnAThreadOfItsOwnItGivesTheSameTrace)
{
    TraceDatBuilder trace;
    for (std::uint64_t i = 0; i < 3000; ++i) { // more than the batches that are under way at a time
        const std::uint64_t skb = 0xffff0000aaaa0000 + (i % 7) * 0x100;
        trace.on(0, TraceDatBuilder::softirq).softirq_entry().call("net_rx_action", "handle_softirqs");
        trace.call("napi_gro_receive", "e1000_clean_rx_irq").gro_entry(skb, 92).gro_exit(3).received(skb, 92);
        trace.dropped(skb, "__udp4_lib_rcv", 3).softirq_exit();
        trace.on(1, TraceDatBuilder::task, 171).call("__x64_sys_recvfrom", "do_syscall_64");
    }
    Scratch scratch;
    const std::string path = scratch.write(trace.file(GetParam()));
    ImportOptions here;
    here.reads_ahead_from = ~std::uint64_t{0};
    Progress progress;
    ImportOptions ahead;
    ahead.reads_ahead_from = 0;
    ahead.progress = &progress;
    const auto one = import_trace_dat(path, here);
    const auto two = import_trace_dat(path, ahead);
    ASSERT_TRUE(one && two);
    EXPECT_GT(one->trace.packet_count(), 2000U);
    EXPECT_EQ(one->trace.packet_count(), two->trace.packet_count());
    EXPECT_EQ(one->records, two->records);
    EXPECT_EQ(progress.things(), two->records);
    EXPECT_EQ(progress.percent(), 100);
    ASSERT_EQ(one->trace.size(), two->trace.size());
    for (std::size_t i = 0; i < one->trace.size(); ++i) {
        ASSERT_EQ(std::memcmp(&one->trace[i], &two->trace[i], sizeof(Event)), 0) << "event " << i;
    }
}

TEST_P(EachLayout, AnImportThatIsCancelledEndsAndSaysSo)
{
    Scratch scratch;
    const std::string path = scratch.write(small_trace().file(GetParam()));
    for (const std::uint64_t reads_ahead_from : {std::uint64_t{0}, ~std::uint64_t{0}}) {
        Progress progress;
        progress.cancel();
        ImportOptions options;
        options.progress = &progress;
        options.reads_ahead_from = reads_ahead_from;
        const auto imported = import_trace_dat(path, options);
        ASSERT_FALSE(imported);
        EXPECT_EQ(imported.error().kind, ErrorKind::cut);
        EXPECT_NE(imported.error().what.find("stopped"), std::string::npos);
    }
}

TEST(TraceDat, RecordsThatTheIndexGivesToTwoCpusAreReadOnce)
{
    std::string bytes = small_trace().file(Layout::version_6);
    // Behind "flyrecord\0": where each CPU's records lie, and how many bytes.
    const std::size_t index = bytes.find("flyrecord") + 10;
    ASSERT_LT(index + 32, bytes.size());
    const std::uint64_t from = 0;
    const std::uint64_t size = bytes.size();
    for (const std::size_t cpu : {0, 1}) {
        std::memcpy(bytes.data() + index + cpu * 16, &from, sizeof from);
        std::memcpy(bytes.data() + index + cpu * 16 + 8, &size, sizeof size);
    }
    Scratch scratch;
    const auto imported = import_trace_dat(scratch.write(bytes));
    ASSERT_TRUE(imported) << imported.error().describe();
    EXPECT_THAT(imported->warnings, ::testing::Contains(::testing::HasSubstr("CPU 1 are left out")));
}

TEST_P(EachLayout, CutAtAnyByteItOpensWithWhatIsWholeOrSaysWhere)
{
    const std::string whole = small_trace().file(GetParam());
    Scratch scratch;
    std::size_t last_count = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        if (size > 64 && size % 61 != 0 && size + 48 < whole.size()) {
            continue;
        }
        const auto imported = import_trace_dat(scratch.write(whole.substr(0, size)));
        if (imported) {
            last_count = imported->trace.size();
            // A cut behind the last record loses none: then, and only then, there is nothing to say.
            const bool complete = imported->trace.packet_count() == 1 && last_count >= 8;
            EXPECT_TRUE(complete || !imported->warnings.empty()) << "cut at " << size;
        } else {
            EXPECT_FALSE(imported.error().what.empty());
            EXPECT_EQ(imported.error().describe().find('\n'), std::string::npos);
        }
    }
}

TEST_P(EachLayout, FlippedBitsNeverBreakTheReader)
{
    const std::string whole = small_trace().file(GetParam());
    Scratch scratch;
    std::mt19937 random(1);
    for (std::size_t at = 0; at < whole.size(); at += 1 + random() % 60) {
        std::string broken = whole;
        broken[at] = static_cast<char>(broken[at] ^ static_cast<char>(1U << random() % 8));
        (void)import_trace_dat(scratch.write(broken)); // an error or a trace; no crash, no hang
    }
    for (int round = 0; round < 60; ++round) {
        std::string broken = whole;
        for (int i = 0; i < 8; ++i) {
            broken[random() % broken.size()] = static_cast<char>(random());
        }
        (void)import_trace_dat(scratch.write(broken));
    }
}

INSTANTIATE_TEST_SUITE_P(TraceDat, EachLayout,
                         ::testing::Values(Layout::version_6, Layout::version_7, Layout::version_7_zstd),
                         [](const auto& one) {
                             return one.param == Layout::version_6   ? "Version6"
                                    : one.param == Layout::version_7 ? "Version7"
                                                                     : "Version7Zstd";
                         });

struct Refusal {
    std::string name, bytes, reason;
    ErrorKind kind;
};

class Refused : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithOneClearLine)
{
    Scratch scratch;
    const auto file = TraceDat::open(scratch.write(GetParam().bytes));
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, GetParam().kind);
    EXPECT_THAT(file.error().describe(), ::testing::HasSubstr(GetParam().reason));
}

const std::string start_of_file("\x17\x08\x44tracing", 10);

INSTANTIATE_TEST_SUITE_P(
    TraceDat, Refused,
    ::testing::Values(Refusal{"Empty", "", "empty", ErrorKind::cut},
                      Refusal{"Foreign", "PK\x03\x04 something else", "not a trace-cmd recording",
                              ErrorKind::foreign},
                      Refusal{"OnlyTheMagic", start_of_file, "ends inside its header", ErrorKind::cut},
                      Refusal{"Version5", start_of_file + std::string("5\0\0\x08\0\x10\0\0", 8),
                              "version \"5\"", ErrorKind::unsupported},
                      Refusal{"BigEndian", start_of_file + std::string("6\0\x01\x08\0\x10\0\0", 8),
                              "big-endian", ErrorKind::unsupported},
                      Refusal{"PageSizeZero", start_of_file + std::string("6\0\0\x08\0\0\0\0", 8),
                              "page size", ErrorKind::corrupt}),
    [](const auto& one) { return one.param.name; });

TEST(TraceDat, MissingFileIsNamed)
{
    const auto file = TraceDat::open("/nonexistent/trace.dat");
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, ErrorKind::not_found);
    EXPECT_THAT(file.error().describe(), ::testing::HasSubstr("/nonexistent/trace.dat"));
}

TEST(TraceDat, FolderIsRefusedWithTheRemedy)
{
    const auto file = TraceDat::open("/");
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, ErrorKind::unreadable);
}

TEST(EventFormat, SymbolsOfThePrintFormatAreNamesByNumber)
{
    Scratch scratch;
    const auto file = TraceDat::open(scratch.write(small_trace().file(Layout::version_6)));
    ASSERT_TRUE(file);
    const EventFormat* format = file->kernel().format(23);
    ASSERT_NE(format, nullptr);
    EXPECT_THAT(format->symbols_of("reason"),
                ::testing::ElementsAre(std::pair(2, "NOT_SPECIFIED"), std::pair(3, "NO_SOCKET"),
                                       std::pair(6, "SOCKET_RCVBUFF"), std::pair(9, "OF_TOMORROW")));
}

TEST(SymbolTable, AddressesBehindTheLastFunctionHaveNoName)
{
    SymbolTable symbols;
    symbols.parse("ffffffff81000000 T first\nffffffff81000100 t second\t[module]\nnot a "
                  "line\nffffffff81000050 D data\n");
    EXPECT_EQ(symbols.find(0xffffffff81000000).name, "first");
    EXPECT_EQ(symbols.find(0xffffffff810000ff).name, "first");
    EXPECT_EQ(symbols.find(0xffffffff81000104).name, "second");
    EXPECT_TRUE(symbols.find(0xffffffff81000104).in_module);
    EXPECT_EQ(symbols.find(0xffffffff91000104).name, "");
    EXPECT_EQ(symbols.find(0x1000).name, "");
}

// A real recording, cut and damaged at some places (each import of it takes a while).
TEST(RealTraceDat, CutOrDamagedItGivesAnErrorOrATrace)
{
    const fs::path folder = testing::small_set() / "6.1.0-56-amd64" / "udp-tx-virtio";
    std::ifstream in(folder / "trace.dat", std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(in)), {});
    ASSERT_GT(whole.size(), 100'000U);
    Scratch scratch;
    std::size_t opened = 0;
    for (const std::size_t missing : {1U, 10U, 100U, 600U, 2000U, 5000U, 9000U, 20000U, 200000U, 400000U}) {
        const auto imported = import_trace_dat(scratch.write(whole.substr(0, whole.size() - missing)));
        if (imported) {
            ++opened;
            EXPECT_FALSE(imported->warnings.empty());
        }
    }
    EXPECT_GE(opened, 3U);
    std::mt19937 random(7);
    for (int round = 0; round < 24; ++round) {
        std::string broken = whole;
        // Half of them where the records and their index are: the last tenth of the file.
        const std::size_t from = round % 2 == 0 ? 0 : broken.size() - broken.size() / 10;
        broken[from + random() % (broken.size() - from)] = static_cast<char>(random());
        (void)import_trace_dat(scratch.write(broken));
    }
}

/// "  python3-172 [001] 18.399156612: function: __neigh_create <-- ip_finish_output2" and so on, from
/// report.txt.gz.
std::vector<std::string> report_lines(const fs::path& path)
{
    std::vector<std::string> lines;
    gzFile file = gzopen(path.c_str(), "rb");
    char line[4096];
    while (file != nullptr && gzgets(file, line, sizeof line) != nullptr) {
        lines.emplace_back(line);
    }
    if (file != nullptr) {
        gzclose(file);
    }
    return lines;
}

TEST(RealTraceDat, ReadsWhatTraceCmdReportsRecordForRecord)
{
    if (std::getenv("SKBSCOPE_TRACES") == nullptr) {
        GTEST_SKIP() << "SKBSCOPE_TRACES does not name the full set, which has trace-cmd's reports";
    }
    std::size_t compared = 0;
    for (const fs::path& folder : testing::recordings()) {
        const auto lines = report_lines(folder / "report.txt.gz");
        if (lines.empty()) {
            continue;
        }
        const auto file = TraceDat::open((folder / "trace.dat").string());
        ASSERT_TRUE(file) << file.error().describe();
        std::size_t next = 1; // the first line says cpus=
        file->for_each([&](const RawRecord& record) {
            ASSERT_LT(next, lines.size()) << folder;
            const std::string& line = lines[next++];
            EXPECT_NE(line.find(fmt::format("[{:03}]", record.cpu)), std::string::npos) << line;
            const std::string seconds =
                fmt::format("{}.{:09}:", record.time_ns / 1'000'000'000, record.time_ns % 1'000'000'000);
            const bool has_time = line.find(seconds) != std::string::npos ||
                                  line.find(fmt::format("{}:", record.time_ns)) != std::string::npos;
            EXPECT_TRUE(has_time) << line << " is not " << seconds;
            const EventFormat* format = file->kernel().format(record.event_id);
            ASSERT_NE(format, nullptr);
            EXPECT_NE(line.find(format->name + ":"), std::string::npos) << line;
            if (format->name == "function") {
                const auto function = file->kernel().symbols.find(format->field("ip").read(record.data)).name;
                const auto caller = file->kernel().symbols.find(format->field("parent_ip").read(record.data)).name;
                EXPECT_NE(line.find(fmt::format("{} <-- {}", function, caller)), std::string::npos) << line;
            }
            ++compared;
        });
        EXPECT_EQ(next, lines.size()) << folder;
    }
    EXPECT_GT(compared, 100'000U);
}

} // namespace
} // namespace skbscope
