#pragma once
// The rule of `--budget`: how long the detail of a live recording pauses, from what it has cost so far. No clock and no
// kernel here: the recording tells what it has measured.

#include <cstdint>

namespace skbscope {

class DetailBudget {
public:
    /// `share` of the time of `cpus` CPUs may be spent.
    DetailBudget(double share, unsigned cpus);

    /// What a stretch of recording every detail has taken.
    struct Stretch {
        std::uint64_t on_ns = 0;  ///< how long it lasted
        double records = 0;
        double making_ns = 0;     ///< what a record costs the code that is traced, as measured apart from the traffic
        double own_ns = 0;        ///< … and the recorder, which makes journeys of it
        double switching_ns = 0;  ///< the recorder's CPU time for switching the detail on and off
    };
    /// CPU time, nanoseconds: what the traffic lost is the greater one of what its records cost and what it is slower by.
    [[nodiscard]] double cost_ns(const Stretch& stretch) const;

    [[nodiscard]] bool is_over(const Stretch& stretch) const;
    /// Has it lasted, or cost, enough for a pause? Switching costs some milliseconds each time.
    [[nodiscard]] bool is_worth_switching(const Stretch& stretch) const;
    /// How long the detail must be off behind that stretch. Never so long that fewer than about one packet in a hundred has
    /// its way: a flood is slower while it is recorded, too.
    [[nodiscard]] std::uint64_t pause_ns(const Stretch& stretch) const;

    /// Packets that the devices carried while every detail was recorded, or while only drops were.
    void carried(bool in_detail, std::uint64_t packets, std::uint64_t ns);
    /// Packets a second with and without detail, of late; 0: not known.
    [[nodiscard]] double rate(bool in_detail) const;
    /// The part of the traffic that recording every detail keeps away, 0 … 1: traffic that waits for nothing but a CPU has
    /// fewer packets then. 0 while it is not known.
    [[nodiscard]] double slowdown() const;

    /// A pause is at most so many times as long as the stretch before it.
    static constexpr std::uint64_t most_pauses = 32;

private:
    struct Traffic {
        double packets = 0;
        double ns = 0;
    };
    double allowed_; ///< CPUs
    Traffic detailed_, plain_;
};

} // namespace skbscope
