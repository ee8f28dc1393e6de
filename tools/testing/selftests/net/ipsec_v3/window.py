#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Anti-replay windows, extended sequence numbers, dummy packets and padding.

RFC 4303 2.2 (numbers), 2.4 (padding), 2.6 (dummies), 3.3.3 (sending), 3.4.3
(window), appendix A2 (inference), A3 (resynchronisation); RFC 4302 3.3.2, 3.4.3
and appendix B say the same for AH.

Each step says what it changes, all of it: the SA's own figures and every counter
of /proc/net/xfrm_stat and ipsec_v3_stat.  See lib/line.py.
"""

import contextlib
import errno
import os
import random
import socket
import struct
import time

from lib import busy, cryptd, flaky, host, impl, ktap, packet, setting
from lib.busy import JUMP
from lib.line import UNASKED, Line, Monopoly, Rig
from lib.pages import PACKET_VNET_HDR, SOL_PACKET, VIRTIO
from lib.shape import SPI_IN, T4IN4, T6IN6, V4, V6
from lib.suite import Separate, cbc, chacha, gcm

TOP32, HIGH = 1 << 32, 68
BASE = {False: 100000, True: HIGH << 32 | 100000}
RESYNC = "extra-flag 0x80000000"
RESYNC_PARAMETER = "/sys/module/ipsec_v3/parameters/resync"
RUN = 8			# failures in a row, after which resynchronisation starts
TRIES = 8		# higher values of the high half that it tries
NEEDS_CSUM = 1		# VIRTIO_NET_HDR_F_
TRIES_PER_SECOND = 128
TRIES_IN_NETNS = 2048	# per second
LATE_QUEUE = 256	# packets that may wait for one, per netns
UNBOUND = "/sys/devices/virtual/workqueue/cpumask"	# where their worker may run
HELD_BACK = 65536	# of an SA's last numbers, see esp_tx.c
NO_SECOND = "in-tree has no second try"
ESN_LATE = "with ESN a packet left of the window is an integrity failure"
NO_DUMMIES = "a dummy packet is a protocol error and stays out of the window"
NO_RESYNC = "the window never comes back after the loss of 2^32 packets"

RIG = Rig()
ESP_GCM = ("esp", gcm)
ESP_CBC = ("esp", cbc)
# 96 bits need no padding: in-tree leaves what was in memory there
AH_SHA = ("ah", lambda: Separate(auth="hmac(sha256)", bits=96))
PROTOS = {"ESP": ESP_GCM, "AH": AH_SHA}


def line(proto, esn=True, window=64, start=None, shape=V4, **more):
    kind, suite = proto
    return Line(RIG, shape, suite(), kind, esn, window,
                BASE[esn] if start is None else start, **more)


def late(second=1):
    """A genuine packet left of an ESN window (RFC 4303 3.4.3, A2.1)"""
    return {"late": 1, "XfrmInStateSeqError": 1, "RxLate": 1, "RxSecondTry": second}


FORGED = {"failed": 1, "XfrmInStateProtoError": 1, "RxForged": 1}
FORGED_TWICE = {**FORGED, "RxSecondTry": 1}
REPLAYED = {"replayed": 1, "XfrmInStateSeqError": 1}
LEFT = {"late": 1, "XfrmInStateSeqError": 1}


# -- the window itself: RFC 4303 3.4.3 and A2 --------------------------------

def bits_true(on, model, window):
    """GETAE reports the window as it is; an IKE daemon carries it elsewhere."""
    replay = on.replay()
    ktap.equal(replay.seq, max(model), "top of the window")
    for behind in range(min(window, 256)):
        seen = replay.seen(behind)
        ktap.equal(seen, replay.seq - behind in model, f"mark of top - {behind}")


def window_walk(proto, esn, window, shape):
    on = line(proto, esn, window, shape=shape)
    top = on.start + window
    model = {on.start + 1, top}
    on.accepts(on.start + 1)
    on.does(REPLAYED, on.start + 1)
    if window > 1:
        on.accepts(top)
    on.does(REPLAYED, top)
    # reordering inside the window, its left edge included
    inside = random.Random(window).sample(range(top - window + 2, top),
                                          min(20, max(window - 2, 0)))
    for seq in inside:
        on.accepts(seq)
    for seq in (*inside, on.start + 1):
        on.does(REPLAYED, seq)
    bits_true(on, model | set(inside), window)
    if not esn:
        on.does(LEFT, top - window)
        on.does(LEFT, 1)
    # a jump over the whole window forgets it
    on.accepts(top + 3 * window)
    bits_true(on, {top + 3 * window}, window)


def window_off(proto):
    """A window of 0 switches the check off: nothing is a replay."""
    on = line(proto, esn=False, window=0, start=0)
    for seq in (5, 5, 3, 0, 5):
        on.accepts(seq)


def small_esn_window_crossing(proto, shape, window):
    """Reordering on both sides of 2^32: RFC 4303 A2.2, case B"""
    edge = HIGH + 1 << 32
    on = line(proto, True, window, start=edge - 5, shape=shape)
    order = [edge - 2, edge + 1, edge - 1, edge, edge + 3, edge - 3, edge + 2]
    for seq in order:
        on.accepts(seq)
    for seq in order:
        on.does(REPLAYED, seq)
    bits_true(on, set(order), window)
    on.accepts(edge + window - 4)		# the window's left edge is edge - 3
    on.does(REPLAYED, edge - 3)
    on.accepts(edge + 2 * window)		# in one subspace again
    on.does(REPLAYED, edge + 2 * window)


def number_zero(proto, esn):
    """No sender sends 0: RFC 4303 2.2"""
    on = line(proto, esn, 32, start=0)
    on.does({"XfrmInStateSeqError": 1}, 0)
    on.accepts(1)
    on.does({"XfrmInStateSeqError": 1}, 0)


for name, proto in PROTOS.items():
    for esn, sizes in ((False, (1, 32, 64, 100, 128, 4096)),
                       (True, (1, 2, 32, 64, 100, 128, 4096))):
        for size in sizes:
            ktap.add(f"{name} {'ESN' if esn else '32 bits'}: window of {size}",
                     window_walk, proto, esn, size, V6 if size == 64 else V4)
    ktap.add(f"{name}: window of 0", window_off, proto)
    for shape in (V4, V6):
        for size in (8, 32, 64, 4096):
            ktap.add(f"{name} {shape}: 2^32 is crossed in a window of {size}",
                     small_esn_window_crossing, proto, shape, size)
    for esn in (False, True):
        ktap.add(f"{name} {'ESN' if esn else '32 bits'}: number 0", number_zero, proto, esn)


# -- late or forged: RFC 4303 3.4.3, 3.4.4 -----------------------------------

def esn_late(proto, shape):
    on = line(proto, True, 64, shape=shape)
    top = on.start + 64
    on.accepts(top)
    for seq in (top - 64, top - 65, top - 99999, top - (1 << 31),
                top - TOP32 + 2 * JUMP):
        on.does(late(), seq)
    RIG.dut.wire.unanswered()
    on.accepts(top - 63)
    bits_true(on, {top, top - 63}, 64)


def esn_late_first_subspace(proto):
    """The high half is 0, so the guess is 1"""
    on = line(proto, True, 32, start=1000)
    on.accepts(1032)
    for seq in (1000, 999, 1):
        on.does(late(), seq)
    # below zero there is nothing: such a low half can only be made up
    on = line(proto, True, 32, start=5)
    on.does(FORGED, 0xffffffff)
    on.accepts(6)


def esn_ambiguous(proto):
    """2^32 older than the next one: too near the top to be tried twice"""
    on = line(proto, True, 64)
    on.accepts(on.start + 64)
    on.does(FORGED, on.start + 65 - TOP32)


def esn_forged(proto, shape):
    on = line(proto, True, 64, shape=shape)
    top = on.start + 64
    on.accepts(top)
    for seq in (top + 1, top - 1, top + JUMP - 1):
        on.does(FORGED, seq, flip_icv=True)
    for seq in (top - 64, top - 99999, top + (1 << 31)):
        on.does(FORGED_TWICE, seq, flip_icv=True)
    # a right ICV, but under another high half
    on.does(FORGED, top + 1, hashed_seq=top + 1 + TOP32)
    RIG.dut.wire.unanswered()
    on.accepts(top + 1)


def short_forged(proto):
    on = line(proto, False, 64)
    on.does(FORGED, on.start + 1, flip_icv=True)
    on.accepts(on.start + 1)


for name, proto in PROTOS.items():
    for shape in (V4, V6, T4IN4, T6IN6):
        ktap.add(f"{name} {shape} ESN: a late packet is late, not forged",
                 esn_late, proto, shape, intree_fails=ESN_LATE)
        ktap.add(f"{name} {shape} ESN: a forged packet is forged, not late",
                 esn_forged, proto, shape)
    ktap.add(f"{name} ESN: late in the first 2^32", esn_late_first_subspace, proto,
             intree_fails=ESN_LATE)
    ktap.add(f"{name} ESN: an old packet with a number near the top", esn_ambiguous, proto)
    ktap.add(f"{name} 32 bits: a forged packet", short_forged, proto)
ktap.add("ESP with separate ICV, ESN: a late packet is late, not forged", esn_late,
         ESP_CBC, V4, intree_fails=ESN_LATE)
ktap.add("ESP with separate ICV, ESN: a forged packet is forged, not late", esn_forged,
         ESP_CBC, V4)


def flood(packets, figures, counted):
    """Sends it all, waits until it is counted; (what changed of the figures, seconds)"""
    before, start = figures(), time.monotonic()
    for data in packets:
        RIG.dut.wire.send(data)
    ktap.wait_for(lambda: sum(host.delta(before, figures()).get(name, 0) for name in counted) >= len(packets),
                  "every packet is counted", 30)
    return host.delta(before, figures()), time.monotonic() - start


def flood_sa(on, count, seq_of, **seal):
    return flood([on.seal(seq_of(n), **seal) for n in range(count)], on.figures, ("failed", "late"))


def second_tries_bounded(changed, seconds, per_second=TRIES_PER_SECOND):
    if "RxSecondTry" not in changed:
        return
    allowed = per_second * (seconds + 1) + 1
    ktap.check(changed["RxSecondTry"] <= allowed,
               f"{changed['RxSecondTry']} second tries in {seconds:.1f} s, "
               f"{allowed:.0f} allowed")


def forged_flood(proto):
    """Forgeries cannot double the load, and every one is booked."""
    on = line(proto, True, 64)
    on.accepts(on.start + 64)
    changed, seconds = flood_sa(on, 2000, lambda n: on.start + (1 << 31) + n, flip_icv=True)
    second_tries_bounded(changed, seconds)
    for name in ("RxSecondTry", "RxSpread"):
        changed.pop(name, None)
    on.equal(changed, {name: 2000 for name in FORGED})
    on.accepts(on.start + 65)
    bits_true(on, {on.start + 64, on.start + 65}, 64)


def resync_flood(proto):
    """Where each forgery might be a reason to resynchronise, each of its tries is paid for."""
    on = line(proto, True, 64, more=RESYNC)
    on.accepts(on.start + 64)
    changed, seconds = flood_sa(on, 2000, lambda n: on.start + 65 + n, flip_icv=True)
    second_tries_bounded(changed, seconds)
    if not impl.INTREE:
        ktap.check(changed.get("RxSecondTry", 0) >= TRIES_PER_SECOND, "hardly one had a second try")
    for name in UNASKED | {"RxSecondTry"}:
        changed.pop(name, None)
    on.equal(changed, {name: 2000 for name in FORGED})
    on.accepts(on.start + 65)
    bits_true(on, {on.start + 64, on.start + 65}, 64)


def late_flood(proto):
    on = line(proto, True, 64)
    on.accepts(on.start + 64)
    changed, seconds = flood_sa(on, 1000, lambda n: on.start - 70000 + n)
    second_tries_bounded(changed, seconds)
    ktap.equal(changed["RxLate"] + changed.get("RxForged", 0), 1000, "booked")
    ktap.equal(changed["late"], changed["RxLate"], "late of the SA")
    ktap.equal(changed["XfrmInStateSeqError"], changed["RxLate"], "XfrmInStateSeqError")
    ktap.check(changed["RxLate"] >= TRIES_PER_SECOND, "hardly one was found to be late")
    time.sleep(1.1)
    on.does(late(), on.start - 3)		# the budget has come back
    on.accepts(on.start + 65)


def one_each(on, spis):
    """More SAs with these SPIs, and a forged packet for each, far ahead"""
    on.dut.ip(*[host.state_line(V4.there, V4.here, spi, gcm().words(), esn=True, window=64, seq=on.start)
                for spi in spis])
    forged = on.seal(on.start + (1 << 31))
    return [forged.replace(struct.pack("!I", SPI_IN), struct.pack("!I", spi), 1) for spi in spis]


def many(on):
    """Forgeries for so many SAs that each could have more tries than the namespace allows to all"""
    return 120 * one_each(on, range(0x7000, 0x7064))


def limit_reached(count, seconds):
    if count <= TRIES_IN_NETNS * (seconds + 1):
        raise ktap.Skip("this machine is too slow to reach the limit")


@ktap.case("ESP ESN: a flood for many SAs has few second tries in all")
def many_flooded():
    on = line(ESP_GCM)
    packets = many(on)
    changed, seconds = flood(packets, on.dut.counters, ("XfrmInStateProtoError",))
    limit_reached(len(packets), seconds)
    second_tries_bounded(changed, seconds, TRIES_IN_NETNS)
    if not impl.INTREE:
        ktap.check(changed.get("RxSecondTry", 0) > TRIES_PER_SECOND, "hardly one had a second try")


@contextlib.contextmanager
def elsewhere():
    """An SA in another namespace"""
    rig = Rig()
    rig.start(name="elsewhere")
    try:
        yield Line(rig, V4, gcm(), "esp", True, 64, BASE[True])
    finally:
        rig.stop()


@ktap.case("ESP ESN: second tries that are spent in another namespace are there in this one", intree_fails=ESN_LATE)
def spent_elsewhere():
    """At the end of a flood there, when more than a few have none, late packets here"""
    on = line(ESP_GCM)
    on.accepts(on.start + 64)
    genuine = [on.seal(on.start - n) for n in range(TRIES_PER_SECOND // 2)]
    count, before = len(genuine), on.figures()
    with elsewhere() as other:
        forged = many(other)
        start = time.monotonic()
        for n, data in enumerate(forged):
            other.dut.wire.send(data)
            if genuine and len(forged) - n <= 40 * count and not n % 40:
                RIG.dut.wire.send(genuine.pop())
        seconds = time.monotonic() - start
        on.settle(before, {name: n * count for name, n in late().items()})
    limit_reached(0.9 * len(forged), seconds)


for name, proto in PROTOS.items():
    ktap.add(f"{name} ESN: a flood of forgeries has few second tries", forged_flood, proto)
    ktap.add(f"{name} ESN: a flood of late packets has few second tries", late_flood,
             proto, intree_fails=ESN_LATE)
    ktap.add(f"{name} ESN: a flood of forgeries has few second tries where it may resynchronise",
             resync_flood, proto)


# -- what waits for a second try ---------------------------------------------

@contextlib.contextmanager
def nobody_judges():
    """This thread has the CPU on which alone second tries are made."""
    if impl.INTREE:
        raise ktap.Skip(NO_SECOND)
    with setting.of(UNBOUND, "1"), Monopoly():
        yield


def crowd(on):
    """More forgeries than may wait"""
    return 100 * one_each(on, range(0x7000, 0x7004))


def judged_at_once(changed, wanted):
    """Perhaps in a lane; a sleep would leave the CPU to the one that judges later."""
    deadline = time.monotonic() + 20
    while changed().get("RxForged", 0) < wanted and time.monotonic() < deadline:
        pass
    found = changed()
    if found.get("RxSecondTry"):
        raise ktap.Skip("this kernel gives the one that judges later some time")
    ktap.equal(found.get("RxForged"), wanted, "judged at once")


@ktap.case("ESP ESN: more packets than may wait for a second try")
def queue_full():
    """Those that find no place are forged at once; the others have their try later."""
    on = line(ESP_GCM)
    packets = crowd(on)
    time.sleep(1.1)		# the namespace's budget may be spent
    before = on.dut.counters()

    def changed():
        found = host.delta(before, on.dut.counters())
        return {name: n for name, n in found.items() if name not in UNASKED}
    with nobody_judges():
        for data in packets:
            RIG.dut.wire.send(data)
        judged_at_once(changed, len(packets) - LATE_QUEUE)
    ktap.wait_for(lambda: changed().get("RxForged") == len(packets), "every packet is judged")
    ktap.equal(changed(), {"RxForged": len(packets), "XfrmInStateProtoError": len(packets),
                           "RxSecondTry": LATE_QUEUE}, "what changed")


@ktap.case("ESP ESN: more packets than may wait in another namespace")
def queue_full_elsewhere():
    """A late one has its place in this."""
    on = line(ESP_GCM)
    on.accepts(on.start + 64)
    before = on.figures()
    with elsewhere() as other, nobody_judges():
        packets = crowd(other)
        for data in packets:
            other.dut.wire.send(data)
        judged_at_once(other.dut.counters, len(packets) - LATE_QUEUE)
        RIG.dut.wire.send(on.seal(on.start))
    on.settle(before, late())


def gone_while_late(proto, action, unload=False):
    """Late packets and forged ones wait for their second try when their SA, device or
    namespace goes; afterwards nothing holds the module."""
    RIG.dut.flush()
    RIG.sockets.drain()
    kind, suite = proto
    it = busy.Busy(suite(), kind, V4)
    packets = it.suspects(50, 50)
    try:
        with nobody_judges():
            for data in packets:
                it.rig.dut.wire.send(data)
            judged = {name for name in it.rig.dut.counters() if name not in UNASKED}
            ktap.equal(judged, set(), "what is counted already")
            action(it)
    finally:
        it.flush()
        if unload:
            busy.reload_at_once()
        it.stop()
    busy.let_go()
    on = line(proto)
    on.accepts(on.start + 1)


def late_later(proto, algorithm):
    """The same verdicts where the cipher finishes later"""
    name, kind = algorithm
    with cryptd.instance(f"cryptd({name})", name, kind):
        try:
            esn_late(proto, V4)
            esn_forged(proto, V4)
            resync(proto, V4, 1)
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()


@ktap.case("ESP ESN: the cipher does not take a second try, or is late with it", intree_fails=ESN_LATE)
def late_flaky():
    """That is its fault then, and nobody is said to have forged anything."""
    with flaky.loaded():
        try:
            on = line(ESP_GCM)
            top = on.start + 64
            on.accepts(top)
            flaky.set_to(first=1, error=errno.EIO)
            on.does({"RxCrypto": 1, "XfrmInStateProtoError": 1, "RxSecondTry": 1}, top - 64)
            flaky.reset()
            on.does(late(), top - 64)
            flaky.set_to(late_ms=20)
            on.does(late(), top - 65)
            on.does(FORGED_TWICE, top + (1 << 31), flip_icv=True)
            flaky.reset()
            RIG.dut.wire.unanswered()
            on.accepts(top + 1)
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()


ASYNC = {"ESP": ("rfc4106(gcm(aes))", "aead"), "AH": ("hmac(sha256)", "ahash")}


# -- resynchronisation: RFC 4303 A3 ------------------------------------------

def fails(on, seqs):
    for seq in seqs:
        on.does(FORGED, seq)


def resync(proto, shape, ahead, more=RESYNC):
    on = line(proto, True, 64, shape=shape, more=more)
    on.accepts(on.start + 1)
    far = on.start + 2 + ahead * TOP32
    fails(on, range(far, far + RUN))
    # one try more: it might have been 2^32 older
    on.does({"RxResync": 1, "RxSecondTry": 1 + ahead, "packets": 1}, far + RUN,
            arrives=True)
    replay = on.replay()
    ktap.equal(replay.seq, far + RUN, "top of the window after resynchronisation")
    ktap.check(replay.seen(0), "the packet is not marked")
    on.does(REPLAYED, far + RUN)
    RIG.dut.wire.unanswered()
    on.accepts(far + RUN + 40)
    on.accepts(far + RUN + 39)
    bits_true(on, {far + RUN + 40, far + RUN + 39, far + RUN}, 64)
    refused_after_resync(on, far)


def refused_after_resync(on, far):
    """What was current before is old now."""
    before = on.figures()
    for seq in (on.start + 1, on.start + 2, on.start + 500000):
        RIG.dut.wire.send(on.seal(seq))
    ktap.wait_for(lambda: on.since(before).get("RxForged", 0) +
                  on.since(before).get("RxLate", 0) == 3, "the old numbers are refused")
    ktap.check("packets" not in on.since(before), "an old packet was accepted")
    RIG.dut.wire.unanswered()
    on.accepts(far + RUN + 41)


def resync_burst(proto):
    """Those that wait behind the one that resynchronises are read anew."""
    on = line(proto, True, 64, more=RESYNC)
    on.accepts(on.start + 1)
    far = on.start + 2 + TOP32
    fails(on, range(far, far + RUN))
    packets = [on.seal(far + RUN + n) for n in range(40)]
    before = on.figures()
    for data in packets:
        RIG.dut.wire.send(data)
    ktap.wait_for(lambda: on.since(before).get("packets", 0) +
                  on.since(before).get("failed", 0) == len(packets), "every packet is booked")
    ktap.equal(on.since(before)["packets"], len(packets), "packets accepted")
    ktap.equal(on.since(before)["RxResync"], 1, "times resynchronised")
    bits_true(on, set(range(far + RUN, far + RUN + len(packets))), 64)


def resync_too_far(proto):
    on = line(proto, True, 64, more=RESYNC)
    far = on.start + 2 + (TRIES + 1) * TOP32
    nothing_moves(on, [on.seal(far + n) for n in range(30)])


def resync_not_asked(proto):
    on = line(proto, True, 64)
    nothing_moves(on, [on.seal(on.start + 2 + TOP32 + n) for n in range(30)])


def resync_forged(proto):
    on = line(proto, True, 64, more=RESYNC)
    nothing_moves(on, [on.seal(on.start + 2 + n, flip_icv=True) for n in range(100)])


def nothing_moves(on, packets):
    on.accepts(on.start + 1)
    before = on.figures()
    for data in packets:
        RIG.dut.wire.send(data)
        time.sleep(0.01)		# a burst would only empty the budget
    ktap.wait_for(lambda: on.since(before).get("failed") == len(packets),
                  "every packet fails")
    ktap.equal(on.replay().seq, on.start + 1, "top of the window")
    ktap.check("RxResync" not in on.since(before), "it resynchronised")
    RIG.dut.wire.unanswered()
    on.accepts(on.start + 2)


def resync_run_is_broken(proto):
    """Only consecutive failures count: one good packet proves the window right."""
    on = line(proto, True, 64, more=RESYNC)
    far = on.start + TOP32 + 100
    for n in range(4):
        fails(on, range(far, far + RUN - 1))
        on.accepts(on.start + 1 + n)
    ktap.equal(on.replay().seq, on.start + 4, "top of the window")


def resync_by_parameter(proto):
    ktap.check(os.path.exists(RESYNC_PARAMETER), "no module parameter resync")
    with setting.of(RESYNC_PARAMETER, "1"):
        resync(proto, V4, 1, more="")


@ktap.case("ESP: what resynchronises has the sum inside verified, whatever was known of its own",
           intree_fails=NO_RESYNC)
def resync_checksum():
    """The sender has left the sum of the encrypted packet to a NIC, as a virtual machine does; of
    what is in it that says nothing."""
    on = line(ESP_GCM, True, 64, more=RESYNC)
    on.accepts(on.start + 1)
    far = on.start + 2 + TOP32
    fails(on, range(far, far + RUN))
    before = on.figures()
    next_header, datagram = on.shape.to_dut(b"altered")
    datagram = datagram[:-1] + b"!"
    frame = on.dut.wire.header + b"\x08\0" + on.wrap(on.peer.seal(datagram, next_header, far + RUN))
    with on.dut.outside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind(("wire", 0))
        sock.send(VIRTIO.pack(NEEDS_CSUM, 0, 0, 0, 60, 2) + frame)
    on.settle(before, {"RxResync": 1, "RxSecondTry": 2, "packets": 1})
    # which the other one would come before
    on.accepts(far + RUN + 1)


for name, proto in PROTOS.items():
    for action in (busy.delete_states, busy.remove_device, busy.leave_netns):
        ktap.add(f"{name} ESN: {action.__name__} while packets wait for a second try",
                 gone_while_late, proto, action)
    ktap.add(f"{name} ESN: unload after packets waited for a second try",
             gone_while_late, proto, busy.flush_all, True)
    ktap.add(f"{name} ESN: late, forged, far ahead, with cryptd", late_later, proto, ASYNC[name],
             intree_fails=ESN_LATE)
for name, proto in PROTOS.items():
    for shape in (V4, V6):
        for ahead in (1, 2, TRIES):
            ktap.add(f"{name} {shape}: resynchronises over {ahead} x 2^32 lost packets",
                     resync, proto, shape, ahead, intree_fails=NO_RESYNC)
    ktap.add(f"{name}: resynchronises when the module parameter asks for it",
             resync_by_parameter, proto, intree_fails=NO_RESYNC)
    ktap.add(f"{name}: what waits behind the packet that resynchronises is not lost",
             resync_burst, proto, intree_fails=NO_RESYNC)
    ktap.add(f"{name}: does not resynchronise further than {TRIES} x 2^32",
             resync_too_far, proto)
    ktap.add(f"{name}: does not resynchronise unasked", resync_not_asked, proto)
    ktap.add(f"{name}: forgeries never move the window", resync_forged, proto)
    ktap.add(f"{name}: failures with good packets between them are no reason to "
             "resynchronise", resync_run_is_broken, proto)


# -- sending: RFC 4303 3.3.3 -------------------------------------------------

def sends(on, wanted):
    """The Dut's next packet bears this number, its ICV included."""
    data = os.urandom(40)
    RIG.sockets.send(on.shape, data)
    got, seq = on.opened(RIG.dut.wire.receive(on.number), wanted)
    ktap.equal((got, seq), (data, wanted & 0xffffffff if not on.esn else wanted),
               "data and sequence number")


def overflows(on, wanted):
    before = on.figures()
    try:
        RIG.sockets.send(on.shape, b"one too many")
        ktap.fail("a packet was sent although the numbers are used up")
    except OSError as error:
        # of what is dropped at a device without a queue the core says that
        ktap.equal(error.errno, errno.ENOMEM if "TxExhausted" in wanted else errno.EOVERFLOW,
                   "errno")
    on.equal(on.since(before), wanted)
    RIG.dut.wire.silent(on.number)


def output_ends(proto, esn, window, shape):
    last = (1 << 64) - 1 if esn else TOP32 - 1
    if esn and proto[0] == "esp" and offload():
        output_ends_early(proto, window, shape)
        return
    on = line(proto, esn, window, start=last - 2, shape=shape)
    sends(on, last - 1)
    sends(on, last)
    for _ in range(2):
        overflows(on, {"XfrmOutStateSeqError": 1})
    state = RIG.dut.state(on.shape.there, on.spi_out, on.kind)
    ktap.equal((state.oseq, state.packets), (last, 2), "last number, packets")


def offload():
    with contextlib.suppress(FileNotFoundError), \
            open("/sys/module/ipsec_v3/parameters/offload", encoding="ascii") as file:
        return file.read() == "Y\n"
    return False


def output_ends_early(proto, window, shape):
    """Refusing a packet at the device, the core lowers the last number again, so the
    module holds back as many as one GSO packet may take."""
    last = (1 << 64) - 1 - HELD_BACK
    on = line(proto, True, window, start=last - 2, shape=shape)
    sends(on, last - 1)
    sends(on, last)
    exhausted = {"TxExhausted": 1, "XfrmOutStateProtoError": 1}
    overflows(on, exhausted)
    on = line(proto, True, window, start=(1 << 64) - 2, shape=shape)
    for wanted in (exhausted, {"XfrmOutStateSeqError": 1}, exhausted):
        overflows(on, wanted)


def output_may_wrap(proto, window):
    on = line(proto, False, window, start=TOP32 - 2, more="extra-flag oseq-may-wrap")
    for seq in (TOP32 - 1, 0, 1):
        sends(on, seq)


def output_crosses(proto, shape):
    edge = HIGH + 1 << 32
    on = line(proto, True, 64, start=edge - 3, shape=shape)
    for seq in range(edge - 2, edge + 3):
        sends(on, seq)
    ktap.equal(on.replay(out=True).oseq, edge + 2, "last number sent, from GETAE")


for name, proto in PROTOS.items():
    for esn, size in ((False, 32), (False, 64), (True, 64)):
        for shape in (V4, T6IN6):
            ktap.add(f"{name} {shape} {'ESN' if esn else '32 bits'}, window {size}: "
                     "nothing is sent when the numbers are used up",
                     output_ends, proto, esn, size, shape)
    for size in (32, 64):
        ktap.add(f"{name}, window {size}: oseq-may-wrap goes on at 0",
                 output_may_wrap, proto, size)
    for shape in (V4, V6):
        ktap.add(f"{name} {shape} ESN: sending carries into the high half",
                 output_crosses, proto, shape)


# -- dummy packets: RFC 4303 2.6, 3.4.3 --------------------------------------

DUMMY = {"packets": 1, "RxDummy": 1}


def dummy(shape, suite, esn, encap):
    on = line(("esp", suite), esn, 64, shape=shape, encap=encap)
    RIG.dut.wire.drain()
    seq = on.start
    # the core drops UDP of less than 48 bytes over IPv6 before it looks for ESP
    sizes = (47, 1200) if encap and shape.outer == 6 else (0, 1, 47, 1200)
    for size in sizes:
        seq += 1
        on.does({**DUMMY, **({"bytes": size} if size else {})}, seq,
                dummy=os.urandom(size))
        on.does(REPLAYED, seq, dummy=os.urandom(size))
    # the window has moved: the number is used, those around it are not
    ktap.equal(on.replay().seq, seq, "top of the window")
    on.does(REPLAYED, seq)
    on.accepts(seq + 2)
    on.does({**DUMMY, "bytes": sizes[-1]}, seq + 1, dummy=bytes(sizes[-1]))
    on.does(REPLAYED, seq + 1)
    bits_true(on, set(range(on.start + 1, seq + 3)), 64)
    for proto in (packet.ICMP, packet.ICMP6):
        RIG.dut.wire.silent(proto, 0.1)


def dummy_tfc():
    """TFC padding of a tunnel's dummy (RFC 4303 2.7) is thrown away with it"""
    on = line(ESP_GCM, True, 64, shape=T4IN4)
    on.does({**DUMMY, "bytes": 900}, on.start + 1, dummy=bytes(100), tfc=bytes(800))


def dummy_lifetime():
    on = line(ESP_GCM, True, 64, more="limit packet-hard 3")
    for seq in range(1, 4):
        on.does(DUMMY, on.start + seq, dummy=b"")
    before = RIG.dut.counters()
    RIG.dut.wire.send(on.seal(on.start + 4, dummy=b""))
    ktap.wait_for(lambda: RIG.dut.counters().get("XfrmInStateExpired", 0) >
                  before.get("XfrmInStateExpired", 0), "the SA is used up")


def dummy_forged():
    on = line(ESP_GCM, True, 64)
    on.does(FORGED, on.start + 1, dummy=b"", flip_icv=True)
    on.does(DUMMY, on.start + 1, dummy=b"")


def dummy_late():
    on = line(ESP_GCM, True, 64)
    on.accepts(on.start + 100)
    on.does(late(), on.start + 1, dummy=b"")


def dummy_without_window():
    on = line(ESP_GCM, False, 0, start=0)
    for seq in (1, 1, 0):
        on.does(DUMMY, seq, dummy=b"")


def dummy_legacy_edges():
    """32 bits in one word: a dummy may shift all of them out"""
    on = line(ESP_GCM, False, 32)
    for step in (1, 31, 32, 33, 1000):
        on.start += step
        on.does(DUMMY, on.start, dummy=b"")
        on.does(REPLAYED, on.start)
    on.does(LEFT, on.start - 32)
    on.accepts(on.start - 31)


def dummy_crosses(window):
    edge = HIGH + 1 << 32
    on = line(ESP_GCM, True, window, start=edge - 3)
    for seq in (edge - 1, edge + 1, edge, edge - 2, edge + 5):
        on.does(DUMMY, seq, dummy=b"")
        on.does(REPLAYED, seq)
    on.accepts(edge + 2)
    bits_true(on, {edge - 2, edge - 1, edge, edge + 1, edge + 2, edge + 5}, window)


for shape in (V4, V6, T4IN4, T6IN6):
    for esn in (False, True):
        ktap.add(f"dummy packets, {shape}, {'ESN' if esn else '32 bits'}", dummy, shape,
                 gcm, esn, False, intree_fails=NO_DUMMIES)
    ktap.add(f"dummy packets, {shape}, in UDP", dummy, shape, chacha,
             True, True, intree_fails=NO_DUMMIES)
ktap.add("dummy packets, separate ICV", dummy, V4, ESP_CBC[1], True, False,
         intree_fails=NO_DUMMIES)
ktap.add("dummy with TFC padding", dummy_tfc, intree_fails=NO_DUMMIES)
ktap.add("dummies use up a lifetime", dummy_lifetime, intree_fails=NO_DUMMIES)
ktap.add("a forged dummy is forged", dummy_forged, intree_fails=NO_DUMMIES)
ktap.add("a late dummy is late", dummy_late, intree_fails=ESN_LATE)
ktap.add("dummies without a window", dummy_without_window, intree_fails=NO_DUMMIES)
ktap.add("dummies in a window of 32 without ESN", dummy_legacy_edges,
         intree_fails=NO_DUMMIES)
for size in (8, 64, 100):
    ktap.add(f"dummies around 2^32 in a window of {size}", dummy_crosses, size,
             intree_fails=NO_DUMMIES)


# -- padding: RFC 4303 2.4, 2.5 ----------------------------------------------

PADDING = {"XfrmInStateProtoError": 1, "RxPadding": 1}


def every_pad_length(proto, shape):
    on = line(proto, True, 512, shape=shape)
    block = max(4, on.peer.suite.block)
    for length in range(256):
        size = 40 + -(len(on.inner(bytes(40))) + length + 2) % block
        on.accepts(on.start + 1 + length, data=os.urandom(size),
                   pad=bytes(range(1, length + 1)))


def wrong_padding(proto, shape):
    on = line(proto, True, 64, shape=shape)
    block = max(4, on.peer.suite.block)
    free = -(len(on.inner(bytes(40))) + 2) % block + 16
    right = bytes(range(1, free + 1))
    for pad in (bytes(free), bytes([free]) * free, b"\0" + right[1:],
                right[:-1] + b"\0", right[::-1], bytes(range(free))):
        on.does(PADDING, on.start + 1, data=bytes(40), pad=pad)
    on.accepts(on.start + 1, data=bytes(40), pad=right)


for name, proto, shape in (("GCM", ESP_GCM, V4), ("GCM", ESP_GCM, T6IN6),
                           ("CBC", ESP_CBC, V4), ("CBC", ESP_CBC, V6)):
    ktap.add(f"every pad length, {name}, {shape}", every_pad_length, proto, shape)
    ktap.add(f"padding that is not 1, 2, 3 ..., {name}, {shape}", wrong_padding, proto,
             shape, intree_fails="padding is not looked at")


ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
