// kernel/softirq.c: raising softirqs, the loop that runs them, and its hand-over to ksoftirqd.

#include "core/kernel/functions.h"
#include "core/kernel/ipv4.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t MAX_SOFTIRQ_RESTART = 10;
constexpr std::int64_t MAX_SOFTIRQ_TIME = 1; ///< msecs_to_jiffies(2)

bool in_interrupt(const Cpu& cpu)
{
    return cpu.context != Context::process || cpu.in_softirq || cpu.bh_disabled > 0;
}

bool need_resched(Kernel& k)
{
    const Cpu& cpu = k.cpu();
    return !cpu.run_queue.empty() && (cpu.task == nothing || cpu.now >= cpu.slice_end);
}

/// kernel/softirq.c: the loop moved from __do_softirq() to handle_softirqs() in 6.10 and in stable releases of 6.1.
OpenHandle open_loop(Kernel& k)
{
    if (k.profile() >= Profile::v6_1) {
        return k.open(fn::handle_softirqs, PacketId::none);
    }
    k.spend(k.costs().of(fn::handle_softirqs)); // the same work under its former name
    return k.open(fn::__do_softirq, PacketId::none);
}

void begin_round(Kernel& k, SoftirqRun& run)
{
    run.pending = k.cpu().softirq_pending;
    k.cpu().softirq_pending = 0;
    run.phase = SoftirqRun::Phase::pick;
}

/// handle_softirqs(), to where it lets interrupts in: they have been off since the way out of the interrupt, or since do_softirq() and
/// run_ksoftirqd() looked. What comes meanwhile finds this run begun, and leaves what it raises to the next round.
void begin_softirqs(Kernel& k, SoftirqRun::From from, const OpenCalls& outer)
{
    Cpu& cpu = k.cpu();
    SoftirqRun& run = cpu.softirq.begin(from);
    run.outer = outer;
    cpu.in_softirq = true;
    cpu.context = Context::softirq;
    run.deadline = tick_of(jiffies(cpu.now) + MAX_SOFTIRQ_TIME); // time_before(jiffies, end): up to the next tick
    run.rounds_left = MAX_SOFTIRQ_RESTART;
    begin_round(k, run);
    run.outer.push_back(open_loop(k));
}

/// Whether the thread has been woken already and all is left to it: until 6.4.
bool ksoftirqd_running(Kernel& k)
{
    if (k.profile() >= Profile::v6_12) {
        return false; // the test is gone
    }
    constexpr std::uint8_t SOFTIRQ_NOW_MASK = 1U << TASKLET_SOFTIRQ; // and HI, which nobody raises here
    Call test(k, fn::ksoftirqd_running);
    const Cpu& cpu = k.cpu();
    return (cpu.softirq_pending & SOFTIRQ_NOW_MASK) == 0 && cpu.ksoftirqd != nothing && k.task(cpu.ksoftirqd).state == Task::State::runnable;
}

void finish(Kernel& k, SoftirqRun& run)
{
    Cpu& cpu = k.cpu();
    const SoftirqRun::From from = run.from;
    // The loop itself is a softirq-level call; those around it belong to what it came from.
    k.close(run.outer.back());
    run.outer.pop_back();
    cpu.in_softirq = false;
    const bool on_task = from != SoftirqRun::From::irq_exit;
    cpu.context = on_task ? Context::process : Context::hardirq;
    k.close_all(run.outer);
    cpu.context = Context::process;
    cpu.softirq.end();
    if (from == SoftirqRun::From::ksoftirqd && k.cpu().softirq_pending == 0) {
        Task& thread = k.task(cpu.ksoftirqd);
        thread.state = Task::State::sleeping;
    }
}

void end_round(Kernel& k, SoftirqRun& run)
{
    if (k.cpu().softirq_pending == 0) {
        finish(k, run);
        return;
    }
    if (k.cpu().now < run.deadline && !need_resched(k) && --run.rounds_left > 0) {
        begin_round(k, run);
        return;
    }
    wakeup_softirqd(k);
    finish(k, run);
}

void pick_vector(Kernel& k, SoftirqRun& run)
{
    if ((run.pending & (1U << TIMER_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint16_t>(~(1U << TIMER_SOFTIRQ));
        run_timer_softirq(k);
        return;
    }
    if ((run.pending & (1U << NET_TX_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint16_t>(~(1U << NET_TX_SOFTIRQ));
        net_tx_action(k);
        return;
    }
    if ((run.pending & (1U << NET_RX_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint16_t>(~(1U << NET_RX_SOFTIRQ));
        run.phase = SoftirqRun::Phase::net_rx;
        begin_net_rx_action(k, run);
        return;
    }
    if ((run.pending & (1U << TASKLET_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint16_t>(~(1U << TASKLET_SOFTIRQ));
        Call call(k, fn::tasklet_action);
        tcp_tasklet_func(k);
        return;
    }
    if ((run.pending & (1U << HRTIMER_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint16_t>(~(1U << HRTIMER_SOFTIRQ));
        hrtimer_run_softirq(k);
        return;
    }
    end_round(k, run);
}

} // namespace

void __raise_softirq_irqoff(Kernel& k, std::uint8_t vector)
{
    Call call(k, fn::__raise_softirq_irqoff);
    k.cpu().softirq_pending |= static_cast<std::uint16_t>(1U << vector);
    k.emit(EventKind::softirq_raise, PacketId::none, fn::__raise_softirq_irqoff, vector);
}

void raise_softirq_irqoff(Kernel& k, std::uint8_t vector)
{
    Call call(k, fn::raise_softirq_irqoff);
    __raise_softirq_irqoff(k, vector);
    if (!in_interrupt(k.cpu())) {
        wakeup_softirqd(k);
    }
}

void wakeup_softirqd(Kernel& k)
{
    Call call(k, fn::wakeup_softirqd);
    wake_up(k, k.cpu().ksoftirqd, PacketId::none);
}

void local_bh_disable(Kernel& k)
{
    ++k.cpu().bh_disabled;
}

void local_bh_enable(Kernel& k)
{
    Cpu& cpu = k.cpu();
    Call call(k, fn::__local_bh_enable_ip);
    --cpu.bh_disabled;
    if (in_interrupt(cpu) || cpu.softirq_pending == 0) {
        return;
    }
    OpenCalls calls{k.open(fn::do_softirq, PacketId::none)};
    if (cpu.softirq_pending == 0 || ksoftirqd_running(k)) { // an interrupt on the way here may have served it
        k.close_all(calls);
        return;
    }
    if (k.profile() >= Profile::v6_1) {
        calls.push_back(k.open(fn::__do_softirq, PacketId::none));
    }
    begin_softirqs(k, SoftirqRun::From::local_bh_enable, calls);
    k.finish_softirqs_here();
}

void irq_exit_rcu(Kernel& k, Context interrupted)
{
    OpenCalls calls{k.open(fn::irq_exit_rcu, PacketId::none), k.open(fn::__irq_exit_rcu, PacketId::none)};
    Cpu& cpu = k.cpu();
    const bool in_interrupt = interrupted != Context::process || cpu.in_softirq || cpu.bh_disabled > 0;
    if (in_interrupt || cpu.softirq_pending == 0) {
        k.close_all(calls);
        return;
    }
    calls.push_back(k.open(fn::invoke_softirq, PacketId::none));
    if (ksoftirqd_running(k)) {
        k.close_all(calls);
        return;
    }
    if (k.profile() >= Profile::v6_1) {
        calls.push_back(k.open(fn::__do_softirq, PacketId::none)); // before that it is the loop itself
    }
    begin_softirqs(k, SoftirqRun::From::irq_exit, calls);
}

void run_ksoftirqd(Kernel& k)
{
    OpenCalls calls{k.open(fn::run_ksoftirqd, PacketId::none)};
    if (k.cpu().softirq_pending == 0) { // an interrupt on the way here served it
        k.close_all(calls);
        return;
    }
    begin_softirqs(k, SoftirqRun::From::ksoftirqd, calls);
    k.cpu().context = Context::process; // between quanta, as step_softirq() leaves it
}

void step_softirq(Kernel& k)
{
    Cpu& cpu = k.cpu();
    SoftirqRun& run = cpu.softirq.current();
    cpu.context = Context::softirq;
    switch (run.phase) {
    case SoftirqRun::Phase::pick: pick_vector(k, run); break;
    case SoftirqRun::Phase::net_rx:
    case SoftirqRun::Phase::poll: step_net_rx_action(k, run); break;
    case SoftirqRun::Phase::end: end_round(k, run); break;
    }
    // Between quanta the CPU's context is that of the interrupted task: what comes next decides again.
    if (!cpu.on_cpp_stack || cpu.softirq.empty()) {
        cpu.context = Context::process;
    }
}

} // namespace skbscope::kernel
