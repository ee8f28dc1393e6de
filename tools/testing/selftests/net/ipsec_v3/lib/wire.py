# SPDX-License-Identifier: GPL-2.0-only
"""The far end of the cable: whole IP packets, sent and received as bytes."""

import socket
import struct
import time

from . import ktap, packet

ETH_ALL, ETH_IP, ETH_IPV6 = 3, 0x0800, 0x86dd
PACKET_OUTGOING = 4
SO_SNDBUFFORCE = 32
# What a host says of itself: types of ICMPv6, those of multicast listeners among them
NEIGHBOURS = {(packet.ICMP6, kind) for kind in (*range(130, 138), 143)}


class Wire:
    def __init__(self, device, mac_here, mac_there):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                    socket.htons(ETH_ALL))
        self.socket.bind((device, ETH_ALL))
        # what waits in a lane or a queue behind the device is still ours
        self.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 23)
        self.header = (bytes.fromhex(mac_there.replace(":", "")) +
                       bytes.fromhex(mac_here.replace(":", "")))

    def close(self):
        self.socket.close()

    def send(self, data, version=None):
        """data: an IP packet; version: what Ethernet says, when that is not true"""
        kind = ETH_IP if (version or packet.version(data)) == 4 else ETH_IPV6
        self.socket.send(self.header + struct.pack("!H", kind) + data)

    def waiting(self, proto):
        """How many packets of an IP protocol have arrived so far; they are gone then."""
        found = 0
        self.socket.setblocking(False)
        try:
            while True:
                frame, origin = self.socket.recvfrom(70000)
                found += (origin[2] != PACKET_OUTGOING and origin[1] in (ETH_IP, ETH_IPV6) and
                          packet.split(frame[14:])[1] == proto)
        except BlockingIOError:
            return found
        finally:
            self.socket.setblocking(True)

    def drain(self):
        """Forgets what has arrived so far."""
        self.waiting(None)

    def next(self, seconds):
        """The next IP packet, or None when there is none in time."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                frame, origin = self.socket.recvfrom(70000)
            except TimeoutError:
                return None
            if origin[2] == PACKET_OUTGOING or origin[1] not in (ETH_IP, ETH_IPV6):
                continue
            return frame[14:]

    def receive(self, proto=None, seconds=20):
        """The next packet of an IP protocol (a number or several), or fails."""
        wanted = (proto,) if isinstance(proto, int) else proto
        deadline = time.monotonic() + seconds
        while True:
            data = self.next(deadline - time.monotonic())
            if data is None:
                ktap.fail(f"no packet of protocol {proto} within {seconds} s")
            if wanted is None or packet.split(data)[1] in wanted:
                return data

    def unanswered(self, also=()):
        """Fails when anything arrives but what a host says of itself; also: (protocol, type)
        of more that may."""
        said = {*NEIGHBOURS, *also}
        while (data := self.next(0.3)) is not None:
            proto, rest = packet.split(data)[1:]
            ktap.check((proto, rest[0]) in said, f"an answer: {data.hex()}")

    def silent(self, proto, seconds=0.3):
        """Fails when a packet of the protocol arrives."""
        deadline = time.monotonic() + seconds
        while True:
            data = self.next(deadline - time.monotonic())
            if data is None:
                return
            if packet.split(data)[1] == proto:
                ktap.fail(f"a packet of protocol {proto} came out")
