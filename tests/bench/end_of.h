#pragma once
// The mark behind all that a trace has now: what a reader that has taken everything hands to forget_before().

#include "core/trace/trace.h"

namespace skbscope {

inline TraceMark end_of(const Trace& trace)
{
    TraceMark mark;
    mark.events = trace.size();
    mark.packets = trace.packet_count() + 1;
    mark.field_changes = trace.field_changes().size();
    mark.counter_changes = trace.counter_changes().size();
    mark.queue_changes = trace.queue_changes().size();
    mark.bytes = trace.bytes().size();
    return mark;
}

} // namespace skbscope
