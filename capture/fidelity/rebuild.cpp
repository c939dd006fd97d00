#include "capture/fidelity/rebuild.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

namespace skbscope {

namespace {

constexpr const char* traced_net = "root";
constexpr Duration lead{50'000'000};    // sockets are open that long before the first phase begins
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

bool in_prefix(const IpAddress& address, const ManifestAddress& of)
{
    if (address.v6 != of.address.v6) {
        return false;
    }
    for (std::size_t bit = 0; bit < of.prefix; ++bit) {
        const unsigned mask = 0x80U >> (bit % 8);
        if (((address.bytes[bit / 8] ^ of.address.bytes[bit / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

bool is_link_local(const IpAddress& address)
{
    return address.v6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0U) == 0x80;
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
        add_senders();
        add_taps();
        return std::move(out_);
    }

private:
    std::string kernel() const
    {
        for (const char* known : {"5.10", "6.12", "6.1"}) {
            if (manifest_.kernel.starts_with(std::string(known) + ".")) {
                return known;
            }
        }
        refuse(fmt::format("the model has no profile of kernel {}", manifest_.kernel));
    }

    bool is_one_machine() const
    {
        return std::ranges::all_of(manifest_.links, [](const ManifestLink& link) { return link.driver == "veth"; });
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
            if (is_one_machine() && net != traced_net) {
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
        if (link.txqueuelen > 0) {
            device.txqueuelen = link.txqueuelen;
        }
        device.rx_checksum = offload(link, "rx-checksumming", true);
        device.tx_checksum = offload(link, "tx-checksumming", true);
        device.gro = offload(link, "generic-receive-offload", true);
        if (const auto mask = manifest_.settings.find(link.name + ".rps_cpus"); mask != manifest_.settings.end()) {
            const std::uint64_t cpus = std::strtoull(mask->second.c_str(), nullptr, 16);
            if (cpus != 0) {
                device.rps_cpus.assign(1, cpus);
            }
        }
        device.irq_cpu = link.net == traced_net ? irq_cpu(link) : 0;
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
            if (from.address.v6 || std::ranges::find(at.devices, from.device, &ScenarioDevice::name) == at.devices.end()) {
                continue;
            }
            at.neighbours.push_back({from.address.v4_host_order(), from.mac, from.device});
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
            host(traced_net).sysctls[name] = value;
        }
    }

    // ---- traffic -------------------------------------------------------------------------------------------------------

    void add_phase(const ManifestPhase& phase)
    {
        if (phase.stream) {
            refuse("the model has no TCP");
        }
        if (phase.frames > 0) {
            refuse("the model sends no hand-made frames");
        }
        if (!phase.output.empty()) {
            refuse("the model has no ping");
        }
        if (!phase.qdiscs.empty()) {
            refuse("the model cannot change a qdisc while it runs");
        }
        for (const ManifestReceive& receive : phase.receives) {
            add_receiver(phase, receive);
        }
        for (const ManifestSend& send : phase.sends) {
            add_send(phase, send);
        }
    }

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

    void add_receiver(const ManifestPhase& phase, const ManifestReceive& receive)
    {
        if (receive.bound.address.v6) {
            refuse("the model has no IPv6");
        }
        ScenarioHost& at = host(receiving_net(phase, receive));
        ScenarioReceiver receiver;
        receiver.name = fmt::format("reader-{}", receive.bound.port);
        receiver.address = receive.bound.address.v4_host_order();
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
            receiver.start = Duration{static_cast<std::int64_t>((last + phase.end) / 2 - out_.base)};
        }
        const auto same = std::ranges::find_if(at.receivers, [&](const ScenarioReceiver& other) { return other.port == receiver.port; });
        if (same == at.receivers.end()) {
            at.receivers.push_back(std::move(receiver));
        }
    }

    std::int64_t default_rcvbuf() const
    {
        const auto found = manifest_.settings.find("net.core.rmem_default");
        return found == manifest_.settings.end() ? 212992 : std::strtoll(found->second.c_str(), nullptr, 10);
    }

    void add_send(const ManifestPhase& phase, const ManifestSend& send)
    {
        if (send.from.address.v6 || send.to.address.v6) {
            refuse("the model has no IPv6");
        }
        if (send.ttl) {
            refuse("the model's senders set no TTL");
        }
        const ManifestLink* link = owner(send.from.address);
        if (link == nullptr) {
            throw Refusal{ErrorKind::invalid, fmt::format("phase '{}': no device has the sender's address {}", phase.name, send.from.address.text())};
        }
        total_sends_ += send.count;
        if (total_sends_ > most_sends) {
            refuse(fmt::format("more than {} datagrams", most_sends));
        }
        if (host(traced_net).name != link->net && !std::ranges::any_of(manifest_.links, [&](const ManifestLink& other) {
                return std::ranges::any_of(other.addresses, [&](const ManifestAddress& a) { return in_prefix(send.to.address, a); }) && other.net == link->net;
            })) {
            refuse("the model does not forward");
        }
        // What a packet generator puts on the wire looks to the receiver like datagrams of that size.
        constexpr std::uint32_t headers = 14 + 20 + 8;
        const std::uint32_t size = send.tool.empty() ? send.size : std::max(send.frame_size, headers) - headers;
        Flow& flow = flows_[{link->net, send.from.port, send.to.address.v4_host_order(), send.to.port, size}];
        for (std::uint64_t i = 0; i < send.count; ++i) {
            const std::uint64_t at = i < send.stamps.size() ? send.stamps[i] : phase.begin + 10'000'000 + i * send.gap_ns;
            flow.times.push_back(Duration{static_cast<std::int64_t>(at - std::min(at, out_.base))});
        }
    }

    /// One sender for each socket: phases that use the same addresses and ports share it.
    void add_senders()
    {
        for (auto& [key, flow] : flows_) {
            const auto& [net, from_port, to, port, size] = key;
            ScenarioSender sender;
            sender.name = fmt::format("sender-{}", from_port);
            sender.address = to;
            sender.port = port;
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
    std::map<std::tuple<std::string, std::uint16_t, std::uint32_t, std::uint16_t, std::uint32_t>, Flow> flows_;
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
