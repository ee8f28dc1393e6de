#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What there is too little of: memory, room in conntrack.  Afterwards traffic flows
again, and nothing holds the module.

A load or a new SA without memory is in life.py and refuse.py, each reason of a drop
in drops.py.
"""

import collections
import contextlib
import os
import random
import socket
import subprocess
import time

from lib import host, impl, ktap, setting
from lib.faults import LATE, RIG, SHORT, START, SUITES, flows, line, one_of
from lib.line import QUIET, UNASKED, one_cpu, wanted_here
from lib.memory import NoMemory, each_allocation
from lib.packet import ESP, split
from lib.shape import SPI_OUT, T6IN4, T6IN6, V4, V6
from lib.tun import Tun
from lib.whole import SEGMENTS, Whole, encrypted_for_device

BURST = 100 if SHORT else 400


def both_ways(on, count=BURST):
    """As good and as bad as it goes"""
    for n in range(1, count + 1):
        RIG.dut.wire.send(on.seal(on.start + n, bytes(random.randrange(1500))))
        with contextlib.suppress(OSError):
            RIG.sockets.send(on.shape, bytes(random.randrange(20000)))


def short_of_memory(shape, kind, all_code):
    """A part of the allocations fails: the packets' own, and then whoever's is next."""
    on = line(shape, kind, 4096)
    before = on.figures()
    with NoMemory(10 if all_code else 30, all_code):
        both_ways(on)
    changed = on.since(before)
    ktap.say(changed)
    if not all_code:	# AH appends nothing, writes into no payload, and takes its request from the cache
        ktap.equal(bool({"RxNoMemory", "TxNoMemory"} & set(changed)), kind == "esp", "something failed")
    RIG.sockets.drain()
    RIG.dut.wire.drain()
    flows(shape, kind)


for _s, _shape in enumerate((V4, T6IN6)):
    for _k, _kind in enumerate(SUITES):
        for _all in filter(lambda wide, n=_s + _k: one_of(2, n, wide), (False, True)):
            ktap.add(f"memory: {'a tenth of the kernel' if _all else 'a third of the module'}"
                     f"'s allocations fail, {_kind} {_shape}", short_of_memory, _shape, _kind,
                     _all)

# -- one allocation after the other ------------------------------------------------------

# what an SA counts of a packet that it loses, and what the core does that loses it before
LOST_IN = ({"RxNoMemory": 1, "XfrmInStateProtoError": 1}, {"XfrmInError": 1})
LOST_OUT = ({"TxNoMemory": 1, "XfrmOutStateProtoError": 1}, {"XfrmOutError": 1}, {"XfrmOutBundleGenError": 1})
FORGED = {"RxForged": 1, "failed": 1, "XfrmInStateProtoError": 1}	# in-tree, and without a copy
LARGE = 30000		# lies in pages


def outcome(on, before, known, patience=QUIET):
    """Which of the known changes has come about; none when nothing has changed for so long"""
    known = [wanted_here(changes) for changes in known]
    deadline = time.monotonic() + patience
    while True:
        changed = {name: n for name, n in on.since(before).items() if name not in UNASKED}
        if changed in known:
            return changed
        if time.monotonic() > deadline:
            ktap.equal(changed, {}, "what changed")
            return changed
        time.sleep(0.01)


def each_fails(once, name, shape=V4, kind="esp"):
    """once() has each allocation of a packet fail, whoever asks for it, and yields what was counted.

    The allocator's own come and go, so that the one that makes the SA lose a packet, by name, may
    be jumped over: then all of them have another turn.
    """
    for _ in range(5):
        seen = list(once())
        ktap.say(f"{len(seen) - 1} allocations: " + ", ".join(
            f"{n} x {dict(changes) or 'nothing'}" for changes, n in collections.Counter(
                tuple(changes.items()) for changes in seen).items()))
        if impl.INTREE or not name or any(name in changes for changes in seen):
            flows(shape, kind)
            return
    ktap.fail(f"none is {name}")


def one_fails_in(shape, kind, late):
    """The packet comes as it is or not at all."""
    on = line(shape, kind, 64 if late else 4096)
    known = ({"packets": 1}, *((LATE, FORGED) if late else ()), *LOST_IN)
    with contextlib.closing(Tun(RIG.dut)) as tun:
        for failing in each_allocation():
            data = os.urandom(LARGE)
            sealed = on.seal(START - 1000 if late else START + failing.number, data)
            before = on.figures()
            with failing, contextlib.suppress(OSError):
                tun.write(sealed)
            changed = outcome(on, before, known)
            came = RIG.sockets.waiting(shape)
            ktap.check(came == [data] if changed == {"packets": 1} else not came, "what came is what was sent")
            yield changed


def on_the_wire(protocol):
    """Packets of an IP protocol, until none comes any more"""
    return [data for data in iter(lambda: RIG.dut.wire.next(QUIET), None) if split(data)[1] == protocol]


def one_fails_out(shape, kind):
    """Likewise"""
    on = line(shape, kind)
    came = 0
    for failing in each_allocation():
        data = os.urandom(LARGE)
        before = on.figures()
        with failing, contextlib.suppress(OSError):
            RIG.sockets.send(shape, data)
        left = on_the_wire(on.number)
        changed = outcome(on, before, LOST_OUT, 0)
        came += len(left)
        if left:
            ktap.equal(([on.opened(each, START)[0] for each in left], changed), ([data], {}), "data, and what changed")
        yield changed
    ktap.check(came, "none came out")


def one_fails_whole():
    """All of its segments leave, or none: a segment is in one piece and has room, so that encrypting
    it takes no memory (flight.py has a cipher that gives out on the way)."""
    encrypted_for_device()
    on = line(V6)		# it has the figures
    with contextlib.closing(Whole(RIG.dut, V4.here, V4.there, START)) as whole:
        for failing in each_allocation():
            virtio, data = whole.make()
            before = on.figures()
            with failing, contextlib.suppress(OSError):
                whole.write(data, virtio)
            left = [whole.part(each, data) for each in on_the_wire(ESP)]
            changed = outcome(on, before, LOST_OUT, 0)
            parts, lost = [part for part, _ in left], SEGMENTS - len(left)
            ktap.equal(parts, sorted(set(parts)), "segments")
            ktap.check(lost in {0, SEGMENTS}, f"{lost} of the segments did not leave")
            ktap.equal(len({number - part for part, number in left}), bool(left), "the number goes with the part")
            yield changed


for _s, _shape in enumerate((V4, V6, T6IN4)):
    for _k, _kind in enumerate(SUITES):
        if not one_of(2, _s, _k):
            continue
        # an AH packet needs no memory of the SA's
        ktap.add(f"memory: each allocation of a packet that comes fails once, {_kind} {_shape}", each_fails,
                 lambda s=_shape, k=_kind: one_fails_in(s, k, False), "RxNoMemory" if _kind == "esp" else None,
                 _shape, _kind)
        ktap.add(f"memory: each allocation of a packet that is sent fails once, {_kind} {_shape}", each_fails,
                 lambda s=_shape, k=_kind: one_fails_out(s, k), "TxNoMemory" if _kind == "esp" else None,
                 _shape, _kind)


@ktap.case("memory: each copy of a packet that comes late fails")
def no_copy():
    """Without the first copy, which a softirq makes, there is no second try, and it is forged; without
    the second, which a worker makes, it is lost for want of memory."""
    on = line()
    with one_cpu():
        on.does(LATE, START - 1000)
        with NoMemory():
            on.does(FORGED, START - 1000)
        with NoMemory(function="late_work"):
            on.does({"RxNoMemory": 1, "XfrmInStateProtoError": 1, "RxSecondTry": 1}, START - 1000)
        on.does(LATE, START - 1000)
    flows()


ktap.add("memory: each allocation of a packet that comes late fails once", each_fails,
         lambda: one_fails_in(V4, "esp", True), "RxForged")
if not SHORT:
    ktap.add("memory: each allocation of a GSO packet fails once", each_fails, one_fails_whole, None)


# -- all of it ---------------------------------------------------------------------------

# Locked, or the kernel would take the program's own pages first, and read them again
MCL_CURRENT = 1
EATER = """
import ctypes, mmap
open("/proc/self/oom_score_adj", "w").write("1000")
ctypes.CDLL(None).mlockall(3)
held = []
while True:
    held.append(mmap.mmap(-1, 4 << 20))
"""


def short_by_now():
    """Is what could still be had a few percent?"""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split()[:2] for line in file)
    return int(found["MemAvailable:"]) < int(found["MemTotal:"]) / 30


@ktap.case("memory: all of it is used up")
def used_up():
    """Until the kernel kills who does it, or for so many packets: it may take long to
    look for something that it can free."""
    if os.path.exists("/sys/kernel/debug/kmemleak") or os.path.exists("/sys/kernel/debug/failslab"):
        raise ktap.Skip("takes too long on the debug kernel")
    on = line(window=4096)
    sent, short = 0, 0
    host.LIBC.mlockall(MCL_CURRENT)
    with subprocess.Popen(["/usr/bin/python3", "-c", EATER]) as eater:
        while eater.poll() is None and short < BURST:
            sent += 1
            short += short_by_now()
            RIG.dut.wire.send(on.seal(START + sent, bytes(1000)))
            with contextlib.suppress(OSError):
                RIG.sockets.send(V4, bytes(9000))
            if sent % 50 == 0:
                RIG.sockets.drain()
                RIG.dut.wire.drain()
        killed = eater.poll()
        eater.kill()
    host.LIBC.munlockall()
    ktap.say(f"{sent} packets each way, {short} of them when memory was short")
    ktap.check(short == BURST or killed == -9, f"the eater ended with {killed}")
    flows()


# -- conntrack is full -------------------------------------------------------------------

def nft(rules):
    done = RIG.dut.run("nft", "-f", "-", input=rules, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    if done.returncode:
        raise ktap.Skip(f"no nftables here: {done.stdout.strip()}")


CONNTRACK = """table inet full {
	chain early {
		type filter hook prerouting priority -300
		meta l4proto { esp, ah } notrack
	}
	chain sent {
		type filter hook output priority -300
		meta l4proto %s notrack
	}
	chain late {
		type filter hook input priority 0
		ct state new accept
	}
}
"""


def connection():
    """One that conntrack does not give up for another"""
    with RIG.dut.inside():
        listener = socket.create_server(("127.0.0.1", 0))
        sock = socket.create_connection(listener.getsockname())
    return listener, sock


def refused_by_conntrack():
    with RIG.dut.inside(), open("/proc/thread-self/net/stat/nf_conntrack", encoding="ascii") as file:
        names, *rows = [line.split() for line in file]
    return sum(int(row[names.index("drop")], 16) for row in rows)


INSIDE, AROUND = "udp", "{ esp, ah }"


@contextlib.contextmanager
def full_conntrack(untracked):
    """It has no room for anything but what is not tracked when it is sent."""
    nft(CONNTRACK % untracked)
    held = connection()
    try:
        with setting.of("/proc/sys/net/netfilter/nf_conntrack_max", 1):
            yield
    finally:
        nft("delete table inet full")
        for sock in held:
            sock.close()


def drops_of_conntrack(refused):
    ktap.wait_for(lambda: refused_by_conntrack() == refused, f"conntrack drops {refused}")


def received_by_full(shape, kind):
    """All that was inside is dropped behind the SA, which counts it."""
    on = line(shape, kind, 4096)
    with full_conntrack(AROUND):
        before, refused = on.figures(), refused_by_conntrack()
        for n in range(1, 51):
            RIG.dut.wire.send(on.seal(START + n))
        on.settle(before, {"packets": 50})
        drops_of_conntrack(refused + 50)
    on.accepts(START + 51)
    flows(shape, kind)


def sent_by_full(shape, kind):
    """What shall be inside is dropped before the SA, which knows nothing of it; where only that is let
    pass, the SA's packet is dropped behind it."""
    on = line(shape, kind, 4096)
    before = on.figures()
    for untracked, numbers in ((AROUND, 0), (INSIDE, 50)):
        with full_conntrack(untracked):
            refused = refused_by_conntrack()
            for _ in range(50):
                with contextlib.suppress(PermissionError):
                    RIG.sockets.send(shape, b"one of many")
            drops_of_conntrack(refused + 50)
        ktap.equal(RIG.dut.state(shape.there, SPI_OUT, kind).packets, numbers, "packets of the SA")
        RIG.dut.wire.silent(on.number)
    on.settle(before, {})
    on.sends(51)
    flows(shape, kind)


for _s, _shape in enumerate((V4, T6IN6)):
    for _kind in list(SUITES)[_s:_s + 1] if SHORT else SUITES:
        ktap.add(f"conntrack is full, received, {_kind} {_shape}", received_by_full, _shape, _kind)
        ktap.add(f"conntrack is full, sent, {_kind} {_shape}", sent_by_full, _shape, _kind)

ktap.CASE_SECONDS = 600
ktap.main(lambda: RIG.start(mtu=65535), RIG.stop)
