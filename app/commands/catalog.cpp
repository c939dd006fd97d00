// skbscope catalog [NAME]: what a kernel function, queue, hook or setting is called today and what it does.

#include "core/catalog/catalog.h"
#include "app/command.h"
#include "app/output.h"
#include "app/text.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace skbscope::app {
namespace {

struct Options {
    std::string name;
    std::string format = "text";
};

constexpr std::array all_versions{KernelVersion::v4_1, KernelVersion::v5_10, KernelVersion::v6_1,
                                  KernelVersion::v6_12, KernelVersion::v6_18};

std::string_view kind_name(Resolution::Kind kind)
{
    switch (kind) {
    case Resolution::Kind::function:
        return "function";
    case Resolution::Kind::queue:
        return "queue";
    case Resolution::Kind::hook:
        return "hook";
    case Resolution::Kind::setting:
        return "setting";
    case Resolution::Kind::stage:
        return "stage";
    case Resolution::Kind::tracepoint:
        return "tracepoint";
    case Resolution::Kind::softirq:
        return "softirq";
    case Resolution::Kind::syscall:
        return "system call";
    case Resolution::Kind::callback:
        return "callback";
    case Resolution::Kind::unknown:
        break;
    }
    return "unknown";
}

std::string contexts_of(std::uint8_t bits)
{
    std::vector<std::string_view> names;
    for (const auto context : {Context::process, Context::softirq, Context::hardirq, Context::nmi}) {
        if ((bits & (1U << static_cast<unsigned>(context))) != 0) {
            names.push_back(to_string(context));
        }
    }
    return fmt::format("{}", fmt::join(names, ", "));
}

/// The name in each version, versions with the same one together: "ip_rcv (5.10, 6.1), not visible to ftrace
/// in 4.1".
std::string names_by_version(const Function& function)
{
    std::vector<std::pair<std::string, std::vector<std::string_view>>> groups;
    for (const auto version : all_versions) {
        const auto at = static_cast<std::size_t>(version);
        std::string name = "not in";
        if (function.in_source[at]) {
            name = function.traceable[at] && !function.symbol[at].empty()
                       ? std::string(function.symbol[at])
                       : fmt::format("{}, not visible to ftrace,", Catalog::name_in(function.id, version));
        }
        auto group = std::ranges::find(groups, name, [](const auto& g) { return g.first; });
        if (group == groups.end()) {
            group = groups.insert(groups.end(), {name, {}});
        }
        group->second.push_back(to_string(version));
    }
    std::vector<std::string> parts;
    for (const auto& [name, versions] : groups) {
        const auto* joint = name == "not in" ? "" : " in";
        parts.push_back(fmt::format("{}{} {}", name, joint, fmt::join(versions, ", ")));
    }
    return fmt::format("{}", fmt::join(parts, "; "));
}

void print_drop_sites(const Function& function)
{
    for (const auto& site : Catalog::drop_sites()) {
        if (site.function != function.id) {
            continue;
        }
        const auto reason = site.reason == DropReasonId::none ? std::string_view("no reason recorded")
                                                              : Catalog::drop_reason(site.reason).name;
        print_entry("drops", fmt::format("{}: {}", reason, site.condition));
        if (!site.control.empty()) {
            print_entry("", fmt::format("governed by {}{}{}", site.control,
                                        site.default_value.empty() ? "" : ", default ", site.default_value));
        }
        if (!site.counters.empty()) {
            print_entry("", fmt::format("counted in {}", site.counters));
        }
        if (!site.remedy.empty()) {
            print_entry("", site.remedy);
        }
    }
}

/// What the resolution's text has not said already.
void print_function(const Function& function, std::string_view said)
{
    const auto unsaid = [said](std::string_view text) {
        return said.find(text) == std::string_view::npos ? text : std::string_view{};
    };
    const auto& stage = Catalog::stage(function.stage);
    print_entry("what", unsaid(function.what));
    print_entry("goes wrong", function.goes_wrong);
    print_entry("stage", fmt::format("{} ({})", stage.key, stage.title));
    print_entry("room", stage.room == RoomId::none ? std::string_view{} : Catalog::room(stage.room).title);
    print_entry("runs in", contexts_of(function.contexts));
    print_entry("direction", to_string(function.direction));
    print_entry("source", function.source);
    print_entry("names", names_by_version(function));
    print_entry("also", unsaid(function.other_names));
    print_entry("note", unsaid(function.note));
    print_drop_sites(function);
}

void print_setting(const Setting& setting)
{
    print_entry("default", setting.value);
    print_entry("source", setting.source);
}

void print_text(const Resolution& found)
{
    const auto renamed = !found.today.empty() && found.today != found.asked;
    fmt::print("{}: {}{}{}\n", found.asked, kind_name(found.kind), renamed ? ", today " : "",
               renamed ? found.today : std::string());
    print_entry(" ", found.text);
    if (found.function != FunctionId::none) {
        print_function(Catalog::function(found.function), found.text);
    } else if (const auto* setting = Catalog::find_setting(found.today.empty() ? found.asked : found.today)) {
        print_setting(*setting);
    }
}

nlohmann::ordered_json function_as_json(const Function& function)
{
    nlohmann::ordered_json names = nlohmann::ordered_json::object();
    for (const auto version : all_versions) {
        const auto at = static_cast<std::size_t>(version);
        if (function.in_source[at]) {
            names[std::string(to_string(version))] = {{"name", Catalog::name_in(function.id, version)},
                                                      {"symbol", function.symbol[at]},
                                                      {"traceable", function.traceable[at]}};
        }
    }
    const auto& stage = Catalog::stage(function.stage);
    return {{"function", function.name},
            {"stage", stage.key},
            {"room", Catalog::room(stage.room).key},
            {"direction", to_string(function.direction)},
            {"contexts", contexts_of(function.contexts)},
            {"source", function.source},
            {"what", function.what},
            {"goes_wrong", function.goes_wrong},
            {"note", function.note},
            {"names", names}};
}

nlohmann::ordered_json as_json(const Resolution& found)
{
    nlohmann::ordered_json json = {{"asked", found.asked},
                                   {"kind", kind_name(found.kind)},
                                   {"today", found.today},
                                   {"text", found.text}};
    if (found.function != FunctionId::none) {
        json.update(function_as_json(Catalog::function(found.function)));
    }
    return json;
}

/// All functions, one a line: name, stage, source.
void list(const std::string& format)
{
    auto json = nlohmann::ordered_json::array();
    for (const auto& function : Catalog::functions().subspan(1)) {
        if (format == "json") {
            json.push_back(function_as_json(function));
        } else {
            fmt::print("{}\t{}\t{}\n", function.name, Catalog::stage(function.stage).key, function.source);
        }
    }
    if (format == "json") {
        fmt::print("{}\n", json.dump(1));
    }
}

Result<int> run(const Options& options)
{
    if (options.name.empty()) {
        list(options.format);
        return 0;
    }
    const auto found = Catalog::resolve(options.name);
    if (found.kind == Resolution::Kind::unknown) {
        return fail(
            ErrorKind::not_found, options.name, "no function, queue, hook or setting of that name is known",
            found.suggestions.empty() ? "skbscope catalog lists all functions"
                                      : fmt::format("near it: {}", fmt::join(found.suggestions, ", ")));
    }
    if (options.format == "json") {
        fmt::print("{}\n", as_json(found).dump(1));
    } else {
        print_text(found);
    }
    return 0;
}

} // namespace

void add_catalog_command(CLI::App& program, Invocation& chosen)
{
    auto [command, options] = add_command<Options>(
        program, chosen, "catalog",
        "What a kernel function, queue, hook or setting is, and what it is called in which kernel",
        "  skbscope catalog                       list all functions\n"
        "  skbscope catalog enqueue_to_backlog\n"
        "  skbscope catalog net.core.netdev_max_backlog\n",
        run);
    command->add_option("NAME", options->name,
                        "A name of any kernel version; without it, all functions are listed");
    add_format_option(*command, options->format);
}

} // namespace skbscope::app
