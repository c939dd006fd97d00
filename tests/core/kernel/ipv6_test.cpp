#include "model.h"

#include <cstdio>

namespace skbscope::test {
namespace {

/// A server fd00:99::2 on eth0 with :5013 open, and a client station fd00:99::1 that sends to it.
std::string receive6(const std::string& flow = "count: 1", const std::string& receiver = "",
                     const std::string& host = "", const std::string& kernel = "6.1")
{
    return "skbscope: 1\nkernel: \"" + kernel + "\"\nhosts:\n  - name: server\n    cpus: 2\n" + host +
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: \"fd00:99::2/64\", link: "
           "client}\n"
           "    receivers:\n      - {name: reader, address: \"::\", port: 5013, cpu: 1" +
           (receiver.empty() ? "" : ", " + receiver) +
           "}\nstations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address6: \"fd00:99::1\"\n    "
           "sends:\n"
           "      - {to: \"[fd00:99::2]:5013\", from_port: 49013, start: 50us, " +
           flow + "}\n";
}

/// A client fd00:99::2 that sends to the station fd00:99::1.
std::string send6(const std::string& sender = "count: 1", bool warm = true, bool answers = true,
                  const std::string& kernel = "6.1")
{
    return "skbscope: 1\nkernel: \"" + kernel +
           "\"\nhosts:\n  - name: client\n    cpus: 2\n"
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: \"fd00:99::2/64\", link: "
           "server}\n" +
           (warm ? "    neighbours:\n      - {address: \"fd00:99::1\", mac: \"52:54:00:12:34:01\", device: "
                   "eth0}\n"
                 : "") +
           "    senders:\n      - {name: dig, to: \"[fd00:99::1]:5014\", from_port: 49014, start: 50us, cpu: "
           "1, " +
           sender + "}\nstations:\n  - {name: server, mac: \"52:54:00:12:34:01\", address6: \"fd00:99::1\"" +
           (answers ? "" : ", answers_arp: false") + "}\n";
}

TEST(Ipv6, AReceivedDatagramGoesTheWayThatTheRecordingsShow)
{
    const ModelRun run(receive6("count: 3, gap: 1ms"));
    EXPECT_EQ(run.count(Verdict::delivered), 3u);
    EXPECT_EQ(first_missing(run.path(1), {"napi_gro_receive",
                                          "dev_gro_receive",
                                          "ipv6_gro_receive",
                                          "udp6_gro_receive",
                                          "udp_gro_receive",
                                          "netif_receive_skb_list_internal",
                                          "__netif_receive_skb_core",
                                          "ipv6_list_rcv",
                                          "ip6_rcv_core",
                                          "ip6_rcv_finish_core",
                                          "udp_v6_early_demux",
                                          "ip6_route_input",
                                          "ip6_pol_route",
                                          "ip6_input",
                                          "ip6_input_finish",
                                          "ip6_protocol_deliver_rcu",
                                          "udpv6_rcv",
                                          "__udp6_lib_rcv",
                                          "__udp6_lib_lookup",
                                          "udp6_lib_lookup2",
                                          "udp6_lib_lookup2",
                                          "udp6_unicast_rcv_skb",
                                          "udpv6_queue_rcv_skb",
                                          "udpv6_queue_rcv_one_skb",
                                          "__udp_enqueue_schedule_skb",
                                          "sock_def_readable",
                                          "inet6_recvmsg",
                                          "udpv6_recvmsg"}),
              "");
    EXPECT_EQ(run.counter("Udp6InDatagrams"), 3u);
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 0u);
    EXPECT_EQ(run.counter("Ip6InReceives"), 3u);
    EXPECT_EQ(run.counter("Ip6InDelivers"), 3u);
    EXPECT_EQ(run.counter("Ip6InNoECTPkts"), 3u);
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6, ASentDatagramAsksTheLocalTableBeforeTheMainOne)
{
    const ModelRun run(send6());
    EXPECT_EQ(run.count(Verdict::sent), 1u);
    EXPECT_EQ(first_missing(run.path(1),
                            {"inet6_sendmsg", "udpv6_sendmsg", "ip6_route_output_flags", "ip6_pol_route",
                             "ip6_pol_route", "ip6_make_skb", "__ip6_append_data", "sock_alloc_send_pskb",
                             "__alloc_skb", "ip_generic_getfrag", "__ip6_make_skb", "udp_v6_send_skb",
                             "ip6_send_skb", "ip6_local_out", "__ip6_local_out", "ip6_output",
                             "ip6_finish_output", "ip6_finish_output2", "__dev_queue_xmit"}),
              "");
    EXPECT_EQ(run.counter("Udp6OutDatagrams"), 1u);
    EXPECT_EQ(run.counter("Ip6OutRequests"), 1u);
    EXPECT_EQ(run.counter("Ip6OutOctets"), 40u + 8 + 64);
}

TEST(Ipv6, AColdNeighbourIsSolicitedAndTheDatagramWaitsForTheAnswer)
{
    const ModelRun run(send6("count: 2, gap: 1ms", false));
    // The datagrams, and the solicitation that went out before them.
    EXPECT_EQ(run.count(Verdict::sent), 3u);
    EXPECT_EQ(run.counter("Icmp6OutNeighborSolicits"), 1u);
    EXPECT_EQ(run.counter("Icmp6OutType135"), 1u);
    EXPECT_EQ(run.counter("Icmp6InNeighborAdvertisements"), 1u);
    EXPECT_EQ(run.counter("Ip6OutMcastPkts"), 1u);
    EXPECT_EQ(run.counter("Ip6OutMcastOctets"), 72u);
    EXPECT_EQ(first_missing(run.path(1), {"ip6_finish_output2", "__neigh_create", "neigh_resolve_output",
                                          "__neigh_event_send", "neigh_probe", "__dev_queue_xmit"}),
              "");
    EXPECT_EQ(run.calls_anywhere(fn::ndisc_solicit), 1u);
    EXPECT_EQ(run.calls_anywhere(fn::ndisc_recv_na), 1u);
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6, ANeighbourThatDoesNotAnswerIsAskedThreeTimesAndTheSenderIsTold)
{
    const ModelRun run(send6("count: 1", false, false));
    EXPECT_EQ(run.counter("Icmp6OutNeighborSolicits"), 3u);
    EXPECT_EQ(run.calls_anywhere(fn::ndisc_error_report), 1u);
    EXPECT_EQ(run.calls_anywhere(fn::icmp6_send), 1u);
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6, NobodyListensIsAnsweredWithPortUnreachable)
{
    std::string text = receive6(
        "count: 1", "",
        "    neighbours:\n      - {address: \"fd00:99::1\", mac: \"52:54:00:12:34:01\", device: eth0}\n");
    text.replace(text.find("port: 5013"), 10, "port: 5099");
    const ModelRun run(text);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 1u);
    EXPECT_EQ(run.counter("Udp6NoPorts"), 1u);
    EXPECT_EQ(run.counter("Icmp6OutDestUnreachs"), 1u);
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6, ASocketOfBothFamiliesTakesIpv4Too)
{
    const std::string text = "skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n    devices:\n"
                             "      - {name: eth0, mac: \"52:54:00:12:34:00\", addresses: [10.99.0.2/24, "
                             "\"fd00:99::2/64\"], link: client}\n"
                             "    receivers:\n      - {name: reader, address: \"::\", port: 5013}\n"
                             "stations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address: "
                             "10.99.0.1\n    address6: \"fd00:99::1\"\n    sends:\n"
                             "      - {to: \"10.99.0.2:5013\", from_port: 49013, start: 50us, count: 1}\n"
                             "      - {to: \"[fd00:99::2]:5013\", from_port: 49013, start: 1ms, count: 1}\n";
    const ModelRun run(text);
    EXPECT_EQ(run.count(Verdict::delivered), 2u);
    EXPECT_EQ(run.counter("Udp.InDatagrams"), 1u);
    EXPECT_EQ(run.counter("Udp6InDatagrams"), 1u);
}

TEST(Ipv6, TheTextOfAScenarioReadsBackAsTheSame)
{
    for (const std::string& text : {receive6("count: 2", "ipv6only: true"), send6("count: 3", true, false)}) {
        const auto once = parse_scenario(text, "test");
        ASSERT_TRUE(once) << once.error().describe();
        const auto twice = parse_scenario(to_text(*once), "again");
        ASSERT_TRUE(twice) << twice.error().describe() << to_text(*once);
        EXPECT_EQ(*once, *twice);
    }
}

// ---- reassembly -----------------------------------------------------------------------------------------------------------

/// The server's eth0 hangs on another host's eth1, from where frames are injected 10 us apart.
std::string fragments6(const std::vector<std::string>& frames, const std::string& sysctls = "{}")
{
    std::string list;
    for (const std::string& frame : frames) {
        list += (list.empty() ? "\"" : ", \"") + frame + "\"";
    }
    return "skbscope: 1\nhosts:\n  - name: server\n    cpus: 1\n    sysctls: " + sysctls +
           "\n    devices: [{name: eth0, mac: \"52:54:00:12:34:00\", address: \"fd00:99::2/64\", link: peer.eth1}]\n"
           "    neighbours: [{address: \"fd00:99::1\", mac: \"52:54:00:12:34:01\", device: eth0}]\n"
           "    receivers: [{name: reader, address: \"::\", port: 5013}]\n"
           "  - name: peer\n    cpus: 1\n    devices: [{name: eth1, mac: \"52:54:00:12:34:01\", address: \"fd00:99::1/64\"}]\n"
           "    injectors: [{device: eth1, frames: [" + list + "]}]\n";
}

std::string hex(unsigned value, int digits)
{
    char text[16];
    std::snprintf(text, sizeof text, "%0*x", digits, value);
    return text;
}

/// A fragment of datagram 7 with so many bytes of zeros behind an optional UDP header.
std::string fragment6(unsigned offset, unsigned length, bool more)
{
    std::string payload(std::size_t{length} * 2, '0');
    if (offset == 0) {
        payload.replace(0, 16, hex(49013, 4) + hex(5013, 4) + hex(length, 4) + "0001");
    }
    return "525400123400525400123401" "86dd" "60000000" + hex(length + 8, 4) + "2c40" "fd000099000000000000000000000001" "fd000099000000000000000000000002"
           "1100" + hex(offset | (more ? 1U : 0U), 4) + "00000007" + payload;
}

TEST(Ipv6Reassembly, DatagramInFragmentsIsPutTogetherByTheLastPieceThatComes)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n"
                       "    devices: [{name: eth0, mac: \"52:54:00:12:34:00\", address: \"fd00:99::2/64\", link: peer.eth1}]\n"
                       "    receivers: [{name: reader, address: \"::\", port: 5013, cpu: 1}]\n"
                       "  - name: peer\n    cpus: 1\n    devices: [{name: eth1, mac: \"52:54:00:12:34:01\", address: \"fd00:99::1/64\"}]\n"
                       "    neighbours: [{address: \"fd00:99::2\", mac: \"52:54:00:12:34:00\", device: eth1}]\n"
                       "    senders: [{name: big, to: \"[fd00:99::2]:5013\", size: 3000, start: 50us}]\n");
    EXPECT_EQ(run.counter("Ip6ReasmReqds"), 3u);
    EXPECT_EQ(run.counter("Ip6ReasmOKs"), 1u);
    EXPECT_EQ(run.counter("Ip6ReasmFails"), 0u);
    EXPECT_EQ(run.counter("Udp6InDatagrams"), 1u) << "its checksum is right, so every byte is in its place";
    EXPECT_EQ(run.counter("Udp6InErrors"), 0u);
    EXPECT_EQ(run.count(Verdict::merged), 3u) << "the first, the second, and the clone that stands for the last";
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
    EXPECT_EQ(run.world().nets[0].ipv6.frag_mem, 0);
    for (const PacketRecord& packet : run.trace().packets()) {
        if (packet.verdict == Verdict::delivered) {
            EXPECT_EQ(packet.length, 40u + 8 + 3000);
            EXPECT_EQ(first_missing(run.path(to_index(packet.id)), {"ipv6_frag_rcv", "inet_frag_queue_insert", "inet_frag_reasm_prepare", "udpv6_rcv"}), "");
        }
    }
}

TEST(Ipv6Reassembly, PiecesInAnyOrderMakeTheDatagram)
{
    const ModelRun run(fragments6({fragment6(16, 24, false), fragment6(0, 16, true)}));
    EXPECT_EQ(run.counter("Ip6ReasmOKs"), 1u);
    EXPECT_EQ(run.counter("Ip6ReasmFails"), 0u);
    EXPECT_EQ(run.count(Verdict::merged), 1u);
}

TEST(Ipv6Reassembly, OverlapDiscardsTheWholeDatagram)
{
    const ModelRun run(fragments6({fragment6(0, 24, true), fragment6(16, 24, false)}));
    EXPECT_EQ(run.counter("Ip6ReasmFails"), 1u);
    EXPECT_EQ(run.counter("Ip6ReasmOKs"), 0u);
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), 2u);
    EXPECT_EQ(run.world().nets[0].ipv6.frag_mem, 0);
}

TEST(Ipv6Reassembly, DuplicateIsDroppedAndTheDatagramGoesOn)
{
    const ModelRun run(fragments6({fragment6(0, 16, true), fragment6(0, 16, true), fragment6(16, 24, false)}));
    EXPECT_EQ(run.counter("Ip6ReasmOKs"), 1u);
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), 1u);
}

TEST(Ipv6Reassembly, FirstPieceAloneTimesOutAndItsSenderIsTold)
{
    const ModelRun run(fragments6({fragment6(0, 16, true)}, "{net.ipv6.ip6frag_time: 2}"), SimTime{5'000'000'000});
    EXPECT_EQ(run.counter("Ip6ReasmTimeout"), 1u);
    EXPECT_EQ(run.counter("Ip6ReasmFails"), 1u);
    EXPECT_EQ(run.counter("Icmp6OutTimeExcds"), 1u);
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6Reassembly, PieceThatIsNoMultipleOfEightIsAParameterProblem)
{
    const ModelRun run(fragments6({fragment6(0, 21, true)}));
    EXPECT_EQ(run.counter("Icmp6OutParmProblems"), 1u);
    EXPECT_EQ(run.counter("Ip6InHdrErrors"), 1u);
}

TEST(Ipv6Reassembly, NoMemoryIsLeftWithAThresholdOfZero)
{
    const ModelRun run(fragments6({fragment6(0, 16, true)}, "{net.ipv6.ip6frag_high_thresh: 0}"));
    EXPECT_EQ(run.counter("Ip6ReasmFails"), 1u);
    EXPECT_EQ(run.world().nets[0].ipv6.frag_mem, 0);
}

TEST(Ipv6, AnycastPingIsIgnoredWhenTheSettingSaysSo)
{
    const auto replies = [](const std::string& ignore) {
        const std::string echo = "525400123400525400123401" "86dd" "60000000" "0008" "3a40" "fd000099000000000000000000000001"
                                 "fd000099000000000000000000000000" "8000" "8486" "00010001";
        std::string text = fragments6({echo}, "{net.ipv6.icmp.echo_ignore_anycast: " + ignore + "}");
        text.insert(text.find("    devices:"), "    ipv6_forwarding: true\n");
        const ModelRun run(text);
        EXPECT_EQ(run.counter("Icmp6InEchos") + run.counter("Icmp6InCsumErrors"), 1u);
        return run.counter("Icmp6OutEchoReplies") + 10 * run.counter("Icmp6InCsumErrors");
    };
    EXPECT_EQ(replies("0"), 1u);
    EXPECT_EQ(replies("1"), 0u);
}

/// A host that pings the station fd00:99::1, or whatever `to` is.
std::string ping6(const std::string& ping, const std::string& kernel = "6.1", const std::string& station = "")
{
    return "skbscope: 1\nkernel: \"" + kernel +
           "\"\nhosts:\n  - name: a\n    cpus: 2\n    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: "
           "\"fd00:99::2/64\", link: far}\n    pings:\n      - {interval: 10ms, " +
           ping + "}\nstations:\n  - {name: far, mac: \"52:54:00:12:34:01\", address6: \"fd00:99::1\"" + station + "}\n";
}

const kernel::Task& pinging(const ModelRun& run)
{
    for (const kernel::Task& task : run.world().tasks) {
        if (task.program == kernel::Program::ping) {
            return task;
        }
    }
    throw std::logic_error("nobody pings");
}

TEST(Ipv6Ping, RawSocketGetsACloneOfTheAnswerWithoutItsIpHeader)
{
    for (const char* kernel : {"5.10", "6.1", "6.12", "6.18"}) {
        const ModelRun run(ping6("to: fd00:99::1, count: 3", kernel), SimTime{1'000'000'000});
        EXPECT_EQ(pinging(run).sent, 3u) << kernel;
        EXPECT_EQ(pinging(run).received, 3u) << kernel;
        EXPECT_EQ(run.counter("Icmp6OutEchos"), 3u) << kernel;
        EXPECT_EQ(run.counter("Icmp6InEchoReplies"), 3u) << kernel;
        EXPECT_EQ(run.counter("Icmp6InCsumErrors"), 0u) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::rawv6_sendmsg), 3u) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::rawv6_rcv), 3u) << kernel; // the filter keeps the neighbour's advertisement out
        EXPECT_GT(run.calls_anywhere(fn::rawv6_recvmsg), 0u) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::sock_common_recvmsg), run.calls_anywhere(fn::rawv6_recvmsg)) << kernel;
        EXPECT_EQ(run.calls_anywhere(fn::raw_v6_match) > 0, kernel != std::string("5.10")) << kernel;
        const StackState end = run.end();
        EXPECT_EQ(end.accounting().in_flight(), 0u) << kernel;
    }
}

TEST(Ipv6Ping, PingSocketTakesTheAnswerItselfAndItsIdentifierIsThePort)
{
    const ModelRun run(ping6("to: fd00:99::1, count: 3, socket: ping"), SimTime{1'000'000'000});
    EXPECT_EQ(pinging(run).received, 3u);
    EXPECT_EQ(run.calls_anywhere(fn::ping_v6_sendmsg), 3u);
    EXPECT_EQ(run.calls_anywhere(fn::ping_common_sendmsg), 3u);
    EXPECT_EQ(run.calls_anywhere(fn::ping_rcv), 3u);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 0u);
    EXPECT_NE(run.world().sockets[static_cast<std::size_t>(pinging(run).socket)].num, 0u);
}

TEST(Ipv6Ping, AnAnswerThatNobodyAskedForHasNoSocket)
{
    // The same identifier as nobody's ping socket: raw sockets of IPv4 and IPv6 are not asked either.
    const std::string reply = "525400123400525400123401" "86dd" "60000000" "0008" "3a40" "fd000099000000000000000000000001"
                              "fd000099000000000000000000000002" "8100" "8384" "00010001";
    const ModelRun run(fragments6({reply}));
    EXPECT_EQ(run.counter("Icmp6InCsumErrors"), 0u);
    EXPECT_EQ(run.counter("Icmp6InEchoReplies"), 1u);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 1u);
}

TEST(Ipv6Ping, OneAboveTheMtuIsCutAndItsAnswerPutTogether)
{
    const std::string text = "skbscope: 1\nhosts:\n"
                             "  - name: a\n    cpus: 1\n    devices:\n      - {name: eth0, mac: \"02:00:00:00:00:0a\", address: \"fd00:99::2/64\", link: b.eth0}\n"
                             "    pings:\n      - {to: \"fd00:99::1\", count: 2, size: 3000, interval: 10ms, ttl: 7}\n"
                             "  - name: b\n    cpus: 1\n    devices:\n      - {name: eth0, mac: \"02:00:00:00:00:0b\", address: \"fd00:99::1/64\"}\n";
    const ModelRun run(text, SimTime{1'000'000'000});
    EXPECT_EQ(pinging(run).received, 2u);
    for (const kernel::Net& net : run.world().nets) { // the requests of one, the answers of the other
        EXPECT_EQ(net.mib[static_cast<std::size_t>(kernel::Mib::Ip6FragOKs)], 2u);
        EXPECT_EQ(net.mib[static_cast<std::size_t>(kernel::Mib::Ip6ReasmOKs)], 2u);
    }
    EXPECT_EQ(run.end().accounting().in_flight(), 0u);
}

TEST(Ipv6Ping, AStationThatAnswersNoPingsIsSilent)
{
    const ModelRun run(ping6("to: fd00:99::1, count: 2", "6.1", ", answers_ping: false"), SimTime{1'000'000'000});
    EXPECT_EQ(pinging(run).sent, 2u);
    EXPECT_EQ(pinging(run).received, 0u);
}

TEST(Ipv6Ping, TheTextOfAScenarioReadsBackAsTheSame)
{
    const auto scenario = parse_scenario(ping6("to: fd00:99::1, count: 3, socket: ping"), "test");
    ASSERT_TRUE(scenario);
    const auto again = parse_scenario(to_text(*scenario), "again");
    ASSERT_TRUE(again);
    EXPECT_EQ(again->hosts.front().pings, scenario->hosts.front().pings);
}

} // namespace
} // namespace skbscope::test
