#include "core/recording/verdict_text.h"

#include "core/catalog/catalog.h"

#include <fmt/format.h>

namespace skbscope {

namespace {

std::string dropped_text(const Trace& trace, const PacketRecord& record)
{
    std::string text = "dropped";
    if (record.reason != DropReasonId::none) {
        text += fmt::format(": {}", Catalog::drop_reason(record.reason).name);
    }
    if (record.end_function != FunctionId::none) {
        text += fmt::format("{} in {}", record.reason == DropReasonId::none ? ":" : "",
                            trace.function_name(record.end_function));
    }
    return text;
}

} // namespace

std::string verdict_text(const Trace& trace, PacketId packet)
{
    const PacketRecord& record = trace.packet(packet);
    switch (record.verdict) {
    case Verdict::in_flight: return "in flight";
    case Verdict::dropped: return dropped_text(trace, record);
    case Verdict::merged:
        return record.merged_into == PacketId::none ? "merged"
                                                    : fmt::format("merged into packet {}", to_index(record.merged_into));
    case Verdict::lost: return "lost: the trace did not see its end";
    default: return std::string(to_string(record.verdict));
    }
}

} // namespace skbscope
