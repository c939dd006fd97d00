// skbscope record on the kernel that the test runs on: what it says agrees with the sockets and the counters, and whatever
// goes wrong is one line, a status, and nothing left behind.

#include "tests/e2e/live_host.h"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/ip_icmp.h>
#include <optional>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace skbscope::e2e {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t many = 10'000;
#else
constexpr std::uint64_t many = 100'000;
#endif
constexpr int small_buffer = 100'000; ///< bytes: a large burst does not fit

std::vector<std::string> record_words(const std::vector<std::string>& more)
{
    std::vector<std::string> words{SKBSCOPE_PROGRAM, "record", "--no-frames"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

/// A shell with mounts of its own; the program's path is $1, the arguments follow.
std::vector<std::string> in_own_mounts(const std::string& script, const std::vector<std::string>& arguments)
{
    std::vector<std::string> words{"unshare", "-m", "sh", "-c", script, "sh", SKBSCOPE_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
}

nlohmann::json report_of(const std::string& recording)
{
    const auto outcome = skbscope(
        {"report", recording, "-f", fmt::format("udp port {}", VethPair::port()), "--format", "json"});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.json();
}

std::uint64_t dropped(const nlohmann::json& report, const std::string& reason)
{
    std::uint64_t count = 0;
    for (const auto& drop : report["drops"]) {
        count += drop["reason"] == reason ? drop["count"].get<std::uint64_t>() : 0;
    }
    return count;
}

/// One line, beside those that every recording begins with.
void expect_one_line(const Outcome& outcome)
{
    const std::size_t begun = outcome.err.find("recording: ");
    const std::string said =
        outcome.err.substr(begun == std::string::npos ? 0 : outcome.err.find('\n', begun) + 1);
    EXPECT_EQ(std::ranges::count(said, '\n'), 1) << outcome.err;
    EXPECT_TRUE(said.starts_with("skbscope: ")) << outcome.err;
}

class Record : public testing::Test {
protected:
    void SetUp() override
    {
        if (const std::string lacks = missing_for_live_tests(); !lacks.empty()) {
            GTEST_SKIP() << lacks;
        }
    }
    TemporaryFolder folder_;
};

class RecordVeth : public Record {
protected:
    void SetUp() override
    {
        Record::SetUp();
        if (!IsSkipped() && !veth_.emplace().is_up()) {
            GTEST_SKIP() << "no namespaces with veth can be made here";
        }
    }
    std::optional<VethPair> veth_;
};

TEST_F(RecordVeth, DeliveredAndDroppedAreWhatTheSocketsAndTheCountersSay)
{
    Beside recorder(record_words({"-w", folder_ / "all.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    const auto before = veth_->counters();
    const Passed passed = send_datagrams(*veth_, many, small_buffer);
    const auto after = veth_->counters();
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(instances_of(pid), IsEmpty());

    EXPECT_EQ(passed.sent, many);
    EXPECT_EQ(after.in - before.in, passed.read);
    EXPECT_GT(after.rcvbuf_errors, before.rcvbuf_errors) << "nothing was dropped, so drops were not tested";
    const auto report = report_of(folder_ / "all.pcapng");
    EXPECT_EQ(report["lost_events"], 0);
    EXPECT_EQ(report["packets"]["total"], passed.sent);
    EXPECT_EQ(report["packets"]["delivered"], passed.read);
    EXPECT_EQ(report["packets"]["dropped"], after.rcvbuf_errors - before.rcvbuf_errors);
    EXPECT_EQ(dropped(report, "SOCKET_RCVBUFF"), after.rcvbuf_errors - before.rcvbuf_errors);
}

TEST_F(RecordVeth, WithinABudgetEveryDropIsThereAndTheDevicesCountTheRest)
{
    Beside recorder(record_words({"--budget", "0.5%", "-w", folder_ / "some.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    const auto before = veth_->counters();
    const Passed passed = send_datagrams(*veth_, many, small_buffer);
    const auto after = veth_->counters();
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("detail was left out"));

    const auto all = skbscope({"report", folder_ / "some.pcapng", "--format", "json"}).json();
    EXPECT_EQ(dropped(all, "SOCKET_RCVBUFF"), after.rcvbuf_errors - before.rcvbuf_errors);
    const auto told = report_of(folder_ / "some.pcapng");
    EXPECT_GE(told["packets"]["delivered"], passed.sent / 100);
    EXPECT_LE(told["packets"]["delivered"],
              passed.read); // a slow machine has few enough to record that none is left out
    std::uint64_t sent = 0;
    for (const auto& [name, count] : all["counters"].items()) {
        sent += name.ends_with("/skbe0.tx_packets") ? count.get<std::uint64_t>() : 0;
    }
    EXPECT_GE(sent, passed.sent);
    EXPECT_LE(sent, passed.sent + 20) << "more than ARP and IPv6 send by themselves";
}

TEST_F(RecordVeth, KilledInTheMiddleItLeavesARecordingThatOpensAndNothingInTracefs)
{
    Beside recorder(record_words({"-w", folder_ / "cut.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    const Passed passed = send_datagrams(*veth_, 2'000, small_buffer);
    // It writes by time: what is there is in the file although nothing more comes, and although nobody ends it.
    for (int i = 0; i < 20 && report_of(folder_ / "cut.pcapng")["packets"]["total"] != passed.sent; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    recorder.signal(SIGKILL);
    EXPECT_EQ(recorder.wait().status, 128 + SIGKILL);
    EXPECT_EQ(report_of(folder_ / "cut.pcapng")["packets"]["total"], passed.sent);
    for (int i = 0; i < 100 && !instances_of(pid).empty(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_THAT(instances_of(pid), IsEmpty()) << "its keeper takes the probes down";
}

TEST_F(Record, WhatIsLeftWhenItsKeeperIsKilledTooTheNextOneRemoves)
{
    Beside recorder(record_words({"-w", folder_ / "a.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    const pid_t keeper = recorder.child();
    ASSERT_GT(keeper, 0);
    (void)kill(keeper, SIGKILL);
    recorder.signal(SIGKILL);
    EXPECT_EQ(recorder.wait().status, 128 + SIGKILL);
    EXPECT_THAT(instances_of(pid), Not(IsEmpty()));
    EXPECT_EQ(run_program(record_words({"-d", "0.1", "-w", folder_ / "b.pcapng"})).status, 0);
    EXPECT_THAT(instances_of(pid), IsEmpty());
}

TEST_F(RecordVeth, TwoAtOnceEachHaveAllPackets)
{
    Beside first(record_words({"-w", folder_ / "1.pcapng"}));
    Beside second(record_words({"-w", folder_ / "2.pcapng"}));
    ASSERT_TRUE(first.says("recording: "));
    ASSERT_TRUE(second.says("recording: "));
    const Passed passed = send_datagrams(*veth_, 3'000, small_buffer);
    first.signal(SIGINT);
    EXPECT_EQ(first.wait().status, 0);
    const Passed later = send_datagrams(*veth_, 1'000, small_buffer);
    second.signal(SIGINT);
    EXPECT_EQ(second.wait().status, 0);
    EXPECT_EQ(report_of(folder_ / "1.pcapng")["packets"]["total"], passed.sent);
    EXPECT_EQ(report_of(folder_ / "2.pcapng")["packets"]["total"], passed.sent + later.sent);
}

TEST_F(RecordVeth, AReaderThatIsSlowLosesNothingThatFitsIntoMemory)
{
    Beside recorder(record_words({"-w", "-"}), true);
    ASSERT_TRUE(recorder.says("recording: "));
    const Passed passed = send_datagrams(*veth_, many / 2, small_buffer);
    EXPECT_LT(recorder.status_kb("VmHWM"), 1'500'000U);
    recorder.signal(SIGINT);
    write_file(folder_ / "late.pcapng", recorder.read_output());
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const auto report = report_of(folder_ / "late.pcapng");
    EXPECT_EQ(report["packets"]["total"], passed.sent);
    EXPECT_EQ(report["lost_events"], 0);
}

TEST_F(RecordVeth, AReaderThatNeverReadsDoesNotKeepItFromEnding)
{
    Beside recorder(record_words({"-w", "-"}), true);
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    (void)send_datagrams(*veth_, 10'000, small_buffer);
    recorder.signal(SIGTERM);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    expect_one_line(outcome);
    EXPECT_THAT(instances_of(pid), IsEmpty());
}

TEST_F(Record, NoticesThatItsReaderHasGoneThoughNothingHappens)
{
    Beside recorder(record_words({"-w", "-"}), true);
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    recorder.close_output();
    const auto outcome = recorder.wait(5);
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    expect_one_line(outcome);
    EXPECT_THAT(instances_of(pid), IsEmpty());
}

TEST_F(RecordVeth, AStreamIsReadByReport)
{
    Beside both({"sh", "-c", "\"$0\" record --no-frames -d 2 -w - | \"$0\" report - --format json >\"$1\"",
                 SKBSCOPE_PROGRAM, folder_ / "report.json"});
    ASSERT_TRUE(both.says("recording: "));
    const Passed passed = send_datagrams(*veth_, 1'000, small_buffer);
    const auto outcome = both.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    const auto report = nlohmann::json::parse(read_file(folder_ / "report.json"), nullptr, false);
    ASSERT_TRUE(report.is_object());
    EXPECT_GE(report["packets"]["total"], passed.sent);
}

TEST_F(RecordVeth, AFullDiskIsOneLineAndWhatFitOpens)
{
    Beside recorder(in_own_mounts("mkdir \"$2/small\" && mount -t tmpfs -o size=256k none \"$2/small\" && "
                                  "\"$1\" record --no-frames -w \"$2/small/full.pcapng\"; status=$?; cp "
                                  "\"$2/small/full.pcapng\" \"$2\"; exit $status",
                                  {folder_.path().string()}));
    ASSERT_TRUE(recorder.says("recording: "));
    (void)send_datagrams(*veth_, 30'000, small_buffer);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    expect_one_line(outcome);
    const auto report = skbscope({"report", folder_ / "full.pcapng", "--format", "json"});
    EXPECT_EQ(report.status, 0) << report.err;
    EXPECT_GT(report.json()["packets"]["total"], 0);
}

/// An echo request, from this machine to itself; the kernel answers before the call returns.
bool send_echo_request(int socket, const sockaddr_in& to, std::uint16_t sequence)
{
    icmphdr request{};
    request.type = ICMP_ECHO;
    request.un.echo.id = htons(1);
    request.un.echo.sequence = htons(sequence);
    const std::uint32_t sum = (ICMP_ECHO << 8U) + 1U + sequence; // of the header's words; there is no payload
    request.checksum = htons(static_cast<std::uint16_t>(~((sum & 0xffffU) + (sum >> 16U))));
    return sendto(socket, &request, sizeof request, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
           sizeof request;
}

TEST_F(Record, WhatARuleForOutgoingPacketsRefusesIsADropThoughNoDeviceEverSawIt)
{
    if (!is_installed("nft") || !is_installed("bash")) {
        GTEST_SKIP() << "nft or bash is not installed";
    }
    Beside recorder(record_words({"--no-frames", "-w", folder_ / "out.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    const auto sent = run_program({"unshare", "-n", "bash", "-c",
                                   "ip link set lo up && nft add table inet t && nft 'add chain inet t out { "
                                   "type filter hook output priority 0; }' && "
                                   "nft add rule inet t out udp dport 40123 counter drop && for i in 1 2 3 4 "
                                   "5; do echo x > /dev/udp/127.0.0.1/40123; done; "
                                   "nft list chain inet t out"});
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    if (sent.out.find("packets 5 ") == std::string::npos) {
        GTEST_SKIP() << "this kernel has no such rule: " << sent.err;
    }
    EXPECT_GE(
        dropped(skbscope({"report", folder_ / "out.pcapng", "--format", "json"}).json(), "NETFILTER_DROP"),
        5);
}

TEST_F(Record, ResetsThatAreFreedWithoutAnEventAreEachAPacketOfTheirOwn)
{
    if (!is_installed("bash")) {
        GTEST_SKIP() << "bash is not installed";
    }
    Beside recorder(record_words({"--detail", "tracepoints", "-w", folder_ / "rst.pcapng"}));
    ASSERT_TRUE(recorder.says("recording: "));
    (void)run_program({"unshare", "-n", "bash", "-c",
                       "ip link set lo up; for i in 1 2 3 4 5; do : < /dev/tcp/127.0.0.1/9; done"});
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    constexpr int reset_bytes = 14 + 20 + 20; // no options, no data
    const auto journeys = skbscope({"journey", folder_ / "rst.pcapng", "--format", "json"}).json();
    EXPECT_GE(std::ranges::count_if(journeys,
                                    [](const auto& journey) {
                                        return journey["dev"] == "lo" && journey["len"] == reset_bytes;
                                    }),
              5);
}

TEST_F(Record, OfLoopbackEachPacketHasItsFrameAlsoAnAnswerThatFollowsAtOnce)
{
    constexpr std::uint16_t count = 6;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr =
        htonl(0x7f000000U | (static_cast<std::uint32_t>(getpid()) & 0xffffU) << 8U | 9U); // nobody else's
    const std::string address = inet_ntoa(to.sin_addr);
    const int socket = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
    ASSERT_GE(socket, 0);
    Beside recorder({SKBSCOPE_PROGRAM, "record", "-i", "lo", "-f", "icmp and host " + address, "-w",
                     folder_ / "lo.pcapng"});
    ASSERT_TRUE(recorder.says("recording: "));
    for (std::uint16_t i = 0; i < count; ++i) {
        EXPECT_TRUE(send_echo_request(socket, to, i));
    }
    (void)close(socket);
    std::this_thread::sleep_for(
        std::chrono::milliseconds(300)); // frames come some milliseconds behind their packets
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(fmt::format(" {} packets from ", 2 * count)));
    EXPECT_THAT(outcome.err, HasSubstr(fmt::format("; {0} frames, {0} of them matched", 2 * count)));
    const auto journeys = skbscope({"journey", folder_ / "lo.pcapng", "--format", "json"}).json();
    ASSERT_EQ(journeys.size(), 2U * count);
    for (const auto& journey : journeys) {
        ASSERT_TRUE(journey["flow"].is_object()) << "its frame would have told it";
        EXPECT_EQ(journey["flow"]["proto"], "icmp");
        const bool is_between = journey["flow"]["src"] == address || journey["flow"]["dst"] == address;
        EXPECT_TRUE(is_between) << journey["flow"];
    }
}

TEST_F(Record, InATimeNamespaceFramesMeetTheirPacketsAsEverywhere)
{
    const std::vector<std::string> ahead{"unshare", "--time", "--monotonic", "100000", "--fork"}; // seconds
    auto probe = ahead;
    probe.emplace_back("true");
    if (run_program(probe).status != 0) {
        GTEST_SKIP() << "no time namespaces here";
    }
    auto words = ahead;
    words.insert(words.end(),
                 {SKBSCOPE_PROGRAM, "record", "-i", "lo", "-f", fmt::format("udp port {}", VethPair::port()),
                  "-d", "1.5", "-w", folder_ / "lo.pcapng"});
    Beside recorder(words);
    ASSERT_TRUE(recorder.says("recording: "));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(VethPair::port()));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (int i = 0; i < 5; ++i) {
        (void)sendto(socket, "hello", 5, 0, reinterpret_cast<const sockaddr*>(&to),
                     sizeof to); // nobody is there: further ones may be refused
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    (void)close(socket);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr(" 0 frames"))) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr(" 0 of them matched"))) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("of them matched"));
}

TEST_F(Record, WithItsStandardStreamsClosedWritesNothingElseIntoItsFile)
{
    const auto closed =
        run_program({"sh", "-c", "exec \"$0\" record --no-frames -d 0.3 -w \"$1\" <&- >&- 2>&-",
                     SKBSCOPE_PROGRAM, folder_ / "closed.pcapng"});
    EXPECT_EQ(closed.status, 0);
    const auto report = skbscope({"report", folder_ / "closed.pcapng"});
    EXPECT_EQ(report.status, 0) << report.err;
    EXPECT_THAT(report.err, IsEmpty());
    const auto stream =
        run_program({"sh", "-c", "exec \"$0\" record --no-frames -d 0.3 -w - >&-", SKBSCOPE_PROGRAM});
    EXPECT_EQ(stream.status, 3) << stream.err;
    expect_one_line(stream);
}

TEST_F(RecordVeth, AFileAtItsLimitIsOneLineAndWhatFitOpens)
{
    Beside recorder({"sh", "-c", "ulimit -f 100; exec \"$0\" record --no-frames -w \"$1\"", SKBSCOPE_PROGRAM,
                     folder_ / "limit.pcapng"});
    ASSERT_TRUE(recorder.says("recording: "));
    const pid_t pid = recorder.pid();
    (void)send_datagrams(*veth_, 30'000, small_buffer);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    expect_one_line(outcome);
    EXPECT_THAT(instances_of(pid), IsEmpty());
    EXPECT_EQ(skbscope({"report", folder_ / "limit.pcapng"}).status, 0);
}

TEST_F(Record, WhoseWordsNobodyCanReadIsMadeAllTheSame)
{
    const auto outcome = run_program({"sh", "-c", "exec \"$0\" record -d 0.2 -w \"$1\" 2>/dev/full",
                                      SKBSCOPE_PROGRAM, folder_ / "quiet.pcapng"});
    EXPECT_EQ(outcome.status, 0) << outcome.out;
    EXPECT_EQ(skbscope({"report", folder_ / "quiet.pcapng"}).status, 0);
}

TEST_F(Record, WhereNothingCanBePrintedIsUnwritable)
{
    for (const char* format : {"text", "json"}) {
        const auto outcome = run_program(
            {"sh", "-c", "exec \"$0\" doctor --format \"$1\" >/dev/full", SKBSCOPE_PROGRAM, format});
        EXPECT_EQ(outcome.status, 3) << outcome.err;
        EXPECT_EQ(outcome.lines_on_stderr(), 1) << outcome.err;
    }
}

TEST_F(Record, OfADeviceThatGoesAwayGoesOnAndSaysSo)
{
    const std::string device = fmt::format("skbg{}", getpid() % 1'000'000);
    if (run_program({"ip", "link", "add", device, "type", "veth", "peer", "name", device + "p"}).status !=
        0) {
        GTEST_SKIP() << "no veth can be made here";
    }
    (void)run_program({"ip", "link", "set", device, "up"});
    (void)run_program({"ip", "link", "set", device + "p", "up"});
    Beside recorder({SKBSCOPE_PROGRAM, "record", "-i", device, "-w", folder_ / "gone.pcapng"});
    const bool begun = recorder.says("recording: ");
    EXPECT_EQ(run_program({"ip", "link", "del", device}).status, 0);
    ASSERT_TRUE(begun);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    recorder.signal(SIGINT);
    const auto outcome = recorder.wait();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("skbscope: " + device + ": "));
    EXPECT_EQ(skbscope({"report", folder_ / "gone.pcapng"}).status, 0);
}

TEST_F(Record, OfDevicesOfOneNameInTwoNamespacesSaysThatTheyAreShownAsOne)
{
    if (!is_installed("bash")) {
        GTEST_SKIP() << "bash is not installed";
    }
    // A namespace within a namespace, a pair of veth of one name between them, and a question over it now and then.
    Beside twins({"unshare", "-n", "bash", "-c",
                  "unshare -n sleep 20 & inner=$!; trap 'kill $inner' EXIT; "
                  "until [ $(readlink /proc/$inner/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done; "
                  "ip link add twin0 type veth peer name twin0 netns $inner && ip addr add 192.0.2.1/24 dev twin0 && "
                  "ip link set twin0 up && nsenter -n -t $inner ip link set twin0 up || exit 1; echo ready >&2; "
                  "while sleep 0.05; do echo x > /dev/udp/192.0.2.2/9; done"});
    if (!twins.says("ready")) {
        GTEST_SKIP() << "no veth of one name in two namespaces can be made here";
    }
    const auto recorded = run_program(record_words({"-d", "2", "-w", folder_ / "twins.pcapng"}));
    twins.signal(SIGTERM); // its trap ends the inner namespace
    (void)twins.wait();
    ASSERT_EQ(recorded.status, 0) << recorded.err;
    EXPECT_THAT(skbscope({"report", folder_ / "twins.pcapng"}).out,
                HasSubstr("twin0: a record names the device, not its namespace"));
}

TEST_F(Record, ForNoTimeAtAllIsAWrongCommandLine)
{
    for (const char* command : {"record", "replay"}) {
        for (const char* seconds : {"nan", "-1", "0", "1e300", "inf", "soon"}) {
            const auto outcome = skbscope({command, "-i", "lo", "-d", seconds, "-w", folder_ / "x.pcapng"});
            EXPECT_EQ(outcome.status, 2) << command << ' ' << seconds << ": " << outcome.err;
            EXPECT_LE(outcome.err.size(), 200U);
            EXPECT_THAT(folder_.names(), IsEmpty());
        }
    }
}

TEST_F(Record, OfNoSuchDeviceIsBadInput)
{
    const auto outcome = skbscope({"record", "-i", "skbnosuch0", "-d", "1", "-w", folder_ / "x.pcapng"});
    EXPECT_EQ(outcome.status, 3) << outcome.err;
    expect_one_line(outcome);
    EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(Record, WhereTracefsIsReadOnlyIsNotPermittedAndSaysWhy)
{
    const auto outcome = run_program(
        in_own_mounts("for t in /sys/kernel/tracing /sys/kernel/debug/tracing; do [ ! -d $t/events ] || "
                      "{ mount --bind $t $t && mount -o remount,bind,ro $t; } || exit 77; done; "
                      "\"$1\" record --no-frames -d 1 -w \"$2\"",
                      {folder_ / "x.pcapng"}));
    if (outcome.status == 77) {
        GTEST_SKIP() << "tracefs cannot be mounted read only here";
    }
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("read only"));
    expect_one_line(outcome);
    EXPECT_THAT(folder_.names(), IsEmpty());
}

TEST_F(Record, WithoutTracefsIsOfFramesOnlyAndSaysSo)
{
    const std::string hide = "for t in /sys/kernel/tracing /sys/kernel/debug; do [ ! -d $t ] || mount -t "
                             "tmpfs none $t || exit 77; done; ";
    const auto none =
        run_program(in_own_mounts(hide + "\"$1\" record --no-frames -d 1 -w \"$2\"", {folder_ / "x.pcapng"}));
    if (none.status == 77) {
        GTEST_SKIP() << "tracefs cannot be hidden here";
    }
    EXPECT_EQ(none.status, 4) << none.err;
    expect_one_line(none);
    const auto frames = run_program(
        in_own_mounts(hide + "\"$1\" record -i lo -d 0.3 -w \"$2\"", {folder_ / "frames.pcapng"}));
    EXPECT_EQ(frames.status, 0) << frames.err;
    EXPECT_THAT(frames.err, HasSubstr("only frames"));
    EXPECT_EQ(skbscope({"report", folder_ / "frames.pcapng"}).status, 0);
}

TEST_F(Record, ByAUserTheCapabilitiesOfTheProgramAreEnoughToFollowPackets)
{
    if (!is_installed("setpriv") || !is_installed("setcap")) {
        GTEST_SKIP() << "setpriv or setcap is not installed";
    }
    const std::string copy = folder_ / "skbscope";
    std::filesystem::copy_file(SKBSCOPE_PROGRAM, copy);
    (void)chmod(folder_.path().c_str(), 0777);
    if (const auto given =
            run_program({"setcap", "cap_dac_override,cap_dac_read_search,cap_net_raw,cap_syslog+ep", copy});
        given.status != 0) {
        GTEST_SKIP() << "capabilities cannot be given to a file here: " << given.err;
    }
    // The leak checker of the sanitizers may not look into a program with capabilities.
    const auto doctor = run_program({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                                     "env", "ASAN_OPTIONS=detect_leaks=0", copy, "doctor"},
                                    {.directory = "/"});
    EXPECT_EQ(doctor.status, 0) << doctor.out << doctor.err;
    EXPECT_THAT(doctor.out, HasSubstr("yes tracefs"));
}

TEST_F(Record, ByAUserWithoutRightsIsNotPermittedInOneLine)
{
    if (!is_installed("setpriv")) {
        GTEST_SKIP() << "setpriv is not installed";
    }
    // The program may lie where others must not look.
    const std::string copy = folder_ / "skbscope";
    std::filesystem::copy_file(SKBSCOPE_PROGRAM, copy);
    (void)chmod(folder_.path().c_str(), 0777);
    const auto outcome = run_program({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                                      copy, "record", "-d", "1", "-w", folder_ / "x.pcapng"},
                                     {.directory = "/"});
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    expect_one_line(outcome);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "x.pcapng"));
}

} // namespace
} // namespace skbscope::e2e
