#pragma once
// Of net/core/skbuff.c: the data of one sk_buff behind that of another, as TCP does where segments wait for the application.

#include "core/kernel/kernel.h"

namespace skbscope::kernel {

/// Paged bytes move into the head's free room, where they fit and nobody else refers to them.
void skb_condense(Kernel& k, SkbIndex skb);

/// The bytes of `from` join those of `to`, if there is room for them and nobody else refers to them. `stolen`: the head of `from` is part of
/// `to` now; `delta`: bytes of memory that `to` costs more.
bool skb_try_coalesce(Kernel& k, SkbIndex to, SkbIndex from, bool& stolen, std::uint32_t& delta);

} // namespace skbscope::kernel
