#pragma once
// The one record that every driver writes: a model run, a live host, a recording.

#include "core/catalog/ids.h"
#include "core/trace/time.h"

#include <cstdint>
#include <type_traits>

namespace skbscope {

enum class PacketId : std::uint32_t { none = 0 };
enum class TaskId : std::uint32_t { none = 0 };  ///< row of Trace::tasks(); 0 is the idle task
enum class CpuId : std::uint16_t {};
enum class HostId : std::uint8_t {};
enum class QueueId : std::uint32_t { none = 0 };
enum class DeviceId : std::uint32_t { none = 0 };
enum class CounterId : std::uint32_t { none = 0 };

/// What an Event says. The comment names what `packet`, `function` and `arg` hold where they are used.
enum class EventKind : std::uint8_t {
    call,          ///< a function was entered; duration filled at its return; arg: a length, verdict or 0
    exit,          ///< return of a call whose record had left memory; arg: low 32 bits of its ordinal
    birth,         ///< packet begins to exist on this host; arg: DeviceId
    verdict,       ///< packet's outcome is decided (or changed); arg: Verdict
    drop,          ///< packet dropped in function; arg: DropReasonId; it is also the verdict
    free,          ///< packet's last sk_buff is freed in function
    enqueue,       ///< packet joins the queue's tail; arg: QueueId
    dequeue,       ///< packet leaves the queue; arg: QueueId
    clone,         ///< packet is a new header for the data of another; arg: that PacketId
    merge,         ///< packet became part of another; arg: that PacketId
    split,         ///< packet is a piece of another; arg: that PacketId
    irq_raise,     ///< a device raised its interrupt towards cpu; arg: DeviceId
    irq_mask,      ///< the driver masked its device's interrupt; arg: DeviceId
    irq_unmask,    ///< … and allowed it again; arg: DeviceId
    softirq_raise, ///< pending bit set on cpu; arg: vector (2 NET_TX, 3 NET_RX)
    wakeup,        ///< task becomes runnable; packet: the cause, if known
    sched,         ///< cpu switches to task (0: idle)
    field,         ///< something changed on packet; arg: row of Trace::field_changes()
    counter,       ///< a counter moved; packet: the cause, if known; arg: row of Trace::counter_changes()
    queue,         ///< a queue's limit or fill changed; arg: row of Trace::queue_changes()
    setting,       ///< a person changed a setting; arg: row of Trace::notes()
    note,          ///< a phase or remark; arg: row of Trace::notes()
    lost,          ///< records of this cpu are missing before this time; arg: how many (0: unknown)
};

/// How a packet ended on its host.
enum class Verdict : std::uint8_t {
    in_flight, ///< not decided yet
    delivered, ///< accepted into a socket's receive queue
    forwarded, ///< left through another device
    sent,      ///< local, handed to the driver
    consumed,  ///< the kernel itself was the receiver: ARP, ICMP echo
    dropped,   ///< with a DropReasonId
    merged,    ///< became part of another packet
    split,     ///< became several
    lost,      ///< the trace did not see the end
};
inline constexpr int verdict_count = 9;

/// How sure a step's place is. Certain: the record carries the skb. Derived: between two certain records. Assumed:
/// matched by order alone.
enum class Confidence : std::uint8_t { certain = 0, derived = 1, assumed = 2 };

/// Through what a step was seen; bits. None set: the model knows it.
enum Via : std::uint8_t {
    via_model = 0,
    via_function = 1 << 4,
    via_tracepoint = 1 << 5,
    via_kprobe = 1 << 6,
    via_graph = 1 << 7,
};

/// 32 bytes, one record a call. Integers rather than strong types inside so that it stays trivially copyable and
/// dense; the accessors give the types back.
struct Event {
    std::uint64_t time_ns = 0;                ///< entry of the call, or the moment, on the trace's clock
    std::uint32_t duration_ns = unknown_duration; ///< of a call; all ones: the return was not seen
    std::uint32_t packet = 0;
    std::uint32_t task = 0; ///< in softirq and hardirq: the interrupted task
    std::uint32_t arg = 0;
    std::uint16_t function = 0;
    std::uint16_t cpu = 0;
    std::uint8_t kind = 0;
    std::uint8_t flags = 0; ///< bits 0-1 Context, bits 2-3 Confidence, bits 4-7 Via
    std::uint8_t depth = 0; ///< of a call within its (cpu, context); 0 is outermost
    std::uint8_t host = 0;

    static constexpr std::uint32_t unknown_duration = 0xffffffff;

    [[nodiscard]] SimTime time() const { return {time_ns}; }
    [[nodiscard]] bool has_end() const { return duration_ns != unknown_duration; }
    /// When the call returned; `never` if that was not seen.
    [[nodiscard]] SimTime end() const { return has_end() ? SimTime{time_ns + duration_ns} : never; }
    [[nodiscard]] EventKind event_kind() const { return static_cast<EventKind>(kind); }
    [[nodiscard]] bool is_call() const { return event_kind() == EventKind::call; }
    [[nodiscard]] PacketId packet_id() const { return static_cast<PacketId>(packet); }
    [[nodiscard]] TaskId task_id() const { return static_cast<TaskId>(task); }
    [[nodiscard]] CpuId cpu_id() const { return static_cast<CpuId>(cpu); }
    [[nodiscard]] HostId host_id() const { return static_cast<HostId>(host); }
    [[nodiscard]] FunctionId function_id() const { return static_cast<FunctionId>(function); }
    [[nodiscard]] QueueId queue_id() const { return static_cast<QueueId>(arg); }
    [[nodiscard]] DeviceId device_id() const { return static_cast<DeviceId>(arg); }
    [[nodiscard]] DropReasonId reason() const { return static_cast<DropReasonId>(arg); }
    [[nodiscard]] Verdict verdict() const { return static_cast<Verdict>(arg); }
    [[nodiscard]] Context context() const { return static_cast<Context>(flags & 3); }
    [[nodiscard]] Confidence confidence() const { return static_cast<Confidence>((flags >> 2) & 3); }
    [[nodiscard]] std::uint8_t via() const { return flags & 0xf0; }

    [[nodiscard]] static constexpr std::uint8_t make_flags(Context context, Confidence confidence = Confidence::certain,
                                                           std::uint8_t via = via_model)
    {
        return static_cast<std::uint8_t>(static_cast<unsigned>(context) | static_cast<unsigned>(confidence) << 2 | via);
    }
};
static_assert(sizeof(Event) == 32 && std::is_trivially_copyable_v<Event>);

} // namespace skbscope
