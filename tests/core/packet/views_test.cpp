#include "core/packet/views.h"

#include "tests/core/packet/frames.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

using Bytes = std::span<const std::uint8_t>;

TEST(Views, FieldsReadAsTheyWereBuilt)
{
    auto frame = testing::udp_frame(false, std::uint16_t{0x6064});
    auto ethernet = EthernetView::checked(frame);
    ASSERT_TRUE(ethernet);
    EXPECT_EQ(ethernet->dst(), testing::own_mac);
    EXPECT_EQ(ethernet->src(), testing::peer_mac);
    EXPECT_EQ(ethernet->ethertype(), proto::eth_p_8021q);
    auto vlan = VlanView::checked(ethernet->payload());
    ASSERT_TRUE(vlan);
    EXPECT_EQ(vlan->id(), 100);
    EXPECT_EQ(vlan->priority(), 3);
    auto ip = Ipv4View::checked(vlan->payload());
    ASSERT_TRUE(ip);
    EXPECT_EQ(ip->version(), 4);
    EXPECT_EQ(ip->header_length(), 20u);
    EXPECT_EQ(ip->total_length(), 42);
    EXPECT_EQ(ip->id(), 0x1234);
    EXPECT_EQ(ip->ttl(), 64);
    EXPECT_EQ(ip->protocol(), 17);
    EXPECT_EQ(ip->source().text(), "10.99.0.1");
    EXPECT_EQ(ip->daddr(), 0x0a630002u);
    EXPECT_TRUE(ip->options().empty());
    auto udp = UdpView::checked(ip->payload());
    ASSERT_TRUE(udp);
    EXPECT_EQ(udp->source_port(), 40212);
    EXPECT_EQ(udp->destination_port(), 5001);
    EXPECT_EQ(udp->length(), 22);
    EXPECT_EQ(udp->payload().size(), 14u);
}

TEST(Views, EveryCutHeaderIsRefused)
{
    auto frame = testing::udp_frame();
    for (std::size_t length = 0; length < 14; ++length) {
        EXPECT_FALSE(EthernetView::checked(Bytes(frame).first(length)));
    }
    Bytes ip = Bytes(frame).subspan(14);
    for (std::size_t length = 0; length < 20; ++length) {
        EXPECT_FALSE(Ipv4View::checked(ip.first(length)));
    }
    for (std::size_t length = 0; length < 8; ++length) {
        EXPECT_FALSE(UdpView::checked(ip.subspan(20, length)));
        EXPECT_FALSE(IcmpView::checked(ip.subspan(20, length)));
    }
    auto arp = testing::arp_frame();
    for (std::size_t length = 0; length < 28; ++length) {
        EXPECT_FALSE(ArpView::checked(Bytes(arp).subspan(14, length)));
    }
    auto tcp = testing::tcp_frame();
    for (std::size_t length = 0; length < 20; ++length) {
        EXPECT_FALSE(TcpView::checked(Bytes(tcp).subspan(34, length)));
    }
    auto v6 = testing::udp_frame(true);
    for (std::size_t length = 0; length < 40; ++length) {
        EXPECT_FALSE(Ipv6View::checked(Bytes(v6).subspan(14, length)));
    }
}

TEST(Views, Ipv4WithAnotherVersionOrAShortIhlIsRefused)
{
    auto frame = testing::udp_frame();
    auto bytes = std::span(frame).subspan(14);
    bytes[0] = 0x65;
    EXPECT_FALSE(Ipv4View::checked(bytes));
    bytes[0] = 0x44;
    EXPECT_FALSE(Ipv4View::checked(bytes));
    bytes[0] = 0x4f;
    EXPECT_FALSE(Ipv4View::checked(bytes.first(59 < bytes.size() ? 59 : bytes.size())));
}

TEST(Views, OptionsLieBetweenTheFixedHeaderAndThePayload)
{
    std::vector<std::uint8_t> bytes(40);
    auto view = MutableIpv4View::unchecked(bytes);
    view.set_version_ihl(4, 7);
    view.set_total_length(36);
    auto read = Ipv4View::checked(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->options().size(), 8u);
    EXPECT_EQ(read->payload().size(), 8u);
    EXPECT_EQ(read->payload().data(), bytes.data() + 28);
}

TEST(Views, FragmentFieldsComeBackAsSet)
{
    std::vector<std::uint8_t> bytes(20);
    auto view = MutableIpv4View::unchecked(bytes);
    view.set_fragment(false, true, 1480);
    EXPECT_FALSE(view.dont_fragment());
    EXPECT_TRUE(view.more_fragments());
    EXPECT_EQ(view.fragment_offset(), 1480u);
    EXPECT_TRUE(view.is_fragment());
    view.set_fragment(true, false, 0);
    EXPECT_TRUE(view.dont_fragment());
    EXPECT_FALSE(view.is_fragment());
}

TEST(Views, PayloadNeverReachesBehindTheBytesOrTheLengthField)
{
    auto frame = testing::udp_frame();
    frame.resize(60, 0xee); // Ethernet padding
    auto ip = Ipv4View::checked(Bytes(frame).subspan(14));
    EXPECT_EQ(ip->payload().size(), 22u);
    store_be16(frame.data() + 16, 9000);
    EXPECT_EQ(ip->payload().size(), frame.size() - 34);
    store_be16(frame.data() + 16, 4);
    EXPECT_TRUE(ip->payload().empty());
    auto udp = UdpView::checked(Bytes(frame).subspan(34));
    store_be16(frame.data() + 38, 3);
    EXPECT_TRUE(udp->payload().empty());
}

TEST(Views, TcpDataOffsetMustFit)
{
    auto frame = testing::tcp_frame();
    auto bytes = std::span(frame).subspan(34);
    EXPECT_TRUE(TcpView::checked(bytes));
    bytes[12] = 0x40;
    EXPECT_FALSE(TcpView::checked(bytes));
    bytes[12] = 0xf0;
    EXPECT_FALSE(TcpView::checked(bytes));
}

TEST(Views, ArpOfAnotherHardwareIsRefused)
{
    auto frame = testing::arp_frame();
    frame[15] = 6;
    EXPECT_FALSE(ArpView::checked(Bytes(frame).subspan(14)));
}

TEST(MacAddress, TextAndParseAreInverse)
{
    EXPECT_EQ(MacAddress::parse("52:54:00:00:00:02"), testing::own_mac);
    EXPECT_EQ(testing::own_mac.text(), "52:54:00:00:00:02");
    for (const char* bad : {"", "52:54:00:00:00", "52:54:00:00:00:0g", "52:54:00:00:00:02:", "5254:00:00:00:002", " 2:54:00:00:00:02"}) {
        EXPECT_FALSE(MacAddress::parse(bad)) << bad;
    }
}

} // namespace
} // namespace skbscope
