#include "core/packet/flow.h"

#include "core/packet/transport.h"
#include "core/packet/views.h"
#include "tests/core/packet/frames.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

TEST(IpAddress, TextAndParseAreInverse)
{
    for (const char* text : {"0.0.0.0", "10.99.0.1", "255.255.255.255", "::", "::1", "fe80::1", "2001:db8:0:1::5"}) {
        auto address = IpAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->text(), text);
    }
    for (const char* bad : {"", "10.0.0", "10.0.0.256", "10.0.0.1/24", "fe80::1::2", "localhost"}) {
        EXPECT_FALSE(IpAddress::parse(bad)) << bad;
    }
}

TEST(IpAddress, HostOrderNumberReadsLeftToRight)
{
    EXPECT_EQ(IpAddress::v4(0x0a000001).text(), "10.0.0.1");
    EXPECT_EQ(IpAddress::parse("10.99.0.2")->v4_host_order(), 0x0a630002u);
}

TEST(FlowOfFrame, UdpHasAddressesAndPorts)
{
    auto flow = flow_of_frame(testing::udp_frame());
    ASSERT_TRUE(flow);
    EXPECT_EQ(flow->text(), "UDP 10.99.0.1:40212 → 10.99.0.2:5001");
    EXPECT_EQ(flow->protocol_name(), "udp");
}

TEST(FlowOfFrame, VlanTagIsPassed)
{
    EXPECT_EQ(flow_of_frame(testing::udp_frame(false, std::uint16_t{5})), flow_of_frame(testing::udp_frame()));
}

TEST(FlowOfFrame, Ipv6PortsStandBesideBrackets)
{
    EXPECT_EQ(flow_of_frame(testing::udp_frame(true))->text(), "UDP [fd00::1]:40212 → [fd00::2]:5001");
}

TEST(FlowOfFrame, ArpBearsItsProtocolAddresses)
{
    auto flow = flow_of_frame(testing::arp_frame());
    ASSERT_TRUE(flow);
    EXPECT_EQ(flow->text(), "ARP 10.99.0.1 → 10.99.0.2");
    EXPECT_EQ(flow->ethertype, 0x0806);
}

TEST(FlowOfFrame, EchoBearsItsIdentifierAsSourcePort)
{
    auto flow = flow_of_frame(testing::echo_frame());
    ASSERT_TRUE(flow);
    EXPECT_EQ(flow->protocol_name(), "icmp");
    EXPECT_EQ(flow->source_port, 77);
    EXPECT_EQ(flow->destination_port, 0);
}

TEST(FlowOfFrame, LaterFragmentHasNoPorts)
{
    auto frame = testing::udp_frame();
    auto ip = MutableIpv4View::unchecked(std::span(frame).subspan(14));
    ip.set_fragment(false, true, 0);
    EXPECT_EQ(flow_of_frame(frame)->destination_port, 5001);
    ip.set_fragment(false, false, 1480);
    auto flow = flow_of_frame(frame);
    ASSERT_TRUE(flow);
    EXPECT_EQ(flow->source_port, 0);
    EXPECT_EQ(flow->destination_port, 0);
    EXPECT_EQ(flow->text(), "UDP 10.99.0.1 → 10.99.0.2");
}

TEST(FlowOfFrame, EveryCutAndEveryFlippedByteIsSurvived)
{
    for (const auto& frame : {testing::udp_frame(), testing::udp_frame(true), testing::udp_frame(false, std::uint16_t{7}),
                              testing::tcp_frame(), testing::echo_frame(), testing::arp_frame()}) {
        for (std::size_t length = 0; length <= frame.size(); ++length) {
            std::vector<std::uint8_t> cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
            auto flow = flow_of_frame(cut);
            EXPECT_TRUE(length >= 14 || !flow);
            for (std::size_t at = 0; at < std::min<std::size_t>(length, 60); ++at) {
                for (std::uint8_t mask : {0xff, 0x0f, 0xf0, 0x01}) {
                    cut[at] ^= mask;
                    (void)flow_of_frame(cut);
                    cut[at] ^= mask;
                }
            }
        }
    }
}

TEST(FindTransport, ExtensionHeadersAreSkipped)
{
    // hop-by-hop (8 bytes), destination options (16 bytes), then UDP
    std::vector<std::uint8_t> payload(24 + 8);
    payload[0] = 60;
    payload[8] = 17;
    payload[9] = 1;
    Transport found = find_transport(payload, 0);
    EXPECT_TRUE(found.whole);
    EXPECT_EQ(found.protocol, 17);
    EXPECT_EQ(found.offset, 24u);
}

TEST(FindTransport, EndlessChainAndCutChainAreNotWhole)
{
    std::vector<std::uint8_t> zeros(4096);
    EXPECT_FALSE(find_transport(zeros, 0).whole);
    EXPECT_FALSE(find_transport(std::span(zeros).first(5), 0).whole);
}

TEST(FindTransport, LaterFragmentIsTold)
{
    std::vector<std::uint8_t> payload(16);
    payload[0] = 17;
    payload[3] = 0x08;
    EXPECT_FALSE(find_transport(payload, 44).first_fragment);
}

} // namespace
} // namespace skbscope
