#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packets that an attacker would send, and the books afterwards.

What comes from outside is changed in every field, cut, split, and chained; what
comes from a peer with the key has a valid ICV and lies about everything inside.
After each batch

	packets that reached an SA's protocol = accepted + dropped by named reason
	packets that IP saw + those the SA gave it = delivered + dropped by IP's reasons

hold exactly: accepted is what the SA's lifetime counts, the reasons are those of
/proc/net/xfrm_stat, and those of the module explain its share of them.  At the
end of each case a good packet still arrives.

One half of each batch comes by GRO, which looks at a packet before IP does; one
packet in eight lies in pages, as NICs deliver them, and one in eight, but of AH over
IPv6, comes in fragments, which IP hands on as a list.  The seed also chooses which SAs have ESN,
their algorithms, which of those that a peer lies in are in UDP, and the modes and
families of half of them.

	IPSEC_PACKETS	random packets per case (default 300; 60 with IPSEC_SHORT)
	IPSEC_SEED	repeats a run, the names of its cases too; it is printed
"""

import itertools
import os
import random
import re
import socket
import struct
import time
import zlib

from lib import host, impl, ktap, packet, pages
from lib.line import OWN, UNASKED, Line, Rig
from lib.peer import Ah, Esp
from lib.shape import BEET, SPI_IN, T4IN4, T6IN6, TRANSPORT, TUNNEL, all_of
from lib.suite import Separate, cbc, chacha, gcm, sha256

COUNT = int(os.environ.get("IPSEC_PACKETS") or
            (60 if os.environ.get("IPSEC_SHORT") else 300))
SEED = int(os.environ.get("IPSEC_SEED") or random.randrange(1 << 32))
BATCH = 200		# a veth's backlog holds 1000
START = 68 << 32 | 100000
FRAGMENTS = 1 << 28	# octets that may wait for others
DEPTH = 6		# XFRM_MAX_DEPTH, transformations of one packet
UDP_GRO, SOL_PACKET, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE = 104, 263, 23, 33
# since 6.7 a socket's GRO opens ESP in UDP; before, it would join what it should not
GRO_IN_UDP = host.RELEASE >= (6, 7)
# What IP says of fragments that have waited too long, of options, and of a protocol or an address
# that it lacks
TIMES_OUT = {(packet.ICMP, 11), (packet.ICMP6, 3)}
MISUNDERSTOOD = {(packet.ICMP, 12), (packet.ICMP6, 4)}
UNKNOWN = {(packet.ICMP, 3), (packet.ICMP6, 1), (packet.ICMP6, 4)}
PLAIN = [*TRANSPORT, T4IN4, T6IN6]
# of IPv4: fragments of earlier cases may still wait; those of what was sent whole have 1
IDENT = itertools.cycle(range(2, 1 << 16))

# What xfrm_input() drops before it books the packet for the SA
REFUSED = {"XfrmInError", "XfrmInBufferError", "XfrmInHdrError", "XfrmInNoStates",
           "XfrmInStateProtoError", "XfrmInStateSeqError", "XfrmInStateExpired",
           "XfrmInStateMismatch", "XfrmInStateInvalid"}
# What of it is the module's word for a protocol error
PROTO = {"RxShort", "RxBlock", "RxForged", "RxPadLength", "RxPadding", "RxAhLength",
         "RxHeader", "RxCrypto", "RxNoMemory"}
# What ends behind the booking, before IP sees it
BEHIND = {"RxDummy", "XfrmInStateModeError", "RxFlowFull", "RxDevice"}
POLICY = {"XfrmInNoPols", "XfrmInTmplMismatch", "XfrmInPolBlock", "XfrmInPolError"}
# How a packet ends in IP: a fragment does when it is kept, and what is made of them begins
ENDS = ("InDelivers", "InHdrErrors", "InTruncatedPkts", "InAddrErrors", "InNoRoutes", "InDiscards",
        "InUnknownProtos", "ReasmReqds", "Martians")


class GroRig(Rig):
    """One whose GRO is switched, with a second way to send by: from pages."""

    def start(self, **more):
        super().start(**more)
        with self.dut.outside():
            self.pages = pages.Pages("wire", self.dut.wire.header, 64)
        with self.dut.inside():
            self.control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # or the second answer would not be seen
        self.dut.sysctl("net.ipv4.icmp_ratelimit", 0)
        self.dut.sysctl("net.ipv6.icmp.ratelimit", 0)
        # fragments whose others never come wait half a minute, and leave no room for those of what is sent
        self.dut.sysctl("net.ipv4.ipfrag_high_thresh", FRAGMENTS)
        self.dut.sysctl("net.ipv6.ip6frag_high_thresh", FRAGMENTS)
        # veth uses GRO for what comes from an end without TSO only
        host.ethtool(self.dut.far, "wire", "tso", "off")
        for sock in self.sockets.encap:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, GRO_IN_UDP)
            sock.setsockopt(socket.IPPROTO_UDP, host.UDP_ENCAP, host.ESPINUDP)
        # or the ring's packets would leave no room for answers
        self.dut.wire.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.dut.wire.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)

    def gro(self, on):
        host.set_gro(self.control, "v0", on)

    def stop(self):
        self.control.close()
        self.pages.close()
        super().stop()


RIG = GroRig()
SENT = {"cases": 0, "packets": 0, "spread": 0, "seconds": 0.0}


def dice(*what):
    """Random numbers of one case, whatever ran before it"""
    return random.Random(f"{SEED} {what}")


def rolled(kind):
    """Two shapes, one of each outer family, for ESP and AH; ip has no BEET for AH."""
    pool = TUNNEL if kind == "ah" else TUNNEL + BEET
    return [dice("shape", kind, outer).choice([shape for shape in pool if shape.outer == outer])
            for outer in (4, 6)]


SHAPES = {kind: [*TRANSPORT, *rolled(kind)] for kind in ("esp", "ah")}


def null():
    return Separate()


def opened(what, kind, shape, suite=None, encap=False):
    """(Line, dice) of this case; the first throw says whether its SAs have ESN."""
    rng = dice(what, kind, str(shape))
    esn = rng.random() < .7
    suite = suite or (sha256 if kind == "ah" else rng.choice((gcm, cbc, chacha, null)))
    ktap.say(f"{suite.__name__}{', ESN' if esn else ''}{', in UDP' if encap else ''}")
    RIG.gro(False)
    on = Line(RIG, shape, suite(), kind, esn, 4096, START if esn else START & 0xffffffff, encap)
    on.last = START
    return on, rng


def trusted(what, kind, shape, suite=None):
    """opened() for a peer that lies, in UDP at times.  Policies let pass whatever comes, by its SA
    or not, so that what is missing afterwards is not theirs."""
    encap = kind == "esp" and dice("in UDP", what, str(shape)).random() < .4
    if encap and shape.outer == 6:
        # under the others some would be eaten()
        suite = suite or cbc
        encap = suite is cbc
    on, rng = opened(what, kind, shape, suite, encap)
    template = host.template(shape.there, shape.here, kind, shape.mode, level="use")
    on.dut.ip(*(host.policy_line("in", any_, any_, template, more="priority 1")
                for version, any_ in ((4, "0.0.0.0/0"), (6, "::/0"))
                # a template of transport mode has to be of the policy's family
                if shape.mode != "transport" or version == shape.outer))
    return on, rng


# -- the books ---------------------------------------------------------------

def ip_figures():
    """{name: number} of both families; the names of IPv4's begin with Ip4"""
    found = {}
    with RIG.dut.inside():
        for name in ("snmp", "netstat"):
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                rows = [row.split()[1:] for row in file if row.startswith(("Ip:", "IpExt:"))]
            for names, values in zip(rows[::2], rows[1::2]):
                found.update((f"Ip4{name}", int(value)) for name, value in zip(names, values))
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            found.update((name, int(value)) for name, value in map(str.split, file) if name.startswith("Ip6"))
        with open("/proc/thread-self/net/stat/rt_cache", encoding="ascii") as file:
            names, *cpus = map(str.split, file)
        found["Ip4Martians"] = sum(int(cpu[names.index(f"in_martian_{end}")], 16)
                                   for cpu in cpus for end in ("src", "dst"))
        with open("/proc/thread-self/net/dev", encoding="ascii") as file:
            found["Ip4Looped"] = next(int(row.split()[2]) for row in file if row.split()[0] == "lo:")
    return found


def of_ip(figures, *names):
    return sum(figures.get(f"Ip{version}{name}", 0) for version in (4, 6) for name in names)


def books(on):
    """IP's first: what comes to an end meanwhile is missing, and none is there too early."""
    return {**ip_figures(), **on.figures()}


def total(changed, names):
    return sum(changed.get(name, 0) for name in names)


def own_words(changed):
    """None when the module's reasons explain the core's counters, else why not"""
    if impl.INTREE:
        return None
    named = total(changed, PROTO)
    seen = changed.get("XfrmInStateProtoError", 0)
    if named != seen:
        return f"{seen} protocol errors, {named} of them named"
    forged = changed.get("RxForged", 0)
    if forged != changed.get("failed", 0):
        return f"{forged} forged, {changed.get('failed', 0)} booked for the SA"
    return None


class Batch:
    """What is sent together, and what has to come of it

    each: how often every packet enters a protocol, None where nobody knows.
    by_gro: whether it takes them from IP if it ever does, None where that depends on the packet.
    between: they end between two SAs, one of which has counted them.
    loose: IP books some of them twice, or drops them without a word.
    """

    def __init__(self, on, gro, each=1, by_gro=None, between=False, loose=False):
        self.on, self.each, self.between, self.loose = on, each, between, loose
        self.opens = gro and on.kind == "esp" and (not on.encap or GRO_IN_UDP)
        # in-tree's takes others
        self.by_gro = (None if impl.INTREE else by_gro) if self.opens else False
        self.packets, self.frames, self.pieces = 0, 0, 0
        self.before = books(on)

    def send(self, packets):
        """No more in pages than the ring holds: one that comes round may still be looked at."""
        left = RIG.pages.frames
        for data in packets:
            # it follows from the packet, so that it comes the same way when it comes alone
            rng = random.Random(SEED ^ zlib.crc32(data))
            pieces = fragments(data, rng) if self.each else [data]
            for piece in pieces:
                left -= put(piece, place(rng) if left else None, self.on.shape.outer)
            self.packets += 1
            self.frames += len(pieces)
            self.pieces += len(pieces) if len(pieces) > 1 else 0

    def good(self):
        """One more, right of everything, behind the others"""
        good(self.on)
        self.frames += self.by_gro is None or not self.opens

    def seen(self, reached):
        """(least, most) frames that IP has seen"""
        if self.loose:
            return self.frames - self.packets, self.frames + self.packets
        if self.by_gro is None:
            # it looks for the SA before it takes one
            return self.frames - reached, self.frames
        return (self.pieces if self.by_gro else self.frames,) * 2

    def wrong(self, changed):
        """None when the books are right, else what is wrong"""
        accepted = changed.get("packets", 0)
        reached = total(changed, REFUSED) + accepted
        if self.each and reached != self.each * self.packets:
            return f"{self.each * self.packets} packets in, {reached} accounted for"
        given = accepted - total(changed, BEHIND) - self.between * self.packets
        # what IP has to say to itself goes by lo, when a peer lies about his address
        ended = of_ip(changed, *ENDS) - of_ip(changed, "ReasmOKs", "Looped")
        least, most = self.seen(reached)
        if not least <= ended - given <= most:
            return f"IP saw {least} to {most} and was given {given}, but {ended} have ended"
        return own_words(changed)

    def settled(self):
        """(what has changed, what is wrong with it)"""
        deadline = time.monotonic() + 20
        while True:
            changed = host.delta(self.before, books(self.on))
            wrong = self.wrong(changed)
            if not wrong or time.monotonic() > deadline:
                return changed, wrong
            time.sleep(0.01)


def place(rng):
    """(octets in the linear part, octets in the first page) of one packet in eight, None of
    the others"""
    if rng.randrange(8):
        return None
    return rng.choice((0, 20, 40, rng.randrange(80))), rng.choice(
        (1, 2, 3, 8, rng.randrange(1, 100), pages.PAGE))


def fragments(data, rng):
    """One packet in eight in some, the others whole"""
    _, proto, rest = packet.split(data)
    size = len(rest)
    # of what IPv6 takes for an extension header, all has to be in the first
    if rng.randrange(8) or size <= 16 or (packet.version(data), proto) == (6, packet.AH):
        return [data]
    most = (size - 1) // 8
    return packet.fragments(data, sorted(8 * n for n in rng.sample(
        range(1, most + 1), min(most, rng.choice((1, 1, 2, 5))))))


def put(data, where, version):
    """Is it one that went into pages?"""
    if where:
        RIG.pages.send(data, *where, version)
    else:
        RIG.dut.wire.send(data, version)
    return bool(where)


def culprit(on, packets, gro, **what):
    """Which of them does it when it comes alone"""
    for data in packets:
        batch = Batch(on, gro, **what)
        batch.send([data])
        changed, wrong = batch.settled()
        if wrong:
            return f"{wrong}: {changed} for {data.hex()}"
    return "none of them does it alone"


def fire(on, packets, **what):
    """Sends them; what has changed but for IP, once the books are right.  what: of the Batch"""
    found, start = {}, time.monotonic()
    # of a few, chance may have left none
    size = min(BATCH, (len(packets) + 1) // 2) or 1
    for at in range(0, len(packets), size):
        some, gro = packets[at:at + size], at // size % 2
        RIG.gro(gro)
        batch = Batch(on, gro, **what)
        batch.send(some)
        if not batch.each:
            batch.good()
        changed, wrong = batch.settled()
        if wrong:
            ktap.say(f"packets {at} to {at + len(some) - 1} of this case, "
                     f"{'with' if gro else 'without'} GRO: {changed}")
            ktap.fail(f"{wrong}; seed {SEED}; {culprit(on, some, gro, **what) if batch.each else ''}")
        RIG.pages.check()
        changed["packets"] = changed.get("packets", 0) - (not batch.each)
        for name, n in changed.items():
            if n and name[:3] not in ("Ip4", "Ip6"):
                found[name] = found.get(name, 0) + n
        RIG.sockets.drain()
    SENT["packets"] += len(packets)
    SENT["spread"] += found.get("RxSpread", 0)
    SENT["seconds"] += time.monotonic() - start
    return found


def report(packets, changed):
    ktap.say(f"{len(packets)} packets: " + ", ".join(
        f"{n} {name}" for name, n in sorted(changed.items()) if name != "bytes"))


def good(on):
    """A packet right of everything so far arrives."""
    data = b"good %d" % next_seq(on)
    RIG.dut.wire.send(on.seal(on.last, data))
    while RIG.sockets.receive(on.shape) != data:
        pass


def next_seq(on):
    on.last += 1
    return on.last


def iv(on, rng):
    return {} if on.kind == "ah" else {"iv": rng.randbytes(on.peer.suite.ivlen)}


def seal(on, next_header, inner, seq, **more):
    """A packet to the Dut whose fragments are not taken for another's; AH hashes what tells them
    apart in IPv4."""
    if on.kind == "ah":
        return on.peer.seal(numbered(on.shape.header()), next_header, inner, seq, **more)
    return numbered(on.wrap(on.peer.seal(inner, next_header, seq, **more)))


def numbered(data):
    if packet.version(data) == 6:
        return data
    return packet.ip4_refresh(data[:4] + struct.pack("!H", next(IDENT)) + data[6:])


# -- without the key ---------------------------------------------------------

def mutated(data, rng):
    """data with a few of its octets changed, moved, cut off or doubled"""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data)) if data else 0
        how = rng.randrange(6)
        if how == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1 and data:
            data[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)))
        elif how == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16, 400)))
        elif how == 3:
            del data[at:at + rng.choice((1, 2, 4, 8, 16))]
        elif how == 4:
            del data[at:]
        else:
            data[at:at] = data[at:at + 40]
    return bytes(data)


def unanswered(also=()):
    """Nothing has come back on the wire but what IP says of fragments; also: (protocol, type)
    of more of what it may say."""
    RIG.dut.wire.unanswered({*TIMES_OUT, *also})


def outsider(kind, shape):
    """Everything behind the IP header changed at random"""
    on, rng = opened("outsider", kind, shape)
    packets = []
    while len(packets) < COUNT:
        header, proto, rest = packet.split(seal(
            on, *on.shape.to_dut(rng.randbytes(rng.choice((0, 1, 40, 900)))), START + 1 + rng.randrange(64)))
        changed = mutated(rest, rng)
        # what stays as it is would rightly be accepted
        if changed[:len(rest)] != rest and len(changed) <= 1900:
            packets.append(packet.join(header, proto, changed))
    RIG.dut.wire.drain()
    changed = fire(on, packets)
    ktap.check("packets" not in changed, f"{changed.get('packets')} were accepted")
    unanswered()
    report(packets, changed)
    good(on)


def octets_changed(on, places):
    for at in places:
        for how in range(8):
            data = on.seal(next_seq(on))
            value = (0, 1, 0x7f, 0x80, 0xff, data[at] ^ 1, data[at] ^ 0x80, data[at] + 1 & 0xff)[how]
            if value == data[at]:
                continue
            new = data[:at] + bytes([value]) + data[at + 1:]
            yield new
            if on.shape.outer == 4 and at < 20 and at not in (0, 10, 11):
                yield packet.ip4_refresh(new)


def every_octet(kind, shape):
    """Each octet of the IP header and of the protocol's, one at a time"""
    on, _ = opened("every octet", kind, shape)
    fixed = len(packet.split(on.seal(START + 1))[0])
    RIG.dut.wire.drain()
    changed = fire(on, list(octets_changed(on, range(fixed))), each=None)
    # of IPv4, AH leaves out of the ICV what may change on the way; ESP all of it
    ktap.say(f"IP: {changed}")
    unanswered(MISUNDERSTOOD | UNKNOWN)
    # with a number of its own each, none of them is but a replay
    packets = list(octets_changed(on, range(fixed, fixed + (16 if kind == "esp" else 28))))
    RIG.dut.wire.drain()
    changed = fire(on, packets)
    ktap.check("packets" not in changed, f"{changed.get('packets')} were accepted")
    unanswered()
    report(packets, changed)
    # IV or ICV in any case
    named = {"failed": 8 * 6, "XfrmInNoStates": 4 * 6} if kind == "esp" else {
        "failed": 16 * 6, "XfrmInNoStates": 4 * 6, **({} if impl.INTREE else {"RxAhLength": 6})}
    for name, least in named.items():
        ktap.check(changed.get(name, 0) >= least, f"{changed.get(name, 0)} {name}, at least {least} are due")
    good(on)


def cut(kind, shape):
    on, _ = opened("cut", kind, shape)
    data = on.seal(START + 1, bytes(40))
    header, proto, rest = packet.split(data)
    RIG.dut.wire.drain()
    changed = fire(on, [packet.join(header, proto, rest[:n]) for n in range(len(rest))])
    ktap.check("packets" not in changed, f"{changed.get('packets')} were accepted")
    unanswered()
    changed = fire(on, [data[:n] for n in range(1, len(data))], each=None, by_gro=False)
    ktap.check("packets" not in changed, f"{changed.get('packets')} were accepted")
    unanswered()
    good(on)


def udp_ends():
    """What UDP has dropped, and what has come for IKE"""
    with RIG.dut.inside():
        with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            names, values = (row.split() for row in file if row.startswith("Udp:"))
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            six = dict(map(str.split, file))
    return (int(values[names.index("InErrors")]) + int(six["Udp6InErrors"]) +
            sum(len(all_of(sock)) for sock in RIG.sockets.encap))


def eaten(data):
    """May the core drop it without a word, as one that keeps a mapping alive or one for an SA that
    is shorter in UDP than UDP's header and IP's?  When it comes by GRO, it is not too short."""
    header, _, segment = packet.split(data)
    esp = segment[8:int.from_bytes(segment[4:6], "big")]
    return esp == b"\xff" or (len(esp) > 8 and any(esp[:4]) and len(segment) < len(header) + 8)


def in_udp(shape):
    """ESP in UDP, changed at random and cut off at every octet: some of it is for IKE,
    or keeps a mapping alive (RFC 3948 2.2, 2.3)."""
    on, rng = opened("in UDP", "esp", shape, encap=True)
    packets = []
    while len(packets) < COUNT:
        esp = packet.split(on.seal(START + 1 + rng.randrange(64),
                                   rng.randbytes(rng.choice((0, 1, 40, 900)))))[2][8:]
        changed = mutated(esp, rng)
        # what stays as it is would rightly be accepted
        if changed[:len(esp)] != esp and len(changed) <= 1900:
            packets.append(on.wrap(changed))
    packets += [on.wrap(esp[:n]) for n in range(min(len(esp), 100))]
    # and lengths of UDP that lie
    whole = packet.split(on.seal(START + 100))
    for length in (0, 1, 7, 8, 9, 16, len(whole[2]) - 1, len(whole[2]) + 1, 65535):
        packets.append(packet.join(*whole[:2], whole[2][:4] + struct.pack("!HH", length, 0) +
                                   whole[2][8:]))
    RIG.dut.wire.drain()
    short = list(filter(eaten, packets))
    exact = [data for data in packets if data not in short]
    for some, least in (exact, len(exact)), (short, 0):
        udp_ends()	# nothing waits any more
        before = udp_ends()
        changed = fire(on, some, each=None)
        ktap.check("packets" not in changed, f"{changed.get('packets')} were accepted")
        ended = total(changed, REFUSED) + udp_ends() - before
        ktap.check(least <= ended <= len(some), f"{len(some)} sent, {ended} were ESP, IKE and errors")
        report(some, changed)
    unanswered()
    good(on)


# IPv6 may book a packet twice that has these: where it fails, and for the lie; or drop it without
# a word, where it has no segment routing
TWICE = {packet.HOPOPTS, packet.ROUTING, packet.FRAGMENT}


def options4(rng):
    """IPv4 options, some of them as they should be"""
    text = b""
    while len(text) < rng.choice((4, 8, 20, 40)):
        kind = rng.choice((0, 1, 7, 68, 130, 131, 133, 134, 137, 148, 149,
                           rng.randrange(256)))
        size = rng.choice((0, 1, 2, 3, 4, 7, 11, 40, 255))
        text += bytes([kind, size]) + rng.randbytes(max(0, min(size, 38) - 2))
    text = text[:40]
    return text + bytes(-len(text) % 4)


def chain6(rng, last):
    """([next header, ...] from the last, extension headers), some of them as they should be"""
    text, kind, kinds = b"", last, []
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        size = rng.choice((8, 8, 16, 24, 40))
        body = bytearray(bytes([kind, size // 8 - 1]) + rng.randbytes(size - 2))
        here = rng.choice((packet.HOPOPTS, packet.DSTOPTS, packet.ROUTING, packet.FRAGMENT))
        if here == packet.ROUTING and rng.randrange(2):
            body[2:4] = bytes([rng.choice((0, 2, 4)), rng.choice((0, 0, 1, 2))])
        elif here == packet.FRAGMENT:
            body = bytes([kind, 0, 0, rng.choice((0, 0, 1))]) + rng.randbytes(4)
        elif here != packet.ROUTING and rng.randrange(2):
            body[2:4] = bytes([rng.choice((1, 5, 0x3e, 0xc9)), size - 4])
        text, kind = bytes(body) + text, here
        kinds.append(here)
    return kinds, text


def options(kind, shape):
    """IP options and extension headers in front of the protocol"""
    on, rng = opened("options", kind, shape)
    RIG.dut.sysctl("net.ipv4.conf.all.accept_source_route", 1)
    RIG.dut.sysctl("net.ipv4.conf.v0.accept_source_route", 1)
    exact, loose = [], []
    while len(exact) + len(loose) < COUNT:
        # a number of its own: AH may find nothing wrong with some
        proto, rest = packet.split(on.seal(next_seq(on), **iv(on, rng)))[1:]
        if shape.outer == 4:
            some = options4(rng)
            # a source route may lead elsewhere, where IP drops it without a word
            (loose if {131, 137} & set(some) else exact).append(
                packet.ip4(shape.there, shape.here, proto, rest, options=some))
        else:
            kinds, chain = chain6(rng, proto)
            (loose if TWICE & set(kinds) else exact).append(
                packet.ip6(shape.there, shape.here, kinds[-1], chain + rest))
    RIG.dut.wire.drain()
    for packets in (exact, loose):
        # not such as GRO opens
        report(packets, fire(on, packets, each=None, by_gro=False, loose=packets is loose))
    unanswered(MISUNDERSTOOD)
    good(on)


# -- ICMP errors about what was sent (RFC 4301 8.2) -----------------------------

def path_mtu(on):
    """What the Dut has learnt of the path to the peer, or 0"""
    found = re.search(r" mtu (?:lock )?(\d+)", RIG.dut.ip(f"route get {on.shape.there}"))
    return int(found[1]) if found else 0


def forget(on):
    """What it has learnt"""
    RIG.dut.run("ip", f"-{on.shape.outer}", "route", "flush", "cache")


def names_sa(quote, on):
    """Does the kernel find the SA by this quote?  It looks at the destination, the protocol
    and the SPI only."""
    if on.shape.outer == 4:
        at, proto, dst = (quote[0] & 15) * 4, quote[9], quote[16:20]
    else:
        at, proto, dst = 40, quote[6], quote[24:40]
    at += 4 if on.kind == "ah" else 0
    return (proto, dst, quote[at:at + 4]) == (on.number, packet.address(on.shape.there),
                                              struct.pack("!I", on.spi_out))


def misquoted(sent, on, rng):
    """Quotes that are cut, changed, or of an SA that is not there; but none of another protocol,
    whose handler may believe it"""
    fixed, proto = (20, 9) if on.shape.outer == 4 else (40, 6)
    yield from (sent[:n] for n in range(fixed + 8))
    while True:
        at = rng.randrange(fixed + 8)
        quote = sent[:at] + bytes([sent[at] ^ 1 << rng.randrange(8)]) + sent[at + 1:]
        if rng.randrange(3) == 0:
            quote = mutated(quote[:rng.choice((fixed + 8, 100))], rng)
        if len(quote) < fixed + 8 or (quote[proto] == on.number and not names_sa(quote, on)):
            yield quote


def errors(kind, shape):
    """Only one that quotes the SPI of an SA lowers the path's MTU."""
    on, rng = opened("errors", kind, shape)
    sent = on.sends(1)
    forget(on)
    ktap.equal(path_mtu(on), 0, "path MTU before")
    packets = [packet.too_big(shape.there, shape.here, rng.choice((0, 67, 68, 552, 1279, 1280, 1300, 65535)), quote)
               for quote in itertools.islice(misquoted(sent, on, rng), 48 + COUNT)]
    RIG.dut.wire.drain()
    changed = fire(on, packets, each=None, by_gro=False)
    unanswered()
    ktap.equal({name: n for name, n in changed.items() if name not in UNASKED}, {}, "what changed")
    ktap.equal(path_mtu(on), 0, "path MTU after errors about nothing of ours")
    RIG.dut.wire.send(packet.too_big(shape.there, shape.here, 1300, sent))
    ktap.wait_for(lambda: path_mtu(on) == 1300, "the path MTU is 1300")
    forget(on)
    report(packets, changed)
    good(on)


def fragmented(kind, shape):
    """Whole, reordered, doubled, overlapping and incomplete"""
    on, rng = opened("fragmented", kind, shape)
    sent = 0
    RIG.dut.wire.drain()
    while sent < COUNT:
        gro = rng.randrange(2)
        RIG.gro(gro)
        data = seal(on, *shape.to_dut(rng.randbytes(900)), next_seq(on), flip_icv=rng.random() < .5,
                    **iv(on, rng))
        size = len(packet.split(data)[2])
        points = sorted(8 * n for n in rng.sample(range(5, (size - 1) // 8),
                                                  rng.choice((1, 2, 5, 20))))
        pieces = packet.fragments(data, points)
        how = rng.randrange(5)
        if how == 1:
            rng.shuffle(pieces)
        elif how == 2:
            pieces += rng.sample(pieces, 1)
        elif how == 3:
            pieces.remove(rng.choice(pieces))
        elif how == 4:
            pieces.insert(1, rng.choice(packet.fragments(data, points[:1])))
        batch = Batch(on, gro, each=None, by_gro=False)
        batch.send(pieces)
        batch.good()
        changed, wrong = batch.settled()
        made, reached = of_ip(changed, "ReasmOKs"), total(changed, {"packets", *REFUSED}) - 1
        if made != reached:
            wrong = wrong or f"{made} put together, {reached} accounted for"
        ktap.check(not wrong, f"{wrong}; seed {SEED}; {changed} for {[piece.hex() for piece in pieces]}")
        RIG.pages.check()
        sent += len(pieces)
    unanswered()
    SENT["packets"] += sent


# -- with the key ------------------------------------------------------------

def verdict(plain, align):
    """What RFC 4303 2.4 and 2.5 say about this plaintext"""
    size, room = plain[-2], len(plain) - 2
    if len(plain) % align:
        return "RxBlock"
    if size > room:
        return "RxPadLength"
    if plain[room - size:room] != bytes(range(1, size + 1)):
        return "RxPadding"
    return "RxDummy" if plain[-1] == packet.NONE else "packets"


def trailers(shape, suite):
    """Every pad length, with padding right and wrong, and every size of plaintext"""
    on, rng = trusted(f"trailers {suite.__name__}", "esp", shape, suite)
    block, wanted, packets = on.peer.suite.block, {}, []
    for number in range(max(COUNT, 512)):
        size = number % 256
        room = max(rng.choice((size, rng.randrange(300), size - 1, size + 40)), 0)
        right = bytes(range(1, size + 1))
        # nor for a group of IPv6 that IP drops without a word
        front = rng.randbytes(max(room - size, 0)).replace(b"\xff", b"\xfe")
        plain = right[size - room:] if room < size else front + right
        plain = bytes(-(len(plain) + 2) % block) + plain + bytes([size, rng.randrange(256)])
        if rng.randrange(4) == 0 and len(plain) > 2:
            at = rng.randrange(len(plain) - 2)
            plain = plain[:at] + bytes([plain[at] ^ 1 << rng.randrange(8)]) + plain[at + 1:]
        # next headers that would come back to us have cases of their own
        if plain[-1] in AGAIN or (shape.mode == "tunnel" and plain[-1] != packet.NONE):
            plain = plain[:-1] + bytes([packet.IPIP if shape.inner == 4 else packet.IPV6])
        word = verdict(plain, block)
        wanted[word] = wanted.get(word, 0) + 1
        packets.append(seal(on, 0, b"", next_seq(on), plain=plain, **iv(on, rng)))
    changed = fire(on, packets, by_gro=True)
    report(packets, changed)
    ktap.equal(total(changed, POLICY), 0, "packets that policies dropped")
    # a dummy is booked as a packet too
    wanted["packets"] = wanted.get("packets", 0) + wanted.get("RxDummy", 0)
    if not impl.INTREE:
        ktap.equal({name: changed.get(name, 0) for name in wanted}, wanted,
                   "what the RFC says")
    good(on)


# protocols behind which a packet may come to ESP or AH once more
AGAIN = {packet.ESP, packet.AH, packet.HOPOPTS, packet.DSTOPTS, packet.ROUTING,
         packet.FRAGMENT, packet.IPIP, packet.IPV6, packet.IPCOMP, 135, 139, 140}


def sealed(on, next_header, inner, rng):
    """inner, whatever it is, under a valid ICV"""
    return seal(on, next_header, inner, next_seq(on), **iv(on, rng))


def accepted(on, packets, **what):
    """Every one is genuine: the SA has to count it, whatever comes after"""
    if not packets:
        return
    changed = fire(on, packets, by_gro=True, **what)
    report(packets, changed)
    ktap.equal(changed.get("packets", 0), len(packets), "genuine packets")
    ktap.equal(total(changed, POLICY), 0, "packets that policies dropped")
    good(on)


def every_next_header(kind, shape):
    on, rng = trusted("next header", kind, shape)
    packets, again, between, loose = [], [], [], []
    for proto in range(256):
        for size in (0, 1, 7, 8, 20, 60):
            data = sealed(on, proto, rng.randbytes(size), rng)
            if proto not in AGAIN:
                packets.append(data)
            elif shape.mode == "transport" and proto in (packet.ESP, packet.AH, packet.IPCOMP):
                between.append(data)
            else:
                (loose if proto in TWICE and shape.inner == 6 else again).append(data)
    if not impl.INTREE:		# which drops dummies and what is no tunnel's
        accepted(on, packets)
    accepted(on, again, each=None)
    accepted(on, between, each=None, between=True)
    accepted(on, loose, each=None, loose=True)


def inner_header(shape, rng):
    """A packet with a header that lies: lengths, version, fragments, addresses"""
    whole = bytearray(shape.to_dut(rng.randbytes(rng.choice((0, 10, 500))))[1])
    v4 = shape.inner == 4
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.choice((0, 2, 3, 6, 7, 9, rng.randrange(20)) if v4 else
                        (0, 4, 5, 6, rng.randrange(40)))
        whole[at] = rng.choice((0, 1, 0x0f, 0x40, 0x45, 0x46, 0x4f, 0x60, 0x7f, 0xff,
                                rng.randrange(256)))
    # IP drops what is for a group of others without a word
    if whole[16] >> 4 == 14 if v4 else whole[24] == 0xff:
        whole[16 if v4 else 24] = 1
    named = 9 if v4 else 6
    if whole[named] in AGAIN:	# every_next_header() has those
        whole[named] = packet.UDP
    if v4 and rng.randrange(5) and 20 <= (whole[0] & 15) * 4 <= len(whole):
        whole = packet.ip4_refresh(bytes(whole))
    return bytes(whole[:rng.randrange(len(whole))] if rng.randrange(4) == 0 else whole)


def inner_headers(kind, shape):
    on, rng = trusted("inner", kind, shape)
    number = packet.IPIP if shape.inner == 4 else packet.IPV6
    accepted(on, [sealed(on, number, inner_header(shape, rng), rng) for _ in range(COUNT)])
    # the other family in the clothes of this one, and the other way round
    other = packet.IPV6 if shape.inner == 4 else packet.IPIP
    accepted(on, [sealed(on, other, inner_header(shape, rng), rng) for _ in range(50)])


def inner_segments(kind, shape):
    """A transport mode payload that lies: UDP, TCP and ICMP headers"""
    on, rng = trusted("segments", kind, shape)
    packets = []
    for _ in range(COUNT):
        proto = rng.choice((packet.UDP, packet.UDP, packet.TCP, packet.ICMP, packet.ICMP6,
                            packet.GRE, 255))
        inner = on.inner(rng.randbytes(rng.choice((0, 10, 500))))
        packets.append(sealed(on, proto, mutated(inner, rng), rng))
    accepted(on, packets)


def inner_fragments(kind, shape):
    """Fragments inside a tunnel, not all of which belong together"""
    on, rng = trusted("inner fragments", kind, shape)
    number = packet.IPIP if shape.inner == 4 else packet.IPV6
    packets, idents = [], list(itertools.islice(IDENT, 8))
    while len(packets) < COUNT:
        whole = shape.to_dut(rng.randbytes(600))[1]
        pieces = packet.fragments(whole, (40, 80, 320))
        if shape.inner == 4:
            ident = struct.pack("!H", rng.choice(idents))
            pieces = [packet.ip4_refresh(piece[:4] + ident + piece[6:]) for piece in pieces]
        rng.shuffle(pieces)
        packets += [sealed(on, number, piece, rng) for piece in pieces[:rng.randrange(1, 5)]]
    accepted(on, packets)


# -- one inside the other ----------------------------------------------------

def wrap_again(on, data, peer, rng):
    """An IP packet, inside another SA's"""
    header, proto, rest = packet.split(data)
    if on.shape.mode == "tunnel":
        rest, proto = data, packet.IPIP if on.shape.outer == 4 else packet.IPV6
        header = packet.split(on.shape.header())[0]
    if isinstance(peer, Ah):
        return peer.seal(header, proto, rest, next_seq(on))
    esp = peer.seal(rest, proto, next_seq(on), iv=rng.randbytes(peer.suite.ivlen))
    return packet.join(header, packet.ESP, esp)


def second_sa(on):
    """An SA of the other protocol with the same SPI; (its peer, the protocol)"""
    there, here = on.shape.there, on.shape.here
    other = "esp" if on.kind == "ah" else "ah"
    suite = gcm() if other == "esp" else sha256()
    RIG.dut.ip(host.state_line(there, here, SPI_IN,
                               suite.words(other), other, on.shape.mode, seq=START, esn=True, window=4096))
    maker = Ah if other == "ah" else Esp
    return maker(suite, SPI_IN, True), other


def layers_figures(kinds, drop):
    """What changes when these layers come off: 0 is the case's SA, 1 the other"""
    wanted = {"packets": kinds.count(0), "other": kinds.count(1), drop: 1}
    return {name: n for name, n in wanted.items() if n and name}


def nested_outcomes(kinds, shape, esp):
    """kinds: from the outside; esp: the one that is ESP"""
    inside = "XfrmInTmplMismatch" if shape.mode == "tunnel" and len(kinds) > 1 else ""
    drop = "XfrmInBufferError" if len(kinds) > DEPTH else inside
    yield layers_figures(kinds[:DEPTH], drop)
    # XFRM interfaces, where the kernel has them, ask the policy before an ESP that
    # was inside another tunnel
    if inside and esp in kinds[1:DEPTH + 1]:
        yield layers_figures(kinds[:kinds.index(esp, 1)], "XfrmInNoPols")


def nested(kind, shape, mixed):
    """RFC 4301 sets no limit, the core does: of 17 layers it takes off six"""
    on, rng = opened("nested", kind, shape)
    peers, other = [on.peer], None
    if mixed:
        peer, other = second_sa(on)
        peers.append(peer)

    def figures():
        found = on.figures()
        found["other"] = RIG.dut.state(shape.here, SPI_IN, other).packets if other else 0
        return found
    for levels in range(1, 18):
        RIG.gro(levels % 2)
        data = on.seal(next_seq(on), b"innermost", **iv(on, rng))
        kinds = [level % len(peers) for level in range(levels)]
        for which in kinds[1:]:
            data = wrap_again(on, data, peers[which], rng)
        outcomes = list(nested_outcomes(kinds[::-1], shape, int(kind == "ah")))
        before = figures()
        Batch(on, levels % 2).send([data])

        def changed(before=before):
            found = host.delta(before, figures())
            return {name: n for name, n in found.items()
                    if name not in UNASKED and (not impl.INTREE or name[:2] not in OWN)}
        deadline = time.monotonic() + 10
        while changed() not in outcomes and time.monotonic() < deadline:
            time.sleep(0.01)
        ktap.check(changed() in outcomes, f"{levels} layers: {changed()}, not {outcomes}")
        if len(kinds) <= DEPTH and (levels == 1 or shape.mode == "transport"):
            ktap.equal(RIG.sockets.receive(shape), b"innermost", "data")
    good(on)


def volume(function, *arguments):
    """A case of at least COUNT packets"""
    before = SENT["packets"]
    function(*arguments)
    sent = SENT["packets"] - before
    ktap.check(sent >= COUNT, f"{sent} packets were sent, not {COUNT}")
    SENT["cases"] += 1


for kind, shapes in SHAPES.items():
    for shape in shapes:
        name = f"{kind.upper()} {shape}"
        ktap.add(f"{name}: changed at random", volume, outsider, kind, shape)
        ktap.add(f"{name}: every octet of the headers", every_octet, kind, shape)
        ktap.add(f"{name}: cut off at every octet", cut, kind, shape)
        ktap.add(f"{name}: fragments", volume, fragmented, kind, shape)
        ktap.add(f"{name}: options and extension headers", volume, options, kind, shape)
        ktap.add(f"{name}: valid ICV, every next header", every_next_header, kind, shape)
        if shape.mode == "tunnel":
            ktap.add(f"{name}: valid ICV, inner IP header lies", volume, inner_headers, kind, shape)
            ktap.add(f"{name}: valid ICV, inner fragments", volume, inner_fragments, kind, shape)
        else:
            ktap.add(f"{name}: valid ICV, inner segment lies", volume, inner_segments, kind, shape)
        # IPv6 takes AH for an extension header, and asks whoever is behind it
        if kind == "esp" or shape.outer == 4:
            ktap.add(f"{name}: errors about what was sent", volume, errors, kind, shape)
    for shape in PLAIN:
        name = f"{kind.upper()} {shape}"
        for mixed in (False, True):
            ktap.add(f"{name}: 17 layers{' of both protocols' if mixed else ''}", nested,
                     kind, shape, mixed)
for shape in SHAPES["esp"]:
    ktap.add(f"ESP in UDP {shape}: changed at random, cut off", volume, in_udp, shape)
for shape in SHAPES["esp"]:
    for suite in (gcm, cbc):
        ktap.add(f"ESP {shape}: valid ICV, every pad length, {suite.__name__.upper()}",
                 volume, trailers, shape, suite)


def begin():
    ktap.say(f"IPSEC_SEED={SEED} IPSEC_PACKETS={COUNT}")
    RIG.start(mtu=2000)


def end():
    if SENT["seconds"]:
        ktap.say(f"{SENT['packets']} hostile packets, at least {COUNT} in each of {SENT['cases']} cases, "
                 f"{SENT['packets'] / SENT['seconds']:.0f} a second, {SENT['spread']} in lanes")
    RIG.stop()
    ktap.check(SENT["spread"] or "spread=1" not in impl.PARAMETERS, "spread=1, and nothing was spread")


ktap.CASE_SECONDS += COUNT // 5
ktap.main(begin, end)
