// Drops that only a frame made for them causes: each with its reason and counter, the frames and their times made by hand.

#include "machine.h"

#include "core/packet/checksum.h"

#include <cstdint>
#include <utility>

namespace skbscope::test {
namespace {

Bytes datagram(std::uint16_t port = 5001, const MacAddress& to = host_mac)
{
    static const Bytes payload(20, 'x');
    UdpFrame frame;
    frame.ethernet = {to, peer_mac, proto::eth_p_ip};
    frame.source = peer;
    frame.destination = here;
    frame.source_port = 40001;
    frame.destination_port = port;
    frame.payload = payload;
    return build_udp_frame(frame);
}

const std::string listener = "    tcp_servers: [{name: web, port: 80, accept: false, rcvbuf: 8192}]\n";

TEST(Drop, FrameForAnotherStationComesUpPromiscuouslyAndEndsInIpRcvCore)
{
    Wire quiet;
    quiet.send(datagram(5001, MacAddress{{2, 0, 0, 0, 0, 9}}));
    EXPECT_EQ(quiet.drops(drop::OTHERHOST), 0U); // the NIC does not even take it
    Wire wire("", ", promiscuous: true");
    wire.send(datagram(5001, MacAddress{{2, 0, 0, 0, 0, 9}}));
    EXPECT_EQ(wire.drops(drop::OTHERHOST), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Ip_InReceives), 0U); // that test comes first
}

TEST(Drop, FrameOfAProtocolThatNobodyRegisteredIsUnhandled)
{
    Wire wire;
    Bytes frame = datagram();
    frame[12] = 0x88;
    frame[13] = 0xb5;
    wire.send(std::move(frame));
    EXPECT_EQ(wire.drops(drop::UNHANDLED_PROTO), 1U);
}

TEST(Drop, UnicastInAnEthernetBroadcastOnlyIfTheSettingSaysSo)
{
    const std::string open = "    receivers: [{name: dnsd, port: 5001}]\n";
    const MacAddress everybody{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    Wire lax(open);
    lax.send(datagram(5001, everybody));
    EXPECT_EQ(lax.drops(drop::UNICAST_IN_L2_MULTICAST), 0U);
    EXPECT_EQ(lax.counted(kernel::Mib::Udp_InDatagrams), 1U);
    Wire strict(open + "    sysctls: {net.ipv4.conf.all.drop_unicast_in_l2_multicast: 1}\n");
    strict.send(datagram(5001, everybody));
    EXPECT_EQ(strict.drops(drop::UNICAST_IN_L2_MULTICAST), 1U);
}

TEST(Drop, BrokenSumOfAnEchoOrASegmentHasAReasonAndTwoCounters)
{
    Wire wire(listener);
    Bytes echo = datagram();
    echo[23] = 1; // ICMP: what were ports are type and code now, the sum is wrong
    fill_ipv4_checksum(std::span(echo).subspan(14, 20));
    wire.send(std::move(echo));
    EXPECT_EQ(wire.drops(drop::ICMP_CSUM), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Icmp_InCsumErrors), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Icmp_InErrors), 1U);
    Bytes segment = datagram();
    segment[23] = 6;
    fill_ipv4_checksum(std::span(segment).subspan(14, 20));
    segment[46] = 0x50; // a header of 20 bytes
    wire.send(std::move(segment));
    EXPECT_EQ(wire.drops(drop::TCP_CSUM), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Tcp_InCsumErrors), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Tcp_InErrs), 1U);
}

TEST(Drop, Ipv6OnADeviceThatSpeaksNone)
{
    const Bytes payload(20, 'x');
    UdpFrame frame;
    frame.ethernet = {host_mac, peer_mac, proto::eth_p_ipv6};
    frame.source = *IpAddress::parse("fd00:99::1");
    frame.destination = *IpAddress::parse("fd00:99::2");
    frame.payload = payload;
    Wire wire("", ", ipv6: false");
    wire.send(build_udp_frame(frame));
    EXPECT_EQ(wire.drops(drop::IPV6DISABLED), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::Ip6InDiscards), 1U);
}

TEST(TcpDrop, DataThatWasReceivedBeforeIsOldAndAnsweredByAnAck)
{
    Wire wire(listener);
    wire.connect();
    wire.send_data(0, 100);
    ASSERT_EQ(wire.connection().rcv_nxt, Wire::isn + 101);
    wire.send_data(0, 100);
    EXPECT_EQ(wire.drops(drop::TCP_OLD_DATA), 1U);
    EXPECT_EQ(wire.counted(kernel::Mib::TcpExt_DelayedACKLost), 1U);
    EXPECT_EQ(wire.connection().rcv_nxt, Wire::isn + 101);
}

TEST(TcpDrop, SegmentOutsideTheWindowHasAnInvalidSequence)
{
    Wire wire(listener);
    wire.connect();
    wire.send_data(1'000'000, 100);
    EXPECT_EQ(wire.drops(drop::TCP_INVALID_SEQUENCE), 1U);
    EXPECT_EQ(wire.connection().rcv_nxt, Wire::isn + 1);
}

TEST(TcpDrop, FullWindowOrBufferRefusesWhatComesNext)
{
    Wire wire(listener);
    wire.connect();
    std::uint32_t sent = 0;
    const auto refused = [&] { return wire.drops(drop::TCP_ZEROWINDOW) + wire.drops(drop::TCP_INVALID_SEQUENCE) + wire.drops(drop::PROTO_MEM); };
    while (refused() == 0 && sent < 100'000) {
        wire.send_data(sent, 1000); // nobody reads
        sent += 1000;
    }
    EXPECT_GT(sent, 2000U);
    EXPECT_LT(sent, 20'000U);
    EXPECT_LE(wire.connection().rcv_nxt - Wire::isn - 1, sent);
}

TEST(TcpDrop, LastPieceOfAStreamThatCameFirstIsKeptUntilTheHoleIsFilled)
{
    Wire wire(listener);
    wire.connect();
    wire.send_data(200, 100);
    wire.send_data(100, 100);
    EXPECT_EQ(wire.connection().rcv_nxt, Wire::isn + 1);
    EXPECT_EQ(wire.counted(kernel::Mib::TcpExt_TCPOFOQueue), 2U);
    wire.send_data(200, 100); // once more
    EXPECT_EQ(wire.counted(kernel::Mib::TcpExt_TCPOFOMerge), 1U);
    wire.send_data(0, 100);
    EXPECT_EQ(wire.connection().rcv_nxt, Wire::isn + 301);
}

} // namespace
} // namespace skbscope::test
