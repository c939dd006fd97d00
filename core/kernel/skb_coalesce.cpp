#include "core/kernel/skb_coalesce.h"

#include "core/kernel/functions.h"

#include <algorithm>

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t MAX_SKB_FRAGS = 17;

/// skb_cloned(), of what crosses from socket to socket inside one machine: the sender keeps the data, too, until it is acknowledged.
bool skb_cloned(Kernel& k, SkbIndex skb)
{
    const SkbIndex origin = k.skb(skb).fclone_origin;
    return origin != nothing && k.skb(origin).in_use && k.trace.packet(k.skb(skb).packet).parent == k.skb(origin).packet;
}

/// What its pages cost: skb->truesize without that of the head, and no less than they hold. (The model's head grows with the pages.)
std::uint32_t truesize_of_pages(const SkBuff& skb)
{
    const auto head = static_cast<std::uint32_t>(skb.head.size()) + sizeof_sk_buff + sizeof_skb_shared_info;
    return std::max(skb.data_len, skb.truesize - std::min(skb.truesize, head));
}

/// Appends, and what is no copy stays in pages.
void take_bytes(Kernel& k, SkbIndex to, const SkBuff& from, std::uint32_t paged, std::uint32_t delta)
{
    SkBuff& buff = k.skb(to);
    auto& head = buff.head.writable();
    head.resize(std::max<std::size_t>(head.size(), std::size_t{buff.tail} + from.len));
    std::ranges::copy(from.head.bytes().subspan(from.data, from.len), head.begin() + buff.tail);
    k.field(to, SkbField::len, buff.len, buff.len + from.len);
    k.field(to, SkbField::truesize, buff.truesize, buff.truesize + delta);
    buff.tail += from.len;
    buff.len += from.len;
    buff.data_len += paged;
    buff.truesize += delta;
}

} // namespace

void skb_condense(Kernel& k, SkbIndex skb)
{
    Call call(k, fn::skb_condense, skb);
    // Nothing moves: what fits the head was copied there when it was received, and what a socket of this machine sent is a clone.
}

bool skb_try_coalesce(Kernel& k, SkbIndex to, SkbIndex from, bool& stolen, std::uint32_t& delta)
{
    Call call(k, fn::skb_try_coalesce, from);
    SkBuff& a = k.skb(to);
    const SkBuff& b = k.skb(from);
    stolen = false;
    delta = 0;
    if (a.users > 1 || skb_cloned(k, to)) {
        return false; // a tap still reads it, or it may have to be sent again
    }
    const std::uint32_t tailroom = a.data_len != 0 ? 0 : static_cast<std::uint32_t>(a.head.size()) - a.tail;
    if (b.len <= tailroom) {
        take_bytes(k, to, b, 0, 0);
        return true;
    }
    const bool has_head = b.len != b.data_len;
    const std::uint32_t fragments = a.nr_frags + b.nr_frags + (has_head ? 1U : 0U);
    if (fragments > MAX_SKB_FRAGS) {
        return false;
    }
    if (has_head && (!b.head_frag || b.users > 1 || skb_cloned(k, from))) {
        return false; // skb_head_is_locked()
    }
    stolen = has_head;
    delta = has_head ? b.truesize - sizeof_sk_buff : truesize_of_pages(b);
    a.nr_frags = static_cast<std::uint8_t>(fragments);
    take_bytes(k, to, b, b.len, delta);
    return true;
}

} // namespace skbscope::kernel
