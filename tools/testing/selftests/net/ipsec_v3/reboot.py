#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Clocks that jump, and a peer, or this host, that comes back with numbers from before or
from further up.  Nothing is delivered twice, and traffic flows again.
"""

import contextlib
import time

from lib import change, host, ktap
from lib.faults import LATE, LATE_FORGED, RIG, SHORT, START, SUITES, ends, flows, line, one_of
from lib.meanwhile import meanwhile
from lib.shape import SPI_IN, T4IN4, T6IN6, V4, V6


@contextlib.contextmanager
def clock():
    """Puts the clock right again."""
    real, running = time.time(), time.monotonic()
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, real + time.monotonic() - running)


@contextlib.contextmanager
def jumping(seconds):
    """The clock is set so far and back, without a pause."""
    jumps, real, running = [], time.time(), time.monotonic()

    def jump():
        away = len(jumps) % 2 == 0
        time.clock_settime(time.CLOCK_REALTIME, real + time.monotonic() - running + seconds * away)
        jumps.append(away)
        time.sleep(0.001)
    with meanwhile(jump):
        yield jumps


def clock_jumps(kind, shape, seconds):
    """An SA without limits does not notice, whether packets are under way or not; nor does the budget
    for late packets."""
    with clock():
        on = line(shape, kind)
        with jumping(seconds) as jumps:
            for n in range(1, 31):
                before = len(jumps)
                on.accepts(START + n)
                on.sends(n)
                ktap.wait_for(lambda n=before: len(jumps) > n + 1, "the clock jumps there and back")
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
        on.accepts(START + 200)
        on.sends(31)
        on.does(LATE, START + 2)
    RIG.dut.flush()


def clock_kills(kind, shape):
    """A limit in time is one of the clock: a jump beyond it ends the SAs, and new ones are
    as good as any.  The core looks at the clock when the time should be up, and a second
    after an SA is made or updated.  Until then packets go both ways, and then none."""
    limit = "limit time-hard 600"
    with clock():
        on = line(shape, kind, 4096, more=limit)
        on.accepts(START + 1)
        time.clock_settime(time.CLOCK_REALTIME, time.time() + 1000)
        words = SUITES[kind]().words(kind)
        for src, dst, spi in ends(on):
            with contextlib.suppress(host.IpError):	# it may be gone already
                RIG.dut.ip(host.state_line(src, dst, spi, words, kind, shape.mode, esn=True, window=64,
                                           verb="update", more=limit))
        before, seen, n = RIG.dut.counters(), [0, 0], 0
        while not all(RIG.dut.lacks_state(dst, spi, kind) for _, dst, spi in ends(on)):
            n += 1
            RIG.dut.wire.send(on.seal(START + 1 + n))
            with contextlib.suppress(OSError):
                RIG.sockets.send(shape, b"one of many")
            seen = [seen[0] + len(RIG.sockets.waiting(shape)), seen[1] + RIG.dut.wire.waiting(on.number)]
        RIG.dut.wire.send(on.seal(START + n + 2))
        change.come_to_an_end(on, (n + 1, n), ("XfrmInNoStates", "XfrmInStateInvalid"),
                              ("XfrmOutNoStates", "XfrmOutStateInvalid"), seen, before)
        ktap.check("XfrmInNoStates" in host.delta(before, RIG.dut.counters()), "what comes for it finds no SA")
    flows(shape, kind)


for _k, _kind in enumerate(SUITES):
    for _s, _shape in enumerate((V4, V6)):
        for _j, _jump in enumerate((86400 * 365, -3600)):
            if one_of(2, _k, _s, _j):
                ktap.add(f"clock: jumps by {_jump} s, {_kind} {_shape}", clock_jumps, _kind, _shape, _jump,
                         intree_fails=LATE_FORGED)
        if one_of(2, _k, _s):
            ktap.add(f"clock: jumps over a limit, {_kind} {_shape}", clock_kills, _kind, _shape)


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


for _s, _shape in enumerate((V4, V6, T4IN4, T6IN6)):
    for _kind in list(SUITES)[_s % 2:_s % 2 + 1] if SHORT else SUITES:
        ktap.add(f"reboot: of the peer, {_kind} {_shape}", peer_reboots, _shape, _kind,
                 intree_fails=LATE_FORGED)
        ktap.add(f"reboot: ours, {_kind} {_shape}", we_reboot, _shape, _kind)
        ktap.add(f"reboot: ours, over 2^32, {_kind} {_shape}", across_the_wrap, _shape, _kind)


ktap.CASE_SECONDS = 600
ktap.main(lambda: RIG.start(mtu=65535), RIG.stop)
