// IPv4 as the kernel does it: header checks, routes, forwarding, ICMP and its limits, fragments, raw and ping sockets, ARP.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/checksum.h"
#include "core/packet/views.h"
#include "model.h"

#include <fmt/format.h>
#include <random>

namespace skbscope {
namespace {

using test::first_missing;
using test::ModelRun;
using test::receive_scenario;

void expect_closed_accounting(const ModelRun& run)
{
    const Accounting accounting = run.end().accounting();
    EXPECT_GT(accounting.born, 0U);
    EXPECT_EQ(accounting.born, accounting.decided()) << "everything that was born has come to its end";
}

std::string hex(const std::vector<std::uint8_t>& bytes)
{
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

/// The frame of a datagram for the host of inject(), before anything is broken in it.
std::vector<std::uint8_t> good_frame(std::uint32_t size = 40, std::uint32_t saddr = 0x0a630001, std::uint32_t daddr = 0x0a630002)
{
    const std::vector<std::uint8_t> payload(size, 'x');
    UdpFrame frame;
    frame.ethernet = {*MacAddress::parse("52:54:00:12:34:00"), *MacAddress::parse("52:54:00:12:34:01"), 0x0800};
    frame.source = IpAddress::v4(saddr);
    frame.destination = IpAddress::v4(daddr);
    frame.source_port = 40001;
    frame.destination_port = 5001;
    frame.payload = payload;
    return build_udp_frame(frame);
}

void sum_header(std::vector<std::uint8_t>& frame)
{
    fill_ipv4_checksum(std::span(frame).subspan(14, 20));
}

/// A machine that puts these frames on a cable to the server (10.99.0.2, :5001 open).
std::string inject(const std::vector<std::vector<std::uint8_t>>& frames, const std::string& server = "", const std::string& kernel = "6.1")
{
    std::string list;
    for (const auto& frame : frames) {
        list += (list.empty() ? "\"" : ", \"") + hex(frame) + "\"";
    }
    return "skbscope: 1\nkernel: \"" + kernel + "\"\nhosts:\n  - name: server\n    cpus: 2\n" + server +
           "    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: 10.99.0.2/24, link: peer.eth0}\n"
           "    neighbours:\n      - {address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0}\n"
           "    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n"
           "  - name: peer\n    cpus: 1\n    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:01\", address: 10.99.0.1/24}\n"
           "    injectors:\n      - {device: eth0, gap: 1ms, start: 1ms, frames: [" + list + "]}\n";
}

std::uint64_t net_counter(const ModelRun& run, std::uint32_t net, kernel::Mib which)
{
    return run.world().nets[net].mib[static_cast<std::size_t>(which)];
}

struct Broken {
    const char* name;
    void (*breaks)(std::vector<std::uint8_t>&);
    DropReasonId reason;
    kernel::Mib counter;
};

TEST(IpInput, RefusesABrokenHeaderWithTheKernelsReasonAndCounter)
{
    const Broken cases[] = {
        {"checksum", [](auto& f) { f[24] ^= 0xff; }, drop::IP_CSUM, kernel::Mib::IpExt_InCsumErrors},
        {"ihl", [](auto& f) { f[14] = 0x43, sum_header(f); }, drop::IP_INHDR, kernel::Mib::Ip_InHdrErrors},
        {"version", [](auto& f) { f[14] = 0x55, sum_header(f); }, drop::IP_INHDR, kernel::Mib::Ip_InHdrErrors},
        {"total length", [](auto& f) { f[16] = 0x03, f[17] = 0xe8, sum_header(f); }, drop::PKT_TOO_SMALL, kernel::Mib::IpExt_InTruncatedPkts},
        {"length below header", [](auto& f) { f[16] = 0, f[17] = 19, sum_header(f); }, drop::IP_INHDR, kernel::Mib::Ip_InHdrErrors},
        {"UDP checksum", [](auto& f) { f[50] ^= 0xff; }, drop::UDP_CSUM, kernel::Mib::Udp_InCsumErrors},
        {"protocol", [](auto& f) { f[23] = 253, sum_header(f); }, drop::IP_NOPROTO, kernel::Mib::Ip_InUnknownProtos},
        {"loopback source", [](auto& f) { f[26] = 127, sum_header(f); }, drop::NOT_SPECIFIED, kernel::Mib::rt_cache_in_martian_src},
        {"zero destination", [](auto& f) { f[30] = 0, sum_header(f); }, drop::NOT_SPECIFIED, kernel::Mib::rt_cache_in_martian_dst},
        {"our own source", [](auto& f) { f[29] = 2, sum_header(f); }, drop::NOT_SPECIFIED, kernel::Mib::rt_cache_in_martian_src},
        {"somebody else's", [](auto& f) { f[33] = 77, sum_header(f); }, drop::IP_INADDRERRORS, kernel::Mib::Ip_InAddrErrors},
    };
    for (const Broken& broken : cases) {
        auto frame = good_frame();
        broken.breaks(frame);
        const ModelRun run(inject({frame}), SimTime{} + 20_ms);
        EXPECT_EQ(run.drops(broken.reason), 1U) << broken.name;
        EXPECT_EQ(net_counter(run, 0, broken.counter), 1U) << broken.name;
        EXPECT_EQ(run.count(Verdict::delivered), 0U) << broken.name;
        expect_closed_accounting(run);
    }
}

TEST(IpInput, CountsOctetsAsTheyCameAndMarksByCongestionBits)
{
    auto marked = good_frame();
    marked[15] = 3;
    sum_header(marked);
    const ModelRun run(inject({good_frame(), marked}), SimTime{} + 20_ms);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_InReceives), 2U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::IpExt_InOctets), 2U * (40 + 28));
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::IpExt_InNoECTPkts), 1U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::IpExt_InCEPkts), 1U);
    EXPECT_EQ(run.count(Verdict::delivered), 2U);
}

TEST(ReversePath, StrictRefusesASourceThatLivesElsewhereAndLooseOnlyOneThatLivesNowhere)
{
    const auto stranger = good_frame(40, 0xc0000209);
    const ModelRun off(inject({stranger}), SimTime{} + 20_ms);
    EXPECT_EQ(off.count(Verdict::delivered), 1U);
    const ModelRun strict(inject({stranger}, "    sysctls: {net.ipv4.conf.all.rp_filter: 1}\n"), SimTime{} + 20_ms);
    EXPECT_EQ(strict.drops(drop::IP_RPFILTER), 1U);
    EXPECT_EQ(net_counter(strict, 0, kernel::Mib::TcpExt_IPReversePathFilter), 1U);
    EXPECT_TRUE(strict.calls_anywhere(FunctionId{fn::__fib_validate_source}) > 0);
    const ModelRun loose(inject({stranger}, "    sysctls: {net.ipv4.conf.eth0.rp_filter: 2}\n"), SimTime{} + 20_ms);
    EXPECT_EQ(loose.drops(drop::IP_RPFILTER), 1U) << "no route leads there at all";
}

TEST(Broadcast, DeliversADirectedBroadcastAndAnswersNoErrorAboutOne)
{
    const ModelRun run(inject({good_frame(40, 0x0a630001, 0x0a6300ff)}), SimTime{} + 20_ms);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::IpExt_InBcastPkts), 1U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_OutMsgs), 0U);
    expect_closed_accounting(run);
}

// ---- ICMP -----------------------------------------------------------------------------------------------------------------------

std::string to_closed_port(std::uint32_t count, const std::string& gap)
{
    return "skbscope: 1\nhosts:\n  - name: server\n    cpus: 2\n    devices:\n      - {name: eth0, mac: \"52:54:00:12:34:00\", address: "
           "10.99.0.2/24, link: client}\n    neighbours:\n      - {address: 10.99.0.1, mac: \"52:54:00:12:34:01\", device: eth0}\n"
           "stations:\n  - name: client\n    mac: 52:54:00:12:34:01\n    address: 10.99.0.1\n    sends:\n"
           "      - {to: \"10.99.0.2:5999\", from_port: 40001, start: 50us, count: " + std::to_string(count) + ", gap: " + gap + "}\n";
}

TEST(IcmpErrors, AClosedPortIsAnsweredSixTimesAtOnceAndThenOnceASecond)
{
    const ModelRun burst(to_closed_port(10, "30ms"));
    EXPECT_EQ(burst.drops(drop::NO_SOCKET), 10U);
    EXPECT_EQ(net_counter(burst, 0, kernel::Mib::Icmp_OutDestUnreachs), 6U) << "the bucket of a destination holds six";
    EXPECT_EQ(net_counter(burst, 0, kernel::Mib::Icmp_OutRateLimitHost), 4U);
    EXPECT_EQ(burst.count(Verdict::sent), 6U);
    const ModelRun slow(to_closed_port(10, "1s"));
    EXPECT_EQ(net_counter(slow, 0, kernel::Mib::Icmp_OutDestUnreachs), 10U);
    expect_closed_accounting(burst);
}

TEST(IcmpErrors, ComeBeforeTheDropThatTheyAreAbout)
{
    const ModelRun run(to_closed_port(1, "1ms"));
    EXPECT_EQ(first_missing(run.path(1), {"udp_rcv", "__udp4_lib_rcv", "__udp4_lib_lookup", "__icmp_send", "icmp_route_lookup",
                                          "ip_route_output_key_hash", "icmp_push_reply", "kfree_skb_reason"}),
              "");
}

TEST(Echo, IsAnsweredByTheKernelAndTheRequestIsConsumed)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    cpus: 2\n    devices:\n      - {name: eth0, address: 10.0.0.1/24, link: b.eth0}\n"
                       "    pings:\n      - {to: 10.0.0.2, count: 3, interval: 10ms}\n"
                       "  - name: b\n    cpus: 1\n    devices:\n      - {name: eth0, address: 10.0.0.2/24}\n",
                       SimTime{} + 1_s);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Icmp_InEchos), 3U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Icmp_OutEchoReps), 3U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_OutEchos), 3U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_InEchoReps), 3U);
    EXPECT_EQ(run.world().tasks[2].received, 3U);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 3U) << "the raw socket gets a clone; no ping socket takes the reply itself";
    expect_closed_accounting(run);
}

TEST(Echo, APingSocketTakesTheReplyItself)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    cpus: 2\n    devices:\n      - {name: eth0, address: 10.0.0.1/24, link: far}\n"
                       "    pings:\n      - {to: 10.0.0.9, count: 2, interval: 10ms, socket: ping}\n"
                       "stations:\n  - {name: far, mac: \"52:54:00:12:34:09\", address: 10.0.0.9}\n",
                       SimTime{} + 1_s);
    EXPECT_EQ(run.world().tasks[2].received, 2U);
    EXPECT_EQ(run.drops(drop::NO_SOCKET), 0U);
    expect_closed_accounting(run);
}

// ---- forwarding -------------------------------------------------------------------------------------------------------------------

std::string routed(const std::string& sender, const std::string& router = "", const std::string& kernel = "6.1", const std::string& far_mtu = "1500")
{
    return "skbscope: 1\nkernel: \"" + kernel +
           "\"\nhosts:\n"
           "  - name: a\n    cpus: 1\n    devices:\n      - {name: eth0, mac: \"02:00:00:00:00:0a\", address: 10.1.0.2/24, link: r.eth0}\n"
           "    routes: [{to: default, via: 10.1.0.1, device: eth0}]\n    senders:\n      - {" + sender + "}\n"
           "  - name: r\n    cpus: 1\n    sysctls: {net.ipv4.ip_forward: 1}\n    devices:\n"
           "      - {name: eth0, mac: \"02:00:00:00:00:01\", address: 10.1.0.1/24}\n"
           "      - {name: eth1, mac: \"02:00:00:00:00:02\", address: 10.2.0.1/24, link: b.eth0, mtu: " + far_mtu + "}\n" + router +
           "  - name: b\n    cpus: 2\n    devices:\n      - {name: eth0, mac: \"02:00:00:00:00:0b\", address: 10.2.0.2/24}\n"
           "    routes: [{to: default, via: 10.2.0.1, device: eth0}]\n    receivers: [{name: dnsd, port: 5006, cpu: 1}]\n";
}

TEST(Forward, PassesADatagramOnWithOneHopLessAndCountsIt)
{
    const ModelRun run(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 3, gap: 1ms"), SimTime{} + 1_s);
    EXPECT_EQ(net_counter(run, 2, kernel::Mib::Udp_InDatagrams), 3U);
    EXPECT_EQ(run.count(Verdict::forwarded), 3U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Ip_ForwDatagrams), 3U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Ip_OutRequests), 3U) << "6.1 counts forwarded packets there, too";
    bool seen = false;
    for (std::size_t row = 1; row < run.trace().packets().size(); ++row) {
        seen = seen || first_missing(run.path(static_cast<std::uint32_t>(row)),
                                     {"ip_list_rcv", "ip_rcv_core", "ip_rcv_finish_core", "ip_route_input_noref", "fib_validate_source", "ip_forward",
                                      "ip_forward_finish", "ip_output", "ip_finish_output", "ip_finish_output2", "__dev_queue_xmit"})
                           .empty();
    }
    EXPECT_TRUE(seen);
    expect_closed_accounting(run);
    const ModelRun late(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 3, gap: 1ms", "", "6.12"), SimTime{} + 1_s);
    EXPECT_EQ(net_counter(late, 1, kernel::Mib::Ip_OutRequests), 0U);
    EXPECT_EQ(net_counter(late, 1, kernel::Mib::Ip_OutTransmits), 3U);
}

TEST(Forward, CountsWhatARuleRefusesAmongTheForwardedSince66)
{
    const auto forwarded = [](const std::string& version) {
        const ModelRun run(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 4, gap: 1ms",
                                  "    nft: |\n      table ip t {\n        chain f {\n          type filter hook forward priority 0; policy accept;\n"
                                  "          udp dport 5006 drop\n        }\n      }\n",
                                  version),
                           SimTime{} + 1_s);
        EXPECT_EQ(run.drops(drop::NETFILTER_DROP), 4U);
        return net_counter(run, 1, kernel::Mib::Ip_ForwDatagrams);
    };
    EXPECT_EQ(forwarded("6.1"), 0U);
    EXPECT_EQ(forwarded("6.12"), 4U) << "as recorded";
}

TEST(Forward, AnswersATtlThatHasRunOutWithTimeExceeded)
{
    const ModelRun run(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 4, gap: 30ms, ttl: 1"), SimTime{} + 1_s);
    EXPECT_EQ(run.drops(drop::IP_INHDR), 4U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Icmp_OutTimeExcds), 4U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_InTimeExcds), 4U);
    EXPECT_EQ(net_counter(run, 2, kernel::Mib::Udp_InDatagrams), 0U);
    expect_closed_accounting(run);
}

TEST(Forward, TellsOfAnUnreachableRouteByTheRouteBucketAndTheIcmpBucketOfOnePeer)
{
    const ModelRun run(routed("to: \"10.3.0.9:5008\", from_port: 42008, count: 8, gap: 30ms",
                              "    routes: [{to: 10.3.0.0/16, type: unreachable}]\n"),
                       SimTime{} + 2_s);
    EXPECT_EQ(run.drops(drop::NOT_SPECIFIED), 8U);
    // Both limits take their tokens from the same peer: five seconds' worth, two a message.
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Icmp_OutDestUnreachs), 2U);
    expect_closed_accounting(run);
}

TEST(Forward, KnowsRoutesThatSayNothingOrForbid)
{
    const ModelRun hole(routed("to: \"10.3.0.9:5008\", from_port: 42008, count: 1", "    routes: [{to: 10.3.0.0/16, type: blackhole}]\n"), SimTime{} + 1_s);
    EXPECT_EQ(hole.drops(drop::NOT_SPECIFIED), 1U);
    EXPECT_EQ(net_counter(hole, 1, kernel::Mib::Icmp_OutMsgs), 0U);
    const ModelRun forbids(routed("to: \"10.3.0.9:5008\", from_port: 42008, count: 1", "    routes: [{to: 10.3.0.0/16, type: prohibit}]\n"), SimTime{} + 1_s);
    EXPECT_EQ(net_counter(forbids, 1, kernel::Mib::Icmp_OutDestUnreachs), 1U);
    const ModelRun nowhere(routed("to: \"10.9.0.9:5008\", from_port: 42008, count: 1"), SimTime{} + 1_s);
    EXPECT_EQ(nowhere.drops(drop::IP_INNOROUTES), 1U);
    EXPECT_EQ(net_counter(nowhere, 1, kernel::Mib::IpExt_InNoRoutes), 1U);
}

TEST(Forward, AnswersATooLargeDatagramThatMustNotBeCutWithTheMtu)
{
    const ModelRun run(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 1, size: 1200", "", "6.1", "1000"), SimTime{} + 1_s);
    EXPECT_EQ(run.drops(drop::PKT_TOO_BIG), 1U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Ip_FragFails), 1U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Icmp_OutDestUnreachs), 1U);
    expect_closed_accounting(run);
}

TEST(Forward, TellsTheSenderTheMtuWhichThenCutsWhatItSendsThere)
{
    const ModelRun run(routed("to: \"10.2.0.2:5006\", from_port: 42006, count: 4, gap: 1ms, size: 1200", "", "6.1", "900"), SimTime{} + 1_s);
    EXPECT_EQ(run.drops(drop::PKT_TOO_BIG), 1U) << "the first one only";
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_FragCreates), 6U);
    EXPECT_EQ(net_counter(run, 2, kernel::Mib::Udp_InDatagrams), 3U);
    expect_closed_accounting(run);
}

// ---- fragments ----------------------------------------------------------------------------------------------------------------------

TEST(Fragments, ADatagramAboveTheMtuIsCutAndPutTogetherAgain)
{
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    cpus: 1\n    devices:\n      - {name: eth0, address: 10.0.0.1/24, link: b.eth0}\n"
                       "    senders:\n      - {to: \"10.0.0.2:5001\", from_port: 40001, size: 4000, count: 2, gap: 5ms}\n"
                       "  - name: b\n    cpus: 2\n    devices:\n      - {name: eth0, address: 10.0.0.2/24}\n    receivers: [{name: dnsd, port: 5001, cpu: 1}]\n",
                       SimTime{} + 1_s);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_FragOKs), 2U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_FragCreates), 6U) << "4008 bytes in pieces of 1480";
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Ip_ReasmReqds), 6U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Ip_ReasmOKs), 2U);
    EXPECT_EQ(net_counter(run, 1, kernel::Mib::Udp_InDatagrams), 2U) << "the checksum over the whole datagram is right";
    EXPECT_GE(run.count(Verdict::merged), 4U);
    expect_closed_accounting(run);
}

TEST(Fragments, EachCountsAsTransmittedSince66AndTheDatagramBeforeThatAlone)
{
    const auto counted = [](const std::string& version, kernel::Mib counter) {
        const ModelRun run("skbscope: 1\nkernel: \"" + version +
                               "\"\nhosts:\n  - name: a\n    cpus: 1\n    devices:\n      - {name: eth0, address: 10.0.0.1/24, link: b.eth0}\n"
                               "    senders:\n      - {to: \"10.0.0.2:5001\", from_port: 40001, size: 4000}\n"
                               "  - name: b\n    cpus: 2\n    devices:\n      - {name: eth0, address: 10.0.0.2/24}\n    receivers: [{port: 5001}]\n",
                           SimTime{} + 1_s);
        return net_counter(run, 0, counter);
    };
    EXPECT_EQ(counted("6.1", kernel::Mib::Ip_OutRequests), 1U);
    EXPECT_EQ(counted("6.1", kernel::Mib::IpExt_OutOctets), 4028U);
    EXPECT_EQ(counted("6.12", kernel::Mib::Ip_OutRequests), 1U);
    EXPECT_EQ(counted("6.12", kernel::Mib::Ip_OutTransmits), 3U);
    EXPECT_EQ(counted("6.12", kernel::Mib::IpExt_OutOctets), 4028U + 2 * 20) << "with the header of each";
}

std::vector<std::uint8_t> fragment(std::uint32_t offset, std::uint32_t length, bool more)
{
    auto frame = good_frame(length);
    const MutableIpv4View ip = MutableIpv4View::unchecked(std::span(frame).subspan(14));
    ip.set_id(77);
    ip.set_fragment(false, more, offset);
    sum_header(frame);
    return frame;
}

TEST(Fragments, AnOverlapThrowsAwayTheWholeDatagramAndADuplicateOnlyItself)
{
    const ModelRun overlap(inject({fragment(0, 56, true), fragment(32, 56, true)}), SimTime{} + 100_ms);
    EXPECT_EQ(net_counter(overlap, 0, kernel::Mib::IpExt_ReasmOverlaps), 1U);
    EXPECT_EQ(net_counter(overlap, 0, kernel::Mib::Ip_ReasmFails), 1U);
    EXPECT_EQ(overlap.count(Verdict::dropped), 2U);
    const ModelRun duplicate(inject({fragment(0, 56, true), fragment(0, 56, true)}, "", "6.12"), SimTime{} + 100_ms);
    EXPECT_EQ(duplicate.drops(drop::DUP_FRAG), 1U);
    EXPECT_EQ(net_counter(duplicate, 0, kernel::Mib::Ip_ReasmFails), 0U);
    expect_closed_accounting(overlap);
}

TEST(Fragments, TheRestThatNeverComesEndsInATimeoutAndAnIcmpError)
{
    const ModelRun run(inject({fragment(0, 56, true)}, "    sysctls: {net.ipv4.ipfrag_time: 2}\n", "6.12"), SimTime{} + 5_s);
    EXPECT_EQ(run.drops(drop::FRAG_REASM_TIMEOUT), 1U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_ReasmTimeout), 1U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_OutTimeExcds), 1U);
    expect_closed_accounting(run);
}

TEST(Fragments, NoneBeginsAboveTheMemoryLimit)
{
    const ModelRun run(inject({fragment(0, 56, true)}, "    sysctls: {net.ipv4.ipfrag_high_thresh: 0}\n"), SimTime{} + 100_ms);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Ip_ReasmFails), 1U);
    EXPECT_EQ(run.count(Verdict::dropped), 1U);
}

// ---- options, ARP, neighbours ---------------------------------------------------------------------------------------------------------

TEST(IpOptions, ABadOneIsAnsweredWithItsPlaceAndASourceRouteIsRefused)
{
    auto frame = good_frame();
    const std::vector<std::uint8_t> option{7, 7, 4, 0, 0, 0, 0, 0}; // record route, one slot
    frame.insert(frame.begin() + 34, option.begin(), option.end());
    frame[14] = 0x47;
    frame[17] = static_cast<std::uint8_t>(frame[17] + option.size());
    fill_ipv4_checksum(std::span(frame).subspan(14, 28));
    const ModelRun good(inject({frame}), SimTime{} + 50_ms);
    EXPECT_EQ(good.count(Verdict::delivered), 1U);
    auto bad = frame;
    bad[35] = 60; // longer than the header
    fill_ipv4_checksum(std::span(bad).subspan(14, 28));
    const ModelRun refused(inject({bad}), SimTime{} + 50_ms);
    EXPECT_EQ(net_counter(refused, 0, kernel::Mib::Ip_InHdrErrors), 1U);
    EXPECT_EQ(net_counter(refused, 0, kernel::Mib::Icmp_OutParmProbs), 1U);
    auto routed_by_source = frame;
    routed_by_source[34] = 131;
    fill_ipv4_checksum(std::span(routed_by_source).subspan(14, 28));
    const ModelRun loose(inject({routed_by_source}), SimTime{} + 50_ms);
    EXPECT_EQ(loose.drops(drop::NOT_SPECIFIED), 1U) << "accept_source_route of 'all' is 0";
}

TEST(IpOptions, ALabelOfADomainThatNobodyDefinedIsAnsweredAtItsDomain)
{
    auto frame = good_frame();
    const std::vector<std::uint8_t> label{134, 8, 0, 0, 0, 5, 1, 2}; // CIPSO, its domain of interpretation at its third byte
    frame.insert(frame.begin() + 34, label.begin(), label.end());
    frame[14] = 0x47;
    frame[17] = static_cast<std::uint8_t>(frame[17] + label.size());
    fill_ipv4_checksum(std::span(frame).subspan(14, 28));
    const ModelRun run(inject({frame}), SimTime{} + 50_ms);
    EXPECT_EQ(run.count(Verdict::delivered), 0U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_OutParmProbs), 1U);
    expect_closed_accounting(run);
}

TEST(Neighbours, NobodyAnswersThreeQuestionsSoThatWaitsEndsWithHostUnreachable)
{
    const ModelRun run(test::send_scenario("count: 2, gap: 10ms", false, false), SimTime{} + 10_s);
    EXPECT_EQ(run.drops(drop::NEIGH_FAILED), 2U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::arp_cache_res_failed), 1U);
    EXPECT_EQ(run.calls_anywhere(fn::arp_create), 3U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::Icmp_OutDestUnreachs), 2U) << "the sender itself is told, over lo";
    expect_closed_accounting(run);
}

TEST(Neighbours, TheTableHoldsGcThresh3Entries)
{
    std::string senders;
    for (int i = 10; i < 16; ++i) {
        senders += fmt::format("      - {{name: s{0}, to: \"10.0.0.{0}:9\", count: 1, start: {0}ms}}\n", i);
    }
    const ModelRun run("skbscope: 1\nhosts:\n  - name: a\n    cpus: 1\n    sysctls: {net.ipv4.neigh.default.gc_thresh3: 4, net.ipv4.neigh.default.gc_thresh2: 4}\n"
                       "    devices:\n      - {name: eth0, address: 10.0.0.1/24, link: far}\n    senders:\n" + senders +
                           "stations:\n  - {name: far, mac: \"52:54:00:12:34:09\", address: 10.0.0.99}\n",
                       SimTime{} + 100_ms);
    EXPECT_EQ(run.drops(drop::NEIGH_CREATEFAIL), 2U);
    EXPECT_EQ(net_counter(run, 0, kernel::Mib::arp_cache_table_fulls), 2U);
}

TEST(AnyFrame, HoweverBrokenEndsInAVerdict)
{
    std::mt19937 random(7);
    std::vector<std::vector<std::uint8_t>> models;
    models.push_back(good_frame(200));
    models.push_back(fragment(0, 56, true));
    models.push_back(fragment(56, 64, false));
    EchoFrame echo;
    echo.ethernet = {*MacAddress::parse("52:54:00:12:34:00"), *MacAddress::parse("52:54:00:12:34:01"), 0x0800};
    echo.source = 0x0a630001;
    echo.destination = 0x0a630002;
    models.push_back(build_echo_frame(echo));
    ArpFields arp;
    arp.sender_mac = echo.ethernet.source;
    arp.sender_address = 0x0a630001;
    arp.target_address = 0x0a630002;
    models.push_back(build_arp_frame(arp));
    auto options = good_frame();
    const std::vector<std::uint8_t> some{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 131, 7, 4, 10, 99, 0, 2, 0, 0};
    options.insert(options.begin() + 34, some.begin(), some.end());
    options[14] = 0x4d;
    options[17] = static_cast<std::uint8_t>(options[17] + some.size());
    models.push_back(options);
    for (const char* kernel : {"5.10", "6.1", "6.12"}) {
        std::vector<std::vector<std::uint8_t>> frames;
        for (int n = 0; n < 600; ++n) {
            auto frame = models[random() % models.size()];
            for (std::size_t changes = random() % 5; changes > 0; --changes) {
                frame[12 + random() % (std::min<std::size_t>(frame.size(), 76) - 12)] = static_cast<std::uint8_t>(random());
            }
            if (random() % 8 == 0) {
                frame.resize(14 + random() % (frame.size() - 13));
            }
            if (frame[12] == 8 && frame[13] == 0 && frame.size() >= 34 && random() % 4 != 0) { // most with a right header sum
                const std::size_t header = std::clamp<std::size_t>((frame[14] & 0x0f) * 4U, 20, frame.size() - 14);
                frame[24] = frame[25] = 0;
                const std::uint16_t sum = ip_fast_csum(std::span(frame).subspan(14, header));
                frame[24] = static_cast<std::uint8_t>(sum >> 8);
                frame[25] = static_cast<std::uint8_t>(sum);
            }
            frames.push_back(std::move(frame));
        }
        const ModelRun run(inject(frames, "    sysctls: {net.ipv4.ip_forward: 1, net.ipv4.conf.all.accept_source_route: 1, net.ipv4.ipfrag_time: 1, "
                                          "net.ipv4.conf.eth0.proxy_arp: 1}\n",
                                  kernel),
                           SimTime{} + 30_s);
        EXPECT_GE(run.end().accounting().born, 600U);
        expect_closed_accounting(run);
    }
}

TEST(Settings, OfDevicesTakeTheKernelsNamesAndRanges)
{
    EXPECT_TRUE(sysctl_range("net.ipv4.conf.all.rp_filter"));
    EXPECT_TRUE(sysctl_range("net.ipv4.conf.eth0.arp_ignore"));
    EXPECT_FALSE(sysctl_range("net.ipv4.conf.eth0.nonsense"));
    const auto scenario = parse_scenario("skbscope: 1\nhosts:\n  - name: h\n    sysctls: {net.ipv4.conf.all.rp_filter: 3}\n", "s");
    ASSERT_FALSE(scenario);
    EXPECT_NE(scenario.error().describe().find("s:4:"), std::string::npos);
}

TEST(ScenarioKeys, OfIpv4SurviveWritingAndReading)
{
    const std::string text = "skbscope: 1\nhosts:\n  - name: h\n    sysctls: {net.ipv4.conf.eth0.rp_filter: 1, net.ipv4.ip_forward: 1}\n"
                             "    devices:\n      - {name: eth0, mac: \"02:00:00:00:00:01\", address: 10.0.0.1/24, link: far}\n"
                             "    routes:\n      - {to: 10.3.0.0/16, type: unreachable, metric: 7}\n      - {to: default, via: 10.0.0.9, device: eth0, src: 10.0.0.1, mtu: 1400}\n"
                             "    pings:\n      - {to: 10.0.0.9, count: 2, socket: ping, ttl: 3, times: [1ms, 2ms]}\n"
                             "    injectors:\n      - {device: eth0, frames: [\"" + hex(good_frame()) + "\"], times: [3ms]}\n"
                             "    senders:\n      - {to: \"10.0.0.9:9\", ttl: 1}\n"
                             "stations:\n  - {name: far, mac: \"52:54:00:12:34:09\", address: 10.0.0.9, answers_ping: false}\n";
    const auto once = parse_scenario(text, "once");
    ASSERT_TRUE(once) << once.error().describe();
    const auto again = parse_scenario(to_text(*once), "again");
    ASSERT_TRUE(again) << again.error().describe();
    EXPECT_EQ(*once, *again);
}

} // namespace
} // namespace skbscope
