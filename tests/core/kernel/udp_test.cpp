// The rules of UDP sockets: who gets a datagram, what a socket may hold, what a sender is told.

#include "model.h"

#include <set>

namespace skbscope::test {
namespace {

std::uint64_t received(const ModelRun& run, const std::string& name)
{
    const auto& tasks = run.world().tasks;
    return std::ranges::find(tasks, name, &kernel::Task::name)->received;
}

/// A server with two sockets on :5001 and a client station whose flows come from the given ports.
std::string two_sockets(const std::string& first, const std::string& second, const std::string& to, const std::vector<int>& ports, const std::string& host = "")
{
    std::string text = "skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n" + host +
                       "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: client}\n"
                       "    receivers:\n      - {name: a, port: 5001, cpu: 0" + first + "}\n      - {name: b, port: 5001, cpu: 1" + second +
                       "}\nstations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address: 10.99.0.1\n    sends:\n";
    for (const int port : ports) {
        text += "      - {to: \"" + to + ":5001\", from_port: " + std::to_string(port) + ", start: 500us, count: 4, gap: 100us}\n";
    }
    return text;
}

void expect_closed(const ModelRun& run)
{
    EXPECT_EQ(run.end().accounting().in_flight(), 0U);
}

TEST(UdpAutobind, PortLiesInTheRangeAndIsFree)
{
    std::set<std::uint16_t> ports;
    for (int seed = 1; seed <= 20; ++seed) {
        std::string text = send_scenario();
        text.insert(text.find('\n') + 1, "seed: " + std::to_string(seed) + "\n");
        const ModelRun run(text);
        for (const kernel::Socket& sk : run.world().sockets) {
            if (sk.in_use && sk.kind == kernel::SocketKind::udp && sk.num != 0) {
                EXPECT_GE(sk.num, 32768);
                EXPECT_LE(sk.num, 60999);
                ports.insert(sk.num);
            }
        }
    }
    EXPECT_GT(ports.size(), 10U) << "picked at random";
}

/// Four ports, one of them bound: as many senders as are left get one each, the next none.
TEST(UdpAutobind, FindsEachFreePortOfANarrowRangeAndNeverATakenOne)
{
    for (int seed = 1; seed <= 20; ++seed) {
        std::string text = "skbscope: 1\nseed: " + std::to_string(seed) + "\nhosts:\n  - name: client\n    sysctls: {net.ipv4.ip_local_port_range.low: 40000, net.ipv4.ip_local_port_range.high: 40003}\n"
                           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: server}\n"
                           "    neighbours:\n      - {address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0}\n"
                           "    receivers: [{name: taken, port: 40001}]\n    senders:\n";
        for (int sender = 1; sender <= 4; ++sender) {
            text += "      - {name: dig" + std::to_string(sender) + ", to: \"10.99.0.1:5002\", start: " + std::to_string(sender * 50) + "us, count: 1}\n";
        }
        const ModelRun run(text + "stations:\n  - {name: server, mac: \"52:54:00:12:34:01\", address: 10.99.0.1}\n");
        std::multiset<std::uint16_t> ports;
        for (const PacketRecord& packet : run.trace().packets()) {
            if (packet.flow && packet.flow->destination_port == 5002) {
                ports.insert(packet.flow->source_port);
            }
        }
        EXPECT_EQ(ports, (std::multiset<std::uint16_t>{40000, 40002, 40003})) << "seed " << seed;
    }
}

TEST(UdpReuseport, FlowsAreSharedOutAndEachStaysWithItsSocket)
{
    std::vector<int> ports;
    for (int port = 40001; port <= 40012; ++port) {
        ports.push_back(port);
    }
    const ModelRun run(two_sockets(", reuseport: true", ", reuseport: true", "10.99.0.2", ports));
    EXPECT_EQ(received(run, "a") + received(run, "b"), 48U);
    EXPECT_EQ(received(run, "a") % 4, 0U) << "a flow of four is never parted";
    EXPECT_GT(received(run, "a"), 0U);
    EXPECT_GT(received(run, "b"), 0U);
    expect_closed(run);
}

TEST(UdpLookup, ConnectedSocketWinsItsPeersDatagramsAndGetsNoOthers)
{
    const ModelRun run(two_sockets(", reuseaddr: true", ", reuseaddr: true, connect: \"10.99.0.1:40001\"", "10.99.0.2", {40001, 40002}));
    EXPECT_EQ(received(run, "b"), 4U);
    EXPECT_EQ(received(run, "a"), 4U);
}

TEST(UdpBroadcast, GoesToEveryListenerAndAllButOneGetAClone)
{
    const ModelRun run(two_sockets(", reuseaddr: true", ", reuseaddr: true", "10.99.0.255", {40001}));
    EXPECT_EQ(received(run, "a"), 4U);
    EXPECT_EQ(received(run, "b"), 4U);
    EXPECT_EQ(run.calls_anywhere(fn::__udp4_lib_mcast_deliver), 4U);
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 8U);
    EXPECT_EQ(run.counter("Udp.IgnoredMulti"), 0U);
    expect_closed(run);
}

TEST(UdpBroadcast, WithoutAListenerIsIgnoredAndCounted)
{
    std::string text = receive_scenario("count: 3");
    text.replace(text.find("10.99.0.2:5001"), 14, "10.99.0.255:53");
    const ModelRun run(text);
    EXPECT_EQ(run.counter("Udp.IgnoredMulti"), 3U);
    EXPECT_EQ(run.counter("Udp.NoPorts"), 0U);
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), 3U);
    expect_closed(run);
}

TEST(UdpMemory, OfAllSocketsTogetherIsLimitedByUdpMem)
{
    // 5.10 counts at once; later kernels let every CPU keep 256 pages to itself before the sum moves.
    std::string text = receive_scenario("count: 60, size: 1000", "start: 1s", "    sysctls: {net.ipv4.udp_mem: 8}\n");
    text.insert(text.find('\n') + 1, "kernel: \"5.10\"\n");
    const ModelRun old(text);
    EXPECT_GT(old.drops(drop::PROTO_MEM), 0U);
    EXPECT_EQ(old.counter("Udp.MemErrors"), old.drops(drop::PROTO_MEM));
    EXPECT_EQ(old.counter("Udp.InErrors"), old.drops(drop::PROTO_MEM));
    EXPECT_EQ(received(old, "dnsd") + old.drops(drop::PROTO_MEM), 60U);
    const ModelRun run(receive_scenario("count: 60, size: 1000", "start: 1s", "    sysctls: {net.ipv4.udp_mem: 8}\n"));
    EXPECT_EQ(run.drops(drop::PROTO_MEM), 0U);
    expect_closed(run);
}

/// 60 datagrams to the first socket and then as many to the second; nobody reads. What each of them holds.
std::pair<std::size_t, std::size_t> held_under(int pages, const std::string& more = "")
{
    std::string text = two_sockets(", start: 1s", ", start: 1s", "10.99.0.2", {40001}, "    sysctls: {net.ipv4.udp_mem: " + std::to_string(pages) + more + "}\n");
    text.insert(text.find('\n') + 1, "kernel: \"5.10\"\n"); // later kernels let every CPU keep 256 pages to itself
    text.replace(text.find("name: b, port: 5001"), 19, "name: b, port: 5002");
    text.replace(text.find("count: 4"), 8, "count: 60");
    text += "      - {to: \"10.99.0.2:5002\", from_port: 40001, start: 20ms, count: 60, gap: 100us}\n";
    const ModelRun run(text, SimTime{} + 900_ms);
    std::vector<std::size_t> held;
    for (const kernel::Socket& sk : run.world().sockets) {
        if (sk.in_use && sk.kind == kernel::SocketKind::udp) {
            held.push_back(sk.receive_queue.size());
        }
    }
    return {held.at(0), held.at(1)};
}

TEST(UdpMemory, UpToTheFirstLimitAllIsTakenAndAboveItOnlyASocketsMinimum)
{
    // __sk_mem_raise_allocated(): a small datagram is 768 bytes. The first of udp_mem's three limits is half of the last.
    EXPECT_EQ(held_under(8), (std::pair<std::size_t, std::size_t>{21, 5})) << "four pages hold 21 (the last needs a page more than it has left); then less than 4096 bytes, itself counted in";
    EXPECT_EQ(held_under(8, ", net.ipv4.udp_rmem_min: 3841"), (std::pair<std::size_t, std::size_t>{21, 5}));
    EXPECT_EQ(held_under(8, ", net.ipv4.udp_rmem_min: 3840"), (std::pair<std::size_t, std::size_t>{21, 5})) << "only a datagram that needs a page is asked";
    EXPECT_EQ(held_under(8, ", net.ipv4.udp_rmem_min: 769"), (std::pair<std::size_t, std::size_t>{21, 5}));
    EXPECT_EQ(held_under(8, ", net.ipv4.udp_rmem_min: 768"), (std::pair<std::size_t, std::size_t>{21, 0})) << "its first datagram is one too many";
    EXPECT_EQ(held_under(4), (std::pair<std::size_t, std::size_t>{10, 5}));
}

TEST(UdpSend, BroadcastNeedsTheSocketsConsent)
{
    std::string text = send_scenario("count: 3");
    text.replace(text.find("10.99.0.1:5002"), 14, "10.99.0.255:99");
    EXPECT_EQ(ModelRun(text).world().tasks.back().failed, 3U) << "EACCES";
    text.replace(text.find("count: 3"), 8, "count: 3, broadcast: true");
    const ModelRun run(text);
    EXPECT_EQ(run.world().tasks.back().failed, 0U);
    EXPECT_EQ(run.count(Verdict::sent), 3U);
}

TEST(UdpSend, FullSendBufferBlocksUntilHalfOfItIsFree)
{
    const ModelRun run(send_scenario("count: 40, gap: 0us, size: 1000, sndbuf: 9000", true, true, "rate: 10mbit"));
    EXPECT_EQ(run.count(Verdict::sent), 40U);
    EXPECT_EQ(run.world().tasks.back().failed, 0U);
    for (const kernel::Socket& sk : run.world().sockets) {
        EXPECT_EQ(sk.sk_wmem_alloc, 0U) << "all is given back";
    }
    expect_closed(run);
}

} // namespace
} // namespace skbscope::test
