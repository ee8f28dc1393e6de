#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Load for as long as asked: many SAs and few, of every mode and family, over a link
that reorders half of the packets, loses some and doubles some, while the SAs are
replaced one after the other, with datagrams under way.

The receiver checks every datagram: who sent it, its number, and each octet, which
follow from the number.  None may be altered or arrive twice.  Some windows are so
small that the link reorders packets out of them, some datagrams are split before they are
encrypted, and a TCP connection goes among them, of which the octets are compared.  So do
forgeries: datagrams that nobody has sent, right in all but one bit of the ICV.  The
books of each SA, and of all, have to agree to the packet:

	packets of an inbound SA	= what a tap saw come in its window for the first time
	what it refused as late, as replayed, as forged
					= what the tap saw come left of it, once more, forged
	datagrams sent, as fragments	= packets of the outbound SAs
	packets that arrived		= packets of the inbound SAs + drops by name
	packets of the inbound SAs	= datagrams received, as fragments

and the kernel may not hold more memory than after the first round, nor more and more.

	IPSEC_MINUTES	in all (default 1; 0.5 with IPSEC_SHORT)
	IPSEC_FLOWS	SAs that send, in the case of many (default 1000; 200 short)
	IPSEC_SEED	repeats the configuration; it is printed
"""

import collections
import contextlib
import fcntl
import glob
import hashlib
import ipaddress
import itertools
import mmap
import os
import random
import re
import socket
import struct
import subprocess
import termios
import time

from lib import host, impl, ktap, packet, setting
from lib.busy import let_go
from lib.line import EVENTS
from lib.peer import Ah, Esp
from lib.suite import Separate, cbc, chacha, gcm, sha256
from lib.wire import ETH_IP, ETH_IPV6

SHORT = bool(os.environ.get("IPSEC_SHORT"))
MINUTES = float(os.environ.get("IPSEC_MINUTES") or (0.5 if SHORT else 1))
FLOWS = int(os.environ.get("IPSEC_FLOWS") or (200 if SHORT else 1000))
SEED = int(os.environ.get("IPSEC_SEED") or random.randrange(1 << 32))
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
PORT, PORT_NATT = 6000, 4500
OUTER = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd09::1", "fd09::2")}
MANY = {4: ("10.64.0.0", "10.128.0.0"), 6: ("fd64::", "fd65::")}	# of each host
SMALL = ("fd66::", "fd67::")	# likewise, where no datagram of SPLIT fits the MTU
SMALL_MTU = 1280
NETEM = "delay 100ms 40ms reorder 50% loss 5% duplicate 3% limit 100000"
RULES = f"""table inet soak {{
	counter arrived {{ }}
	chain before {{
		type filter hook prerouting priority -450
		meta l4proto {{ esp, ah }} counter name arrived
		udp dport {PORT_NATT} counter name arrived
	}}
}}
"""
SIZES = (20, 21, 64, 100, 333, 576, 1000, 1400, 4000, 8000)
CHUNK = 2000		# octets for TCP at a time
LINGER = 2		# seconds until an SA that is replaced has nothing under way
HUGE = "/sys/kernel/mm/transparent_hugepage/enabled"
NOISE = 1024		# kilobytes, thrice that by which what the kernel holds goes up and down
BURST = 8		# datagrams of a flow in a row, some of which overtake the others
RENEWED = 8		# flows a second that get new SAs
MACS = host.MAC_HOST, host.MAC_WIRE
FAR = 1 << 15		# numbers ahead of the window that no SA lives to reach, and not yet so
			# far that a forgery would be tried twice
SUITES = {
    "esp": [gcm(), chacha(), cbc(), Separate("ecb(cipher_null)", "hmac(sha1)", 96)],
    "ah": [sha256()],
}
# {number of a flow: window, ESN}.  These send in bursts only: the tries that the module has for
# what comes late are bounded, and in-tree takes it for forged.
NARROW = {number: (window, esn and not impl.INTREE) for number, (window, esn) in enumerate(
    itertools.product((1, 4, 32), (True, False)))}
SPLIT = 6, 7		# flows whose datagrams are split before they are encrypted
ONE_CPU = os.cpu_count() == 1	# else a tap may see another order than a window does
# Names of drops that the link is to blame for, and those who forge
HONEST = {"XfrmInStateSeqError", "RxLate"}
FORGED = {"XfrmInStateProtoError"} if impl.INTREE else {"XfrmInStateProtoError", "RxForged"}
# What of the memory is free, or used by and for processes
GIVEN = ("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "PageTables", "SReclaimable")
HOLDERS = "SUnreclaim", "VmallocUsed", "Percpu", "KernelStack", "SecPageTables"
PAGE = mmap.PAGESIZE // 1024
HEAD = struct.Struct("!IQI")


def content(flow, number, size):
    """A datagram: its head, and octets that follow from it"""
    head = HEAD.pack(flow, number, size)
    return head + (hashlib.sha256(head).digest() * (size // 32 + 1))[:size - HEAD.size]


class Flow:
    """Datagrams to one address, through SAs that are replaced from time to time"""
    # not ESP in UDP, which is looked at before it is opened
    upper, sent_as, got_as = f"proto udp dport {PORT}", "out", "in"

    def __init__(self, number, rng, inner=None):
        self.number, self.forward = number, bool(number & 1)
        self.proto = rng.choice(("esp", "esp", "esp", "ah"))
        self.suite = rng.choice(SUITES[self.proto])
        self.mode = rng.choice(("transport", "tunnel", "beet"))
        if self.proto == "ah" and self.mode == "beet":
            self.mode = "tunnel"	# ip has no BEET for AH
        self.inner = inner or rng.choice((4, 6))
        self.split = number in SPLIT
        if self.split:
            self.mode, self.inner = "tunnel", 6
        self.sizes = SIZES[-3:] if self.split else SIZES
        self.outer = self.inner if self.mode == "transport" else rng.choice((4, 6))
        self.narrow = number in NARROW
        self.window, self.esn = NARROW.get(number) or (
            rng.choice((64, 128, 1024, 4096)), rng.random() < 0.7)
        self.encap = self.proto == "esp" and rng.random() < 0.2
        self.source, self.target = self.addresses()
        self.sent, self.seen, self.old = 0, set(), []
        self.start, self.spi, self.forged = 0, 0, 0

    def ends(self, both):
        return both if self.forward else both[::-1]

    def addresses(self):
        base = self.ends(SMALL if self.split else MANY[self.inner])[1]
        return self.ends(OUTER[self.inner])[0], str(ipaddress.ip_address(base) + self.number)

    def sa(self):
        """(source, destination) of the SA"""
        if self.mode == "transport":
            return self.source, self.target
        return self.ends(OUTER[self.outer])

    def state(self, rng, way):
        """A new SA; its numbers are about to cross 2^32 where they may"""
        if way == "in":
            self.spi = 0x1000 + rng.randrange(1 << 30)
            self.start = (rng.randrange(1, 100) << 32) - rng.randrange(200) if self.esn else 0
        sel = f"src {self.source} dst {self.target}" if self.mode == "beet" else ""
        flags = "af-unspec" if self.outer != self.inner else ""
        return host.state_line(
            *self.sa(), self.spi, self.suite.words(self.proto),
            self.proto, self.mode, self.number + 1, self.esn, self.window, flags,
            seq=self.start if way == "in" else None, oseq=self.start if way == "out" else None,
            encap=(PORT_NATT, PORT_NATT) if self.encap else None, sel=sel)

    def forgery(self):
        """A packet for the newest SA, with the datagram that will be the next one"""
        self.forged += 1
        src, dst = self.sa()
        data = content(self.number, self.sent, 100)
        proto, inner = packet.UDP, packet.udp(self.source, self.target, PORT, PORT, data)
        if self.mode == "tunnel":
            inner = packet.ip(self.source, self.target, packet.UDP, inner)
            proto = packet.IPIP if self.inner == 4 else packet.IPV6
        seq = self.start + FAR + self.forged
        if self.proto == "ah":
            return Ah(self.suite, self.spi, self.esn).seal(
                packet.ip(src, dst, packet.AH, b""), proto, inner, seq, flip_icv=True)
        esp = Esp(self.suite, self.spi, self.esn).seal(inner, proto, seq, flip_icv=True)
        if not self.encap:
            return packet.ip(src, dst, packet.ESP, esp)
        return packet.ip(src, dst, packet.UDP, packet.udp(
            src, dst, PORT_NATT, PORT_NATT, esp, 0 if self.outer == 4 else None))

    def policy(self, way):
        return host.policy_line(way, self.source, f"{self.target} {self.upper}",
                                host.template(*self.sa(), self.proto, self.mode,
                                              self.number + 1))

    def key(self, spi):
        """What an identity() begins with"""
        return ipaddress.ip_address(self.sa()[1]).packed + struct.pack("!I", spi)

    def delete(self, spi):
        src, dst = self.sa()
        return f"xfrm state delete src {src} dst {dst} proto {self.proto} spi {spi:#x}"


class Half(Flow):
    """One direction of a TCP connection"""
    upper, sent_as, got_as = "proto tcp", "TCP out", "TCP in"

    def addresses(self):
        return self.ends((OUTER[self.inner][0], str(ipaddress.ip_address(MANY[self.inner][1]) + 1)))


def identity(data):
    """Destination, SPI and sequence number of an outer packet, None of any other"""
    if data[0] >> 4 == 4:
        proto, dst, rest = data[9], data[16:20], data[(data[0] & 15) * 4:]
    else:
        proto, dst, rest = data[6], data[24:40], data[40:]
    if proto == socket.IPPROTO_UDP and rest[2:4] == struct.pack("!H", PORT_NATT):
        return dst + rest[8:16]
    return {socket.IPPROTO_ESP: dst + rest[:8], socket.IPPROTO_AH: dst + rest[4:12]}.get(proto)


class Arrivals:
    """What a tap has seen of one SA, and a window to tell what becomes of it"""

    def __init__(self, window, top):
        self.window, self.top, self.seen = window, top, set()
        self.fresh, self.late, self.again, self.forged = 0, 0, 0, 0

    def add(self, low):
        """low: of a sequence number, the half that a packet has"""
        number = self.top + (low - self.top + (1 << 31)) % (1 << 32) - (1 << 31)
        if number <= self.top - self.window:
            self.late += 1
        elif number in self.seen:
            self.again += 1
        else:
            self.fresh += 1
            self.enter(number)

    def enter(self, number):
        self.top = max(self.top, number)
        self.seen.add(number)
        if len(self.seen) > 2 * self.window:
            self.seen = {n for n in self.seen if n > self.top - self.window}


class Tap:
    """Books what comes by a device"""

    def __init__(self, device, arrivals, forged):
        """arrivals: {key of an SA: Arrivals}; forged: the identities of that"""
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.bind((device, 3))
        self.sock.setblocking(False)
        self.arrivals, self.forged, self.arrived = arrivals, forged, 0

    def read(self):
        while True:
            try:
                data, address = self.sock.recvfrom(96)
            except BlockingIOError:
                return
            found = identity(data) if address[2] != socket.PACKET_OUTGOING and len(data) >= 40 else None
            if found:
                self.book(found)

    def book(self, found):
        self.arrived += 1
        of_sa = self.arrivals[found[:-4]]
        if found in self.forged:
            of_sa.forged += 1
        else:
            of_sa.add(int.from_bytes(found[-4:], "big"))


class End(host.Host):
    """One of two hosts, with a socket for each family that takes every address"""

    def __init__(self, name, side):
        super().__init__(name)
        self.side, self.sockets, self.natt, self.tap = side, {}, [], None
        self.device, self.raw = f"veth{side}", None

    def connect(self, arrivals, forged):
        """See Tap"""
        device = self.device
        lines = [f"link set {device} mtu 9000 up"]
        for version, bits in ((4, 24), (6, 64)):
            nodad = " nodad" if version == 6 else ""
            here, there = OUTER[version][self.side], OUTER[version][1 - self.side]
            mine, others = MANY[version][self.side], MANY[version][1 - self.side]
            many = 10 if version == 4 else 64
            lines += [f"addr add {here}/{bits} dev {device}{nodad}",
                      f"route add local {mine}/{many} dev lo",
                      f"route add {others}/{many} via {there} src {here}"]
        lines += [f"route add local {SMALL[self.side]}/64 dev lo",
                  f"route add {SMALL[1 - self.side]}/64 via {there} src {here} mtu {SMALL_MTU}"]
        self.ip(*lines)
        self.sysctl("net.ipv6.bindv6only", 1)
        self.sysctl("net.ipv6.ip6frag_time", LINGER)	# what waits for a lost one is memory
        for version, anywhere in ((4, "0.0.0.0"), (6, "::")):
            self.natt.append(self.udp(anywhere, PORT_NATT, True))
            sock = self.sockets[version] = self.udp(anywhere, PORT)
            sock.setblocking(False)
            for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                sock.setsockopt(socket.SOL_SOCKET, option, 64 << 20)
        with self.inside():
            self.tap = Tap(device, arrivals, forged)
            self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.tool(f"tc qdisc add dev {device} root netem {NETEM}")
        self.tool("nft -f -", RULES)

    def tool(self, words, text=""):
        done = self.run(*words.split(), input=text, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT)
        if done.returncode:
            raise ktap.Skip(f"{words}: {done.stdout.strip()}")
        return done.stdout

    def put(self, data):
        """A whole packet on the link"""
        kind = ETH_IP if packet.version(data) == 4 else ETH_IPV6
        there = bytes.fromhex(MACS[1 - self.side].replace(":", ""))
        self.raw.sendto(data, (self.device, kind, 0, 0, there))

    def arrived(self):
        return int(re.search(r"packets (\d+)", self.tool("nft list counter inet soak arrived"))[1])

    def close(self):
        for sock in (*self.sockets.values(), *self.natt, self.tap.sock, self.raw):
            sock.close()
        super().close()


class Stream:
    """A TCP connection, of which the octets are compared"""

    def __init__(self, ends, target, rng):
        family, anywhere = (socket.AF_INET6, "::") if ":" in target else (socket.AF_INET, "0.0.0.0")
        with ends[1].inside():
            self.listener = socket.create_server((anywhere, PORT), family=family)
        with ends[0].inside():
            self.source = socket.socket(family)
        self.source.connect((target, PORT))
        self.target, _ = self.listener.accept()
        self.sockets = self.listener, self.source, self.target
        for sock in self.sockets:
            sock.setblocking(False)
        self.random, self.sent, self.got, self.octets = rng, hashlib.sha256(), hashlib.sha256(), 0

    def push(self):
        """Not more than the link carries: what waits is memory that the kernel holds."""
        if self.under_way() > 8 * CHUNK:
            return
        data = self.random.randbytes(CHUNK)
        sent = self.source.send(data)
        self.sent.update(data[:sent])
        self.octets += sent

    def pull(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.got.update(self.target.recv(65536))

    def under_way(self):
        return struct.unpack("i", fcntl.ioctl(self.source, termios.TIOCOUTQ, bytes(4)))[0]

    def compare(self):
        """All of it is acknowledged."""
        self.pull()
        ktap.equal(self.got.hexdigest(), self.sent.hexdigest(), f"{self.octets} octets over TCP")
        ktap.check(self.octets, "nothing went over TCP")

    def close(self):
        """With a reset: one that waits for its peer holds SAs"""
        for sock in self.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


class Net:
    """Two hosts, a bad link, flows"""

    def __init__(self, flows, seed):
        self.random = random.Random(seed)
        self.hosts = [End(name, side) for side, name in enumerate(("left", "right"))]
        host.ip("-n", self.hosts[0].name, lines=[
            f"link add veth0 address {MACS[0]} type veth peer name veth1 address {MACS[1]} "
            f"netns {self.hosts[1].name}"])
        self.arrivals, self.forged = {}, set()
        for end in self.hosts:
            end.connect(self.arrivals, self.forged)
        self.flows = [Flow(number, self.random) for number in range(flows)]
        inner = self.random.choice((4, 6))
        self.halves = [Half(number, self.random, inner) for number in (flows, flows + 1)]
        self.special = [flow for flow in self.flows if flow.narrow or flow.split]
        self.steady = [flow for flow in self.flows if not flow.narrow]
        self.every = self.flows + self.halves
        self.count, self.held = collections.Counter(), []
        self.configure(self.every, lambda flow: [flow.policy("out")],
                       lambda flow: [flow.policy("in")])
        self.replace(self.every)
        self.stream = Stream(self.hosts, max(self.halves, key=lambda half: half.forward).target,
                             self.random)

    def ends(self, flow):
        return self.hosts if flow.forward else self.hosts[::-1]

    def configure(self, flows, sender, receiver):
        """One `ip -batch` for each host"""
        lines = collections.defaultdict(list)
        for flow in flows:
            source, target = self.ends(flow)
            lines[target].extend(receiver(flow))
            lines[source].extend(sender(flow))
        for end, wanted in lines.items():
            if wanted:
                end.ip(*wanted)

    # -- SAs ---------------------------------------------------------------

    def replace(self, flows):
        """New SAs: the receiver's first, then the sender's instead of its old one.
        What that has counted is final, although some of it is under way."""
        old = {flow: flow.spi for flow in flows}
        self.configure(flows, lambda flow: [], lambda flow: [flow.state(self.random, "in")])
        for flow, spi in old.items():
            self.arrivals[flow.key(flow.spi)] = Arrivals(flow.window, flow.start)
            if spi:
                self.count[flow.sent_as] += self.state(0, flow, spi).packets
                flow.old.append((spi, time.monotonic()))
        self.configure(flows, lambda flow: [flow.state(self.random, "out")] +
                       ([flow.delete(old[flow])] if old[flow] else []), lambda flow: [])

    def renew(self):
        """New SAs for some flows, of which datagrams are under way through the old and the new ones"""
        self.retire()
        flows = self.random.sample(self.flows, RENEWED)
        self.burst(self.special + flows)
        self.replace(flows + self.halves)
        self.burst(flows)

    def state(self, end, flow, spi):
        return self.ends(flow)[end].state(flow.sa()[1], spi, flow.proto)

    def close_book(self, flow, spi):
        """Of an inbound SA of which nothing is under way any more"""
        state, seen = self.state(1, flow, spi), self.arrivals.pop(flow.key(spi))
        got, wanted = (state.packets, state.late, state.replayed), (seen.fresh, seen.late, seen.again)
        if flow.narrow and not ONE_CPU:
            got, wanted = sum(got), sum(wanted)
        ktap.equal((got, state.failed), (wanted, seen.forged),
                   f"flow {flow.number}, window {flow.window}: accepted, late, replayed, and forged")
        self.count.update({flow.got_as: state.packets, "late": state.late, "again": state.replayed,
                           "forgeries": state.failed})

    def retire(self, linger=LINGER):
        """Inbound SAs of which nothing is under way any more"""
        self.receive()
        before = time.monotonic() - linger
        ready = {flow: [spi for spi, since in flow.old if since < before]
                 for flow in self.every if flow.old}
        for flow, spis in ready.items():
            for spi in spis:
                self.close_book(flow, spi)
            flow.old = [(spi, since) for spi, since in flow.old if spi not in spis]
            self.count["replaced"] += len(spis)
        self.configure(ready, lambda flow: [], lambda flow: [
            flow.delete(spi) for spi in ready[flow]])

    # -- datagrams -----------------------------------------------------------

    def send(self, flow):
        data = content(flow.number, flow.sent, self.random.choice(flow.sizes))
        self.ends(flow)[0].sockets[flow.inner].sendto(data, (flow.target, PORT))
        flow.sent += 1
        self.count["sent"] += 1

    def burst(self, flows):
        for flow in flows:
            for _ in range(BURST):
                self.send(flow)

    def forge(self, flow):
        data = flow.forgery()
        self.forged.add(identity(data))
        self.ends(flow)[0].put(data)
        self.count["forged"] += 1

    def receive(self):
        """All that is there; each is checked"""
        self.stream.pull()
        for end in self.hosts:
            end.tap.read()
            for sock in end.sockets.values():
                while True:
                    try:
                        self.check(end, sock.recv(65536))
                    except BlockingIOError:
                        break

    def check(self, end, data):
        number, seq, size = HEAD.unpack(data[:HEAD.size])
        ktap.check(number < len(self.flows), f"a datagram of no flow: {data[:32].hex()}")
        flow = self.flows[number]
        ktap.equal((end, data), (self.ends(flow)[1], content(number, seq, size)), "a datagram")
        ktap.check(seq not in flow.seen, f"datagram {seq} of flow {number} arrived twice")
        ktap.check(seq < flow.sent, f"datagram {seq} of flow {number} was never sent")
        flow.seen.add(seq)
        self.count["received"] += 1

    def settle(self):
        """Nothing is under way any more."""
        while self.stream.under_way():
            self.receive()
            time.sleep(0.05)
        end = time.monotonic() + LINGER
        while time.monotonic() < end:
            self.receive()
            time.sleep(0.05)

    def run(self, seconds):
        """Datagrams through any flow; each second some SAs are replaced."""
        began = told = renewed = time.monotonic()
        while time.monotonic() - began < seconds:
            for flow in self.random.choices(self.steady, k=40):
                self.send(flow)
            self.forge(self.random.choice(self.flows))
            self.stream.push()
            self.receive()
            now = time.monotonic()
            if now - renewed > 1:
                renewed = now
                self.held.append(held())
                self.renew()
            if now - told > 60:
                told = now
                ktap.say(f"{now - began:.0f} s: {dict(self.count)}, {held()} kB held")
        self.settle()

    # -- the books -------------------------------------------------------------

    def books(self):
        """Raises when they are wrong"""
        self.retire(0)
        for flow in self.every:
            self.count[flow.sent_as] += self.state(0, flow, flow.spi).packets
            self.close_book(flow, flow.spi)
        drops = collections.Counter()
        for end in self.hosts:
            self.count["arrived"] += end.arrived()
            self.count["tapped"] += end.tap.arrived
            for name in ("FragOKs", "FragCreates", "ReasmReqds", "ReasmOKs"):
                self.count[name] += end.ip_figure(6, name)
            found = end.counters()
            self.count["spread"] += sum(found.get(name, 0) for name in ("RxSpread", "TxSpread"))
            drops.update({name: n for name, n in found.items() if name not in EVENTS})
        count = self.count
        ktap.say(f"{dict(count)}, {dict(drops)}")
        ktap.equal(drops.keys() - HONEST - FORGED, set(), "drops that nothing explains")
        for name in FORGED:
            ktap.equal(drops[name], count["forgeries"], f"{name}, and forgeries that arrived")
        ktap.equal(drops["XfrmInStateSeqError"], count["late"] + count["again"],
                   "XfrmInStateSeqError, and packets that came late or once more")
        ktap.equal(count["out"], count["sent"] - count["FragOKs"] + count["FragCreates"],
                   "packets of the outbound SAs")
        ktap.equal(sum(count[name] for name in ("in", "TCP in", "late", "again", "forgeries")),
                   count["arrived"], "packets of the inbound SAs and drops")
        ktap.equal(count["tapped"], count["arrived"], "packets seen on the wire")
        ktap.equal(count["received"], count["in"] - count["ReasmReqds"] + count["ReasmOKs"],
                   "datagrams received")
        ktap.check(count["in"] + count["late"] > count["out"] * 0.8, "too few arrived")
        ktap.check(count["again"], "nothing was doubled: is the link bad at all?")
        ktap.check(count["late"], "nothing came late")
        ktap.check(drops["RxLate"] or impl.INTREE, "nothing came late for a window of 64-bit numbers")
        ktap.check(count["forgeries"], "no forgery arrived")
        ktap.check(count["spread"] or "spread=1" not in impl.PARAMETERS, "spread=1, and nothing was spread")
        self.stream.compare()
        ktap.check(count["ReasmOKs"], "nothing was split, or nothing put together again")

    def close(self):
        self.stream.close()
        for end in self.hosts:
            end.close()


def held():
    """Kilobytes that the kernel holds for itself and cannot give back: also pages that no
    figure names, as those of packets"""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = {line.split(":")[0]: int(line.split()[1]) for line in file}
    with open("/proc/zoneinfo", encoding="ascii") as file:	# free, each on a CPU's list
        spare = sum(int(count) for count in re.findall(r"count: +(\d+)", file.read()))
    return found["MemTotal"] - spare * PAGE - sum(found[name] for name in GIVEN)


def measured():
    """Is what the kernel holds no more than what it needs?  With KASAN it is not, and kmemleak
    looks instead."""
    return not os.path.exists("/sys/kernel/debug/kmemleak")


def flat(rounds):
    """Of the second quarter and of the last one, the least: with least under way"""
    quarter = len(rounds) // 4 or 1
    early, late = min(rounds[quarter:2 * quarter] or rounds), min(rounds[-quarter:])
    ktap.say(f"{early} kB held in the second quarter of {len(rounds)} rounds, {late} kB in the last one")
    ktap.check(late < early + NOISE or not measured(), "the kernel holds more and more memory")


def once(flows, seconds, seed):
    net = Net(flows, seed)
    try:
        ktap.say(f"{flows} flows, {held()} kB held")
        net.run(seconds)
        net.books()
        flat(net.held)
    finally:
        net.close()
    let_go()


def memory():
    """Once what is freed later is freed, and slabs that are empty are given back"""
    time.sleep(3)
    for path in glob.glob("/sys/kernel/slab/*/shrink"):
        setting.write(path, 1)
    return held()


def settles(most):
    """memory(), when it is less than that, or after a minute"""
    deadline, found = time.monotonic() + 60, memory()
    while measured() and found >= most and time.monotonic() < deadline:
        found = memory()
    return found


def shares():
    """Kilobytes of each slab, and of what else the kernel has a figure for"""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = collections.Counter({line.split(":")[0]: int(line.split()[1]) for line in file})
    with open("/proc/slabinfo", encoding="ascii") as file:
        rows = [line.split() for line in file][2:]
    slabs = {f"slab {row[0]}": int(row[14]) * int(row[5]) * PAGE for row in rows}
    return collections.Counter({**slabs, **{name: found[name] for name in HOLDERS}})


def soak(flows, seconds):
    once(flows, min(10, seconds / 3), SEED)		# caches and tables grow once
    before, parts = memory(), shares()
    once(flows, seconds, SEED + flows)
    after = settles(before + NOISE)
    ktap.say(f"{before} kB held before, {after} kB after; of that more: {(shares() - parts).most_common(12)}")
    ktap.check(after < before + NOISE or not measured(), "the kernel holds more memory than before")


ktap.add("24 flows", soak, 24, MINUTES * 30)
ktap.add(f"{FLOWS} flows", soak, FLOWS, MINUTES * 30)

if __name__ == "__main__":
    ktap.CASE_SECONDS = int(MINUTES * 60 + 900)
    if os.path.exists(HUGE):
        setting.write(HUGE, "never")	# two megabytes, of zeros or half given back, are in no figure
    ktap.say(f"IPSEC_SEED={SEED} IPSEC_MINUTES={MINUTES} IPSEC_FLOWS={FLOWS}")
    ktap.main()
