#pragma once
// What kernel functions, stages, rooms, drop reasons and settings are called in which kernel version, and what they
// do. Data in assets/catalog/*.tsv, compiled in. No state; all references live as long as the program.

#include "core/catalog/ids.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace skbscope {

/// One kernel function.
struct Function {
    FunctionId id = FunctionId::none;
    std::string_view name; ///< the name in kernel 6.1, or the newest name of one that 6.1 lacks
    StageId stage = StageId::none;
    Direction direction = Direction::both;
    std::uint8_t contexts = 0; ///< bit 1 << Context for each context it runs in
    /// Symbol per KernelVersion as ftrace shows it ("__netif_receive_skb_core.constprop.0"); empty: not there.
    std::string_view symbol[5];
    bool traceable[5] = {};       ///< ftrace can show it in that version's (Debian) build
    bool in_source[5] = {};       ///< the source of that version has it (inline or not)
    std::string_view other_names; ///< plain words on former and later names
    std::string_view note;        ///< why ftrace cannot show it, or what the model simplifies
    std::string_view source;      ///< file:line in 6.1
    std::string_view what;        ///< what it does, in plain words
    std::string_view goes_wrong;  ///< what can go wrong there; may be empty
    /// Position of the skb among the arguments in 6.1 (1..6), 0 if it takes none.
    std::uint8_t skb_argument = 0;
};

/// A step of the packet's path.
struct Stage {
    StageId id = StageId::none;
    std::string_view key;   ///< "nic.rx_ring"
    std::string_view title; ///< "RX ring"
    Direction direction = Direction::both;
    int order = 0;
    std::uint8_t contexts = 0; ///< as in Function; bit 7: hardware
    std::string_view meaning;
    RoomId room = RoomId::none;
};

/// The kind of thing a room is: a function (a box), a queue (a tray), hardware.
enum class RoomKind : std::uint8_t { function, queue, hardware };

/// A room of the map. Rows count from 0 (application) down to the NIC; columns: 0 receive, 1 middle, 2 send, 3 aside.
struct Room {
    RoomId id = RoomId::none;
    std::string_view key;      ///< "backlog"
    std::string_view title;    ///< "Backlog"
    std::string_view function; ///< the name shown under the title, "enqueue_to_backlog"
    RoomKind kind = RoomKind::function;
    std::uint8_t row = 0;
    std::uint8_t column = 0;
    std::string_view text;                  ///< what it is, a few plain sentences
    std::string_view limits;                ///< its limits in plain words; may be empty
    std::vector<std::string_view> settings; ///< names of Setting that govern it
};

/// Why a packet can be dropped.
struct DropReason {
    DropReasonId id = DropReasonId::none;
    std::string_view name;          ///< "CPU_BACKLOG"
    int value[5] = {-1, -1, -1, -1, -1}; ///< number in each KernelVersion, -1 where absent
    std::string_view what;          ///< plain words
    bool is_drop = true;            ///< false for NOT_DROPPED_YET and CONSUMED
};

/// A place where packets can be dropped, and what governs it.
struct DropSite {
    std::string_view key; ///< "backlog_full"
    FunctionId function = FunctionId::none;
    StageId stage = StageId::none;
    std::string_view condition, control, default_value, counters, source, remedy;
    DropReasonId reason = DropReasonId::none; ///< in 6.1
};

/// A sysctl, ethtool-like or socket setting, or a constant.
struct Setting {
    std::string_view name; ///< "net.core.netdev_max_backlog"
    std::string_view value, meaning, source, notes;
    bool changeable = false;
};

/// What `skbscope catalog NAME` answers: the thing meant, and how the name relates to it.
struct Resolution {
    enum class Kind { function, queue, hook, setting, stage, tracepoint, softirq, syscall, callback, unknown };
    Kind kind = Kind::unknown;
    std::string asked;
    FunctionId function = FunctionId::none; ///< today's function, if there is one
    std::string today;                      ///< today's name, or what became of it
    std::string text;                       ///< one or more sentences
    std::vector<std::string> suggestions;   ///< near names, for an unknown one
};

class Catalog {
public:
    [[nodiscard]] static std::span<const Function> functions(); ///< index == id; entry 0 is "none"
    [[nodiscard]] static std::span<const Stage> stages();       ///< index == id; entry 0 is "none"
    [[nodiscard]] static std::span<const Room> rooms();         ///< index == id; entry 0 is "none"
    [[nodiscard]] static std::span<const DropReason> drop_reasons();
    [[nodiscard]] static std::span<const DropSite> drop_sites();
    [[nodiscard]] static std::span<const Setting> settings();

    [[nodiscard]] static std::uint16_t function_count() { return static_cast<std::uint16_t>(functions().size()); }
    [[nodiscard]] static const Function& function(FunctionId id);
    [[nodiscard]] static const Stage& stage(StageId id);
    [[nodiscard]] static const Room& room(RoomId id);
    [[nodiscard]] static const DropReason& drop_reason(DropReasonId id);
    [[nodiscard]] static RoomId room_of(FunctionId id);

    /// The function of that name in any version, compiler suffixes (.constprop.0, .isra.0, .part.0) cut off; or none.
    [[nodiscard]] static FunctionId find_function(std::string_view name);
    [[nodiscard]] static StageId find_stage(std::string_view key);
    [[nodiscard]] static RoomId find_room(std::string_view key);
    [[nodiscard]] static DropReasonId find_drop_reason(std::string_view name);
    /// The reason with that number in that kernel, or none.
    [[nodiscard]] static DropReasonId drop_reason_of(KernelVersion version, int value);
    [[nodiscard]] static const Setting* find_setting(std::string_view name);
    /// The drop site of that function and reason; reason none matches the function's first. May be null.
    [[nodiscard]] static const DropSite* find_drop_site(FunctionId function, DropReasonId reason);
    /// The name of the function as that kernel bears it, without compiler suffix.
    [[nodiscard]] static std::string_view name_in(FunctionId id, KernelVersion version);

    /// Resolves any name of the classic articles: functions, queues, hooks, settings, softirqs, callbacks.
    [[nodiscard]] static Resolution resolve(std::string_view name);
    /// The catalog's version: changes when ids change. Written into recordings beside the names.
    [[nodiscard]] static std::string_view version();
};

/// "6.1.0-56-amd64" -> v6_1. The nearest known version at or below the release; v4_1 below that.
[[nodiscard]] KernelVersion kernel_version_of(std::string_view release);
[[nodiscard]] std::string_view to_string(KernelVersion version);
[[nodiscard]] std::string_view to_string(Context context);
[[nodiscard]] std::string_view to_string(Direction direction);

} // namespace skbscope
