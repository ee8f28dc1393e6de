#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""One SA over several CPUs: nothing is lost, altered or overtaken by it, and everything
may go while packets are under way.

CPU 0 brings the packets here, and CPU 1 delivers them.  With spread=1 two packets
in a row are a crowd, and with spread_idle=0 it does not matter whether a CPU has time.
"""

import contextlib
import os
import socket
import subprocess
import time

from lib import busy, change, cryptd, flaky, host, impl, ktap, nic, packet, setting, spread
from lib.faults import one_of
from lib.line import Line, Rig, one_cpu
from lib.memory import NoMemory
from lib.peer import Esp
from lib.shape import BEET, PORT_DUT, PORT_PEER, SPI_OUT, T4IN4, T6IN4, T6IN6, TUNNEL, V4, V6
from lib.suite import CHACHA, GCM, cbc, chacha, gcm, sha256
from lib.tun import Tun
from lib.whole import SEGMENTS, Whole, encrypted_for_device

RIG = Rig()
START = 68 << 32 | 100000
BURST, BURSTS, FLOWS = 60, 3, 16
FIRST_PORT = 7000		# of the flows
LANE_MAX, STEP = 4096, 32
FLOW_ROOM = 20			# more than a lane delivers at a time
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_INCOMING_CPU = 32, 33, 49
MAX_BACKLOG = "/proc/sys/net/core/netdev_max_backlog"
SUITES = {
    GCM: ("esp", gcm),
    CHACHA: ("esp", chacha),
    "cbc(aes) hmac(sha256)": ("esp", cbc),
    "AH hmac(sha256)": ("ah", sha256),
}


def line(shape, suite=GCM, window=4096, rig=RIG, **more):
    proto, make = SUITES[suite]
    return Line(rig, shape, make(), proto, True, window, START, **more)


@contextlib.contextmanager
def counting(name, least, rig=RIG):
    """So many packets more went through a lane."""
    before = rig.dut.counters().get(name, 0)
    yield
    found = rig.dut.counters().get(name, 0) - before
    ktap.check(found >= least, f"{name} is {found}, not {least}")


def in_order(sent, got):
    ktap.check(sorted(sent) == sorted(got), f"{len(set(sent) - set(got))} of {len(sent)} are missing")
    order = [sent.index(data) for data in got]
    steps = [(n, order[n - 1:n + 2]) for n in range(1, len(order)) if order[n] != order[n - 1] + 1]
    ktap.equal(steps, [], "where some have overtaken others")


def bursts_in(on, first=1):
    for number in range(first, first + BURST * BURSTS, BURST):
        sent = [os.urandom(40 + 10 * n) for n in range(BURST)]
        for n, data in enumerate(sent):
            on.dut.wire.send(on.seal(START + number + n, data))
        in_order(sent, [on.rig.sockets.receive(on.shape) for _ in sent])
    return first + BURST * BURSTS


def bursts_out(on):
    number = 0
    for _ in range(BURSTS):
        sent = [os.urandom(40 + 10 * n) for n in range(BURST)]
        for data in sent:
            RIG.sockets.send(on.shape, data)
        got = [on.opened(RIG.dut.wire.receive(on.number), START) for _ in sent]
        in_order([(data, START + number + n) for n, data in enumerate(sent, 1)], got)
        number += BURST


def both_ways(shape, suite, **more):
    on = line(shape, suite, **more)
    with spread.bringing(spread.ALL):
        with counting("RxSpread", BURST):
            bursts_in(on)
        with counting("TxSpread", BURST // 2):
            bursts_out(on)


for _k, suite in enumerate(SUITES):
    for _s, shape in enumerate((V4, V6, *TUNNEL)):
        if one_of(2, _k, _s):
            ktap.add(f"in order both ways: {suite}, {shape}", both_ways, shape, suite)


for shape in (V4, V6, T6IN4):
    ktap.add(f"in order both ways, in UDP: {shape}", lambda shape=shape: both_ways(shape, GCM, encap=True))
for shape in BEET[:2]:
    ktap.add(f"in order both ways: {shape}", both_ways, shape, GCM)


@contextlib.contextmanager
def gro():
    host.use_gro(True, *RIG.dut.veth)
    try:
        yield
    finally:
        host.use_gro(False, *RIG.dut.veth)


def from_gro(shape):
    """The stack sees none of them before they are decrypted."""
    encrypted_for_device()
    on, count = line(shape), BURST * BURSTS
    with gro(), spread.bringing(spread.ALL), counting("RxSpread", BURST):
        before = RIG.dut.ip_figure(shape.outer, "InDelivers")
        bursts_in(on)
        ktap.equal(RIG.dut.ip_figure(shape.outer, "InDelivers") - before,
                   count if shape.outer == shape.inner else 0, "packets that the stack has delivered")


for shape in (V4, V6, *TUNNEL[:2]):
    ktap.add(f"what GRO brings is spread, and comes in order: {shape}", from_gro, shape)


@ktap.case("spread=0 spreads nothing")
def never():
    on = line(V4)
    with spread.bringing(spread.ALL), spread.parameters(spread=0):
        before = RIG.dut.counters()
        bursts_in(on)
        bursts_out(on)
        found = [name for name in ("RxSpread", "TxSpread")
                 if RIG.dut.counters().get(name) != before.get(name)]
    ktap.equal(found, [], "what was spread")


def one_by_one(pause, wanted):
    on = line(V4)
    with spread.bringing(), spread.parameters(**wanted):
        before = RIG.dut.counters().get("RxSpread", 0)
        for number in range(1, 16):
            on.accepts(START + number)
            time.sleep(pause)
        ktap.equal(RIG.dut.counters().get("RxSpread", 0) - before, 0, "RxSpread")


ktap.add("a lone packet is processed on the spot", one_by_one, 0.05, {"spread": 2})
ktap.add("where the one that brings has time as well, nothing is spread", one_by_one, 0.08, {"spread_idle": 60})


@contextlib.contextmanager
def plug():
    """What is sent meanwhile comes out at the end, at once."""
    if spread.tc(RIG.dut.far, "add", "limit", "10000000"):
        raise ktap.Skip("this kernel has no sch_plug")
    try:
        yield
        ktap.equal(spread.tc(RIG.dut.far, "change", "release_indefinite"), 0, "tc")
        time.sleep(0.3)
    finally:
        spread.tc(RIG.dut.far, "del")


def plugged(on, number, count):
    """So many at once; how many of them were spread"""
    before = RIG.dut.counters().get("RxSpread", 0)
    sent = [os.urandom(40) for _ in range(count)]
    with plug():
        for n, data in enumerate(sent):
            RIG.dut.wire.send(on.seal(START + number + n, data))
    in_order(sent, [RIG.sockets.receive(V4) for _ in sent])
    return RIG.dut.counters().get("RxSpread", 0) - before


def spread_by(on, number):
    """How many of a crowd were spread, and the next number"""
    before = RIG.dut.counters().get("RxSpread", 0)
    number = bursts_in(on, number)
    return RIG.dut.counters().get("RxSpread", 0) - before, number


@ktap.case("a CPU that has no time is given none")
def no_time():
    on, number = line(V4), 1
    with spread.bringing(), spread.parameters(spread_idle=60), spread.Hog():
        time.sleep(0.2)		# what was seen of its time before says nothing
        for _ in range(10):
            found, number = spread_by(on, number)
            ktap.equal(found, 0, "RxSpread")


@ktap.case("a CPU that has time is given some, when the one that brings has none")
def time_there():
    on, number, found = line(V4), 1, 0
    until = time.monotonic() + 30
    with spread.bringing(), spread.parameters(spread_idle=60):
        while not found and time.monotonic() < until:
            found, number = spread_by(on, number)
    ktap.check(found, "nothing was spread")


class Flood:
    """Packets without a break, of which those of each flow that arrive are in order"""

    def __init__(self, on):
        self.on, self.sent, self.got = on, {}, []
        self.before = self.lost()
        self.flows = FLOWS if on.shape.mode == "tunnel" else 1
        if self.flows > 1:
            RIG.dut.ip(on.shape.any_flow(on.kind))
        room()

    def lost(self):
        return RIG.dut.counters().get("RxQueueFull", 0) + RIG.dut.dropped("v0")

    def spread(self, count):
        """How many of so many more were spread, or lost"""
        before = RIG.dut.counters().get("RxSpread", 0) + self.lost()
        for _ in range(count):
            flow = len(self.sent) % self.flows
            data = bytes([flow]) + os.urandom(40)
            self.sent[data] = len(self.sent) + 1
            RIG.dut.wire.send(self.on.seal(START + len(self.sent), data, ports=(PORT_PEER + flow, PORT_DUT)))
        self.got += RIG.sockets.waiting(self.on.shape)
        return RIG.dut.counters().get("RxSpread", 0) + self.lost() - before

    def until(self, wanted):
        """wanted: of 100 packets spread"""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if wanted(self.spread(100)):
                return True
        return False

    def check(self):
        ktap.wait_for(lambda: self.got.extend(RIG.sockets.waiting(self.on.shape)) or
                      len(self.got) == len(self.sent) - self.lost() + self.before, "all have arrived")
        for flow in range(self.flows):
            order = [self.sent[data] for data in self.got if data[0] == flow]
            ktap.equal([n for n, number in enumerate(order) if n and number < order[n - 1]], [],
                       f"late ones of flow {flow}")


def comes_home(shape):
    """Its CPU gets something else to do, and the packets come on"""
    flood = Flood(line(shape))
    with spread.bringing(), spread.parameters(spread_idle=60), spread.LaterHog() as hog:
        ktap.check(flood.until(bool), "nothing was spread")
        hog.go()
        ktap.check(flood.until(lambda found: not found), "all was spread")
        flood.spread(300)
    flood.check()
    return flood


for shape in (V4, V6, *TUNNEL):
    ktap.add(f"a lane comes home when its CPU has no time: {shape}", comes_home, shape)


def taken_home(shape):
    """Its CPU does nothing but interrupts any more: whoever brings the packets takes the lane."""
    if not spread.softirqs_on_their_own():
        raise ktap.Skip("the softirqs of such a CPU stand still here")
    with setting.unthrottled():
        flood = comes_home(shape)
    ktap.equal(flood.lost() - flood.before, 0, "packets that were lost until then")


# what the core leaves to a work item of that CPU, in transport mode, stays there
for shape in TUNNEL:
    ktap.add(f"a lane is taken home when its CPU has no time at all: {shape}", taken_home, shape)


def came_out(on):
    """(data, number) of what the SA has sent by now"""
    found = []
    while data := RIG.dut.wire.next(0.001):
        if packet.split(data)[1] == on.number:
            found.append(on.opened(data, START))
    return found


def beside(shape):
    """The lane of a flood is always full, as its CPU has little time.  What another SA has there, as three
    are a crowd, arrives all the same before the flood ends, in order and in both directions."""
    other = line(V6)
    flood = Flood(line(shape))
    RIG.dut.ip(*V6.lines(other.peer.suite.words(), start=START, esn=True, window=4096)[2:])

    def arrive(take, wanted, what):
        found, until = [], time.monotonic() + 60
        while len(found) < len(wanted) and time.monotonic() < until:
            flood.spread(100)
            found += take()
        ktap.equal(found, wanted, what)

    with spread.bringing(), setting.of(MAX_BACKLOG, 100000), spread.LaterHog() as hog:	# the core drops nothing
        ktap.check(flood.until(bool), "nothing was spread")
        hog.go()
        for number in range(1, 13, 3):
            sent = [os.urandom(50) for _ in range(3)]
            for n, data in enumerate(sent, START + number):
                RIG.dut.wire.send(other.seal(n, data))
            arrive(lambda: RIG.sockets.waiting(V6), sent, "data received")
            for data in sent:
                RIG.sockets.send(V6, data)
            arrive(lambda: came_out(other), [(data, n) for n, data in enumerate(sent, START + number)],
                   "data and numbers sent")
    flood.check()


for _s, shape in enumerate((V4, T4IN4)):
    if one_of(2, _s):
        ktap.add(f"a flood of one SA holds up no other: {shape}", beside, shape)


@ktap.case("the core's list, through which the gate's marker has to go, has no room for a while")
def no_room():
    """veth has a queue of its own then.  The core has dropped what it got, or the lane holds it."""
    on = line(V4)
    with gro(), spread.bringing():
        before = on.figures()
        with setting.of(MAX_BACKLOG, 0), counting("RxSpread", 1):
            for number in range(1, BURST + 1):
                RIG.dut.wire.send(on.seal(START + number, b"waits"))
            time.sleep(0.1)
            ktap.check(on.since(before).get("packets", 0) < BURST, "the gate has opened")
        ktap.wait_for(lambda: on.since(before).get("packets") == BURST, "the gate opens")
        RIG.sockets.drain()
        bursts_in(on, BURST + 1)


@ktap.case("what waited while the gate was shut is more than the CPU of its flow has room for")
def held_back():
    """The cipher is late with those that open the lane, which shut the gate; it has no order."""
    with flaky.loaded(), spread.bringing(), setting.of(MAX_BACKLOG, FLOW_ROOM):
        on = line(T4IN4)
        try:
            with Flow(on, 0) as flow, counting("RxSpread", 10 * BURST):
                flaky.set_to(late_ms=1000)
                late = flow.send(flow.sealed(1, BURST))
                flaky.set_to(late_ms=-1)
                sent = flow.send(flow.sealed(BURST + 1, 10 * BURST))
                got = flow.take(len(late + sent))
                ktap.equal(sorted(got[:BURST]), sorted(late), "those that came first")
                in_order(sent, got[BURST:])
        finally:
            RIG.dut.flush()


def trickle(shape):
    """One by one, too few for a crowd, too many for a quiet tenth of a second"""
    on = line(shape)
    with spread.bringing():
        with counting("RxSpread", BURST):
            number = bursts_in(on)
        with spread.parameters(spread=8):
            time.sleep(0.2)
            for _ in range(3):	# the lane's CPU is told by the first one to leave
                on.accepts(START + number)
                number += 1
                time.sleep(0.1)
            for _ in range(19):	# until the last of these at the latest
                on.accepts(START + number)
                number += 1
                time.sleep(0.02)
            before = RIG.dut.counters().get("RxSpread", 0)
            on.accepts(START + number)
            ktap.equal(RIG.dut.counters().get("RxSpread", 0), before, "RxSpread")


for shape in (V4, T4IN4):
    ktap.add(f"a trickle closes the lane: {shape}", trickle, shape)


@ktap.case("a crowd opens the lane, quiet closes it")
def crowd():
    on = line(V4)
    RIG.dut.wire.socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 22)
    with spread.bringing(), spread.parameters(spread=8):
        ktap.equal(plugged(on, 1, 7), 0, "RxSpread after 7")
        number, found, until = 8, 0, time.monotonic() + 30
        while not found and time.monotonic() < until:	# in how many jiffies they come is open
            found = plugged(on, number, 300)
            number += 300
        ktap.check(found, "no crowd of 300 was spread")
        time.sleep(0.3)
        on.accepts(START + number)	# the lane's CPU is told by this one to leave
        for later in (1, 2):
            time.sleep(0.3)
            before = RIG.dut.counters().get("RxSpread", 0)
            on.accepts(START + number + later)
            ktap.equal(RIG.dut.counters().get("RxSpread", 0), before, "RxSpread after quiet")


@contextlib.contextmanager
def rps(mask, device="v0"):
    path = f"/sys/class/net/{device}/queues/rx-0/rps_cpus"
    if RIG.dut.run("test", "-e", path).returncode:
        raise ktap.Skip("this kernel has no RPS")
    ktap.equal(RIG.dut.run("sh", "-c", f"echo {mask} > {path}").returncode, 0, "setting rps_cpus")
    try:
        yield
    finally:
        RIG.dut.run("sh", "-c", f"echo 0 > {path}")


class Flow:
    """One of several in a tunnel, to a socket of its own"""

    def __init__(self, on, number, rule=""):
        self.on, self.port = on, FIRST_PORT + number
        RIG.dut.ip("xfrm policy flush", on.shape.any_flow(on.kind, rule))

    def __enter__(self):
        self.sock = RIG.dut.udp(self.on.shape.inner_here, self.port)
        self.sock.connect((self.on.shape.inner_there, PORT_PEER))	# or it does not note its CPU
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        return self

    def __exit__(self, *_):
        self.sock.close()

    def sealed(self, first, count):
        """(packet, its data), one after the other"""
        for number in range(START + first, START + first + count):
            data = os.urandom(40)
            yield self.on.seal(number, data, ports=(PORT_PEER, self.port)), data

    @staticmethod
    def send(sealed):
        """What was in them"""
        sent = []
        for whole, data in sealed:
            RIG.dut.wire.send(whole)
            sent.append(data)
        return sent

    def take(self, count):
        return [self.sock.recv(100) for _ in range(count)]

    def cpu(self, sent):
        """that took the last of these, which come in order"""
        in_order(sent, self.take(len(sent)))
        return self.sock.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU)


def cpus_of_flows(on, rule=""):
    """The CPUs that take a burst of each of several flows"""
    found = set()
    for number in range(FLOWS):
        with Flow(on, number, rule) as flow:
            found.add(flow.cpu(flow.send(flow.sealed(1 + BURST * number, BURST))))
    return found


@ktap.case("RPS tells the flows inside an SA apart")
def flows():
    on = line(T4IN4)
    with rps("3"), spread.bringing(), spread.parameters(spread=0):
        ktap.equal(cpus_of_flows(on), {spread.BRINGS, spread.DELIVERS}, "CPUs")


def flows_apart(shape, suite):
    """Without RPS; on those that do nothing else, if there are such"""
    on = line(shape, suite)
    with spread.bringing(spread.ALL):
        found = cpus_of_flows(on)
    ktap.equal(len(found), 2, "number of CPUs")
    ktap.equal(spread.BRINGS in found, os.cpu_count() == 2, "the one that brings is among them")


@contextlib.contextmanager
def xfrm_interface(words="dev v0 if_id 7"):
    """Whoever has it may remove it before"""
    RIG.dut.ip(f"link add test0 type xfrm {words}", "link set test0 up")
    try:
        yield
    finally:
        RIG.dut.flush()
        RIG.sockets.drain()
        if not RIG.dut.run("ip", "link", "show", "test0", capture_output=True).returncode:
            RIG.dut.ip("link del test0")


@ktap.case("the flows of an XFRM interface stay where they are delivered, until RPS spreads them")
def interface():
    delivers = spread.DELIVERS if host.RELEASE >= (6, 12) else spread.BRINGS	# the core mistakes the device
    with xfrm_interface(), spread.bringing():
        ktap.equal(cpus_of_flows(line(T4IN4, more="if_id 7"), "if_id 7"), {delivers}, "CPUs")
        with rps("3", "test0"):
            ktap.equal(cpus_of_flows(line(T4IN4, more="if_id 7"), "if_id 7"),
                       {spread.BRINGS, spread.DELIVERS}, "CPUs with RPS")


@ktap.case("an external XFRM interface, which takes the packets of any SA, can go afterwards")
def external():
    with xfrm_interface("external"), spread.bringing():
        bursts_in(line(T4IN4))


@ktap.case("an external XFRM interface that a packet holds is said to go more than once, and went once")
def external_held():
    """As long as there is one, some kernels spread nothing that is received."""
    shape, esp = T4IN4, Esp(gcm(), 0x333, True)
    segment = packet.udp(shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT, b"held")
    inner = packet.ip(shape.inner_there, shape.inner_here, packet.ESP, esp.seal(segment, packet.UDP, START + 1))
    with flaky.loaded(), xfrm_interface("external"):
        on = Line(RIG, shape, chacha(), "esp", False, 64, 1000)
        RIG.dut.ip(host.state_line(shape.inner_there, shape.inner_here, 0x333, esp.suite.words(), esn=True, seq=START),
                   host.policy_line("in", shape.inner_there, f"{shape.inner_here} proto esp",
                                    host.template(shape.there, shape.here, "esp", "tunnel")))
        with flaky.holding():
            RIG.dut.wire.send(on.wrap(on.peer.seal(inner, packet.IPIP, 1001)))
            ktap.wait_for(lambda: on.figures()["packets"] == 1, "it came by the interface")
            going = subprocess.Popen(["ip", "-n", RIG.dut.name, "link", "del", "test0"])
            time.sleep(3)		# it is said every second
            ktap.equal(going.poll(), None, "status of who removes it, while it is held")
        ktap.equal(going.wait(60), 0, "status of who removes it")
    with spread.bringing(), counting("RxSpread", BURST):
        bursts_in(line(T4IN4))


for suite in (GCM, "AH hmac(sha256)"):
    for shape in TUNNEL:
        ktap.add(f"the flows inside a tunnel go to several CPUs: {suite}, {shape}", flows_apart, shape, suite)


@ktap.case("a flow goes to a CPU that has less to do")
def flow_moves():
    """When the lane of the one that delivers is filling up"""
    if os.cpu_count() > 2:
        raise ktap.Skip("the CPU that delivers is given no flow here")
    on, first, found = line(T4IN4), 1, []
    with spread.bringing(spread.ALL), setting.of(MAX_BACKLOG, 10000):
        for number in range(FLOWS):
            with Flow(on, number) as flow:
                delivers = flow.cpu(flow.send(flow.sealed(first, BURST))) == spread.DELIVERS
                first += BURST
                if not delivers:
                    continue
                crowd = list(flow.sealed(first + BURST, LANE_MAX - STEP))
                with spread.LaterHog() as hog:
                    flow.cpu(flow.send(flow.sealed(first, BURST)))	# the lane is open
                    hog.go()
                    sent = flow.send(crowd)
                found.append(flow.cpu(sent))
                break
    ktap.equal(found, [spread.BRINGS], "CPU of the flow afterwards")


# -- what is dropped is dropped by its name ----------------------------------

def one_bad(wanted, make):
    """Among good ones, and the good ones stay in order."""
    on = line(V4)
    with spread.bringing(spread.ALL):
        number = bursts_in(on)
        before = on.figures()
        good = [os.urandom(50) for _ in range(20)]
        packets = [on.seal(START + number + 1 + n, data) for n, data in enumerate(good)]
        packets.insert(10, make(on, number))
        with counting("RxSpread", 11):
            for data in packets:
                RIG.dut.wire.send(data)
            in_order(good, [RIG.sockets.receive(V4) for _ in good])
            on.settle(before, {"packets": 20, **wanted})


ktap.add("a forged packet among others", one_bad,
         {"failed": 1, "XfrmInStateProtoError": 1, "RxForged": 1},
         lambda on, number: on.seal(START + number, flip_icv=True))
ktap.add("a dummy packet among others", one_bad, {"packets": 21, "RxDummy": 1},
         lambda on, number: on.seal(START + number, dummy=b"nothing"))
ktap.add("a bad padding among others", one_bad,
         {"XfrmInStateProtoError": 1, "RxPadLength": 1},
         lambda on, number: on.seal(START + number, pad_length=255))


def forgeries(suite, shape):
    """As many as there were good ones: each is counted, none is tried twice or moves the window, beyond
    which their numbers are."""
    on, count = line(shape, suite), BURST * BURSTS
    forged = [on.seal(START + 5000 + n, flip_icv=True) for n in range(count)]
    with spread.bringing(spread.ALL):
        number = bursts_in(on)
        before = on.figures()
        with counting("RxSpread", BURST):
            for data in forged:
                RIG.dut.wire.send(data)
            on.settle(before, {"failed": count, "XfrmInStateProtoError": count, "RxForged": count})
        bursts_in(on, number)


for suite, shape in ((GCM, V4), (GCM, T6IN6), ("AH hmac(sha256)", V4)):
    ktap.add(f"a crowd of forgeries: {suite}, {shape}", forgeries, suite, shape)


@ktap.case("each of two equal packets is taken, and one delivered")
def replayed():
    """The core looks twice: the second time when the packet is delivered."""
    on = line(V4)
    with spread.bringing():
        number = bursts_in(on)
        before = on.figures()
        with counting("RxSpread", 3):
            with spread.Hog():
                for _ in range(3):
                    RIG.dut.wire.send(on.seal(START + number, b"once"))
            on.settle(before, {"packets": 1, "replayed": 2, "XfrmInStateSeqError": 2})
        ktap.equal(RIG.sockets.receive(V4), b"once", "data")


@ktap.case("a late packet is tried once more")
def late():
    """Older than the window, and so taken for a number of the next high half"""
    on = line(V4, window=64)
    with spread.bringing(spread.ALL):
        number = bursts_in(on)
        before = on.figures()
        with counting("RxSpread", 1):
            RIG.dut.wire.send(on.seal(START - 1000))
            on.settle(before, {"late": 1, "XfrmInStateSeqError": 1, "RxLate": 1, "RxSecondTry": 1})
        RIG.dut.wire.send(on.seal(START + number, b"as before"))
        ktap.equal(RIG.sockets.receive(V4), b"as before", "data")


# -- bounds and CPUs ---------------------------------------------------------

class Inward:
    """Packets to the host, sealed ahead: whoever is slow gives the other CPU time to deliver"""
    way, full, mib = "Rx", "RxQueueFull", "XfrmInStateProtoError"

    def __init__(self, on, number, count):
        self.on = on
        self.packets = [on.seal(START + number + n) for n in range(count)]
        self.before = on.figures()["packets"]

    def send(self):
        RIG.dut.wire.send(self.packets.pop(0))

    def through(self):
        """Of those, what the lane has let go"""
        return self.on.figures()["packets"] - self.before


class Outward:
    """Datagrams of the host's"""
    way, full, mib = "Tx", "TxQueueFull", "XfrmOutStateProtoError"

    def __init__(self, on, *_):
        self.on, self.before = on, self.gone()

    def send(self):
        RIG.sockets.send(self.on.shape, b"one of many")

    @staticmethod
    def gone():
        """What the device has got: sent, or dropped as the queue behind it was full"""
        with RIG.dut.inside(), open("/proc/net/dev", encoding="ascii") as file:
            figures = next(line.split() for line in file if line.split()[0] == "v0:")
        return int(figures[10]) + int(figures[12])

    def through(self):
        """What the lane has let go"""
        return self.gone() - self.before


def full(direction):
    """What comes when LANE_MAX packets wait is dropped, and so no more than that ever wait."""
    on, found, most, sent = line(V4), {}, 0, 0
    room()
    with spread.bringing():
        number = bursts_in(on)
        bursts_out(on)
        time.sleep(0.1)
        some = direction(on, number, 3 * LANE_MAX)
        before = RIG.dut.counters()
        with spread.Hog():
            while some.full not in found and sent < 3 * LANE_MAX:
                for _ in range(STEP):
                    some.send()
                sent += STEP
                # in this order: what leaves meanwhile makes fewer of those that wait, not more
                found = host.delta(before, RIG.dut.counters())
                most = max(most, found.get(f"{some.way}Spread", 0) - some.through())
    ktap.check(most <= LANE_MAX, f"{most} waited at a time")
    if some.full not in found:
        raise ktap.Skip("the CPU that delivers was not held up")
    ktap.check(sent > LANE_MAX, f"{some.full} after {sent}")
    ktap.check(0 < found[some.full] <= STEP, f"{some.full} is {found[some.full]}")
    ktap.equal(found.get(some.mib), found[some.full], some.mib)


def room():
    """In the sockets for a full lane"""
    for sock in (*RIG.sockets.plain.values(), RIG.dut.wire.socket):
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            sock.setsockopt(socket.SOL_SOCKET, option, 1 << 23)


for way in (Inward, Outward):
    ktap.add(f"{way.full}: a full lane drops what comes then", full, way)


@contextlib.contextmanager
def before_nic():
    """A host whose network device can be stopped, and a function that sends so many packets; BURST have
    been sent"""
    with nic.plugged() as dut, dut.udp(nic.HERE, PORT_DUT) as sock:
        dut.run("tc", "qdisc", "add", "dev", nic.DEVICE, "root", *host.Dut.queue.split())
        dut.ip(host.state_line(nic.HERE, nic.THERE, SPI_OUT, gcm().words(), esn=True, oseq=START),
               host.policy_line("out", nic.HERE, nic.THERE, host.template()))
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 23)
        dut.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)

        def send(count):
            for _ in range(count):
                sock.sendto(b"one of many", (nic.THERE, PORT_PEER))

        with spread.bringing():
            send(BURST)
            yield dut, send


def in_lane(dut, send):
    """How many of what is sent get into the lane: where the machine is slow, they are no crowd."""
    before = dut.counters().get("TxSpread", 0)
    send()
    time.sleep(0.3)
    found = dut.counters().get("TxSpread", 0) - before
    if not found:
        raise ktap.Skip("nothing was spread")
    return found


def leave_in_order(dut, sent, lost=0):
    """All that were sent leave, but for so many."""
    numbers = [int.from_bytes(packet.split(dut.offered()[1])[2][4:8], "big") for _ in range(sent - lost)]
    ktap.equal([step for step in zip(numbers, numbers[1:]) if step[1] <= step[0]], [], "what left out of turn")
    ktap.check(numbers[-1] - numbers[0] < sent, f"{numbers[0]} to {numbers[-1]} is not what was sent")


@ktap.case("a device that is stopped: what has been encrypted waits in the lane, which may fill")
def stopped():
    encrypted_for_device()
    with before_nic() as (dut, send):
        with nic.stopped():
            waiting = in_lane(dut, lambda: send(LANE_MAX + 4 * STEP))
        lost = dut.counters().get("TxQueueFull", 0)
        ktap.check(waiting <= LANE_MAX, f"{waiting} wait")
        ktap.equal(dut.counters().get("XfrmOutStateProtoError", 0), lost, "XfrmOutStateProtoError")
        leave_in_order(dut, BURST + LANE_MAX + 4 * STEP, lost)


@ktap.case("a device that is stopped: of a GSO packet that does not fit the lane, each segment is counted")
def stopped_segments():
    encrypted_for_device()
    count = 3 * LANE_MAX // 2 // SEGMENTS
    with before_nic() as (dut, _):
        leave_in_order(dut, BURST)
        with contextlib.closing(Whole(dut, nic.HERE, nic.THERE, START)) as whole:
            whole.send(BURST)		# the lane opens
            with nic.stopped():
                in_lane(dut, lambda: whole.send(count))
            lost = dut.counters().get("TxQueueFull", 0)
            ktap.check(lost > SEGMENTS, f"{lost} were dropped")
            leave_in_order(dut, SEGMENTS * (BURST + count), lost)


@ktap.case("a device that is stopped again and again: nothing is overtaken")
def stop_and_go():
    with before_nic() as (dut, send):
        toggle = f"while :; do echo 1; echo 0; done > {nic.PARAMETERS}/stopped"
        with subprocess.Popen(["sh", "-c", toggle]) as process:
            for _ in range(20):
                send(2 * BURST)
                time.sleep(0.05)
            process.kill()
        setting.write(f"{nic.PARAMETERS}/stopped", 0)
        ktap.check(dut.counters().get("TxSpread", 0) > BURST, "nothing was spread")
        leave_in_order(dut, 41 * BURST)


@ktap.case("a device that is stopped: what goes to others meanwhile is encrypted")
def stopped_aside():
    there = "198.51.100.2"
    with before_nic() as (dut, send), contextlib.ExitStack() as stack:
        dut.ip("link add dummy0 type dummy", "addr add 198.51.100.1/24 dev dummy0", "link set dummy0 up",
               f"neigh add {there} lladdr 00:11:22:33:44:55 dev dummy0",
               host.state_line("198.51.100.1", there, SPI_OUT + 5, gcm().words(), reqid=5),
               host.policy_line("out", "198.51.100.1", there, host.template(reqid=5)))
        other = stack.enter_context(dut.udp("198.51.100.1", PORT_DUT))
        with dut.inside():
            tap = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
        tap.bind(("dummy0", 3))
        tap.settimeout(3)

        def encrypted():
            for cpu in (spread.BRINGS, spread.DELIVERS):
                os.sched_setaffinity(0, {cpu})
                other.sendto(b"nobody else may read this", (there, PORT_PEER))
                ktap.check(b"nobody" not in tap.recv(2000), f"sent in cleartext by CPU {cpu}")
            os.sched_setaffinity(0, {spread.BRINGS})

        with nic.stopped():
            send(BURST)
            encrypted()
            for _ in range(3):		# no crowd: the lane comes home
                time.sleep(0.15)
                send(1)
                encrypted()
        leave_in_order(dut, 2 * BURST + 3)


@ktap.case("a device that gives up a queue which is stopped: what waits takes another one")
def stopped_queue_goes():
    encrypted_for_device()
    with before_nic() as (dut, send), contextlib.ExitStack() as stack:
        leave_in_order(dut, BURST)
        dut.run("sh", "-c", f"echo 3 > /sys/class/net/{nic.DEVICE}/queues/tx-1/xps_cpus")
        with nic.stopped():
            waiting = in_lane(dut, lambda: send(BURST))
            stack.enter_context(nic.single())
        leave_in_order(dut, waiting)


@ktap.case("a device that is stopped, and has no link any more: nothing waits for it")
def stopped_for_good():
    encrypted_for_device()
    with before_nic() as (dut, send):
        leave_in_order(dut, BURST)
        with nic.stopped():
            waiting = in_lane(dut, lambda: send(BURST))
            with nic.without_link():
                ktap.wait_for(lambda: dut.counters().get("TxDevice") == waiting, "all are dropped")
        ktap.equal(dut.counters()["XfrmOutStateProtoError"], waiting, "XfrmOutStateProtoError")


# -- what a stopped device keeps in a lane goes with what goes -----------------

def state_goes(dut, _):
    """They were encrypted for somebody who may take them: they leave when the device goes on."""
    dut.ip("xfrm state flush")
    setting.write(f"{nic.PARAMETERS}/stopped", 0)
    leave_in_order(dut, BURST)


def device_goes(dut, waiting):
    ktap.equal(impl.modprobe("-r", "ipsec_v3_nic"), "", "removing the device")
    ktap.equal([dut.counters().get(name) for name in ("TxDevice", "XfrmOutStateProtoError")],
               [waiting, waiting], "TxDevice, XfrmOutStateProtoError")
    dut.flush()


def goes_before_stopped(action):
    encrypted_for_device()
    RIG.dut.flush()		# or the case before would hold the module
    RIG.sockets.drain()
    with before_nic() as (dut, send):
        leave_in_order(dut, BURST)
        setting.write(f"{nic.PARAMETERS}/stopped", 1)	# until it is loaded again
        action(dut, in_lane(dut, lambda: send(BURST)))
        busy.let_go()


for name, action in (("the SA is deleted", state_goes), ("it is removed", device_goes)):
    ktap.add(f"a device that is stopped, and {name} while packets wait", goes_before_stopped, action)


@ktap.case("a device that is stopped, and its namespace ends while forwarded packets wait")
def netns_goes():
    """They hold no socket, which would hold the namespace.  When that has ended the device is where it came
    from."""
    encrypted_for_device()
    RIG.dut.flush()
    RIG.sockets.drain()
    with before_nic() as (dut, _):
        leave_in_order(dut, BURST)
        whole = Whole(dut, nic.HERE, nic.THERE, START)
        whole.send(BURST)		# the lane opens
        setting.write(f"{nic.PARAMETERS}/stopped", 1)
        in_lane(dut, lambda: whole.send(BURST))
        Tun.close(whole)		# its routes go with the namespace
        dut.close()
        ktap.wait_for(lambda: os.path.exists(f"/sys/class/net/{nic.DEVICE}"), "the namespace has ended", 60)
        busy.let_go()


@contextlib.contextmanager
def elsewhere():
    other = host.Host("other")
    try:
        yield other
    finally:
        other.close()


def move(device, dut, other):
    """To another namespace, and up there"""
    dut.ip(f"link set {device} netns {other.name}")
    other.ip(f"link set {device} up")


@ktap.case("TxDevice: a device that is stopped goes to another namespace with packets in a lane")
def moved_stopped():
    """None of them leaves there."""
    encrypted_for_device()
    with before_nic() as (dut, send), elsewhere() as other:
        for _ in range(3):	# a lane that has been quiet for long comes home, and closes
            time.sleep(0.15)
            send(1)
        leave_in_order(dut, BURST + 3)
        with spread.LaterHog() as hog:
            send(BURST)		# it opens
            setting.write(f"{nic.PARAMETERS}/stopped", 1)
            waiting = in_lane(dut, lambda: send(BURST))
            hog.go()		# or all would be dropped while the device is down
            move(nic.DEVICE, dut, other)
            setting.write(f"{nic.PARAMETERS}/stopped", 0)
        # some of those that opened it may not have left by then
        ktap.wait_for(lambda: dut.counters().get("TxDevice", 0) >= waiting, "all are dropped")
        found = dut.counters()
        ktap.equal(found["XfrmOutStateProtoError"], found["TxDevice"], "XfrmOutStateProtoError")


@ktap.case("RxDevice: a device goes to another namespace with packets in a lane")
def moved():
    """None of them arrives in the one that it has left.  A cipher that is late keeps them: whoever moves
    a device waits for work of the CPU that delivers."""
    rig = Rig()
    with flaky.loaded(), elsewhere() as other, spread.bringing():
        rig.start(name="moved")
        try:
            on = line(V4, rig=rig)
            number = bursts_in(on)
            before = on.figures()
            flaky.set_to(late_ms=5000)	# not before the action on the slowest of machines
            with counting("RxSpread", 1, rig):
                burst(on, number)
            move("v0", rig.dut, other)
            ktap.equal(on.since(before).get("packets", 0), 0, "packets that are through already")
            on.settle(before, {"RxDevice": BURST})
        finally:
            rig.stop()


def burst(on, number):
    for n in range(BURST):
        on.dut.wire.send(on.seal(START + number + n))


def either(on, before, dropped, reason):
    """Of a burst that was accepted, so many were dropped for this reason, and all others arrived, or
    were dropped by the core after they had left us."""
    ktap.wait_for(lambda: on.since(before).get("packets") == BURST, "the burst is accepted")
    arrived = []
    ktap.wait_for(lambda: arrived.extend(on.rig.sockets.waiting(on.shape)) or
                  len(arrived) + on.dut.dropped("v0") - dropped == BURST,
                  f"{reason} and what arrives add up")
    found = on.since(before).get(reason, 0)
    ktap.check(found <= BURST - len(arrived), f"{reason} is {found}, and {len(arrived)} of {BURST} have arrived")
    return found


def held(flow, first):
    """A burst that waits until the CPU that delivers is free, which then delivers all of it at once: how
    many arrive; or None, if some were through before, or the lane came home, and all went on there."""
    opening, crowd = list(flow.sealed(first, BURST)), list(flow.sealed(first + BURST, BURST))
    with setting.of(MAX_BACKLOG, setting.read(MAX_BACKLOG)):
        with spread.LaterHog() as hog:
            flow.cpu(flow.send(opening))
            before, dropped = flow.on.figures(), RIG.dut.dropped("v0")
            hog.go()
            setting.write(MAX_BACKLOG, FLOW_ROOM)
            flow.send(crowd)
            early = flow.on.since(before).get("packets")
        ktap.wait_for(lambda: flow.on.since(before).get("packets") == BURST, "the burst is accepted")
        found = flow.on.since(before).get("RxFlowFull", 0)
        arrived = flow.take(BURST - found)
    ktap.equal(RIG.dut.dropped("v0") - dropped, found, "packets that v0 has dropped")
    ktap.equal(arrived, [data for _, data in crowd][:len(arrived)], "those that arrived")
    at_home = flow.sock.getsockopt(socket.SOL_SOCKET, SO_INCOMING_CPU) == spread.BRINGS
    return None if early or at_home else len(arrived)


def flow_full(shape):
    """What is too much for the CPU of a flow is dropped after it was accepted: the lane hands it less at a
    time than has room, so what waits there already is counted.  A lane that had to open anew just then holds
    all of them back until there is room: once more."""
    on, first, held_back = line(shape), 1, 0
    with spread.bringing():
        for number in range(FLOWS):
            with Flow(on, number) as flow:
                there = flow.cpu(flow.send(flow.sealed(first, BURST))) == spread.DELIVERS
                first += BURST
                for _ in range(10 if there else 0):
                    arrived = held(flow, first)
                    first += 2 * BURST
                    held_back += arrived == BURST
                    if arrived not in (None, BURST):
                        ktap.equal(arrived, FLOW_ROOM, "packets that arrive")
                        flow.cpu(flow.send(flow.sealed(first, BURST)))
                        return
    ktap.equal(held_back, 0, "bursts that were held back, and none was dropped")
    raise ktap.Skip("the CPU that delivers was not held up")


def device_gone(shape):
    """What waits while the device goes down is accepted, and dropped when it leaves the lane."""
    rig = Rig()
    rig.start(name="down")
    try:
        on = line(shape, rig=rig)
        with spread.bringing():
            with spread.LaterHog() as hog:	# a lane that has been quiet for long comes home
                number = bursts_in(on)
                before, dropped = on.figures(), on.dut.dropped("v0")
                hog.go()
                burst(on, number)
                busy.down(rig.dut, "v0")
            if not either(on, before, dropped, "RxDevice"):
                raise ktap.Skip("the CPU that delivers was not held up")
    finally:
        rig.stop()


for shape in (T4IN4, T6IN6):
    ktap.add(f"RxFlowFull: the CPU of a flow has too much: {shape}", flow_full, shape)


@ktap.case("the last CPU that is allowed is the one that brings")
def alone():
    on = line(V4)
    with spread.bringing(), spread.parameters(spread_cpus="0"):
        before = RIG.dut.counters().get("RxSpread", 0)
        bursts_in(on)
        ktap.equal(RIG.dut.counters().get("RxSpread", 0) - before, 0, "RxSpread")
    ktap.equal(spread.parameter("spread_cpus"), spread.ALL, "spread_cpus")


def offline(shape):
    """Again and again, with packets of a flood in its queues"""
    path = f"/sys/devices/system/cpu/cpu{spread.DELIVERS}/online"
    flood = Flood(line(shape))
    with spread.bringing():
        ktap.check(flood.until(bool), "nothing was spread")
        toggle = f"for n in 1 2 3 4 5; do echo 0 > {path} && echo 1 > {path} || exit 1; done"
        with subprocess.Popen(["sh", "-c", toggle]) as process:
            while process.poll() is None:
                flood.spread(50)
        ktap.equal(process.returncode, 0, "status of what takes it away and gives it back")
        flood.check()
        ktap.check(flood.until(bool), "nothing was spread when it was back")
    flood.check()


def offline_slowly(shape):
    """For a while it is online by name, and its work items run on any of the others, of which one is late at times."""
    if os.cpu_count() < 3:
        raise ktap.Skip("takes two CPUs beside the one that goes")
    if impl.modprobe("ipsec_v3_slow"):
        raise ktap.Skip("there is no ipsec_v3_slow, which tools/testing/vm/run builds")
    try:
        with spread.OtherHog():
            offline(shape)
    finally:
        impl.modprobe("-r", "ipsec_v3_slow")


for shape in (V4, T4IN4):
    ktap.add(f"a CPU goes offline and comes back in a flood: {shape}", offline, shape)
    ktap.add(f"a CPU goes offline and comes back slowly in a flood: {shape}", offline_slowly, shape)


def called_elsewhere(shape):
    """While its CPU is offline the hand is called on the one that brings, which has no time for it; the CPU is back
    when it gets there, with much to deliver that it must not, and would never again be anywhere else."""
    if not spread.softirqs_on_their_own():
        raise ktap.Skip("what follows packets has no time then")
    if os.cpu_count() < 3:
        raise ktap.Skip("takes a CPU that brings the other one back")
    path = f"/sys/devices/system/cpu/cpu{spread.DELIVERS}/online"
    with flaky.loaded(), spread.bringing():
        flood = Flood(line(shape))
        flaky.set_to(hold=1)	# the gate stays shut, and so the lane where it is
        ktap.check(flood.spread(BURST), "nothing was spread")
        try:
            with spread.urgent(), spread.HomeHog() as hog:
                setting.write(path, 0)
                hog.go()
                ktap.check(flood.spread(BURST), "nothing was spread when it was away")
                with one_cpu(spread.DELIVERS + 1):
                    setting.write(path, 1)
                    flaky.set_to(hold=0)
                    time.sleep(.5)	# the gate opens
            flood.check()
        finally:
            setting.write(path, 1)
            flaky.set_to(hold=0)
            RIG.dut.flush()
            RIG.sockets.drain()


for shape in (T4IN4, T6IN6):
    ktap.add(f"a CPU comes back before its hand gets to another: {shape}", called_elsewhere, shape)


@ktap.case("what finishes later finishes in order")
def deferred():
    with cryptd.instance(f"cryptd({GCM})", GCM):
        both_ways(V4, GCM)
        RIG.dut.flush()
        RIG.sockets.drain()


def no_memory(shape):
    """A third of what the lane's softirqs ask for fails, here to put together what came in fragments:
    those packets are lost by name, and the others keep their order."""
    on = line(shape)
    sent = [os.urandom(3000) for _ in range(BURST * BURSTS)]
    pieces = [packet.fragments(on.seal(START + n, data), (1200, 2400)) for n, data in enumerate(sent, 1)]
    before = on.figures()
    with spread.bringing(), counting("RxSpread", BURST), NoMemory(30, function="rx_lane_work"):
        for data in sum(pieces, []):
            on.dut.wire.send(data)

        def ended():
            changed = on.since(before)
            return changed.get("RxNoMemory", 0) + changed.get("packets", 0) == len(sent)
        ktap.wait_for(ended, "each packet is decrypted or had no memory", 60)
    changed, got = on.since(before), [RIG.sockets.receive(shape) for _ in range(on.since(before)["packets"])]
    ktap.say(f"{len(got)} of {len(sent)} came")
    ktap.check(changed.get("RxNoMemory") and changed["RxNoMemory"] == changed.get("XfrmInStateProtoError"), f"{changed}")
    in_order([data for data in sent if data in got], got)
    on.arrives(len(sent) + 1)


for shape in (V4, V6):
    ktap.add(f"memory fails in a lane's softirq: {shape}", no_memory, shape)


@ktap.case("pktgen, which takes no answer for later, is not spread")
def generated():
    if impl.modprobe("-q", "pktgen"):
        raise ktap.Skip("this kernel has no pktgen")
    on, count, files = line(V4), 20000, "/proc/net/pktgen"
    before = on.figures()
    try:
        with spread.bringing(), RIG.dut.inside():
            setting.write(f"{files}/kpktgend_{spread.BRINGS}", "add_device v0")
            for words in (f"count {count}", "pkt_size 200", "delay 0", f"src_min {V4.here}", f"src_max {V4.here}",
                          f"dst_min {V4.there}", f"dst_max {V4.there}", f"dst_mac {host.MAC_WIRE}",
                          "flows 1", "flowlen 10", f"spi {SPI_OUT}", "flag IPSEC"):
                setting.write(f"{files}/v0", words)
            setting.write(f"{files}/pgctrl", "start\n")	# returns when all are sent
        RIG.dut.wire.drain()
        ktap.check(RIG.dut.state(V4.there, SPI_OUT).packets > count / 2, "the SA protected hardly any")
        ktap.equal(on.since(before).get("TxSpread"), None, "TxSpread")
    finally:
        RIG.dut.flush()
        ktap.wait_for(lambda: not impl.modprobe("-r", "pktgen"), "pktgen unloads")	# and gives up v0


# -- everything may go while packets are under way ---------------------------

def some_wait(it):
    """Some were spread, and not all of these delivered; the hog's CPU has a part of each second for
    that, so it may take a burst more."""
    def waiting():
        found = it.on.figures()
        return found.get("RxSpread", 0) > found["packets"]
    ktap.wait_for(lambda: waiting() or it.more(BURST), "packets wait in the lane")


@contextlib.contextmanager
def lane_keeps(_kind):
    with spread.bringing():
        yield spread.MostlyHog, some_wait	# a device that goes waits for every CPU's work


def gone(kind, shape, action, after=None, unload=False):
    RIG.dut.flush()		# or the case before would hold the module
    RIG.sockets.drain()
    busy.gone_in_flight(kind, shape, action, after, unload, lane_keeps)
    on = line(V4)
    RIG.dut.wire.send(on.seal(START + 1, b"next"))
    ktap.equal(RIG.sockets.receive(V4), b"next", "data")
    RIG.dut.flush()
    RIG.sockets.drain()


ktap.add(f"RxDevice: the device goes down with packets in a lane: {T4IN4}", device_gone, T4IN4)
for action, after in change.GONE.items():
    ktap.add(f"{action.__name__} with packets in a lane: {T4IN4}", gone, GCM, T4IN4, action, after)
for _k, kind in enumerate(busy.KINDS):
    for _a, (action, after) in enumerate(change.GONE.items()):
        if one_of(2, _k, _a):
            ktap.add(f"{action.__name__} with packets in a lane: {kind}", gone, kind, V4, action, after)
    if one_of(2, _k, len(change.GONE)):
        ktap.add(f"unload after packets in a lane: {kind}", gone, kind, V4, busy.flush_all, None, True)
for _k, kind in enumerate(busy.KINDS):
    for _s, shape in enumerate((V4, T6IN6)):
        for _a, (name, (action, after)) in enumerate(change.ACTIONS.items()):
            if change.possible(name, shape) and one_of(12, 7 * _k, _a - 1 - _s):
                ktap.add(f"{name} with packets in a lane: {kind}, {shape}", gone, kind, shape, action, after)
impl.PARAMETERS += ["spread=1", "spread_idle=0"]
# with offload what is sent is spread before a device with a queue only
host.Dut.queue = "pfifo limit 10000"
spread.possible()
ktap.main(RIG.start, RIG.stop)
