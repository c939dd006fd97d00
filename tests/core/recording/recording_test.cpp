#include "core/recording/recording.h"

#include "core/recording/format.h"
#include "core/recording/report.h"
#include "core/recording/wire.h"
#include "tests/core/recording/sample_trace.h"

#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace skbscope {
namespace {

using testing::five_packets;
using testing::SampleTrace;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

Bytes recorded(const Trace& trace, RecordingOptions options = {})
{
    Bytes out;
    const auto sink = [&](std::span<const std::uint8_t> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
        return true;
    };
    EXPECT_TRUE(write_recording_to(trace, sink, "memory", options));
    return out;
}

Result<LoadedRecording> load(std::span<const std::uint8_t> bytes, std::size_t piece = 1000)
{
    LoadedRecording loaded;
    RecordingReader reader(loaded.trace, "memory");
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        if (auto fed = reader.feed(bytes.subspan(at, std::min(piece, bytes.size() - at))); !fed) {
            return tl::unexpected(fed.error());
        }
    }
    auto loss = reader.finish();
    if (!loss) {
        return tl::unexpected(loss.error());
    }
    loaded.loss = *loss;
    return loaded;
}

std::string packet_text(const PacketRecord& r)
{
    return fmt::format("{} parent {} into {} rel {} host {} {} reason {} dev {} sent {} loss {} inferred {} len {} {}..{} fn {} {} "
                       "flow {} bytes {}+{}",
                       to_index(r.id), to_index(r.parent), to_index(r.merged_into), static_cast<int>(r.relation),
                       static_cast<int>(r.host), to_string(r.verdict), to_index(r.reason), to_index(r.device), r.sent_here,
                       r.touched_by_loss, r.end_inferred, r.length, r.birth.ns, r.death.ns, to_index(r.birth_function),
                       to_index(r.end_function), r.flow ? r.flow->text() : "none", r.bytes_offset, r.captured_length);
}

void expect_same(const Trace& a, const Trace& b)
{
    EXPECT_EQ(a.info.source, b.info.source);
    EXPECT_EQ(a.info.kernel_release, b.info.kernel_release);
    EXPECT_EQ(a.info.kernel, b.info.kernel);
    EXPECT_EQ(a.info.observed, b.info.observed);
    EXPECT_EQ(a.info.times_trustworthy, b.info.times_trustworthy);
    EXPECT_EQ(a.info.clock, b.info.clock);
    EXPECT_EQ(a.info.wall_offset_ns, b.info.wall_offset_ns);
    EXPECT_EQ(a.info.lost_events, b.info.lost_events);
    EXPECT_EQ(a.info.unattributed_events, b.info.unattributed_events);
    EXPECT_EQ(a.info.costs_hash, b.info.costs_hash);
    EXPECT_EQ(a.info.scenario, b.info.scenario);
    ASSERT_EQ(a.faults.size(), b.faults.size());
    for (std::size_t i = 0; i < a.faults.size(); ++i) {
        EXPECT_EQ(a.faults[i].cause, b.faults[i].cause);
        EXPECT_EQ(a.faults[i].count, b.faults[i].count);
        EXPECT_EQ(a.faults[i].advice, b.faults[i].advice);
    }
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(Event)), 0) << "event " << i;
    }
    ASSERT_EQ(a.packet_count(), b.packet_count());
    for (std::size_t i = 0; i < a.packet_count(); ++i) {
        EXPECT_EQ(packet_text(a.packets()[i]), packet_text(b.packets()[i]));
        EXPECT_EQ(a.packets()[i].flow, b.packets()[i].flow);
    }
    EXPECT_TRUE(std::ranges::equal(a.bytes(), b.bytes()));
    EXPECT_TRUE(std::ranges::equal(a.notes(), b.notes()));
    EXPECT_TRUE(std::ranges::equal(a.own_functions(), b.own_functions()));
    const auto hosts = [](const HostRecord& r) { return fmt::format("{} {}", r.name, r.cpus); };
    EXPECT_TRUE(std::ranges::equal(a.hosts(), b.hosts(), {}, hosts, hosts));
    const auto tasks = [](const TaskRecord& r) { return fmt::format("{} {} {}", r.name, r.pid, static_cast<int>(r.host)); };
    EXPECT_TRUE(std::ranges::equal(a.tasks(), b.tasks(), {}, tasks, tasks));
    const auto devices = [](const DeviceRecord& r) {
        return fmt::format("{} {} {} {} {}", r.name, static_cast<int>(r.host), r.driver, MacAddress{r.mac}.text(), r.mtu);
    };
    EXPECT_TRUE(std::ranges::equal(a.devices(), b.devices(), {}, devices, devices));
    const auto queues = [](const QueueRecord& r) {
        return fmt::format("{} {} {} {} {} {} {}", r.name, static_cast<int>(r.kind), static_cast<int>(r.host), to_index(r.room),
                           r.limit, static_cast<int>(r.unit), r.setting);
    };
    EXPECT_TRUE(std::ranges::equal(a.queues(), b.queues(), {}, queues, queues));
    const auto counters = [](const CounterRecord& r) { return fmt::format("{} {}", r.name, static_cast<int>(r.host)); };
    EXPECT_TRUE(std::ranges::equal(a.counters(), b.counters(), {}, counters, counters));
    const auto fields = [](const FieldChange& r) {
        return std::array<std::uint64_t, 5>{static_cast<std::uint64_t>(r.field), r.offset, r.length, r.before, r.after};
    };
    EXPECT_TRUE(std::ranges::equal(a.field_changes(), b.field_changes(), {}, fields, fields));
    const auto moves = [](const CounterChange& r) {
        return std::array<std::uint64_t, 3>{to_index(r.counter), r.before, r.after};
    };
    EXPECT_TRUE(std::ranges::equal(a.counter_changes(), b.counter_changes(), {}, moves, moves));
    const auto fills = [](const QueueChange& r) {
        return std::array<std::uint64_t, 4>{static_cast<std::uint64_t>(r.what), to_index(r.queue), r.before, r.after};
    };
    EXPECT_TRUE(std::ranges::equal(a.queue_changes(), b.queue_changes(), {}, fills, fills));
}

TEST(Recording, EverythingSurvivesTheRoundTrip)
{
    const SampleTrace sample = five_packets();
    for (const bool compress : {true, false}) {
        auto loaded = load(recorded(sample.trace, {compress}));
        ASSERT_TRUE(loaded) << loaded.error().describe();
        EXPECT_EQ(loaded->loss, "");
        expect_same(sample.trace, loaded->trace);
        EXPECT_EQ(loaded->trace.function_name(loaded->trace.function_named("acme_module_rx")), "acme_module_rx");
    }
}

TEST(Recording, EmptyTraceSurvivesTheRoundTrip)
{
    const Trace trace;
    auto loaded = load(recorded(trace));
    ASSERT_TRUE(loaded) << loaded.error().describe();
    EXPECT_EQ(loaded->loss, "");
    expect_same(trace, loaded->trace);
}

TEST(Recording, ManyBatchesSurviveTheRoundTrip)
{
    SampleTrace sample;
    while (sample.trace.size() < 3 * format::events_a_batch) {
        sample.delivered();
        sample.dropped();
    }
    const Bytes bytes = recorded(sample.trace);
    auto loaded = load(bytes, 65536);
    ASSERT_TRUE(loaded);
    expect_same(sample.trace, loaded->trace);
    RecordProperty("bytes_an_event", std::to_string(static_cast<double>(bytes.size()) / static_cast<double>(sample.trace.size())));
}

TEST(Recording, SameTraceGivesTheSameBytes)
{
    EXPECT_EQ(recorded(five_packets().trace), recorded(five_packets().trace));
}

TEST(Recording, PiecesOfOneByteReadAsTheWhole)
{
    const SampleTrace sample = five_packets();
    auto loaded = load(recorded(sample.trace), 1);
    ASSERT_TRUE(loaded);
    expect_same(sample.trace, loaded->trace);
}

TEST(Recording, StreamOfAGrowingTraceReadsAsTheFinishedOne)
{
    SampleTrace sample;
    Bytes out;
    RecordingWriter writer(
        sample.trace,
        [&](std::span<const std::uint8_t> bytes) {
            out.insert(out.end(), bytes.begin(), bytes.end());
            return true;
        },
        "memory");
    ASSERT_TRUE(writer.update());
    PacketId last{};
    for (int i = 0; i < 20; ++i) {
        const PacketId open = sample.begin(5001, "open");
        const std::size_t call = sample.trace.size();
        sample.call(open, "ip_rcv", 0, Event::unknown_duration);
        ASSERT_TRUE(writer.update());
        // Now the call returns, and the packet's fate is known: both follow what was written.
        sample.trace.mutable_event(call).duration_ns = 777;
        sample.event(EventKind::verdict, open, {}, static_cast<std::uint32_t>(Verdict::consumed));
        sample.event(EventKind::free, open, {}, 0);
        sample.end(open, Verdict::consumed, "ip_rcv");
        last = sample.delivered();
        if (i % 3 == 0) {
            sample.merged(last);
            sample.trace.add_task({"late", i, HostId{}});
            sample.event(EventKind::call, last, sample.trace.function_named("own_" + std::to_string(i)), 0);
        }
    }
    sample.trace.info.lost_events = 99;
    sample.trace.faults.push_back({"late fault", 1, ""});
    ASSERT_TRUE(writer.finish());
    auto loaded = load(out);
    ASSERT_TRUE(loaded) << loaded.error().describe();
    EXPECT_EQ(loaded->loss, "");
    expect_same(sample.trace, loaded->trace);
}

TEST(Recording, EveryCutOpensWithWhatIsWholeAndTellsTheLoss)
{
    const SampleTrace sample = five_packets();
    const Bytes bytes = recorded(sample.trace);
    std::size_t opened = 0;
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        auto loaded = load(std::span(bytes).first(length));
        if (!loaded) {
            EXPECT_THAT(loaded.error().kind, ::testing::AnyOf(ErrorKind::cut, ErrorKind::foreign)) << length;
            EXPECT_EQ(opened, 0U) << "a longer cut does not open: " << length;
            continue;
        }
        ++opened;
        EXPECT_THAT(loaded->loss, HasSubstr("cut at byte")) << length;
        EXPECT_LE(loaded->trace.size(), sample.trace.size());
        for (const PacketRecord& record : loaded->trace.packets()) {
            EXPECT_TRUE(record.death == never || record.death <= loaded->trace.end_time());
        }
        JourneyIndex journeys(loaded->trace);
        journeys.update();
        EXPECT_TRUE(build_report(loaded->trace, journeys).accounting_closed) << length;
    }
    EXPECT_GT(opened, bytes.size() / 4);
}

TEST(Recording, CutLosesOnlyTheBatchesBehindIt)
{
    SampleTrace sample;
    while (sample.trace.size() < 2 * format::events_a_batch + 100) {
        sample.delivered();
    }
    const Bytes bytes = recorded(sample.trace);
    auto loaded = load(std::span(bytes).first(bytes.size() * 2 / 3), 4096);
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->trace.size() % format::events_a_batch, 0U);
    EXPECT_GT(loaded->trace.size(), 0U);
    EXPECT_THAT(loaded->loss, HasSubstr(fmt::format("the last {} of {} events are lost",
                                                    sample.trace.size() - loaded->trace.size(), sample.trace.size())));
    // The packet table says no more than the events that are left.
    std::size_t births = 0;
    for (std::size_t i = 0; i < loaded->trace.size(); ++i) {
        births += loaded->trace[i].event_kind() == EventKind::birth ? 1 : 0;
    }
    EXPECT_EQ(births, loaded->trace.packet_count());
}

TEST(Recording, EveryFlippedByteIsNoticedOrHarmless)
{
    const SampleTrace sample = five_packets();
    const Bytes bytes = recorded(sample.trace);
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        Bytes damaged = bytes;
        damaged[at] ^= 0x5a;
        auto loaded = load(damaged);
        if (loaded && loaded->loss.empty()) {
            // Only what is Wireshark's: a section option, an interface, a frame.
            EXPECT_EQ(loaded->trace.size(), sample.trace.size()) << at;
        }
    }
}

/// Blocks whose checksum is right and whose content is not: what a hostile writer would send.
TEST(Recording, MutatedPayloadsWithRightChecksumsNeverCrash)
{
    const Bytes bytes = recorded(five_packets().trace, {.compress = false});
    std::mt19937 random(7);
    int opened = 0;
    for (int round = 0; round < 3000; ++round) {
        Bytes damaged = bytes;
        for (std::size_t at = 0; at + 12 <= damaged.size();) {
            const auto length = get<std::uint32_t>(damaged.data() + at + 4);
            if (get<std::uint32_t>(damaged.data() + at) == format::block_type && random() % 6 == 0) {
                const std::size_t body = at + 8;
                const std::size_t size = length - 12;
                const unsigned changes = 1 + random() % 3;
                for (unsigned i = 0; i < changes; ++i) {
                    std::size_t where = body + 6 + random() % (size - 6);
                    where = where >= body + 32 && where < body + 36 ? body + 20 : where;
                    damaged[where] = static_cast<std::uint8_t>(random() % 2 == 0 ? random() : 0xff);
                }
                const auto stored = std::min<std::size_t>(get<std::uint32_t>(damaged.data() + body + 16), size - 36);
                auto crc = crc32(0, damaged.data() + body, 32);
                crc = crc32(crc, damaged.data() + body + 36, static_cast<uInt>(stored));
                set(damaged, body + 32, static_cast<std::uint32_t>(crc));
            }
            at += length;
        }
        auto loaded = load(damaged, 1 << 16);
        opened += loaded ? 1 : 0;
    }
    EXPECT_GT(opened, 0);
}

TEST(Recording, SmallFileThatClaimsALotIsRefused)
{
    Bytes bytes = recorded(five_packets().trace, {.compress = false});
    // The block behind the section header says that it is 2 GiB long.
    const auto first = get<std::uint32_t>(bytes.data() + 4);
    set(bytes, first + 4, std::uint32_t{0x80000000});
    auto loaded = load(bytes);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::corrupt);
    EXPECT_THAT(loaded.error().describe(), HasSubstr("2147483648 bytes"));
}

TEST(Recording, NewerMinorVersionOpensAndItsAdditionsAreSteppedOver)
{
    const SampleTrace sample = five_packets();
    Bytes bytes = recorded(sample.trace, {.compress = false});
    Bytes newer;
    bool added = false;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto length = get<std::uint32_t>(bytes.data() + at + 4);
        Bytes block(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
        at += length;
        if (get<std::uint32_t>(block.data()) == format::block_type) {
            block[8 + 5] = 9; // minor version
            const auto stored = get<std::uint32_t>(block.data() + 8 + 16);
            const auto sum = [&] {
                auto crc = crc32(0, block.data() + 8, 32);
                crc = crc32(crc, block.data() + 8 + 36, stored);
                set(block, 8 + 32, static_cast<std::uint32_t>(crc));
            };
            sum();
            newer.insert(newer.end(), block.begin(), block.end());
            if (!added) {
                added = true;
                set(block, 8 + 6, std::uint16_t{99}); // a kind that this version does not know
                sum();
                newer.insert(newer.end(), block.begin(), block.end());
            }
            continue;
        }
        newer.insert(newer.end(), block.begin(), block.end());
    }
    ASSERT_TRUE(added);
    auto loaded = load(newer);
    ASSERT_TRUE(loaded) << loaded.error().describe();
    EXPECT_EQ(loaded->loss, "");
    expect_same(sample.trace, loaded->trace);
}

TEST(Recording, AnotherMajorVersionIsUnsupported)
{
    Bytes bytes = recorded(five_packets().trace);
    const auto first = get<std::uint32_t>(bytes.data() + 4);
    bytes[first + 8 + 4] = 2;
    auto loaded = load(bytes);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(loaded.error().describe(), HasSubstr("use a newer skbscope"));
}

TEST(Recording, CaptureWithoutOurBlocksIsForeignWithARemedy)
{
    const Bytes bytes = recorded(five_packets().trace);
    Bytes capture;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto length = get<std::uint32_t>(bytes.data() + at + 4);
        if (get<std::uint32_t>(bytes.data() + at) != format::block_type) {
            capture.insert(capture.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                           bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
        }
        at += length;
    }
    auto loaded = load(capture);
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().kind, ErrorKind::foreign);
    EXPECT_THAT(loaded.error().remedy, HasSubstr("skbscope replay FILE"));
    EXPECT_TRUE(looks_like_pcapng(capture));
}

TEST(Recording, OtherFilesAreForeign)
{
    const std::vector<std::string> texts = {"hello, this is a text", "\x7f\x45LF", std::string(4096, '\0'), "\n"};
    for (const std::string& text : texts) {
        const Bytes bytes(text.begin(), text.end());
        auto loaded = load(bytes);
        ASSERT_FALSE(loaded) << text;
        EXPECT_EQ(loaded.error().kind, ErrorKind::foreign) << text;
        EXPECT_FALSE(looks_like_pcapng(bytes));
    }
}

TEST(Recording, MissingFolderAndEmptyInputsSayWhatTheyAre)
{
    const std::filesystem::path folder = ::testing::TempDir();
    EXPECT_EQ(read_recording(folder / "is-not-there.pcapng").error().kind, ErrorKind::not_found);
    EXPECT_EQ(read_recording(folder).error().kind, ErrorKind::unreadable);
    const auto empty = folder / "empty.pcapng";
    std::ofstream(empty).close();
    EXPECT_EQ(read_recording(empty).error().kind, ErrorKind::cut);
    std::filesystem::remove(empty);
}

TEST(Recording, FailedWriteLeavesNothingBehind)
{
    const auto path = std::filesystem::path(::testing::TempDir()) / "no-such-folder" / "out.pcapng";
    auto written = write_recording(five_packets().trace, path);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind, ErrorKind::unwritable);
    auto refused = write_recording_to(five_packets().trace, [](auto) { return false; }, "pipe");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::unwritable);
}

TEST(Recording, FileIsReadBackFromDisk)
{
    const auto path = std::filesystem::path(::testing::TempDir()) / "recording_test.pcapng";
    const SampleTrace sample = five_packets();
    ASSERT_TRUE(write_recording(sample.trace, path));
    EXPECT_FALSE(std::filesystem::exists(path.string() + ".skbscope.tmp"));
    auto loaded = read_recording(path);
    ASSERT_TRUE(loaded) << loaded.error().describe();
    expect_same(sample.trace, loaded->trace);
    std::filesystem::remove(path);
}

TEST(Recording, APipeTakesTheBytesAndStaysAPipe)
{
    const auto path = std::filesystem::path(::testing::TempDir()) / fmt::format("recording_test_{}.fifo", getpid());
    std::filesystem::remove(path);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    const int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    const SampleTrace sample = five_packets();
    EXPECT_TRUE(write_recording(sample.trace, path)); // less than a pipe holds
    EXPECT_TRUE(std::filesystem::is_fifo(path));
    Bytes bytes(65536);
    const ssize_t count = read(reader, bytes.data(), bytes.size());
    (void)close(reader);
    std::filesystem::remove(path);
    ASSERT_GT(count, 0);
    bytes.resize(static_cast<std::size_t>(count));
    const auto loaded = load(bytes);
    ASSERT_TRUE(loaded) << loaded.error().describe();
    expect_same(sample.trace, loaded->trace);
}

TEST(Recording, ALinkStaysALinkAndWhatItLeadsToIsWritten)
{
    const auto link = std::filesystem::path(::testing::TempDir()) / fmt::format("recording_test_{}.link", getpid());
    const auto target = std::filesystem::path(::testing::TempDir()) / fmt::format("recording_test_{}.target", getpid());
    std::filesystem::remove(link);
    std::filesystem::remove(target);
    std::filesystem::create_symlink(target.filename(), link);
    const SampleTrace sample = five_packets();
    for (int i = 0; i < 2; ++i) { // leading nowhere yet, and to the file
        ASSERT_TRUE(write_recording(sample.trace, link));
        EXPECT_TRUE(std::filesystem::is_symlink(link));
        const auto loaded = read_recording(target);
        ASSERT_TRUE(loaded) << loaded.error().describe();
        expect_same(sample.trace, loaded->trace);
    }
    std::filesystem::remove(link);
    std::filesystem::remove(target);
}

TEST(Recording, EveryRecordingInThisRepositoryOpensWithoutLoss)
{
    int opened = 0;
    for (const char* folder : {"lessons", "tests/data"}) {
        const auto root = std::filesystem::path(SKBSCOPE_SOURCE_DIR) / folder;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
            if (entry.path().extension() != ".pcapng") {
                continue;
            }
            auto loaded = read_recording(entry.path());
            ASSERT_TRUE(loaded) << loaded.error().describe();
            EXPECT_EQ(loaded->loss, "") << entry.path();
            EXPECT_GT(loaded->trace.size(), 0U) << entry.path();
            ++opened;
        }
    }
    EXPECT_GT(opened, 0);
}

std::string output_of(const std::string& command)
{
    std::string out;
    std::FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> piece{};
    while (std::size_t got = std::fread(piece.data(), 1, piece.size(), pipe)) {
        out.append(piece.data(), got);
    }
    pclose(pipe);
    return out;
}

TEST(Recording, TsharkShowsExactlyTheFramesEachWithItsVerdict)
{
    if (std::system("tshark --version > /dev/null 2>&1") != 0) {
        GTEST_SKIP() << "tshark is not installed";
    }
    const auto path = std::filesystem::path(::testing::TempDir()) / "tshark_test.pcapng";
    const SampleTrace sample = five_packets();
    ASSERT_TRUE(write_recording(sample.trace, path));
    const std::string shown = output_of(fmt::format(
        "tshark -r '{}' -T fields -E separator='|' -e frame.interface_name -e frame.time_epoch -e frame.packet_id -e udp.dstport "
        "-e frame.comment 2>/dev/null",
        path.string()));
    // In order of their ends; the packet without bytes has no frame.
    EXPECT_EQ(shown, "dut:eth0|1700000000.001000750|1|5001|delivered\n"
                     "dut:eth0|1700000000.001004250|2|5002|dropped: SOCKET_RCVBUFF in udp_queue_rcv_one_skb\n"
                     "dut:eth0|1700000000.001005250|3|5001|merged into packet 1\n"
                     "dut:eth0|1700000000.001006250|4|5003|in flight\n");
    const std::string counted = output_of(fmt::format("capinfos -c -M '{}' 2>&1", path.string()));
    EXPECT_THAT(counted, HasSubstr("Number of packets:   4"));
    std::filesystem::remove(path);
}

} // namespace
} // namespace skbscope
