// Scenario -> World: hosts with their CPUs, devices, routes and applications, and the names of all of them in the trace.

#include "core/catalog/catalog.h"
#include "core/catalog/stage_ids.h"
#include "core/kernel/drivers/driver.h"
#include "core/kernel/sch.h"
#include "core/kernel/ipv6.h"
#include "core/scenario/device_settings.h"
#include "core/scenario/model_source.h"
#include "core/scenario/pktgen.h"
#include "core/scenario/install_rules.h"
#include "core/scenario/rules_text.h"
#include "core/scenario/sysctls.h"

#include <algorithm>
#include <fmt/format.h>

namespace skbscope {

namespace {

using namespace kernel;

RoomId room(StageId stage) { return Catalog::stage(stage).room; }

Profile profile_of(const std::string& kernel)
{
    return static_cast<Profile>(std::ranges::find(kernel_profiles, kernel) - std::begin(kernel_profiles));
}

class Builder {
public:
    Builder(const Scenario& scenario, Trace& trace) : scenario_(scenario), trace_(trace) {}

    World build()
    {
        world_.profile = profile_of(scenario_.kernel);
        world_.seed = scenario_.seed;
        world_.random_state = scenario_.seed;
        world_.costs.scale(scenario_.cost_scale);
        set_host_costs();
        add_stations();
        for (const ScenarioHost& host : scenario_.hosts) {
            add_host(host);
        }
        attach_all_qdiscs();
        connect_links();
        start_flows();
        return std::move(world_);
    }

private:
    void set_host_costs()
    {
        if (std::ranges::all_of(scenario_.hosts, [](const ScenarioHost& host) { return host.cost_scale == 1.0; })) {
            return;
        }
        for (const ScenarioHost& host : scenario_.hosts) {
            if (host.namespace_of.empty()) {
                world_.host_costs.push_back(world_.costs);
                world_.host_costs.back().scale(host.cost_scale);
            }
        }
    }

    void add_stations()
    {
        for (const ScenarioStation& from : scenario_.stations) {
            Station station;
            station.name = from.name;
            station.mac = from.mac;
            station.address = from.address;
            station.address6 = from.address6;
            station.answers_arp = from.answers_arp;
            station.answers_ping = from.answers_ping;
            station.reply_delay = from.reply_delay;
            world_.stations.push_back(station);
        }
    }

    void add_host(const ScenarioHost& from)
    {
        Net net;
        for (const auto& [name, value] : from.sysctls) {
            if (const SysctlRow* row = find_sysctl(name)) { // those of devices follow when there are some
                net.sysctl.*(row->member) = value;
            }
        }
        net_row_ = static_cast<NetIndex>(world_.nets.size());
        net_names_.push_back(from.name);
        if (!from.namespace_of.empty()) {
            host_row_ = world_.nets[net_named(from.namespace_of)].host;
            net.name = from.name;
            net.host = host_row_;
            world_.nets.push_back(std::move(net));
            furnish(from);
            return;
        }
        Host host;
        host.name = from.name;
        host.id = trace_.add_host({from.name, static_cast<std::uint16_t>(from.cpus)});
        host.first_cpu = static_cast<std::uint32_t>(world_.cpus.size());
        host.cpus = from.cpus;
        host_row_ = static_cast<std::uint32_t>(world_.hosts.size());
        net.host = host_row_;
        host.init_net = net_row_;
        world_.nets.push_back(std::move(net));
        world_.hosts.push_back(std::move(host));
        for (std::uint32_t cpu = 0; cpu < from.cpus; ++cpu) {
            add_cpu(cpu);
        }
        furnish(from);
    }

    NetIndex net_named(const std::string& name)
    {
        return static_cast<NetIndex>(std::ranges::find(net_names_, name) - net_names_.begin());
    }

    /// Devices, routes and applications of the namespace that is being built.
    void furnish(const ScenarioHost& from)
    {
        net().ipv6.conf_all.forwarding = net().ipv6.conf_default.forwarding = from.ipv6_forwarding ? 1 : 0;
        add_loopback();
        for (const ScenarioDevice& device : from.devices) {
            add_device(device);
        }
        for (const auto& [name, value] : from.sysctls) {
            if (name == "net.ipv4.ip_forward" || name == "net.core.rps_sock_flow_entries" || find_dev_conf(name) || find_dev_conf6(name)) {
                set_sysctl(world_, net_row_, name, value);
            }
        }
        for (const ScenarioRoute& route : from.routes) {
            add_route(route);
        }
        for (const ScenarioRoute6& route : from.routes6) {
            add_route6(route);
        }
        for (const ScenarioNeighbour& neighbour : from.neighbours) {
            add_neighbour(neighbour);
        }
        for (const ScenarioReceiver& receiver : from.receivers) {
            add_receiver(receiver);
        }
        add_rules(from);
        for (const ScenarioTcp& app : from.tcp) {
            add_tcp(app);
        }
        for (const ScenarioTap& tap : from.taps) { // before the traffic: a tap that starts at 0 sees all of it
            add_tap(tap);
        }
        for (const ScenarioSender& sender : from.senders) {
            add_sender(sender);
        }
        for (const ScenarioPing& ping : from.pings) {
            add_ping(ping);
        }
        for (const ScenarioInjector& injector : from.injectors) {
            add_injector(injector);
        }
        for (const ScenarioPktgen& gen : from.pktgens) {
            Task task = task_on(fmt::format("kpktgend_{}", gen.cpu), gen.cpu);
            put_pktgen(task, gen, device_row(gen.device));
            start(std::move(task));
        }
    }

    void add_route(const ScenarioRoute& from)
    {
        static const std::map<std::string, RouteType> types{{"unicast", RouteType::unicast},
                                                            {"unreachable", RouteType::unreachable},
                                                            {"blackhole", RouteType::blackhole},
                                                            {"prohibit", RouteType::prohibit},
                                                            {"throw", RouteType::throw_}};
        Route route;
        route.prefix = from.to.address & mask(from.to.prefix);
        route.length = from.to.prefix;
        route.kind = types.at(from.type);
        route.device = from.device.empty() ? nothing : device_row(from.device);
        route.gateway = from.via;
        route.source = from.source != 0 || from.device.empty() ? from.source : first_address(route.device);
        route.metric = from.metric;
        route.mtu = from.mtu;
        net().fib.push_back(route);
    }

    void set_times(Task& task, const std::vector<Duration>& times, Duration start)
    {
        for (const Duration at : times) {
            task.send_times.push_back(SimTime{} + at);
        }
        task.next_send = times.empty() ? SimTime{} + start : task.send_times.front();
    }

    void add_ping(const ScenarioPing& from)
    {
        Task task = task_on(from.name, from.cpu);
        task.program = Program::ping;
        task.destination = from.address;
        task.inet6 = from.address6.v6;
        task.destination6 = from.address6;
        task.size = from.size;
        task.to_send = from.count;
        task.gap = from.interval;
        task.ping_socket = !from.raw;
        task.ttl = from.ttl == 0 ? std::int16_t{-1} : std::int16_t{from.ttl};
        set_times(task, from.times, from.start);
        this->start(std::move(task));
    }

    void add_injector(const ScenarioInjector& from)
    {
        Task task = task_on(from.name, from.cpu);
        task.program = Program::frame_sender;
        task.frames = from.frames;
        task.frame_device = device_row(from.device);
        task.to_send = from.frames.size();
        task.gap = from.gap;
        set_times(task, from.times, from.start);
        this->start(std::move(task));
    }

    Host& current() { return world_.hosts[host_row_]; }
    Net& net() { return world_.nets[net_row_]; }
    static std::uint32_t mask(std::uint8_t prefix) { return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix); }
    bool several_hosts() const { return scenario_.hosts.size() > 1; }
    /// Queue names bear the host's name only where there is more than one.
    std::string named(const std::string& name) { return several_hosts() ? net_names_[net_row_] + ": " + name : name; }

    QueueId add_queue(const std::string& name, QueueKind kind, RoomId in, std::uint64_t limit, const std::string& setting)
    {
        return trace_.add_queue({named(name), kind, current().id, in, limit, QueueUnit::packets, setting});
    }

    void add_cpu(std::uint32_t index)
    {
        Cpu cpu;
        cpu.host = host_row_;
        cpu.set_place(static_cast<CpuId>(world_.cpus.size()), current().id);
        cpu.index = index;
        cpu.backlog = static_cast<NapiIndex>(world_.napis.size());
        cpu.backlog_queue = add_queue(fmt::format("backlog CPU {}", index), QueueKind::backlog, room(stage::backlog),
                                      static_cast<std::uint64_t>(net().sysctl.netdev_max_backlog), "net.core.netdev_max_backlog");
        Napi backlog;
        backlog.cpu = static_cast<std::uint32_t>(world_.cpus.size());
        backlog.weight = static_cast<std::uint32_t>(net().sysctl.dev_weight);
        world_.napis.push_back(backlog);
        Task thread;
        thread.name = fmt::format("ksoftirqd/{}", index);
        thread.host = host_row_;
        thread.cpu = static_cast<std::uint32_t>(world_.cpus.size());
        thread.program = Program::ksoftirqd;
        thread.state = Task::State::sleeping;
        cpu.ksoftirqd = add_task(std::move(thread));
        world_.cpus.push_back(std::move(cpu));
    }

    std::int32_t add_task(Task task)
    {
        const auto pid = static_cast<std::int32_t>(100 + world_.tasks.size());
        task.id = trace_.add_task({task.name, pid, current().id});
        world_.tasks.push_back(std::move(task));
        return static_cast<std::int32_t>(world_.tasks.size() - 1);
    }

    DeviceIndex put(NetDevice device)
    {
        device.host = host_row_;
        device.net = net_row_;
        DeviceRecord record;
        record.name = device.name;
        record.host = current().id;
        record.driver = netdev_ops(device.kind).driver;
        record.mac = device.mac.bytes;
        record.mtu = device.mtu;
        device.id = trace_.add_device(record);
        world_.devices.push_back(std::move(device));
        return static_cast<DeviceIndex>(world_.devices.size() - 1);
    }

    void add_address(DeviceIndex device, const ScenarioAddress& address)
    {
        Net& to = net();
        to.fib.push_back({address.address, 32, Route::Kind::local, device, 0, address.address});
        if (address.prefix >= 32) {
            return;
        }
        const std::uint32_t network = address.address & mask(address.prefix);
        to.fib.push_back({network, address.prefix, Route::Kind::unicast, device, 0, address.address});
        if (address.prefix == 31) { // two ends and nothing else
            return;
        }
        to.fib.push_back({network | ~mask(address.prefix), 32, Route::Kind::broadcast, device, 0, address.address});
        if (world_.profile == Profile::v5_10) { // until 5.13 the lowest address is a broadcast, too
            to.fib.push_back({network, 32, Route::Kind::broadcast, device, 0, address.address});
        }
    }

    void add_loopback()
    {
        NetDevice lo;
        lo.name = "lo";
        lo.kind = DeviceKind::loopback;
        lo.mtu = 65536;
        lo.addresses.push_back({0x7f000001, 8});
        const DeviceIndex row = put(std::move(lo));
        net().loopback = row;
        IpAddress one = IpAddress::any6();
        one.bytes[15] = 1;
        addrconf_add_address(world_, row, one, 128);
        net().fib.push_back({0x7f000000, 8, Route::Kind::local, row, 0, 0x7f000001});
    }

    void add_device(const ScenarioDevice& from)
    {
        NetDevice device;
        device.name = from.name;
        device.mac = from.mac;
        device.mtu = from.mtu;
        device.tx_checksum = from.tx_checksum;
        device.tso = from.tso && from.tx_checksum; // NETIF_F_TSO needs the checksum
        device.irq_cpu = from.irq_cpu;
        device.irq_delay = from.irq_delay;
        device.tx_queue_len = from.txqueuelen;
        device.kind = kind_of(from.driver);
        device.gro = from.gro;
        device.promiscuous = from.promiscuous;
        for (const ScenarioAddress& address : from.addresses) {
            device.addresses.push_back({address.address, address.prefix});
        }
        device.link.bits_per_second = from.rate;
        device.link.delay = from.delay;
        device.link.loss_ppm = from.loss_ppm;
        device.link.lose = from.lose;
        const auto row = static_cast<DeviceIndex>(world_.devices.size());
        if (device.kind != DeviceKind::veth) {
            device.link.wire_queue = add_queue(from.name + " wire", QueueKind::wire, Catalog::find_room("wire"), 0, "");
        }
        if (device.kind == DeviceKind::virtio_net) {
            furnish_virtio(device, from, row);
        } else if (device.kind != DeviceKind::veth) {
            furnish_e1000(device, from, row);
        }
        set_rps(device, from.rps_cpus);
        for (const auto& [name, value] : from.settings) {
            find_device_setting(name)->set(device, value);
        }
        put(std::move(device));
        for (const ScenarioAddress& address : from.addresses) {
            add_address(row, address);
        }
        add_ipv6(row, from);
    }

    void add_ipv6(DeviceIndex row, const ScenarioDevice& from)
    {
        if (!from.ipv6) {
            world_.devices[static_cast<std::size_t>(row)].in6.present = true;
            world_.devices[static_cast<std::size_t>(row)].in6.disable_ipv6 = 1;
            return;
        }
        addrconf_add_dev(world_, row);
        for (const ScenarioAddress6& address : from.addresses6) {
            addrconf_add_address(world_, row, address.address, address.prefix);
        }
        addrconf_add_linklocal(world_, row);
    }

    static DeviceKind kind_of(const std::string& driver)
    {
        for (const DeviceKind kind : {DeviceKind::e1000, DeviceKind::e1000e, DeviceKind::virtio_net, DeviceKind::veth}) {
            if (netdev_ops(kind).driver == driver) {
                return kind;
            }
        }
        return DeviceKind::e1000;
    }

    NapiIndex add_napi(Napi::Poll poll, DeviceIndex device, std::uint32_t queue, const std::string& name)
    {
        Napi napi;
        napi.poll = poll;
        napi.device = device;
        napi.queue = queue;
        if (!name.empty()) {
            napi.rx_list_queue = add_queue(name, QueueKind::gro_list, room(stage::gro),
                                           static_cast<std::uint64_t>(net().sysctl.gro_normal_batch), "net.core.gro_normal_batch");
        }
        world_.napis.push_back(std::move(napi));
        return static_cast<NapiIndex>(world_.napis.size() - 1);
    }

    void furnish_e1000(NetDevice& device, const ScenarioDevice& from, DeviceIndex row)
    {
        E1000& nic = device.e1000;
        nic.rx_ring_size = from.rx_ring;
        nic.tx_ring_size = from.tx_ring;
        nic.rx_available = from.rx_ring - 1; // E1000_DESC_UNUSED: one always stays empty
        nic.copybreak = from.copybreak;
        nic.rx_checksum = from.rx_checksum;
        nic.coalesce_usecs = from.rx_usecs;
        nic.tso_empty_tail = from.tso_empty_tail;
        nic.rx_queue = add_queue(from.name + " RX ring", QueueKind::rx_ring, room(stage::nic_rx_ring), from.rx_ring, from.name + ".rx_ring");
        nic.tx_queue = add_queue(from.name + " TX ring", QueueKind::tx_ring, room(stage::nic_tx_ring), from.tx_ring, from.name + ".tx_ring");
        nic.napi = add_napi(device.kind == DeviceKind::e1000 ? Napi::Poll::e1000_clean : Napi::Poll::e1000e_poll, row, 0, from.name + " rx_list");
    }

    void furnish_virtio(NetDevice& device, const ScenarioDevice& from, DeviceIndex row)
    {
        virtnet_probe(device, from.queues, from.rx_ring, from.tx_ring);
        device.virtio.rx_checksum = from.rx_checksum;
        device.virtio.tx_timer = from.tx_timer;
        device.virtio.tx_irq_delay = from.tx_irq_delay;
        for (std::uint32_t queue = 0; queue < from.queues; ++queue) {
            VirtioPair& pair = device.virtio.pairs[queue];
            const std::string which = from.queues == 1 ? "" : fmt::format(" {}", queue);
            pair.irq_cpu = (from.irq_cpu + queue) % current().cpus;
            pair.rx.queue = add_queue(from.name + " RX ring" + which, QueueKind::rx_ring, room(stage::nic_rx_ring), from.rx_ring, from.name + ".rx_ring");
            pair.tx.queue = add_queue(from.name + " TX ring" + which, QueueKind::tx_ring, room(stage::nic_tx_ring), from.tx_ring, from.name + ".tx_ring");
            pair.rx.napi = add_napi(Napi::Poll::virtnet_poll, row, queue, from.name + " rx_list" + which);
            pair.tx.napi = add_napi(Napi::Poll::virtnet_poll_tx, row, queue, "");
        }
    }

    void set_rps(NetDevice& device, const std::vector<std::uint64_t>& masks)
    {
        for (std::size_t queue = 0; queue < masks.size() && queue < device.rx_queues.size(); ++queue) {
            for (std::uint16_t cpu = 0; cpu < current().cpus; ++cpu) {
                if (((masks[queue] >> cpu) & 1) != 0) {
                    device.rx_queues[queue].rps_cpus.push_back(cpu);
                    current().rps_needed = true;
                }
            }
        }
    }

    DeviceIndex device_row(const std::string& name)
    {
        for (std::size_t row = 0; row < world_.devices.size(); ++row) {
            if (world_.devices[row].net == net_row_ && world_.devices[row].name == name) {
                return static_cast<DeviceIndex>(row);
            }
        }
        return nothing;
    }

    std::uint32_t first_address(DeviceIndex device)
    {
        const auto& addresses = world_.devices[static_cast<std::size_t>(device)].addresses;
        return addresses.empty() ? 0 : addresses.front().address;
    }

    void add_route6(const ScenarioRoute6& from)
    {
        Route6 route;
        route.prefix = from.to.address;
        route.length = from.to.prefix;
        route.gateway = from.via;
        route.metric = from.metric;
        route.device = from.device.empty() ? nothing : device_row(from.device);
        route.kind = from.kind == "unreachable" ? Route6::Kind::unreachable
                     : from.kind == "prohibit"  ? Route6::Kind::prohibit
                     : from.kind == "blackhole" ? Route6::Kind::blackhole
                                                : Route6::Kind::unicast;
        if (route.kind != Route6::Kind::unicast) {
            route.device = nothing;
        }
        net().ipv6.routes.push_back(route);
    }

    void add_neighbour(const ScenarioNeighbour& from)
    {
        Neighbour neighbour;
        neighbour.address = from.address6.v6 ? from.address6 : IpAddress::v4(from.address);
        neighbour.device = device_row(from.device);
        neighbour.state = from.stale ? Nud::stale : Nud::reachable;
        neighbour.lladdr = from.mac;
        neighbour.header_cached = from.used;
        neighbour.queue = trace_.add_queue({named("arp_queue " + neighbour.address.text()), QueueKind::arp_queue, current().id,
                                            room(stage::neigh), static_cast<std::uint64_t>(net().sysctl.unres_qlen_bytes),
                                            QueueUnit::bytes,
                                            neighbour.address.v6 ? "net.ipv6.neigh.default.unres_qlen_bytes"
                                                                 : "net.ipv4.neigh.default.unres_qlen_bytes"});
        world_.neighbours.push_back(std::move(neighbour));
    }

    Task task_on(const std::string& name, std::uint32_t cpu)
    {
        Task task;
        task.name = name;
        task.host = host_row_;
        task.net = net_row_;
        task.cpu = current().first_cpu + cpu;
        return task;
    }

    void start(Task task)
    {
        const std::uint32_t cpu = task.cpu;
        const std::int32_t row = add_task(std::move(task));
        world_.cpus[cpu].run_queue.push_back(row);
    }

    void add_receiver(const ScenarioReceiver& from)
    {
        Task task = task_on(from.name, from.cpu);
        task.program = Program::udp_receiver;
        task.bind_address = from.address;
        task.inet6 = from.address6.v6;
        task.bind_address6 = from.address6;
        task.ipv6only = from.ipv6only;
        task.bind_port = from.port;
        task.use_poll = from.poll;
        task.reuseport = from.reuseport;
        task.reuseaddr = from.reuseaddr;
        task.connect = from.peer_port != 0;
        task.destination = from.peer;
        task.destination_port = from.peer_port;
        task.work_per_datagram = from.work;
        if (!from.filter.empty()) {
            task.wanted_filter = *compile_filter(from.filter, from.filter_keep, FilterBase::network_header);
        }
        task.next_send = SimTime{} + from.start;
        // getsockopt() reports twice what setsockopt() was given.
        task.wanted_rcvbuf = from.rcvbuf == 0 ? -1 : static_cast<std::int32_t>(from.rcvbuf / 2);
        start(std::move(task));
    }

    void add_rules(const ScenarioHost& from)
    {
        NfRuleset all = *parse_nft(from.nft, "nft"); // accepted when the scenario was read
        NfRuleset legacy = *parse_iptables_save(from.iptables, "iptables");
        for (NfTable& table : legacy.tables) {
            all.tables.push_back(std::move(table));
        }
        install_rules(world_, net_row_, std::move(all), trace_, from.lsm == "apparmor");
    }

    void add_tap(const ScenarioTap& from)
    {
        PacketSock tap;
        tap.host = host_row_;
        tap.net = net_row_;
        tap.device = from.device.empty() ? nothing : device_row(from.device);
        tap.tp_version = static_cast<std::uint8_t>(from.mmap ? from.version : 0);
        // No expression and a snaplen above every frame: libpcap attaches no program at all.
        if (!from.filter.empty() || from.snaplen < 65535) {
            tap.filter = *compile_filter(from.filter, from.snaplen); // accepted when the scenario was read
        }
        size_ring(tap.ring, from, tap.device);
        tap.rcvbuf = from.rcvbuf == 0 ? -1 : static_cast<std::int64_t>(from.rcvbuf);
        tap.opens = SimTime{} + from.start;
        tap.closes = from.stop > Duration{} ? SimTime{} + from.stop : never;
        Task task = task_on(from.name, from.cpu);
        task.program = Program::packet_reader;
        task.packet_sock = static_cast<std::int32_t>(world_.packet_socks.size());
        task.work_per_datagram = from.work;
        world_.packet_socks.push_back(std::move(tap));
        start(std::move(task));
    }

    /// As libpcap lays its rings out: V2 in slots for the longest frame, V3 in blocks of 256 KiB.
    void size_ring(PacketRing& ring, const ScenarioTap& from, DeviceIndex device)
    {
        constexpr std::uint32_t v2_header = 64, page = 4096, link_header_and_fcs = 18, v3_block = 262144;
        const std::uint32_t mtu = device == nothing ? 65536 : world_.devices[static_cast<std::size_t>(device)].mtu;
        ring.frame_size = (v2_header + std::min(from.snaplen, mtu + link_header_and_fcs) + 15) & ~15U;
        std::uint32_t block = page;
        while (block < ring.frame_size) {
            block *= 2;
        }
        const std::uint32_t in_block = block / ring.frame_size;
        ring.frame_nr = std::max(from.buffer / ring.frame_size / in_block, 1U) * in_block;
        ring.block_size = v3_block;
        ring.block_nr = std::max(from.buffer / v3_block, 1U);
        ring.retire = Duration{1'000'000'000}; // tcpdump's pcap_set_timeout()
    }

    void add_tcp(const ScenarioTcp& from)
    {
        Task task = task_on(from.name, from.cpu);
        task.program = from.server ? Program::tcp_server : Program::tcp_client;
        task.bind_address = from.server ? from.address : from.from_address;
        task.bind_port = from.server ? from.port : from.from_port;
        task.destination = from.address;
        task.destination_port = from.port;
        task.gap = from.gap;
        task.next_send = SimTime{} + from.start;
        task.tcp.to_send = from.send;
        task.tcp.to_receive = from.receive;
        task.tcp.wait_for_end = from.until_end;
        task.tcp.chunk = from.chunk;
        task.tcp.read_size = from.read;
        task.tcp.work_per_read = from.work;
        task.tcp.steal = from.steal;
        task.tcp.connections_left = from.count;
        task.tcp.backlog = from.backlog;
        task.tcp.accepts = from.accept;
        task.tcp.nodelay = from.nodelay;
        task.tcp.rcvbuf = from.rcvbuf;
        task.tcp.sndbuf = from.sndbuf;
        start(std::move(task));
    }

    void add_sender(const ScenarioSender& from)
    {
        Task task = task_on(from.name, from.cpu);
        task.program = Program::udp_sender;
        task.destination = from.address;
        task.inet6 = from.address6.v6;
        task.destination6 = from.address6;
        task.destination_port = from.port;
        task.bind_port = from.from_port;
        task.connect = from.connect;
        task.so_broadcast = from.broadcast;
        task.wanted_sndbuf = from.sndbuf;
        task.ttl = from.ttl == 0 ? std::int16_t{-1} : std::int16_t{from.ttl};
        task.size = from.size;
        task.to_send = from.count;
        task.gap = from.gap;
        task.next_send = SimTime{} + from.start;
        for (const Duration at : from.times) {
            task.send_times.push_back(SimTime{} + at);
        }
        if (!task.send_times.empty()) {
            task.next_send = task.send_times.front();
        }
        start(std::move(task));
    }

    /// Every device's qdisc: its own, or the host's default; devices without a queue have none.
    void attach_all_qdiscs()
    {
        for (NetIndex row = 0; row < scenario_.hosts.size(); ++row) {
            const ScenarioHost& from = scenario_.hosts[row];
            net_row_ = row;
            host_row_ = world_.nets[row].host;
            for (std::size_t device = 0; device < world_.devices.size(); ++device) {
                if (world_.devices[device].net == row) {
                    const auto own = std::ranges::find(from.devices, world_.devices[device].name, &ScenarioDevice::name);
                    attach_qdiscs(world_, trace_, static_cast<DeviceIndex>(device), qdisc_for(from, world_.devices[device]));
                    if (own != from.devices.end() && own->qdisc) {
                        name_root_qdisc(world_, static_cast<DeviceIndex>(device));
                    }
                }
            }
            for (const ScenarioTc& change : from.tc) {
                Task task = task_on("tc", change.cpu);
                task.program = Program::tc;
                task.socket = static_cast<SocketIndex>(world_.qdisc_changes.size());
                world_.qdisc_changes.push_back({SimTime{} + change.at, device_row(change.device), change.qdisc});
                start(std::move(task));
            }
        }
    }

    QdiscSpec qdisc_for(const ScenarioHost& host, const NetDevice& device)
    {
        QdiscSpec spec;
        spec.kind = QdiscKind::noqueue; // IFF_NO_QUEUE
        const auto found = std::ranges::find(host.devices, device.name, &ScenarioDevice::name);
        if (found == host.devices.end()) {
            return spec;
        }
        if (found->qdisc) {
            return *found->qdisc;
        }
        if (!has_queue(device.kind)) {
            return spec;
        }
        // Debian's kernels: pfifo_fast on 5.10, fq_codel (CONFIG_DEFAULT_NET_SCH) since.
        spec.kind = world_.profile == Profile::v5_10 ? QdiscKind::pfifo_fast : QdiscKind::fq_codel;
        if (host.default_qdisc == "pfifo_fast") {
            spec.kind = QdiscKind::pfifo_fast;
        } else if (host.default_qdisc == "pfifo") {
            spec.kind = QdiscKind::pfifo;
        } else if (host.default_qdisc == "fq_codel") {
            spec.kind = QdiscKind::fq_codel;
        }
        return spec;
    }

    static bool has_queue(DeviceKind kind) { return kind != DeviceKind::loopback && kind != DeviceKind::veth; }

    void connect_links()
    {
        net_row_ = 0;
        for (const ScenarioHost& from : scenario_.hosts) {
            net_row_ = net_named(from.name);
            for (const ScenarioDevice& device : from.devices) {
                connect_link(device_row(device.name), device.link);
            }
        }
    }

    void connect_link(DeviceIndex row, const std::string& link)
    {
        NetDevice& mine = world_.devices[static_cast<std::size_t>(row)];
        for (std::size_t station = 0; station < world_.stations.size(); ++station) {
            if (world_.stations[station].name == link && mine.kind != DeviceKind::veth) {
                mine.link.station = static_cast<std::int32_t>(station);
                world_.stations[station].device = row;
            }
        }
        for (std::size_t other = 0; other < world_.devices.size(); ++other) {
            NetDevice& device = world_.devices[other];
            if (net_names_[device.net] + "." + device.name != link) {
                continue;
            }
            if (mine.kind == DeviceKind::veth) {
                mine.veth_peer = static_cast<DeviceIndex>(other);
                device.veth_peer = row;
            } else {
                mine.link.peer_device = static_cast<DeviceIndex>(other);
                device.link.peer_device = row; // a cable has two ends
            }
        }
    }

    void start_flows()
    {
        for (std::size_t station = 0; station < scenario_.stations.size(); ++station) {
            for (const ScenarioFlow& from : scenario_.stations[station].flows) {
                WireFlow flow;
                flow.station = static_cast<std::int32_t>(station);
                flow.destination = from.address;
                flow.destination6 = from.address6;
                flow.destination_port = from.port;
                flow.source_port = from.from_port;
                flow.size = from.size;
                flow.remaining = from.count;
                flow.gap = from.gap;
                world_.flows.push_back(flow);
                if (from.count > 0 && world_.stations[station].device != nothing) {
                    DeviceEvent first;
                    first.kind = DeviceEvent::Kind::flow_sends;
                    first.at = SimTime{} + from.start;
                    first.index = static_cast<std::int32_t>(world_.flows.size() - 1);
                    Kernel(world_, trace_).schedule(std::move(first));
                }
            }
        }
    }

    const Scenario& scenario_;
    Trace& trace_;
    World world_;
    std::uint32_t host_row_ = 0;
    NetIndex net_row_ = 0;
    std::vector<std::string> net_names_; ///< by net
};

} // namespace

kernel::World build_world(const Scenario& scenario, Trace& trace)
{
    trace.info.source = "model: " + scenario.title;
    trace.info.kernel_release = scenario.kernel + " (model)";
    trace.info.kernel = kernel_version_of(scenario.kernel);
    trace.info.scenario = to_text(scenario);
    World world = Builder(scenario, trace).build();
    trace.info.costs_hash = world.costs.hash();
    for (const Costs& costs : world.host_costs) {
        trace.info.costs_hash = trace.info.costs_hash * 1099511628211ULL ^ costs.hash();
    }
    return world;
}

} // namespace skbscope
