# SPDX-License-Identifier: GPL-2.0-only
"""A network device that says it encrypts and decrypts ESP: the one of ../modules/nic.c.

	with nic.plugged() as dut:		# a Host that has it
		dut.ip(nic.state_in(suite, esn=True))
		dut.write(packet)		# it receives that, as decrypted
		dut.offered()			# what it was given to encrypt
"""

import contextlib
import os
import socket
import struct

from . import host, impl, ktap, packet, setting
from .shape import SPI_IN, SPI_OUT

DEVICE = "xnic0"
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8:2::1", "2001:db8:2::2")}
HERE, THERE = ENDS[4]
PARAMETERS = "/sys/module/ipsec_v3_nic/parameters"
SUCCESS, AUTH_FAILED = 1, 8	# CRYPTO_ of net/xfrm.h
ETHERTYPE = {4: b"\x08\0", 6: b"\x86\xdd"}
SOL_PACKET, PACKET_VNET_HDR = 263, 15


def state_out(suite, family=4, **more):
    here, there = ENDS[family]
    return host.state_line(here, there, SPI_OUT, suite.words(), more=f"offload dev {DEVICE} dir out", **more)


def state_in(suite, family=4, **more):
    here, there = ENDS[family]
    return host.state_line(there, here, SPI_IN, suite.words(), more=f"offload dev {DEVICE} dir in", **more)


def decrypted(seq, inner, next_header, pad_length=None):
    """From the ESP header on: an IV, no encryption, an ICV that says nothing"""
    pad = -(len(inner) + 2) % 4
    trailer = bytes(range(1, pad + 1)) + bytes([pad if pad_length is None else pad_length, next_header])
    return struct.pack("!IIQ", SPI_IN, seq & 0xffffffff, seq) + inner + trailer + bytes(16)


class Nic(host.Host):
    def __init__(self):
        super().__init__("nic")
        self.sockets = []
        host.ip("link", "set", DEVICE, "netns", self.name)
        self.ip(f"link set {DEVICE} up")
        for family, (here, there) in ENDS.items():
            self.ip(f"addr add {here}/{24 if family == 4 else '64 nodad'} dev {DEVICE}",
                    f"neigh add {there} lladdr 00:11:22:33:44:55 dev {DEVICE}")
        with self.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.bind((DEVICE, 3))
        self.socket.settimeout(3)

    def udp(self, *arguments, **more):
        """Closed with the host at the latest, whose namespace it holds"""
        self.sockets.append(super().udp(*arguments, **more))
        return self.sockets[-1]

    def close(self):
        """Once: a test may have done it already."""
        if self.sockets is None:
            return
        self.flush()
        for sock in (self.socket, *self.sockets):
            sock.close()
        self.sockets = None
        super().close()

    def write(self, data, virtio=bytes(10)):
        self.socket.send(virtio + bytes(12) + ETHERTYPE[packet.version(data)] + data)

    def sent(self, family=4):
        """(header of virtio, packet) that left by this host's own doing, or None"""
        while True:
            try:
                data, where = self.socket.recvfrom(1 << 17)
            except TimeoutError:
                return None
            if where[2] == socket.PACKET_OUTGOING and data[22:24] == ETHERTYPE[family]:
                return data[:10], data[24:]

    def offered(self, family=4, kind=packet.ESP):
        """The same, but of what it was to encrypt"""
        while True:
            found = self.sent(family) or ktap.fail("nothing was sent")
            if packet.split(found[1])[1] == kind:
                return found

    def index(self):
        with self.inside():
            return socket.if_nametoindex(DEVICE)


def status(value):
    """What it says of what it receives"""
    return setting.of(f"{PARAMETERS}/status", value)


def stopped():
    """Its ring is full meanwhile"""
    return setting.of(f"{PARAMETERS}/stopped", 1)


def single():
    """It has given up its second queue, which stays stopped if it was"""
    return setting.of(f"{PARAMETERS}/single", 1)


def without_link():
    return setting.of(f"{PARAMETERS}/link", 0)


@contextlib.contextmanager
def plugged():
    if impl.modprobe("ipsec_v3_nic") or not os.path.exists(PARAMETERS):
        raise ktap.Skip("there is no ipsec_v3_nic, which tools/testing/vm/run builds")
    dut = Nic()
    try:
        yield dut
    finally:
        dut.close()
        ktap.wait_for(lambda: not impl.modprobe("-r", "ipsec_v3_nic"), "it unloads", 60)
