#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Asynchronous transforms: what cryptd and pcrypt finish later arrives intact,
and everything may go while packets are under way (CVE-2026-31663).

A full queue of cryptd is a reason to drop a packet and as such in drops.py.
"""

import os

from lib import cryptd, host, impl, ktap, packet
from lib.line import Line, Monopoly, Rig
from lib.peer import Ah, Esp
from lib.shape import SPI_IN, SPI_OUT, TRANSPORT, TUNNEL
from lib.suite import CCM, CHACHA, GCM, GMAC, Combined, Separate

RIG = Rig()
START = 68 << 32 | 100000
V4, V6 = TRANSPORT
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
        for shape in (V4, TUNNEL[3]):
            ktap.add(f"{template}: {kind}, {shape}", both_ways, template, kind, shape)


def nested():
    """AH around ESP, both asynchronous (RFC 4301 4.5.2)"""
    sha = Separate(auth="hmac(sha256)", bits=128)
    esp_suite, ends = Combined(GCM), (V4.there, V4.here)
    with cryptd.instance(f"cryptd({GCM})", GCM), \
            cryptd.instance("cryptd(hmac(sha256))", "hmac(sha256)", "ahash"):
        try:
            RIG.dut.ip(
                "xfrm state flush", "xfrm policy flush",
                host.state_line(*ends, SPI_IN, esp_suite.words(), esn=True, seq=START),
                host.state_line(*ends, SPI_IN, sha.words(ah=True), "ah", esn=True,
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

class Busy:
    """A Dut of its own with packets in cryptd's queue, whose worker waits."""

    def __init__(self, kind, shape):
        _, _, self.proto, suite, self.esn = KINDS[kind]
        self.rig = Rig()
        self.rig.start(name="busy")
        self.on = Line(self.rig, shape, suite(), self.proto, self.esn, 4096,
                       START if self.esn else 1000)
        self.packets = [self.on.seal(self.on.start + n) for n in range(1, 301)]

    def fill(self):
        for n, data in enumerate(self.packets):
            self.rig.dut.wire.send(data)
            if n % 3 == 0:		# more would not fit a socket's buffer
                self.rig.sockets.send(self.on.shape, b"one of many")


def holders():
    return ["esp4", "esp6", "ah4", "ah6"] if impl.INTREE else ["ipsec_v3"]


def let_go():
    for module in holders():
        path = f"/sys/module/{module}/refcnt"

        def idle(path=path):
            with open(path, encoding="ascii") as file:
                return file.read() == "0\n"
        ktap.wait_for(idle, f"{module} is let go", 20)


def delete_states(busy):
    on = busy.on
    for spi, src, dst in ((SPI_IN, on.shape.there, on.shape.here),
                          (SPI_OUT, on.shape.here, on.shape.there)):
        busy.rig.dut.ip(f"xfrm state delete src {src} dst {dst} proto {on.kind} spi {spi:#x}")


def flush_states(busy):
    busy.rig.dut.ip("xfrm state flush")


def flush_all(busy):
    busy.rig.dut.flush()


def remove_device(busy):
    busy.rig.dut.ip("link del v0")


def device_down(busy):
    busy.rig.dut.ip("link set v0 down")


def leave_netns(busy):
    busy.rig.stop()
    busy.rig = None


def gone_in_flight(kind, shape, action, unload=False):
    name, crypto_type = KINDS[kind][:2]
    with cryptd.instance(f"cryptd({name})", name, crypto_type):
        busy = Busy(kind, shape)
        try:
            with Monopoly():
                busy.fill()
                action(busy)
        finally:
            if busy.rig:
                busy.rig.dut.flush()
                busy.rig.sockets.drain()
                if unload:
                    unload_at_once()
                busy.rig.stop()
        let_go()
    # and the next SA is as good as any
    on = Line(RIG, shape, KINDS[kind][3](), KINDS[kind][2], True, 64, START)
    on.accepts(START + 1)
    RIG.dut.flush()


def unload_at_once():
    """As soon as the last SA is freed, which the packets hold"""
    for module in holders():
        ktap.wait_for(lambda module=module: not impl.modprobe("-r", module),
                      f"{module} unloads", 20)
    ktap.equal(impl.load(), None, "loading again")


for kind in (f"{GCM}, ESN", "authencesn(hmac(sha256),cbc(aes))", "AH hmac(sha256), ESN"):
    for shape in (V4, TUNNEL[3]):
        for action in (delete_states, flush_states, flush_all, remove_device, device_down,
                       leave_netns):
            ktap.add(f"{action.__name__} with packets in flight: {kind}, {shape}",
                     gone_in_flight, kind, shape, action)
        ktap.add(f"unload after packets in flight: {kind}, {shape}", gone_in_flight, kind,
                 shape, flush_all, True)

if os.environ.get("IPSEC_SHORT"):
    del ktap.CASES[1::3], ktap.CASES[1::2]	# a third
ktap.main(RIG.start, RIG.stop)
