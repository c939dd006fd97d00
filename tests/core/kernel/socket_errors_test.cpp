// What an ICMP error does to the socket that it is about: net/ipv6/raw.c (rawv6_err), net/ipv4/ping.c (ping_err), and what of a message a raw
// socket of IPv6 gets.

#include "core/kernel/ipv6.h"
#include "core/packet/checksum.h"
#include "tests/core/kernel/machine.h"

namespace skbscope::test {
namespace {

using namespace kernel;

const IpAddress here6 = *IpAddress::parse("fd00:99::2"), peer6 = *IpAddress::parse("fd00:99::1"), other6 = *IpAddress::parse("fd00:99::7");
constexpr std::uint8_t echo_request = 128;
constexpr int EACCES_ = 13, EPROTO_ = 71, EMSGSIZE_ = 90, ENETUNREACH_ = 101, ECONNREFUSED_ = 111, EHOSTUNREACH_ = 113, EREMOTEIO_ = 121;

class Errors : public Machine {
public:
    Errors() : Machine(receive_scenario("count: 0"))
    {
        k.set_cpu(world.cpus.front());
        k.cpu().task = 0; // whose system calls these are
    }

    SocketIndex open(SocketKind kind, bool inet6)
    {
        const SocketIndex index = sys_socket(k, kind, inet6);
        Socket& sk = k.socket(index);
        sk.hashed = true;
        sk.protocol = inet6 ? proto::ipproto_icmpv6 : proto::ipproto_icmp;
        sk.num = 1234;
        return index;
    }
    /// An error whose data is what we once sent: an echo request 1234 from us to them.
    SkbIndex quoted6()
    {
        Bytes frame(14 + 40 + 8);
        frame[12] = 0x86;
        frame[13] = 0xdd;
        frame[14] = 0x60;
        frame[18 + 1] = 8;
        frame[20] = proto::ipproto_icmpv6;
        std::ranges::copy(here6.bytes, frame.begin() + 22);
        std::ranges::copy(peer6.bytes, frame.begin() + 38);
        frame[54] = echo_request;
        store_be16(&frame[58], 1234);
        return skb_of(frame, 1);
    }
    int raw6_error(SocketIndex index, std::uint8_t type, std::uint8_t code)
    {
        k.socket(index).sk_err = 0;
        raw6_icmp_error(k, quoted6(), proto::ipproto_icmpv6, type, code);
        return k.socket(index).sk_err;
    }

    /// An ICMP error about an echo request 1234 from here.
    void ping_error(std::uint8_t type, std::uint8_t code)
    {
        EchoFrame request;
        request.ethernet = {peer_mac, host_mac, proto::eth_p_ip};
        request.source = 0x0a630002;
        request.destination = 0x0a630001;
        request.identifier = 1234;
        const Bytes payload(8, 'x');
        request.payload = payload;
        const Bytes quoted = build_echo_frame(request);
        Bytes frame(quoted.begin(), quoted.begin() + 14);
        frame.insert(frame.end(), quoted.begin() + 14, quoted.begin() + 34); // the error's own IP header: to us, as the lookup wants it
        std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
        frame.insert(frame.end(), {type, code, 0, 0, 0, 0, 0, 0});
        frame.insert(frame.end(), quoted.begin() + 14, quoted.end());
        const SkbIndex skb = skb_of(frame, 1);
        SkBuff& buff = k.skb(skb);
        buff.network_header = static_cast<decltype(SkBuff::network_header)>(buff.data);
        skb_pull(k, skb, 20);
        k.skb(skb).transport_header = static_cast<decltype(SkBuff::transport_header)>(k.skb(skb).data);
        skb_pull(k, skb, 8);
        ping_err(k, skb, 0);
    }
};

TEST(Raw6Errors, ReachAConnectedSocketWhereTheyAreHard)
{
    Errors m;
    const SocketIndex sk = m.open(SocketKind::raw, true);
    EXPECT_EQ(m.raw6_error(sk, 1, 4), 0) << "not connected, and it did not ask";
    m.k.socket(sk).v6_daddr = peer6;
    EXPECT_EQ(m.raw6_error(sk, 1, 4), ECONNREFUSED_);
    EXPECT_EQ(m.raw6_error(sk, 1, 1), EACCES_);
    EXPECT_EQ(m.raw6_error(sk, 1, 0), 0) << "no route: it may come back";
    EXPECT_EQ(m.raw6_error(sk, 3, 0), 0) << "time exceeded";
    EXPECT_EQ(m.raw6_error(sk, 4, 1), EPROTO_) << "parameter problem";
    EXPECT_EQ(m.raw6_error(sk, 2, 0), 0) << "too big is hard only with IPV6_PMTUDISC_DO";
    m.k.socket(sk).pmtudisc = IP_PMTUDISC_DO;
    EXPECT_EQ(m.raw6_error(sk, 2, 0), EMSGSIZE_);
    m.k.socket(sk).v6_daddr = other6;
    EXPECT_EQ(m.raw6_error(sk, 1, 4), 0) << "of another connection";
}

TEST(Raw6Errors, AllReachASocketThatAsksForThem)
{
    Errors m;
    const SocketIndex sk = m.open(SocketKind::raw, true);
    m.k.socket(sk).recverr = true;
    EXPECT_EQ(m.raw6_error(sk, 1, 0), ENETUNREACH_);
    EXPECT_EQ(m.raw6_error(sk, 1, 3), EHOSTUNREACH_);
    EXPECT_EQ(m.raw6_error(sk, 2, 0), EMSGSIZE_);
    EXPECT_EQ(m.raw6_error(sk, 3, 0), EHOSTUNREACH_);
    EXPECT_EQ(m.raw6_error(sk, 1, 7), EPROTO_) << "a code that nobody knows";
    m.k.socket(sk).v6_rcv_saddr = other6;
    EXPECT_EQ(m.raw6_error(sk, 1, 0), 0) << "sent from another address";
    m.k.socket(sk).v6_rcv_saddr = IpAddress::any6();
    m.k.socket(sk).bound_device = 0;
    EXPECT_EQ(m.raw6_error(sk, 1, 0), 0) << "of another device";
}

TEST(Raw6Errors, OfAnotherProtocolOrFamilyAreNotItsOwn)
{
    Errors m;
    const SocketIndex sk = m.open(SocketKind::raw, true);
    m.k.socket(sk).recverr = true;
    m.k.socket(sk).protocol = proto::ipproto_udp;
    EXPECT_EQ(m.raw6_error(sk, 1, 4), 0);
    const SocketIndex four = m.open(SocketKind::raw, false);
    m.k.socket(four).recverr = true;
    m.k.socket(four).protocol = proto::ipproto_icmpv6;
    EXPECT_EQ(m.raw6_error(four, 1, 4), 0);
}

TEST(PingErrors, OfIpv4AreThoseOfTheTypeAndCode)
{
    struct Case {
        std::uint8_t type, code;
        int asked, connected; ///< what a socket with IP_RECVERR, and one that is connected, is told
    };
    const Case cases[] = {{3, 0, ENETUNREACH_, 0}, {3, 1, EHOSTUNREACH_, 0}, {3, 2, 92, 92}, {3, 3, ECONNREFUSED_, ECONNREFUSED_}, {3, 4, EMSGSIZE_, EMSGSIZE_},
                          {3, 13, EHOSTUNREACH_, EHOSTUNREACH_}, {3, 16, EHOSTUNREACH_, 0}, {4, 0, EREMOTEIO_, 0}, {5, 0, EREMOTEIO_, 0},
                          {11, 0, EHOSTUNREACH_, 0}, {12, 0, EPROTO_, EPROTO_}};
    for (const Case& one : cases) {
        for (const bool asked : {true, false}) {
            Errors m;
            const SocketIndex sk = m.open(SocketKind::ping, false);
            m.k.socket(sk).recverr = asked;
            m.k.socket(sk).daddr = asked ? 0 : 0x0a630001;
            m.ping_error(one.type, one.code);
            EXPECT_EQ(m.k.socket(sk).sk_err, asked ? one.asked : one.connected) << int{one.type} << "/" << int{one.code} << (asked ? " asked" : " connected");
        }
    }
}

TEST(PingErrors, AMtuThatAPingDoesNotCareForIsNoError)
{
    // ping_err(): IP_PMTUDISC_DONT says nothing of fragmentation needed, not even to who asks for errors.
    Errors m;
    const SocketIndex sk = m.open(SocketKind::ping, false);
    m.k.socket(sk).recverr = true;
    m.k.socket(sk).pmtudisc = IP_PMTUDISC_DONT;
    m.ping_error(3, 4);
    EXPECT_EQ(m.k.socket(sk).sk_err, 0);
    m.ping_error(3, 1);
    EXPECT_EQ(m.k.socket(sk).sk_err, EHOSTUNREACH_);
}

TEST(Raw6, AMessageWithAWrongSumIsDroppedAtEachSocketAndCounted)
{
    Errors m;
    const SocketIndex first = m.open(SocketKind::raw, true), second = m.open(SocketKind::raw, true);
    m.k.socket(second).icmp6_filter[129 >> 5] |= 1U << (129 & 31); // it wants no echo replies
    const auto reply = [&](bool good) {
        Bytes message(8);
        message[0] = 129;
        store_be16(message.data() + 2, csum_ipv6_magic(peer6, here6, 8, proto::ipproto_icmpv6, csum_partial(message)));
        message[7] ^= good ? 0 : 1;
        Bytes frame(14 + 40);
        frame[12] = 0x86;
        frame[13] = 0xdd;
        frame[14] = 0x60;
        frame[19] = 8;
        frame[20] = proto::ipproto_icmpv6;
        std::ranges::copy(peer6.bytes, frame.begin() + 22);
        std::ranges::copy(here6.bytes, frame.begin() + 38);
        frame.insert(frame.end(), message.begin(), message.end());
        const SkbIndex skb = m.skb_of(frame, 1);
        m.k.skb(skb).network_header = static_cast<decltype(SkBuff::network_header)>(m.k.skb(skb).data);
        skb_pull(m.k, skb, 40);
        return raw6_local_deliver(m.k, skb, proto::ipproto_icmpv6);
    };
    EXPECT_TRUE(reply(true));
    EXPECT_EQ(m.k.socket(first).receive_queue.size(), 1U);
    EXPECT_EQ(m.k.socket(second).receive_queue.size(), 0U);
    EXPECT_EQ(m.k.socket(second).sk_drops, 0U) << "what a filter takes out is no drop";
    EXPECT_TRUE(reply(false));
    EXPECT_EQ(m.k.socket(first).receive_queue.size(), 1U);
    EXPECT_EQ(m.k.socket(first).sk_drops, 1U);
    m.k.socket(first).v6_daddr = other6;
    m.k.socket(second).protocol = proto::ipproto_udp;
    EXPECT_FALSE(reply(true)) << "nobody's";
}

} // namespace
} // namespace skbscope::test
