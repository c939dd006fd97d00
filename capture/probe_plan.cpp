#include "capture/probe_plan.h"

#include "core/catalog/catalog.h"

#include <algorithm>
#include <fmt/format.h>
#include <string_view>
#include <unordered_map>

namespace skbscope {

namespace {

/// What an event tells; `device` is the field that names the device, if it has one.
struct WantedEvent {
    const char* system;
    const char* name;
    const char* device; ///< "name" or "dev_name"; empty: the event names none
    const char* costs;  ///< what is missing without it; empty: another event says the same, or newer kernels only
};

constexpr WantedEvent wanted_events[] = {
    {"net", "net_dev_queue", "name", "packets are first seen when the driver takes them"},
    {"net", "net_dev_start_xmit", "name", "the moment when the driver takes a packet"},
    {"net", "net_dev_xmit", "name", "whether the driver accepted a packet"},
    {"net", "netif_receive_skb", "name", "received packets"},
    {"net", "netif_receive_skb_entry", "name", "received packets of drivers without GRO, before their taps"},
    {"net", "netif_rx", "name", "packets that go through a CPU's backlog"},
    {"net", "netif_rx_entry", "name", ""},
    {"net", "netif_rx_ni_entry", "name", ""},
    {"net", "napi_gro_receive_entry", "name", "received packets before GRO"},
    {"net", "napi_gro_frags_entry", "name", ""},
    {"net", "napi_gro_receive_exit", "", "which packets GRO merged"},
    {"net", "napi_gro_frags_exit", "", ""},
    {"napi", "napi_poll", "", "polls: how many packets each took, and its budget"},
    {"skb", "kfree_skb", "", "drops"},
    {"skb", "consume_skb", "", "the normal end of packets"},
    {"skb", "skb_copy_datagram_iovec", "", "the copy to the application"},
    {"qdisc", "qdisc_enqueue", "", "when a packet began to wait in a qdisc"},
    {"qdisc", "qdisc_dequeue", "", "when a packet left a qdisc"},
    {"irq", "irq_handler_entry", "", "hardware interrupts"},
    {"irq", "irq_handler_exit", "", "how long hardware interrupts took"},
    {"irq", "softirq_raise", "", "what asked for a softirq"},
    {"irq", "softirq_entry", "", "when softirqs ran"},
    {"irq", "softirq_exit", "", "when softirqs ended"},
    {"sock", "sk_data_ready", "", ""},
    {"sock", "sock_send_length", "", ""},
    {"sock", "sock_recv_length", "", ""},
    {"udp", "udp_fail_queue_rcv_skb", "", "refusals by a socket's receive buffer beside the drop itself"},
    {"fib", "fib_table_lookup", "", "addresses and ports of sent packets, from their route lookup"},
    {"neigh", "neigh_create", "", "new neighbours"},
    {"neigh", "neigh_update", "", "answers of neighbours, for whom packets wait"},
    {"neigh", "neigh_event_send_done", "", "packets that wait for a neighbour"},
    {"neigh", "neigh_timer_handler", "", "neighbours that do not answer"},
    {"icmp", "icmp_send", "", ""},
};

/// Where what function finds the packet's bytes.
enum class DataAt : std::uint8_t { ip, elsewhere };

struct WantedProbe {
    const char* function; ///< as in 6.1
    DataAt data;
};

/// Functions whose sk_buff tells most; the IP header's place relative to skb->data as each of them finds it.
constexpr WantedProbe wanted_probes[] = {
    {"ip_rcv", DataAt::ip},          {"ip_local_deliver", DataAt::ip},       {"ip_forward", DataAt::ip},
    {"udp_rcv", DataAt::elsewhere},  {"__udp_enqueue_schedule_skb", DataAt::elsewhere},
    {"tcp_v4_rcv", DataAt::elsewhere}, {"icmp_rcv", DataAt::elsewhere},      {"skb_consume_udp", DataAt::elsewhere},
    {"ip_output", DataAt::ip},       {"ip_finish_output2", DataAt::ip},      {"neigh_resolve_output", DataAt::elsewhere},
    {"__dev_queue_xmit", DataAt::elsewhere},
};

/// Compiler clones may have lost arguments, so that their positions prove nothing: those functions are not probed.
bool is_clone(std::string_view symbol) { return symbol.find('.') != std::string_view::npos; }

std::string_view without_clone_suffix(std::string_view symbol) { return symbol.substr(0, symbol.find('.')); }

std::string fetch_text(const SkbLayout& layout, int argument, DataAt data)
{
    std::string text = fmt::format("skb=$arg{0}:x64 dev=+{1}(+{2}($arg{0})):string len=+{3}($arg{0}):u32 proto=+{4}($arg{0}):x16",
                                   argument, layout.device_name, layout.dev, layout.len, layout.protocol);
    if (data == DataAt::ip) {
        const auto byte = [&](const char* name, int offset, const char* type) {
            text += fmt::format(" {}=+{}(+{}($arg{})):{}", name, offset, layout.data, argument, type);
        };
        byte("ihl_tos", 0, "x16");
        byte("ttl", 8, "u8");
        byte("ipproto", 9, "u8");
        byte("saddr", 12, "x32");
        byte("daddr", 16, "x32");
        byte("ports", 20, "x32");
    }
    return text;
}

/// "$arg1" is the System V calling convention's here; elsewhere the kernel numbers arguments itself, too, but the
/// header bytes would be read in another order.
bool can_fetch(const HostFacts& facts) { return facts.machine == "x86_64" && facts.layout.has_value(); }

/// A string ends at the quote it began with, and nothing takes a quote's meaning away (kernel/trace/trace_events_filter.c: parse_pred()):
/// in a name that has both kinds any character may stand in such places.
std::string equals(const std::string& name)
{
    if (name.find('"') == std::string::npos) {
        return fmt::format("== \"{}\"", name);
    }
    if (name.find('\'') == std::string::npos) {
        return fmt::format("== '{}'", name);
    }
    std::string pattern = name;
    std::ranges::replace_if(pattern, [](char c) { return std::string_view("\"*?[]\\").find(c) != std::string_view::npos; }, '?');
    return fmt::format("~ \"{}\"", pattern);
}

std::string with_devices(const WantedEvent& event, const std::vector<std::string>& devices)
{
    if (devices.empty() || *event.device == '\0') {
        return {};
    }
    std::string filter;
    for (const std::string& device : devices) {
        filter += fmt::format("{}{} {}", filter.empty() ? "" : " || ", event.device, equals(device));
    }
    return filter;
}

// ---- findings

std::string mount_command() { return "sudo mount -t tracefs nodev /sys/kernel/tracing"; }

HostFinding tracefs_finding(const HostFacts& facts)
{
    HostFinding finding{"tracefs", facts.tracing == Access::usable, std::string(to_string(facts.tracing)), {}, {}, false};
    if (!facts.tracefs.empty()) {
        finding.state += " at " + facts.tracefs;
    }
    if (!facts.tracing_trouble.empty()) {
        finding.state += ": " + facts.tracing_trouble;
    }
    if (finding.available) {
        return finding;
    }
    finding.costs = "no packet can be followed through the kernel; frames, the model and recordings remain";
    finding.is_command = true;
    switch (facts.tracing) {
    case Access::absent:
        finding.remedy = "a kernel built with CONFIG_FTRACE and CONFIG_EVENT_TRACING; no command adds them";
        finding.is_command = false;
        break;
    case Access::unmounted: finding.remedy = mount_command(); break;
    case Access::read_only: finding.remedy = "sudo mount -o remount,rw " + facts.tracefs; break;
    default:
        if (facts.lockdown == "confidentiality") {
            finding.remedy = "boot without lockdown=confidentiality; no command lifts it";
            finding.is_command = false;
        } else if (facts.user != 0) {
            finding.remedy = "sudo skbscope record -w OUT";
        } else {
            finding.remedy = "run it on the host itself: this container or its security policy keeps tracefs closed";
            finding.is_command = false;
        }
    }
    return finding;
}

/// The finding for a file of tracefs that tracing as a whole does not need.
HostFinding file_finding(const HostFacts& facts, std::string piece, Access access, std::string costs, std::string option)
{
    HostFinding finding{std::move(piece), access == Access::usable, std::string(to_string(access)), {}, {}, false};
    if (finding.available) {
        return finding;
    }
    finding.costs = std::move(costs);
    if (facts.tracing != Access::usable) {
        finding.state = "not known: tracefs is " + std::string(to_string(facts.tracing));
        finding.remedy = "allow tracefs first";
    } else if (access == Access::absent) {
        finding.remedy = fmt::format("a kernel built with {}; no command adds it", option);
    } else if (!facts.lockdown.empty() && facts.lockdown != "none") {
        finding.remedy = fmt::format("boot without lockdown={}; no command lifts it", facts.lockdown);
    } else if (facts.user != 0) {
        finding.remedy = "sudo skbscope record -w OUT";
        finding.is_command = true;
    } else {
        finding.remedy = "this kernel refuses it even to root; another kernel or a virtual machine allows it";
    }
    return finding;
}

HostFinding function_finding(const HostFacts& facts)
{
    const bool has_tracer = facts.tracers.contains("function");
    HostFinding finding = file_finding(facts, "function tracer", has_tracer ? facts.function_filter : Access::absent,
                                   "only the places where the kernel reports packets itself are seen, not each function between them",
                                   "CONFIG_FUNCTION_TRACER and CONFIG_DYNAMIC_FTRACE");
    if (!finding.available && has_tracer && facts.function_filter == Access::denied) {
        finding.state = "the tracer is there, but its filter is not permitted";
    }
    return finding;
}

HostFinding probes_finding(const HostFacts& facts)
{
    HostFinding finding = file_finding(facts, "kprobe events", facts.kprobe_events,
                                   "addresses and ports of packets without a captured frame, and proof of which packet a function serves",
                                   "CONFIG_KPROBE_EVENTS");
    if (finding.available && !can_fetch(facts)) {
        finding.available = false;
        finding.state = facts.layout ? "arguments are read on x86_64 only" : "usable, but without BTF nobody knows where an sk_buff keeps what";
        finding.costs = "addresses and ports of packets without a captured frame";
        finding.remedy = "frames beside the trace give them: skbscope record -i DEV";
    }
    return finding;
}

HostFinding btf_finding(const HostFacts& facts)
{
    HostFinding finding{"BTF (the kernel's type information)", facts.layout.has_value(), std::string(to_string(facts.btf)), {}, {}, false};
    if (!finding.available) {
        if (facts.btf == Access::usable) {
            finding.state = "there, but struct sk_buff was not found in it";
        }
        finding.costs = "kprobe events cannot fetch addresses and ports";
        finding.remedy = "a kernel built with CONFIG_DEBUG_INFO_BTF; no command adds it";
    }
    return finding;
}

HostFinding symbols_finding(const HostFacts& facts)
{
    HostFinding finding{"kernel symbols", facts.symbols == Access::usable, std::string(to_string(facts.symbols)), {}, {}, false};
    if (!finding.available) {
        finding.costs = "a drop is known by its reason only, not by the function that dropped";
        finding.is_command = true;
        finding.remedy = facts.user != 0 ? "sudo skbscope record -w OUT" : "sysctl kernel.kptr_restrict=1";
    }
    return finding;
}

HostFinding frames_finding(const HostFacts& facts)
{
    const bool allowed = facts.has("net_raw");
    HostFinding finding{"frames (packet sockets)", allowed, allowed ? "usable" : "not permitted: CAP_NET_RAW is missing", {}, {}, false};
    if (!allowed) {
        finding.costs = "packets have no bytes: no addresses, no headers, no export for Wireshark";
        finding.remedy = "sudo skbscope record -w OUT";
        finding.is_command = true;
    }
    return finding;
}

HostFinding reasons_finding(const HostFacts& facts)
{
    HostFinding finding{"drop reasons", facts.drop_reasons, facts.drop_reasons ? "in skb:kfree_skb" : "skb:kfree_skb has none", {}, {}, false};
    if (!facts.drop_reasons) {
        finding.costs = "the reason of a drop is concluded from the function that dropped";
        finding.remedy = "a kernel from 5.17 on; no command adds them";
    }
    return finding;
}

HostFinding clock_finding(const HostFacts& facts)
{
    const bool has_mono = std::ranges::find(facts.clocks, "mono") != facts.clocks.end();
    HostFinding finding{"trace clock mono", has_mono, has_mono ? "usable" : "absent", {}, {}, false};
    if (!has_mono) {
        finding.costs = "frames are matched to packets by order alone, and wall time is approximate";
        finding.remedy = "a kernel from 4.1 on; no command adds it";
    }
    return finding;
}

void find_missing_events(const HostFacts& facts, std::vector<HostFinding>& findings)
{
    for (const WantedEvent& event : wanted_events) {
        const std::string name = fmt::format("{}:{}", event.system, event.name);
        if (*event.costs != '\0' && !facts.events.contains(name)) {
            findings.push_back({"event " + name, false, "absent", event.costs, "another kernel; no command adds an event", false});
        }
    }
}

void find_leftovers(const HostFacts& facts, std::vector<HostFinding>& findings)
{
    if (facts.leftovers.empty()) {
        return;
    }
    findings.push_back({"leftovers of dead sessions", false, fmt::format("{}", fmt::join(facts.leftovers, ", ")),
                        "nothing of the picture: they hold kernel memory", "sudo skbscope record -d 0.1 -w /dev/null", true});
}

// ---- the plan

void plan_events(const HostFacts& facts, const PlanWishes& wishes, ProbePlan& plan)
{
    for (const WantedEvent& event : wanted_events) {
        if (facts.events.contains(fmt::format("{}:{}", event.system, event.name))) {
            plan.events.push_back({event.system, event.name, with_devices(event, wishes.devices)});
        }
    }
}

std::vector<std::string> known_functions(const HostFacts& facts)
{
    std::vector<std::string> known;
    for (const std::string& symbol : facts.functions) {
        if (Catalog::find_function(without_clone_suffix(symbol)) != FunctionId::none) {
            known.push_back(symbol);
        }
    }
    std::ranges::sort(known);
    known.erase(std::unique(known.begin(), known.end()), known.end());
    return known;
}

/// Position of the sk_buff among the arguments on that kernel: the catalog says it for 6.1, and since 4.2 the functions
/// probed here have kept it.
int skb_argument(FunctionId function, KernelVersion version)
{
    return version == KernelVersion::v4_1 ? 0 : Catalog::function(function).skb_argument;
}

void plan_kprobes(const HostFacts& facts, ProbePlan& plan)
{
    const KernelVersion version = kernel_version_of(facts.kernel_release);
    for (const WantedProbe& wanted : wanted_probes) {
        const FunctionId id = Catalog::find_function(wanted.function);
        const int argument = id == FunctionId::none ? 0 : skb_argument(id, version);
        if (argument == 0) {
            continue;
        }
        // Where the list can be read it says whether the function is there whole; else the kernel will refuse the probe.
        const bool listed = facts.functions.empty() || std::ranges::binary_search(plan.functions, std::string(wanted.function));
        if (listed && !is_clone(wanted.function)) {
            plan.probes.push_back({wanted.function, wanted.function, fetch_text(*facts.layout, argument, wanted.data)});
        }
    }
}

std::uint64_t buffer_for(const HostFacts& facts)
{
    // A CPU that does nothing but network traffic makes some 130 MB of records a second: 8 MiB are 60 ms, three times what a
    // reader that is never kept waiting lets pass between two looks. Where the reader may have to wait its turn it takes
    // more. Never more than a sixteenth of memory.
    const std::uint64_t wanted = facts.has("sys_nice") ? 8192 : 16384;
    constexpr std::uint64_t least = 256;
    if (facts.memory_kb == 0) {
        return wanted / 4;
    }
    return std::clamp(facts.memory_kb / 16 / std::max(1U, facts.cpus), least, wanted);
}

} // namespace

std::string_view to_string(Detail detail)
{
    switch (detail) {
    case Detail::nothing: return "nothing";
    case Detail::frames: return "frames";
    case Detail::tracepoints: return "tracepoints";
    case Detail::probes: return "probes";
    case Detail::functions: return "functions";
    }
    return "?";
}

ProbePlan plan_probes(const HostFacts& facts, const PlanWishes& wishes)
{
    ProbePlan plan;
    plan.frames = facts.has("net_raw") && wishes.most >= Detail::frames;
    plan.buffer_kb = buffer_for(facts);
    plan.findings = {tracefs_finding(facts), frames_finding(facts),  function_finding(facts), probes_finding(facts),
                     btf_finding(facts),     symbols_finding(facts)};
    const bool readable = facts.tracing == Access::usable || facts.tracing == Access::read_only;
    if (readable) {
        plan.findings.push_back(reasons_finding(facts));
        plan.findings.push_back(clock_finding(facts));
        find_missing_events(facts, plan.findings);
        find_leftovers(facts, plan.findings);
    }
    plan.detail = plan.frames ? Detail::frames : Detail::nothing;
    if (facts.tracing != Access::usable || wishes.most < Detail::tracepoints) {
        return plan;
    }
    plan_events(facts, wishes, plan);
    if (plan.events.empty()) {
        return plan;
    }
    plan.detail = Detail::tracepoints;
    const bool has_mono = std::ranges::find(facts.clocks, "mono") != facts.clocks.end();
    // Where the kernel trusts the cycles of all CPUs for its own clock they are the cheapest stamp.
    const bool has_cycles = facts.machine == "x86_64" && facts.clocksource == "tsc" && std::ranges::find(facts.clocks, "x86-tsc") != facts.clocks.end();
    plan.clock = has_cycles ? "x86-tsc" : has_mono ? "mono" : "global";
    const std::vector<std::string> functions = known_functions(facts);
    plan.functions = functions;
    if (wishes.most >= Detail::probes && facts.kprobe_events == Access::usable && can_fetch(facts)) {
        plan_kprobes(facts, plan);
        plan.detail = plan.probes.empty() ? plan.detail : Detail::probes;
    }
    if (wishes.most >= Detail::functions && facts.tracers.contains("function") && !functions.empty()) {
        plan.detail = Detail::functions;
    } else {
        plan.functions.clear();
    }
    return plan;
}

} // namespace skbscope
