#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Load for as long as asked: many SAs and few, of every mode and family, over a link
that reorders half of the packets, loses some and doubles some, while the SAs are
replaced one after the other.

The receiver checks every datagram: who sent it, its number, and each octet, which
follow from the number.  None may be altered or arrive twice.  Among them go forgeries:
datagrams that nobody has sent, right in all but one bit of the ICV.  At the end the
books have to agree to the packet:

	datagrams sent			= packets of the outbound SAs
	packets that arrived		= packets of the inbound SAs + drops by name
	drops				= packets that arrived once more + forgeries that arrived
	drops as forged			= forgeries that arrived
	packets of the inbound SAs	= datagrams received

and the kernel may not hold more memory than after the first round, nor more and more.

	IPSEC_MINUTES	in all (default 1; 0.5 with IPSEC_SHORT)
	IPSEC_FLOWS	SAs that send, in the case of many (default 1000; 200 short)
	IPSEC_SEED	repeats the configuration; it is printed
"""

import collections
import hashlib
import ipaddress
import os
import random
import re
import socket
import struct
import subprocess
import time

from lib import host, impl, ktap, packet
from lib.busy import let_go
from lib.peer import Ah, Esp
from lib.suite import CHACHA, GCM, Combined, Separate
from lib.wire import ETH_IP, ETH_IPV6

SHORT = bool(os.environ.get("IPSEC_SHORT"))
MINUTES = float(os.environ.get("IPSEC_MINUTES") or (0.5 if SHORT else 1))
FLOWS = int(os.environ.get("IPSEC_FLOWS") or (200 if SHORT else 1000))
SEED = int(os.environ.get("IPSEC_SEED") or random.randrange(1 << 32))
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
PORT, PORT_NATT = 6000, 4500
OUTER = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd09::1", "fd09::2")}
MANY = {4: ("10.64.0.0", "10.128.0.0"), 6: ("fd64::", "fd65::")}	# of each host
NETEM = "delay 5ms 3ms reorder 50% loss 5% duplicate 3% limit 100000"
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
LINGER = 2		# seconds until an SA that is replaced has nothing under way
SLACK = 4096		# kilobytes that the kernel may hold more
AGE = 60		# seconds after which no packet comes once more
OUTGOING = 4		# packet type of what a tap sees leave
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
FAR = 1 << 15		# numbers ahead of the window that no SA lives to reach, and not yet so
			# far that a forgery would be tried twice
SUITES = {
    "esp": [Combined(GCM), Combined(CHACHA), Separate("cbc(aes)", "hmac(sha256)", 128),
            Separate("ecb(cipher_null)", "hmac(sha1)", 96)],
    "ah": [Separate(auth="hmac(sha256)", bits=128)],
}
# Names of drops that the link is to blame for, and those who forge
HONEST = {"XfrmInStateSeqError", "RxLate"}
FORGED = {"XfrmInStateProtoError"} if impl.INTREE else {"XfrmInStateProtoError", "RxForged"}
EVENTS = {"RxCopied", "TxCopied", "RxSecondTry", "RxSpread", "TxSpread"}
HEAD = struct.Struct("!IQI")


def content(flow, number, size):
    """A datagram: its head, and octets that follow from it"""
    head = HEAD.pack(flow, number, size)
    return head + (hashlib.sha256(head).digest() * (size // 32 + 1))[:size - HEAD.size]


class Flow:
    """Datagrams to one address, through SAs that are replaced from time to time"""

    def __init__(self, number, rng):
        self.number, self.forward = number, bool(number & 1)
        self.proto = rng.choice(("esp", "esp", "esp", "ah"))
        self.suite = rng.choice(SUITES[self.proto])
        self.mode = rng.choice(("transport", "tunnel", "beet"))
        if self.proto == "ah" and self.mode == "beet":
            self.mode = "tunnel"	# ip has no BEET for AH
        self.inner = rng.choice((4, 6))
        self.outer = self.inner if self.mode == "transport" else rng.choice((4, 6))
        self.esn = rng.random() < 0.7
        self.window = rng.choice((64, 128, 1024, 4096))
        self.encap = self.proto == "esp" and rng.random() < 0.2
        self.source, self.target = self.ends(OUTER[self.inner])[0], self.address()
        self.sent, self.seen, self.old = 0, set(), []
        self.start, self.spi, self.forged = 0, 0, 0

    def ends(self, both):
        return both if self.forward else both[::-1]

    def address(self):
        base = self.ends(MANY[self.inner])[1]
        return str(ipaddress.ip_address(base) + self.number)

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
            *self.sa(), self.spi, self.suite.words(**({"ah": True} if self.proto == "ah" else {})),
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
        """Not of ESP in UDP, which is looked at before it is opened"""
        return host.policy_line(way, self.source, f"{self.target} proto udp dport {PORT}",
                                host.template(*self.sa(), self.proto, self.mode,
                                              self.number + 1))

    def delete(self, spi):
        src, dst = self.sa()
        return f"xfrm state delete src {src} dst {dst} proto {self.proto} spi {spi:#x}"


def identity(data):
    """Destination, SPI and sequence number of an outer packet, None of any other"""
    if data[0] >> 4 == 4:
        proto, dst, rest = data[9], data[16:20], data[(data[0] & 15) * 4:]
    else:
        proto, dst, rest = data[6], data[24:40], data[40:]
    if proto == socket.IPPROTO_UDP and rest[2:4] == struct.pack("!H", PORT_NATT):
        return dst + rest[8:16]
    return {socket.IPPROTO_ESP: dst + rest[:8], socket.IPPROTO_AH: dst + rest[4:12]}.get(proto)


class Tap:
    """Counts what comes by a device, what of that comes once more, and what is forged"""

    def __init__(self, device, forged):
        """forged: the identities of that"""
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.bind((device, 3))
        self.sock.setblocking(False)
        self.arrived, self.again, self.known, self.forged = 0, 0, forged, 0
        self.young, self.old, self.since = set(), set(), time.monotonic()

    def read(self):
        if time.monotonic() - self.since > AGE:
            self.young, self.old, self.since = set(), self.young, time.monotonic()
        while True:
            try:
                data, address = self.sock.recvfrom(96)
            except BlockingIOError:
                return
            found = identity(data) if address[2] != OUTGOING and len(data) >= 40 else None
            if found:
                self.arrived += 1
            if found in self.known:
                self.forged += 1
            elif found:
                self.again += found in self.young or found in self.old
                self.young.add(found)


class End(host.Host):
    """One of two hosts, with a socket for each family that takes every address"""

    def __init__(self, name, side):
        super().__init__(name)
        self.side, self.sockets, self.natt, self.tap = side, {}, [], None
        self.device, self.raw = f"veth{side}", None

    def connect(self, forged):
        """forged: see Tap"""
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
        self.ip(*lines)
        self.sysctl("net.ipv6.bindv6only", 1)
        for version, anywhere in ((4, "0.0.0.0"), (6, "::")):
            self.natt.append(self.udp(anywhere, PORT_NATT, True))
            sock = self.sockets[version] = self.udp(anywhere, PORT)
            sock.setblocking(False)
            for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                sock.setsockopt(socket.SOL_SOCKET, option, 64 << 20)
        with self.inside():
            self.tap = Tap(device, forged)
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


class Net:
    """Two hosts, a bad link, flows"""

    def __init__(self, flows, seed):
        self.random = random.Random(seed)
        self.hosts = [End(name, side) for side, name in enumerate(("left", "right"))]
        host.ip("-n", self.hosts[0].name, lines=[
            f"link add veth0 address {MACS[0]} type veth peer name veth1 address {MACS[1]} "
            f"netns {self.hosts[1].name}"])
        self.forged = set()
        for end in self.hosts:
            end.connect(self.forged)
        self.flows = [Flow(number, self.random) for number in range(flows)]
        self.count, self.held = collections.Counter(), 0
        self.configure(self.flows, lambda flow: [flow.policy("out")],
                       lambda flow: [flow.policy("in")])
        self.replace(self.flows)

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
        Nothing is sent meanwhile, so what the old one has counted is final."""
        old = {flow: flow.spi for flow in flows}
        self.configure(flows, lambda flow: [], lambda flow: [flow.state(self.random, "in")])
        for flow, spi in old.items():
            if spi:
                self.count["out"] += self.packets(0, flow, spi)
                flow.old.append((spi, time.monotonic()))
        self.configure(flows, lambda flow: [flow.state(self.random, "out")] +
                       ([flow.delete(old[flow])] if old[flow] else []), lambda flow: [])

    def packets(self, end, flow, spi):
        return self.ends(flow)[end].state(flow.sa()[1], spi, flow.proto).packets

    def retire(self, linger=LINGER):
        """Inbound SAs of which nothing is under way any more"""
        before = time.monotonic() - linger
        ready = {flow: [spi for spi, since in flow.old if since < before]
                 for flow in self.flows if flow.old}
        for flow, spis in ready.items():
            self.count["in"] += sum(self.packets(1, flow, spi) for spi in spis)
            flow.old = [(spi, since) for spi, since in flow.old if spi not in spis]
            self.count["replaced"] += len(spis)
        self.configure(ready, lambda flow: [], lambda flow: [
            flow.delete(spi) for spi in ready[flow]])

    # -- datagrams -----------------------------------------------------------

    def send(self, flow):
        data = content(flow.number, flow.sent, self.random.choice(SIZES))
        self.ends(flow)[0].sockets[flow.inner].sendto(data, (flow.target, PORT))
        flow.sent += 1
        self.count["sent"] += 1

    def forge(self, flow):
        data = flow.forgery()
        self.forged.add(identity(data))
        self.ends(flow)[0].put(data)
        self.count["forged"] += 1

    def receive(self):
        """All that is there; each is checked"""
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
        end = time.monotonic() + LINGER
        while time.monotonic() < end:
            self.receive()
            time.sleep(0.05)

    def run(self, seconds):
        """Bursts through any flow; each second some SAs are replaced."""
        began = told = replaced = time.monotonic()
        while time.monotonic() - began < seconds:
            for flow in self.random.choices(self.flows, k=40):
                self.send(flow)
            self.forge(self.random.choice(self.flows))
            self.receive()
            now = time.monotonic()
            if now - replaced > 1:
                replaced = now
                self.retire()
                self.replace(self.random.sample(self.flows, min(10, len(self.flows))))
            if now - told > 60:
                told = now
                self.tell(now - began)
        self.settle()

    def tell(self, seconds):
        now = held()
        self.held = self.held or now
        ktap.say(f"{seconds:.0f} s: {dict(self.count)}, {now} kB held")
        ktap.check(now < self.held + SLACK, f"the kernel held {self.held} kB at first")

    # -- the books -------------------------------------------------------------

    def books(self):
        """Raises when they are wrong"""
        self.retire(0)
        for flow in self.flows:
            self.count["out"] += self.packets(0, flow, flow.spi)
            self.count["in"] += self.packets(1, flow, flow.spi)
        drops = collections.Counter()
        for end in self.hosts:
            self.count["arrived"] += end.arrived()
            self.count["tapped"] += end.tap.arrived
            self.count["again"] += end.tap.again
            self.count["forgeries"] += end.tap.forged
            drops.update({name: n for name, n in end.counters().items()
                          if name not in EVENTS})
        count = self.count
        count["dropped"] = sum(n for name, n in drops.items() if name.startswith("Xfrm"))
        ktap.say(f"{dict(count)}, {dict(drops)}")
        ktap.equal(drops.keys() - HONEST - FORGED, set(), "drops that nothing explains")
        for name in FORGED:
            ktap.equal(drops[name], count["forgeries"], f"{name}, and forgeries that arrived")
        ktap.equal(count["out"], count["sent"], "packets of the outbound SAs")
        ktap.equal(count["in"] + count["dropped"], count["arrived"],
                   "packets of the inbound SAs and drops")
        ktap.equal(count["tapped"], count["arrived"], "packets seen on the wire")
        ktap.equal(count["dropped"], count["again"] + count["forgeries"],
                   "drops, and packets that came once more or were forged")
        ktap.equal(count["received"], count["in"], "datagrams received")
        ktap.check(count["received"] > count["sent"] * 0.8, "too few arrived")
        ktap.check(count["again"], "nothing was doubled: is the link bad at all?")
        ktap.check(count["forgeries"], "no forgery arrived")

    def close(self):
        for end in self.hosts:
            end.close()


def held():
    """Kilobytes that the kernel holds for itself and cannot give back"""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split()[:2] for line in file)
    return sum(int(found[name]) for name in ("SUnreclaim:", "Percpu:"))


def once(flows, seconds, seed):
    net = Net(flows, seed)
    try:
        ktap.say(f"{flows} flows, {held()} kB held")
        net.run(seconds)
        net.books()
    finally:
        net.close()
    let_go()


def memory():
    """Once what is freed later is freed"""
    time.sleep(3)
    return held()


def soak(flows, seconds):
    once(flows, min(10, seconds / 3), SEED)		# caches and tables grow once
    before = memory()
    once(flows, seconds, SEED + flows)
    after = memory()
    ktap.say(f"{before} kB held before, {after} kB after")
    if not os.path.exists("/sys/kernel/debug/kmemleak"):	# which looks itself
        ktap.check(after < before + SLACK, "the kernel holds more memory than before")


ktap.add("24 flows", soak, 24, MINUTES * 30)
ktap.add(f"{FLOWS} flows", soak, FLOWS, MINUTES * 30)

if __name__ == "__main__":
    ktap.CASE_SECONDS = int(MINUTES * 60 + 900)
    if impl.INTREE:
        EVENTS |= {"late"}
    ktap.say(f"IPSEC_SEED={SEED} IPSEC_MINUTES={MINUTES} IPSEC_FLOWS={FLOWS}")
    ktap.main()
