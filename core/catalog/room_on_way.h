#pragma once
// Where a packet stands in a function that serves both ways: routes are looked up by the same functions for what comes in and
// for what goes out (net/ipv4/fib_trie.c: fib_table_lookup, net/ipv6/route.c: ip6_pol_route), and the rooms are two.

#include "core/catalog/catalog.h"

namespace skbscope {

/// The room of the function for a packet that was in `before` until now (none: it is seen for the first time, or the call
/// has no packet), in that context. Of all but lookups of routes this is Catalog::room_of().
[[nodiscard]] RoomId room_on_way(FunctionId function, RoomId before, Context context);

/// The room where a drop is counted: the function's; where no function ran, that of the hardware which drops so. None: nobody knows.
[[nodiscard]] RoomId room_of_drop(FunctionId function, DropReasonId reason);

} // namespace skbscope
