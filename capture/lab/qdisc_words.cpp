#include "capture/lab/qdisc_words.h"

#include <fmt/format.h>

namespace skbscope::lab {

namespace {

constexpr std::string_view names[] = {"noqueue", "pfifo_fast", "pfifo", "bfifo", "tbf", "fq_codel", "mq"};
static_assert(std::size(names) == kernel::qdisc_kind_count);

std::vector<std::string> settings_of(const kernel::QdiscSpec& qdisc)
{
    std::vector<std::string> words;
    const auto with = [&](bool given, const char* word, std::string value) {
        if (given) {
            words.insert(words.end(), {word, std::move(value)});
        }
    };
    const auto number = [&](const std::optional<std::uint32_t>& value, const char* word, const char* unit = "") {
        with(value.has_value(), word, fmt::format("{}{}", value.value_or(0), unit));
    };
    // tc reads a bare number of a rate as bits a second.
    with(qdisc.rate != 0, "rate", fmt::format("{}bit", qdisc.rate * 8));
    with(qdisc.burst != 0, "burst", std::to_string(qdisc.burst));
    with(qdisc.peakrate != 0, "peakrate", fmt::format("{}bit", qdisc.peakrate * 8));
    with(qdisc.mtu != 0, "mtu", std::to_string(qdisc.mtu));
    number(qdisc.limit, "limit");
    number(qdisc.flows, "flows");
    number(qdisc.quantum, "quantum");
    number(qdisc.target_us, "target", "us");
    number(qdisc.interval_us, "interval", "us");
    number(qdisc.ce_threshold_us, "ce_threshold", "us");
    number(qdisc.memory_limit, "memory_limit");
    number(qdisc.drop_batch, "drop_batch");
    if (qdisc.kind == kernel::QdiscKind::fq_codel && !qdisc.ecn) {
        words.emplace_back("noecn");
    }
    if (qdisc.kind == kernel::QdiscKind::tbf && !qdisc.limit) {
        // tc insists on a limit, though an inner discipline replaces the queue that it would govern.
        words.insert(words.end(), {"limit", "1"});
    }
    return words;
}

Command command_for(const std::string& space, const std::string& device, const std::vector<std::string>& where, const kernel::QdiscSpec& qdisc)
{
    const std::string kind(names[static_cast<std::size_t>(qdisc.kind)]);
    Command command{{"tc", "-n", space, "qdisc", "replace", "dev", device}, {}, fmt::format("qdisc {} on {} (module sch_{})", kind, device, kind)};
    command.words.insert(command.words.end(), where.begin(), where.end());
    command.words.push_back(kind);
    const auto settings = settings_of(qdisc);
    command.words.insert(command.words.end(), settings.begin(), settings.end());
    return command;
}

} // namespace

std::vector<Command> qdisc_commands(const std::string& space, const std::string& device, const kernel::QdiscSpec& qdisc)
{
    const unsigned handle = qdisc.handle != 0 ? qdisc.handle : 1U;
    std::vector<std::string> root{"root"};
    if (qdisc.kind != kernel::QdiscKind::noqueue) {
        root.insert(root.end(), {"handle", fmt::format("{:x}:", handle)});
    }
    std::vector<Command> commands{command_for(space, device, root, qdisc)};
    for (const kernel::QdiscSpec& inner : qdisc.inner) {
        std::vector<std::string> where{"parent", fmt::format("{:x}:1", handle)};
        if (inner.handle != 0) {
            where.insert(where.end(), {"handle", fmt::format("{:x}:", inner.handle)});
        }
        commands.push_back(command_for(space, device, where, inner));
    }
    return commands;
}

} // namespace skbscope::lab
