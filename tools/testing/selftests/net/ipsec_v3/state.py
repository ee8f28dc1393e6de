#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What user space does to an SA that is in use: GETAE reads its window, UPDSA
changes its lifetime, MIGRATE moves it to other addresses (RFC 4555, RFC 6275).
"""

import copy
import sys

from lib import host, ktap, packet, xfrm
from lib.line import Line, Rig
from lib.shape import PORT_DUT, PORT_PEER, SPI_IN, SPI_OUT, T4IN4, T6IN6, TUNNEL, V4, V6
from lib.suite import CHACHA, GCM, Separate, chacha, gcm, sha256

START_ESN, START_32 = 68 << 32 | 1000, 1000
SUITE = {"esp": gcm(), "ah": sha256()}
MOVED = {4: ("10.0.0.11", "10.0.0.12"), 6: ("fd00::11", "fd00::12")}


class AddressRig(Rig):
    """With the addresses that SAs move to"""

    def start(self, mtu=2000, name="dut"):
        super().start(mtu, name)
        for version, (here, there) in MOVED.items():
            self.dut.ip(f"addr add {here}/{24 if version == 4 else 64} dev v0"
                        f"{'' if version == 4 else ' nodad'}",
                        f"neigh add {there} lladdr {host.MAC_WIRE} dev v0 nud permanent")


RIG = AddressRig()


def line(shape, kind, esn, **more):
    return Line(RIG, shape, SUITE[kind], kind, esn, 64 if esn else 32,
                START_ESN if esn else START_32, **more)


# -- GETAE --------------------------------------------------------------------------

def replay_state(shape, kind, esn):
    """What IKE daemons read to move an SA elsewhere"""
    on = line(shape, kind, esn)
    for number in (3, 1):
        on.arrives(number)
    on.sends(1)
    on.sends(2)
    replay = on.replay()
    ktap.equal((replay.seq, replay.packets), (on.start + 3, 2), "inbound number")
    ktap.equal([replay.seen(n) for n in range(3)], [True, False, True], "bitmap")
    replay = on.replay(out=True)
    ktap.equal((replay.oseq, replay.packets), (on.start + 2, 2), "outbound number")


# -- UPDSA --------------------------------------------------------------------------

def update(shape, kind, esn):
    """It changes the lifetime, and neither keys nor numbers"""
    on = line(shape, kind, esn)
    on.sends(1)
    on.arrives(1)
    ends = (shape.here, shape.there), (shape.there, shape.here)
    for (src, dst), spi in zip(ends, (SPI_OUT, SPI_IN)):
        RIG.dut.ip(host.state_line(src, dst, spi, SUITE[kind].words(kind), kind, shape.mode, esn=esn,
                                   verb="update", more="limit packet-hard 3"))
    on.sends(2)
    on.arrives(2)
    refused(on, 1)
    on.arrives(3)
    on.sends(3)
    RIG.dut.wire.send(on.seal(on.start + 4, b"over the limit"))
    ktap.wait_for(lambda: RIG.dut.lacks_state(shape.here, SPI_IN, kind),
                  "the new limit holds")


def refused(on, number):
    """A replay is known to be one"""
    before = RIG.dut.state(on.shape.here, SPI_IN, on.kind).replayed
    RIG.dut.wire.send(on.seal(on.start + number, b"a replay"))
    ktap.wait_for(lambda: RIG.dut.state(on.shape.here, SPI_IN, on.kind).replayed ==
                  before + 1, "the replay is counted")


# -- MIGRATE --------------------------------------------------------------------------

def move(on, old, new, direction):
    shape = on.shape
    ports = (shape.inner_here, shape.inner_there, PORT_DUT, PORT_PEER)
    if direction == "in":
        old, new = old[::-1], new[::-1]
        ports = (shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT)
    RIG.dut.xfrm().migrate(direction, xfrm.udp_selector(*ports), old, new, shape.mode,
                           on.kind)


def migrate(shape, kind, esn):
    """Keys, numbers and window go on between the new addresses"""
    on = line(shape, kind, esn)
    on.sends(1)
    for number in (1, 4):
        on.arrives(number)
    old, new = (shape.here, shape.there), MOVED[shape.outer]
    move(on, old, new, "out")
    move(on, old, new, "in")
    ktap.check(RIG.dut.lacks_state(shape.there, SPI_OUT, kind) and RIG.dut.lacks_state(shape.here, SPI_IN, kind),
               "the SAs are still at their old addresses")
    on.shape = copy.copy(shape)
    on.shape.here, on.shape.there = new
    replay = on.replay()
    ktap.equal((replay.seq, replay.seen(0), replay.seen(1), replay.seen(3)),
               (on.start + 4, True, False, True), "window after the move")
    sent = on.sends(2)
    ktap.equal((packet.source(sent), packet.destination(sent)), new,
               "outer addresses after the move")
    for number in (1, 4):
        refused(on, number)
    for number in (2, 5):
        on.arrives(number)


# -- nonces ---------------------------------------------------------------------------

EDGE = (68 << 32 | 0xffffffff) - 5


def nonces(shape, suite):
    """Under one key none comes twice (RFC 3686 3.1, 4106 3.1, 7634 2), whatever the SA goes through:
    the low half of the numbers over 2^32, an update, a number that user space sets back, a
    move, and a new SA with the same key.  Those of an SA are a counter XOR something."""
    on, found = nonce_line(shape, suite), [[]]

    def sends(first, count):
        for number in range(first, first + count):
            iv = packet.split(on.sends(number))[2][8:8 + suite.ivlen]
            found[-1].append(int.from_bytes(iv, sys.byteorder))

    sends(1, 10)
    RIG.dut.ip(host.state_line(shape.here, shape.there, SPI_OUT, suite.words(), "esp", shape.mode,
                               esn=True, verb="update", more="limit packet-hard 1000"))
    sends(11, 5)
    RIG.dut.xfrm().new_ae(shape.here, shape.there, SPI_OUT, 0, EDGE, 64, (0, 0))
    sends(1, 10)
    if shape.mode == "tunnel":		# 6.1 and 6.12 move no others
        move(on, (shape.here, shape.there), MOVED[shape.outer], "out")
        ktap.check(RIG.dut.lacks_state(shape.there, SPI_OUT, "esp"), "the SA is still at its old address")
        found.append([])
        sends(11, 10)
    on = nonce_line(shape, suite)
    found.append([])
    sends(1, 10)
    for of_one in found:
        ktap.check(all((iv ^ of_one[0]) < 1 << 16 for iv in of_one), f"no counter: {of_one}")
    found = sum(found, [])
    ktap.equal(len(set(found)), len(found), "different nonces")


def nonce_line(shape, suite):
    return Line(RIG, shape, suite, "esp", True, 64, EDGE)


for _name, _suite in ((GCM, gcm()), (CHACHA, chacha()),
                      ("AES-CTR", Separate("rfc3686(ctr(aes))", "hmac(sha256)", 128))):
    for _shape in (T6IN6, V4):
        ktap.add(f"no nonce comes twice, {_name} {_shape}", nonces, _shape, _suite,
                 intree_fails="it is the sequence number, which user space sets back")


for _esn in (True, False):
    _bits = "ESN" if _esn else "32 bits"
    for _kind in ("esp", "ah"):
        for _shape in (V6, T4IN4):
            ktap.add(f"GETAE reports the window, {_kind} {_shape}, {_bits}",
                     replay_state, _shape, _kind, _esn)
            ktap.add(f"UPDSA keeps the SA working, {_kind} {_shape}, {_bits}",
                     update, _shape, _kind, _esn)
        for _shape in TUNNEL:
            ktap.add(f"MIGRATE, {_kind} {_shape}, {_bits}", migrate, _shape, _kind,
                     _esn)

ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
