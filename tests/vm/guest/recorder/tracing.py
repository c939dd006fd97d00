"""trace-cmd beside a scenario: which functions and events, from when to when, what was lost."""

import os
import re
import signal
import subprocess
import time

from machine import put, text_of

TRACEFS = "/sys/kernel/tracing"
EVENTS = ["net", "skb", "napi", "qdisc", "udp", "sock", "fib", "neigh", "tcp", "icmp"]
SOFTIRQS = ["irq:softirq_entry", "irq:softirq_exit", "irq:softirq_raise"] # of NET_TX and NET_RX
GRAPH_EVENTS = ["net:netif_receive_skb", "net:net_dev_queue", "net:net_dev_start_xmit", "napi:napi_poll"]
SUFFIX = re.compile(r"(\.(isra|constprop|part)\.\d+)+$") # of what the compiler has split or specialised


class Tracing:
    """`tracer`: function, function_graph (below `roots`), or nop (events alone)."""

    def __init__(self, tracer, cpumask, roots=(), buffer_kb=8192):
        self.tracer, self.cpumask, self.roots, self.buffer_kb = tracer, cpumask, list(roots), buffer_kb
        self.functions, self.absent = self.choose_functions()
        self.events, words = self.choose_events()
        self.command = ["trace-cmd", "record", "-k", "-o", "/out/trace.dat", "-C", "mono", "-b", str(buffer_kb)]
        self.command += ["-M", cpumask] if cpumask else []
        self.command += ["-p", tracer] if tracer != "nop" else []
        self.command += words

    def choose_functions(self):
        """Writes the filter by lines of available_filter_functions: by names the kernel would scan its list once for each."""
        with open("/vm/recorder/functions") as file:
            wanted = set(file.read().split())
        if self.tracer == "function_graph":
            wanted = set(self.roots)
        present, lines = set(), []
        with open(f"{TRACEFS}/available_filter_functions") as file:
            for number, line in enumerate(file, 1):
                name = line.split()[0]
                if SUFFIX.sub("", name) in wanted:
                    present.add(name)
                    lines.append(str(number))
        absent = sorted(wanted - {SUFFIX.sub("", name) for name in present})
        put(f"{TRACEFS}/current_tracer", "nop")
        if self.tracer == "function":
            put(f"{TRACEFS}/set_ftrace_filter", " ".join(lines))
        elif self.tracer == "function_graph":
            put(f"{TRACEFS}/set_graph_function", " ".join(sorted(present)))
        return sorted(present), absent

    def choose_events(self):
        there = lambda name: os.path.exists(f"{TRACEFS}/events/{name.replace(':', '/')}")
        if self.tracer == "function_graph":
            names = [name for name in GRAPH_EVENTS if there(name)]
            return names, [word for name in names for word in ("-e", name)]
        names = [f"{group}:*" for group in EVENTS if there(group)] + ["irq:irq_handler_entry", "irq:irq_handler_exit"]
        words = [word for name in names for word in ("-e", name)]
        for name in SOFTIRQS:
            words += ["-e", name, "-f", "vec == 2 || vec == 3"]
        return names + [f"{name} (vec 2,3)" for name in SOFTIRQS], words

    def start(self):
        put(f"{TRACEFS}/tracing_on", 0) # trace-cmd switches it on when all else is set
        with open("/out/trace-cmd.log", "w") as log:
            self.program = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT)
        while text_of(f"{TRACEFS}/tracing_on").strip() != "1":
            if self.program.poll() is not None:
                raise RuntimeError("trace-cmd does not start: " + text_of("/out/trace-cmd.log"))
            time.sleep(0.1)
        time.sleep(0.5)

    def end(self):
        lost = {cpu: self.lost_on(cpu) for cpu in os.listdir(f"{TRACEFS}/per_cpu")}
        self.program.send_signal(signal.SIGINT)
        self.program.wait()
        return lost

    @staticmethod
    def lost_on(cpu):
        pairs = (line.split(":") for line in text_of(f"{TRACEFS}/per_cpu/{cpu}/stats").splitlines())
        return {name: int(value) for name, value in pairs if name in ("overrun", "commit overrun", "dropped events")}

    def manifest(self):
        named = "graph_functions" if self.tracer == "function_graph" else "functions"
        return {named: self.functions, "functions_absent_in_this_kernel": self.absent, "tracer": self.tracer, "events": self.events,
                "traced_cpus_mask": self.cpumask or "all", "trace_cmd": " ".join(self.command), "trace_args": []}
