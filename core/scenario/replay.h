#pragma once
// A capture's frames for a modelled host's wire: which of them, when, and what else the host must know for them. They are
// read as they are needed, so that a capture of any length takes no memory of its own.

#include "core/packet/mac.h"
#include "core/scenario/scenario.h"
#include "core/trace/time.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace skbscope {

/// The bytes of a frame that is only read: a piece of a capture, which is held once for all of them, or bytes of its own.
class FrameBytes {
public:
    FrameBytes() = default;
    FrameBytes(std::vector<std::uint8_t> own)
    {
        const auto held = std::make_shared<const std::vector<std::uint8_t>>(std::move(own));
        size_ = held->size();
        data_ = {held, held->data()};
    }
    /// `holder` keeps the piece in memory.
    FrameBytes(const std::shared_ptr<const void>& holder, std::span<const std::uint8_t> piece) : data_(holder, piece.data()), size_(piece.size()) {}
    operator std::span<const std::uint8_t>() const { return {data_.get(), size_}; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] const std::uint8_t& operator[](std::size_t at) const { return data_.get()[at]; }
    [[nodiscard]] const std::uint8_t* begin() const { return data_.get(); }
    [[nodiscard]] const std::uint8_t* end() const { return data_.get() + size_; }

private:
    std::shared_ptr<const std::uint8_t> data_;
    std::size_t size_ = 0;
};

/// A frame for the modelled host's wire, at a time.
struct ReplayFrame {
    SimTime at;
    FrameBytes bytes;
    std::uint32_t wire_length = 0; ///< may be above bytes.size(): the capture cut it, zeros stand in for the rest
};

/// Frames in order of time.
class ReplayFrames {
public:
    virtual ~ReplayFrames() = default;
    [[nodiscard]] virtual std::uint64_t count() const = 0;
    /// That frame, counted from 0; good until another one is asked for. Mostly asked for in order. nullptr: there is none
    /// (any more: what was counted may have been cut away since).
    [[nodiscard]] virtual const ReplayFrame* frame(std::uint64_t index) = 0;
};

/// Frames that lie in memory.
class HeldFrames : public ReplayFrames {
public:
    explicit HeldFrames(std::vector<ReplayFrame> frames) : frames_(std::move(frames)) {}
    [[nodiscard]] std::uint64_t count() const override { return frames_.size(); }
    [[nodiscard]] const ReplayFrame* frame(std::uint64_t index) override { return index < frames_.size() ? &frames_[index] : nullptr; }
    void add(ReplayFrame frame) { frames_.push_back(std::move(frame)); }
    /// The first so many; those that stay count from 0 again.
    void forget(std::uint64_t count) { frames_.erase(frames_.begin(), frames_.begin() + static_cast<std::ptrdiff_t>(count)); }

private:
    std::vector<ReplayFrame> frames_;
};

struct CapturedFrame {
    std::uint64_t time_ns = 0;
    std::uint32_t wire_length = 0;
    FrameBytes bytes;
};

/// Makes frames that a capture has seen ready for the modelled host's wire, one by one.
class ReplayPlanner {
public:
    /// Of the host that is modelled. Times count from `start_ns`, or from the first frame.
    explicit ReplayPlanner(const MacAddress& mac, std::optional<std::uint64_t> start_ns = {});
    /// Nothing: the host itself had sent it. (What it sent to itself, over loopback, it receives.)
    [[nodiscard]] std::optional<ReplayFrame> take(const CapturedFrame& frame);
    /// When in the model's time a frame with that stamp arrives. Precondition: a start was given, or a frame was taken.
    [[nodiscard]] SimTime time_of(std::uint64_t stamp_ns) const;

    struct Counts {
        std::uint64_t own = 0;        ///< left out: the host itself had sent them
        std::uint64_t cut = 0;        ///< padded with zeros to their real length
        std::uint64_t unfinished = 0; ///< of which a device was to fill in the checksum; it has been done
    };
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    MacAddress mac_;
    std::optional<std::uint64_t> start_ns_;
    SimTime latest_;
    Counts counts_;
};

/// A capture, read from its first frame to its last as often as one likes.
class Capture {
public:
    virtual ~Capture() = default;
    /// The next frame, good until the following call; nullptr: that was the last.
    [[nodiscard]] virtual const CapturedFrame* next() = 0;
    /// Back to the first.
    virtual void start_over() = 0;
};

/// A capture that lies in memory.
class HeldCapture : public Capture {
public:
    explicit HeldCapture(std::vector<CapturedFrame> frames) : frames_(std::move(frames)) {}
    [[nodiscard]] const CapturedFrame* next() override { return next_ < frames_.size() ? &frames_[next_++] : nullptr; }
    void start_over() override { next_ = 0; }

private:
    std::vector<CapturedFrame> frames_;
    std::size_t next_ = 0;
};

/// What a modelled host must know before the first frame comes.
struct ReplayPlan {
    MacAddress mac;
    std::vector<std::uint16_t> udp_ports; ///< destination ports of UDP datagrams to the address
    std::uint64_t frames = 0; ///< those for the host
    ReplayPlanner::Counts counts;
};

/// Reads the capture from its first frame to its last. `mac`: all zero to learn it from the frames.
[[nodiscard]] ReplayPlan plan_replay(Capture& capture, std::uint32_t address, MacAddress mac);

/// The frames of a capture that go to the host of that plan (its own are not injected), ready for ModelSource. Times
/// count from the first frame.
[[nodiscard]] std::unique_ptr<ReplayFrames> replay_frames(std::shared_ptr<Capture> capture, const ReplayPlan& plan);

/// A scenario for the replay of a capture: one host with that address behind an e1000, receivers on the given ports.
[[nodiscard]] Scenario replay_scenario(std::uint32_t address, const MacAddress& mac, const std::vector<std::uint16_t>& ports);

} // namespace skbscope
