#include "core/packet/build.h"

#include "core/packet/checksum.h"
#include "core/packet/flow.h"
#include "core/packet/views.h"
#include "tests/core/packet/frames.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

TEST(Build, AllChecksumsOfABuiltFrameAreRight)
{
    auto udp = testing::udp_frame();
    EXPECT_TRUE(ipv4_checksum_ok(std::span(udp).subspan(14)));
    EXPECT_TRUE(udp_checksum_ok(IpAddress::v4(0x0a630001), IpAddress::v4(0x0a630002), std::span(udp).subspan(34)));
    auto tcp = testing::tcp_frame();
    EXPECT_TRUE(tcp_checksum_ok(IpAddress::v4(0x0a630001), IpAddress::v4(0x0a630002), std::span(tcp).subspan(34)));
    auto echo = testing::echo_frame();
    EXPECT_TRUE(icmp_checksum_ok(std::span(echo).subspan(34)));
}

TEST(Build, UdpSumOfZeroIsSentAsAllOnes)
{
    // Find a payload whose sum is zero: put the checksum of the frame into the payload itself.
    UdpFrame frame;
    frame.source = IpAddress::v4(0x0a000001);
    frame.destination = IpAddress::v4(0x0a000002);
    std::vector<std::uint8_t> payload(2);
    frame.payload = payload;
    auto first = build_udp_frame(frame);
    std::uint16_t sum = load_be16(first.data() + 40);
    store_be16(payload.data(), sum);
    auto second = build_udp_frame(frame);
    EXPECT_EQ(load_be16(second.data() + 40), 0xffff);
    EXPECT_TRUE(udp_checksum_ok(frame.source, frame.destination, std::span(second).subspan(34)));
}

TEST(Build, ArpRequestIsBroadcastAndReplyIsNot)
{
    auto request = testing::arp_frame();
    EXPECT_TRUE(EthernetView::checked(request)->dst().is_broadcast());
    auto reply = build_arp_frame({.operation = proto::arpop_reply,
                                  .sender_mac = testing::own_mac,
                                  .sender_address = 1,
                                  .target_mac = testing::peer_mac,
                                  .target_address = 2});
    EXPECT_EQ(EthernetView::checked(reply)->dst(), testing::peer_mac);
    EXPECT_EQ(ArpView::checked(std::span<const std::uint8_t>(reply).subspan(14))->operation(), proto::arpop_reply);
}

TEST(Build, FrameOfAFlowHasThatFlow)
{
    for (const auto& frame : {testing::udp_frame(), testing::udp_frame(true), testing::tcp_frame(), testing::echo_frame(),
                              testing::arp_frame()}) {
        auto flow = flow_of_frame(frame);
        ASSERT_TRUE(flow);
        EXPECT_EQ(flow_of_frame(frame_of_flow(*flow)), flow) << flow->text();
    }
}

} // namespace
} // namespace skbscope
