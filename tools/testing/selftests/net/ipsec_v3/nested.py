#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Bundles: more than one SA for a packet (RFC 4301 4.5), compression among them
(RFC 3173).
"""

import struct
import zlib

from lib import host, ktap, packet
from lib.line import Rig
from lib.peer import Ah, Esp
from lib.shape import SPI_IN, SPI_OUT, T4IN4, T6IN6, TRANSPORT, TUNNEL
from lib.suite import gcm, sha256

START = 68 << 32 | 1000
SUITE = {"esp": gcm(), "ah": sha256()}
SMALL, LARGE = 20, 1400		# below and above IPComp's threshold of 90 octets
DEFLATE_WINDOW = -11		# raw, and as wide as the kernel's
NUMBERS = (packet.ESP, packet.AH)
RIG = Rig()


class Comp:
    """IPComp (RFC 3173) with DEFLATE (RFC 2394)"""

    def __init__(self, cpi):
        self.cpi = cpi

    def seal(self, inner, next_header):
        run = zlib.compressobj(wbits=DEFLATE_WINDOW)
        return (struct.pack("!BBH", next_header, 0, self.cpi) +
                run.compress(inner) + run.flush())

    def open(self, data):
        next_header, flags, cpi = struct.unpack("!BBH", data[:4])
        ktap.equal((flags, cpi), (0, self.cpi), "flags and CPI")
        return zlib.decompress(data[4:], DEFLATE_WINDOW), next_header


class Layer:
    """One SA pair of a bundle, and what it does to a whole packet.

    kind: esp, ah or comp; number: its place, the innermost is 1
    """

    def __init__(self, shape, number, kind, mode):
        self.shape, self.kind, self.mode, self.reqid = shape, kind, mode, number
        self.spi_out, self.spi_in = SPI_OUT + 16 * number, SPI_IN + 16 * number
        maker = {"esp": Esp, "ah": Ah}.get(kind)
        if maker:
            self.out = maker(SUITE[kind], self.spi_out, True)
            self.back = maker(SUITE[kind], self.spi_in, True)
        else:
            self.out, self.back = Comp(self.spi_out), Comp(self.spi_in)

    def state(self, src, dst, spi):
        shape = self.shape
        across = self.mode == "tunnel" and shape.outer != shape.inner
        flags = "af-unspec" if across else ""
        if self.kind == "comp":
            return host.state_line(src, dst, spi, "comp deflate", "comp", self.mode,
                                   self.reqid, window=0, flags=flags)
        suite = SUITE[self.kind]
        return host.state_line(src, dst, spi, suite.words(self.kind), self.kind, self.mode, self.reqid,
                               esn=True, flags=flags, seq=START, oseq=START)

    def template(self, direction, src, dst):
        # what is too small to be compressed comes without this layer
        level = "use" if (self.kind, direction) == ("comp", "in") else "required"
        return host.template(src, dst, proto=self.kind, mode=self.mode,
                             reqid=self.reqid, level=level)

    def unwrap(self, whole, number):
        """The packet inside one of the Dut's"""
        header, proto, payload = packet.split(whole)
        if self.kind == "ah":
            header, inner, seq = self.out.open(whole, START)
            proto = packet.split(header)[1]
        elif self.kind == "esp":
            ktap.equal(proto, packet.ESP, "protocol")
            inner, proto, seq = self.out.open(payload, START)
        else:
            ktap.equal(proto, packet.IPCOMP, "protocol")
            inner, proto = self.out.open(payload)
            seq = START + number
        ktap.equal(seq, START + number, "sequence number")
        if self.mode == "transport":
            return packet.join(header, proto, inner)
        ktap.check(proto in (packet.IPIP, packet.IPV6), f"next header {proto}")
        return inner

    def wrap(self, whole, number):
        """A packet to the Dut around another"""
        if self.mode == "transport":
            header, proto, inner = packet.split(whole)
        else:
            header, inner = self.shape.header(), whole
            proto = packet.IPIP if packet.version(whole) == 4 else packet.IPV6
        if self.kind == "ah":
            return self.back.seal(header, proto, inner, START + number)
        if self.kind == "esp":
            return packet.join(header, packet.ESP,
                               self.back.seal(inner, proto, START + number))
        return packet.join(header, packet.IPCOMP, self.back.seal(inner, proto))


def install(shape, layers):
    out, back = (shape.here, shape.there), (shape.there, shape.here)
    lines = ["xfrm state flush", "xfrm policy flush"]
    for layer in layers:
        lines += [layer.state(*out, layer.spi_out), layer.state(*back, layer.spi_in)]
    outer = layers[-1]
    if outer.mode == "tunnel":
        # XFRM interfaces, once loaded, look at the packet between the tunnels too
        lines.append(host.policy_line("in", shape.there, f"{shape.here} proto esp",
                                      outer.template("in", *back)))
    RIG.dut.ip(*lines,
               shape.policy("out", *[layer.template("out", *out) for layer in layers]),
               shape.policy("in", *[layer.template("in", *back) for layer in layers]))
    RIG.sockets.drain()
    RIG.dut.wire.drain()


def sends(shape, layers, data, number):
    RIG.sockets.send(shape, data)
    whole = RIG.dut.wire.receive(NUMBERS)
    for layer in reversed(layers):
        whole = layer.unwrap(whole, number)
    ktap.equal((packet.source(whole), packet.destination(whole)),
               (shape.inner_here, shape.inner_there), "addresses inside")
    found = packet.udp_data(shape.inner_here, shape.inner_there,
                            packet.split(whole)[2])
    ktap.check(found, "the UDP length or checksum inside is wrong")
    ktap.equal(found[2], data, "data on the wire")


def arrives(shape, layers, data, number):
    whole = shape.to_dut(data)[1]
    if shape.mode == "transport":
        whole = packet.ip(shape.there, shape.here, packet.UDP, whole)
    for layer in layers:
        whole = layer.wrap(whole, number)
    RIG.dut.wire.send(whole)
    ktap.equal(RIG.sockets.receive(shape), data, "data at the socket")


def bundle(shape, *kinds):
    """kinds: (kind, mode) of each layer, the innermost first"""
    layers = [Layer(shape, n, *kind) for n, kind in enumerate(kinds, 1)]
    install(shape, layers)
    for number, size in enumerate((LARGE, 300, SMALL), 1):
        here = layers
        if size == SMALL and kinds[0][0] == "comp":
            here = uncompressed(shape, layers)
        sends(shape, here, bytes(size), number)
        arrives(shape, here, bytes(size), number)


class Plain(Layer):
    """A tunnel without IPComp's header"""

    def unwrap(self, whole, number):
        _, proto, inner = packet.split(whole)
        ktap.check(proto in (packet.IPIP, packet.IPV6), f"protocol {proto}")
        return inner

    def wrap(self, whole, number):
        proto = packet.IPIP if packet.version(whole) == 4 else packet.IPV6
        return packet.join(self.shape.header(), proto, whole)


def uncompressed(shape, layers):
    """RFC 3173 2.2: too small a packet is sent as it is, its tunnel stays"""
    first = layers[0]
    if first.mode == "transport":
        return layers[1:]
    return [Plain(shape, 1, "comp", "tunnel"), *layers[1:]]


def add(shape, *kinds):
    # the core leaves ESP's number in the header when it has removed ESP
    fails = ("AH's ICV covers ESP's protocol number"
             if [kind for kind, _ in kinds] == ["ah", "esp"] else None)
    ktap.add(" inside ".join(f"{kind} {mode}" for kind, mode in kinds) + f", {shape}",
             bundle, shape, *kinds, intree_fails=fails)


for _shape in TRANSPORT:
    for _kinds in (("esp", "ah"), ("ah", "esp"), ("esp", "esp"), ("ah", "ah"),
                   ("comp", "esp"), ("comp", "ah"), ("comp", "esp", "ah")):
        add(_shape, *((kind, "transport") for kind in _kinds))
# the core finds no transport SA for a tunnel across families
for _shape in (T4IN4, T6IN6):
    for _inner, _outer in (("esp", "ah"), ("ah", "esp"), ("comp", "esp")):
        add(_shape, (_inner, "tunnel"), (_outer, "transport"))
for _shape in TUNNEL:
    for _outer in ("esp", "ah"):
        add(_shape, ("esp", "tunnel"), (_outer, "tunnel"))

ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
