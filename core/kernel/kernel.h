#pragma once
// The hands of the model: a World, the Trace it writes, and the CPU whose turn it is. The kernel's functions take it as
// their first argument, as if it were `current` and this_cpu together.

#include "core/catalog/function_ids.h"
#include "core/catalog/drop_ids.h"
#include "core/kernel/world.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

namespace skbscope::kernel {

class Kernel {
public:
    /// The World has its CPUs already; whether the trace records does not change meanwhile.
    Kernel(World& world, Trace& out)
        : w(world), trace(out), cpu_(world.cpus.data()), costs_(world.costs.by_function()), recording_(out.recording()), host_costs_(&world.costs)
    {
        if (!world.cpus.empty()) {
            set_cpu(world.cpus.front());
        }
    }

    World& w;
    Trace& trace;
    /// Row of World::cpus. Read everywhere, changed by Kernel alone.
    class CpuRow {
    public:
        operator std::uint32_t() const { return row_; }

    private:
        friend class Kernel;
        std::uint32_t row_ = 0;
    } cpu_row;

    [[nodiscard]] Cpu& cpu() { return *cpu_; }
    [[nodiscard]] Host& host() { return w.hosts[cpu().host]; }
    [[nodiscard]] SkBuff& skb(SkbIndex index) { return w.skbs[static_cast<std::size_t>(index)]; }
    [[nodiscard]] NetDevice& device(DeviceIndex index) { return w.devices[static_cast<std::size_t>(index)]; }
    [[nodiscard]] Napi& napi(NapiIndex index) { return w.napis[static_cast<std::size_t>(index)]; }
    [[nodiscard]] Socket& socket(SocketIndex index) { return w.sockets[static_cast<std::size_t>(index)]; }
    [[nodiscard]] Task& task(std::int32_t index) { return w.tasks[static_cast<std::size_t>(index)]; }
    [[nodiscard]] Host& host_of(const NetDevice& device) { return w.hosts[device.host]; }
    [[nodiscard]] Profile profile() const { return w.profile; }
    [[nodiscard]] const Costs& costs() const { return *host_costs_; } ///< on this CPU's host

    // ---- namespaces: taken from the device or the socket, as the kernel does, never from the CPU ---------------------
    [[nodiscard]] Net& net(NetIndex index) { return w.nets[index]; }
    [[nodiscard]] NetIndex dev_net(DeviceIndex index) { return device(index).net; }
    [[nodiscard]] NetIndex skb_net(SkbIndex index) { return dev_net(skb(index).device); } ///< precondition: skb->dev is set
    [[nodiscard]] NetIndex sock_net(SocketIndex index) { return socket(index).net; }
    /// net.core.*: of this CPU's host.
    [[nodiscard]] Sysctls& core_sysctl() { return w.nets[host().init_net].sysctl; }

    // ---- calls -----------------------------------------------------------------------------------------------------
    /// Records the entry of a function on this CPU, lets it cost its time and, being a function boundary, lets a
    /// hard interrupt in. The call may last over several quanta.
    OpenHandle open(FunctionId function, PacketId packet, std::uint32_t arg = 0)
    {
        OpenHandle handle;
        if (must_stop()) {
            open_watched(handle, function, packet, arg);
        } else {
            cpu_->now += costs_[to_index(function)];
        }
        return handle;
    }
    /// Records its return: fills the duration, and writes an exit record if the call began in an earlier quantum.
    void close(const OpenHandle& call)
    {
        if (recording_) {
            close_lasting(call);
        }
    }
    void close_all(OpenCalls& calls); ///< innermost first
    void spend(Duration time) { cpu().now += time; }
    [[nodiscard]] bool recording() const { return recording_; }
    /// A CPU that was idle has something to do: whose turn it is has to be found out again.
    void cpu_woken() { woken_ = true; }

    // ---- events ----------------------------------------------------------------------------------------------------
    void emit(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg = 0)
    {
        if (recording_) {
            record(kind, packet, function, arg);
        }
    }
    void emit_wakeup(TaskId woken, PacketId cause)
    {
        if (recording_) {
            record(EventKind::wakeup, cause, FunctionId::none, 0).task = to_index(woken);
        }
    }
    /// Of the hardware: at a time, on no CPU (the record bears the CPU that its interrupt goes to).
    void emit_hardware(EventKind kind, SimTime at, const NetDevice& device, PacketId packet, std::uint32_t arg)
    {
        if (recording_) {
            emit_hardware_recorded(kind, at, device, packet, arg);
        }
    }
    void field(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after)
    {
        if (recording_ && before != after) {
            field_changed(skb, field, before, after);
        }
    }
    void enqueue(QueueId queue, PacketId packet, FunctionId function) { emit(EventKind::enqueue, packet, function, to_index(queue)); }
    void dequeue(QueueId queue, PacketId packet, FunctionId function) { emit(EventKind::dequeue, packet, function, to_index(queue)); }
    void queue_fill(QueueId queue, std::uint64_t before, std::uint64_t after);
    /// Adds to a counter; the packet is the cause, if any.
    void count(NetIndex net, Mib counter, PacketId packet, std::uint64_t by = 1);
    /// `at`: of the hardware, on no CPU.
    void count_device(DeviceIndex device, DevStat counter, PacketId packet, std::uint64_t by = 1, SimTime at = never);
    void count_softnet(std::uint32_t cpu_row, SoftnetStat counter, PacketId packet, std::uint64_t by = 1);
    /// A counter that is none of the kernel's tables: a tap's, a rule's. `counter` is named in the trace already.
    void count_other(CounterId counter, PacketId packet, std::uint64_t before, std::uint64_t after)
    {
        if (recording_) {
            counter_changed(counter, host().id, packet, before, after, never);
        }
    }
    void verdict(PacketId packet, Verdict verdict, FunctionId function);
    void drop(PacketId packet, DropReasonId reason, FunctionId function);
    /// Gives the calls of this system call that came before its packet to the packet (ftrace's reader does the same).
    void attribute_since(std::uint64_t sequence, PacketId packet)
    {
        if (recording_) {
            attribute_recorded(sequence, packet);
        }
    }
    [[nodiscard]] std::uint64_t next_sequence() { return cpu().lane.next_sequence(); }

    // ---- hardware --------------------------------------------------------------------------------------------------
    void schedule(DeviceEvent&& event);
    /// … as if it had been scheduled when `order` was the next.
    void schedule_as(std::uint64_t order, DeviceEvent&& event);
    /// Lets all hardware events up to t happen.
    void run_hardware(SimTime t);
    /// That CPU takes this interrupt as soon as it may.
    void interrupt(Cpu& cpu, PendingIrq irq)
    {
        cpu.interrupt(irq);
        note_due();
    }
    [[nodiscard]] SimTime next_hardware_event() const { return w.next_event; }
    /// When the next thing happens by itself; `never`: nothing will.
    [[nodiscard]] SimTime next_time();
    [[nodiscard]] std::uint64_t random(std::uint64_t below);
    /// A frame of these bytes, in the memory of one that is gone, if there is one.
    [[nodiscard]] std::vector<std::uint8_t> new_frame(std::span<const std::uint8_t> bytes)
    {
        std::vector<std::uint8_t> frame;
        if (!gone_frames_.empty()) {
            frame = std::move(gone_frames_.back());
            gone_frames_.pop_back();
        }
        frame.assign(bytes.begin(), bytes.end());
        return frame;
    }
    /// Nobody needs this one any more.
    void frame_gone(std::vector<std::uint8_t>&& frame)
    {
        if (gone_frames_.size() < most_gone_frames) {
            gone_frames_.push_back(std::move(frame));
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------------
    /// Runs all hosts until nothing can happen before t any more. Afterwards the trace is complete up to t.
    void run_until(SimTime t);
    /// Runs this CPU's softirqs to their end inside the system call that they interrupt, which waits on the C++ stack; the
    /// other CPUs go on meanwhile.
    void finish_softirqs_here();
    /// Lets the other CPUs go on up to this one's time, inside a long system call (`on_cpp_stack`).
    void interleave();
    /// This CPU stands still, as a virtual one whose host does something else; the others and the hardware go on.
    void stand_still(Duration time);
    /// Nothing will happen by itself any more.
    [[nodiscard]] bool idle();

    /// The calls that follow run on that CPU. Only between quanta.
    void set_cpu(Cpu& cpu)
    {
        cpu_row.row_ = static_cast<std::uint32_t>(&cpu - w.cpus.data());
        cpu_ = &cpu;
        if (!w.host_costs.empty()) [[unlikely]] {
            host_costs_ = &w.host_costs[cpu_->host];
            costs_ = host_costs_->by_function();
        }
        note_due();
    }

private:
    friend class Call;
    /// A function boundary, where hard interrupts that are due come in: something is, or the call is to be recorded. One comparison, as
    /// a packet passes two hundred of them.
    [[nodiscard]] bool must_stop() const { return cpu_->now >= stop_from_; }
    /// A function is entered: what is due happens, its record is written, whose place in this CPU's lane is told (if recording), and
    /// it costs its time.
    template <typename Packet>
    void enter(Lane::Place& place, FunctionId function, Packet packet, std::uint32_t arg)
    {
        if (must_stop()) {
            enter_watched(place, function, packet, arg);
        } else {
            cpu_->now += costs_[to_index(function)];
        }
    }
    // All of it, for the others: out of the way of the code that calls.
    void enter_watched(Lane::Place& place, FunctionId function, PacketId packet, std::uint32_t arg);
    void enter_watched(Lane::Place& place, FunctionId function, SkbIndex skb, std::uint32_t arg);
    void enter_after_more(Lane::Place& place, FunctionId function, PacketId packet, std::uint32_t arg); ///< interrupts first, or room for it
    void open_watched(OpenHandle& handle, FunctionId function, PacketId packet, std::uint32_t arg);
    void look_up();
    void look_up_now();
    /// To be called whenever the running CPU, its waiting interrupts or World::next_event have changed.
    void note_due()
    {
        due_ = cpu_->irq_waits ? SimTime{} : w.next_event;
        stop_from_ = recording_ ? SimTime{} : due_;
    }
    /// Precondition: in the quantum in which it was opened, so that nothing has been merged meanwhile.
    void close_recorded(Lane::Place place);
    void close_lasting(const OpenHandle& call);
    void field_changed(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after);
    void field_changed_in_larger_table(SkbIndex skb, SkbField field, std::uint64_t before, std::uint64_t after);
    Event& record(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg);
    Event& record_in_larger_lane(EventKind kind, PacketId packet, FunctionId function, std::uint32_t arg);
    [[nodiscard]] std::uint32_t duration_since(SimTime start)
    {
        const auto elapsed = static_cast<std::uint64_t>((cpu_->now - start).ns);
        return static_cast<std::uint32_t>(std::min<std::uint64_t>(elapsed, Event::unknown_duration - 1));
    }
    void close_late(const OpenHandle& call); ///< in a later quantum than it began
    /// The CPU whose clock is furthest behind, of those that have something to do; `until`: nobody else is due before.
    [[nodiscard]] Cpu* next_cpu(SimTime* until = nullptr);
    void step_cpu(); ///< this one
    int go_on_in_softirq(SimTime before, int most);
    void take_interrupts();
    void merge(SimTime horizon);
    void emit_hardware_recorded(EventKind kind, SimTime at, const NetDevice& device, PacketId packet, std::uint32_t arg);
    void attribute_recorded(std::uint64_t sequence, PacketId packet);
    void count_recorded(NetIndex net, Mib counter, PacketId packet, std::uint64_t by);
    void count_device_recorded(DeviceIndex device, DevStat counter, PacketId packet, std::uint64_t by, SimTime at);
    void counter_changed(CounterId counter, HostId host, PacketId packet, std::uint64_t before, std::uint64_t after, SimTime at);

    Cpu* cpu_;
    SimTime stop_from_;     ///< from here on a function boundary is more than its cost
    const Duration* costs_; ///< by function
    const bool recording_;
    const Costs* host_costs_; ///< what costs_ is of
    SimTime due_; ///< from here on this CPU has an interrupt to take or the hardware something to do
    bool woken_ = false;
    static constexpr std::size_t most_gone_frames = 256; ///< a ring of them
    std::vector<std::vector<std::uint8_t>> gone_frames_;
};

/// A call that begins here and ends with this scope, in the same quantum.
class Call {
public:
    Call(Kernel& kernel, FunctionId function, SkbIndex skb, std::uint32_t arg = 0) : kernel_(kernel)
    {
        kernel.enter(place_, function, skb, arg);
    }
    Call(Kernel& kernel, FunctionId function, PacketId packet, std::uint32_t arg = 0) : kernel_(kernel)
    {
        kernel.enter(place_, function, packet, arg);
    }
    Call(Kernel& kernel, FunctionId function) : Call(kernel, function, PacketId::none) {}
    ~Call()
    {
        if (kernel_.recording_) {
            kernel_.close_recorded(place_);
        }
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

private:
    Kernel& kernel_;
    Lane::Place place_; ///< of a call that is recorded; of others nobody asks for it, nor is it written
};

// include/linux/interrupt.h
inline constexpr std::uint8_t TIMER_SOFTIRQ = 1;
inline constexpr std::uint8_t NET_TX_SOFTIRQ = 2;
inline constexpr std::uint8_t NET_RX_SOFTIRQ = 3;
inline constexpr std::uint8_t TASKLET_SOFTIRQ = 6;
inline constexpr std::uint8_t HRTIMER_SOFTIRQ = 8;

} // namespace skbscope::kernel
