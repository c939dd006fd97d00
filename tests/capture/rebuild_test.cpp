// What scenarios take over from manifests that say more than most, and from the recording beside them.

#include "capture/fidelity/rebuild.h"
#include "capture/fidelity/refine.h"
#include "capture/fidelity/whole_frame.h"
#include "core/catalog/function_ids.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "tests/capture/recordings.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skbscope {
namespace {

using nlohmann::json;

// ---- frames that a snap length cut ------------------------------------------------------------------------------------------

std::vector<std::uint8_t> datagram(std::size_t size, std::uint8_t filling)
{
    const std::vector<std::uint8_t> payload(size, filling);
    UdpFrame frame;
    frame.source = *IpAddress::parse("10.99.0.1");
    frame.destination = *IpAddress::parse("10.99.0.2");
    frame.source_port = 40000;
    frame.destination_port = 5001;
    frame.payload = payload;
    return build_udp_frame(frame);
}

PcapFile capture_of(const std::vector<std::uint8_t>& frame, std::size_t snaplen)
{
    PcapFile file;
    file.bytes.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(std::min(snaplen, frame.size())));
    file.frames.push_back({0, static_cast<std::uint32_t>(frame.size()), 0, static_cast<std::uint32_t>(file.bytes.size())});
    return file;
}

bool holds_its_checksum(const std::vector<std::uint8_t>& frame)
{
    return udp_checksum_ok(*IpAddress::parse("10.99.0.1"), *IpAddress::parse("10.99.0.2"), std::span(frame).subspan(34));
}

TEST(WholeFrame, IsThatOfTheWireWhereItWasCaptured)
{
    const auto sent = datagram(700, 'x');
    const PcapFile wire = capture_of(sent, 65536);
    EXPECT_EQ(whole_frame(capture_of(sent, 256), 0, &wire, true), sent);
    EXPECT_EQ(whole_frame(capture_of(sent, 65536), 0, nullptr, true), sent);
}

TEST(WholeFrame, ThatNobodyCapturedWholeHasItsLengthAndAChecksumThatHoldsAsItDid)
{
    for (const std::size_t size : {700U, 701U, 223U}) {
        const auto sent = datagram(size, 'x');
        const PcapFile other = capture_of(datagram(size, 'y'), 65536);
        const auto made = whole_frame(capture_of(sent, 256), 0, &other, true);
        ASSERT_EQ(made.size(), sent.size());
        EXPECT_TRUE(std::equal(sent.begin(), sent.begin() + 256, made.begin()));
        EXPECT_TRUE(holds_its_checksum(made)) << size;
        EXPECT_FALSE(holds_its_checksum(whole_frame(capture_of(sent, 256), 0, &other, false))) << size;
    }
}

// ---- scenarios -----------------------------------------------------------------------------------------------------------------

Rebuilt rebuilt_with(const std::function<void(json&)>& change)
{
    const testing::ChangedRecording changed(testing::small_set() / "6.1.0-56-amd64/udp-rx-virtio", change);
    const auto manifest = read_manifest(changed.folder());
    EXPECT_TRUE(manifest) << manifest.error().describe();
    auto rebuilt = rebuild_scenario(*manifest);
    EXPECT_TRUE(rebuilt) << rebuilt.error().describe();
    return rebuilt ? std::move(*rebuilt) : Rebuilt();
}

TEST(Rebuild, ARouteThatRefusesIsOfTheKindThatItsPhaseNames)
{
    for (const char* type : {"unreachable", "blackhole", "prohibit"}) {
        const Rebuilt rebuilt = rebuilt_with([&](json& manifest) {
            json& phase = manifest["phases"][0];
            phase["description"] = fmt::format("to 10.3.0.9: {} route on the router", type);
            phase["result"].erase("received");
            phase["result"]["sent"]["dst"][0] = "10.3.0.9";
        });
        ASSERT_FALSE(rebuilt.scenario.hosts.empty());
        ASSERT_EQ(rebuilt.scenario.hosts[0].routes.size(), 1U) << type;
        EXPECT_EQ(rebuilt.scenario.hosts[0].routes[0].type, type);
    }
}

TEST(Rebuild, APingOfIPv6IsSentToItsAddress)
{
    const Rebuilt rebuilt = rebuilt_with([](json& manifest) {
        manifest["links"]["eth0"][0]["addr_info"].push_back({{"local", "fd00:99::2"}, {"prefixlen", 64}});
        manifest["links"]["eth1"][0]["addr_info"].push_back({{"local", "fd00:99::1"}, {"prefixlen", 64}});
        manifest["phases"][0]["result"] = {{"output", "PING fd00:99::2 (fd00:99::2) 300 data bytes\n\n--- fd00:99::2 ping statistics ---\n"
                                                      "5 packets transmitted, 5 received, 0% packet loss, time 806ms\n"}};
    });
    EXPECT_TRUE(rebuilt.refused.empty());
    ASSERT_EQ(rebuilt.scenario.hosts.size(), 2U);
    ASSERT_EQ(rebuilt.scenario.hosts[1].pings.size(), 1U);
    EXPECT_EQ(rebuilt.scenario.hosts[1].pings[0].address6, *IpAddress::parse("fd00:99::2"));
    EXPECT_EQ(rebuilt.scenario.hosts[1].pings[0].size, 300U);
}

// ---- neighbours ----------------------------------------------------------------------------------------------------------------

ManifestLink veth(const char* net, const char* name, const char* address)
{
    ManifestLink link;
    link.net = net;
    link.name = name;
    link.driver = "veth";
    link.addresses = {{*IpAddress::parse(address), 24}};
    return link;
}

ManifestNeighbour known(const char* net, const char* device, const char* address)
{
    ManifestNeighbour entry;
    entry.net = net;
    entry.device = device;
    entry.address = *IpAddress::parse(address);
    return entry;
}

void add_call(Trace& trace, PacketId packet, FunctionId function)
{
    Event event;
    event.time_ns = trace.size();
    event.kind = static_cast<std::uint8_t>(EventKind::call);
    event.function = to_index(function);
    event.packet = to_index(packet);
    trace.append(event);
}

/// A datagram from one namespace of the machine through its router to another one; each has its entries.
TEST(Refine, OnOneMachineANeighbourIsStaleInTheNamespaceWhosePacketAskedForIt)
{
    for (const bool router_asks : {false, true}) {
        Manifest manifest;
        manifest.links = {veth("root", "ra", "10.1.0.1"), veth("root", "rb", "10.2.0.1"), veth("a", "a0", "10.1.0.2"), veth("b", "b0", "10.2.0.2")};
        manifest.neighbours = {known("a", "a0", "10.1.0.1"), known("root", "rb", "10.2.0.2"), known("root", "ra", "10.1.0.2")};
        Trace trace;
        PacketRecord record;
        record.flow.emplace();
        record.flow->source = *IpAddress::parse("10.1.0.2");
        record.flow->destination = *IpAddress::parse("10.2.0.2");
        record.sent_here = true;
        const PacketId packet = trace.add_packet(record);
        add_call(trace, packet, fn::ip_finish_output2);
        if (!router_asks) {
            add_call(trace, packet, fn::__neigh_event_send);
        }
        add_call(trace, packet, fn::ip_forward);
        add_call(trace, packet, fn::ip_finish_output2);
        if (router_asks) {
            add_call(trace, packet, fn::__neigh_event_send);
        }
        refine_manifest(manifest, trace);
        EXPECT_EQ(manifest.neighbours[0].stale, !router_asks);
        EXPECT_EQ(manifest.neighbours[1].stale, router_asks);
        EXPECT_FALSE(manifest.neighbours[2].stale);
    }
}

// ---- segments that got lost ----------------------------------------------------------------------------------------------------

constexpr std::uint8_t syn = 0x02, ack = 0x10;

/// As tcpdump keeps it: the headers alone. From the client (10.99.0.2:44008, the traced machine) or from its server.
std::vector<std::uint8_t> segment(bool of_client, std::uint32_t sequence, std::uint32_t payload, std::uint8_t flags, std::uint32_t acknowledged = 0,
                                  std::pair<std::uint32_t, std::uint32_t> twice = {})
{
    const bool has_dsack = twice.second != 0;
    std::vector<std::uint8_t> frame(14 + 20 + 20 + (has_dsack ? 12 : 0));
    frame[12] = 0x08;
    frame[14] = 0x45;
    store_be16(&frame[16], static_cast<std::uint16_t>(frame.size() - 14 + payload));
    frame[23] = 6;
    store_be32(&frame[26], of_client ? 0x0a630002 : 0x0a630001);
    store_be32(&frame[30], of_client ? 0x0a630001 : 0x0a630002);
    store_be16(&frame[34], of_client ? 44008 : 5008);
    store_be16(&frame[36], of_client ? 5008 : 44008);
    store_be32(&frame[38], sequence);
    store_be32(&frame[42], acknowledged);
    frame[46] = has_dsack ? 0x80 : 0x50;
    frame[47] = flags;
    if (has_dsack) {
        frame[54] = frame[55] = 1;
        frame[56] = 5;
        frame[57] = 10;
        store_be32(&frame[58], twice.first);
        store_be32(&frame[62], twice.second);
    }
    return frame;
}

void write_capture(const std::filesystem::path& path, const std::vector<std::vector<std::uint8_t>>& frames)
{
    std::ofstream out(path, std::ios::binary);
    const auto put = [&](std::uint32_t value) { out.write(reinterpret_cast<const char*>(&value), sizeof value); };
    for (const std::uint32_t word : {0xa1b23c4dU, 0x00040002U, 0U, 0U, 96U, 1U}) {
        put(word);
    }
    for (const auto& frame : frames) {
        for (const std::uint32_t word : {1U, 0U, static_cast<std::uint32_t>(frame.size()), static_cast<std::uint32_t>(frame.size())}) {
            put(word);
        }
        out.write(reinterpret_cast<const char*>(frame.data()), static_cast<std::streamsize>(frame.size()));
    }
}

TEST(Refine, WhatTheWireLostIsToldByTheCaptureOnTheTracedMachine)
{
    const testing::ChangedRecording changed(testing::small_set() / "6.1.0-56-amd64/udp-rx-virtio", [](json&) {});
    auto manifest = read_manifest(changed.folder());
    ASSERT_TRUE(manifest) << manifest.error().describe();
    ManifestStream stream;
    stream.client = {*IpAddress::parse("10.99.0.2"), 44008};
    stream.server = {*IpAddress::parse("10.99.0.1"), 5008};
    manifest->phases[0].stream = stream;
    const std::filesystem::path capture = changed.folder() / "eth0.pcap";
    std::filesystem::remove(capture); // the link, not the original
    write_capture(capture, {
                               segment(true, 999, 0, syn),
                               segment(false, 4999, 0, syn | ack, 1000),
                               segment(true, 1000, 2000, ack),
                               segment(true, 3000, 1000, ack),
                               segment(true, 1000, 1000, ack), // lost: nothing says that it came twice
                               segment(true, 3000, 1000, ack), // not lost
                               segment(false, 5000, 0, ack, 4000, {3000, 4000}),
                               segment(false, 5000, 1448, ack, 4000),
                               segment(false, 7896, 1448, ack, 4000), // before it one is missing
                               segment(false, 6448, 1448, ack, 4000),
                           });
    refine_manifest(*manifest, Trace());
    const auto link_of = [&](const char* name) { return std::ranges::find(manifest->links, name, &ManifestLink::name); };
    EXPECT_THAT(link_of("eth1")->lost, ::testing::ElementsAre(kernel::LostBytes{5008, 0, 1000}));
    EXPECT_THAT(link_of("eth0")->lost, ::testing::ElementsAre(kernel::LostBytes{44008, 1448, 2896}));
    EXPECT_TRUE(loses_frames(*manifest));
}

} // namespace
} // namespace skbscope
