#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""AH: modes x families x algorithms x ESN x alignment x options and extension
headers (RFC 4302 2.6, 3.3.3.1, appendix A).

The peer is lib/peer.py, and Scapy for a second opinion.  Each case sends both
ways.  What routers may change must not matter, what they may not must be seen.
"""

import errno
import os
import socket

from lib import host, impl, ktap, netlabel, packet, xfrm
from lib.line import Rig
from lib.peer import Ah
from lib.shape import BEET, PORT_DUT, PORT_PEER, SPI_IN, SPI_OUT, T4IN4, T6IN6, TRANSPORT, TUNNEL, V4, V6, Shape
from lib.suite import Separate, sha256

SIZES = (1, 333, 1400)
START_ESN, START_32 = 68 << 32 | 0x01020304, 0x7fffff00
ABSENT = ("Function not implemented", "algorithm not found")
IPV6_HOPOPTS, IPV6_RTHDR, IPV6_DSTOPTS = 54, 57, 59
FINAL = {4: "10.99.0.9", 6: "fd99::9"}		# where a source route ends


class RouteRig(Rig):
    """Takes packets with a source route"""

    def start(self, **more):
        super().start(**more)
        for device in ("all", "v0"):
            self.dut.sysctl(f"net.ipv4.conf.{device}.accept_source_route", 1)


RIG = RouteRig()


class Pair:
    """The two SAs of a case, installed."""

    def __init__(self, shape, suite, esn, align4):
        self.shape, self.start = shape, START_ESN if esn else START_32
        flags = "align4" if align4 else ""
        try:
            self.install(suite.words("ah"), esn=esn, start=self.start, flags=flags)
        except host.IpError as error:
            if any(text in str(error) for text in ABSENT):
                raise ktap.Skip("not in this kernel") from error
            raise
        self.out = Ah(suite, SPI_OUT, esn, align4)
        self.back = Ah(suite, SPI_IN, esn, align4)
        self.seq = self.start
        RIG.dut.wire.drain()
        RIG.sockets.drain()

    def install(self, words, **more):
        shape = self.shape
        if shape.mode != "beet":
            RIG.dut.ip(*shape.lines(words, "ah", **more))
            return
        outer = Shape("transport", shape.outer, shape.outer).lines(words, "ah", **more)
        RIG.dut.ip(*outer[:4])
        out = shape.inner_here, shape.inner_there, PORT_DUT, PORT_PEER
        back = shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT
        for dst, spi, ends in ((shape.there, SPI_OUT, out), (shape.here, SPI_IN, back)):
            RIG.dut.xfrm().to_beet(dst, spi, "ah", xfrm.udp_selector(*ends))
        ends = (shape.here, shape.there), (shape.there, shape.here)
        RIG.dut.ip(*(shape.policy(way, host.template(*pair, "ah", "beet"))
                     for way, pair in zip(("out", "in"), ends)))

    def opened(self, data, number):
        """The UDP header and data of a packet that the Dut sent"""
        header, payload, seq = self.out.open(data, self.start)
        ktap.equal(seq, self.start + number, "sequence number")
        if self.shape.mode == "tunnel":
            return self.shape.from_dut(packet.split(header)[1], payload)
        ktap.equal(packet.split(header)[1], packet.UDP, "next header")
        return payload[8:]

    def arrives(self, header=None, data=None, **more):
        """A packet from the peer reaches the Dut's socket"""
        data = data or os.urandom(33)
        self.seq += 1
        next_header, inner = self.shape.to_dut(data)
        RIG.dut.wire.send(self.back.seal(header or self.shape.header(), next_header,
                                         inner, self.seq, **more))
        ktap.equal(RIG.sockets.receive(self.shape), data, "data at the socket")

    def is_forged(self, what, header=None, spoil=None, **more):
        """A packet from the peer fails its ICV; a good one behind it arrives"""
        before = RIG.dut.state(self.shape.here, SPI_IN, "ah").failed
        next_header, inner = self.shape.to_dut(b"forged")
        bad = self.back.seal(header or self.shape.header(), next_header, inner,
                             self.seq + 1, **more)
        RIG.dut.wire.send(spoil(bad) if spoil else bad)
        self.arrives()
        after = RIG.dut.state(self.shape.here, SPI_IN, "ah").failed
        ktap.equal(after - before, 1, f"failures after {what}")


# -- without options ----------------------------------------------------------

def both_ways(shape, suite, esn, align4):
    pair = Pair(shape, suite, esn, align4)
    for number, size in enumerate(SIZES, 1):
        data = os.urandom(size)
        RIG.sockets.send(shape, data)
        sent = RIG.dut.wire.receive(packet.AH)
        shape.check_outer(sent)
        ktap.equal(pair.opened(sent, number), data, "data on the wire")
    pair.is_forged("a spoilt ICV", flip_icv=True)
    pair.is_forged("another number", hashed_seq=pair.seq + 2)
    if esn:
        for wrong in (1 << 32, -1 << 32, -68 << 32):
            pair.is_forged("another high half", hashed_seq=pair.seq + 1 + wrong)
    for size in SIZES:
        pair.arrives(data=os.urandom(size))
    state = RIG.dut.state(shape.here, SPI_IN, "ah")
    ktap.equal((state.packets, state.seq), (pair.seq - pair.start, pair.seq),
               "packets and last number of the inbound state")


def add_plain():
    alignments = {4: (False, True), 6: (False,)}
    for shape in (*TRANSPORT, *TUNNEL):
        for esn in (False, True):
            for align4 in alignments[shape.outer]:
                add_case("hmac(sha256)", 128, shape, esn, align4)
    for auth, bits in (("hmac(md5)", 96), ("hmac(md5)", 128), ("hmac(sha1)", 96),
                       ("hmac(sha1)", 160), ("hmac(sha256)", 96),
                       ("hmac(sha256)", 256), ("hmac(sha384)", 192),
                       ("hmac(sha384)", 384), ("hmac(sha512)", 256),
                       ("hmac(sha512)", 512), ("hmac(rmd160)", 96),
                       ("hmac(rmd160)", 160), ("xcbc(aes)", 96), ("cmac(aes)", 96),
                       ("cmac(aes)", 128), ("hmac(sm3)", 256)):
        for shape, esn, align4 in ((V4, True, True), (T4IN4, False, False),
                                   (V6, True, False), (T6IN6, False, False)):
            add_case(auth, bits, shape, esn, align4)


def beet(shape):
    if impl.INTREE and (shape.outer, shape.inner) == (6, 4):
        raise ktap.Skip("in-tree writes behind the end of the packet's buffer")
    both_ways(shape, sha256(), True, False)


def add_beet():
    for shape in BEET:
        ktap.add(f"{shape}, ESN", beet, shape, intree_fails=(
            "AH is written over the payload" if str(shape) == "beet 4in4" else None))


def name_of(shape, esn, align4):
    return (f"{shape}, {'ESN' if esn else '32 bits'}"
            f"{', align4' if align4 else ''}")


def add_case(auth, bits, shape, esn, align4):
    ktap.add(f"{auth}/{bits}, {name_of(shape, esn, align4)}", both_ways, shape,
             Separate(auth=auth, bits=bits), esn, align4)


# -- what routers may change, and what not: fixed header ------------------------

def header4(options=b"", **fields):
    src, dst = fields.pop("src", V4.there), fields.pop("dst", V4.here)
    return packet.ip4(src, dst, packet.NONE, b"", options=options, **fields)


def header6(chain=b"", first=packet.NONE, **fields):
    src, dst = fields.pop("src", V6.there), fields.pop("dst", V6.here)
    return packet.ip6(src, dst, first, chain, **fields)


def flip(at):
    """Spoils one bit at an offset from the AH header"""
    def spoil(data):
        where = len(packet.split(data)[0]) + at
        return data[:where] + bytes([data[where] ^ 1]) + data[where + 1:]
    return spoil


def in_transit(shape, mutable, immutable, esn):
    pair = Pair(shape, sha256(), esn, False)
    build = header4 if shape.outer == 4 else header6
    for fields in mutable:
        pair.arrives(build(**fields), hashed_header=build())
    for fields in immutable:
        pair.is_forged(f"a change in {fields}", hashed_header=build(**fields))
    pair.is_forged("a change in the next header", spoil=flip(0))
    pair.is_forged("a change in the reserved octets", spoil=flip(2))
    pair.is_forged("a change in the ICV's padding", spoil=flip(31))
    pair.is_forged("a change in the payload", spoil=flip(32))


def padding_is_empty(shape):
    """What pads the ICV must not be whatever memory held before"""
    pair = Pair(shape, sha256(), True, False)
    for number in range(1, 21):
        RIG.sockets.send(shape, bytes(333))
        pair.opened(RIG.dut.wire.receive(packet.AH), number)
        ktap.equal(pair.out.padding, bytes(4), "padding of the ICV")


def add_in_transit():
    for shape in TRANSPORT:
        ktap.add(f"empty ICV padding, {shape}", padding_is_empty, shape,
                 intree_fails="the octets behind the ICV are memory not written")
    mutable = {4: [{"ttl": 1}, {"tos": 0xff}, {"fragment": 0},
                   {"ttl": 3, "tos": 3, "fragment": 0}],
               6: [{"hops": 1}, {"tclass": 0xff}, {"flow": 0xfffff}]}
    immutable = {4: [{"src": "10.0.0.3"}, {"dst": "10.0.0.3"}, {"ident": 7}],
                 6: [{"src": "fd00::3"}, {"dst": "fd00::3"}]}
    for shape in TRANSPORT:
        for esn in (False, True):
            ktap.add(f"changes on the way, {name_of(shape, esn, False)}", in_transit,
                     shape, mutable[shape.outer], immutable[shape.outer], esn)


# -- IPv4 options ---------------------------------------------------------------

def routed(kind, pointer, address):
    return bytes([kind, 7, pointer]) + packet.address(address) + b"\0"


# name: (what the socket sets, what the peer hashes, the same changed on its way,
#	 a forbidden change)
RR_EMPTY = bytes([7, 11, 4]) + bytes(8) + b"\0"
RR_ONE = bytes([7, 11, 8, 10, 8, 8, 8]) + bytes(4) + b"\0"
TS_EMPTY = bytes([68, 12, 5, 0]) + bytes(8)
TS_ONE = bytes([68, 12, 9, 0, 1, 2, 3, 4]) + bytes(4)
SECURITY = bytes([130, 11, 0xf1, 0x35, 0, 0, 0, 0, 0, 0, 0, 0])
SECURED = SECURITY[:11] + b"\1"		# more options follow
ALERT = bytes([148, 4, 0, 0])
UNKNOWN = bytes([30, 4, 1, 2])
OPTIONS = {
    "NOP": (b"\1\1\1\1",) * 2 + (None, b"\1\1\1\0"),
    "NOP, EOL": (b"\1\1\1\0",) * 2 + (None, None),
    "router alert": (ALERT, ALERT, None, ALERT[:3] + b"\1"),
    "security": (SECURITY, SECURITY, None, SECURITY[:3] + b"\x36" + SECURITY[4:]),
    "extended security": (b"\x85\4\1\2", b"\x85\4\1\2", None, b"\x85\4\1\3"),
    "sender directed": (b"\x95\4\1\2", b"\x95\4\1\2", None, b"\x95\4\1\3"),
    "record route": (RR_EMPTY, RR_EMPTY, RR_ONE, None),
    "timestamp": (TS_EMPTY, TS_EMPTY, TS_ONE, None),
    "an unknown one": (UNKNOWN, UNKNOWN, UNKNOWN[:3] + b"\7", None),
    "security and record route": (
        SECURED + RR_EMPTY, SECURED + RR_EMPTY, SECURED + RR_ONE,
        SECURED[:2] + b"\0" + SECURED[3:] + RR_EMPTY),
}


def dut_sends(pair, level, option, value, to):
    """One datagram with a socket option set; True when its data came out"""
    sock = RIG.sockets.plain[pair.shape.here]
    data = os.urandom(333)
    sock.setsockopt(level, option, value)
    try:
        sock.sendto(data, (to, PORT_PEER))
    finally:
        sock.setsockopt(level, option, b"")
    sent = RIG.dut.wire.receive(packet.AH)
    ktap.equal(pair.opened(sent, 1), data, "data on the wire")
    return packet.split(sent)[0]


def with_option4(row, esn, align4):
    sets, hashed, changed, forbidden = row
    pair = Pair(V4, sha256(), esn, align4)
    header = dut_sends(pair, socket.IPPROTO_IP, socket.IP_OPTIONS, sets, V4.there)
    ktap.equal(header[20:21], sets[:1], "first option on the wire")
    pair.arrives(header4(hashed))
    if changed:
        pair.arrives(header4(changed), hashed_header=header4(hashed))
    if forbidden:
        pair.is_forged("a change in the option", header4(forbidden),
                       hashed_header=header4(hashed))
    pair.is_forged("an option that was not there", header4(SECURITY),
                   hashed_header=header4(bytes(12)))


def with_route4(kind, esn, align4):
    """The sender hashes the final destination, which the receiver is."""
    pair = Pair(V4, sha256(), esn, align4)
    # the socket's route is the first hop; the kernel puts the destination last
    header = dut_sends(pair, socket.IPPROTO_IP, socket.IP_OPTIONS,
                       routed(kind, 4, V4.there), FINAL[4])
    ktap.equal((packet.destination(header), header[20:27]),
               (V4.there, routed(kind, 4, FINAL[4])[:7]), "destination and route")
    pair.arrives(header4(routed(kind, 8, "10.0.0.9")))
    started = header4(routed(kind, 4, V4.here), dst="10.0.0.9")
    pair.arrives(header4(routed(kind, 8, "10.0.0.9")), hashed_header=started)
    pair.is_forged("another final destination",
                   header4(routed(kind, 8, "10.0.0.9")),
                   hashed_header=header4(routed(kind, 4, FINAL[4])))


# type, length, domain of interpretation; a tag: type, length, 0, level
CIPSO = bytes([134, 10, 0, 0, 0, 7, 1, 4, 0, 5, 1, 0])


def with_cipso(esn, align4):
    """Immutable (RFC 4302 A1)"""
    error = netlabel.add_doi(7)
    if error and error != errno.ENOENT:
        ktap.fail(f"cannot add the domain of interpretation: {os.strerror(error)}")
    with_option4((CIPSO, CIPSO, None, CIPSO[:9] + b"\6" + CIPSO[10:]), esn, align4)


def add_options4():
    for esn, align4 in ((False, False), (True, True)):
        tail = name_of(V4, esn, align4)
        for name, row in OPTIONS.items():
            ktap.add(f"option {name}, {tail}", with_option4, row, esn, align4)
        ktap.add(f"option CIPSO, {tail}", with_cipso, esn, align4)
        for name, kind in (("loose", 131), ("strict", 137)):
            ktap.add(f"option {name} source route, {tail}", with_route4, kind, esn,
                     align4)


# -- IPv6 extension headers -------------------------------------------------------

FIXED, MUTABLE = b"\x1e\4\1\2\3\4", b"\x3e\4\1\2\3\4"
OPTION6 = {
    "immutable option": (FIXED, None, b"\x1e\4\1\2\3\5"),
    "mutable option": (MUTABLE, b"\x3e\4\7\7\7\7", b"\x1e\4\1\2\3\4"),
    "both": (FIXED + MUTABLE, FIXED + b"\x3e\4\7\7\7\7", b"\x1e\4\0\2\3\4" + MUTABLE),
    "router alert": (b"\5\2\0\0", None, b"\5\2\0\1"),
}


def with_option6(kind, option, row, esn):
    sets, changed, forbidden = row

    def chain(options):
        return header6(packet.ext6(packet.NONE, options), kind)

    pair = Pair(V6, sha256(), esn, False)
    header = dut_sends(pair, socket.IPPROTO_IPV6, option, packet.ext6(0, sets),
                       V6.there)
    ktap.equal((header[6], header[42:42 + len(sets)]), (kind, sets),
               "extension header on the wire")
    pair.arrives(chain(sets))
    if changed:
        pair.arrives(chain(changed), hashed_header=chain(sets))
    pair.is_forged("a change in the header", chain(forbidden),
                   hashed_header=chain(sets))


def with_route6(esn):
    """Type 2 on its way out, type 0 all done on its way in"""
    pair = Pair(V6, sha256(), esn, False)
    route = bytes([0, 2, 2, 1]) + bytes(4) + packet.address(V6.there)
    # the destination of the SA is the end of the route
    RIG.dut.ip(host.state_line(V6.here, FINAL[6], SPI_OUT,
                               pair.out.suite.words("ah"), "ah", esn=esn,
                               oseq=pair.start),
               host.policy_line("out", V6.here, f"{FINAL[6]} proto udp",
                                host.template(proto="ah")))
    header = dut_sends(pair, socket.IPPROTO_IPV6, IPV6_RTHDR, route, FINAL[6])
    ktap.equal((packet.destination(header), packet.text_of(header[48:64])),
               (V6.there, FINAL[6]), "destination and route")

    def chain(left, dst, *hops):
        return header6(bytes([packet.NONE, 2 * len(hops), 0, left]) + bytes(4) +
                       b"".join(map(packet.address, hops)), packet.ROUTING, dst=dst)

    done = chain(0, V6.here, "fd00::8", "fd00::9")
    pair.arrives(done)
    pair.arrives(done, hashed_header=chain(2, "fd00::8", "fd00::9", V6.here))
    pair.is_forged("another route", done,
                   hashed_header=chain(0, V6.here, "fd00::8", "fd00::a"))
    pair.is_forged("another final destination", done,
                   hashed_header=chain(1, "fd00::9", "fd00::8", "fd00::a"))


HOME, HOME_OPTION = "fd00::40", b"\0\0\0\0\xc9\x10"


def with_home(esn):
    """AH takes the home address for the source (RFC 6275 11.3.2)"""
    pair = Pair(V6, sha256(), esn, False)
    home = HOME_OPTION + packet.address(HOME)
    header = dut_sends(pair, socket.IPPROTO_IPV6, IPV6_DSTOPTS,
                       packet.ext6(0, home), V6.there)
    ktap.equal((header[6], header[46:48]), (packet.DSTOPTS, b"\xc9\x10"),
               "home address on the wire")


def at_home(esn):
    """A packet of a peer who is away: the option holds his home address, the header
    his care-of address, and the ICV covers the two the other way round."""
    pair = Pair(V6, sha256(), esn, False)
    template = host.template(HOME, V6.here, "hao", "ro", 0, "use")
    RIG.dut.ip(f"xfrm state add src {HOME} dst {V6.here} proto hao mode ro coa {V6.there}",
               host.policy_line("in", HOME, f"{V6.here} proto udp",
                                host.template(proto="ah"), template))
    segment = packet.udp(HOME, V6.here, PORT_PEER, PORT_DUT, b"from home")

    def chain(address, src=V6.there):
        return header6(packet.ext6(packet.NONE, HOME_OPTION + packet.address(address)),
                       packet.DSTOPTS, src=src)

    def sends(seq, **hashed):
        RIG.dut.wire.send(pair.back.seal(chain(HOME), packet.UDP, segment, seq, **hashed))

    sends(pair.start + 1)
    ktap.equal(RIG.sockets.receive(V6), b"from home", "data at the socket")
    sends(pair.start + 2, hashed_header=chain("fd00::41"))
    sends(pair.start + 2, hashed_header=chain(HOME, "fd00::3"))
    sends(pair.start + 2, arrived=True)
    ktap.wait_for(lambda: RIG.dut.state(V6.here, SPI_IN, "ah").failed == 3,
                  "failures of three with other addresses")
    sends(pair.start + 2)
    ktap.equal(RIG.sockets.receive(V6), b"from home", "data at the socket")


def add_extensions6():
    for esn in (False, True):
        tail = name_of(V6, esn, False)
        for place, kind, option in (
                ("hop-by-hop", packet.HOPOPTS, IPV6_HOPOPTS),
                ("destination", packet.DSTOPTS, IPV6_DSTOPTS)):
            for name, row in OPTION6.items():
                if place == "hop-by-hop" or name != "router alert":
                    ktap.add(f"{place} {name}, {tail}", with_option6, kind, option,
                             row, esn)
        ktap.add(f"routing header, {tail}", with_route6, esn)
        ktap.add(f"home address, {tail}", with_home, esn)
        ktap.add(f"home address of the peer, {tail}", at_home, esn)


# -- a second opinion -------------------------------------------------------------

def scapy_sa(shape, suite, spi, esn):
    from scapy.layers.ipsec import AH, SecurityAssociation

    return SecurityAssociation(AH, spi=spi, auth_algo="SHA2-256-128",
                               auth_key=suite.auth_key, esn_en=esn,
                               esn=START_ESN >> 32)


def with_scapy(shape, esn, align4):
    import scapy.layers.ipsec		# before IP: it binds AH to it
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

    del scapy
    kind = IP if shape.outer == 4 else IPv6
    suite = sha256()
    pair = Pair(shape, suite, esn, align4)
    data = os.urandom(333)
    RIG.sockets.send(shape, data)
    sent = kind(RIG.dut.wire.receive(packet.AH))
    opened = bytes(scapy_sa(shape, suite, SPI_OUT, esn).decrypt(sent))
    ktap.equal(packet.split(opened)[2][8:], data, "what Scapy verifies")
    _, segment = shape.to_dut(data)
    plain = kind(packet.ip(shape.there, shape.here, packet.UDP, segment))
    sealed = scapy_sa(shape, suite, SPI_IN, esn).encrypt(
        plain, seq_num=pair.start + 1 & 0xffffffff)
    RIG.dut.wire.send(bytes(sealed))
    ktap.equal(RIG.sockets.receive(shape), data, "data of Scapy's packet")


def add_scapy():
    for shape, align4 in ((V4, True), (V6, False)):
        for esn in (False, True):
            ktap.add(f"Scapy: {name_of(shape, esn, align4)}", with_scapy, shape,
                     esn, align4)


add_plain()
add_beet()
add_in_transit()
add_options4()
add_extensions6()
add_scapy()
ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
