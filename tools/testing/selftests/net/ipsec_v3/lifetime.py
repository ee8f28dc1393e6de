#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Lifetimes (RFC 4301 4.4.2.1): packets, bytes and time, soft and hard, of an SA
that sends and of one that receives.

The core looks before it counts: the packet after the limit meets it.
"""

import os

from lib import ktap, xfrm
from lib.line import Line, Rig
from lib.shape import SPI_IN, SPI_OUT, T4IN4, T6IN6, TRANSPORT, V4
from lib.suite import gcm, sha256

START = 68 << 32 | 1000
SUITE = {"esp": gcm(), "ah": sha256()}
SIZE, SOFT, HARD = 300, 800, 1900	# octets of a datagram, and of the limits
RIG = Rig()


class Watched:
    """An SA pair of which one side is under a limit"""

    def __init__(self, shape, kind, side, limit):
        self.shape, self.kind, self.out = shape, kind, side == "sent"
        self.spi, self.dst = ((SPI_OUT, shape.there) if self.out else
                              (SPI_IN, shape.here))
        RIG.dut.flush()		# no event of the case before
        with RIG.dut.inside():
            self.events = xfrm.Socket("expire")
        self.on = Line(RIG, shape, SUITE[kind], kind, True, 64, START, more=limit)

    def passes(self, number):
        data = os.urandom(SIZE)
        if self.out:
            self.on.sends(number, data)
        else:
            self.on.arrives(number, data)

    def state(self):
        return RIG.dut.state(self.dst, self.spi, self.kind)

    def expires(self, hard):
        """The next event is this limit of this SA"""
        event = self.events.event(xfrm.EXPIRE, 20)
        ktap.check(event, f"no {'hard' if hard else 'soft'} expiry")
        ktap.equal(event.expire(), (self.spi, hard), "SPI and hardness of the expiry")

    def fails(self, number):
        """A packet over the hard limit goes nowhere"""
        before = RIG.dut.counters()
        data = os.urandom(SIZE)
        if self.out:
            try:
                RIG.sockets.send(self.shape, data)
            except OSError:
                pass		# the core may tell the sender
            RIG.dut.wire.silent(self.on.number)
            return
        RIG.dut.wire.send(self.on.seal(START + number, data))
        ktap.wait_for(lambda: RIG.dut.counters().get("XfrmInStateExpired", 0) >
                      before.get("XfrmInStateExpired", 0), "XfrmInStateExpired")

    def gone(self):
        ktap.wait_for(lambda: RIG.dut.lacks_state(self.dst, self.spi, self.kind), "the SA is gone")

    def close(self):
        self.events.close()


def counted(shape, kind, side, what):
    """A limit in packets or bytes, soft then hard"""
    soft, hard = (3, 5) if what == "packet" else (SOFT, HARD)
    sa = Watched(shape, kind, side, f"limit {what}-soft {soft} limit {what}-hard {hard}")
    try:
        sa.passes(1)
        ktap.wait_for(lambda: sa.state().packets == 1, "the packet is counted")
        # how many packets are within a limit: the last one may step over it
        one = 1 if what == "packet" else sa.state().bytes
        ktap.check(one, "nothing is counted")
        within_soft, within_hard = -(-soft // one), -(-hard // one)
        for number in range(2, within_soft + 1):
            sa.passes(number)
        ktap.equal(sa.events.event(xfrm.EXPIRE, 0.2), None, "expiry before the limit")
        sa.passes(within_soft + 1)
        sa.expires(False)
        for number in range(within_soft + 2, within_hard + 1):
            sa.passes(number)
        sa.fails(within_hard + 1)
        sa.expires(True)
        sa.gone()
    finally:
        sa.close()


def timed(shape, kind, hard):
    name = "hard" if hard else "soft"
    sa = Watched(shape, kind, "sent", f"limit time-{name} 1")
    try:
        found = set()
        for _ in (SPI_IN, SPI_OUT):	# both have the limit
            event = sa.events.event(xfrm.EXPIRE, 30)
            ktap.check(event, f"no {name} expiry")
            found.add(event.expire())
        ktap.equal(found, {(SPI_IN, hard), (SPI_OUT, hard)}, "expiries")
        if hard:
            sa.gone()
        else:
            sa.passes(1)
    finally:
        sa.close()


for _what in ("packet", "byte"):
    for _side in ("sent", "received"):
        for _shape in (*TRANSPORT, T4IN4, T6IN6):
            ktap.add(f"limit in {_what}s, {_side}, esp {_shape}", counted, _shape,
                     "esp", _side, _what)
        for _shape in (V4, T6IN6):
            ktap.add(f"limit in {_what}s, {_side}, ah {_shape}", counted, _shape,
                     "ah", _side, _what)
for _hard in (False, True):
    ktap.add(f"{'hard' if _hard else 'soft'} limit in time", timed, T4IN4, "esp",
             _hard)

ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
