#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What is built around a state: nested bundles, interfaces, NAT, lifetimes, replay
state, path MTU, TFC padding, extension headers in front of ESP.
"""

import os
import socket

from lib import host, ktap, packet, xfrm
from lib.peer import Ah, Esp
from lib.shape import PORT_NATT, SPI_IN, SPI_OUT, TRANSPORT, TUNNEL, Sockets
from lib.suite import GCM, Combined, Separate

START = 68 << 32 | 1000
ESP_SUITE, AH_SUITE = Combined(GCM), Separate(auth="hmac(sha256)", bits=128)
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59
SPI_AH = 0x1000		# added to the SPI of the ESP SA in a bundle


class Rig:
    """Made before the first case."""

    def start(self):
        self.dut = host.Dut(mtu=2000)
        self.sockets = Sockets(self.dut)

    def stop(self):
        self.sockets.close()
        self.dut.close()

    def install(self, shape, **more):
        self.dut.ip(*shape.lines(ESP_SUITE.words(), esn=True, start=START, **more))
        self.quiet()
        return Esp(ESP_SUITE, SPI_OUT, True), Esp(ESP_SUITE, SPI_IN, True)

    def quiet(self):
        self.dut.wire.drain()
        self.sockets.drain()

    def sent(self, shape, data, proto=packet.ESP):
        self.sockets.send(shape, data)
        return self.dut.wire.receive(proto)

    def arrives(self, shape, proto, payload, data, header=None):
        self.dut.wire.send(packet.join(header or shape.header(), proto, payload))
        ktap.equal(self.sockets.receive(shape), data, "data at the socket")


RIG = Rig()


# -- IPv6 extension headers in front of ESP (RFC 4303 3.1.1) -------------------

def extension(kind, option):
    shape = TRANSPORT[1]
    out, back = RIG.install(shape)
    sock = RIG.sockets.plain[shape.here]
    options = packet.ext6(0, b"\x1e\4\1\2\3\4")
    sock.setsockopt(socket.IPPROTO_IPV6, option, options)
    try:
        sent = RIG.sent(shape, b"hello")
    finally:
        sock.setsockopt(socket.IPPROTO_IPV6, option, b"")
    header, _, esp = packet.split(sent)
    ktap.equal((header[6], header[40:]), (kind, b"\x32" + options[1:]),
               "extension header in front of ESP")
    inner, next_header, _ = out.open(esp, START)
    ktap.equal(shape.from_dut(next_header, inner), b"hello", "data")
    next_header, inner = shape.to_dut(b"answer")
    chain = packet.ip6(shape.there, shape.here, kind,
                       packet.ext6(packet.NONE, b"\x1e\4\1\2\3\4"))
    RIG.arrives(shape, packet.ESP, back.seal(inner, next_header, START + 1),
                b"answer", chain)


ktap.add("hop-by-hop options before ESP", extension, packet.HOPOPTS, IPV6_HOPOPTS)
ktap.add("destination options before ESP", extension, packet.DSTOPTS, IPV6_DSTOPTS)


# -- bundles (RFC 4301 4.5) -------------------------------------------------------

def bundle(shape):
    """AH around ESP, both in transport mode"""
    ends = ((shape.here, shape.there, SPI_OUT), (shape.there, shape.here, SPI_IN))
    lines = ["xfrm state flush", "xfrm policy flush"]
    for src, dst, spi in ends:
        lines += [host.state_line(src, dst, spi, ESP_SUITE.words(), esn=True,
                                  seq=START, oseq=START),
                  host.state_line(src, dst, spi + SPI_AH, AH_SUITE.words(ah=True),
                                  "ah", esn=True, seq=START, oseq=START)]
    both = (host.template(proto="esp"), host.template(proto="ah"))
    RIG.dut.ip(*lines, shape.policy("out", *both), shape.policy("in", *both))
    RIG.quiet()
    header, esp, _ = Ah(AH_SUITE, SPI_OUT + SPI_AH, True).open(
        RIG.sent(shape, b"hello", packet.AH), START)
    ktap.equal(packet.split(header)[1], packet.ESP, "what AH carries")
    inner, next_header, _ = Esp(ESP_SUITE, SPI_OUT, True).open(esp, START)
    ktap.equal(shape.from_dut(next_header, inner), b"hello", "data")
    next_header, inner = shape.to_dut(b"answer")
    esp = Esp(ESP_SUITE, SPI_IN, True).seal(inner, next_header, START + 1)
    RIG.dut.wire.send(Ah(AH_SUITE, SPI_IN + SPI_AH, True).seal(
        shape.header(), packet.ESP, esp, START + 1))
    ktap.equal(RIG.sockets.receive(shape), b"answer", "data at the socket")


for _shape in TRANSPORT:
    ktap.add(f"AH around ESP, {_shape}", bundle, _shape)


# -- TFC padding (RFC 4303 2.7) -----------------------------------------------------

def tfc_received(shape):
    _, back = RIG.install(shape)
    for number, size in enumerate((1, 100, 916), 1):
        next_header, inner = shape.to_dut(b"answer")
        RIG.arrives(shape, packet.ESP, back.seal(inner, next_header, START + number,
                                                 tfc=os.urandom(size)), b"answer")


def tfc_sent(shape):
    out, _ = RIG.install(shape, more="tfcpad 1000")
    state = RIG.dut.state(shape.there, SPI_OUT)
    ktap.equal(state.tfcpad, 1000, "tfcpad")
    for size in (1, 333, 1200):
        sent = RIG.sent(shape, bytes(size))
        payload, next_header, _ = out.open(packet.split(sent)[2], START)
        ktap.equal(shape.from_dut(next_header, payload), bytes(size), "data")
        inner = size + 8 + (20 if shape.inner == 4 else 40)
        ktap.equal(len(payload), max(inner, 1000), "payload with TFC padding")


for _shape in (*TRANSPORT, *TUNNEL):
    ktap.add(f"TFC padding received, {_shape}", tfc_received, _shape)
for _shape in TUNNEL:
    ktap.add(f"TFC padding sent, {_shape}", tfc_sent, _shape)


# -- interfaces ----------------------------------------------------------------------

def through_interface(shape):
    """The traffic goes by a route to an XFRM interface"""
    lines = list(shape.lines(ESP_SUITE.words(), esn=True, start=START, more="if_id 7"))
    lines[4:] = [line.replace(" tmpl", " if_id 7 tmpl") for line in lines[4:]]
    route = f"route replace {shape.inner_there} src {shape.inner_here}"
    try:
        RIG.dut.ip(*lines, "link add test0 type xfrm dev v0 if_id 7",
                   "link set test0 up", f"{route} dev test0")
        RIG.quiet()
        carried(shape)
    finally:
        RIG.dut.ip("xfrm state flush", "xfrm policy flush", "link del test0",
                   f"{route} via {shape.there}")


def carried(shape):
    out, back = Esp(ESP_SUITE, SPI_OUT, True), Esp(ESP_SUITE, SPI_IN, True)
    sent = packet.split(RIG.sent(shape, b"hello"))[2]
    inner, next_header, _ = out.open(sent, START)
    ktap.equal(shape.from_dut(next_header, inner), b"hello", "data")
    next_header, inner = shape.to_dut(b"answer")
    RIG.arrives(shape, packet.ESP, back.seal(inner, next_header, START + 1),
                b"answer")


for _shape in (TUNNEL[0], TUNNEL[3]):
    ktap.add(f"XFRM interface, {_shape}", through_interface, _shape)


# -- NAT: the peer's port changes (RFC 3947, XFRM_MSG_MAPPING) -------------------------

def mapping(shape):
    _, back = RIG.install(shape, encap=(PORT_NATT, PORT_NATT))
    with RIG.dut.inside():
        events = xfrm.Socket("mapping")
    next_header, inner = shape.to_dut(b"answer")
    esp = back.seal(inner, next_header, START + 1)
    segment = packet.udp(shape.there, shape.here, 6500, PORT_NATT, esp)
    RIG.arrives(shape, packet.UDP, segment, b"answer")
    event = events.event(xfrm.MAPPING)
    events.close()
    ktap.check(event, "no mapping event")
    ktap.equal(event.mapping(), (SPI_IN, shape.there, 6500, PORT_NATT), "mapping")


for _shape in (TUNNEL[0], TUNNEL[3]):
    ktap.add(f"NAT mapping change, {_shape}", mapping, _shape)


# -- lifetimes (RFC 4301 4.4.2.1) ------------------------------------------------------

def lifetime(shape):
    out, _ = RIG.install(shape, more="limit packet-soft 2 limit packet-hard 3")
    with RIG.dut.inside():
        events = xfrm.Socket("expire")
    # the core looks before it counts: the packet after the limit meets it
    for _ in range(3):
        RIG.sent(shape, b"hello")
    soft = events.event(xfrm.EXPIRE)
    ktap.check(soft, "no soft expiry")
    ktap.equal(soft.expire(), (SPI_OUT, False), "soft expiry")
    try:
        RIG.sockets.send(shape, b"too many")
    except OSError:
        pass		# the core may tell the sender
    RIG.dut.wire.silent(packet.ESP)
    hard = events.event(xfrm.EXPIRE)
    events.close()
    ktap.check(hard, "no hard expiry")
    ktap.equal(hard.expire(), (out.spi, True), "hard expiry")


ktap.add("lifetime in packets", lifetime, TUNNEL[0])


# -- replay state, update, migrate ---------------------------------------------------------

def replay_state(shape):
    _, back = RIG.install(shape)
    next_header, inner = shape.to_dut(b"answer")
    for seq in (START + 3, START + 1):
        RIG.arrives(shape, packet.ESP, back.seal(inner, next_header, seq), b"answer")
    replay = RIG.dut.xfrm().get_ae(shape.there, shape.here, SPI_IN)
    ktap.equal((replay.seq, replay.packets), (START + 3, 2), "GETAE")
    ktap.equal([replay.seen(n) for n in range(4)], [True, False, True, False],
               "GETAE's bitmap")


def update(shape):
    """UPDSA of a live SA changes its lifetime and not its key"""
    out, _ = RIG.install(shape)
    RIG.sent(shape, b"hello")
    RIG.dut.ip(host.state_line(shape.here, shape.there, SPI_OUT, ESP_SUITE.words(),
                               mode=shape.mode, esn=True, verb="update",
                               more="limit packet-hard 1000"))
    sent = packet.split(RIG.sent(shape, b"again"))[2]
    inner, next_header, seq = out.open(sent, START)
    ktap.equal((shape.from_dut(next_header, inner), seq), (b"again", START + 2),
               "data and number")


ktap.add("GETAE reports the window", replay_state, TUNNEL[0])
ktap.add("UPDSA keeps the SA working", update, TUNNEL[0])


# -- path MTU (RFC 4301 8.2) ---------------------------------------------------------------

def path_mtu(shape):
    """Too big a packet behind the tunnel: the next one is refused locally"""
    RIG.install(shape)
    big = bytes(1400)
    sent = RIG.sent(shape, big)
    RIG.dut.wire.send(packet.too_big(shape.there, shape.here, 1300, sent))
    sock = RIG.sockets.plain[shape.inner_here]
    level, option, do = ((socket.IPPROTO_IP, 10, 2) if shape.inner == 4 else
                         (socket.IPPROTO_IPV6, 23, 2))
    old = sock.getsockopt(level, option)
    sock.setsockopt(level, option, do)

    def refused():
        try:
            RIG.sockets.send(shape, big)
        except OSError:
            return True
        return False

    try:
        ktap.wait_for(refused, "a packet larger than the path's MTU still goes")
    finally:
        sock.setsockopt(level, option, old)
        RIG.dut.ip("route flush cache")


for _shape in (TUNNEL[0], TUNNEL[3]):
    ktap.add(f"path MTU, {_shape}", path_mtu, _shape)

ktap.main(RIG.start, RIG.stop)
