// AF_PACKET taps and classic BPF.

#include "core/kernel/filter.h"
#include "tests/core/kernel/model.h"

namespace skbscope::test {
namespace {

using namespace kernel;

std::string tap(const std::string& keys) { return "    taps:\n      - {" + keys + "}\n"; }

std::vector<std::string> names_of(const std::vector<std::string>& path, std::initializer_list<const char*> wanted)
{
    std::vector<std::string> some;
    for (const std::string& name : path) {
        if (std::ranges::find(wanted, name) != wanted.end()) {
            some.push_back(name);
        }
    }
    return some;
}

TEST(Tap, MappedRingTakesTheBytesOnTheWayUpAndMakesNoPacketOfItsOwn)
{
    const ModelRun run(receive_scenario("count: 1", "", tap("device: eth0, version: 2")));
    const auto path = run.path(1);
    EXPECT_EQ(first_missing(path, {"__netif_receive_skb_core", "tpacket_rcv", "tpacket_get_timestamp", "sock_def_readable", "consume_skb",
                                   "ip_list_rcv", "ip_rcv_core", "udp_rcv", "__udp_enqueue_schedule_skb", "udp_recvmsg"}), "");
    EXPECT_EQ(run.count(Verdict::delivered), 1U);
    EXPECT_EQ(run.trace().packet_count(), 1U);
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 1U);
}

TEST(Tap, PacketSocketClonesWhatOthersHoldToo)
{
    const ModelRun run(receive_scenario("count: 1", "", tap("device: eth0, kind: packet")));
    ASSERT_EQ(run.trace().packet_count(), 2U);
    const auto steps = names_of(run.path(1), {"packet_rcv", "skb_clone", "consume_skb", "ip_list_rcv"});
    EXPECT_EQ(steps, (std::vector<std::string>{"packet_rcv", "skb_clone", "consume_skb", "ip_list_rcv"}));
    const PacketRecord& clone = run.trace().packet(PacketId{2});
    EXPECT_EQ(clone.parent, PacketId{1});
    EXPECT_EQ(clone.verdict, Verdict::delivered);
    EXPECT_EQ(first_missing(run.path(2), {"sock_def_readable", "__skb_try_recv_from_queue", "skb_copy_datagram_iter", "consume_skb", "sock_rfree"}), "");
    EXPECT_EQ(run.count(Verdict::delivered), 2U);
}

TEST(Tap, OnTheWayDownAllTapsShareOneCloneBehindTheQdisc)
{
    const ModelRun run(send_scenario("count: 1", true, true, "", tap("device: eth0, version: 2") + "      - {name: second, version: 2}\n"));
    const auto path = run.path(1);
    EXPECT_EQ(first_missing(path, {"sch_direct_xmit", "dev_hard_start_xmit", "dev_queue_xmit_nit", "skb_clone", "e1000_xmit_frame"}), "");
    ASSERT_EQ(run.trace().packet_count(), 2U);
    const auto taken = names_of(run.path(2), {"tpacket_rcv", "consume_skb"});
    EXPECT_EQ(taken, (std::vector<std::string>{"tpacket_rcv", "consume_skb", "tpacket_rcv", "consume_skb"}));
    EXPECT_EQ(run.trace().packet(PacketId{2}).verdict, Verdict::delivered);
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 1U);
    EXPECT_EQ(run.counter("second@any.tp_packets"), 1U);
}

TEST(Tap, FilterThatRefusesCostsNeitherCloneNorDrop)
{
    const ModelRun run(receive_scenario("count: 2", "", tap("device: eth0, kind: packet, filter: tcp")));
    EXPECT_EQ(run.trace().packet_count(), 2U);
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 0U);
    EXPECT_EQ(run.count(Verdict::dropped), 0U);
    EXPECT_TRUE(run.calls(1, "run_filter"));
    EXPECT_FALSE(run.calls(1, "skb_clone"));
}

TEST(Tap, FullReceiveBufferLosesTheTapsFrameAndNotThePacket)
{
    const ModelRun run(receive_scenario("count: 20, gap: 1us", "", tap("device: eth0, kind: packet, rcvbuf: 2304, work: 10ms, cpu: 1")));
    EXPECT_GT(run.counter("tcpdump@eth0.tp_drops"), 0U);
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets") + run.counter("tcpdump@eth0.tp_drops"), 20U);
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 20U);
    EXPECT_EQ(run.count(Verdict::dropped), 0U);
}

TEST(Tap, FullRingLosesTheTapsFrameAndNotThePacket)
{
    const ModelRun run(receive_scenario("count: 100, gap: 1us", "", tap("device: eth0, version: 2, buffer: 65536, work: 10ms")));
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets") + run.counter("tcpdump@eth0.tp_drops"), 100U);
    EXPECT_GT(run.counter("tcpdump@eth0.tp_drops"), 0U);
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 100U);
}

TEST(Tap, BlockOfAV3RingIsHandedOverByItsTimer)
{
    const ModelRun run(receive_scenario("count: 5", "", tap("device: eth0")));
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 5U);
    EXPECT_EQ(run.calls_anywhere(fn::prb_retire_rx_blk_timer_expired), 1U);
    for (const auto& task : run.world().tasks) {
        if (task.name == "tcpdump") {
            EXPECT_EQ(task.received, 5U);
        }
    }
}

TEST(Tap, OpensAndClosesAtItsTimes)
{
    const ModelRun run(receive_scenario("count: 10, gap: 1ms", "", tap("device: eth0, version: 2, start: 3500us, stop: 6500us")));
    EXPECT_EQ(run.counter("tcpdump@eth0.tp_packets"), 3U);
}

TEST(Tap, InKernel6_12TheReferenceIsGivenBackByTheNameOfADrop)
{
    std::string text = receive_scenario("count: 1", "", tap("device: eth0, version: 2"));
    text.insert(text.find("hosts:"), "kernel: \"6.12\"\n");
    const ModelRun run(text);
    EXPECT_EQ(run.count(Verdict::dropped), 0U);
    EXPECT_EQ(run.count(Verdict::delivered), 1U);
    EXPECT_EQ(first_missing(run.path(1), {"tpacket_rcv", "kfree_skb_reason", "ip_list_rcv"}), "");
}

TEST(Tap, HostileKeysAreRefused)
{
    EXPECT_FALSE(parse_scenario(receive_scenario("count: 1", "", tap("device: eth7")), "test").has_value());
    EXPECT_FALSE(parse_scenario(receive_scenario("count: 1", "", tap("filter: host example.org")), "test").has_value());
    EXPECT_FALSE(parse_scenario(receive_scenario("count: 1", "", tap("filter: port (")), "test").has_value());
    EXPECT_FALSE(parse_scenario(receive_scenario("count: 1", "", tap("snaplen: 0")), "test").has_value());
}

TEST(SocketFilter, RefusesOrKeepsSoManyBytes)
{
    const ModelRun other(receive_scenario("count: 4", "filter: src port 9"));
    EXPECT_EQ(other.drops(drop::SOCKET_FILTER), 4U);
    EXPECT_EQ(other.counter("Udp.InDatagrams"), 0U);
    const ModelRun same(receive_scenario("count: 4", "filter: src port 40001"));
    EXPECT_EQ(same.drops(drop::SOCKET_FILTER), 0U);
    EXPECT_EQ(same.counter("Udp.InDatagrams"), 4U);
    const ModelRun cut(receive_scenario("count: 1", "filter: udp, filter_keep: 3"));
    EXPECT_EQ(cut.counter("Udp.InDatagrams"), 1U) << "never below the UDP header";
}

TEST(ClassicBpf, RunsWhatLibpcapMakesOfAnExpression)
{
    std::vector<std::uint8_t> frame(60, 0);
    frame[12] = 0x08; // IPv4
    frame[14] = 0x45;
    frame[23] = 17;
    frame[26] = 10, frame[29] = 1, frame[30] = 10, frame[33] = 2;
    frame[36] = 0, frame[37] = 53;
    BpfPacket packet;
    packet.buffer = frame;
    packet.len = 60;
    packet.mac_header = 0;
    packet.network_header = 14;
    const auto run = [&](const char* text, FilterBase base = FilterBase::mac_header) {
        const auto program = compile_filter(text, 96, base);
        EXPECT_TRUE(program.has_value()) << text;
        return program ? bpf_prog_run(*program, packet) : 0U;
    };
    EXPECT_EQ(run("udp dst port 53"), 96U);
    EXPECT_EQ(run("udp dst port 54"), 0U);
    EXPECT_EQ(run("src host 10.0.0.1 and dst host 10.0.0.2"), 96U);
    EXPECT_EQ(run("ip[8] = 0 and len >= 60"), 96U);
    EXPECT_EQ(run("tcp[tcpflags] & tcp-syn != 0"), 0U);
    packet.data = 34; // as a UDP socket's filter finds it
    packet.len = 26;
    EXPECT_EQ(run("udp dst port 53", FilterBase::network_header), 96U);
    EXPECT_EQ(run("dst host 10.0.0.3", FilterBase::network_header), 0U);
}

TEST(ClassicBpf, RefusesProgramsThatMightNotEnd)
{
    const auto refused = [](std::vector<SockFilter> program) { return !bpf_check_classic(program).has_value(); };
    EXPECT_TRUE(refused({}));
    EXPECT_TRUE(refused({{0x05, 0, 0, 0xffffffff}, {0x06, 0, 0, 0}})) << "jumps back";
    EXPECT_TRUE(refused({{0x15, 5, 0, 1}, {0x06, 0, 0, 0}})) << "jumps out";
    EXPECT_TRUE(refused({{0x00, 0, 0, 1}})) << "does not return";
    EXPECT_TRUE(refused({{0x34, 0, 0, 0}, {0x06, 0, 0, 0}})) << "divides by zero";
    EXPECT_TRUE(refused({{0x60, 0, 0, 3}, {0x16, 0, 0, 0}})) << "reads a word never written";
    EXPECT_TRUE(refused({{0x02, 0, 0, 16}, {0x06, 0, 0, 0}})) << "no such word";
    EXPECT_TRUE(refused({{0xff, 0, 0, 0}, {0x06, 0, 0, 0}})) << "no such instruction";
    EXPECT_FALSE(refused({{0x02, 0, 0, 3}, {0x60, 0, 0, 3}, {0x16, 0, 0, 0}}));
}

} // namespace
} // namespace skbscope::test
