#include "core/packet/dissect.h"

#include "core/packet/views.h"
#include "tests/core/packet/frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const std::vector<DissectedLayer>& layers)
{
    std::vector<std::string> result;
    for (const auto& layer : layers) {
        result.push_back(layer.name);
    }
    return result;
}

const DissectedField& field(const std::vector<DissectedLayer>& layers, std::string_view layer, std::string_view name)
{
    for (const auto& candidate : layers) {
        for (const auto& entry : candidate.fields) {
            if (candidate.name == layer && entry.name == name) {
                return entry;
            }
        }
    }
    static const DissectedField none;
    ADD_FAILURE() << layer << "." << name << " is not there";
    return none;
}

TEST(Dissect, LayersOfADatagram)
{
    auto layers = dissect(testing::udp_frame());
    EXPECT_THAT(names(layers), ElementsAre("Ethernet", "IPv4", "UDP", "Payload"));
    EXPECT_EQ(layers[1].summary, "10.99.0.1 → 10.99.0.2, UDP");
    EXPECT_EQ(field(layers, "IPv4", "Time to live").value, "64");
    EXPECT_EQ(field(layers, "IPv4", "Time to live").offset, 22u);
    EXPECT_THAT(field(layers, "UDP", "Checksum").value, HasSubstr("(right)"));
    EXPECT_EQ(field(layers, "Payload", "Text").value, "PKT00001 hello");
}

TEST(Dissect, OtherProtocolsAreNamed)
{
    EXPECT_THAT(names(dissect(testing::arp_frame())), ElementsAre("Ethernet", "ARP"));
    EXPECT_EQ(dissect(testing::arp_frame())[1].summary, "who has 10.99.0.2? tell 10.99.0.1");
    EXPECT_THAT(names(dissect(testing::tcp_frame())), ElementsAre("Ethernet", "IPv4", "TCP", "Payload"));
    EXPECT_EQ(field(dissect(testing::tcp_frame()), "TCP", "Flags").value, "PSH ACK");
    EXPECT_THAT(names(dissect(testing::echo_frame())), ElementsAre("Ethernet", "IPv4", "ICMP", "Payload"));
    EXPECT_THAT(names(dissect(testing::udp_frame(true))), ElementsAre("Ethernet", "IPv6", "UDP", "Payload"));
    EXPECT_THAT(names(dissect(testing::udp_frame(false, std::uint16_t{9}))),
                ElementsAre("Ethernet", "VLAN", "IPv4", "UDP", "Payload"));
}

TEST(Dissect, WrongChecksumIsMarkedAndTheRightOneTold)
{
    auto frame = testing::udp_frame();
    auto ip = MutableIpv4View::unchecked(std::span(frame).subspan(14));
    std::uint16_t right = ip.checksum();
    ip.set_checksum(static_cast<std::uint16_t>(right ^ 0x0101));
    auto layers = dissect(frame);
    const auto& checksum = field(layers, "IPv4", "Header checksum");
    EXPECT_TRUE(checksum.odd);
    char expected[8];
    std::snprintf(expected, sizeof expected, "0x%04x", right);
    EXPECT_THAT(checksum.value, HasSubstr(expected));
}

TEST(Dissect, PaddingIsALayerOfItsOwn)
{
    auto frame = testing::udp_frame();
    std::size_t length = frame.size();
    frame.resize(60);
    auto layers = dissect(frame);
    EXPECT_THAT(names(layers), ElementsAre("Ethernet", "IPv4", "UDP", "Payload", "Padding"));
    EXPECT_EQ(layers.back().offset, length);
}

TEST(Dissect, CutFrameSaysThatItsChecksumCannotBeVerified)
{
    auto frame = testing::udp_frame();
    std::size_t wire = frame.size();
    frame.resize(wire - 3);
    auto layers = dissect(frame, wire);
    EXPECT_THAT(field(layers, "UDP", "Checksum").value, HasSubstr("cannot be verified"));
    EXPECT_FALSE(field(layers, "UDP", "Checksum").odd);
}

TEST(Dissect, LayersTileEveryCutAndMutatedFrameAndFieldsStayInside)
{
    for (const auto& frame : {testing::udp_frame(), testing::udp_frame(true), testing::udp_frame(false, std::uint16_t{7}),
                              testing::tcp_frame(), testing::echo_frame(), testing::arp_frame()}) {
        for (std::size_t length = 0; length <= frame.size(); ++length) {
            for (std::size_t at = 0; at <= length; ++at) {
                std::vector<std::uint8_t> bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
                if (at < length) {
                    bytes[at] ^= static_cast<std::uint8_t>(0xff - at % 7);
                }
                std::size_t next = 0;
                for (const auto& layer : dissect(bytes, at % 2 == 0 ? frame.size() : 0)) {
                    ASSERT_EQ(layer.offset, next);
                    next += layer.length;
                    for (const auto& entry : layer.fields) {
                        ASSERT_GE(entry.offset, layer.offset);
                        ASSERT_LE(entry.offset + entry.length, layer.offset + layer.length);
                    }
                }
                ASSERT_EQ(next, bytes.size());
            }
        }
    }
}

} // namespace
} // namespace skbscope
