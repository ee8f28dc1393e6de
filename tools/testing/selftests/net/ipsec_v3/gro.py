#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Single packets where GRO is on: which it decrypts before the stack sees them, which
it leaves to the common way, and that both arrive.
"""

import os
import socket

from lib import host, impl, ktap, line, packet
from lib.pages import PAGE, Pages
from lib.shape import T4IN4, T6IN6, TRANSPORT, TUNNEL, V4, V6
from lib.suite import gcm

EDGE = (68 << 32 | 0xffffffff) - 40
UDP_GRO = 104


class GroRig(line.Rig):
    def start(self, **more):
        if impl.INTREE:
            impl.modprobe("-a", "esp4_offload", "esp6_offload")
        super().start(**more)
        with self.dut.outside():
            self.pages = Pages("wire", self.dut.wire.header)
        host.use_gro(True, *self.dut.veth)

    def stop(self):
        self.pages.close()
        super().stop()


RIG = GroRig()


def delivered(version):
    return RIG.dut.ip_figure(version, "InDelivers")


def opened(shape, esn=True, **more):
    return line.Line(RIG, shape, gcm(), "esp", esn, 64, EDGE, **more)


def through(on, seq, data, whole=None, early=True, send=None):
    """Arrives; early: the stack saw ESP never, else it did; send: instead of the wire's"""
    before = delivered(on.shape.outer)
    (send or RIG.dut.wire.send)(whole or on.seal(seq, data))
    ktap.equal(RIG.sockets.receive(on.shape), data, "data")
    wanted = (on.shape.outer == on.shape.inner) + (not early)
    # counted behind the handler that woke us, perhaps on another CPU
    ktap.wait_for(lambda: delivered(on.shape.outer) - before >= wanted, "IP saw the packet")
    ktap.equal(delivered(on.shape.outer) - before, wanted, "packets that IP saw, ESP or what was in it")


def sizes(shape):
    on = opened(shape)
    for n, size in enumerate((0, 1, 2, 3, 5, 17, 333, 1001, 1400), 1):
        through(on, EDGE + n, os.urandom(size))
    RIG.dut.flush()


def padded(shape):
    """A short packet, padded by the link"""
    on = opened(shape)
    for n in range(1, 20):
        data = os.urandom(n % 3)
        through(on, EDGE + n, data, on.seal(EDGE + n, data) + bytes(n), early=False)


def extension(kind):
    shape = V6
    on = opened(shape)
    next_header, inner = shape.to_dut(b"answer")
    chain = packet.ip6(shape.there, shape.here, kind,
                       packet.ext6(packet.NONE, b"\x1e\4\1\2\3\4"))
    whole = packet.join(chain, packet.ESP, on.peer.seal(inner, next_header, EDGE + 1))
    through(on, EDGE + 1, b"answer", whole, early=impl.INTREE)


def in_udp(shape):
    """An SA, and whether GRO opens it: only where the kernel's UDP offers it"""
    for sock in RIG.sockets.encap:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        sock.setsockopt(socket.IPPROTO_UDP, host.UDP_ENCAP, host.ESPINUDP)
    return opened(shape, encap=True), host.RELEASE >= (6, 7)


def encap(shape):
    on, early = in_udp(shape)
    for n in range(1, 6):
        through(on, EDGE + n, os.urandom(100 + n), early=early)
    RIG.dut.flush()


def in_fou(shape):
    """It is UDP's to open, which hands ESP to where IPv4 does not know it; GRO is not to know better."""
    port = 5555
    if impl.modprobe("-q", "fou"):
        raise ktap.Skip("this kernel has no FOU")
    on = opened(shape, encap=True)
    RIG.dut.ip(f"fou add port {port} ipproto {packet.ESP}")
    try:
        before, esp = on.figures(), packet.split(on.seal(EDGE + 1))[2][8:]
        RIG.dut.wire.send(packet.ip(shape.there, shape.here, packet.UDP,
                                    packet.udp(shape.there, shape.here, port, port, esp)))
        on.settle(before, {"XfrmInHdrError": 1})
    finally:
        RIG.dut.ip(f"fou del port {port}")
        RIG.dut.flush()


def places(front):
    """(octets in the linear part, octets in the first page) of a packet whose headers are
    so long: nothing, a part of IP, and all but ESP; all of the rest, ESP, and less
    """
    for linear in (0, 10, front - 8, front - 4, front):
        for first in {front - linear, 3, PAGE} - {0}:
            yield linear, first


def pages(shape, udp):
    """The NIC has left in pages what GRO looks at"""
    on, early = in_udp(shape) if udp else (opened(shape), True)
    front = (20 if shape.outer == 4 else 40) + (8 if udp else 0) + 8
    seq = EDGE
    for linear, first in places(front):
        for size in (1, 333, 1400):
            seq += 1
            through(on, seq, os.urandom(size), early=early,
                    send=lambda data, place=(linear, first): RIG.pages.send(data, *place))
            RIG.pages.check()
    RIG.dut.flush()


def layers(shape):
    """ESP inside ESP comes from GRO to UDP without IP in between; what it came by is a packet
    socket's on this machine, which must not be taken for UDP's."""
    on = opened(shape)
    header, _, inner = packet.split(on.seal(EDGE + 1, b"innermost"))
    RIG.dut.wire.send(packet.join(header, packet.ESP, on.peer.seal(inner, packet.ESP, EDGE + 2)))
    ktap.equal(RIG.sockets.receive(shape), b"innermost", "data")


def bad(shape):
    """Forged, replayed, late and dummy packets are booked as without GRO"""
    on = opened(shape)
    through(on, EDGE + 100, b"first")
    on.does({"failed": 1, "XfrmInStateProtoError": 1, "RxForged": 1}, EDGE + 101, flip_icv=True)
    on.does({"replayed": 1, "XfrmInStateSeqError": 1}, EDGE + 100)
    on.does({"packets": 1, "RxDummy": 1}, EDGE + 102, dummy=b"nothing")
    on.accepts(EDGE + 103)
    on.does({"late": 1, "XfrmInStateSeqError": 1, "RxLate": 1, "RxSecondTry": 1}, EDGE + 1)
    on.accepts(EDGE + 104)


for _shape in (*TRANSPORT, *TUNNEL):
    ktap.add(f"of all sizes, {_shape}", sizes, _shape)
    ktap.add(f"in UDP, {_shape}", encap, _shape)
for _shape in (V4, T4IN4):
    ktap.add(f"ESP in FOU is no ESP in UDP, {_shape}", in_fou, _shape,
             intree_fails="it is taken for that" if host.RELEASE >= (6, 7) else None)
for _shape in (*TRANSPORT, T4IN4, T6IN6):
    ktap.add(f"in pages, {_shape}", pages, _shape, False)
    ktap.add(f"in pages, in UDP, {_shape}", pages, _shape, True)
    ktap.add(f"padded by the link, {_shape}", padded, _shape,
             intree_fails="padding is taken for the ICV")
    ktap.add(f"forged, replayed, dummy, late, {_shape}", bad, _shape,
             intree_fails="dummies and late packets are protocol errors")
for _shape in TRANSPORT:
    ktap.add(f"ESP inside ESP, {_shape}", layers, _shape,
             intree_fails="between two SAs the core wants a route")
ktap.add("hop-by-hop options", extension, packet.HOPOPTS)
ktap.add("destination options", extension, packet.DSTOPTS)

ktap.main(lambda: RIG.start(name="gro"), RIG.stop)
