// net/core/skbuff.c and include/linux/skbuff.h: sk_buffs are born, pushed, pulled and freed here.

#include "core/kernel/functions.h"
#include "core/packet/build.h"
#include "core/packet/bytes.h"
#include "core/packet/checksum.h"
#include "core/packet/protocols.h"
#include "core/packet/views.h"

#include <algorithm>
#include <bit>
#include <memory>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t NET_SKB_PAD = 64; // include/linux/skbuff.h: max(32, L1_CACHE_BYTES)
constexpr std::uint32_t align64(std::uint32_t n) { return (n + 63) & ~63U; }
/// The slab that kmalloc() takes for that many bytes.
constexpr std::uint32_t kmalloc_size_roundup(std::uint32_t n) { return std::bit_ceil(std::max(n, 64U)); }

/// SKB_SMALL_HEAD_CACHE_SIZE: since 6.3 short heads have a slab of their own, MAX_TCP_HEADER and the shared info long. How long that
/// is hangs on the build (which links may ask for headroom): Debian's 6.12 has 704, the 6.18 at hand 576. 0: no such slab.
std::uint32_t small_head_cache_size(Profile profile)
{
    return profile >= Profile::v6_18 ? 576 : profile == Profile::v6_12 ? 704 : 0;
}

/// kmalloc_reserve(): what is taken for a head of `size` bytes and its shared info.
std::uint32_t head_object(Profile profile, std::uint32_t size)
{
    const std::uint32_t needed = align64(size) + sizeof_skb_shared_info;
    const std::uint32_t small = small_head_cache_size(profile);
    return needed <= small ? small : kmalloc_size_roundup(needed);
}

SkbIndex free_row(World& w)
{
    if (w.free_skbs.empty()) {
        w.skbs.emplace_back();
        return static_cast<SkbIndex>(w.skbs.size() - 1);
    }
    const SkbIndex row = w.free_skbs.back();
    w.free_skbs.pop_back();
    return row;
}

void announce(Kernel& k, SkbIndex index)
{
    if (!k.recording()) {
        return;
    }
    const SkBuff& skb = k.skb(index);
    k.field(index, SkbField::end, ~std::uint64_t{0}, skb.head.size());
    k.field(index, SkbField::truesize, 0, skb.truesize);
    k.field(index, SkbField::data, ~std::uint64_t{0}, skb.data);
    k.field(index, SkbField::tail, ~std::uint64_t{0}, skb.tail);
    k.field(index, SkbField::len, ~std::uint64_t{0}, skb.len);
}

/// The second of a pair that is allocated together is free for the next clone, however it went: sent, dropped, or cut into pieces.
void give_back_fast_clone(Kernel& k, const SkBuff& clone)
{
    const SkbIndex origin = clone.fclone_origin;
    if (origin != nothing && k.skb(origin).in_use && k.trace.packet(clone.packet).parent == k.skb(origin).packet) {
        k.skb(origin).tcp.fast_clone_queued = false;
    }
}

/// Gives the row back; the packet's life ends with it.
void release(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    give_back_fast_clone(k, skb);
    nf_reset_ct(k, index); // those that are freed without their state, too
    SkbHead head = skb.head.unique() ? std::move(skb.head) : SkbHead{}; // its memory serves the next one
    std::destroy_at(&skb);
    std::construct_at(&skb);
    skb.head = std::move(head);
    k.w.free_skbs.push_back(index);
}

/// True: that was the last reference.
bool skb_unref(Kernel& k, SkbIndex index)
{
    return --k.skb(index).users == 0;
}

/// skb->destructor(skb)
void run_destructor(Kernel& k, SkbIndex index)
{
    if (k.skb(index).sk == nothing) {
        return;
    }
    switch (k.skb(index).destructor) {
    case SkBuff::Destructor::sock_wfree: sock_wfree(k, index); break;
    case SkBuff::Destructor::tcp_wfree: tcp_wfree(k, index); break;
    case SkBuff::Destructor::__sock_wfree: __sock_wfree(k, index); break;
    case SkBuff::Destructor::sock_rfree: sock_rfree(k, index); break;
    }
}

void skb_release_head_state(Kernel& k, SkbIndex index)
{
    Call call(k, fn::skb_release_head_state, index);
    nf_reset_ct(k, index);
    skb_dst_drop(k, index);
    run_destructor(k, index);
}

void skb_release_data(Kernel& k, SkbIndex index)
{
    Call call(k, fn::skb_release_data, index);
    while (!k.skb(index).frag_list.empty()) { // kfree_skb_list()
        const SkbIndex piece = k.skb(index).frag_list.back();
        k.skb(index).frag_list.pop_back();
        kfree_skb_reason(k, piece, drop::NOT_SPECIFIED, fn::skb_release_data);
    }
}

void skb_release_all(Kernel& k, SkbIndex index)
{
    Call call(k, fn::skb_release_all, index);
    skb_release_head_state(k, index);
    skb_release_data(k, index);
}

void end_of_life(Kernel& k, PacketId packet, FunctionId by)
{
    if (k.trace.packet(packet).verdict == Verdict::in_flight) {
        k.verdict(packet, Verdict::consumed, by); // no drop, and nobody it was for: a tap that does not want it, for one
    }
    PacketRecord& record = k.trace.mutable_packet(packet);
    record.death = k.cpu().now;
    if (record.end_function == FunctionId::none) {
        record.end_function = by;
    }
    k.emit(EventKind::free, packet, by);
}

} // namespace

SkbIndex new_skb(Kernel& k, PacketId packet, std::uint32_t buffer_size, std::uint32_t truesize)
{
    const SkbIndex index = free_row(k.w);
    SkBuff& skb = k.skb(index);
    skb.in_use = true;
    skb.packet = packet;
    skb.head.assign(buffer_size);
    skb.truesize = truesize;
    skb.alloc_cpu = k.cpu_row;
    announce(k, index);
    return index;
}

SkbIndex __alloc_skb(Kernel& k, PacketId packet, std::uint32_t size)
{
    Call call(k, fn::__alloc_skb, packet);
    const std::uint32_t object = head_object(k.profile(), size);
    return new_skb(k, packet, object - sizeof_skb_shared_info, object + sizeof_sk_buff);
}

namespace {

/// The small heads of receive: 5.10 takes them from kmalloc(), later kernels from a cache of 1 KiB fragments, and 6.18, which has
/// given that cache up, from the slab of small heads.
SkbIndex napi_small_head(Kernel& k, PacketId packet, std::uint32_t wanted)
{
    if (k.profile() == Profile::v5_10 || k.profile() >= Profile::v6_18) {
        return __alloc_skb(k, packet, wanted);
    }
    const SkbIndex skb = new_skb(k, packet, 1024 - sizeof_skb_shared_info, 1024 + sizeof_sk_buff);
    k.skb(skb).head_frag = true;
    return skb;
}

} // namespace

SkbIndex __napi_alloc_skb(Kernel& k, PacketId packet, std::uint32_t size, DeviceIndex device)
{
    Call call(k, k.profile() >= Profile::v6_12 ? fn::napi_alloc_skb : fn::__napi_alloc_skb, packet);
    constexpr std::uint32_t page = 4096;
    const std::uint32_t wanted = size + NET_SKB_PAD;
    SkbIndex index = nothing;
    const std::uint32_t small = k.profile() >= Profile::v6_18 ? small_head_cache_size(k.profile()) : 1024;
    if (wanted <= small - sizeof_skb_shared_info) {
        index = napi_small_head(k, packet, wanted);
    } else if (wanted > page - sizeof_skb_shared_info) {
        index = __alloc_skb(k, packet, wanted);
    } else {
        const std::uint32_t object = align64(wanted) + sizeof_skb_shared_info;
        index = new_skb(k, packet, object - sizeof_skb_shared_info, object + sizeof_sk_buff);
        k.skb(index).head_frag = true;
    }
    skb_reserve(k, index, NET_SKB_PAD);
    set_device(k, index, device);
    return index;
}

SkbIndex napi_build_skb(Kernel& k, PacketId packet, std::uint32_t frag_size)
{
    Call call(k, k.profile() == Profile::v5_10 ? fn::build_skb : fn::napi_build_skb, packet);
    const SkbIndex skb = new_skb(k, packet, frag_size - sizeof_skb_shared_info, frag_size + sizeof_sk_buff);
    k.skb(skb).head_frag = true;
    return skb;
}

namespace {

SkbIndex clone_row(Kernel& k, SkbIndex original, PacketId packet)
{
    const SkbIndex index = free_row(k.w);
    SkBuff& clone = k.skb(index);
    clone = k.skb(original);
    clone.packet = packet;
    clone.sk = nothing;
    clone.frag_list.clear(); // shared in the kernel; they answer to the original
    clone.fclone = false;
    clone.fclone_origin = nothing;
    clone.alloc_cpu = k.cpu_row;
    clone.users = 1;
    nf_conntrack_get(k, index);
    return index;
}

} // namespace

SkbIndex skb_share_check(Kernel& k, SkbIndex skb, FunctionId by)
{
    if (k.skb(skb).users <= 1) {
        return skb;
    }
    SkbIndex own = nothing;
    {
        Call call(k, fn::skb_clone, skb);
        own = clone_row(k, skb, k.skb(skb).packet);
    }
    k.skb(skb).goes_on_as_clone = true;
    consume_skb(k, skb, by);
    return own;
}

SkbIndex skb_clone(Kernel& k, SkbIndex original, FunctionId by)
{
    Call call(k, fn::skb_clone, original);
    const SkBuff& from = k.skb(original);
    PacketRecord record;
    record.host = k.host().id;
    record.parent = from.packet;
    record.relation = Relation::clone;
    record.birth = k.cpu().now;
    record.birth_function = by;
    record.length = from.len;
    record.flow = k.trace.packet(from.packet).flow;
    record.sent_here = from.mine;
    const PacketId packet = k.trace.add_packet(record);
    k.emit(EventKind::birth, packet, fn::skb_clone);
    k.emit(EventKind::clone, packet, fn::skb_clone, to_index(from.packet));
    const SkbIndex index = clone_row(k, original, packet);
    announce(k, index);
    return index;
}

void skb_reserve(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::data, skb.data, skb.data + bytes);
    k.field(index, SkbField::tail, skb.tail, skb.tail + bytes);
    skb.data += bytes;
    skb.tail += bytes;
}

std::uint8_t* skb_put(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    SkBuff& skb = k.skb(index);
    const std::uint32_t at = skb.tail;
    k.field(index, SkbField::tail, skb.tail, skb.tail + bytes);
    k.field(index, SkbField::len, skb.len, skb.len + bytes);
    skb.tail += bytes;
    skb.len += bytes;
    return skb.head.writable().data() + at;
}

std::uint8_t* skb_push(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::data, skb.data, skb.data - bytes);
    k.field(index, SkbField::len, skb.len, skb.len + bytes);
    skb.data -= bytes;
    skb.len += bytes;
    return skb.head.writable().data() + skb.data;
}

void skb_pull(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::data, skb.data, skb.data + bytes);
    k.field(index, SkbField::len, skb.len, skb.len - bytes);
    skb.data += bytes;
    skb.len -= bytes;
}

void skb_trim(Kernel& k, SkbIndex index, std::uint32_t length)
{
    SkBuff& skb = k.skb(index);
    if (length >= skb.len) {
        return;
    }
    k.field(index, SkbField::tail, skb.tail, skb.data + length);
    k.field(index, SkbField::len, skb.len, length);
    skb.tail = skb.data + length;
    skb.len = length;
}

namespace {

/// skb_cloned(): somebody else has the same head, the socket's queue of what is not acknowledged for one.
bool skb_cloned(const SkBuff& skb)
{
    return skb.fclone_origin != nothing || !skb.head.unique();
}

/// A head of its own. The model keeps paged bytes in the head: they are copied, too, where the kernel refers to the pages.
void pskb_expand_head(Kernel& k, SkbIndex index)
{
    Call call(k, fn::pskb_expand_head, index);
    if (skb_cloned(k.skb(index))) {
        Call release(k, fn::skb_release_data, index);
        static_cast<void>(k.skb(index).head.writable());
    }
}

} // namespace

void __pskb_pull_tail(Kernel& k, SkbIndex index, std::uint32_t bytes)
{
    if (skb_cloned(k.skb(index))) {
        pskb_expand_head(k, index);
    }
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::data_len, skb.data_len, skb.data_len - bytes);
    skb.data_len -= bytes;
}

std::uint32_t skb_tcp_all_headers(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    constexpr std::uint32_t data_offset = 12, shortest = 20;
    if (skb.transport_header == header_unset || skb.transport_header + shortest > skb.tail || skb.transport_header < skb.data) {
        return 0;
    }
    const std::uint8_t words = skb.head.bytes()[skb.transport_header + data_offset] >> 4;
    return skb.transport_header - skb.data + words * 4U;
}

void set_mac_header(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::mac_header, skb.mac_header, skb.data);
    skb.mac_header = static_cast<std::uint16_t>(skb.data);
}

void set_network_header(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::network_header, skb.network_header, skb.data);
    skb.network_header = static_cast<std::uint16_t>(skb.data);
}

void set_transport_header(Kernel& k, SkbIndex index, std::uint32_t behind_network)
{
    SkBuff& skb = k.skb(index);
    const std::uint32_t at = skb.network_header + behind_network;
    k.field(index, SkbField::transport_header, skb.transport_header, at);
    skb.transport_header = static_cast<std::uint16_t>(at);
}

std::span<std::uint8_t> skb_data_writable(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    return std::span(skb.head.writable()).subspan(skb.data, skb.tail - skb.data);
}

std::span<std::uint8_t> skb_network_writable(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    return std::span(skb.head.writable()).subspan(skb.network_header, skb.tail - skb.network_header);
}

SkbIndex skb_get(Kernel& k, SkbIndex index)
{
    ++k.skb(index).users;
    return index;
}

void set_dst(Kernel& k, SkbIndex index, const Destination& dst)
{
    static constexpr const char* input_names[] = {"", "ip_local_deliver", "ip_forward", "ip_error"};
    SkBuff& skb = k.skb(index);
    skb.dst = dst;
    if (!k.trace.recording()) {
        return;
    }
    if (dst.v6) {
        static constexpr const char* input6_names[] = {"", "ip6_input", "ip6_mc_input", "ip6_forward", "ip6_pkt_discard", "ip6_pkt_prohibit", "dst_discard"};
        const bool sent = k.trace.packet(skb.packet).sent_here && dst.output6 == Destination::Output6::ip6_output;
        k.field(index, SkbField::destination, 0,
                k.trace.add_note(sent ? "output ip6_output via " + (dst.device == nothing ? std::string("?") : k.device(dst.device).name)
                                      : std::string("input ") + input6_names[static_cast<std::size_t>(dst.input6)]));
        return;
    }
    std::uint32_t none = 0;
    std::uint32_t& note = dst.input != Destination::Input::none ? k.w.input_notes[static_cast<std::size_t>(dst.input)]
                          : dst.device != nothing               ? k.device(dst.device).output_note
                                                                : none;
    if (note == 0) {
        note = k.trace.intern_note(dst.input != Destination::Input::none
                                       ? std::string("input ") + input_names[static_cast<std::size_t>(dst.input)]
                                       : "output ip_output via " + (dst.device == nothing ? std::string("?") : k.device(dst.device).name));
    }
    k.field(index, SkbField::destination, 0, note);
}

void skb_dst_drop(Kernel& k, SkbIndex index)
{
    if (!k.skb(index).dst.valid) {
        return;
    }
    Call call(k, fn::skb_dst_drop, index);
    k.skb(index).dst = Destination{};
}

void skb_scrub_packet(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    skb.pkt_type = PktType::host;
    skb.rx_queue = -1;
    skb.demuxed = nothing;
    skb.ignore_df = false; // who made it is of another stack: a router beyond may not cut it
    skb_dst_drop(k, index);
    nf_reset_ct(k, index);
}

void set_device(Kernel& k, SkbIndex index, DeviceIndex device)
{
    SkBuff& skb = k.skb(index);
    k.field(index, SkbField::device, skb.device == nothing ? 0 : to_index(k.device(skb.device).id), to_index(k.device(device).id));
    skb.device = device;
}

namespace {

/// __kfree_skb() (net/core/skbuff.c) of what nobody refers to any more; its row is given back by release().
void free_skb(Kernel& k, SkbIndex index)
{
    Call call(k, fn::__kfree_skb, index);
    skb_release_all(k, index);
    Call memory(k, fn::kfree_skbmem, index);
}

/// A reference is given back by `function`; the last one ends a packet that was of use.
void free_consumed(Kernel& k, SkbIndex index, FunctionId function, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, function, index);
    if (!skb_unref(k, index)) {
        return;
    }
    free_skb(k, index);
    end_of_life(k, packet, by);
    release(k, index);
}

} // namespace

void kfree_skb_reason(Kernel& k, SkbIndex index, DropReasonId reason, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, fn::kfree_skb_reason, index, to_index(reason));
    if (!skb_unref(k, index)) {
        return;
    }
    k.drop(packet, reason, by);
    free_skb(k, index);
    release(k, index);
}

void kfree_skb_held(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, fn::kfree_skb_reason, index, to_index(drop::NOT_SPECIFIED));
    if (!skb_unref(k, index)) {
        return;
    }
    const bool goes_on = k.skb(index).goes_on_as_clone;
    if (!goes_on && k.trace.packet(packet).verdict == Verdict::in_flight) {
        k.drop(packet, drop::NOT_SPECIFIED, by);
    }
    free_skb(k, index);
    if (!goes_on && k.trace.packet(packet).death == never) {
        end_of_life(k, packet, by);
    }
    release(k, index);
}

void sk_skb_reason_drop_consumed(Kernel& k, SkbIndex index, FunctionId by)
{
    free_consumed(k, index, fn::kfree_skb_reason, by);
}

/// As net_tx_action() does (net/core/dev.c): what is no half of a pair goes back to NAPI's cache, since 6.4 by __napi_kfree_skb(),
/// before by __kfree_skb_defer(), which the catalog does not know.
void __kfree_skb(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    if (!k.skb(index).fclone && k.profile() < Profile::v6_12) {
        skb_release_all(k, index);
    } else if (!k.skb(index).fclone) {
        Call call(k, fn::__napi_kfree_skb, packet);
        skb_release_all(k, index);
    } else {
        Call call(k, fn::__kfree_skb, packet);
        skb_release_all(k, index);
        Call memory(k, fn::kfree_skbmem, packet);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

void kfree_skb_bulk(Kernel& k, SkbIndex index, DropReasonId reason, FunctionId by)
{
    if (!skb_unref(k, index)) {
        return;
    }
    k.drop(k.skb(index).packet, reason, by);
    skb_release_all(k, index); // the sk_buffs themselves go back to their slab all at once
    release(k, index);
}

void consume_skb(Kernel& k, SkbIndex index, FunctionId by)
{
    free_consumed(k, index, fn::consume_skb, by);
}

void kfree_skb_partial(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, fn::kfree_skb_partial, index);
    skb_release_head_state(k, index);
    end_of_life(k, packet, by);
    release(k, index);
}

void __kfree_skb(Kernel& k, SkbIndex index, Verdict verdict, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    {
        Call call(k, fn::__kfree_skb, index);
        skb_release_all(k, index);
    }
    {
        Call memory(k, fn::kfree_skbmem, packet);
    }
    if (k.trace.packet(packet).verdict == Verdict::in_flight) {
        k.verdict(packet, verdict, by);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

void kfree_skb_partial(Kernel& k, SkbIndex index, bool head_stolen, FunctionId by)
{
    Call call(k, fn::kfree_skb_partial, index);
    if (!head_stolen) {
        __kfree_skb(k, index, Verdict::delivered, by);
        return;
    }
    const PacketId packet = k.skb(index).packet;
    skb_release_head_state(k, index);
    end_of_life(k, packet, by);
    release(k, index);
}

void skb_morph(Kernel& k, SkbIndex index, SkbIndex from)
{
    Call call(k, fn::skb_morph, index);
    skb_release_all(k, index);
    SkBuff& skb = k.skb(index);
    const PacketId packet = skb.packet;
    const std::uint32_t users = skb.users;
    skb = k.skb(from);
    skb.packet = packet;
    skb.users = users;
    skb.sk = nothing;
    announce(k, index);
}

void napi_consume_skb(Kernel& k, SkbIndex index, FunctionId by, int budget)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, fn::napi_consume_skb, packet);
    if (budget == 0) {
        dev_consume_skb_any(k, index, by);
        return;
    }
    if (!skb_unref(k, index)) {
        return;
    }
    skb_release_all(k, index);
    if (k.skb(index).fclone) { // a pair does not go into NAPI's cache
        Call memory(k, fn::kfree_skbmem, index);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

namespace {

FunctionId any_context_free(Profile profile)
{
    return profile >= Profile::v6_12 ? fn::dev_kfree_skb_any_reason : fn::__dev_kfree_skb_any;
}

} // namespace

void dev_consume_skb_any(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, any_context_free(k.profile()), packet);
    if (k.cpu().context != Context::hardirq) {
        if (k.profile() >= Profile::v6_12) { // with SKB_CONSUMED for a reason
            sk_skb_reason_drop_consumed(k, index, by);
        } else {
            consume_skb(k, index, by);
        }
        return;
    }
    // Freeing may call into the network code: not from a hard interrupt. NET_TX does it.
    Call later(k, k.profile() >= Profile::v6_12 ? fn::dev_kfree_skb_irq_reason : fn::__dev_kfree_skb_irq, packet);
    if (!skb_unref(k, index)) {
        return; // a pktgen holds it besides the driver, and gives it back in its turn
    }
    k.cpu().completion_queue.push_back(index);
    raise_softirq_irqoff(k, NET_TX_SOFTIRQ);
}

void skb_merged(Kernel& k, SkbIndex index, FunctionId by, bool shell_left)
{
    const PacketId packet = k.skb(index).packet;
    k.verdict(packet, Verdict::merged, by);
    if (shell_left) {
        skb_release_all(k, index);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

void dev_kfree_skb_any(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, any_context_free(k.profile()), packet);
    Call kfree(k, k.profile() == Profile::v5_10 ? fn::kfree_skb : fn::kfree_skb_reason, packet);
    if (!skb_unref(k, index)) {
        return;
    }
    skb_release_all(k, index);
    {
        Call memory(k, fn::kfree_skbmem, packet);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

void skb_attempt_defer_free(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::skb_attempt_defer_free, skb);
    const std::uint32_t home = k.skb(skb).alloc_cpu;
    const auto most = k.core_sysctl().skb_defer_max;
    if (home == k.cpu_row || most == 0) {
        __kfree_skb(k, skb, Verdict::delivered, fn::skb_attempt_defer_free);
        return;
    }
    Cpu& target = k.w.cpus[home];
    k.skb(skb).visible_from = k.cpu().now;
    target.defer_list.push_back(skb);
    if (static_cast<std::int64_t>(target.defer_list.size()) == std::max<std::int64_t>(most >> 1, 1)) {
        kick(k, target, k.cpu().now + 1_ns);
        k.interrupt(target, {PendingIrq::Kind::rps_ipi, nothing});
    }
}

void __consume_stateless_skb(Kernel& k, SkbIndex index, FunctionId by)
{
    const PacketId packet = k.skb(index).packet;
    Call call(k, fn::__consume_stateless_skb, index);
    skb_release_data(k, index);
    {
        Call memory(k, fn::kfree_skbmem, index);
    }
    end_of_life(k, packet, by);
    release(k, index);
}

void skb_orphan(Kernel& k, SkbIndex index)
{
    Call call(k, fn::skb_orphan, index);
    run_destructor(k, index);
}

void finish_checksum(Kernel& k, SkbIndex index)
{
    SkBuff& skb = k.skb(index);
    if (const auto ip = Ipv4View::checked(skb_network(k, index)); ip && ip->protocol() == proto::ipproto_udp) {
        const auto bytes = skb_network_writable(k, index);
        const auto segment = bytes.subspan(ip->header_length());
        const auto view = MutableUdpView::checked(segment);
        if (view) {
            view->set_checksum(0);
            const std::uint16_t sum = transport_checksum(ip->source(), ip->destination(), proto::ipproto_udp, segment);
            view->set_checksum(sum == 0 ? 0xffff : sum);
        }
    }
    if (const auto ip = Ipv6View::checked(skb_network(k, index)); ip && ip->next_header() == proto::ipproto_udp) {
        fill_udp_checksum(skb_network_writable(k, index).subspan(Ipv6View::minimum), ip->source(), ip->destination());
    }
    if (const auto ip = Ipv4View::checked(skb_network(k, index)); ip && ip->protocol() == proto::ipproto_tcp) {
        const auto segment = skb_network_writable(k, index).subspan(ip->header_length());
        if (segment.size() >= 20) {
            store_be16(&segment[16], 0);
            store_be16(&segment[16], transport_checksum(ip->source(), ip->destination(), proto::ipproto_tcp, segment));
        }
    }
    k.field(index, SkbField::ip_summed, static_cast<std::uint64_t>(skb.ip_summed), 0);
    skb.ip_summed = IpSummed::none;
}

void keep_frame(Kernel& k, SkbIndex index)
{
    const SkBuff& skb = k.skb(index);
    const auto frame = skb_data(k, index);
    PacketRecord& record = k.trace.mutable_packet(skb.packet);
    record.length = skb.len;
    if (!k.recording()) {
        return;
    }
    k.trace.set_frame(skb.packet, frame);
    // A tracked packet keeps the flow of its birth, whatever NAT has made of the frame.
    if (const auto flow = flow_of_frame(frame); flow && (!record.flow || skb.ct.conn < 0)) {
        record.flow = flow;
    }
}

} // namespace skbscope::kernel
