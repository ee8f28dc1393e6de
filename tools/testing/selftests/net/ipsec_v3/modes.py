#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What is built around a state: NAT, path MTU, TFC padding, extension headers in
front of ESP, what the policy says of a packet that a good SA has taken.
"""

import os
import socket

from lib import host, impl, ktap, packet, xfrm
from lib.line import UNASKED, Rig
from lib.peer import Esp
from lib.shape import PORT_DUT, PORT_NATT, PORT_PEER, SPI_IN, SPI_OUT, T4IN4, T6IN6, TRANSPORT, TUNNEL, V6
from lib.suite import gcm

START = 68 << 32 | 1000
ESP_SUITE = gcm()
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59


class EspRig(Rig):
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


RIG = EspRig()


# -- IPv6 extension headers in front of ESP (RFC 4303 3.1.1) -------------------

def extension(kind, option):
    shape = V6
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


# -- NAT: the peer's port changes (RFC 3947, XFRM_MSG_MAPPING) -------------------------

def mapping(shape):
    _, back = RIG.install(shape, encap=(PORT_NATT, PORT_NATT))
    with RIG.dut.inside():
        events = xfrm.Socket("mapping")
    before = RIG.dut.counters()
    next_header, inner = shape.to_dut(b"answer")
    esp = back.seal(inner, next_header, START + 1)
    segment = packet.udp(shape.there, shape.here, 6500, PORT_NATT, esp)
    RIG.arrives(shape, packet.UDP, segment, b"answer")
    event = events.event(xfrm.MAPPING)
    events.close()
    ktap.check(event, "no mapping event")
    ktap.equal(event.mapping(), (SPI_IN, shape.there, 6500, PORT_NATT), "mapping")
    if not impl.INTREE:
        ktap.equal(host.delta(before, RIG.dut.counters()).get("RxMapping"), 1, "RxMapping")


for _shape in (T4IN4, T6IN6):
    ktap.add(f"NAT mapping change, {_shape}", mapping, _shape)


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
        ktap.wait_for(refused, "a packet larger than the path's MTU is refused")
    finally:
        sock.setsockopt(level, option, old)
        RIG.dut.ip("route flush cache")


for _shape in (T4IN4, T6IN6):
    ktap.add(f"path MTU, {_shape}", path_mtu, _shape)

# -- what an SA takes and no policy allows (RFC 4301 5.2) ----------------------------------

OTHER = SPI_IN + 1


def not_allowed(shape, counter, spi, segment, *lines):
    """Counted by that name, and by no other.

    segment: (next header, what is protected); lines: for Host.ip(), behind the usual"""
    RIG.install(shape)
    if lines:
        RIG.dut.ip(*lines)
    before = RIG.dut.counters()
    next_header, inner = segment
    RIG.dut.wire.send(packet.join(shape.header(), packet.ESP, Esp(ESP_SUITE, spi, True).seal(
        inner, next_header, START + 1)))
    ktap.wait_for(lambda: counter in host.delta(before, RIG.dut.counters()), counter)
    changed = {name: n for name, n in host.delta(before, RIG.dut.counters()).items() if name not in UNASKED}
    ktap.equal(changed, {counter: 1}, "what changed")
    ktap.equal(RIG.dut.state(shape.here, spi).packets, 1, "packets that the SA has taken")
    ktap.equal(RIG.sockets.waiting(shape), [], "datagrams that arrived")


def another(shape, **more):
    """An SA for other traffic"""
    return host.state_line(shape.there, shape.here, OTHER, ESP_SUITE.words(), mode=shape.mode, esn=True, seq=START,
                           **more)


def elsewhere(shape):
    """A tunnel's packet from an address that is another policy's, or nobody's"""
    source = host.OUTER[shape.inner][1]
    segment = packet.udp(source, shape.inner_here, PORT_PEER, PORT_DUT, b"from elsewhere")
    return shape.to_dut(b"")[0], packet.ip(source, shape.inner_here, packet.UDP, segment)


for _shape in (*TRANSPORT, T4IN4, T6IN6):
    _right, _tcp = _shape.to_dut(b"not for you"), f"src {_shape.inner_there} dst {_shape.inner_here} proto tcp"
    for _name, _counter, _spi, _segment, *_lines in (
            ("by another SA", "XfrmInTmplMismatch", OTHER, _right, another(_shape, reqid=2)),
            ("not of its SA's selector", "XfrmInStateMismatch", OTHER, _right, another(_shape, sel=_tcp)),
            ("blocked", "XfrmInPolBlock", SPI_IN, _right, "xfrm policy flush",
             _shape.policy("in", rule="action block")),
            *([("from elsewhere", "XfrmInNoPols", SPI_IN, elsewhere(_shape))] if _shape in TUNNEL else [])):
        ktap.add(f"no policy allows it: {_name}, {_shape}", not_allowed, _shape, _counter, _spi, _segment, *_lines)

ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
