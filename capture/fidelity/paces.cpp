#include "capture/fidelity/paces.h"

#include <cmath>

namespace skbscope {

namespace {

constexpr Duration us(std::int64_t count) { return Duration{count * 1'000}; }
constexpr Duration ms(std::int64_t count) { return Duration{count * 1'000'000}; }

constexpr std::uint64_t slow_wire = 100'000'000;
constexpr std::uint64_t fast_wire = 100'000'000'000;

class Draw {
public:
    bool one_in(std::uint64_t count) { return next() % count == 0; }

    /// Each order of magnitude as likely as the next.
    double between(double least, double most)
    {
        const double part = static_cast<double>(next() >> 11U) / static_cast<double>(std::uint64_t{1} << 53U);
        return least * std::pow(most / least, part);
    }

    std::uint64_t whole(double least, double most) { return static_cast<std::uint64_t>(between(least, most)); }

    Duration time_or_none(Duration least, Duration most)
    {
        return one_in(3) ? Duration{} : Duration{static_cast<std::int64_t>(between(static_cast<double>(least.ns), static_cast<double>(most.ns)))};
    }

private:
    /// splitmix64: small, seeded, the same on every machine.
    std::uint64_t next()
    {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31U);
    }

    std::uint64_t state_ = 1;
};

} // namespace

const std::vector<Pace>& other_paces()
{
    static const std::vector<Pace> paces = {
        {.cost_scale = 10},
        {.cost_scale = 100},
        {.cost_scale = 100, .work = us(300), .peer_work = us(300), .delay = ms(1)},
        {.cost_scale = 300, .work = ms(2), .peer_work = ms(2)},
        {.cost_scale = 30, .work = ms(5), .peer_work = ms(5), .delay = ms(3)},
        {.cost_scale = 30, .delay = ms(8)},
        {.cost_scale = 100, .delay = ms(4), .rx_usecs = 1000, .peer_rx_usecs = 1000},
        {.cost_scale = 100, .work = ms(1), .peer_work = ms(1), .delay = ms(1), .rx_usecs = 5000, .peer_rx_usecs = 5000},
        {.cost_scale = 300, .delay = ms(8), .rx_usecs = 2000, .peer_rx_usecs = 2000},
        {.work = ms(3), .peer_work = ms(3)},
        // As slow as an emulated CPU is while each of its calls is recorded.
        {.cost_scale = 1000},
        {.cost_scale = 3000},
        {.cost_scale = 8000, .work = ms(1), .peer_work = ms(1)},
        {.cost_scale = 30, .work = ms(20), .peer_work = ms(20)},
        // A peer that answers each segment, one that lets much come together, and wires that do.
        {.delay = us(50), .rx_usecs = 1000, .peer_rx_usecs = 1},
        {.work = ms(3), .delay = ms(1), .rx_usecs = 200, .peer_rx_usecs = 5000, .rate = slow_wire},
        {.cost_scale = 100, .peer_work = ms(1), .delay = us(50), .peer_rx_usecs = 1, .burst = us(150), .peer_burst = us(150), .rate = fast_wire},
        {.peer_work = us(300), .delay = us(500), .peer_burst = ms(1), .rate = fast_wire},
        {.cost_scale = 10, .work = us(300), .peer_burst = ms(1), .rate = fast_wire},
        {.cost_scale = 10, .work = ms(3), .peer_work = ms(3), .delay = ms(1), .peer_burst = us(150)},
        // Both ends on one machine, and applications that write by pieces: the reader keeps up, nobody holds the socket in between.
        {.cost_scale = 10, .work = us(600), .peer_work = us(600), .chunk = 1000},
        {.cost_scale = 10, .work = us(600), .peer_work = us(600), .chunk = 4000},
        // CPUs that take turns let a generator send so slowly that all is read in between.
        {.generator_as_recorded = true},
        // Calls are recorded on one of the machines only; and its CPUs take turns with the other's, so that an interrupt finds more than one frame.
        {.cost_scale = 100, .peer_cost_scale = 3, .rate = fast_wire},
        {.cost_scale = 3000, .peer_cost_scale = 100, .rate = fast_wire},
        {.cost_scale = 10, .irq_delay = us(300)},
        {.cost_scale = 1000, .peer_cost_scale = 1, .tx_irq_delay = us(200)},
        {.cost_scale = 8000, .peer_cost_scale = 1, .rate = fast_wire},
        // The answer is there before the device has told that the question is gone.
        {.tx_irq_delay = us(200)},
        {.cost_scale = 100, .tx_irq_delay = ms(10)},
        // It was another CPU's turn while a call held the socket.
        {.cost_scale = 10, .steal = ms(5)},
        {.cost_scale = 10, .work = us(300), .steal = ms(2), .peer_steal = ms(2)},
        {.cost_scale = 100, .peer_cost_scale = 1, .work = ms(1), .steal = ms(20), .rate = fast_wire},
        {.cost_scale = 100, .peer_work = ms(3), .irq_delay = us(300), .steal = ms(4)},
    };
    return paces;
}

std::vector<Pace> drawn_paces(std::size_t count)
{
    Draw draw;
    std::vector<Pace> paces;
    while (paces.size() < count) {
        Pace pace;
        pace.cost_scale = draw.between(1, 200);
        pace.work = draw.time_or_none(us(50), ms(10));
        pace.peer_work = draw.time_or_none(us(50), ms(10));
        pace.delay = draw.time_or_none(us(20), ms(8));
        pace.rx_usecs = draw.one_in(2) ? 0 : static_cast<std::uint32_t>(draw.whole(1, 5000));
        pace.peer_rx_usecs = draw.one_in(2) ? 0 : static_cast<std::uint32_t>(draw.whole(1, 5000));
        pace.burst = draw.time_or_none(us(50), ms(2));
        pace.peer_burst = draw.time_or_none(us(50), ms(2));
        pace.rate = draw.one_in(2) ? 0 : draw.whole(slow_wire, fast_wire);
        pace.chunk = draw.one_in(3) ? 0 : draw.whole(500, 32'000);
        paces.push_back(pace);
    }
    return paces;
}

} // namespace skbscope
