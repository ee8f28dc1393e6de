#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Every reason of net/ipsec_v3/drop.h is raised, and counted as the table there
says: its counter, the xfrm MIB counter, and the tracepoint ipsec_v3:drop with
SPI, sequence number and reason.

A reason that the table has and this file does not is a failure of the last case.
"""

import contextlib
import errno
import glob
import os
import re
import socket
import struct
import subprocess

from lib import bpf, cryptd, flaky, host, impl, ktap, packet
from lib.line import Line, Monopoly, Rig, one_cpu
from lib.memory import NoMemory
from lib.pair import Tap
from lib.shape import PORT_PEER, SPI_IN, SPI_OUT, T4IN4, T6IN4, T6IN6, V4, V6
from lib.suite import GCM, cbc, chacha, gcm, sha256
from lib.trace import Trace
from lib.whole import REQID, SPI, Whole, encrypted_for_device

HERE = os.path.dirname(os.path.realpath(__file__))
TABLE = os.path.join(HERE, "../../../../../net/ipsec_v3/drop.h")
START = 68 << 32 | 100000
TOP64 = (1 << 64) - 1
MTU = 65535

RIG = Rig()


def esp_line(shape=V4, suite=gcm, window=64, **more):
    return Line(RIG, shape, suite(), "esp", True, window, START, **more)


def ah_line(shape=V4, **more):
    return Line(RIG, shape, sha256(), "ah", True, 64, START, **more)


# -- the table ---------------------------------------------------------------

def mib_name(constant):
    """XFRMINSTATEPROTOERROR as /proc/net/xfrm_stat spells it"""
    with open("/proc/net/xfrm_stat", encoding="ascii") as file:
        for line in file:
            if line.split()[0].upper() == constant:
                return line.split()[0]
    return ktap.fail(f"no {constant} in /proc/net/xfrm_stat")


def table():
    """{name: MIB counter} of IPSEC_DROPS"""
    with open(TABLE, encoding="ascii") as file:
        text = file.read().replace("\\\n", " ")
    drops = text.split("#define IPSEC_DROPS(X)")[1].split("#define")[0]
    rows = re.findall(r'X\((\w+),\s*"(\w+)",\s*(\w+),\s*([\w-]+),\s*(\w+),', drops)
    ktap.check(len(rows) > 10, "cannot read drop.h")
    return {row[1]: row[3] for row in rows}


RAISED = {}	# {reason: [names of the cases]}


def raises(reason, name, function, *arguments, intree_fails=None):
    """function(*arguments) gives (Line, what to do, other figures, number)"""
    RAISED.setdefault(reason, []).append(name)
    ktap.add(f"{reason}: {name}", counted, reason, function, *arguments,
             intree_fails=intree_fails)


def counted(reason, function, *arguments):
    on, act, figures, seq = function(*arguments)
    mib = table()[reason]
    wanted = {reason: 1, **figures}
    if mib != "-":
        wanted[mib_name(mib)] = 1
    with Trace() as trace:
        before = on.figures()
        act()
        on.settle(before, wanted)
        if impl.INTREE:
            return
        spi = SPI_OUT if reason.startswith("Tx") else SPI_IN
        ktap.equal(trace.lines(), [(on.kind, spi, seq, reason)], "tracepoint")


def received(on, data, seq, **figures):
    """What counted() wants, for a packet from outside"""
    return on, lambda: RIG.dut.wire.send(data), figures, seq


# -- receiving ---------------------------------------------------------------

def header_of(on):
    return packet.split(on.shape.header())[0]


def esp_raw(on, esp):
    return packet.join(header_of(on), packet.ESP, esp)


def short_esp(shape, suite):
    """One byte less than header, IV, trailer and ICV take (RFC 4303 2)"""
    on = esp_line(shape, suite)
    least = 8 + on.peer.suite.ivlen + 2 + on.peer.suite.icvlen
    esp = struct.pack("!II", SPI_IN, START + 1 & 0xffffffff) + bytes(least - 9)
    return received(on, esp_raw(on, esp), START + 1)


def short_ah(shape):
    on = ah_line(shape)
    data = on.seal(START + 1)
    hlen = len(packet.split(data)[0])
    return received(on, packet.join(header_of(on), packet.AH, data[hlen:hlen + 27]),
                    START + 1)


def odd_block(shape):
    on = esp_line(shape, cbc)
    esp = packet.split(on.seal(START + 1))[2]
    return received(on, esp_raw(on, esp[:-1]), START + 1)


def forged(maker, shape):
    on = maker(shape)
    return received(on, on.seal(START + 1, flip_icv=True), START + 1, failed=1)


def late(maker, shape):
    on = maker(shape)
    return received(on, on.seal(START - 500), START - 500, late=1, RxSecondTry=1)


def pad_length(shape, suite, length):
    """RFC 4303 2.5: the padding would begin before the payload does"""
    on = esp_line(shape, suite)
    size = 16 - 2
    return received(on, on.seal(START + 1, plain=bytes(size) + bytes([length, 17])),
                    START + 1)


def padding(shape, suite):
    on = esp_line(shape, suite)
    return received(on, on.seal(START + 1, plain=bytes(46) + b"\2\2" + bytes(14) +
                                b"\x0e\x11"), START + 1)


def ah_length(shape, words):
    """RFC 4302 2.2"""
    on = ah_line(shape)
    data = bytearray(on.seal(START + 1, data=bytes(300)))
    data[len(header_of(on)) + 1] = words
    return received(on, bytes(data), START + 1)


def empty_source_route():
    """Legal for the IP layer, and without a destination for AH to hash"""
    RIG.dut.sysctl("net.ipv4.conf.all.accept_source_route", 1)
    RIG.dut.sysctl("net.ipv4.conf.v0.accept_source_route", 1)
    on = ah_line(V4)
    there, here = V4.there, V4.here
    data = packet.split(on.seal(START + 1))[2]
    return received(on, packet.ip4(there, here, packet.AH, data,
                                   options=b"\x83\x03\x04\x00"), START + 1)


def atomic_fragment():
    """A fragment header in front of AH (RFC 6946): AH comes before fragmenting"""
    on = ah_line(V6)
    header, _, data = packet.split(on.seal(START + 1))
    fragment = bytes([packet.AH, 0, 0, 0]) + struct.pack("!I", 7)
    return received(on, packet.ip6(V6.there, V6.here, packet.FRAGMENT, fragment + data), START + 1)


FAILED = "counted as a failed integrity check"
for shape in (V4, V6, T4IN4):
    for suite in (gcm, cbc):
        raises("RxShort", f"ESP, {suite.__name__}, {shape}", short_esp, shape, suite,
               intree_fails=FAILED)
    raises("RxShort", f"AH, {shape}", short_ah, shape)
    raises("RxBlock", f"{shape}", odd_block, shape, intree_fails=FAILED)
    raises("RxForged", f"ESP, {shape}", forged, esp_line, shape)
    raises("RxForged", f"AH, {shape}", forged, ah_line, shape)
    for maker, name in ((esp_line, "ESP"), (ah_line, "AH")):
        raises("RxLate", f"{name}, {shape}", late, maker, shape,
               intree_fails="a late ESN packet is an integrity failure")
    for length in (15, 16, 255):
        raises("RxPadLength", f"{length} of 14, {shape}", pad_length, shape, gcm, length)
    raises("RxPadLength", f"15 of 14, CBC, {shape}", pad_length, shape, cbc, 15)
    raises("RxPadding", f"GCM, {shape}", padding, shape, gcm,
           intree_fails="padding is not looked at")
    raises("RxPadding", f"CBC, {shape}", padding, shape, cbc,
           intree_fails="padding is not looked at")
    for words in (0, 1, 4, 5, 7, 255):
        raises("RxAhLength", f"{words} words, {shape}", ah_length, shape, words)
raises("RxHeader", "source route without an address", empty_source_route)
raises("RxHeader", "atomic fragment before AH", atomic_fragment, intree_fails=FAILED)


# -- sending -----------------------------------------------------------------

def too_big(maker, shape):
    """A datagram of 64 KiB does not grow."""
    on = maker(shape)
    room = 65535 - 20 - 8 if shape.outer == 4 else 65535 - 8

    def act():
        try:
            RIG.sockets.send(on.shape, bytes(room))
            ktap.fail("it was sent")
        except OSError as error:
            ktap.equal(error.errno, errno.EMSGSIZE, "errno")
    return on, act, {}, START + 1


def moved(shape, program):
    """What waits for the device to be encrypted is not where the core seeks it any more."""
    on = esp_line(shape)

    def act():
        with bpf.moving(RIG.dut, "v0", program), contextlib.suppress(OSError):
            RIG.sockets.send(on.shape, b"x")
    return on, act, {}, START + 1


def raw_header():
    """A local sender builds the IP header himself, badly (RFC 4302 3.3.3.1.1)"""
    on = ah_line(V4)
    data = packet.ip4(V4.here, V4.there, packet.UDP,
                      packet.udp(V4.here, V4.there, 5000, PORT_PEER, b"x"),
                      options=b"\x83\x03\x04\x00")

    def act():
        # such a packet's flow names no ports, so the policy must not either
        RIG.dut.ip(host.policy_line("out", V4.here, V4.there,
                                    host.template(V4.here, V4.there, "ah")))
        with RIG.dut.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            try:
                raw.sendto(data, (V4.there, 0))
            except OSError as error:
                ktap.equal(error.errno, errno.EINVAL, "errno")
    return on, act, {}, START + 1


CHAINS = (65520, 65528)		# 16 bits do not count their end, from where a buffer begins
FAR = "2001:db8:ffff::1"


def long_chain(length):
    """So many octets of IPv6 header and destination options, then as little as there can be"""
    sizes, left = [], length - 40
    while left:
        sizes.append(min(left, 2048))
        left -= sizes[-1]
    text = b"".join(bytes([packet.NONE if last else packet.DSTOPTS, size // 8 - 1]) + bytes(size - 2)
                    for size, last in zip(sizes, [False] * (len(sizes) - 1) + [True]))
    return packet.ip6(V6.here, FAR, packet.DSTOPTS, text + bytes(8))


@contextlib.contextmanager
def far(kind):
    """A route to a device that takes all that IPv6 can hold, in an SA"""
    suite = sha256() if kind == "ah" else gcm()
    RIG.dut.ip("xfrm state flush", "xfrm policy flush", "link add big mtu 70000 type dummy", "link set big up",
               f"route add {FAR} dev big src {V6.here}",
               host.state_line(V6.here, FAR, SPI_OUT, suite.words(kind), kind),
               host.policy_line("out", V6.here, FAR, host.template(V6.here, FAR, kind)))
    try:
        with Tap(RIG.dut, "big") as tap:
            yield tap
    finally:
        RIG.dut.flush()
        RIG.dut.ip("link del big")


def too_far(kind, length):
    """ESP or AH would come where 16 bits of offset do not reach, or reach something else."""
    if impl.INTREE and kind == "ah":
        raise ktap.Skip("an oops of in-tree ends the guest")
    with far(kind) as tap:
        with RIG.dut.inside():
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        before = RIG.dut.counters()
        with raw, contextlib.suppress(OSError):	# the core may tell the sender
            raw.sendto(long_chain(length), (FAR, 0))
        changed = host.delta(before, RIG.dut.counters())
        left = [len(data) for data in tap.packets() if len(data) > 1000]
    ktap.equal(left, [], "lengths of packets that have left")
    ktap.check(changed in ({"TxHeader": 1, "XfrmOutStateProtoError": 1}, {"TxHeader": 1, "XfrmOutError": 1}),
               f"{changed}")


for kind in ("ah", "esp"):
    for length in CHAINS:
        ktap.add(f"TxHeader: {length} octets of headers before {kind.upper()}", too_far, kind, length,
                 intree_fails="it is sent" if kind == "esp" else None)


def other_family():
    """A tunnel's IPv4 packets in BEET that has a place for the header of an IPv6 packet: what follows would
    be written behind the packet's end, at another place for each length."""
    if impl.INTREE:
        raise ktap.Skip("a BUG of in-tree ends the guest")
    inner, outer, words = T6IN4, V6, gcm().words()
    ends = (inner.inner_here, inner.inner_there)
    RIG.dut.ip("xfrm state flush", "xfrm policy flush",
               host.state_line(inner.here, inner.there, SPI_OUT, words, mode="tunnel", flags="af-unspec"),
               host.state_line(outer.here, outer.there, SPI_OUT + 1, words, mode="beet", reqid=2),
               host.policy_line("out", *ends, host.template(inner.here, inner.there, mode="tunnel"),
                                host.template(outer.here, outer.there, mode="beet", reqid=2)))
    RIG.dut.wire.drain()
    RIG.sockets.drain()
    before = RIG.dut.counters()
    count = 300
    for n in range(count):
        with contextlib.suppress(OSError):
            RIG.sockets.send(inner, bytes(n))
    ktap.equal(RIG.dut.wire.waiting(packet.ESP), 0, "packets that have left")
    changed = host.delta(before, RIG.dut.counters())
    RIG.dut.flush()
    changed.pop("TxCopied", None)
    ktap.equal(changed, {"TxHeader": count, "XfrmOutStateProtoError": count}, "counters")


ktap.add("TxHeader: BEET for another family", other_family)


def exhausted(shape):
    """The last of the numbers that may be given out twice"""
    on = Line(RIG, shape, gcm(), "esp", True, 64, TOP64 - 1)

    def act():
        with contextlib.suppress(OSError):
            RIG.sockets.send(on.shape, b"one too many")
        RIG.dut.wire.silent(on.number)
    return on, act, {}, TOP64


for shape in (V4, V6):
    raises("TxExhausted", str(shape), exhausted, shape,
           intree_fails="it is sent, for only offload could send it twice")
    for maker, name in ((esp_line, "ESP"), (ah_line, "AH")):
        raises("TxTooBig", f"{name}, {shape}", too_big, maker, shape,
               intree_fails="the length in the IP header wraps")
for shape in (V4, V6, T4IN4, T6IN6):
    raises("TxMoved", f"{shape}", moved, shape, "room", intree_fails="it is sent as it is")
for shape in (V4, T4IN4):
    raises("TxMoved", f"behind a header of the same family, {shape}", moved, shape, "header",
           intree_fails="it is sent as it is")


CUT = """table inet cut {
	chain sent {
		type route hook output priority 0
		meta l4proto esp meta mark set 7
	}
}
"""


@contextlib.contextmanager
def narrow(shape, mtu):
    """ESP leaves by a device with that MTU, which nobody knew when it was made."""
    family = f"-{shape.outer}"
    if RIG.dut.run("nft", "-f", "-", input=CUT).returncode:
        raise ktap.Skip("no nftables here")
    try:
        RIG.dut.ip(f"link add narrow mtu {mtu} type dummy", "link set narrow up")
        for words in ("rule add fwmark 7 table 7", "route add default dev narrow table 7"):
            ktap.equal(RIG.dut.run("ip", family, *words.split()).returncode, 0, words)
        with Tap(RIG.dut, "narrow") as tap:
            yield tap
    finally:
        RIG.dut.run("nft", "delete", "table", "inet", "cut")
        RIG.dut.run("ip", family, "rule", "del", "fwmark", "7", "table", "7")
        RIG.dut.ip("link del narrow")


def cut(shape):
    """IP fragments what waits to be encrypted: the first one is not taken for the packet, nor sends IP any other then."""
    if impl.INTREE:
        raise ktap.Skip("with esp6_offload, a BUG of in-tree ends the guest")
    on = esp_line(shape)
    with narrow(shape, 1300) as tap:
        before = on.figures()
        with contextlib.suppress(OSError):
            RIG.sockets.send(on.shape, bytes(2000))
        on.settle(before, {"TxMoved": 1, mib_name(table()["TxMoved"]): 1})
        ktap.equal([data for data in tap.packets() if packet.split(data)[1] in (packet.ESP, packet.FRAGMENT)], [],
                   "what left of it")


for shape in (V4, V6, T4IN4, T6IN6):
    ktap.add(f"TxMoved: the first fragment, {shape}", cut, shape)
raises("TxHeader", "source route without an address", raw_header)


# -- a crypto driver with a full queue ---------------------------------------

CRYPTD = []		# not empty when start() has loaded it
QUEUE = 50		# of cryptd then, on each CPU


def start():
    """The queue's length cannot be read: cryptd must not be there yet."""
    if os.path.exists("/sys/module/cryptd"):
        ktap.say("cryptd is loaded already: its cases are left out")
    else:
        impl.modprobe("cryptd", f"cryptd_max_cpu_qlen={QUEUE}")
        CRYPTD.append("ours")
    RIG.start(mtu=MTU)


def async_gcm():
    return cryptd.instance(f"cryptd({GCM})", GCM)


def on_cryptd(reason, function):
    if not CRYPTD:
        raise ktap.Skip("cryptd was loaded before this test; unload it first")
    with async_gcm(), Trace() as trace:
        try:
            function(reason, trace)
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()		# a queued datagram holds its SA


def full_queue_in(reason, trace):
    on = esp_line(V4, window=4096)
    packets = [on.seal(START + n) for n in range(1, QUEUE + 6)]
    before = on.figures()
    with Monopoly():
        for data in packets:
            RIG.dut.wire.send(data)
    on.settle(before, {reason: 5, mib_name(table()[reason]): 5, "packets": QUEUE}, 20)
    traced(trace, ("esp", SPI_IN, START + QUEUE + 1, reason), 5)
    RIG.sockets.drain()
    on.accepts(START + QUEUE + 100)


def full_queue_out(reason, trace):
    on = esp_line(V4, window=4096)
    before = on.figures()
    # the sender is not told of ENOBUFS, which UDP keeps to itself
    with Monopoly():
        for _ in range(QUEUE + 5):
            RIG.sockets.send(V4, b"one of many")
    on.settle(before, {reason: 5, mib_name(table()[reason]): 5}, 20)
    traced(trace, ("esp", SPI_OUT, START + QUEUE + 1, reason), 5)
    RIG.dut.wire.drain()
    on.accepts(START + 1)


def twice_in_flight(reason, trace):
    """Both copies of a dummy pass the window before either is verified."""
    on = esp_line(V4)
    data = on.seal(START + 1, dummy=b"")
    before = on.figures()
    with Monopoly():
        RIG.dut.wire.send(data)
        RIG.dut.wire.send(data)
    on.settle(before, {reason: 1, mib_name(table()[reason]): 1, "replayed": 1,
                       "RxDummy": 1, "packets": 1})
    traced(trace, ("esp", SPI_IN, START + 1, reason), 1)
    on.accepts(START + 2)


def traced(trace, first, count):
    if impl.INTREE:
        return
    lines = trace.lines()
    ktap.equal((lines[:1], len(lines)), ([first], count), "tracepoint")


def on_cryptd_case(reason, name, function, intree_fails=None):
    RAISED.setdefault(reason, []).append(name)
    ktap.add(f"{reason}: {name}", on_cryptd, reason, function, intree_fails=intree_fails)


on_cryptd_case("RxCrypto", "more packets than cryptd's queue holds", full_queue_in)
on_cryptd_case("TxBusy", "more packets than cryptd's queue holds", full_queue_out)
on_cryptd_case("RxReplay", "a dummy twice in flight", twice_in_flight,
               intree_fails="a dummy packet is a protocol error")


# -- a cipher that fails, or finishes when the device is down -------------------------

def cipher_fails(shape):
    with flaky.loaded(), Trace() as trace:
        on = esp_line(shape)
        before = on.figures()
        flaky.set_to(error=errno.EIO)
        with contextlib.suppress(OSError):
            RIG.sockets.send(shape, b"not encrypted")
        on.settle(before, {"TxCrypto": 1, "XfrmOutStateProtoError": 1})
        traced(trace, ("esp", SPI_OUT, START + 1, "TxCrypto"), 1)
        flaky.set_to(error=0)
        on.sends(2)
        RIG.dut.flush()


def device_down(shape):
    """The cipher is at once when the SA is made, so its packets are encrypted at the
    device, and then it is late."""
    if impl.INTREE:
        raise ktap.Skip("in-tree does not look at the device again")
    rig = Rig()
    rig.start(name="down")
    with flaky.loaded(), Trace() as trace, contextlib.closing(rig.dut), \
            contextlib.closing(rig.sockets):
        on = Line(rig, shape, gcm(), "esp", True, 64, START)
        before = on.figures()
        flaky.set_to(late_ms=5000)
        with contextlib.suppress(OSError):	# without a queue the core says it is lost
            rig.sockets.send(shape, b"too late")
        rig.dut.ip("link set v0 down")
        on.settle(before, {"TxDevice": 1, "XfrmOutStateProtoError": 1}, 60)
        traced(trace, ("esp", SPI_OUT, START + 1, "TxDevice"), 1)
        rig.dut.flush()


for shape in (V4, V6):
    for reason, function in (("TxCrypto", cipher_fails), ("TxDevice", device_down)):
        RAISED.setdefault(reason, []).append(str(shape))
        ktap.add(f"{reason}: {shape}", function, shape)


# -- GSO packets of which no segments can be made -------------------------------

DATA_OFFSET = 20 + 12		# in an IPv4 packet


def too_long(virtio, data):
    """The TCP header says that it is so long that not even one segment is behind it."""
    size = struct.pack("=H", len(data) - 60)
    return virtio[:4] + size + virtio[6:], data[:DATA_OFFSET] + b"\xf0" + data[DATA_OFFSET + 1:]


def no_segments(reason, change, failing):
    """The core says so, when it is about to be encrypted."""
    encrypted_for_device()
    with failing(), Trace() as trace, contextlib.closing(Whole(RIG.dut, V4.here, V4.there, START)) as whole:
        virtio, data = change(*whole.make())
        before = RIG.dut.counters()
        whole.write(data, virtio)
        ktap.equal(host.delta(before, RIG.dut.counters()), {reason: 1, mib_name(table()[reason]): 1}, "counters")
        ktap.equal(trace.lines(REQID), [("esp", SPI, TOP64, reason)], "tracepoint")
    RIG.dut.flush()


for reason, change, failing in (("TxSegment", too_long, contextlib.nullcontext),
                                ("TxNoMemory", lambda *whole: whole, lambda: NoMemory(function="skb_segment"))):
    RAISED.setdefault(reason, []).append("GSO")
    ktap.add(f"{reason}: a GSO packet", no_segments, reason, change, failing)


# -- memory ------------------------------------------------------------------

def no_memory_in(shape):
    """A packet in fragments has to be copied before it is decrypted."""
    on = esp_line(shape)
    pieces = packet.fragments(on.seal(START + 1, bytes(9000)), (4000,))
    before = on.figures()
    with NoMemory(), Trace() as trace:
        for data in pieces:
            RIG.dut.wire.send(data)
        on.settle(before, {"RxNoMemory": 1, "RxCopied": 1, "XfrmInStateProtoError": 1})
        traced(trace, ("esp", SPI_IN, START + 1, "RxNoMemory"), 1)
    on.accepts(START + 1)


def no_memory_out(shape):
    """A large datagram lies in page fragments, which are not ours."""
    on = esp_line(shape)
    before = on.figures()
    with NoMemory(), Trace() as trace:
        try:
            RIG.sockets.send(shape, bytes(30000))
            ktap.fail("it was sent")
        except OSError as error:
            ktap.equal(error.errno, errno.ENOMEM, "errno")
        on.settle(before, {"TxNoMemory": 1, "TxCopied": 1, "XfrmOutStateProtoError": 1})
        traced(trace, ("esp", SPI_OUT, START + 1, "TxNoMemory"), 1)
    RIG.sockets.send(shape, bytes(30000))
    RIG.dut.wire.receive(packet.ESP)


for shape in (V4, V6):
    for reason, function in (("RxNoMemory", no_memory_in), ("TxNoMemory", no_memory_out)):
        RAISED.setdefault(reason, []).append(str(shape))
        ktap.add(f"{reason}: {shape}", function, shape)


def asks_for_none(shape, maker, kind):
    """A small packet takes no memory once its CPU has a request, and none is copied."""
    on = Line(RIG, shape, maker(), kind, True, 64, START)
    with one_cpu():
        on.arrives(1)
        on.sends(1)
        before = on.figures()
        with NoMemory():
            for n in range(2, 12):
                on.arrives(n)
                on.sends(n)
    changed = on.since(before)
    ktap.equal((changed.pop("packets"), changed.pop("bytes") > 0, changed), (10, True, {}),
               "packets, bytes, and what else has changed")


for n, shape in enumerate((V4, V6, T4IN4, T6IN6)):
    for k, (kind, maker) in enumerate((("esp", gcm), ("ah", sha256), ("esp", cbc), ("esp", chacha))):
        if os.environ.get("IPSEC_SHORT") and (n + k) % 2:
            continue
        ktap.add(f"no allocation, no copy: {kind} {maker.__name__} {shape}", asks_for_none, shape,
                 maker, kind)

# reasons that have their cases in another file, which has two CPUs
ELSEWHERE = {name: "spread.py" for name in ("RxQueueFull", "TxQueueFull", "RxFlowFull", "RxDevice")}


def cases_of(file):
    """Their names"""
    return subprocess.run([os.path.join(HERE, file), "--list"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.splitlines()


@ktap.case("every reason of drop.h has a case")
def complete():
    if impl.INTREE:
        raise ktap.Skip("in-tree has no such table")
    names = set(table())
    ktap.equal(sorted(names - RAISED.keys() - ELSEWHERE.keys()), [], "without a case")
    ktap.equal(sorted((RAISED.keys() | ELSEWHERE.keys()) - names), [], "not in the table")
    for reason, file in ELSEWHERE.items():
        ktap.check(any(name.startswith(f"{reason}: ") for name in cases_of(file)), f"{file} has no case of {reason}")
    sources = ""
    for path in glob.glob(os.path.join(os.path.dirname(TABLE), "*.c")):
        with open(path, encoding="utf-8") as file:
            sources += file.read()
    with open(TABLE, encoding="ascii") as file:
        for symbol in re.findall(r"^\s*X\((\w+), \"", file.read(), re.M):
            ktap.check(re.search(rf"IPSEC_(DROP|EVENT)_{symbol}\b", sources),
                       f"no line of code ever raises {symbol}")


ktap.main(start, RIG.stop)
