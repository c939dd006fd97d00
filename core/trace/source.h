#pragma once
// How the window (and everything else that only watches) meets a driver: the model, a recording, a live host.

#include "core/result.h"
#include "core/trace/trace.h"

#include <cstdint>
#include <optional>
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
    std::string group{};      ///< "TCP", "Neighbours": under which heading it stands; empty: first, without one
};

/// Something a person may do: "send_one", "send_burst".
struct Action {
    std::string key;
    std::string title;
    std::string text;
};

/// A text that a person may rewrite while the source runs: a host's packet filter rules, a socket's filter.
struct TextKnob {
    enum class Language { nft, iptables, tcpdump };
    /// A line that does something.
    struct Line {
        std::uint32_t line = 0;                ///< where it stands, from 1
        CounterId packets = CounterId::none;   ///< follows what it counts; none: the kernel does not count there
        std::uint64_t counted_before = 0;      ///< what its text says that it had counted
        std::optional<std::uint32_t> note;     ///< row of Trace::notes() at the packets that it decided
        bool is_policy = false;                ///< of a chain
    };
    std::string key;     ///< "router/nft", "router/tcpdump.filter"
    std::string host;    ///< "router"
    std::string title;   ///< "Rules of router", "Filter of tcpdump"
    Language language{};
    std::string value;   ///< the text that is in force
    std::string initial; ///< … and that was when the source was opened
    std::vector<Line> lines{};
};

/// Why a text is not taken, and where.
struct TextFault {
    std::uint32_t line = 0, column = 0; ///< from 1, columns in bytes; 0: it says no place
    std::string what, remedy;           ///< the remedy may be empty
};

/// One of several runs that share their beginning: where somebody turned a knob in the past, the run as it was is kept.
struct Branch {
    std::string title; ///< "main", "net.core.netdev_max_backlog = 10 at 1.250 ms"
    SimTime at;        ///< where it left the line that it came from; 0 of the main line
    std::uint32_t id = 0; ///< stays with it when its place in the list changes; 0: the main line
    SimTime until;        ///< how far it has run
    bool over = false;    ///< nothing more will happen on it by itself
};

/// How a live source does. What it does not know is absent: no figure is made up.
struct LiveStatus {
    double events_per_second = 0;   ///< taken in over the last second or so
    std::uint64_t lost_events = 0;  ///< by the kernel's buffers, so far
    std::optional<double> cost;     ///< share of the host's CPU time that the recorder itself says it takes, 0 … 1
    std::string detail;             ///< "tracepoints", "every function"; empty: not said
    std::uint64_t bytes_waiting = 0; ///< have arrived and are not in the trace yet
    bool ended = false;             ///< nothing more will come
    std::string ending;             ///< why, one line; empty: the recorder came to its end
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

    [[nodiscard]] virtual std::vector<TextKnob> texts() const { return {}; }
    /// What is wrong with a text for that knob; nothing: it would be taken. Changes nothing.
    [[nodiscard]] virtual std::optional<TextFault> check_text(const std::string& key, const std::string& text) const;
    /// As set_knob() and branch(). A text that is not taken leaves the last good one in force.
    virtual Result<void> set_text(const std::string& key, const std::string& text, SimTime at);
    virtual Result<void> branch_text(const std::string& key, const std::string& text, SimTime at);
    /// A scenario file that begins with the knobs and texts as they stand now; nullopt: this source is no scenario.
    [[nodiscard]] virtual std::optional<std::string> scenario_text() const { return std::nullopt; }

    // ---- what-if: lines that part at some moment. trace(), advance_to(), set_knob() … speak of the chosen one ----------
    /// The main line first, then in order of making. Empty: this source has no branches.
    [[nodiscard]] virtual std::vector<Branch> branches() const { return {}; }
    [[nodiscard]] virtual std::size_t chosen_branch() const { return 0; }
    /// As set_knob(), but the run so far is kept: a new branch parts from it at `at` and is chosen. Turning a knob at
    /// the very moment where a branch parted changes that branch. What a person did later (datagrams sent) is done again.
    virtual Result<void> branch(const std::string& key, std::int64_t value, SimTime at);
    /// Precondition: index < branches().size(). generation() changes.
    virtual void choose_branch(std::size_t index);
    /// The trace of a branch, as far as it has run; good until anything is done to the source.
    [[nodiscard]] virtual const Trace& branch_trace(std::size_t) const { return trace(); }

    /// Back to the start, as it was opened; knobs keep nothing.
    virtual void start_over() {}
    /// Of a live source. It never waits: advance_to() takes in some of what has arrived, whatever time it is told.
    [[nodiscard]] virtual std::optional<LiveStatus> live_status() const { return std::nullopt; }
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
