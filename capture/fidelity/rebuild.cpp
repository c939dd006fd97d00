#include "capture/fidelity/rebuild.h"

#include "core/scenario/sysctls.h"

#include "capture/fidelity/whole_frame.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace skbscope {

namespace {

constexpr const char* traced_net = "root";
constexpr Duration lead{50'000'000};    // sockets are open that long before the first phase begins
constexpr Duration never_read{10'000'000'000}; // behind the recording's end
constexpr std::uint64_t most_sends = 1'000'000;
constexpr std::uint32_t interrupt_cpu = 0;
constexpr std::uint32_t application_cpu = 1; // the traced machine's; its interrupts run on CPU 0

/// Thrown inside this file only.
struct Refusal {
    ErrorKind kind;
    std::string what;
};

[[noreturn]] void refuse(std::string what)
{
    throw Refusal{ErrorKind::unsupported, std::move(what)};
}

bool is_link_local(const IpAddress& address)
{
    return address.v6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
}

void put_addresses6(ScenarioDevice& device, const std::vector<ManifestAddress>& addresses)
{
    device.ipv6 = false;
    for (const ManifestAddress& address : addresses) {
        if (address.address.v6) {
            device.ipv6 = true;
            device.addresses6.push_back({address.address, address.prefix});
        }
    }
}

/// Of a sender or receiver.
template <typename Socket>
void put_address(Socket& socket, const IpAddress& address)
{
    if (address.v6) {
        socket.address6 = address;
    } else {
        socket.address = address.v4_host_order();
    }
}

void put_tcp(ScenarioHost& host, bool server, const ManifestStream& stream, Duration start, std::uint32_t cpu)
{
    ScenarioTcp program;
    program.server = server;
    program.name = server ? "server" : "client";
    program.port = stream.server.port;
    program.cpu = cpu;
    if (server) {
        program.receive = stream.client_sent;
        program.send = stream.client_received;
        program.start = Duration{};
    } else {
        program.address = stream.server.address.v4_host_order();
        program.from_address = stream.client.address.v4_host_order();
        program.from_port = stream.client.port;
        program.send = stream.client_sent;
        program.receive = stream.client_received;
        program.start = start;
    }
    host.tcp.push_back(std::move(program));
}

class Rebuilder {
public:
    explicit Rebuilder(const Manifest& manifest) : manifest_(manifest) {}

    Rebuilt run()
    {
        const std::uint64_t first = std::ranges::min(manifest_.phases, {}, &ManifestPhase::begin).begin;
        const std::uint64_t last = std::ranges::max(manifest_.phases, {}, &ManifestPhase::end).end;
        out_.base = first - std::min<std::uint64_t>(first, static_cast<std::uint64_t>(lead.ns));
        out_.end = SimTime{last - out_.base};
        out_.scenario.title = manifest_.folder.filename().string();
        out_.scenario.kernel = kernel();
        add_hosts();
        add_links();
        add_neighbours();
        add_settings();
        add_rules();
        for (std::size_t i = 0; i < manifest_.phases.size(); ++i) {
            try {
                add_phase(manifest_.phases[i]);
            } catch (const Refusal& refusal) {
                if (refusal.kind != ErrorKind::unsupported) {
                    throw;
                }
                out_.refused[i] = refusal.what;
            }
        }
        add_routes();
        add_senders();
        add_injectors();
        add_taps();
        return std::move(out_);
    }

private:
    std::string kernel() const
    {
        for (const std::string_view known : kernel_profiles) {
            if (manifest_.kernel.starts_with(std::string(known) + ".")) {
                return std::string(known);
            }
        }
        refuse(fmt::format("the model has no profile of kernel {}", manifest_.kernel));
    }

    /// The traced namespace first. Behind NICs every other namespace is a machine of its own: its processes and interrupts
    /// have a CPU to themselves that is not traced. Over veth all are one machine.
    void add_hosts()
    {
        std::vector<std::string> nets = {traced_net};
        for (const ManifestLink& link : manifest_.links) {
            if (std::ranges::find(nets, link.net) == nets.end()) {
                nets.push_back(link.net);
            }
        }
        if (nets.size() > 16) {
            refuse(fmt::format("{} namespaces: the model takes 16 hosts", nets.size()));
        }
        for (const std::string& net : nets) {
            ScenarioHost host;
            host.name = net;
            if (is_one_machine(manifest_) && net != traced_net) {
                host.namespace_of = traced_net;
                host.cpus = std::min<std::uint32_t>(manifest_.cpus, 64);
            } else if (net == traced_net) {
                host.cpus = std::clamp<std::uint32_t>(manifest_.cpus, 2, 64);
            } else {
                host.cpus = 1;
            }
            out_.scenario.hosts.push_back(std::move(host));
        }
        for (const ManifestLink& link : manifest_.links) {
            host(link.net).devices.push_back(device(link));
        }
    }

    ScenarioHost& host(const std::string& net)
    {
        const auto found = std::ranges::find(out_.scenario.hosts, net, &ScenarioHost::name);
        if (found == out_.scenario.hosts.end()) {
            throw Refusal{ErrorKind::invalid, fmt::format("there is no namespace '{}'", net)};
        }
        return *found;
    }

    ScenarioDevice device(const ManifestLink& link) const
    {
        ScenarioDevice device;
        device.name = link.name;
        device.driver = link.driver;
        device.mac = link.mac;
        device.mtu = link.mtu;
        for (const ManifestAddress& address : link.addresses) {
            if (!address.address.v6) {
                device.addresses.push_back({address.address.v4_host_order(), address.prefix});
            }
        }
        put_addresses6(device, link.addresses);
        device.promiscuous = true; // made frames are those of its own capture: what its filter kept out is not among them
        device.tso = offload(link, "tcp-segmentation-offload", true);
        if (link.txqueuelen > 0) {
            device.txqueuelen = link.txqueuelen;
        }
        device.tso_empty_tail = device.driver.starts_with("e1000"); // recorded in QEMU
        device.rx_checksum = offload(link, "rx-checksumming", true);
        device.tx_checksum = offload(link, "tx-checksumming", true);
        device.gro = offload(link, "generic-receive-offload", true);
        if (const auto mask = manifest_.settings.find(link.name + ".rps_cpus"); mask != manifest_.settings.end()) {
            const std::uint64_t cpus = std::strtoull(mask->second.c_str(), nullptr, 16);
            if (cpus != 0) {
                device.rps_cpus.assign(1, cpus);
            }
        }
        // Interrupts are throttled to 20000 a second unless a parameter of the module says otherwise (e1000_param.c, param.c of e1000e).
        device.rx_usecs = link.driver == "e1000" || link.driver == "e1000e" ? 50 : 0;
        device.lose = link.lost;
        device.tx_timer = Duration{static_cast<std::int64_t>(link.tx_timer_ns)};
        device.irq_cpu = link.net == traced_net ? irq_cpu(link) : 0;
        // The root as it was before the first phase; behind mq stands the distribution's default.
        if (link.qdisc == "pfifo_fast" || link.qdisc == "fq_codel") {
            device.qdisc = qdisc({link.qdisc, {}, {}, {}, true, {}});
        }
        return device;
    }

    static bool offload(const ManifestLink& link, const char* name, bool otherwise)
    {
        const auto found = link.offloads.find(name);
        return found == link.offloads.end() ? otherwise : found->second;
    }

    /// The settings hold a device's interrupts with their masks as text: {"20":"1"}; the lowest bit is the CPU.
    std::uint32_t irq_cpu(const ManifestLink& link) const
    {
        const auto found = manifest_.settings.find(link.name + ".irqs");
        if (found == manifest_.settings.end()) {
            return interrupt_cpu;
        }
        const std::size_t colon = found->second.find(":\"");
        if (colon == std::string::npos) {
            return interrupt_cpu;
        }
        const unsigned long mask = std::strtoul(found->second.c_str() + colon + 2, nullptr, 16);
        for (std::uint32_t cpu = 0; cpu < std::min<std::uint32_t>(manifest_.cpus, 64); ++cpu) {
            if ((mask >> cpu & 1U) != 0) {
                return cpu;
            }
        }
        return interrupt_cpu;
    }

    /// No manifest names the cables: devices of different namespaces in one subnet share one.
    void add_links()
    {
        for (std::size_t a = 0; a < manifest_.links.size(); ++a) {
            for (std::size_t b = a + 1; b < manifest_.links.size(); ++b) {
                const ManifestLink& one = manifest_.links[a];
                const ManifestLink& other = manifest_.links[b];
                if (one.net != other.net && share_subnet(one, other)) {
                    device_of(one).link = other.net + "." + other.name;
                    device_of(other).link = one.net + "." + one.name;
                }
            }
        }
    }

    static bool share_subnet(const ManifestLink& one, const ManifestLink& other)
    {
        return std::ranges::any_of(one.addresses, [&](const ManifestAddress& mine) {
            return std::ranges::any_of(other.addresses, [&](const ManifestAddress& theirs) {
                return !is_link_local(mine.address) && in_prefix(mine.address, theirs) && in_prefix(theirs.address, mine);
            });
        });
    }

    ScenarioDevice& device_of(const ManifestLink& link)
    {
        return *std::ranges::find(host(link.net).devices, link.name, &ScenarioDevice::name);
    }

    void add_neighbours()
    {
        for (const ManifestNeighbour& from : manifest_.neighbours) {
            ScenarioHost& at = host(from.net);
            if (from.address.v6 || from.flushed || std::ranges::find(at.devices, from.device, &ScenarioDevice::name) == at.devices.end()) {
                continue;
            }
            ScenarioNeighbour neighbour;
            neighbour.address = from.address.v4_host_order();
            neighbour.mac = from.mac;
            neighbour.device = from.device;
            neighbour.used = from.used;
            neighbour.stale = from.stale;
            at.neighbours.push_back(std::move(neighbour));
        }
    }

    /// Snapshots of /proc/sys of the traced machine. Where the model lacks one, that is said.
    void add_settings()
    {
        for (const auto& [name, text] : manifest_.settings) {
            if (!name.starts_with("net.")) {
                continue;
            }
            const auto range = sysctl_range(name);
            if (!range) {
                out_.notes.push_back("the model has no setting " + name);
                continue;
            }
            char* end = nullptr;
            const long long value = std::strtoll(text.c_str(), &end, 10);
            if (text.empty() || *end != '\0' || value < range->minimum || value > range->maximum) {
                out_.notes.push_back(fmt::format("{} = '{}' is not taken over", name, text.substr(0, 40)));
                continue;
            }
            ScenarioHost& traced = host(traced_net);
            (traced.namespace_of.empty() || !is_machine_wide(name) ? traced : host(traced.namespace_of)).sysctls[name] = value;
        }
    }

    // ---- traffic -------------------------------------------------------------------------------------------------------

    void add_phase(const ManifestPhase& phase)
    {
        if (phase.stream) {
            add_stream(phase, *phase.stream);
        }
        if (phase.frames > 0) {
            add_frames(phase);
        }
        if (!phase.output.empty()) {
            add_ping(phase);
        }
        if (!phase.qdiscs.empty()) {
            add_qdisc(phase);
        }
        for (const ManifestReceive& receive : phase.receives) {
            add_receiver(phase, receive);
        }
        for (const ManifestSend& send : phase.sends) {
            add_send(phase, send);
        }
    }

    void add_stream(const ManifestPhase& phase, const ManifestStream& stream)
    {
        const ManifestLink* client = owner(stream.client.address);
        const ManifestLink* server = owner(stream.server.address);
        if (client == nullptr || server == nullptr) {
            throw Refusal{ErrorKind::invalid, fmt::format("phase '{}': no device has the address of one of the stream's ends", phase.name)};
        }
        if (stream.client.address.v6 || stream.server.address.v6) {
            refuse("the model has no TCP over IPv6");
        }
        constexpr std::uint64_t start_up_ns = 20'000'000;
        put_tcp(host(server->net), true, stream, Duration{}, server->net == traced_net ? application_cpu : 0);
        put_tcp(host(client->net), false, stream, since_base(phase.begin + start_up_ns), client->net == traced_net ? application_cpu : 0);
    }

    /// Rules of the traced machine. iptables' older tables are in no snapshot: there the phases say what their rules did.
    void add_rules()
    {
        const auto setting = [&](const char* name) {
            const auto found = manifest_.settings.find(name);
            return found == manifest_.settings.end() || found->second == "null" ? std::string() : found->second;
        };
        const std::string nft = setting("nft_ruleset");
        std::string iptables = setting("iptables_save");
        const auto backend = manifest_.params.find("backend");
        if (nft.empty() && iptables.empty() && backend != manifest_.params.end() && backend->second.starts_with("iptables")) {
            iptables = described_rules();
        }
        host(traced_net).nft = nft;
        host(traced_net).iptables = std::move(iptables);
        if (manifest_.kernel_version.find("Debian") != std::string::npos) {
            for (ScenarioHost& host : out_.scenario.hosts) {
                host.lsm = "apparmor"; // built in and on by default there
            }
        }
    }

    std::string described_rules() const
    {
        std::map<std::string, std::string> tables;
        for (const ManifestPhase& phase : manifest_.phases) {
            const std::string& text = phase.description;
            const auto says = [&](const char* words) { return text.find(words) != std::string::npos; };
            for (const ManifestSend& send : phase.sends) {
                const std::string match = fmt::format("-p udp -m udp --dport {}", send.to.port);
                const std::size_t port = text.find("redirected to port ");
                const std::size_t source = text.find("leaves with source ");
                if (port != std::string::npos) {
                    tables["nat"] += fmt::format("-A PREROUTING {} -j DNAT --to-destination {}:{}\n", match, send.to.address.text(),
                                                 std::atoi(text.c_str() + port + 19));
                } else if (source != std::string::npos) {
                    tables["nat"] += fmt::format("-A POSTROUTING {} -j SNAT --to-source {}\n", match,
                                                 text.substr(source + 19, text.find_first_not_of("0123456789.", source + 19) - source - 19));
                } else if (says("dropped in PREROUTING")) {
                    tables["raw"] += fmt::format("-A PREROUTING {} -j DROP\n", match);
                } else if (says("dropped in")) {
                    for (const char* chain : {"INPUT", "OUTPUT", "FORWARD"}) {
                        if (says((std::string("dropped in ") + chain).c_str())) {
                            tables["filter"] += fmt::format("-A {} {} -j DROP\n", chain, match);
                        }
                    }
                }
            }
        }
        static const std::map<std::string, std::vector<const char*>> chains = {{"raw", {"PREROUTING", "OUTPUT"}},
                                                                               {"filter", {"INPUT", "FORWARD", "OUTPUT"}},
                                                                               {"nat", {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}}};
        std::string save;
        for (const auto& [table, rules] : tables) {
            save += "*" + table + "\n";
            for (const char* chain : chains.at(table)) {
                save += fmt::format(":{} ACCEPT [0:0]\n", chain);
            }
            save += rules + "COMMIT\n";
        }
        return save;
    }

    const ManifestLink* owner_of_subnet(const IpAddress& address) const
    {
        for (const ManifestLink& link : manifest_.links) {
            if (std::ranges::any_of(link.addresses, [&](const ManifestAddress& own) { return in_prefix(address, own); })) {
                return &link;
            }
        }
        return nullptr;
    }

    /// What lies behind the traced machine is reached through it.
    void add_routes()
    {
        for (const ManifestLink& router : manifest_.links) {
            for (const ManifestLink& link : manifest_.links) {
                if (router.net != traced_net || link.net == traced_net || !share_subnet(router, link)) {
                    continue;
                }
                for (const ManifestAddress& address : router.addresses) {
                    ScenarioHost& at = host(link.net);
                    const bool has_default = std::ranges::any_of(at.routes, [](const ScenarioRoute& route) { return route.to.prefix == 0; });
                    if (!address.address.v6 && !has_default && traced_subnets() > 1) {
                        ScenarioRoute route;
                        route.to = {0, 0};
                        route.via = address.address.v4_host_order();
                        route.device = link.name;
                        at.routes.push_back(route);
                    }
                }
            }
        }
    }

    std::size_t traced_subnets() const
    {
        std::size_t count = 0;
        for (const ManifestLink& link : manifest_.links) {
            count += link.net == traced_net && std::ranges::any_of(link.addresses, [](const ManifestAddress& a) { return !a.address.v6; }) ? 1 : 0;
        }
        return count;
    }

    /// From the first lines of ping's output ("PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.") and its statistics
    /// ("5 packets transmitted, 5 received, 0% packet loss, time 806ms").
    void add_ping(const ManifestPhase& phase)
    {
        char text[64] = {};
        unsigned size = 0;
        if (std::sscanf(phase.output.c_str(), "PING %*[^(](%63[^)]) %u", text, &size) != 2 || size > 65507) {
            refuse("a phase whose tool's output is not ping's");
        }
        const auto target = IpAddress::parse(text);
        const ManifestLink* link = target ? owner(*target) : nullptr;
        if (link == nullptr) {
            throw Refusal{ErrorKind::invalid, fmt::format("phase '{}': no device has the pinged address {}", phase.name, text)};
        }
        const std::size_t statistics = phase.output.find("ping statistics ---");
        unsigned count = 0;
        unsigned milliseconds = 0;
        if (statistics == std::string::npos ||
            std::sscanf(phase.output.c_str() + statistics, "ping statistics --- %u packets transmitted, %*u received, %*[^,], time %ums", &count, &milliseconds) < 1 ||
            count == 0 || count > 10'000) {
            refuse("a phase whose tool's output is not ping's");
        }
        ScenarioPing ping;
        ping.name = "ping-" + phase.name;
        if (target->v6) {
            ping.address6 = *target;
        } else {
            ping.address = target->v4_host_order();
        }
        ping.size = size;
        ping.count = count;
        if (count > 1 && milliseconds > 0) {
            ping.interval = Duration{static_cast<std::int64_t>(milliseconds) * 1'000'000 / (count - 1)};
        }
        ping.start = since_base(phase.begin + 10'000'000);
        // The pinged device's cable has one other end.
        for (const ManifestLink& other : manifest_.links) {
            if (other.net != link->net && share_subnet(other, *link)) {
                ping.cpu = other.net == traced_net ? application_cpu : 0;
                host(other.net).pings.push_back(ping);
                return;
            }
        }
    }

    /// Ready-made frames: the recording's own capture has them, as they reached the traced device.
    void add_frames(const ManifestPhase& phase)
    {
        const ManifestLink* to = nullptr;
        const ManifestLink* from = nullptr;
        for (const ManifestLink& link : manifest_.links) {
            (link.net == traced_net ? to : from) = &link;
        }
        if (to == nullptr || from == nullptr) {
            refuse("hand-made frames without a peer");
        }
        if (!captured_) {
            auto file = read_pcap((manifest_.folder / (to->name + ".pcap")).string());
            if (!file) {
                refuse("hand-made frames without a capture of them");
            }
            captured_ = std::move(*file);
            if (auto wire = read_pcap((manifest_.folder / "wire.pcap").string())) {
                wire_ = std::move(*wire); // QEMU's own: it has no snap length
            }
        }
        ScenarioInjector& injector = injectors_[from->name];
        injector.device = from->name;
        injector.name = "raw-sender";
        const auto moved = [&](const char* counter) {
            const auto found = phase.snmp_delta.find(counter);
            return found != phase.snmp_delta.end() && found->second > 0;
        };
        const bool read = moved("Udp.InDatagrams") || moved("Udp.InErrors");
        // A socket that nobody reads: IP handed it on, and no counter tells of a port that nobody listens on.
        const bool left_unread = moved("Ip.InDelivers") && !moved("Udp.NoPorts") && !moved("Icmp.OutMsgs");
        std::uint64_t found = 0;
        for (std::size_t i = 0; i < captured_->frames.size(); ++i) {
            const std::int64_t at = captured_->frames[i].wall_ns - manifest_.wall_offset_ns;
            const auto bytes = captured_->frame(i);
            const bool is_sent = bytes.size() >= 14 && !std::equal(to->mac.bytes.begin(), to->mac.bytes.end(), bytes.begin() + 6);
            const bool is_chatter = bytes.size() >= 14 && ((bytes[12] == 0x86 && bytes[13] == 0xdd) || (bytes[12] == 0x08 && bytes[13] == 0x06));
            if (at < 0 || static_cast<std::uint64_t>(at) < phase.begin || static_cast<std::uint64_t>(at) > phase.end || !is_sent || is_chatter ||
                found == phase.frames) {
                continue;
            }
            ++found;
            injector.frames.push_back(whole_frame(*captured_, i, wire_ ? &*wire_ : nullptr, !moved("Udp.InCsumErrors")));
            injector.times.push_back(since_base(static_cast<std::uint64_t>(at)));
            if (const auto flow = flow_of_frame(bytes); (read || left_unread) && flow && flow->protocol == 17 && flow->destination_port != 0) {
                open_port(*to, flow->destination_port, read);
            }
        }
        if (found == 0) {
            // The NIC's own filter keeps frames for others away: then there is nothing to send, and no packet to compare.
            out_.notes.push_back(fmt::format("phase '{}': none of its {} hand-made frames reached {}", phase.name, phase.frames, to->name));
            if (injector.frames.empty()) {
                injectors_.erase(from->name);
            }
            return;
        }
        if (found < phase.frames) {
            refuse(fmt::format("{} hand-made frames, of which the capture holds {}", phase.frames, found));
        }
    }

    /// What is read is so from the first datagram on, the rest not before all is over.
    void open_port(const ManifestLink& link, std::uint16_t port, bool is_read)
    {
        ScenarioHost& at = host(link.net);
        const auto same = std::ranges::find(at.receivers, port, &ScenarioReceiver::port);
        if (same != at.receivers.end()) {
            same->start = is_read ? Duration{} : same->start;
            return;
        }
        ScenarioReceiver receiver;
        receiver.name = fmt::format("reader-{}", port);
        receiver.port = port;
        receiver.cpu = application_cpu;
        receiver.start = is_read ? Duration{} : Duration{static_cast<std::int64_t>(out_.end.ns)} + never_read;
        at.receivers.push_back(receiver);
    }

    void add_injectors()
    {
        for (auto& [device, injector] : injectors_) {
            const auto link = std::ranges::find(manifest_.links, device, &ManifestLink::name);
            host(link->net).injectors.push_back(std::move(injector));
        }
    }

    Duration since_base(std::uint64_t trace_ns) const { return Duration{static_cast<std::int64_t>(trace_ns - std::min(trace_ns, out_.base))}; }

    const ManifestLink* owner(const IpAddress& address) const
    {
        for (const ManifestLink& link : manifest_.links) {
            if (std::ranges::find(link.addresses, address, &ManifestAddress::address) != link.addresses.end()) {
                return &link;
            }
        }
        return nullptr;
    }

    /// The namespace in which a socket bound to any address received: the one that the phase's datagrams went to.
    std::string receiving_net(const ManifestPhase& phase, const ManifestReceive& receive) const
    {
        if (const ManifestLink* link = owner(receive.bound.address)) {
            return link->net;
        }
        // "rx_received" belongs to "rx_sent", "received" and "peer_received" to "sent".
        const std::string direction = receive.key.substr(0, receive.key.find("received"));
        const ManifestSend* best = nullptr;
        for (const ManifestSend& send : phase.sends) {
            if (best == nullptr || send.key == direction + "sent") {
                best = &send;
            }
        }
        const ManifestLink* link = best == nullptr ? nullptr : owner(best->to.address);
        if (link == nullptr) {
            throw Refusal{ErrorKind::invalid, fmt::format("phase '{}': nothing says in which namespace port {} was read", phase.name, receive.bound.port)};
        }
        return link->net;
    }

    /// A phase about queueing set up what `tc -s qdisc` showed in it, on the device that its datagrams left through.
    void add_qdisc(const ManifestPhase& phase)
    {
        const ManifestLink* device = nullptr;
        for (const ManifestSend& send : phase.sends) {
            const ManifestLink* link = owner(send.from.address);
            device = link != nullptr && link->net == traced_net ? link : device;
        }
        const auto root = std::ranges::find(phase.qdiscs, true, &ManifestQdisc::root);
        if (device == nullptr || root == phase.qdiscs.end()) {
            refuse("a qdisc on a device through which nothing leaves");
        }
        ScenarioTc change;
        change.at = since_base(phase.begin);
        change.device = device->name;
        change.qdisc = qdisc(*root);
        for (const ManifestQdisc& inner : phase.qdiscs) {
            if (!inner.root && inner.parent.starts_with(root->handle) && change.qdisc.kind == kernel::QdiscKind::tbf) {
                change.qdisc.inner.assign(1, qdisc(inner));
            }
        }
        change.cpu = application_cpu;
        host(traced_net).tc.push_back(std::move(change));
    }

    static kernel::QdiscSpec qdisc(const ManifestQdisc& from)
    {
        static const std::map<std::string, kernel::QdiscKind> kinds = {
            {"noqueue", kernel::QdiscKind::noqueue}, {"pfifo_fast", kernel::QdiscKind::pfifo_fast}, {"pfifo", kernel::QdiscKind::pfifo},
            {"bfifo", kernel::QdiscKind::bfifo},     {"tbf", kernel::QdiscKind::tbf},               {"fq_codel", kernel::QdiscKind::fq_codel},
            {"mq", kernel::QdiscKind::mq}};
        const auto kind = kinds.find(from.kind);
        if (kind == kinds.end()) {
            refuse(fmt::format("the model has no qdisc {}", from.kind));
        }
        kernel::QdiscSpec spec;
        spec.kind = kind->second;
        spec.handle = static_cast<std::uint16_t>(std::strtoul(from.handle.c_str(), nullptr, 16));
        const auto option = [&](const char* name) -> std::optional<std::uint64_t> {
            const auto found = from.options.find(name);
            if (found == from.options.end() || !(found->second >= 0 && found->second < 4e9)) {
                return std::nullopt;
            }
            return static_cast<std::uint64_t>(found->second);
        };
        const auto narrow = [](std::optional<std::uint64_t> value) {
            return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
        };
        if (spec.kind == kernel::QdiscKind::tbf) {
            spec.rate = option("rate").value_or(0);
            spec.burst = static_cast<std::uint32_t>(option("burst").value_or(0));
            // tc prints the limit as the longest wait: (limit − burst) / rate, in µs.
            if (const auto latency = option("lat")) {
                spec.limit = static_cast<std::uint32_t>(std::min<std::uint64_t>(*latency * spec.rate / 1'000'000 + spec.burst, 0x7fffffff));
            }
            return spec;
        }
        spec.limit = narrow(option("limit"));
        if (spec.kind == kernel::QdiscKind::fq_codel) {
            spec.flows = narrow(option("flows"));
            spec.quantum = narrow(option("quantum"));
            spec.memory_limit = narrow(option("memory_limit"));
            spec.drop_batch = narrow(option("drop_batch"));
        }
        return spec;
    }

    void add_receiver(const ManifestPhase& phase, const ManifestReceive& receive)
    {
        ScenarioHost& at = host(receiving_net(phase, receive));
        ScenarioReceiver receiver;
        receiver.name = fmt::format("reader-{}", receive.bound.port);
        put_address(receiver, receive.bound.address);
        receiver.port = receive.bound.port;
        receiver.cpu = at.name == traced_net ? application_cpu : 0;
        const std::uint32_t usual = static_cast<std::uint32_t>(default_rcvbuf());
        if (receive.rcvbuf != usual) {
            receiver.rcvbuf = receive.rcvbuf;
        }
        std::uint64_t sent = 0;
        std::uint64_t last = phase.begin;
        for (const ManifestSend& send : phase.sends) {
            sent += send.sent;
            last = std::max(last, send.stamps.empty() ? last : send.stamps.back());
        }
        // A full receive buffer needs a reader that does not read: it drains what is there once everything was sent.
        if (receive.rcvbuf < usual && receive.received < sent) {
            receiver.start = since_base((last + phase.end) / 2);
        }
        // Nothing says how fast the recording's reader is (an interpreted program). Where it did not keep up with a burst, which the
        // counters tell, it takes longer for a datagram than the kernel.
        constexpr Duration slow_reader{5'000};
        if (hangs_on_speed(phase) && overran_a_socket(at.name)) {
            receiver.work = slow_reader;
        }
        const auto same = std::ranges::find_if(at.receivers, [&](const ScenarioReceiver& other) { return other.port == receiver.port; });
        if (same == at.receivers.end()) {
            at.receivers.push_back(std::move(receiver));
        }
    }

    bool overran_a_socket(const std::string& net) const
    {
        const auto counters = manifest_.counters.find(net);
        if (counters == manifest_.counters.end()) {
            return false;
        }
        const auto errors = counters->second.find("Udp.RcvbufErrors");
        return errors != counters->second.end() && errors->second > 0;
    }

    std::int64_t default_rcvbuf() const
    {
        const auto found = manifest_.settings.find("net.core.rmem_default");
        return found == manifest_.settings.end() ? 212992 : std::strtoll(found->second.c_str(), nullptr, 10);
    }

    void add_send(const ManifestPhase& phase, const ManifestSend& send)
    {
        const ManifestLink* link = owner(send.from.address);
        if (link == nullptr) {
            throw Refusal{ErrorKind::invalid, fmt::format("phase '{}': no device has the sender's address {}", phase.name, send.from.address.text())};
        }
        total_sends_ += send.count;
        if (total_sends_ > most_sends) {
            refuse(fmt::format("more than {} datagrams", most_sends));
        }
        for (const char* type : {"unreachable", "blackhole", "prohibit"}) {
            const bool is_named = phase.description.find(std::string(type) + " route") != std::string::npos;
            if (is_named && !send.to.address.v6 && owner_of_subnet(send.to.address) == nullptr) {
                ScenarioRoute route;
                route.to = {send.to.address.v4_host_order(), 32};
                route.type = type;
                host(traced_net).routes.push_back(route);
            }
        }
        if (!send.tool.empty() && !send.to.address.v6) {
            add_pktgen(phase, send, *link);
            return;
        }
        Flow& flow = flows_[{link->net, send.from.port, send.to.address, send.to.port, send.size, send.ttl.value_or(0)}];
        for (std::uint64_t i = 0; i < send.count; ++i) {
            flow.times.push_back(since_base(i < send.stamps.size() ? send.stamps[i] : phase.begin + 10'000'000 + i * send.gap_ns));
        }
    }

    /// The kernel's generator, as fast as it can: in the recordings, too, it does not wait between its frames.
    void add_pktgen(const ManifestPhase& phase, const ManifestSend& send, const ManifestLink& from)
    {
        const ManifestLink* to = owner(send.to.address);
        if (to == nullptr) {
            refuse(fmt::format("nobody has the generator's destination {}", send.to.address.text()));
        }
        ScenarioPktgen gen;
        gen.device = from.name;
        gen.address = send.to.address.v4_host_order();
        gen.port = send.to.port;
        gen.from_address = send.from.address.v4_host_order();
        gen.from_port = send.from.port;
        gen.mac = to->mac;
        gen.count = send.count;
        gen.size = std::clamp<std::uint32_t>(send.frame_size, 60, 1514);
        constexpr std::uint64_t settle = 10'000'000;
        gen.start = Duration{static_cast<std::int64_t>(phase.begin + settle - std::min(phase.begin, out_.base))};
        gen.cpu = from.net == traced_net ? application_cpu : 0;
        host(from.net).pktgens.push_back(std::move(gen));
    }

    /// One sender for each socket: phases that use the same addresses and ports share it.
    void add_senders()
    {
        for (auto& [key, flow] : flows_) {
            const auto& [net, from_port, to, port, size, ttl] = key;
            ScenarioSender sender;
            sender.name = fmt::format("sender-{}", from_port);
            put_address(sender, to);
            sender.port = port;
            sender.ttl = ttl;
            sender.from_port = from_port;
            sender.size = size;
            std::ranges::sort(flow.times);
            sender.times = std::move(flow.times);
            sender.count = sender.times.size();
            sender.cpu = net == traced_net ? application_cpu : 0;
            host(net).senders.push_back(std::move(sender));
        }
    }

    enum class Tap { none, tcpdump, raw_socket };

    /// tcpdump runs all the time, unless a phase is about who listens.
    static Tap tap_of(const ManifestPhase& phase)
    {
        if (phase.raw_reader) {
            return Tap::raw_socket;
        }
        return phase.description.find("no packet socket") != std::string::npos ? Tap::none : Tap::tcpdump;
    }

    void add_taps()
    {
        const Tap usual = tap_of(manifest_.phases.front());
        const bool always = std::ranges::all_of(manifest_.phases, [&](const ManifestPhase& phase) { return tap_of(phase) == usual; });
        for (const ManifestCapture& capture : manifest_.captures) {
            const auto link = std::ranges::find(manifest_.links, capture.device, &ManifestLink::name);
            if (link == manifest_.links.end()) {
                continue;
            }
            if (always) {
                add_tap(*link, capture, usual, Duration{}, Duration{});
                continue;
            }
            for (std::size_t i = 0; i < manifest_.phases.size(); ++i) {
                const std::uint64_t begin = manifest_.phases[i].begin;
                const std::uint64_t end = i + 1 < manifest_.phases.size() ? manifest_.phases[i + 1].begin : manifest_.phases[i].end;
                add_tap(*link, capture, tap_of(manifest_.phases[i]), Duration{static_cast<std::int64_t>(begin - out_.base)},
                        Duration{static_cast<std::int64_t>(end - out_.base)});
            }
        }
    }

    void add_tap(const ManifestLink& link, const ManifestCapture& capture, Tap kind, Duration start, Duration stop)
    {
        if (kind == Tap::none) {
            return;
        }
        ScenarioTap tap;
        tap.name = kind == Tap::tcpdump ? "tcpdump" : "raw-reader";
        tap.device = link.name;
        tap.mmap = kind == Tap::tcpdump;
        tap.version = 2; // the recordings wake tcpdump with every frame: its immediate mode
        tap.snaplen = capture.snaplen;
        tap.start = start;
        tap.stop = stop;
        host(link.net).taps.push_back(std::move(tap));
    }

    struct Flow {
        std::vector<Duration> times;
    };
    const Manifest& manifest_;
    Rebuilt out_;
    /// Namespace, source port, destination and its port, payload bytes, TTL (0: the system's).
    std::map<std::tuple<std::string, std::uint16_t, IpAddress, std::uint16_t, std::uint32_t, std::uint8_t>, Flow> flows_;
    std::map<std::string, ScenarioInjector> injectors_; ///< by device
    std::optional<PcapFile> captured_, wire_;           ///< frames that phases sent ready-made; on the wire
    std::uint64_t total_sends_ = 0;
};

} // namespace

bool hangs_on_speed(const ManifestPhase& phase)
{
    return std::ranges::any_of(phase.sends, [](const ManifestSend& send) {
        return !send.tool.empty() || (send.count > 1 && (send.stamps.empty() || send.gap_ns == 0));
    });
}

Result<Rebuilt> rebuild_scenario(const Manifest& manifest)
{
    const std::string where = (manifest.folder / "manifest.json").string();
    try {
        Rebuilt rebuilt = Rebuilder(manifest).run();
        // The one check of what the model can run is the scenario's own.
        auto checked = parse_scenario(to_text(rebuilt.scenario), where);
        if (!checked) {
            return fail(ErrorKind::unsupported, where, checked.error().what, checked.error().remedy);
        }
        rebuilt.scenario = std::move(*checked);
        return rebuilt;
    } catch (const Refusal& refusal) {
        return fail(refusal.kind, where, refusal.what);
    }
}

} // namespace skbscope
