#include "core/packet/ip_address.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

IpAddress a(const char* text)
{
    return IpAddress::parse(text).value();
}

TEST(IpAddress, TheSolicitedNodeGroupKeepsTheLastThreeBytes)
{
    EXPECT_EQ(addrconf_addr_solict_mult(a("fd00:99::12:3456")), a("ff02::1:ff12:3456"));
    EXPECT_TRUE(ipv6_addr_is_solict_mult(a("ff02::1:ff12:3456")));
    EXPECT_FALSE(ipv6_addr_is_solict_mult(a("ff02::2:ff12:3456")));
    EXPECT_EQ(ipv6_eth_mc_map(a("ff02::1:ff00:2")).text(), "33:33:ff:00:00:02");
}

TEST(IpAddress, TheLinkLocalAddressFlipsTheUniversalBitOfTheMac)
{
    EXPECT_EQ(ipv6_linklocal_of(MacAddress::parse("52:54:00:12:34:00").value()).text(),
              "fe80::5054:ff:fe12:3400");
    EXPECT_TRUE(ipv6_addr_is_linklocal(a("febf::1")));
    EXPECT_FALSE(ipv6_addr_is_linklocal(a("fec0::1")));
}

TEST(IpAddress, PrefixesCompareByBits)
{
    EXPECT_TRUE(ipv6_prefix_equal(a("fd00:99::1"), a("fd00:99::2"), 64));
    EXPECT_TRUE(ipv6_prefix_equal(a("fd00:99::2"), a("fd00:99::3"), 127));
    EXPECT_FALSE(ipv6_prefix_equal(a("fd00:99::2"), a("fd00:99::3"), 128));
    EXPECT_TRUE(ipv6_prefix_equal(a("::1"), a("ffff::"), 0));
    EXPECT_EQ(ipv6_addr_diff(a("fd00:99::2"), a("fd00:99::3")), 127u);
    EXPECT_EQ(ipv6_addr_diff(a("::"), a("::")), 128u);
}

TEST(IpAddress, FamiliesDoNotMix)
{
    EXPECT_NE(IpAddress{}, IpAddress::any6());
    EXPECT_TRUE(IpAddress{}.is_any());
    EXPECT_TRUE(IpAddress::any6().is_any());
    EXPECT_EQ(IpAddress::v4(0x0a630001).text(), "10.99.0.1");
    EXPECT_EQ(a("10.99.0.1").v4_host_order(), 0x0a630001u);
    EXPECT_TRUE(ipv6_addr_v4mapped(a("::ffff:10.0.0.1")));
    EXPECT_FALSE(ipv6_addr_is_multicast(IpAddress::v4(0xff000001)));
    EXPECT_TRUE(ipv6_addr_loopback(a("::1")));
}

} // namespace
} // namespace skbscope
