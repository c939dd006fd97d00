#include "core/packet/checksum.h"

#include "core/packet/views.h"
#include "tests/core/packet/frames.h"

#include <gtest/gtest.h>
#include <random>

namespace skbscope {
namespace {

TEST(Checksum, RfcExampleSumsAsPrinted)
{
    // RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
    const std::uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    EXPECT_EQ(csum_fold(csum_partial(bytes)), static_cast<std::uint16_t>(~0xddf2));
}

TEST(Checksum, KnownIpv4HeaderIsRight)
{
    const std::uint8_t header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                   0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
    EXPECT_TRUE(ipv4_checksum_ok(header));
    std::uint8_t zeroed[20];
    std::copy(std::begin(header), std::end(header), zeroed);
    zeroed[10] = zeroed[11] = 0;
    EXPECT_EQ(ip_fast_csum(zeroed), 0xb861);
}

TEST(Checksum, FastSumEqualsTheSumWordByWordForEveryLength)
{
    std::mt19937 random(1);
    std::vector<std::uint8_t> bytes(1501);
    for (auto& byte : bytes) {
        byte = static_cast<std::uint8_t>(random());
    }
    for (std::size_t length = 0; length <= bytes.size(); length += length < 70 ? 1 : 131) {
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < length; ++i) {
            sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
        }
        while (sum >> 16 != 0) {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        EXPECT_EQ(csum_fold(csum_partial(std::span(bytes).first(length))), static_cast<std::uint16_t>(~sum)) << length;
    }
}

TEST(Checksum, BlocksAddUpAtEvenAndOddOffsets)
{
    auto frame = testing::udp_frame();
    std::span<const std::uint8_t> all(frame);
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        std::uint32_t sum = csum_partial(all.first(cut));
        sum = csum_block_add(sum, csum_partial(all.subspan(cut)), cut);
        EXPECT_EQ(csum_fold(sum), csum_fold(csum_partial(all))) << cut;
    }
}

TEST(Checksum, ReplacedWordGivesTheSumOfTheChangedHeader)
{
    auto frame = testing::udp_frame();
    auto ip = MutableIpv4View::unchecked(std::span(frame).subspan(14));
    std::uint16_t before = load_be16(frame.data() + 14 + 8);
    ip.set_ttl(63);
    ip.set_checksum(csum_replace(ip.checksum(), before, load_be16(frame.data() + 14 + 8)));
    EXPECT_TRUE(ipv4_checksum_ok(ip.header()));
}

TEST(Checksum, AnyFlippedBitOfADatagramIsNoticed)
{
    for (bool v6 : {false, true}) {
        auto frame = testing::udp_frame(v6);
        auto source = *IpAddress::parse(v6 ? "fd00::1" : "10.99.0.1");
        auto destination = *IpAddress::parse(v6 ? "fd00::2" : "10.99.0.2");
        auto segment = std::span(frame).subspan(v6 ? 54 : 34);
        ASSERT_TRUE(udp_checksum_ok(source, destination, segment));
        for (std::size_t bit = 0; bit < segment.size() * 8; ++bit) {
            segment[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
            EXPECT_FALSE(udp_checksum_ok(source, destination, segment)) << bit;
            segment[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        }
    }
}

TEST(Checksum, ZeroMeansNoneOverIpv4AndWrongOverIpv6)
{
    auto v4 = testing::udp_frame(false);
    auto v6 = testing::udp_frame(true);
    store_be16(v4.data() + 40, 0);
    store_be16(v6.data() + 60, 0);
    EXPECT_TRUE(udp_checksum_ok(IpAddress::v4(0x0a630001), IpAddress::v4(0x0a630002), std::span(v4).subspan(34)));
    EXPECT_FALSE(udp_checksum_ok(*IpAddress::parse("fd00::1"), *IpAddress::parse("fd00::2"), std::span(v6).subspan(54)));
}

} // namespace
} // namespace skbscope
