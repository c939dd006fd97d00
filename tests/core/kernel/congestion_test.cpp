// net/ipv4/tcp_cong.c and the congestion window of net/ipv4/tcp_input.c and tcp_output.c; net/ipv4/syncookies.c.

#include "core/kernel/tcp_functions.h"
#include "tests/core/kernel/machine.h"

namespace skbscope::test {
namespace {

using namespace kernel;

/// One TCP socket that nobody uses.
class Window : public Machine {
public:
    Window() : Machine(receive_scenario("count: 0")), socket(tcp_new_socket(k, 0))
    {
        tcp_init_sock(k, socket);
        tp().is_cwnd_limited = true;
    }
    [[nodiscard]] TcpSock& tp() { return tcp_sk(k, socket); }
    void acked(std::uint32_t segments) { tcp_cong_avoid(k, socket, segments); }

    SocketIndex socket;
};

TEST(Congestion, SlowStartGrowsByWhatIsAcknowledged)
{
    Window w;
    EXPECT_EQ(w.tp().snd_cwnd, 10U);
    w.acked(10);
    EXPECT_EQ(w.tp().snd_cwnd, 20U);
    w.acked(1);
    EXPECT_EQ(w.tp().snd_cwnd, 21U);
}

TEST(Congestion, AWindowThatIsNotUsedDoesNotGrow)
{
    Window w;
    w.tp().is_cwnd_limited = false;
    w.tp().max_packets_out = 5;
    w.acked(5);
    EXPECT_EQ(w.tp().snd_cwnd, 10U) << "in slow start it may be twice what was under way";
    w.tp().max_packets_out = 6;
    w.acked(5);
    EXPECT_EQ(w.tp().snd_cwnd, 15U);
    w.tp().snd_ssthresh = 15;
    w.tp().max_packets_out = 14;
    w.acked(15);
    EXPECT_EQ(w.tp().snd_cwnd, 15U) << "behind slow start it must have been full";
}

TEST(Congestion, WhatSlowStartDoesNotUseCountsForTheTimeAfterIt)
{
    Window w;
    w.tp().snd_ssthresh = 12;
    w.acked(5);
    EXPECT_EQ(w.tp().snd_cwnd, 12U);
    EXPECT_EQ(w.tp().snd_cwnd_cnt, 3U);
    w.acked(8);
    EXPECT_EQ(w.tp().snd_cwnd, 12U);
    w.acked(1);
    EXPECT_EQ(w.tp().snd_cwnd, 13U) << "one more for a whole window";
    EXPECT_EQ(w.tp().snd_cwnd_cnt, 0U);
}

TEST(Congestion, ManyWindowsAtOnceCountEachAndCreditOfAWiderOneIsOnlyOne)
{
    Window w;
    w.tp().snd_ssthresh = 10;
    w.acked(35);
    EXPECT_EQ(w.tp().snd_cwnd, 13U);
    EXPECT_EQ(w.tp().snd_cwnd_cnt, 5U);
    w.tp().snd_cwnd = 10;
    w.tp().snd_cwnd_cnt = 29; // gathered when the window was wider
    w.acked(1);
    EXPECT_EQ(w.tp().snd_cwnd, 11U);
    EXPECT_EQ(w.tp().snd_cwnd_cnt, 1U);
}

TEST(Congestion, ThresholdAfterALossIsHalfTheWindowAndNeverBelowTwo)
{
    Window w;
    for (const auto& [window, threshold] : {std::pair{10U, 5U}, {11U, 5U}, {5U, 2U}, {3U, 2U}, {1U, 2U}}) {
        w.tp().snd_cwnd = window;
        EXPECT_EQ(tcp_reno_ssthresh(w.tp()), threshold) << window;
    }
}

TEST(Congestion, ReductionSendsInProportionToWhatArrivesUntilItIsBelowTheThreshold)
{
    Window w;
    TcpSock& tp = w.tp();
    tp.snd_cwnd = 10;
    tcp_init_cwnd_reduction(tp);
    EXPECT_EQ(tp.snd_ssthresh, 5U);
    EXPECT_EQ(tp.prior_cwnd, 10U);
    tp.packets_out = 9; // of ten, one has arrived
    tcp_cwnd_reduction(tp, 1, 0, 0);
    EXPECT_EQ(tp.snd_cwnd, 10U) << "5 of 10, rounded up: one more";
    tp.prr_out = 1;
    tp.packets_out = 9;
    tcp_cwnd_reduction(tp, 1, 0, 0);
    EXPECT_EQ(tp.snd_cwnd, 9U) << "2 have arrived and 1 was sent: none";
    tcp_cwnd_reduction(tp, 1, 0, 0);
    EXPECT_EQ(tp.snd_cwnd, 10U) << "3 halved and rounded up are 2: one more";
    tcp_cwnd_reduction(tp, 0, 0, 0);
    EXPECT_EQ(tp.snd_cwnd, 10U) << "nothing new";
}

TEST(Congestion, BelowTheThresholdItCatchesUpByOneMoreWhereNothingWasLost)
{
    const auto window = [](std::uint32_t newly_lost, std::uint32_t flag) {
        Window w;
        TcpSock& tp = w.tp();
        tp.snd_cwnd = 20;
        tcp_init_cwnd_reduction(tp);
        tp.packets_out = 4;
        tp.prr_delivered = tp.prr_out = 6;
        tcp_cwnd_reduction(tp, 2, newly_lost, flag);
        return tp.snd_cwnd;
    };
    EXPECT_EQ(window(0, 0), 4U + 2U);
    EXPECT_EQ(window(0, FLAG_SND_UNA_ADVANCED), 4U + 3U);
    EXPECT_EQ(window(1, FLAG_SND_UNA_ADVANCED), 4U + 2U);
}

TEST(Congestion, ReductionAlwaysSendsTheFirstRetransmission)
{
    Window w;
    TcpSock& tp = w.tp();
    tp.snd_cwnd = 20;
    tcp_init_cwnd_reduction(tp);
    tp.packets_out = tp.snd_ssthresh; // as many under way as the threshold allows
    tcp_cwnd_reduction(tp, 1, 1, 0);
    EXPECT_EQ(tp.snd_cwnd, tp.snd_ssthresh + 1);
    tp.prr_out = 1;
    tcp_cwnd_reduction(tp, 1, 1, 0);
    EXPECT_EQ(tp.snd_cwnd, tp.snd_ssthresh);
}

TEST(Congestion, ReductionEndsAtTheThresholdUnlessItWasUndone)
{
    Window w;
    TcpSock& tp = w.tp();
    tp.snd_ssthresh = 7;
    tp.snd_cwnd = 12;
    tp.ca_state = TcpCaState::recovery;
    tcp_end_cwnd_reduction(w.k, tp);
    EXPECT_EQ(tp.snd_cwnd, 12U);
    tp.undo_marker = 1;
    tcp_end_cwnd_reduction(w.k, tp);
    EXPECT_EQ(tp.snd_cwnd, 7U);
    tp.snd_cwnd = 12;
    tp.undo_marker = 0;
    tp.ca_state = TcpCaState::cwr;
    tcp_end_cwnd_reduction(w.k, tp);
    EXPECT_EQ(tp.snd_cwnd, 7U);
    tp.snd_cwnd = 12;
    tp.snd_ssthresh = TCP_INFINITE_SSTHRESH;
    tcp_end_cwnd_reduction(w.k, tp);
    EXPECT_EQ(tp.snd_cwnd, 12U);
}

TEST(Congestion, AfterATimeoutOneSegmentGoesAndTheThresholdIsHalvedOnce)
{
    Window w;
    TcpSock& tp = w.tp();
    tp.snd_cwnd = 20;
    tp.snd_una = 1000;
    tp.snd_nxt = 9000;
    tcp_enter_loss(w.k, w.socket);
    EXPECT_EQ(tp.snd_cwnd, 1U) << "nothing is under way any more";
    EXPECT_EQ(tp.snd_ssthresh, 10U);
    EXPECT_EQ(tp.high_seq, 9000U);
    tp.retransmits = 1;
    tp.snd_cwnd = 6;
    tcp_enter_loss(w.k, w.socket);
    EXPECT_EQ(tp.snd_ssthresh, 10U) << "the second timeout of one loss halves nothing more";
    tp.snd_una = tp.high_seq;
    tp.snd_cwnd = 6;
    tcp_enter_loss(w.k, w.socket);
    EXPECT_EQ(tp.snd_ssthresh, 3U) << "all of that time is acknowledged: another loss";
}

TEST(Congestion, AnIdleWindowIsHalvedForEachTimeoutDownToTheFirstWindow)
{
    const auto after = [](std::uint32_t idle_rtos, std::uint32_t more, const std::string& setting = "1") {
        Machine m(receive_scenario("count: 0", "",
                                   "    sysctls: {net.ipv4.tcp_slow_start_after_idle: " + setting + "}\n"));
        m.k.run_until(SimTime{} + 100_s);
        const SocketIndex socket = tcp_new_socket(m.k, 0);
        tcp_init_sock(m.k, socket);
        TcpSock& tp = tcp_sk(m.k, socket);
        tp.snd_cwnd = 100;
        tp.snd_ssthresh = 50;
        tp.rto = 50;
        tp.lsndtime = tcp_jiffies32(m.k) - idle_rtos * tp.rto - more;
        tcp_slow_start_after_idle_check(m.k, socket);
        return std::pair(tp.snd_cwnd, tp.snd_ssthresh);
    };
    EXPECT_EQ(after(1, 0), std::pair(100U, 50U)) << "just one timeout is not idle yet";
    EXPECT_EQ(after(1, 1), std::pair(50U, 75U)) << "three quarters of the old window";
    EXPECT_EQ(after(2, 1), std::pair(25U, 75U));
    EXPECT_EQ(after(9, 1), std::pair(10U, 75U)) << "tcp_init_cwnd";
    EXPECT_EQ(after(9, 1, "0"), std::pair(100U, 50U));
}

// ---- SYN cookies -------------------------------------------------------------------------------------------------------------------

const std::string listener =
    "    sysctls: {net.ipv4.tcp_syncookies: 2}\n    tcp_servers: [{name: web, port: 80, accept: false}]\n";

struct Cookies {
    std::uint64_t received, failed;
    bool operator==(const Cookies&) const = default;
};

/// A SYN at `first`, another port's at `second` (0: none), the ACK of the first at `then`; times in seconds of the machine.
Cookies cookies(int first, int second, int then, std::uint32_t ack_off_by = 0)
{
    Wire wire(listener);
    auto at = [&, now = 0](int second_of) mutable {
        wire.run(Duration{std::int64_t{second_of - now} * 1'000'000'000});
        now = second_of;
    };
    at(first);
    wire.send_segment(Wire::syn, Wire::isn, 0);
    const std::uint32_t cookie = wire.last_sequence();
    if (second != 0) {
        at(second);
        wire.send_segment(Wire::syn, Wire::isn, 0, 0, 40001);
    }
    at(then);
    wire.send_segment(Wire::ack, Wire::isn + 1, cookie + 1 + ack_off_by);
    return {wire.counted(Mib::TcpExt_SyncookiesRecv), wire.counted(Mib::TcpExt_SyncookiesFailed)};
}

TEST(SynCookies, HoldForTheirMinuteAndTheNext)
{
    EXPECT_EQ(cookies(10, 70, 119), (Cookies{1, 0}));
    EXPECT_EQ(cookies(10, 70, 121), (Cookies{0, 1})) << "two minutes have begun since";
}

TEST(SynCookies, AreNotEvenLookedAtTwoMinutesAfterTheLastOverflow)
{
    EXPECT_EQ(cookies(59, 0, 178), (Cookies{0, 1})) << "too old, but looked at";
    EXPECT_EQ(cookies(59, 0, 180), (Cookies{0, 0}));
}

TEST(SynCookies, AnotherNumberIsNone)
{
    EXPECT_EQ(cookies(10, 0, 11, 0), (Cookies{1, 0}));
    for (const std::uint32_t off :
         {4U, 1U << 24, ~0U}) { // another MSS there is not, another minute, the hash of none
        EXPECT_EQ(cookies(10, 0, 11, off), (Cookies{0, 1})) << off;
    }
}

TEST(SynCookies, OneOfFourSizesIsRemembered)
{
    Machine m(receive_scenario("count: 0"));
    const SocketIndex socket = tcp_new_socket(m.k, 0);
    for (const auto& [said, kept] : {std::pair{100, 536},
                                     {536, 536},
                                     {1299, 536},
                                     {1300, 1300},
                                     {1439, 1300},
                                     {1440, 1440},
                                     {1459, 1440},
                                     {1460, 1460},
                                     {8960, 1460}}) {
        TcpRequest req;
        req.mss = static_cast<std::uint16_t>(said);
        cookie_init_sequence(m.k, socket, req, PacketId::none);
        EXPECT_EQ(int{req.mss}, kept) << said;
    }
}

TEST(SynCookies, OptionsLieInTheLowestSixBitsOfATimestampThatIsNotLaterThanNow)
{
    Machine m(receive_scenario("count: 0"));
    TcpRequest req;
    req.wscale_ok = true;
    req.snd_wscale = 7;
    req.sack_ok = true;
    EXPECT_EQ(cookie_init_timestamp(m.k, req, 6400 + 23, PacketId::none), 6400U + 0x17U);
    EXPECT_EQ(cookie_init_timestamp(m.k, req, 6400 + 22, PacketId::none), 6400U - 64U + 0x17U);
    req.wscale_ok = req.sack_ok = false;
    EXPECT_EQ(cookie_init_timestamp(m.k, req, 6400 + 63, PacketId::none), 6400U + 0x0fU)
        << "no scaling is 15";
}

} // namespace
} // namespace skbscope::test
