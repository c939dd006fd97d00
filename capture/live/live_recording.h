#pragma once
// A recording of this host while it runs: the tracing session's records become journeys as they come, frames are put
// beside them, and all of it goes out as a pcapng stream. Opening needs rights; running needs none any more.

#include "capture/live/frame_source.h"
#include "capture/probe_plan.h"
#include "capture/session/trace_session.h"
#include "core/recording/recording.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skbscope {

struct LiveWishes {
    std::string device;         ///< empty: all
    std::string filter;         ///< of frames, in libpcap's words
    double seconds = 0;         ///< 0: until stopped
    std::uint64_t packets = 0;  ///< stop when so many have been seen; 0: no limit
    double budget = 0;          ///< share of the machine that recording may cost, 0 … 1; 0: whatever it costs
    bool frames = true;
    Detail most = Detail::functions;
    double sample_seconds = 1;  ///< between looks at the host's own figures; 0: they are not recorded
    std::vector<std::string> devices = {}; ///< only their events, where events name a device; empty: as `device` says
    /// Added to the niceness with which journeys are made while records come: the traffic that is watched goes first, and
    /// on a host that is busy all over the recording lags behind.
    int yields = 0;
    /// Nobody waits for the journeys: while very many records come most of them are kept for later.
    bool defers = false;
};

/// What was done, for the last words.
struct LiveSummary {
    std::uint64_t records = 0;  ///< taken from the ring buffers
    std::uint64_t lost = 0;     ///< overwritten before they were read
    std::uint64_t packets = 0;
    std::uint64_t frames = 0;   ///< captured
    std::uint64_t matched = 0;  ///< … and given to a packet
    std::uint64_t frames_lost = 0;
    std::uint64_t behind = 0;   ///< bytes of the ring buffers' pages that waited to be made journeys of, at most
    std::vector<std::string> remarks; ///< one line each: devices that went away, detail that was left out
};

class LiveRecording {
public:
    /// Sets the probes and opens the packet sockets. Where tracing is not allowed frames alone are recorded, where
    /// frames are not, journeys without bytes; missing() says so. Errors: not_permitted where neither is allowed;
    /// those of FrameSource::open() for a device that was named or a filter.
    [[nodiscard]] static Result<LiveRecording> open(const LiveWishes& wishes, const HostPlaces& places = {});

    LiveRecording(LiveRecording&&) noexcept;
    LiveRecording& operator=(LiveRecording&&) noexcept;
    ~LiveRecording();

    /// What this recording will lack, one line each, with the remedy.
    [[nodiscard]] const std::vector<std::string>& missing() const;
    /// "tracepoints (32 events), frames of 3 devices"
    [[nodiscard]] std::string describes() const;

    /// What comes faster than journeys can be made of it waits in this file, at most so many bytes; without it in memory
    /// alone. The descriptor (an empty file, for reading and writing) is the caller's and outlives the recording.
    void wait_in(int file, std::uint64_t bytes);
    /// From here on nothing is missed: what comes before run() waits in the kernel's buffers.
    void start();
    /// `sink` is now and then given no bytes at all: false then means that nobody reads any more.
    /// After start(). Records until `stop`, the time or the number of packets, then ends the stream and takes the probes down.
    /// Errors: unwritable; the stream is then good up to its last whole block, and the probes are down as well.
    [[nodiscard]] Result<LiveSummary> run(const RecordingSink& sink, const std::string& name, const std::atomic<bool>& stop);

private:
    struct State;
    explicit LiveRecording(std::unique_ptr<State> state);
    void look_at_host_first();
    std::unique_ptr<State> state_;
};

} // namespace skbscope
