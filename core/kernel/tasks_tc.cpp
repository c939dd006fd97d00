// tc(8): a task that sleeps until its time comes and then puts another qdisc on a device.

#include "core/kernel/sch.h"
#include "core/kernel/tasks.h"

namespace skbscope::kernel {

void step_tc(Kernel& k, std::int32_t index)
{
    Task& task = k.task(index);
    const QdiscChange& change = k.w.qdisc_changes[static_cast<std::size_t>(task.socket)];
    if (k.cpu().now < change.at) {
        wake_at(k, index, change.at);
        return;
    }
    qdisc_graft(k, change.device, change.spec);
    task.state = Task::State::finished;
}

} // namespace skbscope::kernel
