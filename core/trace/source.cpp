#include "core/trace/source.h"

namespace skbscope {

Result<void> Source::set_knob(const std::string& key, std::int64_t, SimTime)
{
    return fail(ErrorKind::unsupported, key, "this source has no settings to change", "open a scenario instead");
}

Result<void> Source::act(const std::string& key, SimTime)
{
    return fail(ErrorKind::unsupported, key, "this source only plays back", "open a scenario instead");
}

TraceSource::TraceSource(std::string title, Trace trace) : title_(std::move(title)), trace_(std::move(trace)) {}

} // namespace skbscope
