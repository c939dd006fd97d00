"""What the programs of a scenario do. Datagrams begin with their number, "PKTnnnnn"."""

import contextlib
import socket
import struct
import time

from machine import inside, now


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send_datagrams(net, flows, count, size, gap_s, ttl=None, *, tell, wait):
    """`flows`: (source, destination) each with its port; each sends `count` datagrams, one after the other in turn."""
    sockets = []
    with inside(net):
        for source, _ in flows:
            one = socket.socket(family_of(source[0]), socket.SOCK_DGRAM)
            one.bind(tuple(source))
            if ttl:
                one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sockets.append(one)
    sent = [{"src": list(source), "dst": list(destination), "count": count, "size": size, "gap_s": gap_s, "ttl": ttl, "send_ok": 0,
             "errors": [], "stamps": []} for source, destination in flows]
    tell()
    wait()
    for number in range(count):
        data = (b"PKT%05d" % number).ljust(size, b".")[:size]
        for one, (_, destination), flow in zip(sockets, flows, sent):
            flow["stamps"].append(now())
            try:
                one.sendto(data, tuple(destination))
                flow["send_ok"] += 1
            except OSError as error:
                flow["errors"].append([number, error.errno, error.strerror])
        time.sleep(gap_s)
    return sent


def receive_datagrams(net, address, port, expected, rcvbuf, late, blocks, quiet_s, *, tell, wait):
    """A reader that waits in poll() before each recvfrom(), or where it `blocks` in recvfrom() itself; with `late` it begins to
    read when it is told to. Ends after a quiet time."""
    with inside(net):
        one = socket.socket(family_of(address), socket.SOCK_DGRAM)
    if rcvbuf:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    one.bind((address, port))
    if blocks:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(quiet_s), int(quiet_s % 1 * 1e6)))
    else:
        one.settimeout(quiet_s) # Python's own: poll(), then a recvfrom() that does not block
    tell()
    if late:
        wait()
    senders, indices = [], []
    with contextlib.suppress(BlockingIOError, TimeoutError):
        while len(indices) < expected:
            data, sender = one.recvfrom(65536)
            senders = senders or [list(sender[:2])]
            indices.append(int(data[3:8]) if data[:3] == b"PKT" and data[3:8].isdigit() else -1)
    return {"addr": [address, port], "received": len(indices), "from": senders[0] if senders else None,
            "so_rcvbuf": one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), "indices": indices}


# Streams: Python's time limit makes the sockets non-blocking ones that wait in poll().

def give(one, count, write):
    sent = 0
    while sent < count:
        data = b"x" * min(write, count - sent)
        one.sendall(data)
        sent += len(data)
    return sent


def take(one, count):
    received = 0
    while received < count:
        data = one.recv(65536)
        if not data:
            break
        received += len(data)
    return received


def serve(net, address, port, expected, back, write, *, tell, wait):
    with inside(net):
        listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, port))
    listening.listen(8)
    tell()
    one, sender = listening.accept()
    one.settimeout(60)
    received = take(one, expected)
    sent = give(one, back, write)
    one.close()
    return {"received": received, "sent": sent, "from": list(sender)}


def connect(net, source, destination, count, back, write, *, tell, wait):
    with inside(net):
        one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(tuple(source))
    one.settimeout(60)
    tell()
    wait()
    one.connect(tuple(destination))
    sent = give(one, count, write)
    received = take(one, back)
    one.close()
    return {"src": list(source), "dst": list(destination), "sent": sent, "received": received}


def send_frames(net, device, frames, gap_s, *, tell, wait):
    with inside(net):
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    one.bind((device, 0))
    tell()
    wait()
    for frame in frames:
        one.send(bytes.fromhex(frame))
        time.sleep(gap_s)
    return len(frames)
