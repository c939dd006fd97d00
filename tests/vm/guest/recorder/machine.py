"""The machine that is recorded: its namespaces and wires, what runs in them, its counters and settings.

The traced machine is the first namespace ("root"), its peers have one each. Behind a NIC a peer's processes and interrupts have the
last CPU to themselves, which is not traced; over veth all share the CPUs and all is traced.
"""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import time
import traceback

TRACED = "root"
INTERRUPT_CPU, APPLICATION_CPU = 0, 1
DRIVERS = {"e1000": "e1000", "e1000e": "e1000e", "virtio": "virtio_net", "veth": "veth"}
SETTINGS = """net.core.netdev_max_backlog net.core.netdev_budget net.core.netdev_budget_usecs net.core.rmem_default net.core.rmem_max
    net.core.wmem_default net.core.dev_weight net.core.gro_normal_batch net.core.default_qdisc net.ipv4.icmp_ratelimit
    net.ipv4.icmp_msgs_per_sec net.ipv4.icmp_ratemask net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.all.log_martians
    net.ipv4.ip_early_demux net.ipv4.ipfrag_time net.ipv4.udp_rmem_min net.ipv4.tcp_congestion_control""".split()
OFFLOADS = """rx-checksumming tx-checksumming tx-checksum-ipv4 tx-checksum-ip-generic scatter-gather tcp-segmentation-offload
    generic-segmentation-offload generic-receive-offload tx-udp-segmentation""".split()

libc = ctypes.CDLL(None, use_errno=True)


def run(*words, **more):
    """What the program says; what it complains of is the error's text."""
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def text_of(path):
    with open(path) as file:
        return file.read()


def put(path, text):
    with open(path, "w") as file:
        file.write(str(text))


def now():
    """The trace's clock ("mono")."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def enter(net):
    with open("/proc/1/ns/net" if net == TRACED else f"/run/netns/{net}") as space:
        if libc.setns(space.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {net}")


nets_entered = [TRACED]


@contextlib.contextmanager
def inside(net):
    """Sockets opened and programs started here live in that namespace."""
    enter(net)
    nets_entered.append(net)
    try:
        yield
    finally:
        nets_entered.pop()
        enter(nets_entered[-1])


class Worker:
    """A process of its own on one CPU; result() is what its function returned, ready() waits for its first word."""

    def __init__(self, cpu, function, *arguments):
        self.said, says = os.pipe()
        self.told, tells = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.sched_setaffinity(0, {cpu})
                with os.fdopen(says, "w", buffering=1) as out:
                    answer = function(*arguments, tell=lambda: out.write("ready\n"), wait=lambda: os.read(self.told, 1))
                    out.write(json.dumps(answer))
                status = 0
            except BaseException: # it must not run on as the other one
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(says)
        os.close(self.told)
        self.tells = tells
        self.said = os.fdopen(self.said)

    def ready(self):
        if self.said.readline() != "ready\n":
            raise RuntimeError("a process of the traffic has failed; see scenario.log")

    def go(self):
        """Once: a second word has no reader."""
        if self.tells is not None:
            os.write(self.tells, b"g")
            os.close(self.tells)
            self.tells = None

    def result(self):
        answer = self.said.read()
        os.waitpid(self.pid, 0)
        if not answer:
            raise RuntimeError("a process of the traffic has failed; see scenario.log")
        return json.loads(answer)


class Machine:
    def __init__(self, nic, wires, v6=False):
        """`wires`: (device, net, addresses) of both ends of each; the first is the traced machine's."""
        self.nic, self.driver, self.v6 = nic, DRIVERS[nic], v6
        self.cpus = os.cpu_count()
        self.is_shared = nic == "veth"
        put("/proc/sys/kernel/modprobe", "/usr/bin/modprobe") # the kernel loads qdiscs and rules' modules itself
        self.ends = [end for wire in wires for end in wire]
        self.nets = list(dict.fromkeys([TRACED] + [net for _, net, _ in self.ends]))
        if self.is_shared:
            for (one, _, _), (other, _, _) in wires:
                run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
        else:
            run("modprobe", self.driver)
        run("modprobe", "sch_fq_codel")
        put("/proc/sys/net/core/default_qdisc", "fq_codel")
        for net in self.nets:
            self.add_net(net)
        for device, net, addresses in self.ends:
            self.add_device(device, net, addresses)
        for device, net, _ in self.ends:
            self.wait_until_up(device, net)

    def add_net(self, net):
        if net != TRACED:
            run("ip", "netns", "add", net)
        with inside(net):
            run("ip", "link", "set", "lo", "up")
            for name in ["all", "default"]:
                put(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", 0 if self.v6 else 1)
                put(f"/proc/sys/net/ipv4/conf/{name}/rp_filter", 0)

    def add_device(self, device, net, addresses):
        mask = 1 << self.cpu_of_interrupts(net)
        put("/proc/irq/default_smp_affinity", f"{mask:x}")
        if net != TRACED:
            run("ip", "link", "set", device, "netns", net)
        with inside(net):
            for address in addresses:
                run("ip", "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            run("ip", "link", "set", device, "up")
            for interrupt in self.interrupts(device):
                put(f"/proc/irq/{interrupt}/smp_affinity", f"{mask:x}")

    def wait_until_up(self, device, net):
        for _ in range(200):
            with inside(net):
                if "LOWER_UP" in run("ip", "link", "show", device):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{device} has no link")

    def cpu_of_interrupts(self, net):
        return INTERRUPT_CPU if net == TRACED or self.is_shared else self.cpus - 1

    def cpu_of_programs(self, net):
        """Over veth the peers' programs run where the rebuilt scenario has them, too: on CPU 0."""
        return APPLICATION_CPU if net == TRACED else 0 if self.is_shared else self.cpus - 1

    def interrupts(self, device):
        """By what /proc/interrupts calls them: the device, its queues (eth0-rx-0), or its virtio device's (virtio1-input.0)."""
        if self.is_shared:
            return []
        # The peer's sysfs shows its own devices only where it is mounted anew; a virtio device is found by its number.
        names = [re.escape(device)]
        if self.driver == "virtio_net":
            names = [re.escape(self.virtio_names()[device])]
        pattern = re.compile(r"^\s*(\d+):.*\s(?:%s)(?:-(?!config)\S+)?$" % "|".join(names), re.M)
        return pattern.findall(text_of("/proc/interrupts"))

    def virtio_names(self):
        """eth0, eth1 … are the virtio network devices (type 1) in their order."""
        devices = sorted((int(name[6:]), name) for name in os.listdir("/sys/bus/virtio/devices")
                         if int(text_of(f"/sys/bus/virtio/devices/{name}/device"), 16) == 1)
        return {f"eth{i}": name for i, (_, name) in enumerate(devices)}

    # ------------------------------------------------------------------------------------------------------- settings

    def know_neighbours(self, net, kind="permanent"):
        """Each end knows the other's address: no ARP among the packets."""
        for (device, mine, _), other in zip(self.ends, [self.ends[i ^ 1] for i in range(len(self.ends))]):
            if mine == net and kind != "cold":
                mac = self.link(other[0], other[1])["address"]
                with inside(net):
                    for address in other[2]:
                        run("ip", "neigh", "replace", address.split("/")[0], "lladdr", mac, "dev", device, "nud", kind)

    def set(self, net, name, value):
        with inside(net):
            put("/proc/sys/" + name.replace(".", "/"), value)

    def settings(self):
        found = {}
        for name in SETTINGS:
            with contextlib.suppress(OSError):
                found[name] = text_of("/proc/sys/" + name.replace(".", "/")).strip()
        for device, net, _ in self.ends:
            if net == TRACED:
                found[device + ".rps_cpus"] = text_of(f"/sys/class/net/{device}/queues/rx-0/rps_cpus").strip().lstrip("0,") or "0"
                found[device + ".irqs"] = {number: text_of(f"/proc/irq/{number}/smp_affinity").strip().lstrip("0,") for number in self.interrupts(device)}
        found["nft_ruleset"] = (run("nft", "list", "ruleset") if os.path.exists("/usr/bin/nft") else "") or None
        return found

    def link(self, device, net):
        with inside(net):
            return json.loads(run("ip", "-j", "addr", "show", "dev", device))[0]

    def links(self):
        return {device: [self.link(device, net)] for device, net, _ in self.ends}

    def offloads(self):
        found = {}
        for device, net, _ in self.ends:
            with inside(net):
                lines = run("ethtool", "-k", device).splitlines()
            pairs = dict(line.strip().split(": ", 1) for line in lines if ": " in line)
            found[device] = {name: pairs[name].split()[0] for name in OFFLOADS if name in pairs}
        return found

    # ------------------------------------------------------------------------------------------------------- counters

    def counters(self):
        found = {}
        for net in self.nets:
            with inside(net):
                found[net] = {name: text_of("/proc/net/" + name) for name in ["softnet_stat", "snmp", "netstat", "udp", "dev", "arp"]}
                if os.path.exists("/proc/net/snmp6"):
                    found[net]["snmp6"] = text_of("/proc/net/snmp6")
                found[net]["ip_s_link"] = json.loads(run("ip", "-s", "-j", "link"))
                found[net]["tc_s_qdisc"] = json.loads(run("tc", "-s", "-j", "qdisc"))
        found["interrupts"] = text_of("/proc/interrupts")
        found["softirqs"] = text_of("/proc/softirqs")
        return found

    def snmp(self, net):
        """/proc/net/snmp and netstat by names: "Udp.InDatagrams"."""
        found = {}
        with inside(net):
            lines = (text_of("/proc/net/snmp") + text_of("/proc/net/netstat")).splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            group, names = names.split(":", 1)
            found |= {f"{group}.{name}": int(value) for name, value in zip(names.split(), values.split()[1:])}
        return found


class Capture:
    """tcpdump on one device; it is woken by every frame."""

    def __init__(self, device, net, snaplen, cpu):
        self.device, self.net, self.snaplen = device, net, snaplen
        self.log = f"/tmp/{device}.tcpdump"
        with inside(net), open(self.log, "w") as log:
            self.program = subprocess.Popen(["tcpdump", "-i", device, "-p", "-n", "-U", "-Z", "root", "-s", str(snaplen), "--immediate-mode",
                                             "--time-stamp-precision=nano", "-w", f"/out/{device}.pcap"], stderr=log)
        if cpu is not None:
            os.sched_setaffinity(self.program.pid, {cpu})
        for _ in range(400):
            if "listening on" in text_of(self.log):
                return
            time.sleep(0.05)
        raise RuntimeError("tcpdump does not start: " + text_of(self.log))

    def end(self):
        self.program.send_signal(signal.SIGINT)
        self.program.wait()
        numbers = {kind: int(number) for number, kind in re.findall(r"(\d+) packets? (captured|dropped by kernel)", text_of(self.log))}
        return {"dev": self.device, "ns": None if self.net == TRACED else self.net, "file": f"{self.device}.pcap", "snaplen": self.snaplen,
                "ns_precision": True, "captured": numbers.get("captured"), "dropped_by_kernel": numbers.get("dropped by kernel")}
