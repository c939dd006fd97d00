// net/core/gro.c, and the network layer's callbacks of net/ipv4/af_inet.c, net/ipv6/ip6_offload.c and udp_offload.c: segments
// of one flow become one large packet, held for at most a poll. A plain UDP datagram is not held: it passes with GRO_NORMAL
// and waits in napi->rx_list for its batch.

#include "core/kernel/functions.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <cerrno>

namespace skbscope::kernel {

namespace {

constexpr std::size_t MAX_GRO_SKBS = 8;
constexpr std::uint32_t GRO_LEGACY_MAX_SIZE = 65536;
constexpr std::uint32_t GRO_HASH_BUCKETS = 8;
constexpr std::uint8_t MAX_SKB_FRAGS = 17;

enum class GroResult : std::uint8_t { merged, merged_free, held, normal };

std::uint64_t jiffies(Kernel& k)
{
    return static_cast<std::uint64_t>(k.cpu().now.ns) / 4'000'000; // HZ=250
}

// ---- transport: who takes which protocol -----------------------------------------------------------------------------------

/// Verifies the checksum where nobody has yet; what is right is then CHECKSUM_UNNECESSARY. False: it is wrong.
bool gro_checksum_ok(Kernel& k, SkbIndex skb, std::uint16_t given, bool (*right)(Kernel&, SkbIndex))
{
    if (k.skb(skb).ip_summed == IpSummed::unnecessary) {
        return true;
    }
    if (given != 0) {
        k.spend(k.costs().copy(static_cast<std::uint64_t>(skb_gro_data(k, skb).size())));
        if (!right(k, skb)) {
            return false;
        }
    }
    k.field(skb, SkbField::ip_summed, static_cast<std::uint64_t>(k.skb(skb).ip_summed), static_cast<std::uint64_t>(IpSummed::unnecessary));
    k.skb(skb).ip_summed = IpSummed::unnecessary;
    return true;
}

bool udp4_sum_right(Kernel& k, SkbIndex skb)
{
    const auto ip = Ipv4View::checked(skb_network(k, skb));
    return ip && transport_checksum(ip->source(), ip->destination(), proto::ipproto_udp, skb_gro_data(k, skb)) == 0;
}

bool udp6_sum_right(Kernel& k, SkbIndex skb)
{
    const auto ip = Ipv6View::checked(skb_network(k, skb));
    return ip && transport_checksum(ip->source(), ip->destination(), proto::ipproto_udp, skb_gro_data(k, skb)) == 0;
}

/// Without a socket that wants it (UDP_GRO) and without NETIF_F_GRO_FRAGLIST or _UDP_FWD nothing is merged.
SkbIndex udp_gro_receive(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::udp_gro_receive, skb);
    k.skb(skb).gro.flush = true;
    return nothing;
}

SkbIndex udp_gro(Kernel& k, SkbIndex skb, bool (*right)(Kernel&, SkbIndex))
{
    const auto udp = UdpView::checked(skb_gro_data(k, skb));
    if (!udp) {
        k.skb(skb).gro.flush = true;
        return nothing;
    }
    // The sum is not looked at where the packet is handed up anyhow.
    if (!k.skb(skb).gro.flush && !gro_checksum_ok(k, skb, udp->checksum(), right)) {
        k.skb(skb).gro.flush = true;
        return nothing;
    }
    return udp_gro_receive(k, skb);
}

SkbIndex udp4_gro_receive(Kernel& k, GroList&, SkbIndex skb)
{
    Call call(k, fn::udp4_gro_receive, skb);
    return udp_gro(k, skb, udp4_sum_right);
}

SkbIndex udp6_gro_receive(Kernel& k, GroList&, SkbIndex skb)
{
    Call call(k, fn::udp6_gro_receive, skb);
    return udp_gro(k, skb, udp6_sum_right);
}

/// inet_offloads, inet6_offloads
struct TransportOffload {
    std::uint8_t protocol;
    SkbIndex (*gro_receive)(Kernel&, GroList&, SkbIndex);
    void (*gro_complete)(Kernel&, SkbIndex, std::uint32_t transport_offset); ///< null: it never holds any
};

constexpr TransportOffload inet_offloads[] = {
    {proto::ipproto_tcp, tcp4_gro_receive, tcp4_gro_complete},
    {proto::ipproto_udp, udp4_gro_receive, nullptr},
};

constexpr TransportOffload inet6_offloads[] = {
    {proto::ipproto_udp, udp6_gro_receive, nullptr},
};

const TransportOffload* find_offload(std::span<const TransportOffload> table, std::uint8_t protocol)
{
    const auto found = std::ranges::find(table, protocol, &TransportOffload::protocol);
    return found == table.end() ? nullptr : &*found;
}

// ---- network ------------------------------------------------------------------------------------------------------------------

SkbIndex not_for_gro(Kernel& k, SkbIndex skb)
{
    k.skb(skb).gro.flush = true;
    return nothing;
}

bool same_ipv4_flow(Kernel& k, SkbIndex held, const Ipv4View& ip)
{
    const auto other = Ipv4View::unchecked(skb_network(k, held));
    return other.protocol() == ip.protocol() && other.source() == ip.source() && other.destination() == ip.destination();
}

/// What must be equal in a merged packet, and whether the IP ids count up.
void compare_ipv4(Kernel& k, SkbIndex held, SkbIndex skb, const Ipv4View& ip, bool flush)
{
    const auto other = Ipv4View::unchecked(skb_network(k, held));
    GroCb& cb = k.skb(held).gro;
    cb.flush = cb.flush || other.ttl() != ip.ttl() || other.tos() != ip.tos() || other.dont_fragment() != ip.dont_fragment() || flush;
    auto id_step = static_cast<std::uint16_t>(ip.id() - other.id());
    if (!cb.is_atomic || !ip.dont_fragment()) {
        id_step ^= cb.count;
        id_step = id_step != 0 ? 0xffff : 0;
    }
    cb.flush_id = k.skb(skb).gro.is_atomic ? id_step : static_cast<std::uint16_t>(cb.flush_id | id_step);
}

SkbIndex inet_gro_receive(Kernel& k, GroList& head, SkbIndex skb)
{
    Call call(k, fn::inet_gro_receive, skb);
    const auto ip = Ipv4View::checked(skb_gro_data(k, skb));
    const TransportOffload* offload = ip ? find_offload(inet_offloads, ip->protocol()) : nullptr;
    if (offload == nullptr || ip->version() != 4 || ip->header_length() != 20 || ip->is_fragment() || !ipv4_checksum_ok(ip->header())) {
        return not_for_gro(k, skb);
    }
    const bool padded = ip->total_length() != skb_gro_data(k, skb).size(); // what came is not what it says
    for (const SkbIndex held : head) {
        GroCb& cb = k.skb(held).gro;
        if (cb.same_flow && !same_ipv4_flow(k, held, *ip)) {
            cb.same_flow = false;
        }
        if (cb.same_flow) {
            compare_ipv4(k, held, skb, *ip, padded);
        }
    }
    GroCb& own = k.skb(skb).gro;
    own.is_atomic = ip->dont_fragment();
    own.flush = own.flush || padded;
    own.data_offset += 20;
    set_transport_header(k, skb, 20);
    return offload->gro_receive(k, head, skb);
}

SkbIndex ipv6_gro_receive(Kernel& k, GroList& head, SkbIndex skb)
{
    Call call(k, fn::ipv6_gro_receive, skb);
    const auto ip = Ipv6View::checked(skb_gro_data(k, skb));
    const TransportOffload* offload = ip ? find_offload(inet6_offloads, ip->next_header()) : nullptr;
    if (offload == nullptr) {
        return not_for_gro(k, skb);
    }
    constexpr std::uint32_t header = 40;
    GroCb& own = k.skb(skb).gro;
    own.flush = own.flush || ip->payload_length() + header != skb_gro_data(k, skb).size();
    for (const SkbIndex held : head) {
        k.skb(held).gro.same_flow = false; // no transport of IPv6 holds any here
    }
    own.data_offset += header;
    set_transport_header(k, skb, header);
    return offload->gro_receive(k, head, skb);
}

void inet_gro_complete(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::inet_gro_complete, skb);
    auto ip = MutableIpv4View::unchecked(skb_network_writable(k, skb));
    ip.set_total_length(static_cast<std::uint16_t>(k.skb(skb).len));
    ip.set_checksum(0);
    ip.set_checksum(ip_fast_csum(ip.header()));
    if (const TransportOffload* offload = find_offload(inet_offloads, ip.protocol()); offload != nullptr && offload->gro_complete != nullptr) {
        offload->gro_complete(k, skb, ip.header_length());
    }
}

// ---- gro.c -----------------------------------------------------------------------------------------------------------------------

void gro_normal_one(Kernel& k, NapiIndex index, SkbIndex skb, std::uint32_t segments)
{
    Call call(k, fn::gro_normal_one, skb);
    Napi& napi = k.napi(index);
    napi.rx_list.push_back(skb);
    napi.rx_count += segments;
    k.enqueue(napi.rx_list_queue, k.skb(skb).packet, fn::gro_normal_one);
    if (static_cast<std::int64_t>(napi.rx_count) >= k.core_sysctl().gro_normal_batch) {
        gro_normal_list(k, index);
    }
}

void napi_gro_complete(Kernel& k, NapiIndex napi, SkbIndex skb)
{
    Call call(k, fn::napi_gro_complete, skb);
    const std::uint16_t segments = k.skb(skb).gro.count;
    if (segments == 1) {
        k.skb(skb).gso_size = 0;
    } else if (k.skb(skb).protocol == proto::eth_p_ip) {
        inet_gro_complete(k, skb);
    }
    gro_normal_one(k, napi, skb, segments);
}

/// Which of the held are of the same flow as far as hash, device and Ethernet header say.
void gro_list_prepare(Kernel& k, GroList& list, SkbIndex skb)
{
    const SkBuff& fresh = k.skb(skb);
    constexpr std::size_t eth_hlen = 14;
    const auto mac = [&](const SkBuff& of) {
        const auto from = of.head.bytes().subspan(std::min<std::size_t>(of.mac_header, of.head.size()));
        return from.first(std::min(from.size(), eth_hlen));
    };
    for (const SkbIndex held : list) {
        SkBuff& other = k.skb(held);
        other.gro.flush = false;
        other.gro.same_flow = other.hash == fresh.hash && other.device == fresh.device && std::ranges::equal(mac(other), mac(fresh));
    }
}

GroResult hold(Kernel& k, NapiIndex napi, GroList& list, SkbIndex skb)
{
    if (list.size() >= MAX_GRO_SKBS) {
        const SkbIndex oldest = list.back();
        list.pop_back();
        napi_gro_complete(k, napi, oldest);
    }
    SkBuff& held = k.skb(skb);
    held.gro.age = jiffies(k);
    if (held.gso_size == 0) {
        held.gso_size = static_cast<std::uint16_t>(skb_gro_data(k, skb).size());
    }
    list.insert(list.begin(), skb);
    return GroResult::held;
}

/// gro_pull_from_frag0(): headers that lie in a page go into the head.
void pull_headers(Kernel& k, SkbIndex skb)
{
    SkBuff& buff = k.skb(skb);
    const std::uint32_t linear = buff.len - buff.data_len;
    if (buff.gro.data_offset <= linear) {
        return;
    }
    Call call(k, fn::gro_pull_from_frag0, skb);
    const std::uint32_t grow = std::min(buff.gro.data_offset - linear, buff.data_len);
    k.field(skb, SkbField::data_len, buff.data_len, buff.data_len - grow);
    k.skb(skb).data_len -= grow;
}

GroResult dev_gro_receive(Kernel& k, NapiIndex napi, SkbIndex skb)
{
    Call call(k, fn::dev_gro_receive, skb);
    GroList& list = k.napi(napi).gro_hash[k.skb(skb).hash % GRO_HASH_BUCKETS];
    const std::uint16_t protocol = k.skb(skb).protocol;
    k.skb(skb).gro = GroCb{};
    k.skb(skb).gro.count = 1;
    if (!k.device(k.skb(skb).device).gro) {
        return GroResult::normal; // netif_elide_gro()
    }
    gro_list_prepare(k, list, skb);
    if (protocol != proto::eth_p_ip && protocol != proto::eth_p_ipv6) {
        return GroResult::normal;
    }
    set_network_header(k, skb);
    const SkbIndex done = protocol == proto::eth_p_ip ? inet_gro_receive(k, list, skb) : ipv6_gro_receive(k, list, skb);
    const bool same_flow = k.skb(skb).gro.same_flow;
    const bool free = k.skb(skb).gro.free;
    if (done != nothing) {
        std::erase(list, done);
        napi_gro_complete(k, napi, done);
    }
    if (same_flow) {
        return free ? GroResult::merged_free : GroResult::merged;
    }
    const GroResult result = k.skb(skb).gro.flush ? GroResult::normal : hold(k, napi, list, skb);
    pull_headers(k, skb);
    return result;
}

void napi_skb_finish(Kernel& k, NapiIndex napi, SkbIndex skb, GroResult result)
{
    Call call(k, fn::napi_skb_finish, skb);
    switch (result) {
    case GroResult::normal: gro_normal_one(k, napi, skb, 1); break;
    case GroResult::merged_free:
    case GroResult::merged: skb_merged(k, skb, fn::skb_gro_receive, result == GroResult::merged_free); break;
    case GroResult::held: break;
    }
}

/// How many bytes of memory move to the packet that takes the data over, and whether a shell is left to free.
struct Moved {
    std::uint32_t truesize;
    bool shell_left;
    std::uint8_t fragments;
};

Moved take_over(const SkBuff& skb, std::uint8_t fragments_there)
{
    const std::uint32_t linear = skb.len - skb.data_len;
    const auto end_offset = static_cast<std::uint32_t>(skb.head.size());
    if (linear <= skb.gro.data_offset && fragments_there + skb.nr_frags <= MAX_SKB_FRAGS) {
        const std::uint32_t shell = std::min(skb.truesize, end_offset + sizeof_sk_buff + sizeof_skb_shared_info);
        return {skb.truesize - shell, true, static_cast<std::uint8_t>(fragments_there + skb.nr_frags)};
    }
    if (linear > skb.gro.data_offset && skb.head_frag && fragments_there + 1 + skb.nr_frags <= MAX_SKB_FRAGS) {
        return {skb.truesize - sizeof_sk_buff, true, static_cast<std::uint8_t>(fragments_there + 1 + skb.nr_frags)};
    }
    return {skb.truesize, false, skb.nr_frags}; // linked behind, whole: frag_list
}

} // namespace

std::span<const std::uint8_t> skb_gro_data(Kernel& k, SkbIndex skb)
{
    const auto data = skb_data(k, skb);
    return data.subspan(std::min<std::size_t>(k.skb(skb).gro.data_offset, data.size()));
}

int skb_gro_receive(Kernel& k, SkbIndex held, SkbIndex skb)
{
    Call call(k, fn::skb_gro_receive, skb);
    const auto payload = skb_gro_data(k, skb);
    const auto length = static_cast<std::uint32_t>(payload.size());
    // dev->gro_max_size since 5.19; above 64 KiB only IPv6 goes, and no profile here has such segments.
    const DeviceIndex device = k.skb(held).device;
    const std::uint32_t largest = k.profile() == Profile::v5_10 || device == nothing ? GRO_LEGACY_MAX_SIZE : std::min(k.device(device).gro_max_size, GRO_LEGACY_MAX_SIZE);
    if (k.skb(held).len + length >= largest || k.skb(skb).gro.flush) {
        return -E2BIG;
    }
    SkBuff& to = k.skb(held);
    const Moved moved = take_over(k.skb(skb), to.gro.last_frags);
    to.gro.last_frags = moved.fragments;
    to.nr_frags = static_cast<std::uint8_t>(std::min<unsigned>(to.nr_frags + 1U, MAX_SKB_FRAGS));
    auto& bytes = to.head.writable();
    bytes.resize(to.tail);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    k.field(held, SkbField::len, to.len, to.len + length);
    k.field(held, SkbField::data_len, to.data_len, to.data_len + length);
    k.field(held, SkbField::truesize, to.truesize, to.truesize + moved.truesize);
    to.tail += length;
    to.len += length;
    to.data_len += length;
    to.truesize += moved.truesize;
    to.gro.count = static_cast<std::uint16_t>(to.gro.count + k.skb(skb).gro.count);
    k.emit(EventKind::merge, k.skb(skb).packet, fn::skb_gro_receive, to_index(to.packet));
    k.trace.mutable_packet(k.skb(skb).packet).merged_into = to.packet;
    k.skb(skb).gro.free = moved.shell_left;
    k.skb(skb).gro.same_flow = true;
    return 0;
}

void gro_normal_list(Kernel& k, NapiIndex index)
{
    if (k.napi(index).rx_list.empty()) {
        return;
    }
    Call call(k, fn::gro_normal_list);
    SkbList list = std::move(k.napi(index).rx_list);
    k.napi(index).rx_list.clear();
    k.napi(index).rx_count = 0;
    for (const SkbIndex skb : list) {
        k.dequeue(k.napi(index).rx_list_queue, k.skb(skb).packet, fn::gro_normal_list);
    }
    netif_receive_skb_list_internal(k, std::move(list));
}

void napi_gro_flush(Kernel& k, NapiIndex index, bool flush_old)
{
    const bool holds = std::ranges::any_of(k.napi(index).gro_hash, [](const GroList& list) { return !list.empty(); });
    if (!holds) {
        return;
    }
    Call call(k, fn::napi_gro_flush);
    for (std::size_t bucket = 0; bucket < GRO_HASH_BUCKETS; ++bucket) {
        while (!k.napi(index).gro_hash[bucket].empty()) { // the oldest first
            const SkbIndex skb = k.napi(index).gro_hash[bucket].back();
            if (flush_old && k.skb(skb).gro.age == jiffies(k)) {
                break;
            }
            k.napi(index).gro_hash[bucket].pop_back();
            napi_gro_complete(k, index, skb);
        }
    }
}

void napi_gro_receive(Kernel& k, NapiIndex napi, SkbIndex skb)
{
    Call call(k, fn::napi_gro_receive, skb);
    const GroResult result = dev_gro_receive(k, napi, skb);
    napi_skb_finish(k, napi, skb, result);
}

} // namespace skbscope::kernel
