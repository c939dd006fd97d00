"""The scenarios: a function each, with its parameters and their defaults. A scenario says what stands between the traced machine and
its peer (`wires`), what is set before the recording (`prepare`), and yields phases: a name, what happens, and what came of it."""

import json
import time

import fragments
from machine import TRACED, Worker, inside, put, run
from traffic import connect, receive_datagrams, send_datagrams, send_frames, serve

HERE, PEER = "10.99.0.2", "10.99.0.1"
COMMON = {"tracer": "function", "roots": "net_rx_action", "tcpdump": True, "reader": "poll", "snaplen": 256, "buffer_kb": 8192}


def wire(nic, v6=False):
    mine, theirs = ("v0", "v1") if nic == "veth" else ("eth0", "eth1")
    six = lambda end: [f"fd00:99::{end}/64"] if v6 else []
    return [((mine, TRACED, [f"{HERE}/24"] + six(2)), (theirs, "peer", [f"{PEER}/24"] + six(1)))]


class Scenario:
    defaults = {}

    def __init__(self, nic, wishes):
        self.nic = nic
        self.params = COMMON | self.defaults | wishes
        for name, value in self.params.items():
            setattr(self, name, value)

    def wires(self):
        return wire(self.nic)

    def captured(self):
        """Devices with a tcpdump."""
        return [mine for mine, _ in self.wires()]

    def prepare(self, machine):
        for net in machine.nets:
            machine.know_neighbours(net)

    def datagrams(self, machine, to_net, address, port, sources, count, size, gap_s, *, reads=True, rcvbuf=0, late=False, ttl=None, any_address="0.0.0.0"):
        """One exchange: a reader in `to_net` where `reads`, and a sender for `sources` ((net, address), port)."""
        from_net = sources[0][0]
        reader = None
        if reads:
            quiet = 2 + count * gap_s
            reader = Worker(machine.cpu_of_programs(to_net), receive_datagrams, to_net, any_address, port, count * len(sources), rcvbuf, late,
                            self.reader == "blocked", 0.5 if late else quiet)
            reader.ready()
        flows = [((source, source_port), (address, port)) for _, source, source_port in sources]
        sender = Worker(machine.cpu_of_programs(from_net), send_datagrams, from_net, flows, count, size, gap_s, ttl)
        sender.ready()
        return reader, sender

    @staticmethod
    def finish(reader, sender, late=False, prefix=""):
        """Lets both go; their words under the names of a manifest: sent, sent_1, …, received."""
        sender.go()
        sent = sender.result()
        if late:
            time.sleep(1)
            reader.go()
        result = {prefix + ("sent" if i == 0 else f"sent_{i}"): flow for i, flow in enumerate(sent)}
        if reader:
            result[("peer_" if prefix == "" and sent[0]["src"][0] == HERE else prefix) + "received"] = reader.result()
        if late:
            time.sleep(1)
        return result


class UdpReceive(Scenario):
    """The peer sends datagrams; a program reads them, reads them late (`late`, with a small `rcvbuf`), or nobody listens (`port=closed`)."""
    defaults = {"count": 20, "size": 64, "gap": 0.03, "flows": 1, "rcvbuf": 0, "late": False, "port": "open"}

    def phases(self, machine):
        is_open = self.port == "open"
        sources = [("peer", PEER, 40001 + i) for i in range(self.flows)]
        reader, sender = self.datagrams(machine, TRACED, HERE, 5001 if is_open else 5999, sources, self.count, self.size, self.gap,
                                        reads=is_open, rcvbuf=self.rcvbuf, late=self.late)
        yield "udp-rx" if is_open else "udp-noport", f"peer {PEER} sends UDP to {HERE}", lambda: self.finish(reader, sender, self.late)


class Tcp(Scenario):
    """`client` connects, sends `bytes` in pieces of `write`, receives `back`, closes; `connections` times one after the other, a phase each.
    `loss`: per cent of the segments that the wire loses in each direction, at random; `tso=off` on both ends."""
    defaults = {"bytes": 200000, "back": 200000, "write": 1 << 20, "connections": 1, "client": "root", "loss": 0, "tso": "", "snaplen": 96}

    def prepare(self, machine):
        super().prepare(machine)
        for device, net, _ in machine.ends if self.tso else []:
            with inside(net):
                run("ethtool", "-K", device, "tso", self.tso)
        if self.loss:
            self.lose(machine)

    def lose(self, machine):
        """Behind the peer's device, so that the traced machine's own functions do not see it."""
        device = next(device for device, net, _ in machine.ends if net == "peer")
        with inside("peer"):
            run("tc", "qdisc", "replace", "dev", device, "root", "netem", "loss", f"{self.loss}%")
            run("nft", f"add table netdev wire; add chain netdev wire in {{ type filter hook ingress device {device} priority 0; }}; "
                       f"add rule netdev wire in numgen random mod 1000 < {round(self.loss * 10)} drop")

    def phases(self, machine):
        client, server = (TRACED, "peer") if self.client == "root" else ("peer", TRACED)
        source, destination = (HERE, PEER) if self.client == "root" else (PEER, HERE)
        for number in range(self.connections):
            port = 5008 + number
            answering = Worker(machine.cpu_of_programs(server), serve, server, destination, port, self.bytes, self.back, self.write)
            answering.ready()
            asking = Worker(machine.cpu_of_programs(client), connect, client, (source, 44008 + number), (destination, port), self.bytes, self.back, self.write)
            asking.ready()

            def exchange():
                asking.go()
                return {"client": asking.result(), "server": answering.result()}
            yield ("tcp" if number == 0 else f"tcp-{number + 1}",
                   f"{client} connects to {destination}:{port}, sends {self.bytes} bytes, receives {self.back}, closes", exchange)


class UdpSend(Scenario):
    """The traced machine sends: one datagram (the neighbour is unknown unless `neighbour=permanent`), then `count`."""
    defaults = {"count": 20, "size": 64, "gap": 0.03, "flows": 1, "neighbour": "cold"}

    def prepare(self, machine):
        machine.know_neighbours("peer")
        machine.know_neighbours(TRACED, self.neighbour)

    def phases(self, machine):
        first = [(TRACED, HERE, 40002)]
        _, sender = self.datagrams(machine, "peer", PEER, 5002, first, 1, self.size, 0.2, reads=False)
        # One reader for both phases: nothing may answer "port unreachable".
        reader = Worker(machine.cpu_of_programs("peer"), receive_datagrams, "peer", "0.0.0.0", 5002, 1 + self.count * self.flows, 0, False,
                        False, 4 + self.count * self.gap)
        reader.ready()
        yield "udp-tx-first", "the neighbour entry is absent" if self.neighbour == "cold" else "the neighbour is known", lambda: self.finish(None, sender)
        sources = [(TRACED, HERE, 40002 + i) for i in range(self.flows)]
        _, sender = self.datagrams(machine, "peer", PEER, 5002, sources, self.count, self.size, self.gap, reads=False)
        yield "udp-tx", f"{HERE} sends UDP to {PEER}:5002", lambda: self.finish(reader, sender)


class UdpBoth(Scenario):
    """Both send at the same time; captured on both sides where both are traced."""
    defaults = {"count": 20, "size": 64, "gap": 0.03}

    def captured(self):
        ends = self.wires()[0]
        return ends if self.nic == "veth" else ends[:1]

    def phases(self, machine):
        down = self.datagrams(machine, TRACED, HERE, 5010, [("peer", PEER, 45010)], self.count, self.size, self.gap)
        up = self.datagrams(machine, "peer", PEER, 5011, [(TRACED, HERE, 45011)], self.count, self.size, self.gap)

        def exchange():
            down[1].go()
            return self.finish(*up, prefix="tx_") | self.finish(*down, prefix="rx_")
        yield "udp-both", f"{PEER} and {HERE} send to each other", exchange


class Udp6(Scenario):
    """As the two above, over IPv6; neighbours are found on the way."""
    defaults = {"count": 10, "size": 64, "gap": 0.03}
    v6 = True

    def wires(self):
        return wire(self.nic, v6=True)

    def prepare(self, machine):
        time.sleep(3) # what the kernel sends of its own when an address comes up

    def phases(self, machine):
        here, peer = "fd00:99::2", "fd00:99::1"
        exchange = self.datagrams(machine, TRACED, here, 5013, [("peer", peer, 49013)], self.count, self.size, self.gap, any_address="::")
        yield "udp6-rx", f"{peer} sends to {here}, whom it does not know yet", lambda: self.finish(*exchange)
        back = self.datagrams(machine, "peer", peer, 5014, [(TRACED, here, 49014)], self.count, self.size, self.gap, any_address="::")
        yield "udp6-tx", f"{here} sends to {peer}", lambda: self.finish(*back)


class Ping(Scenario):
    """Echoes from the peer, then to it; over IPv6 with `v6=true`."""
    defaults = {"count": 5, "size": 56, "v6": False}

    def wires(self):
        return wire(self.nic, self.v6)

    def prepare(self, machine):
        super().prepare(machine)
        if self.v6:
            time.sleep(3)

    def phases(self, machine):
        here, peer = ("fd00:99::2", "fd00:99::1") if self.v6 else (HERE, PEER)
        for name, net, target in [("echo-in", "peer", here), ("echo-out", TRACED, peer)]:
            yield name, f"ping to {target}", lambda: {"output": self.ping(machine, net, target)}

    def ping(self, machine, net, target):
        with inside(net):
            return run("taskset", f"{1 << machine.cpu_of_programs(net):x}", "ping", "-n", "-c", str(self.count), "-i", "0.2", "-s", str(self.size), target)


class Forward(Scenario):
    """The traced machine is the router between a and b; `mtu` of the way out, with datagrams of `big` bytes that do not fit."""
    defaults = {"count": 10, "size": 64, "gap": 0.03, "mtu": 0, "big": 1400, "neighbour": "warm"}

    def wires(self):
        ends = ("ra", "a0", "rb", "b0") if self.nic == "veth" else ("eth0", "eth1", "eth2", "eth3")
        return [((ends[0], TRACED, ["10.1.0.1/24"]), (ends[1], "a", ["10.1.0.2/24"])),
                ((ends[2], TRACED, ["10.2.0.1/24"]), (ends[3], "b", ["10.2.0.2/24"]))]

    def prepare(self, machine):
        machine.set(TRACED, "net.ipv4.ip_forward", 1)
        for net, router in [("a", "10.1.0.1"), ("b", "10.2.0.1")]:
            with inside(net):
                run("ip", "route", "add", "default", "via", router)
        run("ip", "route", "add", "unreachable", "10.3.0.9")
        for device, net, _ in machine.ends[2:] if self.mtu else []:
            with inside(net):
                run("ip", "link", "set", device, "mtu", str(self.mtu))
        if self.neighbour == "warm":
            with inside("a"):
                run("ping", "-n", "-c", "2", "-i", "0.2", "10.2.0.2")
        else:
            for net in machine.nets:
                machine.know_neighbours(net, self.neighbour)

    def phases(self, machine):
        a, b = "10.1.0.2", "10.2.0.2"
        exchange = self.datagrams(machine, "b", b, 5006, [("a", a, 42006)], self.count, self.size, self.gap)
        yield "forward", f"{a} -> {b}:5006 through the router", lambda: self.finish(*exchange)
        if self.mtu:
            big = self.datagrams(machine, "b", b, 5016, [("a", a, 42016)], self.count, self.big, self.gap)
            yield "forward-big", f"datagrams of {self.big} bytes, the way out takes {self.mtu}", lambda: self.finish(*big)
        _, expiring = self.datagrams(machine, "b", b, 5007, [("a", a, 42007)], 4, self.size, self.gap, reads=False, ttl=1)
        yield "ttl-expired", "TTL 1: the router answers ICMP time exceeded", lambda: self.finish(None, expiring)
        _, lost = self.datagrams(machine, "b", "10.3.0.9", 5008, [("a", a, 42008)], 3, self.size, self.gap, reads=False)
        yield "unreachable-route", "to 10.3.0.9: unreachable route on the router", lambda: self.finish(None, lost)


class Fragments(Scenario):
    """Hand-made fragments of UDP datagrams of `size` bytes, `count` datagrams a phase in pieces of `piece`: in order, the last first, one of
    them twice, overlapping, and never whole, for longer than they are kept (`keep` seconds)."""
    defaults = {"count": 3, "size": 3000, "piece": 1000, "gap": 0.02, "keep": 2}

    def prepare(self, machine):
        super().prepare(machine)
        machine.set(TRACED, "net.ipv4.ipfrag_time", self.keep)
        machine.set(TRACED, "kernel.timer_migration", 0) # else the timer may run on the CPU that is not traced

    def phases(self, machine):
        mine, theirs = (machine.link(device, net)["address"] for device, net, _ in machine.ends)
        datagram = fragments.Datagrams(theirs, mine, PEER, HERE, self.size)
        pieces = fragments.cut(self.size + 8, self.piece)
        overlapping = [(begin - (8 if begin else 0), end) for begin, end in pieces]
        orders = [("in-order", pieces), ("last-first", pieces[::-1]), ("twice", [pieces[0]] + pieces), ("overlapping", overlapping), ("never-whole", pieces[:-1])]
        for name, order in orders:
            frames = [frame for _ in range(self.count) for frame in datagram.frames(order)]
            yield name, f"{self.count} datagrams of {self.size} bytes: {name}", lambda: self.send(machine, frames, name)

    def send(self, machine, frames, name):
        reader = Worker(machine.cpu_of_programs(TRACED), receive_datagrams, TRACED, "0.0.0.0", 5020, len(frames), 0, False, False, 1)
        reader.ready()
        before = machine.snmp(TRACED)
        device, net, _ = machine.ends[1]
        sender = Worker(machine.cpu_of_programs(net), send_frames, net, device, frames, self.gap)
        sender.ready()
        sender.go()
        sender.result()
        reader.result()
        if name == "never-whole":
            time.sleep(self.keep)
        return {"frames": len(frames), "snmp_delta": {key: value - before.get(key, 0) for key, value in machine.snmp(TRACED).items() if value != before.get(key, 0)}}


class Netfilter(Scenario):
    """Five rules: a drop in each of three chains, DNAT, SNAT; by `backend=nft` or `iptables-legacy`. `port` is the first of the five."""
    defaults = {"count": 5, "size": 64, "gap": 0.03, "port": 6001, "backend": "nft"}

    def prepare(self, machine):
        super().prepare(machine)
        ports = [self.port + i for i in range(5)]
        with inside("peer"):
            run("ip", "neigh", "replace", "10.99.0.77", "lladdr", machine.link(*machine.ends[0][:2])["address"], "dev", machine.ends[1][0], "nud", "permanent")
        if self.backend == "nft":
            run("nft", "-f", "-", input=f"""table ip lab {{
                chain pre {{ type filter hook prerouting priority raw; udp dport {ports[0]} counter drop; }}
                chain input {{ type filter hook input priority filter; udp dport {ports[1]} counter drop; }}
                chain output {{ type filter hook output priority filter; udp dport {ports[2]} counter drop; }}
                chain natpre {{ type nat hook prerouting priority dstnat; udp dport {ports[3]} counter dnat to {HERE}:{self.port + 43}; }}
                chain natpost {{ type nat hook postrouting priority srcnat; udp dport {ports[4]} counter snat to 10.99.0.77; }}
                }}""")
            return
        run("iptables-legacy-restore", input=f"""*raw
            -A PREROUTING -p udp --dport {ports[0]} -j DROP
            COMMIT
            *filter
            -A INPUT -p udp --dport {ports[1]} -j DROP
            -A OUTPUT -p udp --dport {ports[2]} -j DROP
            COMMIT
            *nat
            -A PREROUTING -p udp --dport {ports[3]} -j DNAT --to-destination {HERE}:{self.port + 43}
            -A POSTROUTING -p udp --dport {ports[4]} -j SNAT --to-source 10.99.0.77
            COMMIT
            """.replace("            ", ""))

    def phases(self, machine):
        ports = [self.port + i for i in range(5)]
        down = lambda i, reads=False: self.datagrams(machine, TRACED, HERE, ports[i], [("peer", PEER, 41001 + i)], self.count, self.size, self.gap, reads=reads)
        up = lambda i, reads=False: self.datagrams(machine, "peer", PEER, ports[i], [(TRACED, HERE, 41001 + i)], self.count, self.size, self.gap, reads=reads)
        exchange = down(0)
        yield "prerouting-drop", f"UDP to {HERE}:{ports[0]} dropped in PREROUTING", lambda: self.finish(*exchange)
        bound = Worker(machine.cpu_of_programs(TRACED), receive_datagrams, TRACED, "0.0.0.0", ports[1], 1, 0, False, False, 3 + self.count * self.gap)
        bound.ready()
        exchange = down(1)
        yield "input-drop", f"UDP to {HERE}:{ports[1]} (bound socket) dropped in INPUT", lambda: self.finish(*exchange)
        exchange = up(2)
        yield "output-drop", f"UDP from {HERE} to {PEER}:{ports[2]} dropped in OUTPUT: sendto() fails", lambda: self.finish(*exchange)
        _, sender = down(3)
        reader = Worker(machine.cpu_of_programs(TRACED), receive_datagrams, TRACED, "0.0.0.0", self.port + 43, self.count, 0, False, False, 3)
        reader.ready()
        yield "dnat", f"UDP to {HERE}:{ports[3]} redirected to port {self.port + 43} in PREROUTING", lambda: self.finish(reader, sender)
        exchange = up(4, reads=True)
        yield "snat", f"UDP from {HERE} to {PEER}:{ports[4]} leaves with source 10.99.0.77", lambda: self.finish(*exchange)


class Qdisc(Scenario):
    """Datagrams of `size` bytes back to back into tbf (`rate`, `burst`, `limit`: bytes), then into a pfifo of `packets` below a tbf."""
    defaults = {"count": 30, "size": 500, "gap": 0.002, "rate": "80kbit", "burst": 1600, "limit": 3000, "packets": 3, "rate_below": "40kbit", "drain": 3}

    def prepare(self, machine):
        super().prepare(machine)
        run("modprobe", "sch_tbf") # its functions are there only once it is loaded

    def phases(self, machine):
        device = machine.ends[0][0]
        exchange = self.datagrams(machine, "peer", PEER, 5011, [(TRACED, HERE, 46011)], self.count, self.size, self.gap)
        yield "tbf-limit", f"tbf {self.rate} burst {self.burst} limit {self.limit}", lambda: self.through(
            device, exchange, [["root", "handle", "10:", "tbf", "rate", self.rate, "burst", self.burst, "limit", self.limit]])
        below = self.datagrams(machine, "peer", PEER, 5012, [(TRACED, HERE, 46012)], self.count, self.size, self.gap)
        yield "pfifo-limit", f"pfifo limit {self.packets} packets under tbf {self.rate_below}", lambda: self.through(
            device, below, [["root", "handle", "20:", "tbf", "rate", self.rate_below, "burst", self.burst, "limit", 100000],
                            ["parent", "20:", "handle", "21:", "pfifo", "limit", self.packets]])

    def through(self, device, exchange, qdiscs):
        for words in qdiscs:
            run("tc", "qdisc", "replace", "dev", device, *map(str, words))
        result = self.finish(*exchange)
        result["tc"] = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", device))
        return result


class Rps(UdpReceive):
    """As udp-rx, with the mask `cpus` (hexadecimal) of the device's queue."""
    defaults = UdpReceive.defaults | {"cpus": "2"}

    def prepare(self, machine):
        super().prepare(machine)
        put(f"/sys/class/net/{machine.ends[0][0]}/queues/rx-0/rps_cpus", self.cpus)


SCENARIOS = {"udp-rx": UdpReceive, "udp-tx": UdpSend, "udp-both": UdpBoth, "udp6": Udp6, "ping": Ping, "forward": Forward, "fragments": Fragments,
             "netfilter": Netfilter, "qdisc": Qdisc, "rps": Rps, "tcp": Tcp}
