#pragma once
// What the modelled applications share: sleeping, computing, and the step of each kind (tasks_<kind>.cpp).

#include "core/kernel/functions.h"

namespace skbscope::kernel {

void sleep(Kernel& k, std::int32_t task); ///< until wake_up()
void wake_at(Kernel& k, std::int32_t task, SimTime at); ///< sleeps until then
/// The application computes (Task::work_left); interrupts find it at every slice.
void compute(Kernel& k, Task& task);
/// This CPU's whole slices of that that end before `before`, as if they had been stepped one by one. Precondition: nothing
/// else happens until then, on no CPU and no device.
void compute_ahead(Kernel& k, SimTime before);

void step_ping(Kernel& k, std::int32_t task);
void step_frame_sender(Kernel& k, std::int32_t task);
void step_tc(Kernel& k, std::int32_t task);
void step_pktgen(Kernel& k, std::int32_t task);

} // namespace skbscope::kernel
