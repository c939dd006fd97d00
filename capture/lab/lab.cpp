#include "capture/lab/lab.h"

#include "capture/host/proc_tables.h"
#include "capture/lab/in_space.h"
#include "capture/lab/on_veth.h"
#include "capture/lab/recorder.h"
#include "capture/lab/settings.h"
#include "capture/lab/slow_down.h"
#include "core/recording/filter.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace skbscope::lab {

namespace {

Result<void> run_all(const std::vector<Command>& commands)
{
    for (const Command& command : commands) {
        if (const auto done = run_tool(command); !done) {
            return tl::unexpected(done.error());
        }
    }
    return {};
}

/// A link that was set up carries packets only once the kernel's linkwatch has looked at it.
Result<void> wait_until_up(const Plan& plan)
{
    for (const auto& [space, device] : plan.devices) {
        const auto up = in_space(plan.spaces[space].name, true, [&]() -> Result<std::string> {
            const std::string path = fmt::format("/sys/class/net/{}/operstate", device);
            std::string state;
            for (int i = 0; i < 300; ++i) {
                std::ifstream in(path);
                in >> state;
                if (state == "up") {
                    return state;
                }
                ::usleep(10'000);
            }
            return fail(ErrorKind::unsupported, device, fmt::format("stays {} although it was set up", state));
        });
        if (!up) {
            return tl::unexpected(up.error());
        }
    }
    return {};
}

std::string read_text(const std::string& path)
{
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

/// What /proc/net says in each namespace when the traffic is over.
void add_files(Trace& trace, const Scenario& scenario, const Plan& plan)
{
    for (const Namespace& space : plan.spaces) {
        for (const char* name : {"snmp", "netstat", "snmp6", "softnet_stat", "udp", "dev"}) {
            const auto text = in_space(space.name, false, [&]() -> Result<std::string> { return read_text(fmt::format("/proc/thread-self/net/{}", name)); });
            if (text && !text->empty()) {
                trace.files.push_back({HostId{}, scenario.hosts[space.host].name, name, *text});
            }
        }
    }
}

/// What each namespace counts now, by row of the plan.
std::vector<host::Counters> count_all(const Plan& plan)
{
    std::vector<host::Counters> all;
    for (const Namespace& space : plan.spaces) {
        const auto text = in_space(space.name, false, []() -> Result<std::string> {
            std::string lines;
            for (const auto& [name, value] : host::read_counters("/proc/thread-self").counters) {
                lines += fmt::format("{} {}\n", value, name);
            }
            return lines;
        });
        host::Counters counters;
        std::istringstream in(text ? *text : std::string());
        std::uint64_t value = 0;
        for (std::string name; in >> value && std::getline(in >> std::ws, name);) {
            // The CPUs' counters are the whole machine's: once is enough.
            if (all.empty() || !name.starts_with("softnet_stat")) {
                counters[name] = value;
            }
        }
        all.push_back(std::move(counters));
    }
    return all;
}

/// Of the lab, and the loopback that each namespace has.
std::vector<std::string> names_of_devices(const Scenario& scenario)
{
    std::vector<std::string> names{"lo"};
    for (const ScenarioHost& host : scenario.hosts) {
        for (const ScenarioDevice& device : host.devices) {
            names.push_back(device.name);
        }
    }
    return names;
}

std::vector<IpAddress> own_addresses(const Scenario& scenario)
{
    std::vector<IpAddress> own;
    for (const ScenarioHost& host : scenario.hosts) {
        for (const ScenarioDevice& device : host.devices) {
            for (const auto& given : device.addresses) {
                own.push_back(IpAddress::v4(given.address));
            }
            for (const auto& given : device.addresses6) {
                own.push_back(given.address);
            }
        }
    }
    return own;
}

/// The machine has other traffic than the lab's. A packet is the lab's when it has one of its addresses; where its flow proves nothing
/// (not known, from an address that was not chosen yet, within a link, or injected), when it was seen at one of its devices or stems from one of its
/// packets. How many were not.
std::size_t leave_out_others(Trace& trace, const Scenario& scenario)
{
    const auto devices = names_of_devices(scenario);
    const auto addresses = own_addresses(scenario);
    const bool any_flow = std::ranges::any_of(scenario.hosts, [](const ScenarioHost& host) { return !host.injectors.empty(); });
    const auto is_own = [&](const IpAddress& address) { return std::ranges::find(addresses, address) != addresses.end(); };
    std::vector<PacketId> own;
    std::size_t all = 0;
    for (const PacketRecord& packet : trace.packets()) {
        if (packet.id == PacketId::none) {
            continue;
        }
        ++all;
        const bool is_here = packet.device != DeviceId::none && std::ranges::find(devices, trace.device(packet.device).name) != devices.end();
        const bool proves_nothing = !packet.flow || any_flow || packet.flow->source.is_any() || ipv6_addr_is_multicast(packet.flow->destination) ||
                                    ipv6_addr_is_linklocal(packet.flow->source);
        const bool by_flow = packet.flow && (is_own(packet.flow->source) || is_own(packet.flow->destination));
        // A clone or piece may live too short to meet anything that says whose it is (the one that a neighbour's probe is made from). Parents come first.
        const bool by_parent = packet.parent != PacketId::none && std::ranges::binary_search(own, packet.parent);
        if (by_flow || by_parent || (is_here && proves_nothing)) {
            own.push_back(packet.id);
        }
    }
    if (own.size() < all) {
        JourneyIndex journeys(trace);
        journeys.update();
        trace = filtered(trace, journeys, own);
    }
    return all - own.size();
}

/// The built-in stop for traffic that goes on for ever: how long the scenario says that it sends, and some.
double patience_of(const Scenario& scenario, double most)
{
    std::int64_t last = 0;
    const auto until = [&](Duration end) { last = std::max(last, end.ns); };
    for (const ScenarioHost& host : scenario.hosts) {
        for (const auto& sender : host.senders) {
            until(sender.times.empty() ? Duration{sender.start.ns + static_cast<std::int64_t>(sender.count) * sender.gap.ns} : sender.times.back());
        }
        for (const auto& ping : host.pings) {
            until(ping.times.empty() ? Duration{ping.start.ns + static_cast<std::int64_t>(ping.count) * ping.interval.ns} : ping.times.back());
        }
    }
    return std::min(most, static_cast<double>(last) / 1e9 + 20);
}

/// What a scenario leaves open or says otherwise and this machine decides: neighbours that were made a moment ago have no hardware header
/// cached, and AppArmor hangs its hook into every namespace where it is on.
void suit_to_machine(Scenario& scenario)
{
    std::string enabled;
    std::ifstream("/sys/module/apparmor/parameters/enabled") >> enabled;
    for (ScenarioHost& host : scenario.hosts) {
        host.lsm = enabled == "Y" ? "apparmor" : "";
        for (ScenarioNeighbour& neighbour : host.neighbours) {
            neighbour.used = false;
        }
    }
}

} // namespace

Result<LabRun> run_lab(const Scenario& scenario, const LabWishes& wishes, const std::atomic<bool>& stop_asked)
{
    auto converted = on_veth(scenario, wishes.on_veth);
    if (!converted) {
        return tl::unexpected(converted.error());
    }
    converted->scenario = slowed_down(std::move(converted->scenario), wishes.slower);
    const std::string prefix = fmt::format("skbscope-lab-{}", ::getpid());
    const auto cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
    const auto plan = make_plan(converted->scenario, prefix, static_cast<unsigned>(std::max(1L, cpus)));
    if (!plan) {
        return tl::unexpected(plan.error());
    }
    if (::geteuid() != 0) {
        return fail(ErrorKind::not_permitted, "lab", "namespaces, devices and tracing need root", "sudo skbscope lab …");
    }
    LabRun run{std::move(converted->scenario), {}, {}, std::move(converted->remarks), 0, true, {}};
    suit_to_machine(run.scenario);
    run.remarks.insert(run.remarks.end(), plan->remarks.begin(), plan->remarks.end());
    for (const std::string& line : take_back_leftovers(undo_folder)) {
        run.remarks.push_back("left behind by an earlier lab, now gone: " + line);
    }

    auto undo = UndoList::create(undo_folder);
    if (!undo) {
        return tl::unexpected(undo.error());
    }
    if (const auto guarded = undo->start_guard(); !guarded) {
        return tl::unexpected(guarded.error());
    }
    for (const Namespace& space : plan->spaces) {
        if (const auto noted = undo->add({Undo::Kind::netns, space.name, {}}); !noted) {
            return tl::unexpected(noted.error());
        }
    }
    const auto steps = {
        std::function<Result<void>()>([&] { return run_all(plan->links); }),
        std::function<Result<void>()>([&] { return apply_settings(*plan, wishes.host_settings, *undo); }),
        std::function<Result<void>()>([&] { return run_all(plan->addresses); }),
        std::function<Result<void>()>([&] { return run_all(plan->neighbours); }),
        std::function<Result<void>()>([&] { return wait_until_up(*plan); }),
        std::function<Result<void>()>([&] { return apply_rps(*plan); }),
        std::function<Result<void>()>([&] { return run_all(plan->rules); }),
    };
    for (const auto& step : steps) {
        if (const auto done = step(); !done) {
            return tl::unexpected(done.error());
        }
        if (stop_asked) {
            return fail(ErrorKind::not_permitted, "lab", "was stopped before the traffic began");
        }
    }
    auto processes = Processes::start(run.scenario, *plan, *undo);
    if (!processes) {
        return tl::unexpected(processes.error());
    }
    const auto before = count_all(*plan);
    Recorder recorder;
    if (const auto started = recorder.start(names_of_devices(run.scenario)); !started) {
        return tl::unexpected(started.error());
    }
    // Attaching took its time, and a neighbour stays reachable for 15 to 45 s: without this the traffic might find it doubted.
    if (const auto renewed = run_all(plan->neighbours); !renewed) {
        return tl::unexpected(renewed.error());
    }
    processes->go();
    run.complete = processes->wait_for_senders(patience_of(run.scenario, wishes.seconds), stop_asked);
    processes->finish();
    run.tasks = processes->counts();
    clear_rps(*plan);
    auto trace = recorder.stop();
    if (!trace) {
        return tl::unexpected(trace.error());
    }
    run.others = leave_out_others(*trace, run.scenario);
    run.trace = std::move(*trace);
    run.remarks.insert(run.remarks.end(), recorder.remarks().begin(), recorder.remarks().end());
    const auto after = count_all(*plan);
    for (std::size_t i = 0; i < after.size(); ++i) {
        const ScenarioHost& owner = run.scenario.hosts[plan->spaces[i].host];
        const std::string prefix_of_names = owner.namespace_of.empty() ? "" : owner.name + ": ";
        host::add_moves(run.trace, before[i], after[i], run.trace.end_time(), prefix_of_names);
        for (const auto& [name, value] : after[i]) {
            run.counted.insert(prefix_of_names + name);
        }
    }
    add_files(run.trace, run.scenario, *plan);
    run.trace.info.scenario = to_text(run.scenario);
    run.trace.info.source = "lab: " + run.scenario.title;
    for (const std::string& trouble : undo->take_back_all()) {
        run.remarks.push_back(trouble);
    }
    return run;
}

} // namespace skbscope::lab
