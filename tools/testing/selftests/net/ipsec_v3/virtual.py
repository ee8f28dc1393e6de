#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Virtual devices around an SA: XFRM interfaces, VTI, VRF, GRE inside."""

import contextlib
import struct

from lib import host, ktap, packet
from lib.line import Line, Rig
from lib.shape import T6IN6, TRANSPORT, TUNNEL, V4, Shape, Sockets
from lib.suite import gcm, sha256

START = 68 << 32 | 1000
SUITE = {"esp": gcm(), "ah": sha256()}
ETHERTYPE = {4: 0x0800, 6: 0x86dd}
RIG = Rig()


def line(rig, shape, kind, **more):
    return Line(rig, shape, SUITE[kind], kind, True, 64, START, **more)


def both_ways(on):
    for number in range(1, 4):
        on.sends(number)
        on.arrives(number)


def packets_of(device):
    """(received, sent) as the device has counted them"""
    found = []
    with RIG.dut.inside():
        with open("/proc/thread-self/net/dev", encoding="ascii") as file:
            for row in file:
                name, _, figures = row.partition(":")
                if name.strip() == device:
                    found = figures.split()
    return int(found[1]), int(found[9])


@contextlib.contextmanager
def device(shape, words):
    """test0, of this type, with the route to the peer's inner address"""
    route = f"route replace {shape.inner_there} src {shape.inner_here}"
    RIG.dut.ip(f"link add test0 type {words}")
    try:
        # VTI's own check has passed the packet; the socket's knows no key
        RIG.dut.sysctl("net.ipv4.conf.test0.disable_policy", 1)
        RIG.dut.sysctl("net.ipv6.conf.test0.disable_policy", 1)
        RIG.dut.ip("link set test0 up", f"{route} dev test0")
        yield
    finally:
        RIG.dut.flush()
        RIG.dut.ip("link del test0", f"{route} via {host.OUTER[shape.inner][1]}")


def through(shape, kind, words, mark, rule):
    with device(shape, words):
        on = line(RIG, shape, kind, more=mark, rule=rule)
        before = packets_of("test0")
        both_ways(on)
        after = packets_of("test0")
        ktap.check(after[0] - before[0] >= 3 and after[1] - before[1] >= 3,
                   f"test0 received and sent {before}, then {after} packets")


def interface(shape, kind):
    through(shape, kind, "xfrm dev v0 if_id 7", "if_id 7", "if_id 7")


def vti(shape, kind):
    name = "vti" if shape.outer == 4 else "vti6"
    through(shape, kind, f"{name} local {shape.here} remote {shape.there} key 7",
            "mark 7", "mark 7")


for _shape in TUNNEL:
    for _kind in ("esp", "ah"):
        ktap.add(f"XFRM interface, {_kind} {_shape}", interface, _shape, _kind)
        ktap.add(f"VTI, {_kind} {_shape}", vti, _shape, _kind)


# -- VRF ---------------------------------------------------------------------------

class VrfRig(Rig):
    """The cable, the inner addresses and the sockets in a VRF named red"""

    def start(self, mtu=2000, name="vrf"):
        self.dut = host.Dut(name, mtu)
        self.dut.ip("link add red type vrf table 10", "link set red up",
                    "link set v0 master red", *self.moved())
        self.sockets = Sockets(self.dut, "red")

    @staticmethod
    def moved():
        """Becoming a slave has cost the device its neighbours and addresses"""
        for version in (4, 6):
            nodad = "" if version == 4 else "nodad"
            bits, one = (24, 32) if version == 4 else (64, 128)
            here, there = host.OUTER[version]
            inner_here, inner_there = host.INNER[version]
            yield f"addr del {inner_here}/{one} dev lo"
            yield f"addr replace {inner_here}/{one} dev red {nodad}"
            yield f"addr replace {here}/{bits} dev v0 {nodad}"
            yield f"neigh replace {there} lladdr {host.MAC_WIRE} dev v0 nud permanent"
            yield f"route replace vrf red {inner_there} via {there} src {inner_here}"


VRF = VrfRig()


def in_vrf(shape, kind, rule=""):
    both_ways(line(VRF, shape, kind, rule=rule))


for _shape in (*TRANSPORT, *TUNNEL):
    ktap.add(f"VRF, esp {_shape}", in_vrf, _shape, "esp")
for _shape in (V4, T6IN6):
    ktap.add(f"VRF, ah {_shape}", in_vrf, _shape, "ah")


# -- GRE inside (RFC 2784) -----------------------------------------------------------

class GreShape(Shape):
    """Transport mode around a GRE tunnel; the datagram is inside that"""

    def __init__(self, outer, inner):
        super().__init__("transport", outer, outer)
        self.inner = inner
        self.inner_here, self.inner_there = host.INNER[inner]

    def __str__(self):
        return f"transport {self.outer} with IPv{self.inner} inside"

    def lines(self, algorithms, proto="esp", start=0, rule="", **more):
        lines = Shape("transport", self.outer, self.outer).lines(
            algorithms, proto, start, rule, **more)
        template = host.template(proto=proto)
        ends = (self.here, f"{self.there} proto gre"), (self.there, f"{self.here} proto gre")
        return lines[:4] + [host.policy_line("out", *ends[0], template),
                            host.policy_line("in", *ends[1], template)]

    def to_dut(self, data, *ports):
        _, inner = Shape("tunnel", self.outer, self.inner).to_dut(data, *ports)
        return packet.GRE, struct.pack("!HH", 0, ETHERTYPE[self.inner]) + inner

    def from_dut(self, next_header, inner):
        ktap.equal((next_header, inner[:4]),
                   (packet.GRE, struct.pack("!HH", 0, ETHERTYPE[self.inner])),
                   "next header and GRE's header")
        proto = packet.IPIP if self.inner == 4 else packet.IPV6
        return Shape("tunnel", self.outer, self.inner).from_dut(proto, inner[4:])


def gre(shape, kind):
    name = "gre" if shape.outer == 4 else "ip6gre encaplimit none"
    with device(shape, f"{name} local {shape.here} remote {shape.there}"):
        both_ways(line(RIG, shape, kind))


for _outer in (4, 6):
    for _inner in (4, 6):
        for _kind in ("esp", "ah"):
            _shape = GreShape(_outer, _inner)
            ktap.add(f"GRE, {_kind} {_shape}", gre, _shape, _kind)


def start():
    RIG.start()
    VRF.start()


def stop():
    VRF.stop()
    RIG.stop()


ktap.shorten(2)
ktap.main(start, stop)
