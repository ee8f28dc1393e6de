# SPDX-License-Identifier: GPL-2.0-only
"""What the files about faults share: one Dut, SAs of ESP and of AH, and the proof that
new ones carry packets.
"""

from .busy import let_go
from .ktap import SHORT
from .line import Line, Rig
from .shape import SPI_IN, SPI_OUT, V4
from .suite import gcm, sha256

START = 68 << 32 | 100000
SUITES = {"esp": gcm, "ah": sha256}
RIG = Rig()
# Left of the window: in-tree takes it for a forgery
LATE = {"XfrmInStateSeqError": 1, "late": 1, "RxLate": 1, "RxSecondTry": 1}
LATE_FORGED = "with ESN a late packet is a forgery"


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


def one_of(count, *places):
    """Is this a case of the short form, which takes one of so many: those whose places in
    the lists that they are made of add up to a multiple?  The long one takes all."""
    return not SHORT or sum(places) % count == 0
