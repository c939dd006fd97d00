// What netlink answers, read from bytes that real kernels sent (tests/data/netlink), and asked of this one.

#include "capture/host/host_sampler.h"

#include "capture/host/devices.h"
#include "capture/host/rules.h"
#include "capture/host/text_file.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <set>
#include <sstream>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace skbscope::host {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const fs::path data = fs::path(SKBSCOPE_SOURCE_DIR) / "tests/data/netlink";

Answer recorded(const std::string& name)
{
    const std::string text = read_file((data / name).string()).value_or("");
    EXPECT_FALSE(text.empty()) << name;
    return {text.begin(), text.end()};
}

std::uint64_t statistic(const Link& link, const std::string& name)
{
    const auto found = std::ranges::find(link.statistics, name, &std::pair<std::string, std::uint64_t>::first);
    return found == link.statistics.end() ? 0 : found->second;
}

TEST(Netlink, DevicesAreReadWithTheirStateAndStatistics)
{
    const auto links = parse_links(recorded("6.18-links"));
    const auto named = [&](const std::string& name) { return *std::ranges::find(links, name, &Link::name); };
    ASSERT_EQ(links.size(), 3U);
    const Link veth = named("rec0");
    EXPECT_EQ(veth.kind, "veth");
    EXPECT_EQ(veth.state, "up");
    EXPECT_TRUE(veth.is_up);
    EXPECT_EQ(veth.carrier, true);
    EXPECT_EQ(veth.mtu, 1400U);
    EXPECT_EQ(veth.txqueuelen, 500U);
    EXPECT_EQ(veth.qdisc, "pfifo");
    EXPECT_EQ(statistic(veth, "tx_packets"), statistic(named("rec1"), "rx_packets"));
    EXPECT_GT(statistic(veth, "tx_packets"), 0U);
    EXPECT_EQ(named("lo").kind, "");
}

TEST(Netlink, QdiscsAreReadWithWhatWaitsAndWhatWasDropped)
{
    const auto qdiscs = parse_qdiscs(recorded("6.18-qdiscs"));
    const auto pfifo = std::ranges::find(qdiscs, "pfifo", &QdiscStatistics::kind);
    ASSERT_NE(pfifo, qdiscs.end());
    EXPECT_EQ(qdisc_place(*pfifo), "root 7:");
    EXPECT_GT(pfifo->packets, 0U);
    Counters counters;
    add_qdiscs(counters, qdiscs, parse_links(recorded("6.18-links")));
    EXPECT_EQ(counters.at("qdisc rec0 pfifo root 7:.packets"), pfifo->packets);
    EXPECT_EQ(counters.at("qdisc rec0 pfifo root 7:.drops"), pfifo->drops);
}

TEST(Netlink, SocketsAreReadWithTheirBuffersQueuesAndDrops)
{
    const auto sockets = parse_sockets(recorded("6.18-udp4"), 17);
    const auto full = std::ranges::find(sockets, 5001, &SocketState::local_port);
    ASSERT_NE(full, sockets.end());
    EXPECT_TRUE(full->has_memory);
    EXPECT_EQ(full->rcvbuf, 4608U);
    EXPECT_GT(full->drops, 0U);
    EXPECT_GT(full->rmem, 0U);
    EXPECT_EQ(full->receive_queue, full->rmem);
    EXPECT_THAT(socket_name(*full), HasSubstr("socket udp 0.0.0.0:5001 #"));
    const auto tcp = parse_sockets(recorded("6.18-tcp4"), 6);
    const auto listener = std::ranges::find(tcp, 5002, &SocketState::local_port);
    ASSERT_NE(listener, tcp.end());
    EXPECT_EQ(tcp_state_name(listener->state), "listen");
}

TEST(Netlink, PacketSocketsAreReadWithWhatTheyTakeAndWhatTheyDropped)
{
    const auto sockets = parse_packet_sockets(recorded("6.18-packet"));
    ASSERT_EQ(sockets.size(), 2U);
    const auto& ip_only = sockets[0];
    EXPECT_TRUE(ip_only.is_packet);
    EXPECT_EQ(ip_only.device, 1);
    EXPECT_EQ(ip_only.rcvbuf, 4608U);
    EXPECT_EQ(ip_only.drops, 54U); // of 60: 30 datagrams over lo, and 30 ICMP answers
    EXPECT_EQ(ip_only.receive_queue, ip_only.rmem);
    Link lo;
    lo.index = 1;
    lo.name = "lo";
    EXPECT_EQ(socket_name(ip_only, {lo}), fmt::format("socket packet 0x0800 lo #{}", ip_only.inode));
    EXPECT_EQ(socket_name(sockets[1], {lo}), fmt::format("socket packet all * #{}", sockets[1].inode));
}

TEST(Netlink, RawSocketsAreReadFromTheTableOfAKernelWithoutTheirDiagnosis)
{
    const auto sockets = parse_raw_table("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
                                         " 193: 0100007F:0001 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 4763114 2 00000000805a6a17 5\n"
                                         "   3: 00000000000000000000000001000000:003A 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 77 2 0 0\n"
                                         " 194: 0100007F:zz\n");
    ASSERT_EQ(sockets.size(), 2U);
    EXPECT_EQ(socket_name(sockets[0]), "socket raw 127.0.0.1:1 #4763114");
    EXPECT_EQ(sockets[0].rmem, 0x300U);
    EXPECT_EQ(sockets[0].drops, 5U);
    EXPECT_EQ(socket_name(sockets[1]), "socket raw [::1]:58 #77");
}

TEST(Netlink, AnAnswerCutAnywhereGivesWhatCameBefore)
{
    for (const char* name : {"6.18-links", "6.18-qdiscs", "6.18-udp4", "6.18-packet"}) {
        const Answer whole = recorded(name);
        std::size_t most = 0;
        for (std::size_t length = 0; length <= whole.size(); ++length) {
            const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)); // of its own: reading past it is seen
            const std::size_t found = parse_links(cut).size() + parse_qdiscs(cut).size() + parse_sockets(cut, 17).size() + parse_packet_sockets(cut).size();
            EXPECT_GE(found, most);
            most = found;
        }
        EXPECT_GT(most, 0U);
    }
}

TEST(Netlink, LengthsThatAreLiesEndTheReading)
{
    Answer bytes = recorded("6.18-links");
    for (std::size_t at = 0; at + 4 < bytes.size(); at += 3) {
        Answer broken = bytes;
        broken[at] = 0xff;
        broken[at + 1] = 0xff;
        (void)parse_links(broken);
        (void)parse_qdiscs(broken);
        (void)parse_sockets(broken, 6);
        broken[at] = broken[at + 1] = 0;
        (void)parse_links(broken);
    }
}

TEST(Devices, InterruptsHaveTheirNumberAndTheNameOfTheirDevice)
{
    constexpr const char* table = "           CPU0       CPU1       \n"
                                  " 38:          0      17096 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\n"
                                  " 11:          5          6   IO-APIC  11-fasteoi   eth0\n"
                                  "NMI:          0          0   Non-maskable interrupts\n";
    const auto interrupts = parse_interrupt_names(table);
    ASSERT_EQ(interrupts.size(), 2U);
    EXPECT_EQ(interrupts[0].number, 38U);
    EXPECT_EQ(interrupts[0].name, "virtio2-input.0");
    EXPECT_EQ(interrupts[1].name, "eth0");
    EXPECT_THAT(interrupts_table(interrupts), HasSubstr("38\tvirtio2-input.0\t-\t-\n"));
    EXPECT_THAT(parse_interrupt_names(""), IsEmpty());
}

TEST(Devices, ADriverThatSaysNothingHasDashes)
{
    Link link;
    link.name = "dum0";
    link.kind = "dummy";
    link.mtu = 1500;
    EXPECT_THAT(devices_table({link}, {DeviceDetails{}}), HasSubstr("dum0\toff\t-\tdummy\t-\t1500\t0\t-\t-\t-\t-\t-\n"));
    const DeviceDetails gone = read_device_details("no-such-device");
    EXPECT_TRUE(gone.driver.empty());
    EXPECT_FALSE(gone.ring);
}

TEST(Devices, AnInterruptsRateIsWhatCameBetweenTwoLooks)
{
    const Counters before{{"interrupt 24 eth0 CPU 0", 100}, {"interrupt 24 eth0 CPU 1", 7}, {"interrupt 25 eth1 CPU 0", 9}};
    Counters now{{"interrupt 24 eth0 CPU 0", 350}, {"interrupt 24 eth0 CPU 1", 7}, {"interrupt 25 eth1 CPU 0", 9}, {"interrupt 26 new CPU 0", 3}};
    add_interrupt_rates(now, before, Duration{500'000'000});
    EXPECT_EQ(now.at("interrupt 24 eth0.per_second"), 500U);
    EXPECT_EQ(now.at("interrupt 25 eth1.per_second"), 0U);
    EXPECT_FALSE(now.contains("interrupt 26 new.per_second"));
    Counters same = before;
    add_interrupt_rates(same, before, Duration{0});
    EXPECT_EQ(same, before);
}

/// What `ethtool -S` prints of a device, and what we do.
void both_statistics(std::string& trouble, std::string& theirs, std::string& ours)
{
    if (unshare(CLONE_NEWNET) != 0 || std::system("ip link add h0 type veth peer name h1") != 0) { // NOLINT: a fixed command
        trouble = "no veth can be made in a network namespace here";
        return;
    }
    FILE* pipe = ::popen("ethtool -S h0 2>/dev/null", "r"); // NOLINT: a fixed command
    char line[256];
    while (pipe != nullptr && std::fgets(line, sizeof line, pipe) != nullptr) {
        theirs += line;
    }
    if (pipe == nullptr || ::pclose(pipe) != 0) {
        trouble = "no ethtool here";
    }
    ours = driver_statistics_text("h0", read_driver_statistics("h0"));
}

TEST(Devices, ADriversOwnStatisticsAreWhatEthtoolPrints)
{
    if (geteuid() != 0) {
        GTEST_SKIP() << "a network namespace needs root";
    }
    std::string trouble, theirs, ours;
    std::thread(both_statistics, std::ref(trouble), std::ref(theirs), std::ref(ours)).join();
    if (!trouble.empty()) {
        GTEST_SKIP() << trouble;
    }
    EXPECT_THAT(theirs, HasSubstr("peer_ifindex: "));
    EXPECT_EQ(ours, "h0:\n" + theirs);
    EXPECT_TRUE(read_driver_statistics("no-such-device").empty());
}

TEST(Settings, ThoseOfTheCatalogAreReadWithTheirDevices)
{
    std::string folder = "/tmp/skbscope-settings-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    fs::create_directories(folder + "/sys/net/core");
    fs::create_directories(folder + "/sys/net/ipv4/conf/eth0.5");
    std::ofstream(folder + "/sys/net/core/netdev_max_backlog") << "1000\n";
    std::ofstream(folder + "/sys/net/ipv4/tcp_rmem") << "4096\t131072\t6291456\n";
    std::ofstream(folder + "/sys/net/ipv4/conf/eth0.5/rp_filter") << "2\n";
    const std::string table = settings_table(folder, {"eth0.5"});
    EXPECT_THAT(table, HasSubstr("net.core.netdev_max_backlog = 1000\n"));
    EXPECT_THAT(table, HasSubstr("net.ipv4.tcp_rmem = 4096 131072 6291456\n"));
    EXPECT_THAT(table, HasSubstr("net.ipv4.conf.eth0.5.rp_filter = 2\n"));
    fs::remove_all(folder);
}

TEST(Settings, WhatTheWholeHostSharesIsKnownInANamespaceThatDoesNotShowIt)
{
    const std::string own = "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 2\n";
    const std::string first = "net.core.netdev_max_backlog = 1000\nnet.ipv4.ip_forward = 0\nnet.ipv4.conf.default.rp_filter = 0\n"
                              "net.ipv4.neigh.default.mcast_solicit = 3\nnet.ipv4.neigh.default.gc_thresh3 = 1024\n";
    EXPECT_EQ(with_host_wide_settings(own, first), own + "net.core.netdev_max_backlog = 1000\nnet.ipv4.neigh.default.gc_thresh3 = 1024\n");
    EXPECT_EQ(with_host_wide_settings(own, ""), own);
}

TEST(HostSampler, InANamespaceOfItsOwnTheHostsBacklogLimitIsRecordedToo)
{
    if (!fs::exists("/proc/sys/net/core/netdev_max_backlog")) {
        GTEST_SKIP() << "the tests run in a network namespace that does not show it";
    }
    std::string trouble;
    std::string settings;
    std::thread([&] {
        if (unshare(CLONE_NEWNET) != 0) {
            trouble = "needs CAP_SYS_ADMIN";
            return;
        }
        HostSampler sampler({"/proc", true, false});
        sampler.begin(SimTime{0});
        Trace trace;
        (void)trace.add_host({"host", 1});
        sampler.write(trace, never);
        const auto file = std::ranges::find(trace.files, "sysctl", &HostFile::name);
        settings = file == trace.files.end() ? "" : file->text;
    }).join();
    if (!trouble.empty()) {
        GTEST_SKIP() << trouble;
    }
    EXPECT_THAT(settings, HasSubstr("net.core.netdev_max_backlog = "));
}

TEST(Rules, AToolThatIsNotThereOrFailsIsNamed)
{
    const auto absent = ask_tool({"no-such-tool", {}});
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().kind, ErrorKind::not_found);
    const auto refused = ask_tool({"false", {}});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().describe(), HasSubstr("status 1"));
    EXPECT_EQ(ask_tool({"echo", {"a", "b; c"}}).value_or(""), "a b; c\n"); // words, no shell
    EXPECT_EQ(ask_tool({"env", {}}).value_or("?"), "");
}

TEST(HostSampler, WhatMovedBetweenTwoLooksIsInTheTraceWithItsChange)
{
    HostSampler sampler({"/proc", false});
    sampler.set("recorder.cpu_us", 10);
    sampler.begin({100});
    sampler.set("recorder.cpu_us", 25);
    sampler.sample({200});
    Trace trace;
    (void)trace.add_host({"host", 2});
    sampler.write(trace, {150}); // the second look is younger
    const auto value_of = [&](const std::string& name) {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> moves;
        for (std::size_t i = 0; i < trace.size(); ++i) {
            const CounterChange& change = trace.counter_changes()[trace[i].arg];
            if (trace.counter(change.counter).name == name) {
                moves.emplace_back(change.before, change.after);
            }
        }
        return moves;
    };
    EXPECT_THAT(value_of("recorder.cpu_us"), ::testing::ElementsAre(std::pair(10, 10)));
    EXPECT_GT(trace.size(), 20U);
    EXPECT_THAT(value_of("Ip.InReceives").size() + value_of("Ip.OutRequests").size(), ::testing::Ge(1U));
    sampler.write(trace, never);
    EXPECT_THAT(value_of("recorder.cpu_us"), ::testing::ElementsAre(std::pair(10, 10), std::pair(10, 25)));
    ASSERT_FALSE(trace.files.empty());
    for (std::size_t i = 1; i < trace.size(); ++i) {
        EXPECT_LE(trace[i - 1].time_ns, trace[i].time_ns);
    }
}

/// In a network namespace of its own, on a thread of its own: a socket that nobody reads, and what was dropped for it.
void full_socket_in_a_namespace(std::string& trouble, Trace& trace)
{
    if (unshare(CLONE_NEWNET) != 0 || std::system("ip link set lo up") != 0) { // NOLINT: a fixed command
        trouble = "no network namespace can be made here";
        return;
    }
    const int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int small = 2304;
    (void)setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(5001);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(receiver, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
        trouble = "cannot bind";
    }
    HostSampler sampler({"/proc/thread-self", false});
    sampler.begin({1});
    const int sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const char payload[100] = {};
    for (int i = 0; i < 50; ++i) {
        (void)sendto(sender, payload, sizeof payload, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    }
    sampler.sample({2});
    (void)close(sender);
    (void)close(receiver);
    sampler.end({3});
    (void)trace.add_host({"host", 2});
    sampler.write(trace, never);
}

TEST(HostSampler, ASocketThatNobodyReadsIsSeenWithItsQueueAndItsDrops)
{
    if (geteuid() != 0) {
        GTEST_SKIP() << "a network namespace needs root";
    }
    std::string trouble;
    Trace trace;
    std::thread(full_socket_in_a_namespace, std::ref(trouble), std::ref(trace)).join();
    if (!trouble.empty()) {
        GTEST_SKIP() << trouble;
    }
    std::map<std::string, std::uint64_t> last;
    std::map<std::string, std::uint64_t> moved;
    for (std::size_t i = 0; i < trace.size(); ++i) {
        const CounterChange& change = trace.counter_changes()[trace[i].arg];
        last[trace.counter(change.counter).name] = change.after;
        moved[trace.counter(change.counter).name] += change.after - change.before;
    }
    std::uint64_t drops = 0, queued = 0;
    for (const auto& [name, value] : last) {
        if (name.starts_with("socket udp 127.0.0.1:5001 #")) {
            drops = name.ends_with(".drops") ? value : drops;
            queued = name.ends_with(".rmem") ? value : queued;
        }
    }
    EXPECT_GT(drops, 0U);
    EXPECT_LT(drops, 50U);
    EXPECT_GT(queued, 0U);
    EXPECT_EQ(moved["Udp.RcvbufErrors"], drops);
    EXPECT_EQ(moved["lo.rx_packets"], 50U);
    const auto files = [&](const std::string& name) {
        const auto found = std::ranges::find(trace.files, name, &HostFile::name);
        return found == trace.files.end() ? std::string() : found->text;
    };
    EXPECT_THAT(files("devices"), HasSubstr("lo\t"));
    EXPECT_THAT(files("sockets"), HasSubstr("socket udp 127.0.0.1:5001 #"));
    EXPECT_THAT(files("sockets"), HasSubstr("\tgone\t4608\t")); // it is told of after it was closed, too
}

/// Seen from a second namespace: a packet and a raw socket in the first, which has a name of its own.
void sockets_of_another_namespace(const std::string& name, std::string& trouble, std::vector<HostFile>& files)
{
    const std::string make = "ip netns add " + name;
    const std::string remove = "ip netns del " + name;
    if (std::system(make.c_str()) != 0) { // NOLINT: fixed words and our own pid
        trouble = "no network namespace can be made here";
        return;
    }
    int raw = -1;
    int packet = -1;
    std::thread([&] {
        const int space = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
        if (space >= 0 && ::setns(space, CLONE_NEWNET) == 0) {
            raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
            packet = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0806));
        }
        (void)::close(space);
    }).join();
    HostSampler sampler({"/proc", false, true});
    sampler.begin({1});
    sampler.end({2});
    (void)::close(raw);
    (void)::close(packet);
    (void)std::system(remove.c_str()); // NOLINT
    Trace trace;
    (void)trace.add_host({"host", 2});
    sampler.write(trace, never);
    files = std::move(trace.files);
}

TEST(HostSampler, SocketsOfOtherNamespacesAreToldWithTheNamespace)
{
    if (geteuid() != 0) {
        GTEST_SKIP() << "a network namespace needs root";
    }
    const std::string name = fmt::format("skbscope-test-{}", ::getpid());
    std::string trouble;
    std::vector<HostFile> files;
    sockets_of_another_namespace(name, trouble, files);
    if (!trouble.empty()) {
        GTEST_SKIP() << trouble;
    }
    const auto sockets = std::ranges::find(files, "sockets", &HostFile::name);
    ASSERT_NE(sockets, files.end());
    std::vector<std::string> of_that_space;
    std::istringstream lines(sockets->text);
    for (std::string line; std::getline(lines, line);) {
        if (line.ends_with("\t" + name)) {
            of_that_space.push_back(line);
        }
    }
    EXPECT_THAT(of_that_space, Contains(HasSubstr("socket packet 0x0806 * #")));
    // A kernel without raw_diag tells of raw sockets only in the table of the caller's own namespace.
    const auto missing = std::ranges::find(files, "missing", &HostFile::name);
    const bool is_said = missing != files.end() && missing->text.find("raw sockets") != std::string::npos;
    EXPECT_TRUE(is_said || std::ranges::any_of(of_that_space, [](const std::string& line) { return line.starts_with("socket raw 0.0.0.0:17 #"); }));
}

} // namespace
} // namespace skbscope::host
