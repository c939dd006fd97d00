#pragma once
// How the window (and everything else that only watches) meets a driver: the model, a recording, a live host.

#include "core/result.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <string>
#include <vector>

namespace skbscope {

/// A number that a person may change while the source runs.
struct Knob {
    std::string key;     ///< "net.core.netdev_max_backlog", ":5001.SO_RCVBUF", "eth0.rx_ring"
    std::string title;   ///< "Backlog limit"
    std::string unit;    ///< "packets", "bytes", "descriptors"; may be empty
    std::string text;    ///< one sentence: what it does
    std::int64_t value = 0, minimum = 0, maximum = 0, kernel_default = 0;
    bool logarithmic = false; ///< a slider should step by factors
    std::string group;        ///< "TCP", "Neighbours": under which heading it stands; empty: first, without one
};

/// Something a person may do: "send_one", "send_burst".
struct Action {
    std::string key;
    std::string title;
    std::string text;
};

/// One of several runs that share their beginning: where somebody turned a knob in the past, the run as it was is kept.
struct Branch {
    std::string title; ///< "main", "net.core.netdev_max_backlog = 10 at 1.250 ms"
    SimTime at;        ///< where it left the line that it came from; 0 of the main line
};

class Source {
public:
    enum class Kind { model, recording, live };

    virtual ~Source() = default;
    [[nodiscard]] virtual Kind kind() const = 0;
    [[nodiscard]] virtual std::string title() const = 0;
    /// Grows as advance_to() is called; may be replaced as a whole when generation() changes.
    [[nodiscard]] virtual const Trace& trace() const = 0;
    /// Changes whenever events that a reader may have seen were taken back (start over, a knob turned in the past).
    [[nodiscard]] virtual std::uint64_t generation() const { return 0; }

    /// Makes sure that the trace is complete up to t, or to the end of what there is.
    virtual void advance_to(SimTime t) = 0;
    /// The trace is complete up to here.
    [[nodiscard]] virtual SimTime known_until() const = 0;
    /// Nothing more will come by itself (a model waits for the next action; a recording is at its end).
    [[nodiscard]] virtual bool exhausted() const = 0;

    [[nodiscard]] virtual std::vector<Knob> knobs() const { return {}; }
    [[nodiscard]] virtual std::vector<Action> actions() const { return {}; }
    /// Changes the knob at time `at`: what lies behind it is run again.
    virtual Result<void> set_knob(const std::string& key, std::int64_t value, SimTime at);
    virtual Result<void> act(const std::string& key, SimTime at);

    // ---- what-if: lines that part at some moment. trace(), advance_to(), set_knob() … speak of the chosen one ----------
    /// The main line first, then in order of making. Empty: this source has no branches.
    [[nodiscard]] virtual std::vector<Branch> branches() const { return {}; }
    [[nodiscard]] virtual std::size_t chosen_branch() const { return 0; }
    /// As set_knob(), but the run so far is kept: a new branch parts from it at `at` and is chosen. Turning the same knob
    /// of a branch again at the moment where it parted changes that branch.
    virtual Result<void> branch(const std::string& key, std::int64_t value, SimTime at);
    /// Precondition: index < branches().size(). generation() changes.
    virtual void choose_branch(std::size_t index);
    /// The trace of a branch, as far as it has run; good until anything is done to the source.
    [[nodiscard]] virtual const Trace& branch_trace(std::size_t) const { return trace(); }

    /// Back to the start, as it was opened; knobs keep nothing.
    virtual void start_over() {}
    /// Stops a live source for good; others: nothing.
    virtual void close() {}
};

/// A trace that is complete: a recording, an import.
class TraceSource : public Source {
public:
    TraceSource(std::string title, Trace trace);
    [[nodiscard]] Kind kind() const override { return Kind::recording; }
    [[nodiscard]] std::string title() const override { return title_; }
    [[nodiscard]] const Trace& trace() const override { return trace_; }
    void advance_to(SimTime) override {}
    [[nodiscard]] SimTime known_until() const override { return trace_.end_time(); }
    [[nodiscard]] bool exhausted() const override { return true; }

private:
    std::string title_;
    Trace trace_;
};

} // namespace skbscope
