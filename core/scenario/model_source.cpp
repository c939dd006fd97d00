#include "core/scenario/model_source.h"

#include "core/kernel/functions.h"
#include "core/kernel/procfs.h"
#include "core/scenario/device_settings.h"
#include "core/scenario/sysctls.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <set>

namespace skbscope {

using namespace kernel;

namespace {

constexpr std::int64_t largest_rcvbuf = 2 * 212992; // twice net.core.rmem_max's default

/// Under which heading a knob stands; empty for those that a student turns first.
std::string group_of(std::string_view key)
{
    struct Prefix {
        std::string_view prefix, group;
    };
    constexpr Prefix prefixes[] = {
        {"net.core.netdev_max_backlog", ""}, {"net.core.netdev_budget", ""},      {"net.core.rmem", "Sockets"},
        {"net.core.wmem", "Sockets"},        {"net.core.", "Device core"},        {"net.ipv4.tcp", "TCP"},
        {"net.ipv4.udp", "UDP"},             {"net.ipv4.icmp", "ICMP"},           {"net.ipv4.neigh", "Neighbours"},
        {"net.ipv6.neigh", "Neighbours"},    {"net.ipv4.conf", "IPv4 by device"}, {"net.ipv4.", "IPv4"},
        {"net.ipv6.", "IPv6"},               {"net.netfilter.", "Connection tracking"}};
    if (key.ends_with(".SO_RCVBUF") || key.ends_with("_ring")) {
        return "";
    }
    for (const Prefix& known : prefixes) {
        if (key.starts_with(known.prefix)) {
            return std::string(known.group);
        }
    }
    return key.starts_with("net.") ? "Other" : "Devices";
}

/// What a scenario calls the namespace: its own name, or its machine's.
const std::string& name_of(const World& world, const Net& net)
{
    return net.name.empty() ? world.hosts[net.host].name : net.name;
}

/// "HOST/KEY" names one namespace; without it all are meant.
bool is_meant(const World& world, const SettingKey& key, NetIndex net)
{
    return key.host.empty() || name_of(world, world.nets[net]) == key.host;
}

std::string rcvbuf_key(const Socket& sk) { return fmt::format(":{}.SO_RCVBUF", sk.num); }

} // namespace

ModelSource::ModelSource(Scenario scenario, std::vector<ReplayFrame> frames)
    : ModelSource(std::move(scenario), std::make_unique<HeldFrames>(std::move(frames)))
{
}

ModelSource::ModelSource(Scenario scenario, std::unique_ptr<ReplayFrames> frames)
    : scenario_(std::move(scenario)), frames_(std::move(frames)), held_frames_(dynamic_cast<HeldFrames*>(frames_.get()))
{
    build();
}

void ModelSource::build()
{
    trace_.clear();
    world_ = build_world(scenario_, trace_);
    numbered_ = frames_->count();
    world_.next_order += numbered_; // those of the frames, however late they are fed
    line_.snapshots.clear();
    line_.looked_at = SimTime{};
}

/// Runs up to that time and puts the frames of a capture on their way as they come near: all of them at once would be a
/// heap of millions.
void ModelSource::feed(SimTime until)
{
    constexpr std::size_t few = 8;
    Kernel k(world_, trace_);
    for (std::size_t fed = 0;; ++fed) {
        const ReplayFrame* frame = frames_->frame(world_.frames_fed);
        if (frame == nullptr || frame->at > until) {
            break;
        }
        if (fed % few == 0 && fed > 0 && frame->at > line_.looked_at) {
            k.run_until(SimTime{frame->at.ns - 1});
        }
        ++world_.frames_fed;
        DeviceEvent event;
        event.kind = DeviceEvent::Kind::frame_leaves;
        event.at = frame->at;
        event.index = 0; // the replay scenario's only station
        event.frame = k.new_frame(frame->bytes);
        event.wire_length = frame->wire_length;
        if (world_.frames_fed <= numbered_) {
            k.schedule_as(world_.frames_fed, std::move(event));
        } else {
            k.schedule(std::move(event));
        }
    }
    k.run_until(until);
}

void ModelSource::add_frames(std::vector<ReplayFrame> frames)
{
    if (!keeps_snapshots_ && numbered_ == 0) {
        held_frames_->forget(world_.frames_fed);
        world_.frames_fed = 0;
    }
    SimTime earliest = line_.looked_at + 1_ns;
    for (ReplayFrame& frame : frames) {
        frame.at = std::max(frame.at, earliest);
        earliest = frame.at;
        held_frames_->add(std::move(frame));
    }
}

SimTime ModelSource::next_frame() const
{
    const ReplayFrame* frame = frames_->frame(world_.frames_fed);
    return frame == nullptr ? never : frame->at;
}

void ModelSource::advance_to(SimTime t)
{
    constexpr Duration shortest{100'000}; // how often to look whether it is time for a snapshot …
    constexpr Duration longest{10'000'000};
    constexpr std::size_t few_events = 256; // … less often where little happens
    Duration stride = shortest;
    while (line_.looked_at < t) {
        SimTime stop = t;
        if (keeps_snapshots_ && trace_.recording()) {
            // Where nothing happens for a while, one stride takes us over it.
            const SimTime next = std::min(Kernel(world_, trace_).next_time(), next_frame());
            stop = std::min(t, next == never ? never : std::max(line_.looked_at, next) + stride);
        }
        const std::size_t events = trace_.size();
        feed(stop);
        line_.looked_at = stop;
        stride = trace_.size() < events + few_events ? std::min(stride * 2, longest) : shortest;
        const std::size_t before = line_.snapshots.empty() ? 0 : line_.snapshots.back()->mark.events;
        if (keeps_snapshots_ && trace_.recording() && trace_.size() >= before + line_.snapshot_events) {
            take_snapshot();
        }
    }
}

void ModelSource::take_snapshot()
{
    if (line_.snapshots.size() == most_snapshots) {
        // Every second one goes, and half as many come from now on: any run of any length keeps at most so many.
        std::vector<std::shared_ptr<const Snapshot>> kept;
        for (std::size_t row = 1; row < line_.snapshots.size(); row += 2) {
            kept.push_back(std::move(line_.snapshots[row]));
        }
        line_.snapshots = std::move(kept);
        line_.snapshot_events *= 2;
    }
    line_.snapshots.push_back(std::make_shared<const Snapshot>(Snapshot{line_.looked_at, world_, trace_.mark(), line_.commands.size()}));
}

SimTime ModelSource::known_until() const
{
    return exhausted() ? std::max(line_.looked_at == never ? SimTime{} : line_.looked_at, trace_.end_time()) : line_.looked_at;
}

namespace {

/// Nothing will happen by itself but what happens for ever (garbage collectors).
bool is_over(const World& world)
{
    const bool quiet = std::ranges::none_of(world.cpus, [](const Cpu& cpu) { return has_work(cpu); });
    return quiet && std::ranges::all_of(world.event_queue, [&](const EventTurn& turn) { return is_background(world, world.events[turn.event]); });
}

} // namespace

bool ModelSource::exhausted() const { return next_frame() == never && is_over(world_); }

void ModelSource::run_to_end(SimTime t)
{
    run_to_end(t, [] { return true; });
}

void ModelSource::run_to_end(SimTime t, const std::function<bool()>& grown)
{
    constexpr Duration stride{1'000'000};
    constexpr std::size_t much = 2 * Trace::chunk_events;
    std::size_t told = trace_.size();
    while (!exhausted() && line_.looked_at < t) {
        SimTime next = line_.looked_at + stride;
        const SimTime due = std::min(world_.next_event, next_frame());
        if (due != never && std::ranges::none_of(world_.cpus, [](const Cpu& cpu) { return has_work(cpu); })) {
            next = std::max(next, due);
        }
        advance_to(std::min(next, t));
        if (trace_.size() >= told + much) {
            told = trace_.size();
            if (!grown()) {
                return;
            }
        }
    }
    if (exhausted()) {
        // What the CPUs did last lies a little behind the last look.
        SimTime last = line_.looked_at;
        for (const Cpu& cpu : world_.cpus) {
            last = std::max(last, cpu.now);
        }
        Kernel(world_, trace_).run_until(std::min(last, t));
        line_.looked_at = std::max(line_.looked_at, std::min(last, t));
    }
    trace_.files = host_files(world_);
}

void ModelSource::start_over()
{
    line_ = {};
    stored_.clear();
    chosen_ = 0;
    ++generation_;
    build();
}

// ---- knobs ----------------------------------------------------------------------------------------------------------------

namespace {

/// What can be turned of one namespace, or of all of them at once: then the values are those of the first that has it.
std::vector<Knob> knobs_of(const World& world, std::optional<NetIndex> only)
{
    std::vector<Knob> knobs;
    const Net& net = world.nets[only.value_or(0)];
    const auto shows = [&](NetIndex other) { return !only || other == *only; };
    const auto device_knob = [&](const NetDevice& device, const char* suffix, const char* title, const char* text, std::int64_t value) {
        knobs.push_back({device.name + suffix, device.name + " " + title, "descriptors", text, value, 48, 4096, 256, true});
    };
    for (const Socket& sk : world.sockets) {
        if (sk.in_use && sk.num != 0 && sk.queue != QueueId::none && shows(sk.net)) {
            knobs.push_back({rcvbuf_key(sk), fmt::format("Receive buffer of :{}", sk.num), "bytes",
                             "What getsockopt(SO_RCVBUF) reports. It counts truesize: a small datagram costs 1280 bytes.",
                             sk.sk_rcvbuf, 2304, largest_rcvbuf, world.nets[world.hosts[sk.host].init_net].sysctl.rmem_default, true});
        }
    }
    for (const NetDevice& device : world.devices) {
        if (shows(device.net) && (device.kind == DeviceKind::e1000 || device.kind == DeviceKind::e1000e)) {
            device_knob(device, ".rx_ring", "RX ring", "Descriptors that the NIC can fill before the driver empties them.", device.e1000.rx_ring_size);
            device_knob(device, ".tx_ring", "TX ring", "Descriptors for frames that the NIC has not sent yet; with checksum offload a datagram takes two.", device.e1000.tx_ring_size);
        }
    }
    const auto add = [&](std::string key, std::string title, std::string unit, std::string text, std::int64_t value, std::int64_t minimum,
                         std::int64_t maximum, std::int64_t usual) {
        knobs.push_back({std::move(key), std::move(title), std::move(unit), std::move(text), value, minimum, maximum, usual, maximum - minimum > 1000});
    };
    for (const NetDevice& device : world.devices) {
        if (device.kind == DeviceKind::loopback || !shows(device.net)) {
            continue;
        }
        add(device.name + ".gro", device.name + " GRO", "", "Segments of one stream go up the stack as one packet (ethtool -K gro).",
            device.gro ? 1 : 0, 0, 1, 1);
        const std::uint32_t cpus = std::min<std::uint32_t>(world.hosts[device.host].cpus, 16); // bits of the mask
        std::int64_t mask = 0;
        for (const std::uint16_t cpu : device.rx_queues.front().rps_cpus) {
            mask |= std::int64_t{1} << cpu;
        }
        add(device.name + ".rps_cpus", device.name + " RPS mask", "CPUs as bits",
            "The CPUs that share its received packets by flow, after its own CPU has taken them out of the ring; 0: none.", mask, 0,
            (std::int64_t{1} << cpus) - 1, 0);
        if (device.kind == DeviceKind::e1000) {
            add(device.name + ".copybreak", device.name + " copybreak", "bytes",
                "A received frame up to this length is copied into a small sk_buff.", device.e1000.copybreak, 0, 1522, 256);
        }
        for (const DeviceSettingRow& row : device_setting_rows()) {
            if (row.applies(device.kind)) {
                add(fmt::format("{}.{}", device.name, row.name), fmt::format("{} {}", device.name, row.title), std::string(row.unit), std::string(row.text),
                    row.get(device), row.minimum, row.maximum, row.kernel_default);
            }
        }
    }
    const Sysctls defaults;
    for (const SysctlRow& row : sysctl_rows()) {
        const bool is_elsewhere = only && is_machine_wide(row.name) && world.hosts[net.host].init_net != *only;
        if (is_elsewhere) {
            continue;
        }
        const std::int64_t top = std::min<std::int64_t>(row.maximum, std::max<std::int64_t>(row.minimum + 1, (defaults.*row.member) * 100));
        add(std::string(row.name), std::string(row.title), std::string(row.unit), std::string(row.text),
            net.sysctl.*row.member, row.minimum, top, defaults.*row.member);
    }
    const Ipv4DevConf usual = Ipv4DevConf::all();
    for (const DevConfRow& row : dev_conf_rows()) {
        add(fmt::format("net.ipv4.conf.all.{}", row.name), std::string(row.name), "", std::string(row.text),
            net.ipv4.conf_all[row.which], row.minimum, row.maximum, usual[row.which]);
    }
    for (const DevConf6Row& row : dev_conf6_rows()) {
        add(fmt::format("net.ipv6.conf.all.{}", row.name), fmt::format("{} (IPv6)", row.name), "", std::string(row.text),
            net.ipv6.conf_all.*row.member, row.minimum, row.maximum, Ipv6DevConf{}.*row.member);
    }
    // What a student turns first comes first.
    std::stable_partition(knobs.begin(), knobs.end(), [](const Knob& knob) {
        return knob.key == "net.core.netdev_max_backlog" || knob.key.ends_with(".SO_RCVBUF") || knob.key.ends_with("_ring");
    });
    for (Knob& knob : knobs) {
        knob.group = group_of(knob.key);
    }
    return knobs;
}

} // namespace

std::vector<Knob> ModelSource::knobs() const
{
    // Without a host a knob means all that have it; where there are several, each has its own beside it.
    std::vector<Knob> knobs = knobs_of(world_, std::nullopt);
    std::set<std::string> known;
    std::erase_if(knobs, [&](const Knob& knob) { return !known.insert(knob.key).second; });
    for (NetIndex net = 0; world_.nets.size() > 1 && net < world_.nets.size(); ++net) {
        for (Knob& knob : knobs_of(world_, net)) {
            knob.key = fmt::format("{}/{}", name_of(world_, world_.nets[net]), knob.key);
            knobs.push_back(std::move(knob));
        }
    }
    return knobs;
}

std::vector<Action> ModelSource::actions() const
{
    if (world_.flows.empty() && std::ranges::none_of(world_.tasks, [](const Task& t) { return t.program == Program::udp_sender; })) {
        return {};
    }
    return {{"send_one", "Send one", "One more datagram of the first flow, now."},
            {"send_burst", fmt::format("Send {}", scenario_.burst), "A burst of datagrams of the first flow, back to back."}};
}

void ModelSource::rewind_to(SimTime at)
{
    ++generation_;
    std::erase_if(line_.commands, [&](const Command& c) { return c.at > at; });
    while (!line_.snapshots.empty() && line_.snapshots.back()->at > at) {
        line_.snapshots.pop_back();
    }
    std::size_t done = 0;
    if (line_.snapshots.empty()) {
        build();
    } else {
        const Snapshot& from = *line_.snapshots.back();
        world_ = from.world;
        trace_.rewind(from.mark);
        line_.looked_at = from.at;
        done = from.commands;
    }
    // What a person did since then is done again: a run is always the same.
    const std::vector<Command> commands = line_.commands;
    line_.commands.resize(done);
    for (; done < commands.size(); ++done) {
        advance_to(commands[done].at);
        line_.commands.push_back(commands[done]);
        apply(commands[done]);
    }
    advance_to(at);
}

Result<void> ModelSource::take(Command command)
{
    if (command.at < line_.looked_at) {
        rewind_to(command.at);
    } else {
        advance_to(command.at);
    }
    line_.commands.push_back(command);
    apply(command);
    return {};
}

namespace {

/// Of net.ipv4.conf.DEVICE.… and net.ipv6.conf.DEVICE.…; other settings name none.
bool names_a_device_that_is_there(const World& world, const std::string& key, const std::vector<NetIndex>& nets)
{
    std::string name;
    if (const auto conf = find_dev_conf(key)) {
        name = conf->device;
    } else if (const auto conf6 = find_dev_conf6(key)) {
        name = conf6->device;
    }
    return name.empty() || name == "all" || name == "default" || std::ranges::any_of(world.devices, [&](const NetDevice& device) {
        return device.name == name && std::ranges::find(nets, device.net) != nets.end();
    });
}

/// A setting of a device or a socket of that namespace.
bool has_setting(const World& world, NetIndex net, const std::string& key)
{
    return std::ranges::any_of(world.devices, [&](const NetDevice& device) { return device.net == net && key.starts_with(device.name + "."); }) ||
           std::ranges::any_of(world.sockets, [&](const Socket& sk) { return sk.in_use && sk.net == net && rcvbuf_key(sk) == key; });
}

} // namespace

Result<void> ModelSource::check(const std::string& whole, std::int64_t value) const
{
    const SettingKey key = split_setting_key(whole);
    std::vector<NetIndex> meant;
    for (NetIndex net = 0; net < world_.nets.size(); ++net) {
        if (is_meant(world_, key, net)) {
            meant.push_back(net);
        }
    }
    if (meant.empty()) {
        return fail(ErrorKind::invalid, whole, fmt::format("there is no host '{}' here", key.host));
    }
    std::int64_t minimum = 0, maximum = 0;
    if (const auto range = sysctl_range(key.key)) {
        minimum = range->minimum;
        maximum = range->maximum;
        const bool nobody_has_it = is_machine_wide(key.key) && std::ranges::none_of(meant, [&](NetIndex net) { return world_.hosts[world_.nets[net].host].init_net == net; });
        if (nobody_has_it) {
            return fail(ErrorKind::invalid, whole, "it is the whole machine's", fmt::format("{}/{}", world_.hosts[world_.nets[meant.front()].host].name, key.key));
        }
        if (!names_a_device_that_is_there(world_, key.key, meant)) {
            return fail(ErrorKind::invalid, whole, "there is no such device here");
        }
    } else {
        const auto all = knobs();
        const auto knob = std::ranges::find(all, key.key, &Knob::key);
        const bool there = knob != all.end() && (key.host.empty() || std::ranges::any_of(meant, [&](NetIndex net) { return has_setting(world_, net, key.key); }));
        if (!there) {
            return fail(ErrorKind::invalid, whole, "there is no such setting here");
        }
        // A knob's slider ends where it stops being useful; a buffer that is larger already may stay so.
        minimum = knob->minimum;
        maximum = std::max(knob->maximum, knob->value);
    }
    if (value < minimum || value > maximum) {
        return fail(ErrorKind::invalid, whole, fmt::format("{} is out of range", value), fmt::format("allowed: {} … {}", minimum, maximum));
    }
    return {};
}

Result<std::int64_t> ModelSource::knob_value(const std::string& key, const std::string& text) const
{
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return fail(ErrorKind::invalid, key, fmt::format("'{}' is not a whole number", text));
    }
    if (auto checked = check(key, value); !checked) {
        return tl::unexpected(checked.error());
    }
    return value;
}

Result<void> ModelSource::set_knob(const std::string& key, std::int64_t value, SimTime at)
{
    if (auto checked = check(key, value); !checked) {
        return checked;
    }
    return take({at, key, value, false});
}

// ---- branches -------------------------------------------------------------------------------------------------------------

std::vector<Branch> ModelSource::branches() const
{
    std::vector<Branch> all;
    for (std::size_t index = 0; index < std::max<std::size_t>(stored_.size(), 1); ++index) {
        const bool shown = index == chosen_;
        const Line& line = shown ? line_ : stored_[index]->line;
        const World& world = shown ? world_ : stored_[index]->world;
        const bool over = world.frames_fed >= frames_->count() && is_over(world);
        const SimTime until = over ? std::max(line.looked_at, branch_trace(index).end_time()) : line.looked_at;
        all.push_back({line.title, line.parted, line.id, until, over});
    }
    return all;
}

const Trace& ModelSource::branch_trace(std::size_t index) const
{
    return index == chosen_ ? trace_ : stored_[index]->trace;
}

void ModelSource::store_line()
{
    stored_.resize(std::max<std::size_t>(stored_.size(), 1));
    stored_[chosen_] = std::make_unique<Stored>();
    std::swap(stored_[chosen_]->line, line_);
    std::swap(stored_[chosen_]->world, world_);
    std::swap(stored_[chosen_]->trace, trace_);
}

void ModelSource::choose_branch(std::size_t index)
{
    if (index == chosen_ || index >= stored_.size()) {
        return;
    }
    store_line();
    const std::unique_ptr<Stored> chosen = std::move(stored_[index]);
    line_ = std::move(chosen->line);
    world_ = std::move(chosen->world);
    trace_ = std::move(chosen->trace);
    chosen_ = index;
    ++generation_;
}

void ModelSource::make_room()
{
    while (stored_.size() > most_branches) {
        const std::size_t oldest = chosen_ == 1 ? 2 : 1;
        stored_.erase(stored_.begin() + static_cast<std::ptrdiff_t>(oldest));
        chosen_ -= oldest < chosen_ ? 1 : 0;
    }
}

namespace {

/// "net.core.netdev_max_backlog = 10 at 1.25 ms"
std::string title_of(const std::map<std::string, std::string>& settings, SimTime at)
{
    std::string title;
    for (const auto& [key, set_to] : settings) {
        title += fmt::format("{}{} {}", title.empty() ? "" : ", ", key, set_to);
    }
    return title + fmt::format(" at {} ms", static_cast<double>(at.ns) / 1e6);
}

} // namespace

Result<void> ModelSource::branch(const std::string& key, std::int64_t value, SimTime at)
{
    if (auto checked = check(key, value); !checked) {
        return checked;
    }
    return branch_by({at, key, value, false}, fmt::format("= {}", value));
}

Result<void> ModelSource::branch_by(Command command, std::string set_to)
{
    const std::string key = command.key;
    const SimTime at = command.at;
    // Everything else that a person did stays as it was, also behind that moment: one thing changes.
    std::vector<Command> later;
    std::ranges::copy_if(line_.commands, std::back_inserter(later), [&](const Command& c) { return c.at > at && c.key != key; });
    if (chosen_ != 0 && at == line_.parted) {
        // The same place: it is this branch that changes.
        std::erase_if(line_.commands, [&](const Command& c) { return c.at > at; });
        if (line_.parted_by.contains(key)) {
            const auto last = std::ranges::find(line_.commands.rbegin(), line_.commands.rend(), key, &Command::key);
            if (last != line_.commands.rend()) {
                line_.commands.erase(std::next(last).base());
            }
        }
        line_.parted_by[key] = std::move(set_to);
        rewind_to(at);
    } else {
        store_line();
        const Stored& from = *stored_[chosen_];
        line_ = from.line;
        world_ = from.world;
        trace_ = from.trace.copy();
        line_.id = ++branches_made_;
        line_.parted = at;
        line_.parted_by = {{key, std::move(set_to)}};
        chosen_ = stored_.size();
        stored_.emplace_back();
        make_room();
    }
    line_.title = title_of(line_.parted_by, at);
    auto taken = take(std::move(command));
    for (auto next = later.begin(); taken && next != later.end(); ++next) {
        taken = take(*next);
    }
    return taken;
}

/// What an administrator did in between, `ip neigh flush all` on the first machine: recordings need it, it has no button.
constexpr std::string_view flush_neighbours = "flush_neighbours";

Result<void> ModelSource::act(const std::string& key, SimTime at)
{
    const auto all = actions();
    if (key != flush_neighbours && std::ranges::find(all, key, &Action::key) == all.end()) {
        return fail(ErrorKind::invalid, key, "there is no such action here");
    }
    return take({at, key, 0, true});
}

namespace {

/// Learnt entries go; those of the configuration and those that packets wait for stay.
void forget_neighbours(World& world)
{
    for (Neighbour& neighbour : world.neighbours) {
        const bool learnt = neighbour.device != nothing && world.devices[static_cast<std::size_t>(neighbour.device)].host == 0 &&
                            neighbour.state != Nud::permanent && neighbour.state != Nud::noarp;
        if (learnt && neighbour.arp_queue.empty()) {
            neighbour.device = nothing;
            neighbour.state = Nud::none;
            neighbour.timer = 0;
        }
    }
}

void announce_limit(Kernel& k, QueueId queue, std::uint64_t before, std::uint64_t after)
{
    k.emit(EventKind::queue, PacketId::none, FunctionId::none, k.trace.add_queue_change({QueueChange::What::limit, queue, before, after}));
}

/// net/core/net-sysfs.c: store_rps_map, of every receive queue.
void set_rps_mask(World& world, NetDevice& device, std::uint64_t mask)
{
    Host& host = world.hosts[device.host];
    for (NetdevRxQueue& queue : device.rx_queues) {
        queue.rps_cpus.clear();
        for (std::uint32_t cpu = 0; cpu < host.cpus && cpu < 64; ++cpu) {
            if ((mask >> cpu & 1) != 0) {
                queue.rps_cpus.push_back(static_cast<std::uint16_t>(cpu));
            }
        }
    }
    host.rps_needed = std::ranges::any_of(world.devices, [&](const NetDevice& other) {
        return other.host == device.host && std::ranges::any_of(other.rx_queues, [](const NetdevRxQueue& queue) { return !queue.rps_cpus.empty(); });
    });
}

void resize_ring(Kernel& k, NetDevice& device, bool receive, std::uint32_t size)
{
    size = (size + 7) & ~7U; // REQ_RX_DESCRIPTOR_MULTIPLE
    E1000& nic = device.e1000;
    announce_limit(k, receive ? nic.rx_queue : nic.tx_queue, receive ? nic.rx_ring_size : nic.tx_ring_size, size);
    if (!receive) {
        nic.tx_ring_size = std::max<std::uint32_t>(size, static_cast<std::uint32_t>(nic.tx.size()) + 1);
        return;
    }
    nic.rx_ring_size = size;
    const auto in_use = static_cast<std::uint32_t>(nic.rx_filled.size()) + nic.rx_to_refill;
    nic.rx_available = size - 1 > in_use ? size - 1 - in_use : 0;
}

void turn_sysctl(Kernel& k, NetIndex net, const std::string& key, std::int64_t value)
{
    const SysctlRow* row = find_sysctl(key);
    const auto before = static_cast<std::uint64_t>(row == nullptr ? 0 : k.net(net).sysctl.*row->member);
    set_sysctl(k.w, net, key, value);
    if (row == nullptr) {
        return;
    }
    for (std::size_t queue = 1; queue < k.trace.queues().size(); ++queue) {
        if (k.trace.queues()[queue].setting == row->name && k.trace.queues()[queue].host == k.w.hosts[k.net(net).host].id) {
            announce_limit(k, static_cast<QueueId>(queue), before, static_cast<std::uint64_t>(value));
        }
    }
}

void turn_device(Kernel& k, NetDevice& device, std::string_view name, std::int64_t value)
{
    const bool has_rings = device.kind == DeviceKind::e1000 || device.kind == DeviceKind::e1000e; // others keep those they were made with
    if (name == "gro") {
        device.gro = value != 0;
    } else if (name == "copybreak") {
        device.e1000.copybreak = static_cast<std::uint32_t>(value);
    } else if (name == "rps_cpus") {
        set_rps_mask(k.w, device, static_cast<std::uint64_t>(value));
    } else if (has_rings && (name == "rx_ring" || name == "tx_ring")) {
        resize_ring(k, device, name == "rx_ring", static_cast<std::uint32_t>(value));
    } else if (const DeviceSettingRow* row = find_device_setting(name); row != nullptr && row->applies(device.kind)) {
        row->set(device, value);
    }
}

} // namespace

void ModelSource::apply(const Command& command)
{
    Kernel k(world_, trace_);
    // The change happens on the host's first CPU, at the moment of the command or as soon as that CPU's quantum is over.
    k.cpu().now = std::max(k.cpu().now, command.at);
    if (command.is_action) {
        k.emit(EventKind::setting, PacketId::none, FunctionId::none, trace_.add_note(command.key));
        if (command.key == flush_neighbours) {
            forget_neighbours(world_);
            return;
        }
        send(command.key == "send_burst" ? scenario_.burst : 1, command.at);
        return;
    }
    if (command.text) {
        k.emit(EventKind::setting, PacketId::none, FunctionId::none, trace_.add_note(fmt::format("{} = {}", command.key, *command.text)));
        apply_text(command.key, *command.text);
        return;
    }
    k.emit(EventKind::setting, PacketId::none, FunctionId::none, trace_.add_note(fmt::format("{} = {}", command.key, command.value)));
    const SettingKey key = split_setting_key(command.key);
    if (is_sysctl(key.key)) {
        for (NetIndex net = 0; net < world_.nets.size(); ++net) {
            const bool has_it = !is_machine_wide(key.key) || world_.hosts[world_.nets[net].host].init_net == net;
            if (has_it && is_meant(world_, key, net)) {
                turn_sysctl(k, net, key.key, command.value);
            }
        }
        return;
    }
    for (Socket& sk : world_.sockets) {
        if (sk.in_use && rcvbuf_key(sk) == key.key && is_meant(world_, key, sk.net)) {
            announce_limit(k, sk.queue, sk.sk_rcvbuf, static_cast<std::uint64_t>(command.value));
            sk.sk_rcvbuf = static_cast<std::uint32_t>(command.value);
        }
    }
    for (NetDevice& device : world_.devices) {
        if (key.key.starts_with(device.name + ".") && is_meant(world_, key, device.net)) {
            turn_device(k, device, std::string_view(key.key).substr(device.name.size() + 1), command.value);
        }
    }
}

void ModelSource::send(std::uint64_t count, SimTime at)
{
    Kernel k(world_, trace_);
    if (!world_.flows.empty()) {
        WireFlow again = world_.flows.front();
        again.remaining = count;
        again.gap = Duration{0}; // back to back: the wire itself spaces them
        world_.flows.push_back(again);
        world_.flows.front().ordinal += count;
        DeviceEvent event;
        event.kind = DeviceEvent::Kind::flow_sends;
        event.at = at;
        event.index = static_cast<std::int32_t>(world_.flows.size() - 1);
        k.schedule(std::move(event));
        return;
    }
    for (std::size_t row = 0; row < world_.tasks.size(); ++row) {
        Task& task = world_.tasks[row];
        if (task.program != Program::udp_sender) {
            continue;
        }
        task.to_send += count;
        task.next_send = std::min(task.next_send, at);
        if (task.state == Task::State::sleeping) {
            DeviceEvent event;
            event.kind = DeviceEvent::Kind::task_wakes;
            event.at = at;
            event.index = static_cast<std::int32_t>(row);
            k.schedule(std::move(event));
        }
        return;
    }
}

} // namespace skbscope
