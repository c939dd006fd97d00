"""The scenarios: a function each, with its parameters and their defaults. A scenario says what stands between the traced machine and
its peer (`wires`), what is set before the recording (`prepare`), and yields phases: a name, what happens, and what came of it."""

import time

from machine import TRACED, Worker, inside, run
from traffic import connect, receive_datagrams, send_datagrams, serve

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


SCENARIOS = {"udp-rx": UdpReceive, "tcp": Tcp}
