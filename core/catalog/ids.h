#pragma once
// Strong ids of the things that the catalog names. The constants fn::…, stage::…, room::… and drop::… are generated
// from assets/catalog at build time into "core/catalog/function_ids.h" and its neighbours.

#include <cstdint>

namespace skbscope {

/// A kernel function. 0 is "none". Ids below Catalog::function_count() are the catalog's; a Trace may add names of
/// its own behind them (a function that was traced and that the catalog lacks).
enum class FunctionId : std::uint16_t { none = 0 };

/// A stage of the path (51 of them, such as "ip.rcv"). 0 is "none".
enum class StageId : std::uint8_t { none = 0 };

/// A room on the map (about 30; several stages may share one). 0 is "none".
enum class RoomId : std::uint8_t { none = 0 };

/// A drop reason by its kernel name (SKB_DROP_REASON_ cut off). 0 is "none".
enum class DropReasonId : std::uint16_t { none = 0 };

/// Kernel versions whose names the catalog knows, oldest first.
enum class KernelVersion : std::uint8_t { v4_1, v5_10, v6_1, v6_12, v6_18 };

/// Where a call runs. The order is the order of preemption: a later one interrupts an earlier one.
enum class Context : std::uint8_t { process = 0, softirq = 1, hardirq = 2, nmi = 3 };

enum class Direction : std::uint8_t { rx, tx, both };

template <typename Id>
[[nodiscard]] constexpr auto to_index(Id id)
{
    return static_cast<std::uint32_t>(id);
}

} // namespace skbscope
