// Of net/ipv4/tcp_output.c: how a segment is made: its options and header, its size, how one is cut in two or trimmed.

#include "core/kernel/tcp_output.h"
#include "core/packet/bytes.h"
#include "core/packet/protocols.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t TCP_NUM_SACKS = 4;

void put_be32(std::vector<std::uint8_t>& out, std::uint32_t value)
{
    std::uint8_t bytes[4];
    store_be32(bytes, value);
    out.insert(out.end(), bytes, bytes + 4);
}

std::uint32_t established_options_size(const TcpSock& tp)
{
    std::uint32_t size = tp.rx_opt.tstamp_ok ? TCPOLEN_TSTAMP_ALIGNED : 0;
    const std::uint32_t blocks =
        std::min<std::uint32_t>(tp.rx_opt.num_sacks + (tp.rx_opt.dsack ? 1U : 0U), (40 - size - 4) / 8);
    return size + (blocks > 0 ? 4 + 8 * blocks : 0);
}

/// The bytes of `skb` behind `len` become a new skb; both know their sequence numbers.
SkbIndex split_payload(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t len, std::uint32_t mss_now)
{
    const SkbIndex rest = tcp_stream_alloc_skb(k, index);
    SkBuff& from = k.skb(skb);
    SkBuff& to = k.skb(rest);
    const std::uint32_t moved = from.len - len;
    const auto bytes = from.head.bytes().subspan(from.data + len, moved);
    auto& head = to.head.writable();
    head.resize(std::max<std::size_t>(head.size(), to.tail + moved));
    std::ranges::copy(bytes, head.begin() + to.tail);
    to.tail += moved;
    to.len += moved;
    to.data_len += moved;
    to.nr_frags = std::max<std::uint8_t>(1, from.nr_frags);
    k.field(rest, SkbField::len, 0, to.len);
    k.field(rest, SkbField::data_len, 0, to.data_len);
    k.field(skb, SkbField::len, from.len, len);
    k.field(skb, SkbField::data_len, from.data_len, len);
    from.tail -= moved;
    from.len = len;
    from.data_len = len;
    // skb_split() moves pages; truesize follows the bytes.
    to.truesize += moved;
    from.truesize -= std::min(from.truesize, moved);
    TcpSock& tp = tcp_sk(k, index);
    tp.sk_wmem_queued += to.truesize - moved;
    sk_mem_charge(k, index, to.truesize - moved);
    TcpCb& a = from.tcp;
    TcpCb& b = to.tcp;
    b = TcpCb{};
    b.seq = a.seq + len;
    b.end_seq = a.end_seq;
    a.end_seq = b.seq;
    b.flags = a.flags;
    a.flags &= static_cast<std::uint8_t>(~(tcphdr::fin | tcphdr::psh));
    b.sacked = a.sacked;
    b.sent = a.sent;
    tcp_set_skb_tso_segs(a, from.len, mss_now);
    tcp_set_skb_tso_segs(b, to.len, mss_now);
    return rest;
}

} // namespace

void tcp_init_nondata_skb(Kernel& k, SkbIndex skb, std::uint32_t seq, std::uint8_t flags)
{
    k.field(skb, SkbField::ip_summed, 0, static_cast<std::uint64_t>(IpSummed::partial));
    k.skb(skb).ip_summed = IpSummed::partial;
    TcpCb& cb = tcp_cb(k, skb);
    cb.flags = flags;
    cb.segs = 1;
    cb.mss = 0;
    cb.seq = seq;
    cb.end_seq = seq + ((flags & (tcphdr::syn | tcphdr::fin)) != 0 ? 1 : 0);
}

std::vector<std::uint8_t> syn_options(const SynOptions& opt)
{
    std::vector<std::uint8_t> out;
    out.reserve(40); // a TCP header has no room for more
    out.insert(out.end(),
               {2, 4, static_cast<std::uint8_t>(opt.mss >> 8), static_cast<std::uint8_t>(opt.mss)});
    if (opt.tstamp) {
        out.insert(out.end(), opt.sack ? std::initializer_list<std::uint8_t>{4, 2, 8, 10}
                                       : std::initializer_list<std::uint8_t>{1, 1, 8, 10});
        put_be32(out, opt.tsval);
        put_be32(out, opt.tsecr);
    } else if (opt.sack) {
        out.insert(out.end(), {1, 1, 4, 2});
    }
    if (opt.wscale) {
        out.insert(out.end(), {1, 3, 3, opt.shift});
    }
    return out;
}

std::vector<std::uint8_t> established_options(TcpSock& tp, SimTime sent)
{
    std::vector<std::uint8_t> out;
    if (tp.rx_opt.tstamp_ok) {
        out = {1, 1, 8, 10};
        put_be32(out, tcp_skb_timestamp(sent) + tp.tsoffset);
        put_be32(out, tp.rx_opt.ts_recent);
    }
    const auto room = static_cast<std::uint32_t>((40 - out.size() - 4) / 8);
    const std::uint32_t blocks = std::min<std::uint32_t>(tp.rx_opt.num_sacks + (tp.rx_opt.dsack ? 1U : 0U),
                                                         std::min(room, TCP_NUM_SACKS));
    if (blocks == 0) {
        return out;
    }
    out.insert(out.end(), {1, 1, 5, static_cast<std::uint8_t>(2 + 8 * blocks)});
    for (std::uint32_t i = 0; i < blocks; ++i) {
        const TcpSackBlock& block =
            tp.rx_opt.dsack ? (i == 0 ? tp.duplicate_sack : tp.selective_acks[i - 1]) : tp.selective_acks[i];
        put_be32(out, block.start);
        put_be32(out, block.end);
    }
    tp.rx_opt.dsack = false;
    return out;
}

void write_header(Kernel& k, SkbIndex skb, const TcpFlow& flow, std::uint32_t ack, std::uint16_t window,
                  std::uint8_t flags, std::span<const std::uint8_t> options)
{
    const auto size = static_cast<std::uint32_t>(20 + options.size());
    std::uint8_t* th = skb_push(k, skb, size);
    store_be16(th, flow.sport);
    store_be16(th + 2, flow.dport);
    store_be32(th + 4, tcp_cb(k, skb).seq);
    store_be32(th + 8, ack);
    th[12] = static_cast<std::uint8_t>((size / 4) << 4);
    th[13] = flags;
    store_be16(th + 14, window);
    store_be16(th + 16, 0);
    store_be16(th + 18, 0);
    std::ranges::copy(options, th + 20);
    SkBuff& buff = k.skb(skb);
    k.field(skb, SkbField::transport_header, buff.transport_header, buff.data);
    buff.transport_header = static_cast<std::uint16_t>(buff.data);
}

std::uint32_t tcp_init_tso_segs(Kernel& k, SkbIndex skb, std::uint32_t mss_now)
{
    TcpCb& cb = tcp_cb(k, skb);
    if (cb.segs == 0 || (cb.segs > 1 && cb.mss != mss_now)) {
        tcp_set_skb_tso_segs(cb, tcp_skb_payload(k, skb), mss_now);
    }
    return cb.segs;
}

void tso_fragment(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t len, std::uint32_t mss_now)
{
    Call call(k, fn::tso_fragment, skb);
    const SkbIndex rest = split_payload(k, index, skb, len, mss_now);
    TcpSock& tp = tcp_sk(k, index);
    const auto place = std::ranges::find(tp.write_queue, skb);
    tp.write_queue.insert(place + 1, rest);
    k.enqueue(tp.write_queue_id, k.skb(rest).packet, fn::tso_fragment);
}

void tcp_fragment(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t len, std::uint32_t mss_now,
                  bool in_rtx_queue)
{
    Call call(k, fn::tcp_fragment, skb);
    TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t before_count = tcp_skb_pcount(k, skb);
    const SkbIndex rest = split_payload(k, index, skb, len, mss_now);
    auto& queue = in_rtx_queue ? tp.rtx_queue : tp.write_queue;
    queue.insert(std::ranges::find(queue, skb) + 1, rest);
    k.enqueue(tp.write_queue_id, k.skb(rest).packet, fn::tcp_fragment);
    if (in_rtx_queue && !before(tp.snd_nxt, tcp_cb(k, rest).end_seq)) {
        const std::uint32_t now_count = tcp_skb_pcount(k, skb) + tcp_skb_pcount(k, rest);
        const std::uint32_t diff =
            now_count - before_count; // tcp_adjust_pcount(); may wrap below zero, and back
        tp.packets_out += diff;
        const std::uint8_t sacked = tcp_cb(k, skb).sacked;
        tp.sacked_out += (sacked & tcpcb::sacked_acked) != 0 ? diff : 0;
        tp.retrans_out += (sacked & tcpcb::sacked_retrans) != 0 ? diff : 0;
        tp.lost_out += (sacked & tcpcb::lost) != 0 ? diff : 0;
    }
}

std::uint32_t tcp_skb_payload(Kernel& k, SkbIndex skb) { return k.skb(skb).len; }

void tcp_set_skb_tso_segs(TcpCb& cb, std::uint32_t len, std::uint32_t mss_now)
{
    if (len <= mss_now) {
        cb.segs = 1;
        cb.mss = 0;
        return;
    }
    cb.segs = static_cast<std::uint16_t>((len + mss_now - 1) / mss_now);
    cb.mss = static_cast<std::uint16_t>(mss_now);
}

std::uint32_t tcp_sync_mss(Kernel& k, SocketIndex index)
{
    TcpSock& tp = tcp_sk(k, index);
    const Destination& dst = k.socket(index).cached_route;
    const std::uint32_t mtu = dst.valid && dst.device != nothing ? k.device(dst.device).mtu : 1500;
    // tcp_mtu_to_mss(): less the fixed headers, no more than the peer takes, less the options that are always there.
    std::uint32_t mss = std::min<std::uint32_t>(mtu - 40, tp.rx_opt.mss_clamp);
    mss = std::max<std::uint32_t>(mss, static_cast<std::uint32_t>(tcp_sysctl(k, index).tcp_min_snd_mss));
    mss -= tp.tcp_header_len - 20U;
    if (tp.max_window != 0) {
        const std::uint32_t cutoff = tp.max_window > TCP_MSS_DEFAULT ? tp.max_window >> 1 : tp.max_window;
        mss = std::min(mss, std::max(cutoff, 68U - tp.tcp_header_len));
    }
    tp.mss_cache = std::max(mss, 1U);
    return tp.mss_cache;
}

std::uint32_t tcp_current_mss(Kernel& k, SocketIndex index)
{
    const TcpSock& tp = tcp_sk(k, index);
    const std::uint32_t header_len = 20 + established_options_size(tp);
    // SACK blocks make this segment's header longer than usual.
    return header_len > tp.tcp_header_len ? tp.mss_cache - (header_len - tp.tcp_header_len) : tp.mss_cache;
}

SkbIndex tcp_make_synack(Kernel& k, std::int32_t row)
{
    Call call(k, fn::tcp_make_synack);
    const TcpRequest req = tcp_request(k, row);
    const SkbIndex skb = tcp_alloc_control_skb(k);
    TcpCb& cb = tcp_cb(k, skb);
    cb.seq = req.snt_isn;
    cb.end_seq = req.snt_isn + 1;
    cb.flags = tcphdr::syn | tcphdr::ack;
    cb.segs = 1;
    SynOptions opt;
    opt.mss = static_cast<std::uint16_t>(tcp_sk(k, req.listener).advmss);
    opt.tstamp = req.tstamp_ok;
    opt.sack = req.sack_ok;
    opt.wscale = req.wscale_ok;
    opt.shift = req.rcv_wscale;
    const std::uint32_t ts_now = tcp_skb_timestamp(k.cpu().now);
    if (req.snt_synack == SimTime{}) {
        tcp_request(k, row).snt_synack = k.cpu().now; // of the first SYN-ACK
    }
    opt.tsval =
        (is_cookie(req) ? cookie_init_timestamp(k, req, ts_now, k.skb(skb).packet) : ts_now) + req.ts_off;
    opt.tsecr = req.ts_recent;
    const auto options = syn_options(opt);
    write_header(k, skb, req.flow, req.rcv_nxt, static_cast<std::uint16_t>(std::min(req.rsk_rcv_wnd, 65535U)),
                 cb.flags, options);
    // skb_set_owner_w() of a request, which is no full socket: on nobody's account (sock_edemux() only drops a reference)
    SkBuff& buff = k.skb(skb);
    buff.ip_summed = IpSummed::partial;
    buff.protocol = proto::eth_p_ip;
    k.count(req.flow.net, Mib::Tcp_OutSegs, buff.packet);
    k.trace.mutable_packet(buff.packet).flow = FlowKey{IpAddress::v4(req.flow.saddr),
                                                       IpAddress::v4(req.flow.daddr),
                                                       proto::ipproto_tcp,
                                                       proto::eth_p_ip,
                                                       req.flow.sport,
                                                       req.flow.dport};
    return skb;
}

void tcp_trim_acked(Kernel& k, SocketIndex index, SkbIndex skb, std::uint32_t bytes)
{
    Call call(k, fn::tcp_trim_head, skb);
    SkBuff& buff = k.skb(skb);
    k.field(skb, SkbField::data, buff.data, buff.data + bytes);
    k.field(skb, SkbField::len, buff.len, buff.len - bytes);
    buff.data += bytes; // the model's payload is one run of bytes: the front just falls away
    buff.len -= bytes;
    buff.data_len -= std::min(buff.data_len, bytes);
    tcp_cb(k, skb).seq += bytes;
    const std::uint32_t freed = std::min(bytes, buff.truesize);
    buff.truesize -= freed;
    TcpSock& tp = tcp_sk(k, index);
    tp.sk_wmem_queued -= std::min(tp.sk_wmem_queued, freed);
    sk_mem_uncharge(k, index, freed);
    if (tcp_cb(k, skb).segs > 1) {
        tcp_set_skb_tso_segs(tcp_cb(k, skb), buff.len, tcp_cb(k, skb).mss);
    }
}

} // namespace skbscope::kernel
