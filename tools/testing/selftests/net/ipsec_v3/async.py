#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Asynchronous transforms: what cryptd and pcrypt finish later arrives intact,
and everything may go while packets are under way (CVE-2026-31663).

A full queue of cryptd is a reason to drop a packet and as such in drops.py.
"""

import contextlib
import os
import socket
import threading
import time

from lib import busy, change, cryptd, host, ktap, packet, setting
from lib.busy import gone_in_flight
from lib.line import Line, Rig
from lib.meanwhile import meanwhile
from lib.peer import Ah, Esp
from lib.shape import SPI_IN, SPI_OUT, T6IN6, V4
from lib.suite import CCM, CHACHA, GCM, GMAC, Combined, Separate, gcm, sha256
from lib.wire import SO_SNDBUFFORCE

RIG = Rig()
START = 68 << 32 | 100000
BURST = 60

# {name: (crypto API's name, type, protocol, suite, ESN)}
KINDS = {}
for _name in (GCM, CCM, GMAC, CHACHA):
    for _esn in (False, True):
        KINDS[f"{_name}, {'ESN' if _esn else '32 bits'}"] = (
            _name, "aead", "esp", lambda n=_name: Combined(n), _esn)
for _enc, _auth, _bits in (("cbc(aes)", "hmac(sha256)", 128),
                           ("cbc(des3_ede)", "hmac(sha1)", 96),
                           ("rfc3686(ctr(aes))", "cmac(aes)", 96),
                           ("ecb(cipher_null)", "hmac(sha512)", 256)):
    for _esn in (False, True):
        _api = f"{'authencesn' if _esn else 'authenc'}({_auth},{_enc})"
        KINDS[_api] = (_api, "aead", "esp",
                       lambda e=_enc, a=_auth, b=_bits: Separate(e, a, b), _esn)
for _auth, _bits in (("hmac(sha256)", 128), ("hmac(sha1)", 96), ("cmac(aes)", 96)):
    for _esn in (False, True):
        KINDS[f"AH {_auth}, {'ESN' if _esn else '32 bits'}"] = (
            _auth, "ahash", "ah", lambda a=_auth, b=_bits: Separate(auth=a, bits=b), _esn)


def same(sent, got):
    """All of it; cryptd has a queue per CPU and so keeps no order."""
    ktap.check(sorted(sent) == sorted(got), f"what arrived is not what was sent: "
               f"{len(set(sent) - set(got))} of {len(sent)} are missing")


def burst_in(on):
    """As fast as it goes: many are under way at a time."""
    sent = [os.urandom(40 + 10 * n) for n in range(BURST)]
    for n, data in enumerate(sent, 1):
        RIG.dut.wire.send(on.seal(on.start + n, data))
    same(sent, [RIG.sockets.receive(on.shape) for _ in sent])
    on.does({"failed": 1, "XfrmInStateProtoError": 1, "RxForged": 1},
            on.start + BURST + 1, flip_icv=True)
    on.accepts(on.start + BURST + 1)


def burst_out(on):
    sent = [os.urandom(40 + 10 * n) for n in range(BURST)]
    for data in sent:
        RIG.sockets.send(on.shape, data)
    got = [on.opened(RIG.dut.wire.receive(on.number), on.start) for _ in sent]
    same([(data, on.start + n) for n, data in enumerate(sent, 1)], got)


def both_ways(template, kind, shape):
    name, crypto_type, proto, suite, esn = KINDS[kind]
    with cryptd.instance(f"{template}({name})", name, crypto_type) as driver:
        try:
            on = Line(RIG, shape, suite(), proto, esn, 128, START if esn else 1000)
            # one for being registered, one for each SA
            ktap.check(cryptd.uses(driver) >= 3, f"the SAs do not use {driver}")
            burst_in(on)
            burst_out(on)
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()		# a queued datagram holds its SA


for kind, row in KINDS.items():
    for template in ("cryptd", "pcrypt"):
        if template == "pcrypt" and row[1] != "aead":
            continue
        for shape in (V4, T6IN6):
            ktap.add(f"{template}: {kind}, {shape}", both_ways, template, kind, shape)


def nested():
    """AH around ESP, both asynchronous (RFC 4301 4.5.2)"""
    sha = sha256()
    esp_suite, ends = gcm(), (V4.there, V4.here)
    with cryptd.instance(f"cryptd({GCM})", GCM), \
            cryptd.instance("cryptd(hmac(sha256))", "hmac(sha256)", "ahash"):
        try:
            RIG.dut.ip(
                "xfrm state flush", "xfrm policy flush",
                host.state_line(*ends, SPI_IN, esp_suite.words(), esn=True, seq=START),
                host.state_line(*ends, SPI_IN, sha.words("ah"), "ah", esn=True,
                                seq=START),
                V4.policy("in", host.template(*ends, "esp"), host.template(*ends, "ah")))
            RIG.sockets.drain()
            esp, ah = Esp(esp_suite, SPI_IN, True), Ah(sha, SPI_IN, True)
            sent = [os.urandom(100 + n) for n in range(BURST)]
            for n, data in enumerate(sent, 1):
                next_header, inner = V4.to_dut(data)
                RIG.dut.wire.send(ah.seal(V4.header(), packet.ESP,
                                          esp.seal(inner, next_header, START + n), START + n))
            same(sent, [RIG.sockets.receive(V4) for _ in sent])
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()


ktap.add("cryptd: AH around ESP", nested)


# -- everything may go while packets are under way ---------------------------

def gone(kind, shape, action, after, unload=False):
    gone_in_flight(kind, shape, action, after, unload)
    # and the next SA is as good as any
    _, _, proto, suite = busy.KINDS[kind]
    on = Line(RIG, shape, suite(), proto, True, 64, START)
    on.accepts(START + 1)
    RIG.dut.flush()


for kind in busy.KINDS:
    for shape in (V4, T6IN6):
        for action, after in change.GONE.items():
            ktap.add(f"{action.__name__} with packets in flight: {kind}, {shape}",
                     gone, kind, shape, action, after)
        ktap.add(f"unload after packets in flight: {kind}, {shape}", gone, kind, shape,
                 busy.flush_all, None, True)

ktap.shorten(3)


# -- a CPU goes, with what is queued on it -------------------------------------

CPU = "/sys/devices/system/cpu/cpu1/online"
WAITING = 900		# requests that wait there, of 1000 that can


@contextlib.contextmanager
def another(work, on):
    """A process that does this until the end"""
    child = os.fork()
    if not child:
        work(on)
    try:
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def send_always(on):
    """Without a pause, from CPU 1 whenever that is there"""
    while True:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {1})
        with contextlib.suppress(OSError):
            RIG.sockets.send(on.shape, bytes(500))


def send_and_stay(on):
    """From CPU 1, and leave that to nothing else but interrupts"""
    os.sched_setaffinity(0, {1})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    with contextlib.suppress(OSError):
        for _ in range(WAITING):
            RIG.sockets.send(on.shape, bytes(500))
    while True:
        pass


def goes_with(on, numbers):
    """It has to go while requests wait in its queue."""
    count, already = RIG.dut.state(on.shape.there, SPI_OUT, on.kind).packets + WAITING, len(numbers)
    # or it would wait for them to leave
    RIG.sockets.plain[on.shape.inner_here].setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 23)
    going = threading.Thread(target=setting.write, args=(CPU, "0"))
    with contextlib.ExitStack() as until_it_goes:
        with setting.unthrottled():
            until_it_goes.enter_context(another(send_and_stay, on))
            ktap.wait_for(lambda: RIG.dut.state(on.shape.there, SPI_OUT, on.kind).packets == count,
                          f"{WAITING} packets are with the cipher", 60)
            time.sleep(0.5)
            # a kernel without CONFIG_SCHED_DEBUG leaves other threads some of the time
            ktap.check(len(numbers) - already < WAITING / 2, "most of the packets have left")
        going.start()
    going.join()
    ktap.equal(setting.read(CPU), "0", "whether it is there")
    ktap.say(f"{len(numbers) - already} of {WAITING} had left when it was gone")
    setting.write(CPU, "1")


@contextlib.contextmanager
def leaving(on):
    """The low halves of the numbers that leave the host, as they do"""
    with RIG.dut.inside():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, host.SO_RCVBUFFORCE, 1 << 26)
    tap.bind(("v0", 3))
    tap.settimeout(0.2)
    numbers = []
    header, protocol = (20, 9) if on.shape.outer == 4 else (40, 6)
    place = header + (4 if on.number == packet.ESP else 8)

    def note():
        with contextlib.suppress(TimeoutError):
            data, origin = tap.recvfrom(64)
            if origin[2] == socket.PACKET_OUTGOING and data[protocol] == on.number:
                numbers.append(int.from_bytes(data[place:place + 4], "big"))
    with contextlib.closing(tap), meanwhile(note):
        yield numbers


def all_leave(on, numbers, before):
    """Each packet that the SA has counted leaves, once, or is counted as one that the cipher's
    queue had no room for."""
    def state():
        return RIG.dut.state(on.shape.there, SPI_OUT, on.kind)

    def lost():
        return host.delta(before, RIG.dut.counters()).get("XfrmOutStateProtoError", 0)
    ktap.wait_for(lambda: len(numbers) + lost() == state().packets,
                  "what the SA counts has left or is counted as lost", 60)
    first = on.start + 1 & 0xffffffff
    ktap.check(len(set(numbers)) == len(numbers) and
               all(0 <= n - first < state().packets for n in numbers), "numbers that left")
    ktap.say(f"{len(numbers)} left, {lost()} were lost")
    ktap.check(numbers, "none left")


def cpu_goes(kind, shape):
    """With requests in its queue; then off and on again some times, and what comes in meanwhile arrives."""
    name, crypto_type, proto, suite = busy.KINDS[kind]
    if not os.path.exists(CPU):
        raise ktap.Skip("there is one CPU, or it cannot be taken away")
    with cryptd.instance(f"cryptd({name})", name, crypto_type):
        try:
            on = Line(RIG, shape, suite(), proto, True, 4096, START)
            before = RIG.dut.counters()
            with leaving(on) as numbers:
                goes_with(on, numbers)
                all_leave(on, numbers, before)
                with another(send_always, on):
                    for n in range(0, 50, 10):
                        setting.write(CPU, "0")
                        on.arrives(n + 1)
                        setting.write(CPU, "1")
                        on.arrives(n + 2)
                all_leave(on, numbers, before)
            RIG.dut.wire.drain()
        finally:
            RIG.dut.flush()
            RIG.sockets.drain()
    busy.let_go()
    on = Line(RIG, shape, suite(), proto, True, 64, START)
    on.accepts(START + 1)
    RIG.dut.flush()


for kind, shape in (*((kind, V4) for kind in busy.KINDS), (GCM, T6IN6)):
    ktap.add(f"a CPU goes with packets in flight: {kind}, {shape}", cpu_goes, kind, shape)
ktap.main(RIG.start, RIG.stop)
