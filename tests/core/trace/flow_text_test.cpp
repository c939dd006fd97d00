// The title of a packet says what is known of its addresses, and no more.

#include "core/trace/flow_text.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

PacketRecord sent_here(const char* source, const char* destination)
{
    constexpr std::uint8_t icmp = 1;
    PacketRecord packet;
    packet.sent_here = true;
    packet.flow.emplace();
    packet.flow->source = *IpAddress::parse(source);
    packet.flow->destination = *IpAddress::parse(destination);
    packet.flow->protocol = icmp;
    return packet;
}

TEST(FlowText, NamesASenderOnlyWhereOneIsKnown)
{
    EXPECT_EQ(flow_text(sent_here("127.0.0.1", "127.0.0.1")), "ICMP 127.0.0.1 → 127.0.0.1");
    EXPECT_EQ(flow_text(sent_here("0.0.0.0", "127.0.0.1")), "ICMP unknown → 127.0.0.1");
    EXPECT_EQ(flow_text({}), "");
}

TEST(FlowText, LeavesTheUnspecifiedAddressWhereItMayReallyStand)
{
    EXPECT_EQ(flow_text(sent_here("0.0.0.0", "255.255.255.255")), "ICMP 0.0.0.0 → 255.255.255.255");
    PacketRecord received = sent_here("0.0.0.0", "10.0.0.1");
    received.sent_here = false;
    EXPECT_EQ(flow_text(received), "ICMP 0.0.0.0 → 10.0.0.1");
}

} // namespace
} // namespace skbscope
