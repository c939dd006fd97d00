// Frames of a made-up device through the model while they come; the clock is turned by hand.

#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/scenario/live_replay.h"

#include <gtest/gtest.h>

namespace skbscope {
namespace {

constexpr std::uint32_t host_address = 0x0a000002;
constexpr std::uint32_t peer_address = 0x0a000001;
constexpr MacAddress host_mac{{2, 0, 0, 0, 0, 2}};
constexpr MacAddress peer_mac{{2, 0, 0, 0, 0, 1}};
constexpr std::uint64_t start = 1'700'000'000'000'000'000; // nanoseconds of the wall clock
constexpr std::uint64_t millisecond = 1'000'000;

CapturedFrame datagram(std::uint64_t at, std::uint16_t port, bool from_host = false)
{
    UdpFrame frame;
    frame.ethernet = {from_host ? peer_mac : host_mac, from_host ? host_mac : peer_mac, 0x0800};
    frame.source = IpAddress::v4(from_host ? host_address : peer_address);
    frame.destination = IpAddress::v4(from_host ? peer_address : host_address);
    frame.source_port = 4000;
    frame.destination_port = port;
    const std::vector<std::uint8_t> payload(100, 'x');
    frame.payload = payload;
    auto bytes = build_udp_frame(frame);
    const auto length = static_cast<std::uint32_t>(bytes.size());
    return {start + at, length, std::move(bytes)};
}

/// A device with a rule: every third millisecond a burst of its number's last digit, each seventh frame for a port without a socket,
/// each fifth the host's own.
std::vector<CapturedFrame> made_up_traffic()
{
    std::vector<CapturedFrame> frames;
    for (std::uint64_t burst = 0; burst < 60; ++burst) {
        for (std::uint64_t n = 0; n < burst % 10; ++n) {
            const std::size_t number = frames.size();
            frames.push_back(datagram(burst * 3 * millisecond + n * 1500, number % 7 == 0 ? 9 : 5001, number % 5 == 4));
        }
    }
    return frames;
}

std::uint64_t count(const Trace& trace, Verdict verdict) { return trace.verdicts()[static_cast<std::size_t>(verdict)]; }

TEST(LiveReplay, OfFramesAsTheyComeIsTheReplayOfTheirCapture)
{
    const auto traffic = made_up_traffic();
    const auto capture = std::make_shared<HeldCapture>(traffic);
    const ReplayPlan plan = plan_replay(*capture, host_address, host_mac);
    ModelSource whole(replay_scenario(host_address, host_mac, {5001}), replay_frames(capture, plan));
    whole.run_to_end();

    LiveReplay live(replay_scenario(host_address, host_mac, {5001}), host_mac, traffic.front().time_ns);
    std::size_t handed = 0;
    for (std::uint64_t now = 0; handed < traffic.size(); now += 20 * millisecond) {
        while (handed < traffic.size() && traffic[handed].time_ns <= start + now) {
            live.take(traffic[handed++]);
        }
        live.run_until(start + now);
        EXPECT_LE(live.source().trace().end_time().ns, static_cast<std::int64_t>(now + millisecond)) << "the model is not ahead of the clock";
    }
    live.finish();

    const Trace& a = whole.trace();
    const Trace& b = live.source().trace();
    EXPECT_EQ(live.frames(), plan.frames);
    EXPECT_EQ(live.counts().own, plan.counts.own);
    EXPECT_GT(live.counts().own, 0U);
    EXPECT_GT(count(a, Verdict::delivered), 0U);
    EXPECT_GT(count(a, Verdict::dropped), 0U);
    EXPECT_EQ(a.verdicts(), b.verdicts());
    ASSERT_EQ(a.packet_count(), b.packet_count());
    for (std::size_t row = 0; row < a.packets().size(); ++row) {
        EXPECT_EQ(a.packets()[row].birth.ns, b.packets()[row].birth.ns) << row;
        EXPECT_EQ(a.packets()[row].verdict, b.packets()[row].verdict) << row;
    }
}

TEST(LiveReplay, WhatTheCaptureHandsOnLateArrivesAtOnce)
{
    LiveReplay live(replay_scenario(host_address, host_mac, {5001}), host_mac, start);
    live.run_until(start + 500 * millisecond);
    live.take(datagram(10 * millisecond, 5001));
    live.take(datagram(11 * millisecond, 5001));
    live.run_until(start + 700 * millisecond);
    EXPECT_EQ(count(live.source().trace(), Verdict::delivered), 2U);
    EXPECT_GE(live.source().trace().packets()[1].birth.ns, static_cast<std::int64_t>(450 * millisecond));
}

TEST(LiveReplay, MemoryDoesNotGrowWithFramesWhereNobodyLooksBack)
{
    LiveReplay live(replay_scenario(host_address, host_mac, {5001}), host_mac, start);
    live.source().keep_snapshots(false);
    live.source().set_recording(false);
    for (std::uint64_t n = 0; n < 1000; ++n) {
        live.take(datagram(n * millisecond, 5001));
        live.run_until(start + n * millisecond);
        ASSERT_LE(live.source().frames_kept(), 60U) << "those of the last 50 ms";
    }
    live.finish();
    EXPECT_EQ(count(live.source().trace(), Verdict::delivered), 1000U);
}

TEST(LiveReplay, AChecksumThatWasLeftToADeviceIsFilledInAndABrokenOneIsNot)
{
    auto unfinished = datagram(0, 5001);
    auto broken = datagram(millisecond, 5001);
    constexpr std::size_t at = 14 + 20 + 6;
    std::vector<std::uint8_t> partial(unfinished.bytes.begin(), unfinished.bytes.end());
    const auto length = static_cast<std::uint32_t>(partial.size() - 34);
    store_be16(&partial[at], static_cast<std::uint16_t>(~csum_tcpudp_magic(peer_address, host_address, length, 17)));
    unfinished.bytes = FrameBytes(partial);
    std::vector<std::uint8_t> wrong(broken.bytes.begin(), broken.bytes.end());
    wrong[at] ^= 0x55;
    broken.bytes = FrameBytes(wrong);

    LiveReplay live(replay_scenario(host_address, host_mac, {5001}), host_mac, start);
    live.take(unfinished);
    live.take(broken);
    live.finish();
    EXPECT_EQ(live.counts().unfinished, 1U);
    EXPECT_EQ(count(live.source().trace(), Verdict::delivered), 1U);
    EXPECT_EQ(count(live.source().trace(), Verdict::dropped), 1U);
}

TEST(LiveReplay, WhatAHostSendsToItselfArrives)
{
    auto frame = datagram(0, 5001);
    std::vector<std::uint8_t> bytes(frame.bytes.begin(), frame.bytes.end());
    std::fill_n(bytes.begin(), 12, std::uint8_t{0}); // as loopback has it
    frame.bytes = FrameBytes(bytes);
    LiveReplay live(replay_scenario(host_address, MacAddress{}, {5001}), MacAddress{}, start);
    live.take(frame);
    live.finish();
    EXPECT_EQ(live.counts().own, 0U);
    EXPECT_EQ(count(live.source().trace(), Verdict::delivered), 1U);
}

} // namespace
} // namespace skbscope
