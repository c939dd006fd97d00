#include "capture/host/host_sampler.h"

#include "capture/host/devices.h"
#include "capture/host/rules.h"
#include "capture/host/text_file.h"
#include "core/catalog/catalog.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <iterator>
#include <optional>
#include <sched.h>
#include <set>
#include <sstream>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace skbscope::host {

namespace {

namespace fs = std::filesystem;

constexpr std::uint8_t time_wait = 6, syn_recv = 3, new_syn_recv = 12;
constexpr std::uint8_t tcp = 6, udp = 17, raw = 255;
constexpr std::uint16_t all_protocols = 3; // ETH_P_ALL

std::string endpoint(const IpAddress& address, std::uint16_t port)
{
    return address.v6 ? fmt::format("[{}]:{}", address.text(), port) : fmt::format("{}:{}", address.text(), port);
}

/// Where the network namespaces of this process and of those that started it can be entered: one of them is mostly the host's first one,
/// and that of process 1 may be looked at with CAP_SYS_PTRACE only.
std::vector<std::string> spaces_of_ancestors()
{
    constexpr std::size_t most = 32;
    std::vector<std::string> spaces;
    for (std::string pid = std::to_string(getpid()); pid != "0" && !pid.empty() && spaces.size() < most;) {
        spaces.push_back(fmt::format("/proc/{}/ns/net", pid));
        const std::string status = read_file(fmt::format("/proc/{}/status", pid)).value_or("");
        constexpr std::string_view title = "\nPPid:\t";
        const auto at = status.find(title);
        pid = at == std::string::npos ? "" : first_line(status.substr(at + title.size()));
    }
    return spaces;
}

/// The settings that the host's first network namespace shows: /proc/sys/net is that of the thread which reads it.
std::string settings_of_first_space(const std::string& proc)
{
    std::string table;
    std::thread([&] {
        for (const std::string& path : spaces_of_ancestors()) {
            const int space = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
            const bool is_inside = space >= 0 && ::setns(space, CLONE_NEWNET) == 0;
            if (space >= 0) {
                (void)::close(space);
            }
            if (is_inside && read_file(proc + "/sys/net/core/netdev_max_backlog")) { // the others do not show it
                table = settings_table(proc, {});
                return;
            }
        }
    }).join();
    return table;
}

std::string trimmed(std::string value)
{
    while (!value.empty() && (value.back() == '\n' || value.back() == ' ')) {
        value.pop_back();
    }
    std::ranges::replace(value, '\t', ' ');
    std::ranges::replace(value, '\n', ' ');
    return value;
}

/// "net.ipv4.conf.eth0.5.rp_filter" is net/ipv4/conf/eth0.5/rp_filter: a device's name keeps its dots.
std::string path_of_setting(const std::string& pattern, const std::string& device)
{
    std::string path = pattern;
    std::ranges::replace(path, '.', '/');
    if (const auto star = path.find('*'); star != std::string::npos) {
        path.replace(star, 1, device);
    }
    return path;
}

bool has_something(const SocketState& socket)
{
    return socket.receive_queue != 0 || socket.send_queue != 0 || socket.drops != 0;
}

} // namespace

std::map<std::uint32_t, std::string> socket_owners(const std::string& proc)
{
    std::map<std::uint32_t, std::string> owners;
    std::error_code error;
    for (const auto& process : fs::directory_iterator(proc, fs::directory_options::skip_permission_denied, error)) {
        const std::string pid = process.path().filename();
        if (pid.empty() || !std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) {
            continue;
        }
        std::string name;
        std::error_code refused;
        for (fs::directory_iterator file(process.path() / "fd", refused), end; !refused && file != end; file.increment(refused)) {
            std::error_code gone;
            const std::string target = fs::read_symlink(file->path(), gone);
            constexpr std::string_view prefix = "socket:[";
            std::uint32_t inode = 0;
            if (gone || !target.starts_with(prefix) ||
                std::from_chars(target.data() + prefix.size(), target.data() + target.size(), inode).ec != std::errc{}) {
                continue;
            }
            if (name.empty()) {
                name = fmt::format("{} {}", first_line(read_file(process.path() / "comm").value_or("?")), pid);
            }
            owners.try_emplace(inode, name);
        }
    }
    return owners;
}

std::string settings_table(const std::string& proc, const std::vector<std::string>& devices)
{
    std::vector<std::string> scopes{"all", "default"};
    scopes.insert(scopes.end(), devices.begin(), devices.end());
    std::string out;
    std::set<std::string> told;
    const auto tell = [&](const std::string& pattern, const std::string& device) {
        std::string name = pattern;
        if (const auto star = name.find('*'); star != std::string::npos) {
            name.replace(star, 1, device);
        }
        const auto value = read_file(proc + "/sys/" + path_of_setting(pattern, device));
        if (value && told.insert(name).second) {
            out += fmt::format("{} = {}\n", name, trimmed(*value));
        }
    };
    const auto tell_all = [&](const std::string& pattern) {
        if (!pattern.starts_with("net.") && !pattern.starts_with("vm.") && !pattern.starts_with("kernel.")) {
            return; // a socket's option, an ethtool setting, a constant
        }
        if (pattern.find('*') == std::string::npos) {
            tell(pattern, {});
            return;
        }
        for (const std::string& device : scopes) {
            tell(pattern, device);
        }
    };
    for (const Setting& setting : Catalog::settings()) {
        tell_all(std::string(setting.name));
    }
    for (const Room& room : Catalog::rooms()) {
        for (const std::string_view name : room.settings) {
            tell_all(std::string(name));
        }
    }
    return out;
}

std::string with_host_wide_settings(std::string own, const std::string& first)
{
    const std::string known = "\n" + own;
    std::istringstream lines(first);
    for (std::string line; std::getline(lines, line);) {
        const std::string name = line.substr(0, line.find(" = "));
        const bool of_devices = name.find(".conf.") != std::string::npos || (name.find(".neigh.") != std::string::npos && name.find(".gc_thresh") == std::string::npos);
        if (!of_devices && known.find("\n" + name + " = ") == std::string::npos) {
            own += line + "\n";
        }
    }
    return own;
}

void add_links(Counters& counters, const std::vector<Link>& links)
{
    for (const Link& link : links) {
        for (const auto& [name, value] : link.statistics) {
            counters[fmt::format("{}.{}", link.name, name)] = value;
        }
        if (link.carrier) {
            counters[link.name + ".carrier"] = *link.carrier ? 1 : 0;
        }
    }
}

void add_qdiscs(Counters& counters, const std::vector<QdiscStatistics>& qdiscs, const std::vector<Link>& links)
{
    for (const QdiscStatistics& qdisc : qdiscs) {
        const auto link = std::ranges::find(links, qdisc.device, &Link::index);
        const std::string device = link == links.end() ? fmt::format("device {}", qdisc.device) : link->name;
        if (qdisc.kind == "noqueue") {
            continue; // nothing waits there, and nothing is counted
        }
        const std::string name = fmt::format("qdisc {} {} {}", device, qdisc.kind, qdisc_place(qdisc));
        const std::pair<const char*, std::uint64_t> figures[] = {
            {"bytes", qdisc.bytes},           {"packets", qdisc.packets},   {"backlog_bytes", qdisc.backlog_bytes}, {"backlog_packets", qdisc.backlog_packets},
            {"drops", qdisc.drops}, {"requeues", qdisc.requeues}, {"overlimits", qdisc.overlimits}};
        for (const auto& [what, value] : figures) {
            counters[fmt::format("{}.{}", name, what)] = value;
        }
    }
}

void add_driver_statistics(Counters& counters, const std::string& device, const DriverStatistics& statistics)
{
    for (const auto& [name, value] : statistics) {
        counters[fmt::format("ethtool {}.{}", device, name)] = value;
    }
}

void add_interrupt_rates(Counters& now, const Counters& before, Duration between)
{
    constexpr std::string_view prefix = "interrupt ";
    if (between.ns <= 0) {
        return;
    }
    std::map<std::string, std::uint64_t> came;
    for (auto one = now.lower_bound(std::string(prefix)); one != now.end() && one->first.starts_with(prefix); ++one) {
        const auto cpu = one->first.rfind(" CPU ");
        const auto earlier = before.find(one->first);
        if (cpu != std::string::npos && earlier != before.end()) {
            came[one->first.substr(0, cpu)] += one->second - std::min(one->second, earlier->second);
        }
    }
    for (const auto& [name, count] : came) {
        now[name + ".per_second"] = static_cast<std::uint64_t>(static_cast<double>(count) * 1e9 / static_cast<double>(between.ns) + 0.5);
    }
}

std::string socket_name(const SocketState& socket, const std::vector<Link>& links)
{
    if (socket.is_packet) {
        const auto link = socket.space.empty() ? std::ranges::find(links, socket.device, &Link::index) : links.end();
        const std::string device = socket.device == 0 ? "*" : link != links.end() ? link->name : fmt::format("device {}", socket.device);
        return fmt::format("socket packet {} {} #{}", socket.local_port == all_protocols ? "all" : fmt::format("{:#06x}", socket.local_port), device, socket.inode);
    }
    if (socket.protocol == raw) {
        return fmt::format("socket raw {} #{}", endpoint(socket.local, socket.local_port), socket.inode);
    }
    const std::string remote = socket.remote_port == 0 ? "" : " " + endpoint(socket.remote, socket.remote_port);
    return fmt::format("socket {} {}{} #{}", socket.protocol == tcp ? "tcp" : "udp", endpoint(socket.local, socket.local_port), remote, socket.inode);
}

std::size_t add_sockets(Counters& counters, const std::vector<SocketState>& sockets, const std::vector<Link>& links)
{
    std::size_t told = 0;
    std::size_t left_out = 0;
    for (const bool wanted : {true, false}) {
        for (const SocketState& socket : sockets) {
            if (has_something(socket) != wanted) {
                continue;
            }
            if (told == most_sockets) {
                ++left_out;
                continue;
            }
            ++told;
            const std::string name = socket_name(socket, links);
            counters[name + ".receive_queue"] = socket.receive_queue;
            counters[name + ".send_queue"] = socket.send_queue;
            if (socket.has_memory) {
                counters[name + ".rmem"] = socket.rmem;
                counters[name + ".wmem"] = socket.wmem;
                counters[name + ".backlog"] = socket.backlog;
                counters[name + ".drops"] = socket.drops;
            }
        }
    }
    return left_out;
}

// ---- the looks ------------------------------------------------------------------------------------------------------------

void HostSampler::tell(const std::string& name, const std::string& text)
{
    name == "missing" ? missed(text) : static_cast<void>(told_[name] = text);
}

HostSampler::HostSampler(Places places) : places_(std::move(places)) {}

void HostSampler::missed(const std::string& what)
{
    if (std::ranges::find(missing_, what) == missing_.end()) {
        missing_.push_back(what);
    }
}

Counters HostSampler::look_at_figures()
{
    Sample sample = read_counters(places_.proc);
    for (const std::string& what : sample.missing) {
        missed(what);
    }
    Counters& counters = sample.counters;
    if (const auto links = ask_links()) {
        links_ = parse_links(*links);
        for (const Link& link : links_) { // finer than /proc/net/dev, which adds some of them up
            std::erase_if(counters, [&](const auto& counter) { return counter.first.starts_with(link.name + ".") && counter.first.find(' ') == std::string::npos; });
        }
        add_links(counters, links_);
    } else {
        missed(links.error().describe());
    }
    if (const auto qdiscs = ask_qdiscs()) {
        add_qdiscs(counters, parse_qdiscs(*qdiscs), links_);
    } else {
        missed(qdiscs.error().describe());
    }
    for (const Link& link : links_) {
        auto statistics = read_driver_statistics(link.name);
        if (!statistics.empty()) {
            add_driver_statistics(counters, link.name, statistics);
            driver_statistics_[link.name] = std::move(statistics);
        }
    }
    look_at_sockets();
    if (const std::size_t left_out = add_sockets(counters, sockets_, links_); left_out != 0) {
        missed(fmt::format("sockets: more than {} of them; the others are left out", most_sockets));
    }
    for (const auto& [name, value] : own_) {
        counters[name] = value;
    }
    return std::move(sample.counters);
}

void HostSampler::look_at_sockets()
{
    sockets_.clear();
    if (!questions_) {
        auto opened = SocketQuestions::open();
        if (!opened) {
            missed(opened.error().describe());
            return;
        }
        questions_ = std::move(*opened);
        if (places_.other_spaces) {
            std::vector<std::string> problems;
            spaces_ = open_other_spaces("/proc", problems);
            for (const std::string& problem : problems) {
                missed(problem);
            }
        }
    }
    look_at_sockets_of(*questions_, "");
    for (const OtherSpace& space : spaces_) {
        look_at_sockets_of(space.questions, space.name);
    }
}

void HostSampler::look_at_sockets_of(const SocketQuestions& questions, const std::string& space)
{
    const auto take_in = [&](const Result<Answer>& answer, auto parse) {
        if (!answer) {
            missed(answer.error().describe());
            return;
        }
        for (SocketState& socket : parse(*answer)) {
            // Those have no buffers: the kernel keeps only a note of them.
            if (socket.protocol != tcp || (socket.state != time_wait && socket.state != syn_recv && socket.state != new_syn_recv)) {
                socket.space = space;
                sockets_.push_back(std::move(socket));
            }
        }
    };
    for (const std::uint8_t protocol : {udp, tcp}) {
        for (const std::uint8_t family : {std::uint8_t{2}, std::uint8_t{10}}) {
            take_in(questions.ask(family, protocol), [&](const Answer& answer) { return parse_sockets(answer, protocol); });
        }
    }
    for (const auto& [family, table] : {std::pair{std::uint8_t{2}, "raw"}, std::pair{std::uint8_t{10}, "raw6"}}) {
        const auto answer = questions.ask(family, raw);
        const auto text = answer || !space.empty() ? std::nullopt : read_file(fmt::format("{}/net/{}", places_.proc, table));
        if (text) { // a kernel without raw_diag
            std::ranges::move(parse_raw_table(*text), std::back_inserter(sockets_));
        } else {
            take_in(answer, [](const Answer& bytes) { return parse_sockets(bytes, raw); });
        }
    }
    take_in(questions.ask_packet_sockets(), [](const Answer& answer) { return parse_packet_sockets(answer); });
}

/// Those that are there, and those that were: their counters are in the trace.
std::string HostSampler::sockets_table()
{
    for (auto& [name, row] : known_sockets_) {
        row.state = "gone";
    }
    for (const SocketState& socket : sockets_) {
        const std::string name = socket_name(socket, links_);
        const auto known = known_sockets_.find(name);
        if (known == known_sockets_.end() && known_sockets_.size() >= 2 * most_sockets) {
            continue;
        }
        const auto owner = owners_.find(socket.inode);
        known_sockets_[name] = {owner == owners_.end() ? "-" : owner->second, std::string(socket.is_packet ? "" : tcp_state_name(socket.state)),
                                               socket.rcvbuf != 0 ? std::to_string(socket.rcvbuf) : "-", socket.sndbuf != 0 ? std::to_string(socket.sndbuf) : "-",
                                socket.space.empty() ? "-" : socket.space};
    }
    std::string table = "socket\towner\tstate\treceive buffer\tsend buffer\tnetwork namespace\n";
    for (const auto& [name, row] : known_sockets_) {
        table += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\n", name, row.owner, row.state, row.receive_buffer, row.send_buffer, row.space);
    }
    return table;
}

std::vector<HostFile> HostSampler::look_at_what_stands(bool with_rules)
{
    std::vector<HostFile> files;
    const auto add = [&](const std::string& name, std::string text) { files.push_back({HostId{}, "", name, std::move(text)}); };
    std::vector<DeviceDetails> details;
    std::vector<std::string> names;
    for (const Link& link : links_) {
        details.push_back(read_device_details(link.name));
        names.push_back(link.name);
    }
    add("devices", devices_table(links_, details));
    std::string statistics;
    for (const auto& [device, figures] : driver_statistics_) {
        statistics += (statistics.empty() ? "" : "\n") + driver_statistics_text(device, figures);
    }
    if (!statistics.empty()) {
        add("ethtool", std::move(statistics));
    }
    add("irqs", interrupts_table(read_interrupts(places_.proc)));
    for (const auto& [inode, owner] : socket_owners(places_.proc)) {
        owners_[inode] = owner; // those that cannot be seen any more keep their name
    }
    add("sockets", sockets_table());
    if (with_rules) { // the first look, with whatever rights there are
        first_spaces_settings_ = settings_of_first_space(places_.proc);
    }
    add("sysctl", with_host_wide_settings(settings_table(places_.proc, names), first_spaces_settings_));
    for (const Tool& tool : rule_tools()) {
        const auto text = with_rules ? ask_tool(tool) : Result<std::string>(tl::unexpected(Error{}));
        if (text) {
            rules_[tool.name] = *text;
        } else if (with_rules && !rules_.contains(tool.name)) {
            missed(text.error().describe());
        }
    }
    for (const auto* texts : {&rules_, &told_}) {
        for (const auto& [name, text] : *texts) {
            add(name, text);
        }
    }
    std::string missing;
    for (const std::string& what : missing_) {
        missing += what + "\n";
    }
    if (!missing.empty()) {
        add("missing", std::move(missing));
    }
    return files;
}

void HostSampler::take(SimTime at, bool whole)
{
    Look look{at, {}, {}};
    Counters now = look_at_figures();
    if (last_look_ != never) {
        add_interrupt_rates(now, last_, at - last_look_);
    }
    last_look_ = at;
    for (const auto& [name, value] : now) {
        const auto before = last_.find(name);
        if (before == last_.end()) {
            // What stands at zero from the start is told of what a person looks for zeros in.
            const bool tells_zero = name.starts_with("softnet_stat.") || name.starts_with("qdisc ") || name.starts_with("socket ");
            if (value != 0 || tells_zero) {
                look.moves.push_back({name, value, value});
            }
        } else if (before->second != value) {
            look.moves.push_back({name, before->second, value});
        }
    }
    for (const auto& [name, value] : now) {
        last_[name] = value; // what was not seen this time keeps its value: a socket that is gone
    }
    if (whole) {
        look.files = look_at_what_stands(places_.rules);
    }
    pending_.push_back(std::move(look));
}

void HostSampler::begin(SimTime at) { take(at, true); }

void HostSampler::sample(SimTime at)
{
    const std::size_t sockets = sockets_.size();
    take(at, false);
    // Sockets have come or gone: what they are is told again, without asking for rules.
    if (sockets_.size() != sockets) {
        pending_.back().files = look_at_what_stands(false);
    }
}

void HostSampler::end(SimTime at)
{
    take(at, false);
    pending_.back().files = look_at_what_stands(false);
}

void HostSampler::write(Trace& trace, SimTime settled)
{
    std::size_t done = 0;
    for (Look& look : pending_) {
        if (look.at > settled) {
            break;
        }
        ++done;
        Event event;
        event.time_ns = std::max(look.at, trace.end_time()).ns;
        event.kind = static_cast<std::uint8_t>(EventKind::counter);
        for (const Move& move : look.moves) {
            auto [id, is_new] = ids_.try_emplace(move.counter, CounterId::none);
            if (is_new) {
                id->second = trace.add_counter({move.counter, HostId{}});
            }
            event.arg = trace.add_counter_change(id->second, move.before, move.after);
            (void)trace.append(event);
        }
        if (!look.files.empty()) {
            trace.files = std::move(look.files);
        }
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
}

} // namespace skbscope::host
