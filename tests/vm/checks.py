"""Holds what a test machine brought back against the machine's own counters. Each check is a line: (good, words)."""

import json
import subprocess
from collections import Counter

import machine

DELIVERED_PORT, FULL_PORT, CLOSED_PORT = 5001, 5002, 5009

# In this order in the journey of a datagram, other functions between them: what one sk_buff lives through.
SENT = ["ip_output", "__dev_queue_xmit", "dev_hard_start_xmit", "veth_xmit"]
RECEIVED = ["__netif_receive_skb_core", "ip_rcv", "ip_local_deliver", "udp_rcv"]
READ = ["__udp_enqueue_schedule_skb", "skb_consume_udp"]
PATHS = {DELIVERED_PORT: SENT + RECEIVED + READ, FULL_PORT: SENT + RECEIVED + ["udp_queue_rcv_one_skb"], CLOSED_PORT: SENT + RECEIVED + ["__icmp_send"]}

# Kernels before 5.17 give no reason; the program then derives it from the place, under the same names.
REASON_OF = {FULL_PORT: "SOCKET_RCVBUFF", CLOSED_PORT: "NO_SOCKET"}

COMPLETE_SHARE = 0.99
# The calls around it, where interrupts and other tasks have the CPU between.
CALLS = ["udp_sendmsg", "ip_output", "udp_recvmsg", "skb_consume_udp"]
CALLS_SHARE = 0.99


def text_of(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def udp_counters(folder, space, when):
    lines = [line.split() for line in (text_of(f"{folder}/{space}.snmp.{when}") or "").splitlines() if line.startswith("Udp:")]
    return dict(zip(lines[0][1:], map(int, lines[1][1:]))) if len(lines) == 2 else {}


def moved(folder, space):
    before, after = udp_counters(folder, space, "before"), udp_counters(folder, space, "after")
    return {name: after[name] - before.get(name, 0) for name in after}


def ask(program, command, recording, *options):
    """What the program says about a recording, as JSON; words when it refuses."""
    done = subprocess.run([program, command, "--format", "json", *options, recording], capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip() or f"exit status {done.returncode}"
    return json.loads(done.stdout), ""


def holds_in_order(steps, expected):
    rest = iter(step["function"] for step in steps)
    return all(any(name == wanted for name in rest) for wanted in expected)


def same(what, here, there):
    return here == there, f"{what}: {here} in the recording, {there} by the machine's counters"


def check_counts(journeys, folder):
    sent, came = moved(folder, "left"), moved(folder, "right")
    if not sent or not came:
        return [(False, "the machine's /proc/net/snmp is missing")]
    udp = [row for row in journeys if (row["flow"] or {}).get("proto") == "udp"]
    verdicts = Counter(row["verdict"] for row in udp)
    drops = Counter(row["reason"] for row in udp if row["verdict"] == "dropped")
    known = set(REASON_OF.values())
    in_flight = len(udp) - verdicts["delivered"] - verdicts["dropped"]
    return [
        same("datagrams delivered", verdicts["delivered"], came["InDatagrams"]),
        same("dropped, receive buffer full", drops["SOCKET_RCVBUFF"], came["RcvbufErrors"]),
        same("dropped, no socket", drops["NO_SOCKET"], came["NoPorts"]),
        same("delivered and dropped together", verdicts["delivered"] + verdicts["dropped"], sent["OutDatagrams"]),
        (set(drops) <= known, f"no other reason for a drop{'' if set(drops) <= known else ': ' + str(dict(drops))}"),
        (in_flight == 0, f"rows of no end among them: {in_flight} of {len(udp)}"),
    ]


def check_paths(journeys):
    lines = []
    for port, expected in PATHS.items():
        wanted = "dropped" if port in REASON_OF else "delivered"
        rows = [row for row in journeys if (row["flow"] or {}).get("dport") == port and row["verdict"] == wanted]
        whole = sum(holds_in_order(row["steps"], expected) for row in rows)
        lines.append((bool(rows) and whole >= COMPLETE_SHARE * len(rows),
                      f"port {port}: {whole} of {len(rows)} journeys hold {expected[0]} … {expected[-1]}, {len(expected)} functions in order"))
        if port == DELIVERED_PORT:
            whole = sum(holds_in_order(row["steps"], CALLS) for row in rows)
            lines.append((bool(rows) and whole >= CALLS_SHARE * len(rows), f"port {port}: {whole} of {len(rows)} with the sending and the reading call, too"))
    return lines


def check_clean(folder, name, after):
    """Whether tracefs is as it was before the first recorder."""
    lines = []
    for what in ["instances", "kprobe_events", "tracer"]:
        here, before = text_of(f"{folder}/{name}.{what}"), text_of(f"{folder}/before.{what}")
        if here is None or here != before:
            lines.append((False, f"{after}: {what} of tracefs not as before: {(here or 'not handed over').strip()[:200]}"))
    return lines or [(True, f"{after}: tracefs is as it was: no instance, no probe, no traced function")]


def check_live(program, folder):
    status, said = text_of(f"{folder}/live.status"), (text_of(f"{folder}/live.said") or "").strip()
    lines = [(status == "0\n", f"record ended with status {(status or 'none').strip()}: {said.splitlines()[-1] if said else 'said nothing'}"),
             ("recording: functions" in said, "recorded with the function tracer, kprobes and tracepoints")]
    report, words = ask(program, "report", f"{folder}/live.pcapng")
    journeys, _ = ask(program, "journey", f"{folder}/live.pcapng")
    if report is None or journeys is None:
        return lines + [(False, f"the recording does not open: {words}")]
    via = Counter(step["via"] for row in journeys for step in row["steps"])
    of_probes = sum(count for name, count in via.items() if "kprobe" in name)
    lines += [
        (report["accounting_closed"] and report["lost_events"] == 0, f"accounting closed, {report['lost_events']} records lost"),
        (any("function" in name for name in via) and of_probes > 0, f"steps by source: {dict(via)}"),
    ]
    return lines + check_counts(journeys, folder) + check_paths(journeys) + check_clean(folder, "live", "after record")


def check_killed(program, folder):
    lines = []
    for name, what in [("killed", "record killed (SIGKILL)"), ("both", "record and keeper killed")]:
        report, words = ask(program, "report", f"{folder}/{name}.pcapng", "-f", f"udp port {DELIVERED_PORT}")
        count = report["packets"]["delivered"] if report else 0
        lines.append((count > 0, f"{what}: the recording opens with {count} datagrams delivered" if report else f"{what}: {words}"))
    lines += check_clean(folder, "killed", "record killed")
    left = (text_of(f"{folder}/both.instances") or "").strip()
    lines.append((left.startswith("skbscope_"), f"record and keeper killed: left behind, as nobody could: {left or 'nothing'}"))
    lines.append((text_of(f"{folder}/next.status") == "0\n", "the next record runs"))
    return lines + check_clean(folder, "next", "after the next record")


# Of a lab's packets, as many must go the model's way, function by function.
SAME_FUNCTIONS_SHARE = 0.95

# How often a CPU is too slow, or is told of several packets at once, hangs on its speed: an emulated one is no measure.
OF_SPEED = ("softnet_stat.time_squeeze", "softnet_stat.received_rps")


def counters_that_differ(result):
    return [f"{counter['name']}: {counter['a']} in the model, {counter['b']} in the lab"
            for counter in result["counters"] if not counter["name"].startswith(OF_SPEED)]


def ends_that_differ(result):
    """Packets whose fate is not the model's, and those that only one side has."""
    other = [f"{packet['flow'] or 'a packet'}: {packet['a']['verdict']} in the model, {packet['b']['verdict']} in the lab"
             for packet in result["differing"] if packet["a"]["verdict"] != packet["b"]["verdict"]]
    lonely = [f"{len(result[side])} packets only in {where}" for side, where in [("only_in_a", "the model"), ("only_in_b", "the lab")] if result[side]]
    return other + lonely


def ways_of(result):
    """How many packets went the model's way, and where the others part from it."""
    partings = Counter(packet["first_difference"] for packet in result["differing"] if packet["first_difference"])
    return f"{result['same_functions']} of {result['packets']} with the model's functions in order" + "".join(
        f"; {count} x {words}" for words, count in partings.most_common(3))


def has_ways_enough(result):
    return result["same_functions"] >= SAME_FUNCTIONS_SHARE * result["packets"]


def check_one_lab(program, folder, name, series):
    status, said = (text_of(f"{folder}/lab.{name}.status") or "").strip(), (text_of(f"{folder}/lab.{name}.said") or "").strip()
    if status == "4":
        return [(True, f"lab {name}: not here: {said.splitlines()[-1] if said else 'it does not say why'}")]
    try:
        result = json.loads(text_of(f"{folder}/lab.{name}.json") or "")
    except ValueError:
        return [(False, f"lab {name}: status {status or 'none'}: {said.splitlines()[-1] if said else 'said nothing'}")]
    moved_otherwise = counters_that_differ(result)
    ended_otherwise = ends_that_differ(result)
    journeys, words = ask(program, "journey", f"{folder}/lab.{name}.pcapng")
    functions = sum("function" in step["via"] for row in journeys or [] for step in row["steps"])
    return [
        (f"the model runs as {series}," in said, f"lab {name}: the model has this kernel's profile"),
        (not moved_otherwise, f"lab {name}: the counters moved as in the model" if not moved_otherwise else f"lab {name}: counters: {'; '.join(moved_otherwise)}"),
        (not ended_otherwise, f"lab {name}: {result['same_verdict']} of {result['packets']} packets with the model's end" + "".join(f"; {words}" for words in ended_otherwise[:3])),
        (functions > 0, f"lab {name}: {functions} steps seen by the function tracer" if journeys is not None else f"lab {name}: {words}"),
        (has_ways_enough(result), f"lab {name}: {ways_of(result)}"),
    ]


def check_lab(program, folder):
    series = ".".join((text_of(f"{folder}/release") or "").split(".")[:2])
    lines = [line for name in sorted(machine.LAB) for line in check_one_lab(program, folder, name, series)]
    left = text_of(f"{folder}/lab.left")
    return lines + [(left == "", "after the lab: no namespace, no instance, no probe, no traced function" + (f", but {left.strip()[:200]}" if left else ""))]


def check(program, folder):
    return check_live(program, folder) + check_killed(program, folder) + check_lab(program, folder)
