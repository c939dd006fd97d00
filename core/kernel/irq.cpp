// kernel/irq/chip.c and kernel/irq/handle.c: from the vector to the driver's handler and out again.

#include "core/kernel/drivers/driver.h"

namespace skbscope::kernel {

namespace {

/// A legacy line (INTx) behind the IO-APIC, or a message of its own (MSI-X): e1000 knows only the first.
FunctionId flow_handler(DeviceKind kind)
{
    return kind == DeviceKind::e1000 ? fn::handle_fasteoi_irq : fn::handle_edge_irq;
}

void device_interrupt(Kernel& k, const PendingIrq& irq)
{
    const DeviceKind kind = k.device(irq.index).kind;
    Call flow(k, flow_handler(kind));
    Call event(k, fn::handle_irq_event);
    Call percpu(k, fn::handle_irq_event_percpu);
    Call inner(k, fn::__handle_irq_event_percpu);
    netdev_ops(kind).interrupt(k, irq.index, irq.vector);
}

/// The local APIC's timer: hrtimers run here, the soft ones and the timer wheel in their softirqs on the way out.
void timer_interrupt(Kernel& k)
{
    Call call(k, fn::hrtimer_interrupt);
    run_hrtimers(k);
    if (!k.cpu().expired_hrsoft.empty()) {
        __raise_softirq_irqoff(k, HRTIMER_SOFTIRQ);
    }
    if (!k.cpu().expired_soft.empty()) {
        __raise_softirq_irqoff(k, TIMER_SOFTIRQ);
    }
}

/// /proc/interrupts: kstat_incr_irqs_this_cpu().
void count_interrupt(Cpu& cpu, const PendingIrq& irq)
{
    if (irq.kind != PendingIrq::Kind::device) {
        ++(irq.kind == PendingIrq::Kind::timer ? cpu.timer_interrupts : cpu.ipis);
        return;
    }
    for (InterruptCount& known : cpu.interrupts) {
        if (known.device == irq.index && known.vector == irq.vector) {
            ++known.count;
            return;
        }
    }
    cpu.interrupts.push_back({irq.index, irq.vector, 1});
}

void run_handler(Kernel& k, const PendingIrq& irq)
{
    count_interrupt(k.cpu(), irq);
    switch (irq.kind) {
    case PendingIrq::Kind::device: device_interrupt(k, irq); break;
    case PendingIrq::Kind::timer: timer_interrupt(k); break;
    case PendingIrq::Kind::rps_ipi:
        if (irq.index == nothing) {
            raise_softirq_irqoff(k, NET_RX_SOFTIRQ); // trigger_rx_softirq(): the deferred frees have become many
        } else {
            rps_trigger_softirq(k, irq.index);
        }
        break;
    }
}

} // namespace

void handle_interrupt(Kernel& k, const PendingIrq& irq)
{
    const Context interrupted = k.cpu().context;
    k.cpu().context = Context::hardirq;
    run_handler(k, irq);
    irq_exit_rcu(k, interrupted);
    k.cpu().context = interrupted;
}

} // namespace skbscope::kernel
