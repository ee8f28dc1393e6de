#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""GSO and GRO where something is odd: modes, padding and compression that keep a packet
from crossing the stack whole, virtual devices between it and the wire, and packets that
were joined before they came.  All of it passes.
"""

import contextlib
import os
import re
import socket
import subprocess

from lib import host, impl, ktap, line, packet, srv6
from lib.line import Monopoly, Rig, threads
from lib.pages import Pages
from lib.pair import MTU, SIZE, SPI_AB, Figures, Pair, Tap, comp, esp
from lib.peer import Esp
from lib.shape import BEET, PORT_DUT, PORT_NATT, PORT_PEER, T4IN4, T6IN4, T6IN6, TRANSPORT, TUNNEL, V4, V6
from lib.suite import Separate, gcm
from lib.wire import Wire

IP_OPTIONS, IP_MTU_DISCOVER = 4, 10
START = 68 << 32 | 100000
EDGE = (69 << 32) - 20	# the high half changes on the way


class VlanPair(Pair):
    device = "v0.7"

    def prepared(self):
        return ["link add link v0 name v0.7 type vlan id 7", "link set v0.7 up"]


class VrfPair(Pair):
    inner = "red"
    vrf = "vrf red"

    def prepared(self):
        return ["link add red type vrf table 10", "link set red up", "link set v0 master red"]


class Gateway(Rig):
    """Forwards what the far end sends, there again"""

    def start(self, **more):
        super().start(**more)
        with self.dut.outside():
            self.pages = Pages("wire", self.dut.wire.header)
        self.dut.sysctl("net.ipv4.ip_forward", 1)
        self.dut.sysctl("net.ipv6.conf.all.forwarding", 1)
        host.use_gro(True, *self.dut.veth)
        # what it receives waits for a thread
        host.ip("netns", "exec", self.dut.name, "sh", "-c",
                "echo 1 > /sys/class/net/v0/threaded")
        for pid in threads("napi/v0-"):
            os.sched_setaffinity(pid, {0})

    def stop(self):
        self.pages.close()
        super().stop()


PAIR, VLAN, VRF, GATEWAY = Pair(), VlanPair("vlan"), VrfPair("vrf"), Gateway()


# -- modes, padding, compression ------------------------------------------------------

def passes(shape, levels):
    PAIR.install(shape, levels, gcm())
    Figures(PAIR, shape).arrived()


for _shape in BEET:
    ktap.add(f"TCP passes, {_shape}", passes, _shape, [esp("beet")],
             intree_fails="its GSO packets are lost")


def in_udp(shape):
    ports = PORT_NATT, PORT_NATT
    PAIR.install(shape, [esp(shape.mode)], gcm(), START, True, encap=ports)
    with PAIR.a.udp(shape.here, PORT_NATT, True), PAIR.b.udp(shape.there, PORT_NATT, True):
        Figures(PAIR, shape, START).arrived()


for _shape in (*TRANSPORT, T4IN4, T6IN6):
    ktap.add(f"TCP passes in UDP, {_shape}", in_udp, _shape)


def extended(shape, option):
    """An extension header of IPv6 in front of TCP: before ESP, inside it, or inside a tunnel"""
    PAIR.install(shape, [esp(shape.mode)], gcm(), START, True)
    header = bytes([0, 0, 1, 4, 0, 0, 0, 0])	# whose only option is padding
    Figures(PAIR, shape, START, options=[(socket.IPPROTO_IPV6, option, header)]).arrived()


for _shape in (V6, T6IN4, T6IN6):
    for _name, _option in (("hop-by-hop", socket.IPV6_HOPOPTS), ("destination", socket.IPV6_DSTOPTS)):
        ktap.add(f"{_name} options, {_shape}", extended, _shape, _option)


def tfc(shape):
    PAIR.install(shape, [esp("tunnel")], gcm(), more="tfcpad 1000")
    with Tap(PAIR.a) as tap:
        Figures(PAIR, shape).arrived()
        sizes = {len(data) for data in tap.packets() if packet.split(data)[1] == packet.ESP}
    ktap.check(min(sizes) > 1000, f"packets of {min(sizes)} bytes")


def compressed(shape, mode):
    """IPComp inside ESP; what compresses and what does not"""
    for data in (bytes(SIZE), os.urandom(SIZE)):
        PAIR.install(shape, [comp(mode), esp("transport")], gcm())
        before = PAIR.a.counters(), PAIR.b.counters()
        PAIR.transfer(shape.inner_here, shape.inner_there, data)
        ktap.equal([without_copies(host.delta(old, end.counters()))
                    for old, end in zip(before, (PAIR.a, PAIR.b))], [{}, {}], "errors")
        ktap.check(PAIR.b.state(shape.there, SPI_AB).packets > 3, "no ESP came")


def without_copies(counters):
    return {name: n for name, n in counters.items() if name not in line.UNASKED}


for _shape in (T4IN4, T6IN6):
    ktap.add(f"TFC padding, {_shape}", tfc, _shape,
             intree_fails="esp4_offload does not pad")
for _shape in TRANSPORT:
    ktap.add(f"IPComp in {_shape}", compressed, _shape, "transport",
             intree_fails="what GRO takes is dropped between two SAs")
for _shape in (T4IN4, T6IN6):
    ktap.add(f"IPComp {_shape} in transport", compressed, _shape, "tunnel",
             intree_fails="what GRO takes is dropped between two SAs")


# -- virtual devices ------------------------------------------------------------------

def across(pair, shape):
    pair.install(shape, [esp(shape.mode)], gcm(), START, True)
    done = Figures(pair, shape, START)
    done.arrived()
    done.whole()


for _name, _pair in (("VLAN", VLAN), ("VRF", VRF)):
    for _shape in (*TRANSPORT, T4IN4, T6IN4, T6IN6):
        ktap.add(f"{_name}, {_shape}", across, _pair, _shape)


@contextlib.contextmanager
def in_gre(shape, version, mode, start):
    """Routes of TCP in GRE, whose packets the SA protects; gives the addresses of TCP"""
    ends = host.INNER[version]
    kind = "gre" if shape.outer == 4 else "ip6gre encaplimit none"
    PAIR.install(shape, [esp(mode)], gcm(), start, True, proto="gre")
    for number, end in enumerate((PAIR.a, PAIR.b)):
        outer = host.OUTER[shape.outer]
        end.ip(f"link add g0 type {kind} local {outer[number]} remote {outer[1 - number]}",
               "link set g0 up",
               f"route replace {ends[1 - number]} dev g0 src {ends[number]}")
    try:
        yield ends
    finally:
        for number, end in enumerate((PAIR.a, PAIR.b)):
            end.ip("link del g0", f"route replace {ends[1 - number]} via "
                   f"{host.OUTER[version][1 - number]} src {ends[number]}")


def gre(shape, version):
    with in_gre(shape, version, "transport", START) as ends:
        done = Figures(PAIR, shape, START, ends=ends)
        done.arrived()
        ktap.check(done.sent < done.segments, "no packet crossed the stack whole")


def gre_late(shape, start):
    """In tunnel mode the core makes segments, and then takes a number for each; all have one before the first
    is encrypted, at the device behind a queue."""
    with in_gre(shape, shape.outer, "tunnel", start) as ends:
        if PAIR.a.run(*"tc qdisc replace dev v0 root netem delay 20ms".split()).returncode:
            raise ktap.Skip("no netem here")
        try:
            Figures(PAIR, shape, start, ends=ends).arrived()
        finally:
            PAIR.a.run(*"tc qdisc del dev v0 root".split())


for _shape in TRANSPORT:
    for _name, _start in (("", START), (" over the edge of the low half", EDGE)):
        ktap.add(f"GRE in a tunnel over IPv{_shape.outer}, whose device has a queue{_name}", gre_late, _shape, _start)
for _shape in TRANSPORT:
    for _version in (4, 6):
        ktap.add(f"GRE with IPv{_version} in {_shape}", gre, _shape, _version,
                 intree_fails="the core takes the hop limit for TCP's header length"
                 if _version == 4 else None)


# -- routes that put headers before a packet -------------------------------------------

LABEL = 100


def by_srv6(shape):
    PAIR.b.ip(f"addr replace {srv6.SEGMENT}/128 dev v0 nodad")
    for device in ("all", "v0"):
        PAIR.b.sysctl(f"net.ipv6.conf.{device}.seg6_enabled", 1)
    return srv6.route(PAIR.a, shape.there)


@contextlib.contextmanager
def by_mpls(shape):
    hop = {4: "192.0.9.2", 6: "fd98::2"}[shape.outer]
    route = f"{shape.there} encap mpls {LABEL} via {hop} dev v0"
    impl.modprobe("-a", "mpls_router", "mpls_iptunnel")
    PAIR.b.ip(f"addr replace {hop}/{24 if shape.outer == 4 else '64 nodad'} dev v0")
    PAIR.b.sysctl("net.mpls.platform_labels", 1000)
    PAIR.b.sysctl("net.mpls.conf.v0.input", 1)
    host.ip("-n", PAIR.b.name, "-f", "mpls", "route", "replace", str(LABEL), "dev", "lo")
    PAIR.a.ip(f"route replace {hop} dev v0", f"route add {route}")
    try:
        yield
    finally:
        PAIR.a.ip(f"route del {route}")


def labelled(shape, route, suite=gcm):
    """Host a puts them before its packets, host b takes them off.  What is encrypted at the device
    is encrypted too late: the lengths in those headers are written, and the packet is elsewhere."""
    if impl.INTREE:
        raise ktap.Skip("a BUG of in-tree ends the guest")
    PAIR.install(shape, [esp(shape.mode)], suite(), START, True)
    with route(shape), Tap(PAIR.a) as tap:
        done = Figures(PAIR, shape, START)
        done.arrived()
        first = {data[9 if packet.version(data) == 4 else 6] for data in tap.packets()}
    ktap.check(packet.ESP not in first, "ESP went without them")
    ktap.check(done.sent < done.segments, "no packet crossed the stack whole")


for _shape in (*TRANSPORT, *TUNNEL):
    for _name, _routes in (("SRv6", by_srv6), ("MPLS", by_mpls)):
        ktap.add(f"{_name}, {_shape}", labelled, _shape, _routes)
for _shape in (V4, T6IN6):
    ktap.add(f"SRv6, no cipher, {_shape}", labelled, _shape, by_srv6, Separate)


# -- BIG TCP -----------------------------------------------------------------------------

LONG = """table inet big {
	counter long {}
	chain sent {
		type filter hook output priority 0
		meta length > 65575 counter name long
	}
}
"""


@contextlib.contextmanager
def more_than_ip_says():
    """TCP may send more than 64 KiB at once; how often it did"""
    if PAIR.a.run("nft", "-f", "-", input=LONG).returncode:
        raise ktap.Skip("no nftables here")
    PAIR.a.ip("link set v0 gso_max_size 180000")
    try:
        yield lambda: int(re.search(r"packets (\d+)", PAIR.a.run(
            "nft", "list", "counter", "inet", "big", "long", stdout=subprocess.PIPE).stdout)[1])
    finally:
        PAIR.a.ip("link set v0 gso_max_size 65536")
        PAIR.a.run("nft", "delete", "table", "inet", "big")


def big(shape):
    """The length is in an option that the segments do not have; they are smaller than the path takes."""
    PAIR.install(shape, [esp(shape.mode)], gcm(), START, True)
    before = PAIR.b.ip_figure(6, "InHdrErrors")
    with more_than_ip_says() as so_far:
        for _ in range(4):	# it is not always bold enough
            Figures(PAIR, shape, START, data=bytes(20 * SIZE),
                    options=[(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)]).arrived()
            ktap.equal(PAIR.b.ip_figure(6, "InHdrErrors") - before, 0, "packets that IPv6 has dropped")
            if so_far():
                return
    raise ktap.Skip("TCP never sent so much at once")


for _shape in (V6, T6IN4, T6IN6):
    ktap.add(f"BIG TCP, {_shape}", big, _shape)


# -- packets as long as the link allows ------------------------------------------------

def longest(shape, *option):
    """An option in the header, datagrams that just fit the link once they are encrypted, or just do not"""
    PAIR.install(shape, [esp(shape.mode)], Separate("cbc(aes)", "hmac(sha1)", 96), proto="udp")
    with PAIR.a.udp(shape.inner_here, PORT_DUT) as sender, PAIR.b.udp(shape.inner_there, PORT_PEER) as receiver, \
         Tap(PAIR.a) as tap:
        sender.setsockopt(*option)
        if shape.inner == 4:
            sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        receiver.settimeout(5)
        for size in range(MTU - 130, MTU - 40):
            data = os.urandom(size)
            sender.sendto(data, (shape.inner_there, PORT_PEER))
            ktap.equal(receiver.recv(MTU), data, f"datagram of {size}")
        lengths = [len(data) for data in tap.packets()]
        ktap.check(MTU - 16 < max(lengths) <= MTU, f"the longest packet has {max(lengths)} bytes")


TOO_LONG = "a packet is too long for its link"
ktap.add("as long as fits, options, transport 4", longest, V4, socket.IPPROTO_IP, IP_OPTIONS, bytes([1] * 8),
         intree_fails=TOO_LONG)
ktap.add("as long as fits, hop-by-hop options, transport 6", longest, V6, socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS,
         bytes([0, 0, 1, 4, 0, 0, 0, 0]), intree_fails=TOO_LONG)


# -- joined by GRO, and forwarded ------------------------------------------------------

def datagrams(ends):
    """All of a size but the last, which is what GRO joins"""
    for n in range(12):
        data = os.urandom(1001 if n < 11 else 500)
        yield data, packet.ip(*ends, packet.UDP, packet.udp(*ends, 1111, 2222, data))


class Forwarding:
    """What comes for another host leaves the gateway in an SA: in transport mode its own addresses are the SA's."""

    def __init__(self, shape):
        self.shape, self.dut, suite = shape, GATEWAY.dut, gcm()
        outer, inner = host.OUTER[shape.inner][1], host.INNER[shape.inner][1]
        if shape.mode == "tunnel":
            self.ends, here, self.there = (outer, inner), shape.here, shape.there
        else:
            self.ends = here, self.there = inner, outer
        self.peer = Esp(suite, SPI_AB, True)
        self.dut.ip("xfrm state flush", "xfrm policy flush",
                    host.state_line(here, self.there, SPI_AB, suite.words(), mode=shape.mode, esn=True, oseq=START,
                                    flags="af-unspec" if shape.outer != shape.inner else ""),
                    host.policy_line("out", self.ends[0], f"{self.ends[1]} proto udp",
                                     host.template(here, self.there, mode=shape.mode)))
        self.dut.wire.drain()

    def check(self, sealed, number, data):
        """sealed: what a packet is from ESP on"""
        inner, _, seq = self.peer.open(sealed, START + number)
        found = packet.udp_data(*self.ends, packet.split(inner)[2] if self.shape.mode == "tunnel" else inner)
        ktap.equal((found, seq), ((1111, 2222, data), START + number), "datagram and number")


def forwarded(feature, shape, route=lambda on: contextlib.nullcontext(), receive=Wire.receive):
    """They reach the gateway together, and it joins them.  receive: as srv6.receive()"""
    on, dut = Forwarding(shape), GATEWAY.dut
    sent = list(datagrams(on.ends))
    host.ethtool(dut.name, "v0", feature, "on")
    before = dut.ip_figure(shape.inner, "InReceives")
    with route(on):
        with Monopoly():
            for _, whole in sent:
                GATEWAY.pages.put(whole, linear=20 if shape.inner == 4 else 40)
            GATEWAY.pages.flush()
        for number, (data, _) in enumerate(sent, 1):
            on.check(packet.split(receive(dut.wire, packet.ESP))[2], number, data)
    host.ethtool(dut.name, "v0", feature, "off")
    seen = dut.ip_figure(shape.inner, "InReceives") - before
    ktap.check(seen < len(sent), "GRO joined nothing")
    ktap.equal(dut.state(on.there, SPI_AB).oseq, START + len(sent), "last number")


for _shape in (*TRANSPORT, *TUNNEL):
    ktap.add(f"UDP in a fraglist, forwarded, {_shape}", forwarded, "rx-gro-list", _shape,
             intree_fails="members of the chain have no room for ESP" if _shape.mode == "transport" else None)
    ktap.add(f"UDP GSO, forwarded, {_shape}", forwarded, "rx-udp-gro-forwarding", _shape)
for _shape in (T4IN4, T6IN6):
    ktap.add(f"UDP in a fraglist, forwarded by SRv6, {_shape}", forwarded, "rx-gro-list", _shape,
             lambda on: srv6.route(on.dut, on.there, host.MAC_WIRE), srv6.receive)


def start():
    for part in (PAIR, VLAN, VRF, GATEWAY):
        part.start()


def stop():
    for part in (GATEWAY, VRF, VLAN, PAIR):
        part.stop()


ktap.main(start, stop)
