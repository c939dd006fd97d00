#pragma once
// A session of tracing of our own: one or two tracefs instances that nobody else uses, with the plan's events, probes and
// functions, and the descriptors through which its ring buffers are read. Whatever happens to the process, the session
// leaves nothing behind: a small keeper process waits beside it, and removes everything as soon as this process closes
// the session or is gone, however it went. Should the keeper be killed, too, the next session cleans up.

#include "capture/probe_plan.h"
#include "capture/ring_pages.h"
#include "capture/session/leftovers.h"
#include "capture/traced_kernel.h"
#include "core/result.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct tracefs_instance;

namespace skbscope {

struct SessionOptions {
    HostPlaces places;
    std::uint64_t buffer_kb = 0; ///< for each CPU; 0: what the plan says
    /// Drops go to an instance of their own, which set_running() does not stop.
    bool drops_apart = false;
};

class TraceSession {
public:
    /// Cleans up after dead sessions, then creates, sizes, filters and enables; records come from set_running() on.
    /// Errors: not_permitted, unsupported (nothing could be enabled).
    [[nodiscard]] static Result<TraceSession> open(const HostFacts& facts, const ProbePlan& plan, const SessionOptions& options = {});

    TraceSession(TraceSession&&) noexcept;
    TraceSession& operator=(TraceSession&&) noexcept;
    TraceSession(const TraceSession&) = delete;
    TraceSession& operator=(const TraceSession&) = delete;
    ~TraceSession(); ///< close()

    /// Lets records in, or keeps them out; the probes stay set. Needs no rights once the session is open.
    bool set_running(bool on);
    /// The same for longer: the events themselves are switched off, so that the code they stand in runs as if there were
    /// none (kprobe events and the function tracer only stop recording). Takes some tenths of a millisecond an event.
    /// Drops that have an instance of their own go on.
    bool set_events(bool on);
    /// Nanoseconds that a record costs the code which is traced, measured when the session was opened; only with
    /// drops_apart, and empty where it could not be measured.
    [[nodiscard]] std::optional<double> record_cost_ns() const { return record_cost_ns_; }
    /// Removes everything; waits until it is gone. Safe to call twice. False: something resisted.
    bool close();

    /// What is known of this kernel: formats of all enabled events, symbols.
    [[nodiscard]] const TracedKernel& kernel() const { return kernel_; }
    [[nodiscard]] TracedKernel& kernel() { return kernel_; }
    /// Readable without blocking: each read gives a page. One a CPU, in order; -1 for a CPU that is not there.
    [[nodiscard]] const std::vector<int>& buffers() const { return buffers_; }
    /// … of the instance that holds drops alone, which runs all the time; empty where there is none.
    [[nodiscard]] const std::vector<int>& drop_buffers() const { return drop_buffers_; }
    [[nodiscard]] std::size_t page_size() const { return page_size_; }
    /// Size of each of them all, as wished.
    [[nodiscard]] std::uint64_t buffer_kb() const { return buffer_kb_; }
    /// Records that the kernel overwrote or refused before they could be read, of all buffers, so far. Needs no rights.
    [[nodiscard]] std::uint64_t lost() const;
    /// What the plan wanted and the kernel refused, one line each.
    [[nodiscard]] const std::vector<std::string>& refused() const { return refused_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::size_t events_enabled() const { return events_enabled_; }

private:
    TraceSession() = default;
    Result<void> start_keeper();
    Result<void> set_up(const ProbePlan& plan, const SessionOptions& options);
    bool enable(tracefs_instance* instance, const PlannedEvent& event);
    void measure_cost(double untraced_ns);
    [[nodiscard]] std::uint64_t sum_of_statistics(std::initializer_list<std::string_view> names) const;
    [[nodiscard]] bool size_buffers(tracefs_instance* instance, std::uint64_t kb);
    void set_probes(const ProbePlan& plan);
    void trace_functions(const ProbePlan& plan);
    Result<void> open_buffers(bool with_drops);
    [[nodiscard]] std::string file(const std::string& name) const;

    std::string tracefs_, name_;
    std::vector<int> buffers_, drop_buffers_;
    std::vector<int> statistics_; ///< of all of them
    std::vector<int> switches_;   ///< of the events that set_events() switches
    std::optional<double> record_cost_ns_;
    std::vector<std::string> refused_;
    std::vector<std::string> probes_; ///< those the kernel took
    TracedKernel kernel_;
    std::size_t page_size_ = 4096;
    std::uint64_t buffer_kb_ = 0;
    std::size_t events_enabled_ = 0;
    int running_ = -1;  ///< its tracing_on
    int lock_ = -1;     ///< on the instance's folder
    int to_keeper_ = -1; ///< closing it lets the keeper clean up
    std::int32_t keeper_ = -1;
};

} // namespace skbscope
