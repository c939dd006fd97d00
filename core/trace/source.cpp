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

Result<void> Source::branch(const std::string& key, std::int64_t value, SimTime at)
{
    return set_knob(key, value, at);
}

std::optional<TextFault> Source::check_text(const std::string&, const std::string&) const
{
    return TextFault{0, 0, "this source has no texts to change", "open a scenario instead"};
}

Result<void> Source::set_text(const std::string& key, const std::string&, SimTime)
{
    return fail(ErrorKind::unsupported, key, "this source has no texts to change", "open a scenario instead");
}

Result<void> Source::branch_text(const std::string& key, const std::string& text, SimTime at)
{
    return set_text(key, text, at);
}

void Source::choose_branch(std::size_t) {}

TraceSource::TraceSource(std::string title, Trace trace) : title_(std::move(title)), trace_(std::move(trace)) {}

} // namespace skbscope
