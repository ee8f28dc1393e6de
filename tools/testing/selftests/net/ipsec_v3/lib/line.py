# SPDX-License-Identifier: GPL-2.0-only
"""One SA pair between a Dut and the test, and what each packet changes.

	on = Line(rig, shape, suite, "esp", esn=True, window=64, start=100)
	on.accepts(101)				# arrives, and counts as one packet
	on.does({"replayed": 1, ...}, 101)	# changes these figures, no others

Figures are the inbound SA's (packets, bytes, late, replayed, failed) and every
counter of /proc/net/xfrm_stat and ipsec_v3_stat.
"""

import contextlib
import os
import time

from . import host, impl, ktap, packet, setting
from .peer import Ah, Esp
from .shape import PORT_DUT, PORT_NATT, PORT_PEER, SPI_IN, SPI_OUT, Sockets

QUIET = 0.2		# how long a packet that changes nothing is watched
# of ipsec_v3_stat, what is worth counting although nothing was lost
EVENTS = {"RxDummy", "RxSecondTry", "RxResync", "RxMapping", "RxSpread", "RxCopied", "TxSpread", "TxCopied"}
UNASKED = {"bytes", "RxCopied", "TxCopied", "RxSpread", "TxSpread"}	# looked at only when wanted
OWN = ("Rx", "Tx")	# names that in-tree does not count


class Rig:
    """A Dut with its sockets, made before the first case."""

    def start(self, mtu=2000, name="dut"):
        self.dut = host.Dut(name, mtu)
        self.sockets = Sockets(self.dut)

    def stop(self):
        self.sockets.close()
        self.dut.close()


def threads(start):
    """Of the kernel, whose names begin so"""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        # some end meanwhile
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
            if file.read().startswith(start):
                yield int(pid)


class Monopoly:
    """This thread has CPU 0 for itself, with the softirqs that it brings about: what
    they queue for a worker there waits."""

    def __enter__(self):
        self.affinity = os.sched_getaffinity(0)
        self.softirqs = next(threads("ksoftirqd/0"))
        self.unthrottled = setting.unthrottled()
        self.unthrottled.__enter__()
        os.sched_setscheduler(self.softirqs, os.SCHED_FIFO, os.sched_param(60))
        os.sched_setaffinity(0, {0})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))

    def __exit__(self, *_):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, self.affinity)
        os.sched_setscheduler(self.softirqs, os.SCHED_OTHER, os.sched_param(0))
        self.unthrottled.__exit__(None, None, None)


@contextlib.contextmanager
def one_cpu(cpu=0):
    """This thread, and the softirqs that it brings about, have this one, where one request waits."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def wanted_here(wanted):
    if not impl.INTREE:
        return wanted
    return {name: n for name, n in wanted.items() if not name.startswith(OWN)}


class Line:
    spi_in, spi_out = SPI_IN, SPI_OUT

    def __init__(self, rig, shape, suite, kind, esn, window, start, encap=False,
                 rule="", **more):
        """more: for the states' lines; rule: for the policies' lines"""
        self.rig, self.dut, self.shape = rig, rig.dut, shape
        self.kind, self.esn, self.start, self.encap = kind, esn, start, encap
        self.number = packet.UDP if encap else packet.AH if kind == "ah" else packet.ESP
        self.dut.ip(*shape.lines(suite.words(kind), kind, start, rule, esn=esn, window=window,
                                 encap=(PORT_NATT, PORT_NATT) if encap else None,
                                 **more))
        maker = Ah if kind == "ah" else Esp
        self.peer = maker(suite, SPI_IN, esn)
        self.sender = maker(suite, SPI_OUT, esn)
        rig.sockets.drain()
        self.dut.wire.drain()

    def inner(self, data):
        return self.shape.to_dut(data)[1]

    def seal(self, seq, data=b"as good as any", dummy=None, ports=(PORT_PEER, PORT_DUT), **more):
        """A whole packet to the Dut; more goes to the peer's seal()"""
        next_header, inner = self.shape.to_dut(data, *ports)
        if dummy is not None:
            next_header, inner = packet.NONE, dummy
        if self.kind == "ah":
            return self.peer.seal(self.shape.header(), next_header, inner, seq, **more)
        return self.wrap(self.peer.seal(inner, next_header, seq, **more))

    def wrap(self, esp):
        there, here = self.shape.there, self.shape.here
        if not self.encap:
            return packet.ip(there, here, packet.ESP, esp)
        check = 0 if self.shape.outer == 4 else None
        return packet.ip(there, here, packet.UDP, packet.udp(
            there, here, PORT_NATT, PORT_NATT, esp, check))

    def opened(self, data, near):
        """(datagram, sequence number) of a packet of the Dut's"""
        if self.kind == "ah":
            header, payload, seq = self.sender.open(data, near)
            return self.shape.from_dut(packet.split(header)[1], payload), seq
        esp = packet.split(data)[2][8 if self.encap else 0:]
        payload, next_header, seq = self.sender.open(esp, near)
        return self.shape.from_dut(next_header, payload), seq

    def sends(self, number=1, data=None):
        """The Dut's next datagram comes out as the packet so many after start."""
        data = data or os.urandom(333)
        self.rig.sockets.send(self.shape, data)
        sent = self.dut.wire.receive(self.number)
        ktap.equal(self.opened(sent, self.start), (data, self.start + number),
                   "data and number on the wire")
        return sent

    def arrives(self, number=1, data=None):
        """The packet so many after start reaches the Dut's socket."""
        data = data or os.urandom(333)
        self.dut.wire.send(self.seal(self.start + number, data))
        ktap.equal(self.rig.sockets.receive(self.shape), data, "data at the socket")

    def replay(self, out=False):
        """The window as GETAE reports it"""
        here, there = self.shape.here, self.shape.there
        if out:
            return self.dut.xfrm().get_ae(here, there, SPI_OUT, self.kind)
        return self.dut.xfrm().get_ae(there, here, SPI_IN, self.kind)

    def figures(self):
        state = self.dut.state(self.shape.here, SPI_IN, self.kind)
        found = self.dut.counters()
        for name in ("packets", "bytes", "late", "replayed", "failed"):
            found[name] = getattr(state, name)
        return found

    def since(self, before):
        return host.delta(before, self.figures())

    def equal(self, changed, wanted):
        ktap.equal(changed, wanted_here(wanted), "what changed")

    def settle(self, before, wanted, timeout=3 if impl.INTREE else 20):
        """Waits until just this has changed, or fails."""
        wanted = wanted_here(wanted)
        if not wanted:
            time.sleep(QUIET)
        deadline = time.monotonic() + timeout
        while True:
            changed = self.since(before)
            for name in UNASKED - wanted.keys():
                changed.pop(name, None)
            if changed == wanted or time.monotonic() > deadline:
                break
            time.sleep(0.005)
        ktap.equal(changed, wanted, "what changed")

    def does(self, wanted, seq, arrives=False, data=b"as good as any", **seal):
        """A packet with this number changes these figures and no others."""
        before = self.figures()
        self.dut.wire.send(self.seal(seq, data, **seal))
        self.settle(before, wanted)
        if arrives:
            ktap.equal(self.rig.sockets.receive(self.shape), data, "data")

    def accepts(self, seq, data=None, **seal):
        """A packet with this number arrives, and is nothing but one packet more."""
        self.does({"packets": 1}, seq, arrives=True, data=data or os.urandom(30), **seal)
