// net/core/flow_dissector.c: from a packet's headers to the hash of its flow, keyed by a secret of the boot (here: of the
// World's seed), so that RPS spreads flows in a way that nobody outside can aim at.

#include "core/kernel/functions.h"
#include "core/packet/flow.h"
#include "core/packet/views.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <tuple>
#include <utility>

namespace skbscope::kernel {

namespace {

/// lib/siphash.c: SipHash-2-4.
class SipHash {
public:
    SipHash(std::uint64_t key0, std::uint64_t key1)
        : v0_(0x736f6d6570736575ULL ^ key0), v1_(0x646f72616e646f6dULL ^ key1), v2_(0x6c7967656e657261ULL ^ key0), v3_(0x7465646279746573ULL ^ key1)
    {
    }
    [[nodiscard]] std::uint64_t of(std::span<const std::uint8_t> bytes)
    {
        std::size_t at = 0;
        for (; at + 8 <= bytes.size(); at += 8) {
            absorb(little_endian(bytes.subspan(at, 8)));
        }
        absorb(little_endian(bytes.subspan(at)) | (std::uint64_t{bytes.size()} << 56));
        v2_ ^= 0xff;
        round();
        round();
        round();
        round();
        return v0_ ^ v1_ ^ v2_ ^ v3_;
    }

private:
    static std::uint64_t little_endian(std::span<const std::uint8_t> bytes)
    {
        std::uint64_t word = 0;
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            word |= std::uint64_t{bytes[at]} << (8 * at);
        }
        return word;
    }
    void absorb(std::uint64_t word)
    {
        v3_ ^= word;
        round();
        round();
        v0_ ^= word;
    }
    void round()
    {
        v0_ += v1_;
        v1_ = std::rotl(v1_, 13) ^ v0_;
        v0_ = std::rotl(v0_, 32);
        v2_ += v3_;
        v3_ = std::rotl(v3_, 16) ^ v2_;
        v0_ += v3_;
        v3_ = std::rotl(v3_, 21) ^ v0_;
        v2_ += v1_;
        v1_ = std::rotl(v1_, 17) ^ v2_;
        v2_ = std::rotl(v2_, 32);
    }
    std::uint64_t v0_, v1_, v2_, v3_;
};

/// The keys of a flow, its two ends put in one order (__flow_hash_consistentify): both directions hash alike.
std::vector<std::uint8_t> flow_keys(FlowKey flow)
{
    if (std::tie(flow.destination, flow.destination_port) < std::tie(flow.source, flow.source_port)) {
        std::swap(flow.source, flow.destination);
        std::swap(flow.source_port, flow.destination_port);
    }
    std::vector<std::uint8_t> keys{static_cast<std::uint8_t>(flow.ethertype >> 8), static_cast<std::uint8_t>(flow.ethertype), flow.protocol};
    keys.insert(keys.end(), flow.source.bytes.begin(), flow.source.bytes.end());
    keys.insert(keys.end(), flow.destination.bytes.begin(), flow.destination.bytes.end());
    for (const std::uint16_t port : {flow.source_port, flow.destination_port}) {
        keys.push_back(static_cast<std::uint8_t>(port >> 8));
        keys.push_back(static_cast<std::uint8_t>(port));
    }
    return keys;
}

/// The flow dissector starts at the network header; a frame is the same with a header in front.
std::optional<FlowKey> dissect(Kernel& k, SkbIndex skb)
{
    if (k.skb(skb).network_header > k.skb(skb).tail) { // not set: skb_header_pointer() finds nothing there
        return std::nullopt;
    }
    const auto network = skb_network(k, skb);
    std::vector<std::uint8_t> frame(14, 0);
    frame[12] = static_cast<std::uint8_t>(k.skb(skb).protocol >> 8);
    frame[13] = static_cast<std::uint8_t>(k.skb(skb).protocol);
    constexpr std::size_t enough = 128; // headers and options
    frame.insert(frame.end(), network.begin(), network.begin() + static_cast<std::ptrdiff_t>(std::min(network.size(), enough)));
    return flow_of_frame(frame);
}

} // namespace

std::uint32_t skb_get_hash(Kernel& k, SkbIndex index)
{
    if (k.skb(index).hash != 0) {
        return k.skb(index).hash;
    }
    Call get(k, fn::__skb_get_hash, index);
    Call call(k, fn::__skb_flow_dissect, index);
    const auto flow = dissect(k, index);
    if (!flow) {
        return 0;
    }
    const auto whole = SipHash(k.w.seed * 0x9e3779b97f4a7c15ULL, ~k.w.seed).of(flow_keys(*flow));
    auto hash = static_cast<std::uint32_t>(whole);
    hash = hash == 0 ? 1 : hash; // 0 says: none
    k.field(index, SkbField::hash, 0, hash);
    k.skb(index).hash = hash;
    return hash;
}

} // namespace skbscope::kernel
