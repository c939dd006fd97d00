"""Frames with fragments of UDP datagrams, made by hand."""

import socket
import struct


def cut(length, piece):
    """(begin, end) of each fragment of the IP payload; all but the last are whole groups of eight."""
    piece -= piece % 8
    return [(begin, min(begin + piece, length)) for begin in range(0, length, piece)]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Datagrams:
    """Numbered from 0; the IP identification is the number and one."""

    def __init__(self, from_mac, to_mac, source, destination, size, ports=(40020, 5020)):
        self.ethernet = bytes.fromhex((to_mac + from_mac).replace(":", "")) + b"\x08\x00"
        self.addresses = socket.inet_aton(source) + socket.inet_aton(destination)
        self.size, self.ports, self.number = size, ports, 0

    def frames(self, pieces):
        """The next datagram's frames, as hexadecimal text."""
        data = (b"PKT%05d" % self.number).ljust(self.size, b".")
        self.number += 1
        header = struct.pack("!HHH", *self.ports, 8 + self.size)
        pseudo = self.addresses + struct.pack("!BBH", 0, socket.IPPROTO_UDP, 8 + self.size)
        payload = header + struct.pack("!H", checksum(pseudo + header + b"\0\0" + data) or 0xffff) + data
        return [self.fragment(payload[begin:end], begin, end < len(payload)).hex() for begin, end in pieces]

    def fragment(self, data, offset, more):
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), self.number, (0x2000 if more else 0) | offset // 8, 64, socket.IPPROTO_UDP, 0) + self.addresses
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        return self.ethernet + ip + data
