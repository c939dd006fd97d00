// net/ipv4/ip_output.c: the datagram becomes an IP packet and leaves towards its neighbour; put together in pieces if need
// be, cut to the MTU, looped back to ourselves if it is multicast.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <utility>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t ip_header = 20;
constexpr std::uint32_t hh_len = 16;                 // LL_RESERVED_SPACE of an Ethernet device
constexpr std::uint32_t SKB_MAX_ALLOC = 16384 - 320; // include/linux/skbuff.h: SKB_MAX_ORDER(0, 2)
constexpr std::uint32_t IPV4_MIN_MTU = 68;

void copy_from_user(Kernel& k, const void* from, std::uint8_t* to, std::size_t offset, std::size_t length, SkbIndex skb)
{
    Call call(k, fn::ip_generic_getfrag, skb);
    const auto& payload = *static_cast<const std::span<const std::uint8_t>*>(from);
    std::copy_n(payload.begin() + static_cast<std::ptrdiff_t>(offset), length, to);
    k.spend(k.costs().copy(length));
}

std::uint8_t sk_protocol(const Socket& sk)
{
    switch (sk.kind) {
    case SocketKind::udp: return proto::ipproto_udp;
    case SocketKind::tcp: return proto::ipproto_tcp;
    case SocketKind::ping: return proto::ipproto_icmp;
    case SocketKind::raw:
    case SocketKind::packet: break;
    }
    return sk.protocol;
}

bool ip_dont_fragment(const Socket& sk) { return sk.pmtudisc == IP_PMTUDISC_DO || sk.pmtudisc == IP_PMTUDISC_WANT; }
bool ip_sk_ignore_df(const Socket& sk) { return sk.pmtudisc < IP_PMTUDISC_DO || sk.pmtudisc == IP_PMTUDISC_OMIT; }

std::uint8_t ip_select_ttl(Kernel& k, const Socket& sk, const Destination& dst)
{
    if (dst.type == RouteType::multicast) {
        return static_cast<std::uint8_t>(sk.mc_ttl);
    }
    return static_cast<std::uint8_t>(sk.uc_ttl >= 0 ? sk.uc_ttl : k.net(sk.net).sysctl.ip_default_ttl);
}

/// The piece of a datagram that alloc_skb() makes: no waiting, charged to the socket afterwards.
SkbIndex alloc_piece(Kernel& k, SocketIndex sk, const IpCork& cork, std::uint32_t size, std::uint32_t paged)
{
    Socket& socket = k.socket(sk);
    if (socket.sk_wmem_alloc > 2 * socket.sk_sndbuf) {
        return nothing;
    }
    PacketRecord record;
    record.host = k.host().id;
    record.sent_here = true;
    record.birth = k.cpu().now;
    record.birth_function = fn::__alloc_skb;
    if (!cork.queue.empty()) {
        record.parent = k.skb(cork.queue.front()).packet;
        record.relation = Relation::split;
    }
    const PacketId packet = k.trace.add_packet(record);
    if (cork.queue.empty()) {
        k.attribute_since(cork.call_sequence, packet);
    }
    k.emit(EventKind::birth, packet, fn::__alloc_skb);
    const SkbIndex skb = __alloc_skb(k, packet, size);
    k.skb(skb).mine = true;
    k.skb(skb).truesize += paged;
    k.skb(skb).sk = sk;
    k.skb(skb).destructor = SkBuff::Destructor::sock_wfree;
    socket.sk_wmem_alloc += k.skb(skb).truesize;
    return skb;
}

/// More bytes at the end of the skb, in page fragments. The model keeps them behind the linear ones; data_len counts them.
std::uint8_t* put_paged(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    SkBuff& skb = k.skb(index);
    if (skb.head.size() < skb.tail + bytes) {
        skb.head.writable().resize(skb.tail + bytes);
    }
    k.field(index, SkbField::data_len, skb.data_len, skb.data_len + bytes);
    skb.data_len += bytes;
    return skb_put(k, index, bytes);
}

struct Geometry {
    std::uint32_t mtu, fragheaderlen, maxfraglen;
};

/// A new skb for the cork's queue, with as much of the data as fits. Returns the bytes taken from the source; -errno.
int append_skb(Kernel& k, SocketIndex sk, IpCork& cork, const GetFrag& getfrag, const Geometry& fit, std::uint32_t offset, std::uint32_t length,
               std::uint32_t transhdrlen, IpSummed csummode, unsigned flags)
{
    const SkbIndex previous = cork.queue.empty() ? nothing : cork.queue.back();
    const std::uint32_t fraggap = previous == nothing ? 0 : k.skb(previous).len - fit.maxfraglen;
    std::uint32_t datalen = length + fraggap;
    if (datalen > fit.mtu - fit.fragheaderlen) {
        datalen = fit.maxfraglen - fit.fragheaderlen;
    }
    const std::uint32_t fraglen = datalen + fit.fragheaderlen;
    const std::uint32_t extra = hh_len + 15;
    const bool paged = cork.gso_size != 0 || fraglen + extra >= SKB_MAX_ALLOC;
    const std::uint32_t linear = paged ? fit.fragheaderlen + transhdrlen + fraggap : fraglen;
    const std::uint32_t pagedlen = fraglen - linear;
    const SkbIndex skb = transhdrlen != 0 ? sock_alloc_send_skb(k, sk, linear + extra, pagedlen, cork.call_sequence)
                                          : alloc_piece(k, sk, cork, linear + extra, pagedlen);
    if (skb == nothing) {
        return transhdrlen != 0 ? -EAGAIN : -ENOBUFS;
    }
    (void)flags;
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(csummode));
    k.skb(skb).ip_summed = csummode;
    skb_reserve(k, skb, hh_len);
    skb_put(k, skb, linear);
    set_network_header(k, skb);
    set_transport_header(k, skb, fit.fragheaderlen);
    if (pagedlen != 0) {
        put_paged(k, skb, pagedlen);
    }
    std::uint8_t* data = k.skb(skb).head.writable().data() + k.skb(skb).data + fit.fragheaderlen;
    if (fraggap != 0) { // what the one before took beyond the last multiple of eight
        const auto from = skb_data(k, previous).subspan(fit.maxfraglen, fraggap);
        std::ranges::copy(from, data + transhdrlen);
        skb_trim(k, previous, fit.maxfraglen);
        data += fraggap;
    }
    const std::uint32_t copy = datalen - transhdrlen - fraggap;
    if (copy > 0) {
        getfrag.copy(k, getfrag.from, data + transhdrlen, offset, copy, skb);
    }
    cork.queue.push_back(skb);
    return static_cast<int>(copy);
}

void write_header(Kernel& k, SkbIndex skb, const Socket& sk, const IpCork& cork, const Flowi4& fl4, std::uint8_t ttl, bool dont_fragment)
{
    const auto optlen = static_cast<std::uint32_t>(cork.options.size());
    Ipv4Fields fields;
    fields.source = fl4.saddr;
    fields.destination = fl4.daddr;
    fields.protocol = sk_protocol(sk);
    fields.payload_length = static_cast<std::uint16_t>(k.skb(skb).len - ip_header);
    fields.ttl = ttl;
    fields.tos = static_cast<std::uint8_t>(cork.tos >= 0 ? cork.tos : sk.tos);
    fields.dont_fragment = dont_fragment;
    fields.id = k.net(sk.net).ip_id++;
    const auto bytes = skb_network_writable(k, skb);
    write_ipv4(bytes, fields);
    if (optlen != 0) {
        MutableIpv4View::unchecked(bytes).set_version_ihl(4, static_cast<std::uint8_t>(5 + optlen / 4));
        std::ranges::copy(cork.options, bytes.begin() + ip_header);
        k.skb(skb).ipcb.opt.optlen = static_cast<std::uint8_t>(optlen);
    }
}

constexpr std::pair<std::uint8_t, Mib> icmp_out_names[] = {
    {0, Mib::Icmp_OutEchoReps},       {3, Mib::Icmp_OutDestUnreachs}, {4, Mib::Icmp_OutSrcQuenchs},    {5, Mib::Icmp_OutRedirects},
    {8, Mib::Icmp_OutEchos},          {11, Mib::Icmp_OutTimeExcds},   {12, Mib::Icmp_OutParmProbs},    {13, Mib::Icmp_OutTimestamps},
    {14, Mib::Icmp_OutTimestampReps}, {17, Mib::Icmp_OutAddrMasks},   {18, Mib::Icmp_OutAddrMaskReps},
};
constexpr std::pair<std::uint8_t, Mib> icmp_out_types[] = {
    {0, Mib::IcmpMsg_OutType0}, {3, Mib::IcmpMsg_OutType3},   {5, Mib::IcmpMsg_OutType5},
    {8, Mib::IcmpMsg_OutType8}, {11, Mib::IcmpMsg_OutType11}, {12, Mib::IcmpMsg_OutType12},
};

/// net/ipv4/icmp.c: icmp_out_count
void icmp_out_count(Kernel& k, NetIndex net, std::uint8_t type, PacketId packet)
{
    k.count(net, Mib::Icmp_OutMsgs, packet);
    for (const auto& [number, counter] : icmp_out_types) {
        if (number == type) {
            k.count(net, counter, packet);
        }
    }
    for (const auto& [number, counter] : icmp_out_names) {
        if (number == type) {
            k.count(net, counter, packet);
        }
    }
}

/// Errors of a device that had no room are none for a socket that did not ask (net_xmit_errno).
int xmit_errno(int result) { return result > 0 ? (result == 2 ? 0 : -ENOBUFS) : result; }

std::uint32_t ip_skb_dst_mtu(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    if (skb.sk != nothing && k.socket(skb.sk).pmtudisc >= IP_PMTUDISC_PROBE) {
        return k.device(skb.dst.device).mtu;
    }
    return dst_mtu(k, skb.dst);
}

int ip_fragment(Kernel& k, SkbIndex skb, std::uint32_t mtu)
{
    Call call(k, fn::ip_fragment, skb);
    const Ipcb& cb = k.skb(skb).ipcb;
    const bool may = !Ipv4View::unchecked(skb_network(k, skb)).dont_fragment() ||
                     (k.skb(skb).ignore_df && !(cb.frag_max_size != 0 && cb.frag_max_size > mtu));
    if (may) {
        return ip_do_fragment(k, skb, ip_finish_output2);
    }
    k.count(k.skb_net(skb), Mib::Ip_FragFails, k.skb(skb).packet);
    icmp_send(k, skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, mtu);
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_fragment);
    return -EMSGSIZE;
}

int __ip_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip_finish_output, skb);
    if (k.skb(skb).gso_size != 0) {
        return ip_finish_output2(k, skb); // ip_finish_output_gso(): its segments fit
    }
    const std::uint32_t mtu = ip_skb_dst_mtu(k, skb);
    if (k.skb(skb).len > mtu || k.skb(skb).ipcb.frag_max_size != 0) {
        return ip_fragment(k, skb, mtu);
    }
    return ip_finish_output2(k, skb);
}

/// IPSTATS_MIB_OUT. Until 6.5 ip_output() counts what goes out, before it is cut into fragments, and forwarded packets, too, are "OutRequests".
/// Since then those are what begins here, and "OutTransmits" is what ip_finish_output2() gives to a neighbour: each fragment.
void count_out(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const NetIndex net = k.dev_net(device);
    k.count(net, k.profile() >= Profile::v6_12 ? Mib::Ip_OutTransmits : Mib::Ip_OutRequests, k.skb(skb).packet);
    k.count(net, Mib::IpExt_OutOctets, k.skb(skb).packet, k.skb(skb).len);
}

void count_before_fragmentation(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    if (k.profile() < Profile::v6_12) {
        count_out(k, skb, device);
    }
}

int post_routing(Kernel& k, SkbIndex skb, DeviceIndex in, DeviceIndex out)
{
    if ((k.skb(skb).ipcb.flags & Ipcb::REROUTED) != 0) {
        return ip_finish_output(k, skb);
    }
    const int verdict = nf_hook(k, Pf::ipv4, Hook::post_routing, skb, in, out);
    return verdict == 1 ? ip_finish_output(k, skb) : verdict;
}

/// net/core/dev.c: dev_loopback_xmit. What goes out to many comes in here, too.
void ip_mc_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_mc_finish_output, skb);
    Call loop(k, fn::dev_loopback_xmit, skb);
    set_mac_header(k, skb);
    k.skb(skb).pkt_type = PktType::loopback;
    if (k.skb(skb).ip_summed == IpSummed::none) {
        k.skb(skb).ip_summed = IpSummed::unnecessary;
    }
    k.skb(skb).dst.input = Destination::Input::local_deliver;
    local_bh_disable(k);
    __netif_rx(k, skb);
    local_bh_enable(k);
}

void loop_back(Kernel& k, SkbIndex skb, DeviceIndex device)
{
    const SkbIndex copy = skb_clone(k, skb, fn::ip_mc_output);
    if (nf_hook(k, Pf::ipv4, Hook::post_routing, copy, nothing, device) == 1) {
        ip_mc_finish_output(k, copy);
    }
}

} // namespace

GetFrag ip_generic_getfrag(const std::span<const std::uint8_t>& payload)
{
    return {copy_from_user, &payload};
}

int ip_setup_cork(Kernel& k, SocketIndex index, IpCork& cork, const IpcmCookie& ipc, const Destination& route)
{
    const Socket& sk = k.socket(index);
    cork.dst = route;
    cork.fragsize = sk.pmtudisc >= IP_PMTUDISC_PROBE ? k.device(route.device).mtu : dst_mtu(k, route);
    if (cork.fragsize < IPV4_MIN_MTU) {
        return -ENETUNREACH;
    }
    cork.length = 0;
    cork.gso_size = ipc.gso_size;
    cork.ttl = ipc.ttl;
    cork.tos = ipc.tos;
    cork.address = ipc.address;
    cork.options = ipc.options;
    return 0;
}

int __ip_append_data(Kernel& k, SocketIndex sk, IpCork& cork, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                     unsigned flags)
{
    Call call(k, fn::__ip_append_data, cork.queue.empty() ? PacketId::none : k.skb(cork.queue.front()).packet);
    constexpr std::uint32_t IP_MAX_MTU = 0xffff;
    const NetDevice& device = k.device(cork.dst.device);
    Geometry fit{};
    fit.mtu = cork.gso_size != 0 ? IP_MAX_MTU : cork.fragsize;
    fit.fragheaderlen = ip_header + static_cast<std::uint32_t>(cork.options.size());
    fit.maxfraglen = ((fit.mtu - fit.fragheaderlen) & ~7U) + fit.fragheaderlen;
    const std::uint32_t most = ip_sk_ignore_df(k.socket(sk)) ? IP_MAX_MTU : fit.mtu;
    if (cork.length + length > most - fit.fragheaderlen) {
        return -EMSGSIZE;
    }
    const bool whole = transhdrlen != 0 && length + fit.fragheaderlen <= fit.mtu;
    IpSummed csummode = whole && device.tx_checksum && ((flags & MSG_MORE) == 0 || cork.gso_size != 0) ? IpSummed::partial : IpSummed::none;
    cork.length += length;
    std::uint32_t offset = 0;
    const auto failed = [&](int error) {
        cork.length -= length;
        // A call that may block waits for room in the kernel; here the application is put to sleep and calls again.
        if (error != -EAGAIN || (flags & MSG_DONTWAIT) != 0) {
            k.count(k.sock_net(sk), Mib::Ip_OutDiscards, PacketId::none);
        }
        return error;
    };
    bool first = cork.queue.empty();
    while (length > 0 || first) {
        const std::uint32_t have = first ? 0 : k.skb(cork.queue.back()).len;
        std::int64_t room = std::int64_t{fit.mtu} - have;
        if (room < length) {
            room = std::int64_t{fit.maxfraglen} - have;
        }
        if (first || room <= 0) {
            const int taken = append_skb(k, sk, cork, getfrag, fit, offset, length, transhdrlen, csummode, flags);
            if (taken < 0) {
                return failed(taken);
            }
            offset += static_cast<std::uint32_t>(taken);
            length -= static_cast<std::uint32_t>(taken) + transhdrlen;
            transhdrlen = 0;
            csummode = IpSummed::none;
            first = false;
            continue;
        }
        // Room is left in the last piece: page fragments, charged byte by byte.
        const SkbIndex skb = cork.queue.back();
        const auto copy = static_cast<std::uint32_t>(std::min<std::int64_t>(room, length));
        std::uint8_t* to = put_paged(k, skb, copy);
        getfrag.copy(k, getfrag.from, to, offset, copy, skb);
        k.skb(skb).truesize += copy;
        k.socket(sk).sk_wmem_alloc += copy;
        offset += copy;
        length -= copy;
    }
    return 0;
}

SkbIndex __ip_make_skb(Kernel& k, SocketIndex index, IpCork& cork, const Flowi4& fl4)
{
    if (cork.queue.empty()) {
        return nothing;
    }
    const SkbIndex skb = cork.queue.front();
    Call call(k, fn::__ip_make_skb, skb);
    cork.queue.erase(cork.queue.begin());
    Socket& sk = k.socket(index);
    while (!cork.queue.empty()) { // the further pieces hang on the first one, which answers for their memory
        const SkbIndex piece = cork.queue.front();
        cork.queue.erase(cork.queue.begin());
        skb_pull(k, piece, k.skb(piece).transport_header - k.skb(piece).network_header);
        SkBuff& head = k.skb(skb);
        head.frag_list.push_back(piece);
        k.field(skb, SkbField::len, head.len, head.len + k.skb(piece).len);
        k.field(skb, SkbField::data_len, head.data_len, head.data_len + k.skb(piece).len);
        k.field(skb, SkbField::truesize, head.truesize, head.truesize + k.skb(piece).truesize);
        head.len += k.skb(piece).len;
        head.data_len += k.skb(piece).len;
        head.truesize += k.skb(piece).truesize;
        k.skb(piece).sk = nothing;
    }
    k.skb(skb).ignore_df = ip_sk_ignore_df(sk);
    const bool df = sk.pmtudisc == IP_PMTUDISC_DO || sk.pmtudisc == IP_PMTUDISC_PROBE ||
                    (k.skb(skb).len <= dst_mtu(k, cork.dst) && ip_dont_fragment(sk));
    write_header(k, skb, sk, cork, fl4, cork.ttl != 0 ? cork.ttl : ip_select_ttl(k, sk, cork.dst), df);
    k.field(skb, SkbField::protocol, k.skb(skb).protocol, proto::eth_p_ip);
    k.skb(skb).protocol = proto::eth_p_ip;
    k.skb(skb).priority = cork.tos >= 0 ? rt_tos2priority(static_cast<std::uint8_t>(cork.tos)) : rt_tos2priority(sk.tos);
    set_dst(k, skb, cork.dst);
    k.trace.mutable_packet(k.skb(skb).packet).device = k.device(cork.dst.device).id;
    if (sk_protocol(sk) == proto::ipproto_icmp) {
        const auto message = skb_network(k, skb).subspan(ip_header + cork.options.size());
        const std::uint8_t type = sk.kind == SocketKind::raw && sk.hashed && !fl4.known_nh ? fl4.icmp_type
                                  : message.empty()                                        ? std::uint8_t{0}
                                                                                           : message[0];
        icmp_out_count(k, sk.net, type, k.skb(skb).packet);
    }
    cork = IpCork{};
    return skb;
}

int ip_append_data(Kernel& k, SocketIndex sk, const Flowi4&, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                   const IpcmCookie& ipc, const Destination& route, unsigned flags, std::uint64_t call_sequence)
{
    Call call(k, fn::ip_append_data);
    IpCork& cork = k.socket(sk).cork;
    if (cork.queue.empty()) {
        if (const int error = ip_setup_cork(k, sk, cork, ipc, route); error != 0) {
            return error;
        }
        cork.call_sequence = call_sequence;
    } else {
        transhdrlen = 0;
    }
    const int error = __ip_append_data(k, sk, cork, getfrag, length, transhdrlen, flags);
    return error;
}

int ip_push_pending_frames(Kernel& k, SocketIndex sk, const Flowi4& fl4)
{
    const auto& queue = k.socket(sk).cork.queue;
    Call call(k, fn::ip_push_pending_frames, queue.empty() ? PacketId::none : k.skb(queue.front()).packet);
    const SkbIndex skb = __ip_make_skb(k, sk, k.socket(sk).cork, fl4);
    return skb == nothing ? 0 : ip_send_skb(k, k.sock_net(sk), skb);
}

void ip_flush_pending_frames(Kernel& k, IpCork& cork)
{
    while (!cork.queue.empty()) {
        const SkbIndex skb = cork.queue.back();
        cork.queue.pop_back();
        kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_flush_pending_frames);
    }
    cork = IpCork{};
}

SkbIndex ip_make_skb(Kernel& k, SocketIndex sk, const Flowi4& fl4, const GetFrag& getfrag, std::uint32_t length, std::uint32_t transhdrlen,
                     const IpcmCookie& ipc, const Destination& route, unsigned flags, std::uint64_t call_sequence, int& error)
{
    Call call(k, fn::ip_make_skb);
    IpCork cork;
    cork.call_sequence = call_sequence;
    error = ip_setup_cork(k, sk, cork, ipc, route);
    if (error == 0) {
        error = __ip_append_data(k, sk, cork, getfrag, length, transhdrlen, flags);
    }
    if (error != 0) {
        ip_flush_pending_frames(k, cork);
        return nothing;
    }
    const SkbIndex skb = __ip_make_skb(k, sk, cork, fl4);
    if (skb != nothing) {
        k.attribute_since(call_sequence, k.skb(skb).packet);
    }
    return skb;
}

int ip_send_skb(Kernel& k, NetIndex net, SkbIndex skb)
{
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::ip_send_skb, packet);
    const int error = xmit_errno(ip_local_out(k, skb));
    if (error != 0) {
        k.count(net, Mib::Ip_OutDiscards, packet);
    }
    return error;
}

int __ip_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::__ip_local_out, skb);
    const DeviceIndex device = k.skb(skb).dst.device;
    if (k.profile() >= Profile::v6_12) {
        k.count(k.dev_net(device), Mib::Ip_OutRequests, k.skb(skb).packet);
    }
    {
        Call check(k, fn::ip_send_check, skb);
        const auto bytes = skb_network_writable(k, skb);
        const MutableIpv4View ip = MutableIpv4View::unchecked(bytes);
        ip.set_total_length(static_cast<std::uint16_t>(k.skb(skb).len));
        fill_ipv4_checksum(bytes.first(ip.header_length()));
    }
    k.skb(skb).protocol = proto::eth_p_ip;
    return nf_hook(k, Pf::ipv4, Hook::local_out, skb, nothing, device);
}

int ip_local_out(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_local_out, skb);
    const int verdict = __ip_local_out(k, skb);
    return verdict == 1 ? dst_output(k, skb) : verdict;
}

int dst_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::dst_output, skb);
    switch (k.skb(skb).dst.output) {
    case Destination::Output::ip_output: return ip_output(k, skb);
    case Destination::Output::ip_mc_output: return ip_mc_output(k, skb);
    case Destination::Output::rt_bug:
    case Destination::Output::none: break;
    }
    kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::dst_output); // ip_rt_bug(), dst_discard_out()
    return 0;
}

int ip_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_output, skb);
    const DeviceIndex in = k.skb(skb).device;
    const DeviceIndex out = k.skb(skb).dst.device;
    count_before_fragmentation(k, skb, out);
    set_device(k, skb, out);
    return post_routing(k, skb, in, out);
}

int ip_mc_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_mc_output, skb);
    const Destination dst = k.skb(skb).dst;
    count_before_fragmentation(k, skb, dst.device);
    set_device(k, skb, dst.device);
    const SocketIndex sk = k.skb(skb).sk;
    if ((dst.flags & RTCF_MULTICAST) != 0) {
        const bool wanted = sk == nothing || k.socket(sk).mc_loop;
        if (wanted && ((dst.flags & RTCF_LOCAL) != 0 || (k.skb(skb).ipcb.flags & Ipcb::FORWARDED) == 0)) {
            loop_back(k, skb, dst.device);
        }
        if (Ipv4View::unchecked(skb_network(k, skb)).ttl() == 0) {
            kfree_skb_reason(k, skb, drop::NOT_SPECIFIED, fn::ip_mc_output); // not beyond this host
            return 0;
        }
    }
    if ((dst.flags & RTCF_BROADCAST) != 0) {
        loop_back(k, skb, dst.device);
    }
    return post_routing(k, skb, nothing, dst.device);
}

int ip_finish_output(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_finish_output, skb);
    return __ip_finish_output(k, skb);
}

int ip_finish_output2(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::ip_finish_output2, skb);
    const Destination dst = k.skb(skb).dst;
    const NetIndex net = k.dev_net(dst.device);
    if (k.profile() >= Profile::v6_12) {
        count_out(k, skb, dst.device);
    }
    if (dst.type == RouteType::multicast) {
        k.count(net, Mib::IpExt_OutMcastPkts, k.skb(skb).packet);
        k.count(net, Mib::IpExt_OutMcastOctets, k.skb(skb).packet, k.skb(skb).len);
    } else if (dst.type == RouteType::broadcast) {
        k.count(net, Mib::IpExt_OutBcastPkts, k.skb(skb).packet);
        k.count(net, Mib::IpExt_OutBcastOctets, k.skb(skb).packet, k.skb(skb).len);
    }
    const std::uint32_t next_hop = dst.gateway != 0 ? dst.gateway : Ipv4View::unchecked(skb_network(k, skb)).daddr();
    const std::int32_t neighbour = ip_neigh_for_gw(k, skb, dst.device, next_hop);
    if (neighbour == nothing) {
        kfree_skb_reason(k, skb, drop::NEIGH_CREATEFAIL, fn::ip_finish_output2);
        return -ENOBUFS;
    }
    return neigh_output(k, neighbour, skb);
}

// ---- transports that build their own segments -----------------------------------------------------------------------------------

int __ip_queue_xmit(Kernel& k, SocketIndex index, SkbIndex skb, std::uint8_t tos)
{
    Call call(k, fn::__ip_queue_xmit, skb);
    Socket& sk = k.socket(index);
    if (!k.skb(skb).dst.valid) {
        if (!sk.cached_route.valid) {
            Flowi4 fl4;
            fl4.net = sk.net;
            fl4.daddr = sk.daddr;
            fl4.saddr = sk.rcv_saddr;
            fl4.oif = sk.bound_device;
            fl4.tos = tos;
            fl4.proto = sk_protocol(sk);
            fl4.sport = sk.num;
            fl4.dport = sk.dport;
            const Destination route = ip_route_output_flow(k, fl4, k.skb(skb).packet);
            if (!route.valid) {
                k.count(sk.net, Mib::Ip_OutNoRoutes, k.skb(skb).packet);
                kfree_skb_reason(k, skb, drop::IP_OUTNOROUTES, fn::__ip_queue_xmit);
                return -EHOSTUNREACH;
            }
            k.socket(index).cached_route = route;
        }
        set_dst(k, skb, k.socket(index).cached_route);
    }
    const std::uint32_t segments = std::max<std::uint32_t>(k.skb(skb).gso_segs, 1);
    skb_push(k, skb, ip_header);
    set_network_header(k, skb);
    Ipv4Fields fields;
    fields.source = sk.rcv_saddr;
    fields.destination = sk.daddr;
    fields.protocol = sk_protocol(sk);
    fields.payload_length = static_cast<std::uint16_t>(k.skb(skb).len - ip_header);
    fields.tos = tos;
    fields.ttl = ip_select_ttl(k, sk, k.skb(skb).dst);
    fields.dont_fragment = ip_dont_fragment(sk) && !k.skb(skb).ignore_df;
    Net& net = k.net(sk.net);
    fields.id = net.ip_id;
    net.ip_id = static_cast<std::uint16_t>(net.ip_id + segments); // ip_select_ident_segs()
    write_ipv4(skb_network_writable(k, skb), fields);
    k.skb(skb).priority = rt_tos2priority(tos);
    return ip_local_out(k, skb);
}

int ip_queue_xmit(Kernel& k, SocketIndex sk, SkbIndex skb)
{
    Call call(k, fn::ip_queue_xmit, skb);
    return __ip_queue_xmit(k, sk, skb, k.socket(sk).tos);
}

int ip_build_and_send_pkt(Kernel& k, SkbIndex skb, SocketIndex index, std::uint32_t saddr, std::uint32_t daddr, std::uint8_t tos)
{
    Call call(k, fn::ip_build_and_send_pkt, skb);
    const Socket& sk = k.socket(index);
    skb_push(k, skb, ip_header);
    set_network_header(k, skb);
    Ipv4Fields fields;
    fields.source = saddr;
    fields.destination = daddr;
    fields.protocol = sk_protocol(sk);
    fields.payload_length = static_cast<std::uint16_t>(k.skb(skb).len - ip_header);
    fields.tos = tos;
    fields.ttl = ip_select_ttl(k, sk, k.skb(skb).dst);
    fields.dont_fragment = k.skb(skb).len <= IPV4_MIN_MTU || ip_dont_fragment(sk);
    fields.id = fields.dont_fragment ? std::uint16_t{0} : static_cast<std::uint16_t>(k.random(0x10000));
    write_ipv4(skb_network_writable(k, skb), fields);
    k.skb(skb).priority = rt_tos2priority(tos);
    return ip_local_out(k, skb);
}

} // namespace skbscope::kernel
