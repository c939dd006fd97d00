"""Runs inside the machine: sets a scenario up, records it, and leaves in /out what `skbscope fidelity` reads."""

import json
import os
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
from machine import Capture, DRIVERS, Machine, now
from scenarios import SCENARIOS
from tracing import Tracing

steps = []


def step(name):
    steps.append([name, float(open("/proc/uptime").read().split()[0])])
    print(steps[-1][1], name, flush=True)


def clock_offset():
    """The wall clock minus the trace's, and how far that may be wrong: the closest of some readings."""
    readings = []
    for _ in range(50):
        before, wall, after = now(), time.clock_gettime_ns(time.CLOCK_REALTIME), now()
        readings.append((after - before, wall - (before + after) // 2))
    return min(readings)


def play(scenario, machine):
    phases = []
    for name, description, happen in scenario.phases(machine):
        phase = {"name": name, "begin": now(), "description": description}
        phase["result"] = happen()
        time.sleep(0.2) # what is still on its way
        phase["end"] = now()
        phases.append(phase)
        print(f"phase {name}", flush=True)
    return phases


def record(wishes):
    step("guest script started")
    scenario = SCENARIOS[wishes["scenario"]](wishes["nic"], wishes["params"])
    machine = Machine(wishes["nic"], scenario.wires(), v6=getattr(scenario, "v6", False))
    scenario.prepare(machine)
    step("set-up done")
    own_cpu = None if machine.is_shared else machine.cpus - 1
    if own_cpu is not None:
        os.sched_setaffinity(0, {own_cpu})
    tracing = Tracing(scenario.tracer, "" if machine.is_shared else f"{(1 << own_cpu) - 1:x}", scenario.roots.split("+"), scenario.buffer_kb)
    nets = {device: net for device, net, _ in machine.ends}
    captures = [Capture(device, nets[device], scenario.snaplen, own_cpu) for device, _, _ in (scenario.captured() if scenario.tcpdump else [])]
    manifest = {"scenario": wishes["scenario"], "nic": wishes["nic"], "clock": "mono", "kernel": os.uname().release, "kernel_version": os.uname().version,
                "driver": {device: DRIVERS[wishes["nic"]] for device in nets}, "cpus": machine.cpus, "params": scenario.params,
                "settings": machine.settings(), "links": machine.links(), "offloads": machine.offloads(), **tracing.manifest()}
    manifest["counters_before"] = machine.counters()
    step("snapshot")
    tracing.start()
    step("tracing started")
    uncertainty, offset = clock_offset()
    begin = now()
    manifest["phases"] = play(scenario, machine)
    manifest["recording"] = {"begin": begin, "end": now()}
    manifest["clock_realtime_minus_trace_clock_ns"], manifest["clock_offset_uncertainty_ns"] = offset, uncertainty
    manifest["clock_realtime_minus_trace_clock_ns_at_end"] = clock_offset()[1]
    manifest["counters_after"] = machine.counters()
    step("traffic done")
    manifest["ring_buffer_lost"] = tracing.end()
    manifest["pcaps"] = [capture.end() for capture in captures]
    step("trace written")
    manifest["guest_uptime_at_steps"] = steps
    with open("/out/manifest.json", "w") as file:
        json.dump(manifest, file, indent=1)


os.setpgid(0, 0)
try:
    with open("/vm/recorder/wishes.json") as file:
        record(json.load(file))
except Exception:
    traceback.print_exc()
    sys.stderr.flush()
    os.killpg(0, signal.SIGKILL) # what still runs would hold the machine up
