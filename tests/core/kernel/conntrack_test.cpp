// net/netfilter/nf_conntrack_proto_tcp.c and nf_conntrack_proto_udp.c: which state a segment leads to, for how long, and which does not count.

#include "core/kernel/netfilter/netfilter.h"
#include "core/packet/checksum.h"
#include "tests/core/kernel/machine.h"

#include <set>

namespace skbscope::test {
namespace {

using namespace kernel;

enum State : std::uint8_t {
    none,
    syn_sent,
    syn_recv,
    established,
    fin_wait,
    close_wait,
    last_ack,
    time_wait,
    closed,
    syn_sent2
}; // enum tcp_conntrack
constexpr std::uint8_t FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32;
enum Side : std::uint8_t { client, server };

/// A host through whose conntrack a test leads the segments of one flow, 10.99.0.1:40000 to 10.99.0.2:80.
class Tracked : public Machine {
public:
    explicit Tracked(const std::string& sysctls = "")
        : Machine(receive_scenario("count: 0", "", sysctls.empty() ? "" : "    sysctls: {" + sysctls + "}\n"))
    {
    }

    /// False: invalid. The segment passes all hooks.
    bool segment(Side from, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack, std::size_t size = 0,
                 bool sum_is_good = true)
    {
        const Bytes payload(size, 'x');
        TcpFrame frame;
        frame.ethernet = {host_mac, peer_mac, proto::eth_p_ip};
        frame.source = from == client ? peer : here;
        frame.destination = from == client ? here : peer;
        frame.tcp = {static_cast<std::uint16_t>(from == client ? 40000 : 80),
                     static_cast<std::uint16_t>(from == client ? 80 : 40000),
                     seq,
                     ack,
                     flags,
                     1000};
        frame.payload = payload;
        Bytes bytes = build_tcp_frame(frame);
        bytes[50] ^= sum_is_good ? 0 : 1;
        return passes(bytes);
    }
    bool datagram(Side from)
    {
        const Bytes payload(20, 'x');
        UdpFrame frame;
        frame.ethernet = {host_mac, peer_mac, proto::eth_p_ip};
        frame.source = from == client ? peer : here;
        frame.destination = from == client ? here : peer;
        frame.source_port = from == client ? 40000 : 80;
        frame.destination_port = from == client ? 80 : 40000;
        frame.payload = payload;
        return passes(build_udp_frame(frame));
    }
    /// SYN, SYN-ACK, ACK: the client's numbers begin at 1000, the server's at 5000.
    void handshake()
    {
        EXPECT_TRUE(segment(client, SYN, 1000, 0));
        EXPECT_TRUE(segment(server, SYN | ACK, 5000, 1001));
        EXPECT_TRUE(segment(client, ACK, 1001, 5001));
    }
    void wait(Duration time)
    {
        k.run_until(now = now + time);
        k.cpu().now = std::max(k.cpu().now, now); // nothing happened meanwhile
    }

    [[nodiscard]] std::size_t count() const { return world.nets[0].nf.conns.count(); }
    [[nodiscard]] const NfConn& conn() const
    {
        for (const NfConn& row : world.nets[0].nf.conns.rows()) {
            if (row.in_use && (row.status & ips::dying) == 0) {
                return row;
            }
        }
        throw std::logic_error("no connection");
    }
    [[nodiscard]] int state() const { return conn().tcp_state; }
    [[nodiscard]] bool assured() const { return (conn().status & ips::assured) != 0; }
    /// Whole seconds, rounded up.
    [[nodiscard]] std::uint64_t seconds_left()
    {
        return (conn().timeout - static_cast<std::uint64_t>(k.cpu().now.ns) + 999'999'999) / 1'000'000'000;
    }

    SimTime now = SimTime{} + 40_us;

private:
    bool passes(const Bytes& bytes)
    {
        const SkbIndex skb = skb_of(bytes, 1);
        k.skb(skb).network_header = static_cast<decltype(SkBuff::network_header)>(k.skb(skb).data);
        NfHookCtx state;
        state.in = 1;
        nf_conntrack_in(k, skb, state);
        const bool valid = nf_ct_get(k, skb) != nullptr;
        state.hook = Hook::post_routing;
        nf_confirm(k, skb, state);
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_rcv);
        return valid;
    }
};

TEST(Conntrack, AConnectionThatTheClientCloses)
{
    Tracked t;
    t.segment(client, SYN, 1000, 0);
    EXPECT_EQ(t.state(), syn_sent);
    EXPECT_EQ(t.seconds_left(), 120U);
    t.segment(server, SYN | ACK, 5000, 1001);
    EXPECT_EQ(t.state(), syn_recv);
    EXPECT_EQ(t.seconds_left(), 60U);
    EXPECT_FALSE(t.assured());
    t.segment(client, ACK, 1001, 5001);
    EXPECT_EQ(t.state(), established);
    EXPECT_EQ(t.seconds_left(), 432'000U);
    EXPECT_TRUE(t.assured());
    t.segment(client, PSH | ACK, 1001, 5001, 100);
    t.segment(server, ACK, 5001, 1101);
    EXPECT_EQ(t.state(), established);
    t.segment(client, FIN | ACK, 1101, 5001);
    EXPECT_EQ(t.state(), fin_wait);
    EXPECT_EQ(t.seconds_left(), 120U);
    t.segment(server, ACK, 5001, 1102);
    EXPECT_EQ(t.state(), close_wait);
    EXPECT_EQ(t.seconds_left(), 60U);
    t.segment(server, FIN | ACK, 5001, 1102);
    EXPECT_EQ(t.state(), last_ack);
    EXPECT_EQ(t.seconds_left(), 30U);
    t.segment(client, ACK, 1102, 5002);
    EXPECT_EQ(t.state(), time_wait);
    EXPECT_EQ(t.seconds_left(), 120U);
    EXPECT_EQ(t.count(), 1U);
}

TEST(Conntrack, BothSidesMayCloseAtOnceAndARepeatedFinChangesNothing)
{
    Tracked t;
    t.handshake();
    t.segment(server, FIN | ACK, 5001, 1001);
    EXPECT_EQ(t.state(), fin_wait);
    t.segment(client, FIN | ACK, 1001, 5001);
    EXPECT_EQ(t.state(), last_ack);
    t.segment(client, FIN | ACK, 1001, 5001);
    EXPECT_EQ(t.state(), last_ack);
    t.segment(server, ACK, 5002, 1002);
    EXPECT_EQ(t.state(), time_wait);
    t.segment(client, FIN | ACK, 1001, 5001);
    EXPECT_EQ(t.state(), time_wait);
}

TEST(Conntrack, TimeoutsAreThoseOfTheSettings)
{
    Tracked t("net.netfilter.nf_conntrack_tcp_timeout_syn_sent: 11, "
              "net.netfilter.nf_conntrack_tcp_timeout_syn_recv: 12, "
              "net.netfilter.nf_conntrack_tcp_timeout_established: 13, "
              "net.netfilter.nf_conntrack_tcp_timeout_fin_wait: 14, "
              "net.netfilter.nf_conntrack_tcp_timeout_close_wait: 15, "
              "net.netfilter.nf_conntrack_tcp_timeout_last_ack: 16, "
              "net.netfilter.nf_conntrack_tcp_timeout_time_wait: 17, "
              "net.netfilter.nf_conntrack_tcp_timeout_close: 18");
    const auto left_after = [&](Side from, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
        t.segment(from, flags, seq, ack);
        return t.seconds_left();
    };
    EXPECT_EQ(left_after(client, SYN, 1000, 0), 11U);
    EXPECT_EQ(left_after(server, SYN | ACK, 5000, 1001), 12U);
    EXPECT_EQ(left_after(client, ACK, 1001, 5001), 13U);
    EXPECT_EQ(left_after(client, FIN | ACK, 1001, 5001), 14U);
    EXPECT_EQ(left_after(server, ACK, 5001, 1002), 15U);
    EXPECT_EQ(left_after(server, FIN | ACK, 5001, 1002), 16U);
    EXPECT_EQ(left_after(client, ACK, 1002, 5002), 17U);
    EXPECT_EQ(left_after(server, RST, 5002, 0), 18U);
}

TEST(Conntrack, ASynSentAgainDoesNotRenewTheTimeout)
{
    Tracked t;
    t.segment(client, SYN, 1000, 0);
    t.wait(100_s);
    EXPECT_TRUE(t.segment(client, SYN, 1000, 0));
    EXPECT_EQ(t.seconds_left(), 20U) << "or a port used again would keep the entry for ever";
    t.wait(21_s);
    t.segment(client, SYN, 1000, 0);
    EXPECT_EQ(t.seconds_left(), 120U) << "the old one has ended, this one is new";
    EXPECT_EQ(t.count(), 1U);
}

TEST(Conntrack, AResetBeforeAnyAnswerEndsItAtOnce)
{
    Tracked t;
    t.segment(client, SYN, 1000, 0);
    ASSERT_EQ(t.count(), 1U);
    EXPECT_TRUE(t.segment(server, RST | ACK, 0, 1001));
    EXPECT_EQ(t.count(), 0U);
}

TEST(Conntrack, AnEstablishedConnectionEndsOnlyByTheResetThatIsDue)
{
    Tracked t;
    t.handshake();
    t.segment(client, PSH | ACK, 1001, 5001, 100);
    t.segment(server, ACK, 5001, 1101);
    EXPECT_FALSE(t.segment(client, RST, 1100, 0)) << "before what the server has acknowledged";
    EXPECT_EQ(t.state(), established);
    EXPECT_TRUE(t.segment(client, RST, 1102, 0)) << "it may be answered by a challenge (RFC 5961)";
    EXPECT_EQ(t.state(), established);
    EXPECT_EQ(t.seconds_left(), 10U);
    EXPECT_TRUE(t.segment(client, RST, 1101, 0));
    EXPECT_EQ(t.state(), closed);
    EXPECT_EQ(t.seconds_left(), 10U);
}

TEST(Conntrack, AResetRightBehindTheSendersLastDataEndsItThoughThatIsNotAcknowledged)
{
    Tracked t;
    t.handshake();
    t.segment(server, ACK, 5001, 1001);
    t.segment(client, PSH | ACK, 1001, 5001, 100);
    t.segment(client, RST | ACK, 1101, 5001);
    EXPECT_EQ(t.state(), closed);
}

TEST(Conntrack, AResetWhoseNumberCannotBeJudgedEndsIt)
{
    Tracked answered; // the RST that answers a SYN in the middle of a connection bears what it likes
    answered.handshake();
    answered.segment(client, SYN, 90000, 0);
    EXPECT_TRUE(answered.segment(server, RST | ACK, 0, 90001));
    EXPECT_EQ(answered.state(), closed);
    Tracked closing; // its tuple may have been used again (tcp_can_early_drop)
    closing.handshake();
    closing.segment(client, FIN | ACK, 1001, 5001);
    EXPECT_TRUE(closing.segment(server, RST, 4000, 0));
    EXPECT_EQ(closing.state(), closed);
    Tracked half_open; // a RST without a number
    half_open.segment(client, SYN, 1000, 0);
    half_open.segment(server, SYN | ACK, 5000, 1001);
    EXPECT_TRUE(half_open.segment(client, RST, 0, 0));
    EXPECT_EQ(half_open.state(), closed);
}

TEST(Conntrack, AConnectionThatBeginsAnewForgetsWhatWasAcknowledged)
{
    Tracked t;
    t.handshake();
    t.segment(client, SYN, 900, 0);
    t.segment(server, SYN | ACK, 70000, 901);
    ASSERT_EQ(t.state(), syn_recv);
    EXPECT_TRUE(t.segment(client, RST, 901, 0)) << "before what was acknowledged in the old one";
    EXPECT_EQ(t.state(), closed);
}

TEST(Conntrack, TwoSynsThatCrossMakeAConnectionToo)
{
    Tracked t;
    t.segment(client, SYN, 1000, 0);
    EXPECT_TRUE(t.segment(server, SYN, 5000, 0));
    EXPECT_EQ(t.state(), syn_sent2);
    t.segment(client, SYN | ACK, 1000, 5001);
    EXPECT_EQ(t.state(), syn_recv);
    EXPECT_TRUE(t.segment(server, ACK, 5001, 1001));
    EXPECT_EQ(t.state(), established);
}

TEST(Conntrack, ASynInTimeWaitBeginsANewConnection)
{
    Tracked t;
    t.handshake();
    t.segment(client, FIN | ACK, 1001, 5001);
    t.segment(server, FIN | ACK, 5001, 1002);
    t.segment(client, ACK, 1002, 5002);
    ASSERT_EQ(t.state(), time_wait);
    EXPECT_TRUE(t.segment(client, SYN, 90000, 0));
    EXPECT_EQ(t.state(), syn_sent);
    EXPECT_EQ(t.count(), 1U);
    EXPECT_FALSE(t.assured());
    EXPECT_EQ(t.conn().status & ips::seen_reply, 0U);
}

TEST(Conntrack, ASynAfterAResetBeginsANewConnectionOnlyForWhoeverReset)
{
    Tracked own;
    own.handshake();
    own.segment(client, RST, 1001, 0);
    ASSERT_EQ(own.state(), closed);
    own.segment(client, SYN, 90000, 0);
    EXPECT_EQ(own.state(), syn_sent);
    Tracked others;
    others.handshake();
    others.segment(server, RST, 5001, 0);
    ASSERT_EQ(others.state(), closed);
    EXPECT_TRUE(others.segment(client, SYN, 90000, 0)) << "let through, and ignored";
    EXPECT_EQ(others.state(), closed);
    others.segment(server, SYN | ACK, 70000, 90001);
    EXPECT_EQ(others.state(), syn_recv) << "until the server takes it";
}

TEST(Conntrack, ASynInTheMiddleIsIgnoredUntilItsOwnAnswerComes)
{
    Tracked t;
    t.handshake();
    EXPECT_TRUE(t.segment(client, SYN, 90000, 0));
    EXPECT_EQ(t.state(), established);
    EXPECT_TRUE(t.segment(server, SYN | ACK, 70000, 90002)) << "it acknowledges another";
    EXPECT_EQ(t.state(), established);
    t.segment(client, SYN, 90000, 0);
    t.segment(server, SYN | ACK, 70000, 90001);
    EXPECT_EQ(t.state(), syn_recv);
    EXPECT_FALSE(t.segment(server, SYN, 70000, 0)) << "a server sends none";
}

TEST(Conntrack, TheChallengeThatAnswersASynIsNotTheLastAck)
{
    Tracked t;
    t.handshake();
    t.segment(client, FIN | ACK, 1001, 5001);
    t.segment(server, FIN | ACK, 5001, 1002);
    ASSERT_EQ(t.state(), last_ack);
    t.segment(client, SYN, 90000, 0);
    EXPECT_TRUE(t.segment(server, ACK, 5002, 1002));
    EXPECT_EQ(t.state(), last_ack);
    t.segment(client, ACK, 1002, 5002);
    EXPECT_EQ(t.state(), time_wait);
}

TEST(Conntrack, AConnectionMetInTheMiddleIsTakenUpButNotForLong)
{
    Tracked t;
    EXPECT_TRUE(t.segment(client, ACK, 1001, 5001, 10));
    EXPECT_EQ(t.state(), established);
    EXPECT_EQ(t.seconds_left(), 300U) << "nf_conntrack_tcp_timeout_unacknowledged";
    EXPECT_FALSE(t.assured());
    t.segment(server, ACK, 5001, 1011);
    EXPECT_EQ(t.seconds_left(), 300U) << "the answer itself is the first that it sees";
    t.segment(client, ACK, 1011, 5001, 10);
    EXPECT_EQ(t.seconds_left(), 432'000U);
    EXPECT_TRUE(t.assured());
    Tracked strict("net.netfilter.nf_conntrack_tcp_loose: 0");
    EXPECT_FALSE(strict.segment(client, ACK, 1001, 5001, 10));
    EXPECT_EQ(strict.count(), 0U);
}

TEST(Conntrack, OnlyASynOrAnAckBeginsAConnection)
{
    for (const std::uint8_t flags :
         {std::uint8_t{SYN | ACK}, std::uint8_t{FIN | ACK}, RST, std::uint8_t{RST | ACK}}) {
        Tracked t;
        EXPECT_FALSE(t.segment(client, flags, 1000, 5000)) << int{flags};
        EXPECT_EQ(t.count(), 0U) << int{flags};
    }
}

TEST(Conntrack, FlagsThatContradictEachOtherAreInvalid)
{
    for (int flags = 0; flags < 64; ++flags) {
        const int without_psh = flags & ~PSH;
        const bool good = without_psh == SYN || without_psh == (SYN | URG) || without_psh == ACK ||
                          without_psh == (ACK | URG); // of those that begin one
        Tracked t;
        EXPECT_EQ(t.segment(client, static_cast<std::uint8_t>(flags), 1000, 0), good) << flags;
    }
    Tracked t;
    EXPECT_FALSE(t.segment(client, SYN, 1000, 0, 0, false)) << "a wrong checksum";
    EXPECT_EQ(t.world.nets[0].mib[static_cast<std::size_t>(Mib::nf_conntrack_invalid)], 1U);
}

TEST(Conntrack, OfAnEstablishedConnectionOnlyTheFlagsThatBelongTogetherAreValid)
{
    // tcp_valid_flags[]; a client's SYN-ACK is none that the table knows.
    const std::set<int> good = {SYN, SYN | URG, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG};
    for (int flags = 0; flags < 64; ++flags) {
        Tracked t;
        t.handshake();
        EXPECT_EQ(t.segment(client, static_cast<std::uint8_t>(flags), 1001, 5001),
                  good.contains(flags & ~PSH))
            << flags;
    }
}

TEST(Conntrack, AFlowOfDatagramsIsAStreamAfterTwoSecondsOfBothSides)
{
    Tracked t;
    t.datagram(client);
    EXPECT_EQ(t.seconds_left(), 30U);
    t.wait(3_s);
    t.datagram(client);
    EXPECT_EQ(t.seconds_left(), 30U) << "nobody has answered";
    t.datagram(server);
    EXPECT_EQ(t.seconds_left(), 30U) << "this is the first answer";
    EXPECT_FALSE(t.assured());
    t.datagram(client);
    EXPECT_EQ(t.seconds_left(), 120U);
    EXPECT_TRUE(t.assured());
    Tracked young;
    young.datagram(client);
    young.datagram(server);
    young.wait(1900_ms);
    young.datagram(client);
    EXPECT_EQ(young.seconds_left(), 30U);
    EXPECT_FALSE(young.assured());
    young.wait(31_s);
    young.datagram(client);
    EXPECT_EQ(young.conn().packets[0], 1U) << "the one before had ended";
}

} // namespace
} // namespace skbscope::test
