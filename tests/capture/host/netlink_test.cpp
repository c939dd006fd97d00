// What netlink answers, read from bytes that real kernels sent (tests/data/netlink), and asked of this one.

#include "capture/host/host_sampler.h"

#include "capture/host/devices.h"
#include "capture/host/rules.h"
#include "capture/host/text_file.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <set>
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

TEST(Netlink, AnAnswerCutAnywhereGivesWhatCameBefore)
{
    for (const char* name : {"6.18-links", "6.18-qdiscs", "6.18-udp4"}) {
        const Answer whole = recorded(name);
        std::size_t most = 0;
        for (std::size_t length = 0; length <= whole.size(); ++length) {
            const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)); // of its own: reading past it is seen
            const std::size_t found = parse_links(cut).size() + parse_qdiscs(cut).size() + parse_sockets(cut, 17).size();
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

} // namespace
} // namespace skbscope::host
