// net/ipv4/syncookies.c: a listener whose queue of half-open connections is full answers without remembering. What it would
// have remembered stands in the sequence number of its SYN-ACK and in the lowest bits of its timestamp, and comes back with the
// ACK. (Only calls of functions that the catalog knows are recorded; those of this file it does not.)

#include "core/kernel/tcp_functions.h"

#include <array>

namespace skbscope::kernel {

namespace {

constexpr unsigned COOKIEBITS = 24;
constexpr std::uint32_t COOKIEMASK = (1U << COOKIEBITS) - 1;
constexpr std::uint32_t MAX_SYNCOOKIE_AGE = 2; // minutes
constexpr std::uint32_t TCP_SYNCOOKIE_PERIOD = 60 * TCP_HZ,
                        TCP_SYNCOOKIE_VALID = MAX_SYNCOOKIE_AGE * TCP_SYNCOOKIE_PERIOD;
constexpr std::uint32_t TS_OPT_WSCALE_MASK = 0xf, TS_OPT_SACK = 0x10, TSBITS = 6;
constexpr std::array<std::uint16_t, 4> msstab = {536, 1300, 1440, 1460};

/// The kernel's hash is keyed with what it drew at boot; the model's key is the same in every run, so that runs repeat.
std::uint32_t keyed_hash(const TcpFlow& flow, std::uint32_t count, std::uint64_t key)
{
    std::uint64_t z = key;
    for (const std::uint64_t part :
         {std::uint64_t{flow.saddr} << 32 | flow.daddr,
          std::uint64_t{flow.sport} << 48 | std::uint64_t{flow.dport} << 32 | count}) {
        z = (z ^ part) + 0x9e3779b97f4a7c15ULL;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        z ^= z >> 31;
    }
    return static_cast<std::uint32_t>(z);
}

constexpr std::uint64_t key_of_all = 0x736b6273636f7065ULL, key_of_minute = 0x73796e636f6f6b69ULL,
                        key_of_timestamps = 0x74735f6f66667365ULL;

std::uint32_t tcp_cookie_time(Kernel& k) { return tcp_jiffies32(k) / TCP_SYNCOOKIE_PERIOD; }

/// secure_tcp_ts_off(): of the flow alone, as nobody remembers what was drawn for it.
std::uint32_t ts_off(const TcpFlow& flow) { return keyed_hash(flow, 0, key_of_timestamps); }

std::uint32_t cookie_hash(Kernel& k, const TcpFlow& flow, std::uint32_t count, std::uint64_t key,
                          PacketId packet)
{
    Call call(k, fn::cookie_hash, packet);
    return keyed_hash(flow, count, key);
}

/// 0: this is no cookie of ours, or one too old; else the MSS it bears.
std::uint16_t __cookie_v4_check(Kernel& k, const TcpFlow& flow, std::uint32_t cookie, std::uint32_t sseq,
                                PacketId packet)
{
    Call call(k, fn::__cookie_v4_check, packet);
    cookie -= cookie_hash(k, flow, 0, key_of_all, packet) + sseq;
    const std::uint32_t count = tcp_cookie_time(k);
    const std::uint32_t diff = (count - (cookie >> COOKIEBITS)) & (~std::uint32_t{0} >> COOKIEBITS);
    if (diff >= MAX_SYNCOOKIE_AGE) {
        return 0;
    }
    const std::uint32_t data =
        (cookie - cookie_hash(k, flow, count - diff, key_of_minute, packet)) & COOKIEMASK;
    return data < msstab.size() ? msstab[data] : std::uint16_t{0};
}

/// tcp_synq_overflow(): the mark moves only when it is more than a second old.
void note_synq_overflow(Kernel& k, TcpSock& tp)
{
    const std::int64_t now = std::int64_t{tcp_jiffies32(k)} + 1;
    if (tp.synq_overflow_ts == 0 || now - tp.synq_overflow_ts > TCP_HZ) {
        tp.synq_overflow_ts = now;
    }
}

bool tcp_synq_no_recent_overflow(Kernel& k, const TcpSock& tp)
{
    const std::int64_t age = std::int64_t{tcp_jiffies32(k)} + 1 - tp.synq_overflow_ts;
    return tp.synq_overflow_ts == 0 || age > TCP_SYNCOOKIE_VALID;
}

/// False: an option that is switched off here.
bool cookie_timestamp_decode(Kernel& k, const Sysctls& sysctl, TcpOptions& opt, PacketId packet)
{
    Call call(k, fn::cookie_timestamp_decode, packet);
    const std::uint32_t bits = opt.rcv_tsecr;
    opt.sack_ok = opt.wscale_ok = false;
    opt.snd_wscale = 0;
    if (!opt.saw_tstamp) {
        return true;
    }
    opt.sack_ok = (bits & TS_OPT_SACK) != 0;
    if (sysctl.tcp_timestamps == 0 || (opt.sack_ok && sysctl.tcp_sack == 0)) {
        return false;
    }
    if ((bits & TS_OPT_WSCALE_MASK) == TS_OPT_WSCALE_MASK) {
        return true; // no window scaling
    }
    opt.wscale_ok = true;
    opt.snd_wscale = static_cast<std::uint8_t>(bits & TS_OPT_WSCALE_MASK);
    return sysctl.tcp_window_scaling != 0;
}

/// What the cookie stands for, only while the connection is made of it.
std::int32_t cookie_tcp_reqsk_alloc(Kernel& k, PacketId packet)
{
    Call call(k, fn::cookie_tcp_reqsk_alloc, packet);
    if (k.profile() >= Profile::v6_12) {
        Call init(k, fn::cookie_tcp_reqsk_init, packet);
    }
    return new_request(k);
}

} // namespace

void cookie_init_sequence(Kernel& k, SocketIndex listener, TcpRequest& req, PacketId syn)
{
    note_synq_overflow(k, tcp_sk(k, listener));
    k.count(k.sock_net(listener), Mib::TcpExt_SyncookiesSent, syn);
    Call call(k, fn::cookie_v4_init_sequence, syn);
    Call inner(k, fn::__cookie_v4_init_sequence, syn);
    std::uint32_t mssind = msstab.size() - 1;
    while (mssind > 0 && req.mss < msstab[mssind]) {
        --mssind;
    }
    req.mss = msstab[mssind];
    const std::uint32_t count = tcp_cookie_time(k);
    const std::uint32_t base =
        cookie_hash(k, req.flow, 0, key_of_all, syn) + req.rcv_isn + (count << COOKIEBITS);
    req.snt_isn = base + ((cookie_hash(k, req.flow, count, key_of_minute, syn) + mssind) & COOKIEMASK);
    req.ts_off = req.tstamp_ok ? ts_off(req.flow) : 0;
    req.timeout = 0; // nothing will send its SYN-ACK again
}

std::uint32_t cookie_init_timestamp(Kernel& k, const TcpRequest& req, std::uint32_t ts_now, PacketId syn_ack)
{
    Call call(k, fn::cookie_init_timestamp, syn_ack);
    const std::uint32_t options =
        (req.wscale_ok ? req.snd_wscale : TS_OPT_WSCALE_MASK) | (req.sack_ok ? TS_OPT_SACK : 0);
    const std::uint32_t ts = (ts_now >> TSBITS << TSBITS) | options;
    return ts > ts_now ? ts - (1U << TSBITS) : ts;
}

SocketIndex cookie_v4_check(Kernel& k, SocketIndex listener, SkbIndex skb)
{
    const NetIndex net = k.sock_net(listener);
    const Sysctls& sysctl = k.net(net).sysctl;
    const TcpHeader th = tcp_hdr(k, skb);
    const PacketId packet = k.skb(skb).packet;
    Call call(k, fn::cookie_v4_check, packet);
    TcpSock& tp = tcp_sk(k, listener);
    if (sysctl.tcp_syncookies == 0 || !th.ack() || th.rst() || tcp_synq_no_recent_overflow(k, tp)) {
        return listener;
    }
    const TcpFlow flow = flow_of_segment(k, skb);
    const std::uint32_t cookie = th.ack_seq - 1;
    const std::uint16_t mss = __cookie_v4_check(k, flow, cookie, th.seq - 1, packet);
    if (mss == 0) {
        k.count(net, Mib::TcpExt_SyncookiesFailed, packet);
        return listener;
    }
    k.count(net, Mib::TcpExt_SyncookiesRecv, packet);
    TcpOptions opt;
    tcp_parse_options(k, net, th, opt, false, nullptr);
    const bool echoes = opt.saw_tstamp && opt.rcv_tsecr != 0;
    opt.rcv_tsecr -= echoes ? ts_off(flow) : 0;
    if (!cookie_timestamp_decode(k, sysctl, opt, packet)) {
        return listener;
    }
    const std::int32_t row = cookie_tcp_reqsk_alloc(k, packet);
    TcpRequest& req = tcp_request(k, row);
    req.flow = flow;
    req.listener = listener;
    req.rcv_isn = th.seq - 1;
    req.rcv_nxt = th.seq;
    req.snt_isn = cookie;
    req.mss = mss;
    req.snd_wscale = opt.snd_wscale;
    req.sack_ok = opt.sack_ok;
    req.wscale_ok = opt.wscale_ok;
    req.tstamp_ok = opt.saw_tstamp;
    req.ts_recent = opt.saw_tstamp ? opt.rcv_tsval : 0;
    req.ts_off = echoes ? ts_off(flow) : 0;
    req.timeout = 0;
    const Destination route = ip_route_output_flow(k, net, flow.daddr, flow.saddr, packet);
    if (!route.valid) {
        free_request(k, row);
        return nothing;
    }
    const std::int64_t full_space = tcp_full_space(k, listener);
    req.window_clamp = tp.window_clamp;
    if (tp.rcvbuf_locked && (req.window_clamp > full_space || req.window_clamp == 0)) {
        req.window_clamp = static_cast<std::uint32_t>(full_space);
    }
    tcp_select_initial_window(k, net, full_space, req.mss, req.rsk_rcv_wnd, req.window_clamp, req.wscale_ok,
                              req.rcv_wscale);
    if (k.profile() < Profile::v6_12) { // inline since
        Call ecn(k, fn::cookie_ecn_ok, packet);
    }
    Call get(k, fn::tcp_get_cookie_sock, packet);
    const SocketIndex child = tcp_v4_syn_recv_sock(k, listener, skb, row);
    if (child != nothing) { // inet_csk_reqsk_queue_add()
        tcp_sk(k, child).parent = listener;
        tcp_sk(k, listener).accept_queue.push_back(child);
    }
    free_request(k, row);
    return child;
}

} // namespace skbscope::kernel
