#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What goes wrong on a bad day, with packets under way: limits are reached, SAs and
policies change, a CPU goes, a cipher fails or is late, memory is short, clocks jump, a
peer comes back with old numbers.  Afterwards traffic flows again, and nothing holds
the module.

Deletions, devices, namespaces and unloading in flight are in async.py; a load or a
new SA without memory in life.py and refuse.py; each reason of a drop in drops.py.
"""

import contextlib
import errno
import os
import random
import socket
import subprocess
import time

from lib import busy, host, impl, ktap, packet, xfrm
from lib.busy import gone_in_flight, let_go
from lib.line import Line, Rig
from lib.memory import NoMemory
from lib.shape import PORT_DUT, PORT_PEER, SPI_IN, SPI_OUT, TRANSPORT, TUNNEL
from lib.suite import GCM, Combined, Separate

START = 68 << 32 | 100000
V4, V6 = TRANSPORT
SUITES = {"esp": lambda: Combined(GCM),
          "ah": lambda: Separate(auth="hmac(sha256)", bits=128)}
SHORT = bool(os.environ.get("IPSEC_SHORT"))
BURST = 100 if SHORT else 400
RIG = Rig()


def line(shape=V4, kind="esp", window=64, start=START, **more):
    return Line(RIG, shape, SUITES[kind](), kind, True, window, start, **more)


def flows(shape=V4, kind="esp"):
    """A new pair of SAs carries packets, and is let go."""
    on = line(shape, kind)
    on.accepts(START + 1)
    on.sends(1)
    RIG.dut.flush()
    RIG.sockets.drain()
    let_go()


def ends(on):
    """[(source, destination, SPI)] of both SAs"""
    here, there = on.shape.here, on.shape.there
    return [(here, there, SPI_OUT), (there, here, SPI_IN)]


# -- in flight: expiry, update, migration, policies ---------------------------------

def expire(it):
    """As when the time is up"""
    for src, dst, spi in ends(it.on):
        sa = xfrm.usersa(src, dst, spi, it.on.kind, it.on.shape.mode)
        it.rig.dut.xfrm().request(xfrm.EXPIRE, sa + b"\1" + bytes(7))


def update(it):
    """With the same keys, as a key manager that changes a limit"""
    words = it.on.peer.suite.words(**({"ah": True} if it.on.kind == "ah" else {}))
    for src, dst, spi in ends(it.on):
        it.rig.dut.ip(host.state_line(src, dst, spi, words, it.on.kind, it.on.shape.mode,
                                      esn=True, window=4096, verb="update",
                                      more="limit packet-hard 100000"))


def all_arrive(it):
    """Nothing that was under way is lost, nothing is counted twice."""
    dut, out = it.rig.dut, len(it.packets[::3])
    for (_, dst, spi), count in zip(ends(it.on), (out, len(it.packets))):
        ktap.wait_for(lambda dst=dst, spi=spi, count=count: dut.state(
            dst, spi, it.on.kind).packets == count, f"{count} packets of {spi:#x}", 60)
    ktap.equal({n: v for n, v in dut.counters().items() if n.startswith("Xfrm")}, {},
               "counters")


def migrate(it):
    """To another source address and back"""
    shape = it.on.shape
    ports = (shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT)
    here, there = shape.here, shape.there
    other = "10.0.0.99" if shape.outer == 4 else "fd00::99"
    for old, new in ((there, other), (other, there)):
        it.rig.dut.xfrm().migrate("in", xfrm.udp_selector(*ports), (old, here), (new, here),
                                  shape.mode, it.on.kind)


def still_flows(it):
    """The same SA, beyond what was under way"""
    seq = it.on.start + len(it.packets) + 1000
    data = b"after all of that"
    it.rig.dut.wire.send(it.on.seal(seq, data))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if it.rig.sockets.receive(it.on.shape) == data:
            return
    ktap.fail("the datagram did not arrive")


def delete_policies(it):
    it.rig.dut.ip("xfrm policy flush")


def block(it):
    """The policy that lets in what the SA protects now blocks it."""
    for direction in ("in", "out"):
        it.rig.dut.ip(it.on.shape.policy(direction, rule="action block priority 0").replace(
            "policy add", "policy update"))


def flap(it):
    """Down, and up again before the packets are done"""
    it.rig.dut.ip("link set v0 down")
    it.rig.dut.ip("link set v0 up")


ACTIONS = {"SAs expire": (expire, None), "SAs are updated": (update, all_arrive),
           "SAs migrate": (migrate, still_flows), "policies go": (delete_policies, None),
           "policies block": (block, None), "the link flaps": (flap, None)}

for _kind in busy.KINDS:
    for _shape in (V4, TUNNEL[3]):
        for _name, (_action, _after) in ACTIONS.items():
            if _name == "SAs migrate" and _shape.mode == "transport":
                continue	# 6.1 and 6.12 migrate tunnels
            ktap.add(f"in flight: {_name}, {_kind}, {_shape}", gone_in_flight, _kind, _shape,
                     _action, _after)
    ktap.add(f"in flight: the limit is reached, {_kind}", lambda kind=_kind: gone_in_flight(
        kind, V6, lambda it: None, more="limit packet-hard 50"))


# -- a cipher that fails, or is late -------------------------------------------------

FLAKY = "/sys/module/ipsec_v3_flaky/parameters"


def flaky_set(**values):
    for name, value in values.items():
        with open(f"{FLAKY}/{name}", "w", encoding="ascii") as file:
            file.write(str(value))


@contextlib.contextmanager
def flaky():
    """While it is there a new SA with AES-GCM gets it."""
    if impl.modprobe("ipsec_v3_flaky"):
        raise ktap.Skip("there is no ipsec_v3_flaky, which tools/testing/vm/run builds")
    try:
        yield
    finally:
        flaky_set(error=0, late_ms=-1, late_error=0)
        RIG.dut.flush()
        RIG.sockets.drain()
        ktap.wait_for(lambda: not impl.modprobe("-r", "ipsec_v3_flaky"), "it unloads", 60)


def not_taken(shape, error, rx, tx):
    """Each packet is dropped and named, and the next is as good as any."""
    with flaky():
        on = line(shape, window=4096)
        before = on.figures()
        flaky_set(error=error)
        for n in range(1, 11):
            RIG.dut.wire.send(on.seal(START + n))
        on.settle(before, {rx: 10, "XfrmInStateProtoError": 10,
                           **({"failed": 10} if rx == "RxForged" else {})})
        before = on.figures()
        for _ in range(10):
            with contextlib.suppress(OSError):	# the core may tell the sender
                RIG.sockets.send(shape, b"one of ten")
        on.settle(before, {tx: 10, "XfrmOutStateProtoError": 10})
        flaky_set(error=0)
        on.accepts(START + 1)
        on.sends(11)


def finished_late(shape, error, wanted):
    """The same verdicts when they come later"""
    with flaky():
        on = line(shape, window=4096)
        flaky_set(late_ms=20, late_error=error)
        before = on.figures()
        for n in range(1, 11):
            RIG.dut.wire.send(on.seal(START + n))
        on.settle(before, wanted, 30)
        before = on.figures()
        for _ in range(10):
            RIG.sockets.send(shape, b"one of ten")
        if error:
            on.settle(before, {"TxCrypto": 10, "XfrmOutStateProtoError": 10}, 30)
        else:
            for _ in range(10):
                on.opened(RIG.dut.wire.receive(packet.ESP), START)
        flaky_set(late_ms=-1, late_error=0)
        RIG.sockets.drain()
        on.accepts(START + 11)
        on.sends(11)


def gone_before_late(shape, action):
    """The SA, or all of it, is gone when the cipher finishes."""
    with flaky():
        flaky_set(late_ms=-1)
        it = busy.Busy(Combined(GCM), "esp", shape)
        try:
            flaky_set(late_ms=300)
            it.fill()
            action(it)
        finally:
            it.flush()
            it.stop()
        let_go()


for _shape in (V4, V6, TUNNEL[3]):
    for _error, _rx, _tx in ((errno.EIO, "RxCrypto", "TxCrypto"),
                             (errno.EINVAL, "RxCrypto", "TxCrypto"),
                             (errno.EBUSY, "RxCrypto", "TxBusy"),
                             (errno.ENOSPC, "RxCrypto", "TxBusy"),
                             (errno.ENOMEM, "RxNoMemory", "TxNoMemory")):
        ktap.add(f"cipher: does not take it, {errno.errorcode[_error]}, {_shape}", not_taken,
                 _shape, _error, _rx, _tx)
    ktap.add(f"cipher: late, {_shape}", finished_late, _shape, 0, {"packets": 10})
    ktap.add(f"cipher: late and in vain, {_shape}", finished_late, _shape, errno.EIO,
             {"RxCrypto": 10, "XfrmInStateProtoError": 10})
    for _name, _action in (("the SAs are flushed", lambda it: it.rig.dut.flush()),
                           ("the device goes", lambda it: it.rig.dut.ip("link del v0")),
                           ("the namespace goes", lambda it: it.stop())):
        ktap.add(f"cipher: late, {_name}, {_shape}", gone_before_late, _shape, _action)


# -- memory ----------------------------------------------------------------------------

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
    ktap.say(on.since(before))
    RIG.sockets.drain()
    RIG.dut.wire.drain()
    flows(shape, kind)


for _shape in (V4, TUNNEL[3]):
    for _kind in SUITES:
        for _all in (False, True):
            ktap.add(f"memory: {'a tenth of the kernel' if _all else 'a third of the module'}"
                     f"'s allocations fail, {_kind} {_shape}", short_of_memory, _shape, _kind,
                     _all)

EATER = """
import mmap
held = []
open("/proc/self/oom_score_adj", "w").write("1000")
while True:
    piece = mmap.mmap(-1, 4 << 20)
    for at in range(0, len(piece), 4096):
        piece[at] = 1
    held.append(piece)
"""


@ktap.case("memory: all of it is used up")
def used_up():
    """Until the kernel kills who does it"""
    if os.path.exists("/sys/kernel/debug/kmemleak") or os.path.exists("/sys/kernel/debug/failslab"):
        raise ktap.Skip("takes too long on the debug kernel")
    on = line(window=4096)
    sent = 0
    with subprocess.Popen(["/usr/bin/python3", "-c", EATER]) as eater:
        while eater.poll() is None:
            sent += 1
            RIG.dut.wire.send(on.seal(START + sent, bytes(1000)))
            with contextlib.suppress(OSError):
                RIG.sockets.send(V4, bytes(9000))
            if sent % 50 == 0:
                RIG.sockets.drain()
                RIG.dut.wire.drain()
    ktap.say(f"{sent} packets each way; the eater ended with {eater.returncode}")
    flows()


# -- a CPU goes ------------------------------------------------------------------------

@ktap.case("CPU: one goes offline and comes back under traffic")
def cpu_offline():
    knob = "/sys/devices/system/cpu/cpu1/online"
    if not os.path.exists(knob):
        raise ktap.Skip("there is one CPU, or it cannot be taken away")

    def switch(value):
        with open(knob, "w", encoding="ascii") as file:
            file.write(value)

    for kind in SUITES:
        on = line(window=4096, kind=kind)
        child = os.fork()
        if not child:
            os.sched_setaffinity(0, {0, 1})
            while True:
                with contextlib.suppress(OSError):
                    RIG.sockets.send(V4, bytes(500))
        try:
            for n in range(3 if SHORT else 10):
                switch("0")
                both_ways(on, 30)
                switch("1")
                on = line(window=4096, kind=kind)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        RIG.dut.wire.drain()
        RIG.sockets.drain()
        flows(kind=kind)


# Left of the window: in-tree takes it for a forgery
LATE = {"XfrmInStateSeqError": 1, "late": 1, "RxLate": 1, "RxSecondTry": 1}
LATE_FORGED = "with ESN a late packet is a forgery"

# -- a clock jumps -----------------------------------------------------------------------

@contextlib.contextmanager
def clock():
    """Puts the clock right again."""
    real, running = time.time(), time.monotonic()
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, real + time.monotonic() - running)


def clock_jumps(kind, seconds):
    """An SA without limits does not notice; nor does the budget for late packets."""
    with clock():
        on = line(kind=kind)
        on.accepts(START + 1)
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
        on.accepts(START + 200)
        on.sends(1)
        on.does(LATE, START + 2)
    RIG.dut.flush()


def clock_kills(kind):
    """A limit in time is one of the clock: a jump beyond it ends the SA, and a new one
    is as good as any."""
    with clock():
        on = line(kind=kind, more="limit time-hard 600")
        on.accepts(START + 1)
        time.clock_settime(time.CLOCK_REALTIME, time.time() + 1000)
        for n in range(2, 5):
            RIG.dut.wire.send(on.seal(START + n))
    flows(kind=kind)


for _kind in SUITES:
    for _jump in (86400 * 365, -3600):
        ktap.add(f"clock: jumps by {_jump} s, {_kind}", clock_jumps, _kind, _jump,
                 intree_fails=LATE_FORGED)
    ktap.add(f"clock: jumps over a limit, {_kind}", clock_kills, _kind)


# -- a peer comes back, or we do -----------------------------------------------------------

REPLAYED = {"XfrmInStateSeqError": 1, "replayed": 1}


def peer_reboots(shape, kind):
    """Stale: it sends numbers that it has used, and nothing is delivered twice.
    Fresh: it goes on further up."""
    on = line(shape, kind, 64)
    for n in range(1, 71):
        on.accepts(START + n)
    for n in (10, 40, 69, 70):
        on.does(REPLAYED, START + n)
    on.does(LATE, START + 5)
    on.accepts(START + 71)
    on.accepts(START + 5000)


def across_the_wrap(shape, kind):
    """Our own window is restored from before 2^32, the peer is past it."""
    stale, now = (68 << 32) - 100, (68 << 32) + 900
    on = line(shape, kind, 64, stale)
    on.accepts(now)
    on.accepts(now + 1)
    on.does(REPLAYED, now)


def we_reboot(shape, kind):
    """Restored stale, an old packet is new to us: what RFC 4303 5 asks of who restores.
    Restored fresh, it is a replay; and both go on."""
    on = line(shape, kind, 64)
    old = START + 40
    for number in range(1, 51):
        on.accepts(START + number)
    on = line(shape, kind, 64, START)		# stale
    on.accepts(old)
    on.accepts(START + 51)
    on.sends(1)
    on = line(shape, kind, 64, START + 51)	# fresh, with the marks
    RIG.dut.xfrm().new_ae(shape.there, shape.here, SPI_IN, START + 51, 0, 64,
                          (0xffffffff, 0xffffffff), kind)
    for number in (START + 51, old):
        on.does(REPLAYED, number)
    on.accepts(START + 52)
    on.sends(1)


for _shape in (V4, V6, TUNNEL[0], TUNNEL[3]):
    for _kind in SUITES:
        ktap.add(f"reboot: of the peer, {_kind} {_shape}", peer_reboots, _shape, _kind,
                 intree_fails=LATE_FORGED)
        ktap.add(f"reboot: ours, {_kind} {_shape}", we_reboot, _shape, _kind)
        ktap.add(f"reboot: ours, over 2^32, {_kind} {_shape}", across_the_wrap, _shape, _kind)


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


def full_conntrack(shape, kind):
    """It has no room for what was inside: all of that is dropped behind the SA, which
    counts it."""
    limit = "/proc/sys/net/netfilter/nf_conntrack_max"
    nft(CONNTRACK)
    with open(limit, encoding="ascii") as file:
        usual = file.read()
    held = connection()
    on = line(shape, kind, 4096)
    try:
        with open(limit, "w", encoding="ascii") as file:
            file.write("1")
        before, refused = on.figures(), refused_by_conntrack()
        for n in range(1, 51):
            RIG.dut.wire.send(on.seal(START + n))
        on.settle(before, {"packets": 50})
        ktap.wait_for(lambda: refused_by_conntrack() == refused + 50, "conntrack drops 50")
    finally:
        with open(limit, "w", encoding="ascii") as file:
            file.write(usual)
        nft("delete table inet full")
        for sock in held:
            sock.close()
    on.accepts(START + 51)
    flows(shape, kind)


for _shape in (V4, TUNNEL[3]):
    for _kind in SUITES:
        ktap.add(f"conntrack is full, {_kind} {_shape}", full_conntrack, _shape, _kind)

if SHORT:
    del ktap.CASES[1::2]
ktap.CASE_SECONDS = 600
ktap.main(lambda: RIG.start(mtu=65535), RIG.stop)
