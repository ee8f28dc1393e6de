#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packets under way, in queues or in a cipher that is late, while SAs expire, are updated,
migrate, reach a limit or go, policies change, the link flaps; a cipher that fails.
Afterwards traffic flows again, and nothing holds the module.

Deletions, devices, namespaces and unloading in flight are in async.py.
"""

import contextlib
import errno
import re
import subprocess

from lib import busy, change, flaky, host, ktap, packet
from lib.busy import gone_in_flight, let_go
from lib.faults import RIG, START, SUITES, V4, V6, flows, line, one_of
from lib.shape import TUNNEL
from lib.whole import SEGMENTS, Whole, encrypted_for_device

# -- in flight: expiry, update, migration, policies ---------------------------------

def gone(kind, *arguments, **more):
    gone_in_flight(kind, *arguments, **more)
    flows(V4, busy.KINDS[kind][2])


for _k, _kind in enumerate(busy.KINDS):
    for _s, _shape in enumerate((V4, TUNNEL[3])):
        for _a, (_name, (_action, _after)) in enumerate(change.ACTIONS.items()):
            if change.possible(_name, _shape) and one_of(6, _k, _a, 3 * _s):
                ktap.add(f"in flight: {_name}, {_kind}, {_shape}", gone, _kind, _shape, _action, _after)
    if one_of(3, _k):
        ktap.add(f"in flight: the limit is reached, {_kind}", lambda kind=_kind: gone(
            kind, V6, lambda it: None, more="limit packet-hard 50"))


# -- a cipher that fails, or is late -------------------------------------------------

@contextlib.contextmanager
def unreliable():
    """While it is there a new SA with AES-GCM, or AH with HMAC-SHA-256, gets it."""
    with flaky.loaded():
        try:
            yield
        finally:
            flaky.reset()
            RIG.dut.flush()
            RIG.sockets.drain()


def not_taken(kind, shape, error, rx, tx):
    """Each packet is dropped and named, and the next is as good as any."""
    with unreliable():
        on = line(shape, kind, window=4096)
        before = on.figures()
        flaky.set_to(error=error)
        for n in range(1, 11):
            RIG.dut.wire.send(on.seal(START + n))
        on.settle(before, {rx: 10, "XfrmInStateProtoError": 10,
                           **({"failed": 10} if rx == "RxForged" else {})})
        before = on.figures()
        for _ in range(10):
            with contextlib.suppress(OSError):	# the core may tell the sender
                RIG.sockets.send(shape, b"one of ten")
        on.settle(before, {tx: 10, "XfrmOutStateProtoError": 10})
        flaky.set_to(error=0)
        on.accepts(START + 1)
        on.sends(11)


@ktap.case("cipher: gives out within a GSO packet")
def gives_out():
    """What was encrypted before leaves, and each of the others is counted."""
    encrypted_for_device()
    taken = SEGMENTS // 2
    with unreliable(), contextlib.closing(Whole(RIG.dut, V4.here, V4.there, START)) as whole:
        before = RIG.dut.counters()
        flaky.set_to(error=errno.EIO, first=taken)
        data = whole.send()
        left = [whole.part(RIG.dut.wire.receive(packet.ESP), data) for _ in range(taken)]
        ktap.equal(left, [(n, n + 1) for n in range(taken)], "segments and their numbers")
        RIG.dut.wire.silent(packet.ESP)
        lost = SEGMENTS - taken
        ktap.equal(host.delta(before, RIG.dut.counters()), {"TxCrypto": lost, "XfrmOutStateProtoError": lost},
                   "counters")
    let_go()
    flows()


LATE_MS = 3000		# what is sent is under way longer than it takes to delete a device


@ktap.case("cipher: late, the VTI device goes that the packets are for")
def vti_goes():
    """It waits for them: the core gives them to it without looking whether it is still there; on 6.1
    they are dropped."""
    dut, mark = RIG.dut, "mark 7 mask 0xffffffff"
    before = dut.counters()
    with unreliable():
        flaky.set_to(late_ms=LATE_MS)
        on = line(TUNNEL[0], more=mark)
        dut.ip(f"link add vti7 type vti local {V4.here} remote {V4.there} key 7", "link set vti7 up")
        for n in range(1, 11):
            dut.wire.send(on.seal(START + n))
        dut.ip("link del vti7")
        shown = dut.run("ip", "-s", "xfrm", "state", stdout=subprocess.PIPE).stdout
        through = sum(map(int, re.findall(r"(\d+)\(packets\)", shown)))
        lost = host.delta(before, dut.counters()).get("RxDevice", 0)
        ktap.equal(through + lost, 10, "packets that were through when it had gone")
    let_go()
    flows()


@ktap.case("cipher: late, the device goes that the packets came from")
def source_goes():
    """Likewise: netfilter asks for its name when they are sent on."""
    with unreliable():
        flaky.set_to(late_ms=LATE_MS)
        whole = Whole(RIG.dut, V4.here, V4.there, START)
        whole.send()
        whole.close()
        ktap.equal(RIG.dut.wire.waiting(packet.ESP), SEGMENTS, "packets that had left when it had gone")
    let_go()
    flows()


def finished_late(kind, shape, error, wanted):
    """The same verdicts when they come later"""
    with unreliable():
        # before the SA: what has been seen to be late is not offloaded
        flaky.set_to(late_ms=20, late_error=error)
        on = line(shape, kind, window=4096)
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
                on.opened(RIG.dut.wire.receive(on.number), START)
        flaky.set_to(late_ms=-1, late_error=0)
        RIG.sockets.drain()
        on.accepts(START + 11)
        on.sends(11)


def gone_before_late(kind, shape, action):
    """The SA, or all of it, is gone when the cipher finishes."""
    with unreliable():
        flaky.set_to(late_ms=-1)
        it = busy.Busy(SUITES[kind](), kind, shape)
        try:
            # not before the action on the slowest of machines
            flaky.set_to(late_ms=5000)
            it.fill()
            ktap.equal(it.on.figures()["packets"], 0, "packets that are through already")
            action(it)
        finally:
            it.flush()
            it.stop()
        let_go()
        flaky.set_to(late_ms=-1)
    flows()


def cipher(kind, k, shape, s):
    """The cases of one kind in one shape; k, s: their places"""
    for n, (error, rx, tx) in enumerate((
            (errno.EIO, "RxCrypto", "TxCrypto"), (errno.EINVAL, "RxCrypto", "TxCrypto"),
            (errno.EBUSY, "RxCrypto", "TxBusy"), (errno.ENOSPC, "RxCrypto", "TxBusy"),
            (errno.ENOMEM, "RxNoMemory", "TxNoMemory"))):
        if one_of(3, k, s, n):
            ktap.add(f"cipher: does not take it, {errno.errorcode[error]}, {kind} {shape}",
                     not_taken, kind, shape, error, rx, tx)
    if one_of(3, k, s):
        ktap.add(f"cipher: late, {kind} {shape}", finished_late, kind, shape, 0, {"packets": 10})
        ktap.add(f"cipher: late and in vain, {kind} {shape}", finished_late, kind, shape, errno.EIO,
                 {"RxCrypto": 10, "XfrmInStateProtoError": 10})
    for n, (name, action) in enumerate((
            ("the SAs are flushed", lambda it: it.rig.dut.flush()),
            ("the device goes", lambda it: it.rig.dut.ip("link del v0")),
            ("the namespace goes", lambda it: it.stop()))):
        if one_of(3, k, s, n):
            ktap.add(f"cipher: late, {name}, {kind} {shape}", gone_before_late, kind, shape, action)


for _k, _kind in enumerate(SUITES):
    for _s, _shape in enumerate((V4, V6, TUNNEL[3])):
        cipher(_kind, _k, _shape, _s)

ktap.CASE_SECONDS = 600
ktap.main(lambda: RIG.start(mtu=65535), RIG.stop)
