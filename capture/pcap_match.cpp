#include "capture/pcap_match.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

namespace skbscope {

namespace {

/// Votes are counted in steps of this; a pair may miss the best step by one.
constexpr std::int64_t vote_step_ns = 1'000'000;
/// A frame's stamp is taken some calls away from the event that stands for the tap, on a slow machine
/// milliseconds.
constexpr std::int64_t tolerance_ns = 20'000'000;
constexpr std::size_t voters = 256;

// Of damaged files times may be anything: differences and sums wrap instead of overflowing.
std::int64_t difference(std::int64_t a, std::int64_t b)
{
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
std::int64_t sum(std::int64_t a, std::int64_t b)
{
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

constexpr std::uint32_t vlan_tag = 4; // bytes

std::uint16_t ethertype_of(std::span<const std::uint8_t> frame, std::size_t at = 12)
{
    return frame.size() < at + 2 ? 0 : static_cast<std::uint16_t>(frame[at] << 8 | frame[at + 1]);
}

bool is_tagged(std::uint16_t ethertype)
{
    return ethertype == 0x8100 || ethertype == 0x88a8; // ETH_P_8021Q, ETH_P_8021AD
}

class Matcher {
public:
    Matcher(const std::vector<TapCandidate>& candidates, const PcapFile& file)
        : candidates_(candidates), file_(file)
    {
        ethertypes_.reserve(file.frames.size());
        flows_.reserve(file.frames.size());
        for (std::size_t i = 0; i < file.frames.size(); ++i) {
            ethertypes_.push_back(ethertype_of(file.frame(i)));
            flows_.push_back(flow_of_frame(file.frame(i)));
        }
    }

    [[nodiscard]] bool fits(std::size_t candidate, std::size_t frame) const
    {
        const auto& flow = candidates_[candidate].flow;
        return fits_in_size(candidate, frame) && (!flow || !flows_[frame] || flows_agree(*flow, *flows_[frame]));
    }

    /// What address translation leaves as it is.
    [[nodiscard]] bool fits_rewritten(std::size_t candidate, std::size_t frame) const
    {
        const auto& flow = candidates_[candidate].flow;
        return fits_in_size(candidate, frame) &&
               (!flow || !flows_[frame] || flow->protocol == flows_[frame]->protocol);
    }

    [[nodiscard]] bool fits_in_size(std::size_t candidate, std::size_t frame) const
    {
        const TapCandidate& a = candidates_[candidate];
        const PcapFrame& b = file_.frames[frame];
        const std::uint16_t ethertype = ethertypes_[frame];
        // An sk_buff keeps a tag that the device takes off or puts in beside its bytes; libpcap puts it into the frame.
        const bool is_beside = is_tagged(ethertype) && !is_tagged(a.ethertype) && (a.length == 0 || a.length + vlan_tag == b.length);
        if (!is_beside && a.length != 0 && a.length != b.length) {
            return false;
        }
        const std::uint16_t known = is_beside ? ethertype_of(file_.frame(frame), 12 + vlan_tag) : ethertype;
        return a.ethertype == 0 || known == 0 || a.ethertype == known;
    }

    [[nodiscard]] std::optional<std::int64_t> best_offset() const
    {
        std::unordered_map<std::int64_t, std::uint32_t> votes;
        const std::size_t step = std::max<std::size_t>(1, candidates_.size() / voters);
        for (std::size_t i = 0; i < candidates_.size(); i += step) {
            for (std::size_t k = 0; k < file_.frames.size(); ++k) {
                if (fits(i, k)) {
                    ++votes[difference(file_.frames[k].wall_ns, static_cast<std::int64_t>(candidates_[i].time_ns)) /
                            vote_step_ns];
                }
            }
        }
        std::optional<std::int64_t> best;
        std::uint32_t most = 0;
        for (const auto& [bucket, count] : votes) {
            const auto next = votes.find(bucket + 1);
            const std::uint32_t sum = count + (next == votes.end() ? 0 : next->second);
            if (sum > most || (sum == most && best && bucket < *best)) { // the map's order must not decide
                most = sum;
                best = bucket;
            }
        }
        if (!best) {
            return std::nullopt;
        }
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(*best + 1) * vote_step_ns);
    }

    /// In order on both sides: each candidate takes the first fitting frame within the tolerance that is not
    /// passed.
    [[nodiscard]] FrameMatches match(std::int64_t offset) const
    {
        FrameMatches result;
        result.frame_of.assign(candidates_.size(), -1);
        std::vector<std::int64_t> offsets;
        std::vector<bool> taken(file_.frames.size(), false);
        std::size_t from = 0;
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            const std::int64_t expected = sum(static_cast<std::int64_t>(candidates_[i].time_ns), offset);
            while (from < file_.frames.size() &&
                   (taken[from] || file_.frames[from].wall_ns < difference(expected, tolerance_ns))) {
                ++from;
            }
            for (std::size_t k = from;
                 k < file_.frames.size() && file_.frames[k].wall_ns <= sum(expected, tolerance_ns); ++k) {
                if (taken[k] || !fits(i, k)) {
                    continue;
                }
                taken[k] = true;
                result.frame_of[i] = static_cast<std::int64_t>(k);
                offsets.push_back(difference(file_.frames[k].wall_ns, static_cast<std::int64_t>(candidates_[i].time_ns)));
                break;
            }
        }
        match_rewritten(offset, result, taken, offsets);
        result.matched = offsets.size();
        if (!offsets.empty()) {
            auto middle = offsets.begin() + static_cast<std::ptrdiff_t>(offsets.size() / 2);
            std::nth_element(offsets.begin(), middle, offsets.end());
            result.offset_ns = *middle;
        }
        return result;
    }

private:
    /// Those left over, each with the nearest frame left over.
    void match_rewritten(std::int64_t offset, FrameMatches& result, std::vector<bool>& taken,
                         std::vector<std::int64_t>& offsets) const
    {
        std::vector<std::size_t> frames;
        for (std::size_t k = 0; k < file_.frames.size(); ++k) {
            if (!taken[k]) {
                frames.push_back(k);
            }
        }
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            if (result.frame_of[i] >= 0) {
                continue;
            }
            const std::int64_t expected = sum(static_cast<std::int64_t>(candidates_[i].time_ns), offset);
            auto nearest = frames.end();
            for (auto frame = std::ranges::lower_bound(frames, difference(expected, tolerance_ns), {},
                                                       [&](std::size_t k) { return file_.frames[k].wall_ns; });
                 frame != frames.end() && file_.frames[*frame].wall_ns <= sum(expected, tolerance_ns); ++frame) {
                const auto away = [&](std::size_t k) { return std::abs(difference(file_.frames[k].wall_ns, expected) / 2); }; // halved: it has an absolute value
                if (!taken[*frame] && fits_rewritten(i, *frame) && (nearest == frames.end() || away(*frame) < away(*nearest))) {
                    nearest = frame;
                }
            }
            if (nearest != frames.end()) {
                taken[*nearest] = true;
                result.frame_of[i] = static_cast<std::int64_t>(*nearest);
                offsets.push_back(difference(file_.frames[*nearest].wall_ns, static_cast<std::int64_t>(candidates_[i].time_ns)));
            }
        }
    }

    const std::vector<TapCandidate>& candidates_;
    const PcapFile& file_;
    std::vector<std::uint16_t> ethertypes_;
    std::vector<std::optional<FlowKey>> flows_;
};

} // namespace

bool flows_agree(const FlowKey& known, const FlowKey& frame)
{
    constexpr std::uint8_t icmp = 1;
    const auto tells_ports = [](const FlowKey& flow) { return flow.source_port != 0 || flow.destination_port != 0; }; // a fragment does not
    const bool has_ports = known.protocol != icmp && tells_ports(known) && tells_ports(frame);
    return known.protocol == frame.protocol && known.destination == frame.destination &&
           (known.source == IpAddress{} || known.source == frame.source) &&
           (!has_ports || (known.source_port == frame.source_port && known.destination_port == frame.destination_port));
}

FrameMatches match_frames(const std::vector<TapCandidate>& candidates, const PcapFile& file)
{
    const Matcher matcher(candidates, file);
    const auto rough = matcher.best_offset();
    if (!rough) {
        FrameMatches none;
        none.frame_of.assign(candidates.size(), -1);
        return none;
    }
    const FrameMatches first = matcher.match(*rough);
    const FrameMatches second = matcher.match(first.offset_ns);
    return second.matched >= first.matched ? second : first;
}

} // namespace skbscope
