// kernel/softirq.c: raising softirqs, the loop that runs them, and its hand-over to ksoftirqd.

#include "core/kernel/functions.h"

namespace skbscope::kernel {

namespace {

constexpr std::uint32_t MAX_SOFTIRQ_RESTART = 10;
constexpr Duration MAX_SOFTIRQ_TIME{2'000'000};

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
    k.spend(k.w.costs.of(fn::handle_softirqs)); // the same work under its former name
    return k.open(fn::__do_softirq, PacketId::none);
}

void begin_round(Kernel& k, SoftirqRun& run)
{
    run.pending = k.cpu().softirq_pending;
    k.cpu().softirq_pending = 0;
    run.phase = SoftirqRun::Phase::pick;
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
    cpu.softirq.pop_back();
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
        run.pending &= static_cast<std::uint8_t>(~(1U << TIMER_SOFTIRQ));
        run_timer_softirq(k);
        return;
    }
    if ((run.pending & (1U << NET_TX_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint8_t>(~(1U << NET_TX_SOFTIRQ));
        net_tx_action(k);
        return;
    }
    if ((run.pending & (1U << NET_RX_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint8_t>(~(1U << NET_RX_SOFTIRQ));
        run.phase = SoftirqRun::Phase::net_rx;
        begin_net_rx_action(k, run);
        return;
    }
    if ((run.pending & (1U << TASKLET_SOFTIRQ)) != 0) {
        run.pending &= static_cast<std::uint8_t>(~(1U << TASKLET_SOFTIRQ));
        Call call(k, fn::tasklet_action);
        tcp_tasklet_func(k);
        return;
    }
    end_round(k, run);
}

} // namespace

void __raise_softirq_irqoff(Kernel& k, std::uint8_t vector)
{
    Call call(k, fn::__raise_softirq_irqoff);
    k.cpu().softirq_pending |= static_cast<std::uint8_t>(1U << vector);
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
    if (k.profile() >= Profile::v6_1) {
        calls.push_back(k.open(fn::__do_softirq, PacketId::none));
    }
    cpu.softirq.begin(SoftirqRun::From::local_bh_enable).outer = calls;
    k.finish_softirqs_here();
}

void run_ksoftirqd(Kernel& k)
{
    const OpenHandle call = k.open(fn::run_ksoftirqd, PacketId::none);
    k.cpu().softirq.begin(SoftirqRun::From::ksoftirqd).outer.push_back(call);
}

void step_softirq(Kernel& k)
{
    Cpu& cpu = k.cpu();
    SoftirqRun& run = cpu.softirq.back();
    cpu.context = Context::softirq;
    switch (run.phase) {
    case SoftirqRun::Phase::begin:
        cpu.in_softirq = true;
        run.deadline = cpu.now + MAX_SOFTIRQ_TIME;
        run.rounds_left = MAX_SOFTIRQ_RESTART;
        run.outer.push_back(open_loop(k));
        begin_round(k, run);
        break;
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
