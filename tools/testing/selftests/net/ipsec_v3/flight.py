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

from lib import busy, change, flaky, host, ktap, packet, srv6
from lib.busy import let_go
from lib.faults import LATE, LATE_FORGED, RIG, START, SUITES, flows, line, one_of
from lib.shape import BEET, T4IN4, T6IN6, V4, V6
from lib.whole import SEGMENTS, Whole, encrypted_for_device
from lib.wire import Wire

# -- in flight: expiry, update, migration, policies ---------------------------------

def none_through(it):
    ktap.equal((it.on.figures()["packets"], it.rig.dut.wire.waiting(it.on.number)), (0, 0),
               "packets that are through already")


@contextlib.contextmanager
def cipher_holds(_kind):
    """It finishes none of them, so that what is done to the SAs may sleep."""
    with flaky.loaded():
        yield flaky.holding, none_through


def gone(kind, *arguments, **more):
    busy.gone_in_flight(kind, *arguments, keeper=cipher_holds, **more)
    flows(V4, busy.KINDS[kind][2])


def shapes(kind):
    """AH in BEET mode is not for `ip` to make."""
    return (V4, T6IN6, *(BEET[1:2] if busy.KINDS[kind][2] == "esp" else ()))


for _k, _kind in enumerate(busy.KINDS):
    for _s, _shape in enumerate(shapes(_kind)):
        for _a, (_name, (_action, _after)) in enumerate(change.ACTIONS.items()):
            if change.possible(_name, _shape) and one_of(6, _k, _a, 3 * _s):
                ktap.add(f"in flight: {_name}, {_kind}, {_shape}", gone, _kind, _shape, _action, _after)
        if one_of(6, _k, 2 * _s):
            ktap.add(f"in flight: the time is up, {_kind}, {_shape}", lambda *a: gone(*a, more="limit time-hard 10"),
                     _kind, _shape, change.time_is_up, change.without_sas)
    for _l, _limit in enumerate(("packet-hard 50", "byte-hard 1500")):
        if one_of(3, _k, _l):
            ktap.add(f"in flight: the limit is reached, {_limit}, {_kind}", lambda kind=_kind, limit=_limit: gone(
                kind, V6, lambda it: None, change.limit_reached, more=f"limit {limit}"))
    if busy.KINDS[_kind][2] == "esp":
        for _s, _shape in enumerate((V4, V6, T6IN6)):
            for _a, (_name, _action, _after) in enumerate((
                    ("the socket goes", change.close_socket, change.new_socket),
                    ("the mapping changes", change.remap, change.remapped))):
                if one_of(6, _k, _s, 3 * _a):
                    ktap.add(f"in flight: in UDP, {_name}, {_kind}, {_shape}", lambda *a: gone(*a, encap=True),
                             _kind, _shape, _action, _after)
    if one_of(3, _k, 1):
        ktap.add(f"in flight: the XFRM interface goes, {_kind}", lambda kind=_kind: gone(
            kind, T6IN6, change.remove_interface, change.without_interface, before=change.interface,
            more="if_id 7", rule="if_id 7"))


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


def gives_out(route, receive, kind):
    """What was encrypted before leaves, and each of the others is counted.  receive(wire, packet.ESP): the next
    ESP packet; kind: as what it is on the wire"""
    encrypted_for_device()
    taken = SEGMENTS // 2
    with unreliable(), contextlib.closing(Whole(RIG.dut, V4.here, V4.there, START)) as whole, route():
        before = RIG.dut.counters()
        flaky.set_to(error=errno.EIO, first=taken)
        data = whole.send()
        left = [whole.part(receive(RIG.dut.wire, packet.ESP), data) for _ in range(taken)]
        ktap.equal(left, [(n, n + 1) for n in range(taken)], "segments and their numbers")
        RIG.dut.wire.silent(kind)
        lost = SEGMENTS - taken
        ktap.equal(host.delta(before, RIG.dut.counters()), {"TxCrypto": lost, "XfrmOutStateProtoError": lost},
                   "counters")
    let_go()
    flows()


ktap.add("cipher: gives out within a GSO packet", gives_out, contextlib.nullcontext, Wire.receive, packet.ESP)
ktap.add("cipher: gives out within a GSO packet, SRv6", gives_out,
         lambda: srv6.route(RIG.dut, V4.there, host.MAC_WIRE), srv6.receive, packet.IPIP)


LATE_MS = 3000		# what is sent is under way longer than it takes to delete a device


@ktap.case("cipher: late, the VTI device goes that the packets are for")
def vti_goes():
    """It waits for them: the core gives them to it without looking whether it is still there; on 6.1
    they are dropped."""
    dut, mark = RIG.dut, "mark 7 mask 0xffffffff"
    before = dut.counters()
    with unreliable():
        flaky.set_to(late_ms=LATE_MS)
        on = line(T4IN4, more=mark)
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


def full(kind):
    """A second try is put aside and has its turn, a first one is refused."""
    lost = {"RxCrypto": 1, "XfrmInStateProtoError": 1}
    with unreliable():
        on = line(kind=kind)
        on.accepts(START + 64)
        for n, (how, verdict) in enumerate((({}, LATE), ({"late_ms": 50}, LATE),
                                            ({"late_error": errno.EIO}, {**lost, "RxSecondTry": 1})), 1):
            flaky.set_to(error=errno.EBUSY, first=1, **how)
            on.does(verdict, START - n)
            ktap.equal(flaky.put_aside(), n, "requests put aside")
            flaky.set_to(late_ms=-1)
        on.does(lost, START + 65)
        ktap.equal(flaky.put_aside(), n, "requests put aside")
        flaky.set_to(error=0)
        on.accepts(START + 65)
    flows(kind=kind)


def gone_before_second(kind, action):
    """The SA, or all of it, is gone when the cipher finishes a second try, and others wait for theirs."""
    with unreliable():
        it = busy.Busy(SUITES[kind](), kind, V4)
        counters = it.rig.dut.counters
        try:
            flaky.set_to(late_ms=500)
            for data in it.suspects(3, 2):
                it.rig.dut.wire.send(data)
            flaky.set_to(late_ms=5000)
            ktap.wait_for(lambda: counters().get("RxSecondTry"), "a second try", 60)
            flaky.set_to(late_ms=-1)
            ktap.equal({"RxLate", "RxForged"} & counters().keys(), set(), "verdicts")
            action(it)
            wanted = {"RxLate": 3, "RxForged": 2, "RxSecondTry": 5}
            if it.rig:
                ktap.wait_for(lambda: wanted.items() <= counters().items(), f"{wanted}", 60)
        finally:
            it.flush()
            it.stop()
        let_go()
    flows(kind=kind)


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
    for _s, _shape in enumerate((V4, V6, T6IN6)):
        cipher(_kind, _k, _shape, _s)
    ktap.add(f"cipher: full, {_kind}", full, _kind, intree_fails=LATE_FORGED)
    for _a, _action in enumerate((busy.delete_states, busy.leave_netns, busy.remove_device)):
        if one_of(3, _a, -_k):
            ktap.add(f"cipher: late with a second try, {_action.__name__}, {_kind}", gone_before_second, _kind, _action,
                     intree_fails=LATE_FORGED)

ktap.CASE_SECONDS = 600
ktap.main(lambda: RIG.start(mtu=65535), RIG.stop)
