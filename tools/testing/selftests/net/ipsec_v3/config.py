#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Random configuration over netlink, right and wrong, against traffic.

Each message is accepted, or refused in words.  Meanwhile one process sends through
whatever SAs there are, and another one sends to them, packets with a valid ICV
among them.  A case goes on until every kind of its messages has been accepted and
packets have met SAs.  After each nothing holds the module, and SAs carry packets as if
nothing had happened.

	IPSEC_CONFIGS	messages per case (default 300; 80 with IPSEC_SHORT), ten times
			as many at most
	IPSEC_SEED	repeats a run; it is printed
"""

import collections
import contextlib
import errno
import os
import random
import signal
import socket
import struct
import time

from lib import host, impl, ktap, nic, packet, xfrm
from lib.busy import let_go, reload_at_once
from lib.line import Line, Rig
from lib.peer import Ah, Esp
from lib.shape import BEET, PORT_DUT, PORT_PEER, SPI_IN, TRANSPORT, TUNNEL
from lib.suite import CCM, CHACHA, CIPHERS, GCM, GMAC, MACS, Separate, gcm, key_of

COUNT = int(os.environ.get("IPSEC_CONFIGS") or
            (80 if os.environ.get("IPSEC_SHORT") else 300))
SEED = int(os.environ.get("IPSEC_SEED") or random.randrange(1 << 32))
START = 68 << 32 | 100000
MOST = 10 * COUNT
SPIS = range(SPI_IN, SPI_IN + 12)
FLAGS = {"noecn": 1, "decap-dscp": 2, "nopmtudisc": 4, "wildrecv": 8, "icmp": 16,
         "af-unspec": 32, "align4": 64, "esn": 128}
MODES = ("transport", "tunnel", "beet", "ro", "in_trigger", 5, 255)
WINDOWS = (0, 1, 31, 32, 33, 64, 100, 4096, 4097)
ENCAPS = (1, 2, 3, 7, 0xffff)		# ESP in UDP: with a non-IKE marker, without; others
KEYS = (0, 1, 15, 16, 19, 20, 24, 28, 32, 33, 35, 36, 64)
SMALL = struct.pack("=8Q", 4000, 8000, 20, 40, 1, 2, 1, 2)	# bytes, packets, seconds
TRAFFIC = (gcm, lambda: Separate("cbc(aes)"), Separate)

# What the core itself says without words: it is there; it is not, or is expired
WORDLESS = {xfrm.NEWSA: {errno.EEXIST}, xfrm.UPDSA: {errno.ESRCH, errno.EEXIST, errno.EINVAL}}

RIG = Rig()
DEVICES, PLUGGED = [], None	# indices of network devices; of the one that decrypts


class Config:
    """A seeded source of messages, each (name, kind, body, flags)."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.known = [(*reversed(host.OUTER[4]), SPI_IN, "esp")]	# SAs that may be there
        self.asked = self.known[0]
        self.policies = [("in", self.policy_of("in"), [])]

    def there(self):
        """What was asked for last is there now"""
        self.known = [*self.known[-7:], self.asked]

    def often(self, usual, odd, share=0.9):
        return usual if self.random.random() < share else self.random.choice(odd)

    def maybe(self, share):
        return self.random.random() < share

    def octets(self, most):
        return self.random.randbytes(self.random.randrange(most))

    # -- states ------------------------------------------------------------

    def aead(self):
        name = self.random.choice((GCM, CCM, GMAC, CHACHA))
        right = {GCM: 20, CCM: 19, GMAC: 20, CHACHA: 36}[name]
        if name != CHACHA:
            right += self.random.choice((0, 0, 8, 16))
        secret = key_of(self.often(right, KEYS))
        return xfrm.algorithm(xfrm.A_AEAD, name, secret, self.often(
            128, (0, 1, 8, 32, 64, 96, 104, 120, 136, 512)))

    def auth(self):
        name = self.random.choice((*MACS, "digest_null"))
        _, size, bits = MACS.get(name, (None, 0, 0))
        secret = key_of(self.often(size, KEYS))
        if self.maybe(0.1):
            return xfrm.algorithm(xfrm.A_AUTH, name, secret)
        return xfrm.algorithm(xfrm.A_AUTH_TRUNC, name, secret, self.often(
            bits, (0, 1, 8, 63, 64, 65, 96, 128, 256, 512, 520, 65528)))

    def cipher(self):
        name = self.random.choice((*CIPHERS, "cbc(aes)", "cbc(aes)"))
        return xfrm.algorithm(xfrm.A_CRYPT, name,
                              key_of(self.often(CIPHERS[name][0], KEYS)))

    def algorithms(self, proto):
        kinds = [self.auth] if proto == "ah" else self.random.choice((
            [self.aead], [self.aead], [self.cipher, self.auth], [self.cipher, self.auth],
            [self.cipher]))
        if self.maybe(0.05):
            kinds = self.random.choices((self.aead, self.auth, self.cipher),
                                        k=self.random.randrange(4))
        return b"".join(kind() for kind in kinds)

    def replay(self):
        """A window of any size at any place, sometimes with a bitmap that is not its"""
        window = self.often(self.random.choice(WINDOWS[1:-1]), WINDOWS)
        words = self.often((window + 31) // 32, (0, 1, 127, 128, 129, 1 << 26), 0.95)
        numbers = self.random.choice(((0, 0, 0, 0), (100000, 100000, 68, 68),
                                      (0xffffffff, 0xfffffff0, 0, 0xffffffff)))
        marks = self.random.randbytes(4 * self.often(min(words, 200), (0, 1, 128), 0.95))
        return xfrm.attribute(xfrm.A_REPLAY_ESN, struct.pack(
            "=6I", words, *numbers, window) + marks)

    def encap(self):
        return xfrm.attribute(xfrm.A_ENCAP, struct.pack(
            "=H", self.often(2, ENCAPS)) + struct.pack("!HH18x", 4500, 4500))

    def offload(self):
        """struct xfrm_user_offload: a device that decrypts, or none that could, and flags"""
        index = self.often(self.random.choice(DEVICES), (0, -1, 12345))
        # 4 and 6: IPsec as a whole, which the core refuses without a word where no device has that
        whole = (4, 6) if index == PLUGGED else ()
        flags = self.often(self.random.choice((0, 2)), (1, 3, 255, *whole))
        return xfrm.offload(index, flags)

    def extras(self):
        """Attributes that most SAs do without"""
        number = struct.pack("=I", self.random.choice((0, 1, 2, 100, 1 << 31, 0xffffffff)))
        return b"".join(make for share, make in (
            (0.15, self.encap()), (0.05, xfrm.attribute(xfrm.A_TFCPAD, number)),
            (0.2, xfrm.attribute(xfrm.A_EXTRA_FLAGS, number)),
            (0.05, xfrm.attribute(xfrm.A_IF_ID, number)),
            (0.05, xfrm.attribute(xfrm.A_MARK, number * 2)),
            (0.05, xfrm.attribute(xfrm.A_COADDR, self.random.randbytes(16))),
            (0.05, xfrm.attribute(xfrm.A_REPLAY, number * 3)),
            (0.03, xfrm.attribute(xfrm.A_DIR, number[:1])),
            (0.2, self.offload()),
            (0.03, self.junk())) if self.maybe(share))

    def junk(self):
        return xfrm.attribute(self.random.randrange(48), self.octets(90))

    def selector(self, src, dst):
        return xfrm.ends(dst, src) + struct.pack(
            "=8xHBBB3xII", self.often(packet.family_of(src), (0, 2, 10, 1)),
            self.often(0, (32, 33, 128, 129)), 0, 0, 0, 0)

    def window(self, esn):
        """(old window, attribute of a new one)"""
        if esn and self.maybe(0.95) or self.maybe(0.2):
            return self.often(0, (1, 255), 0.95), self.replay()
        return self.random.choice((0, 1, 32, 64, 255)), b""

    def flags(self):
        if self.maybe(0.4):
            return 0
        chosen = self.random.sample(sorted(FLAGS), self.random.randrange(1, 4))
        return sum(FLAGS[name] for name in chosen)

    def ends(self):
        ends = host.OUTER[self.random.choice((4, 6))]
        return ends if self.maybe(0.5) else ends[::-1]

    def new_sa(self, kind=xfrm.NEWSA, known=None):
        """known: addresses, SPI and protocol, if they are not to be any"""
        self.asked = src, dst, spi, usual = known or (
            *self.ends(), self.random.choice(SPIS), self.random.choice(("esp", "esp", "ah")))
        proto = self.often(usual, ("comp", 43, 0, 255), 0.97)
        mode = self.often(self.random.choice(MODES[:3]), MODES, 0.95)
        flags = self.flags()
        old_window, window = self.window(flags & FLAGS["esn"])
        body = xfrm.usersa(src, dst, spi, proto, mode, flags, old_window,
                           limits=self.often(xfrm.ENDLESS, (SMALL, bytes(64))),
                           selector=self.selector(src, dst) if self.maybe(0.3) else None)
        body += self.algorithms(proto) + self.extras() + window
        return "add" if kind == xfrm.NEWSA else "update", kind, body, xfrm.NLM_F_ACK

    def update_sa(self):
        """One that may be there"""
        return self.new_sa(xfrm.UPDSA, self.random.choice(self.known))

    def of_known(self):
        src, dst, spi, proto = self.random.choice(self.known)
        return src, dst, xfrm.sa_id(dst, spi, proto)

    def delete_sa(self):
        return "delete", xfrm.DELSA, self.of_known()[2], xfrm.NLM_F_ACK

    def look(self):
        return "get", xfrm.GETSA, self.of_known()[2], 0

    def expire_sa(self):
        """As a key manager asks for it: the hard limit is now"""
        src, dst, spi, proto = self.random.choice(self.known)
        body = xfrm.usersa(src, dst, spi, proto, "transport")
        return ("expire", xfrm.EXPIRE, body + struct.pack("=B7x", self.maybe(0.3)),
                xfrm.NLM_F_ACK)

    def flush_sas(self):
        proto = self.random.choice((0, 50, 51, 255, 7))
        return "flush", xfrm.FLUSHSA, bytes([proto]), xfrm.NLM_F_ACK

    def spi(self):
        """An SA without keys, which an update may then give some; of a reqid of its own, or the core
        would migrate it, and warn as for others that cannot follow"""
        src, dst = self.ends()
        proto = self.random.choice(("esp", "ah"))
        self.asked = src, dst, SPIS[0], proto
        body = xfrm.usersa(src, dst, 0, proto, "transport", reqid=2)
        low, high = self.often((SPIS[0], SPIS[-1]), ((0, 0), (9, 3), (1, 0xffffffff)))
        return "spi", xfrm.ALLOCSPI, body + struct.pack("=II", low, high), xfrm.NLM_F_ACK

    # -- numbers and limits of states, as a key manager moves them -----------

    def get_ae(self):
        src, _, name = self.of_known()
        return ("getae", xfrm.GETAE, name + xfrm.pad16(packet.address(src)) + struct.pack(
            "=II", self.random.randrange(64), 0), 0)

    def new_ae(self):
        src, _, name = self.of_known()
        body = name + xfrm.pad16(packet.address(src)) + struct.pack(
            "=II", self.random.randrange(64), 0)
        body += self.replay() if self.maybe(0.7) else b""
        if self.maybe(0.3):
            body += xfrm.attribute(xfrm.A_REPLAY, self.random.randbytes(12))
        if self.maybe(0.2):
            body += xfrm.attribute(xfrm.A_LTIME, self.random.randbytes(32))
        return "newae", xfrm.NEWAE, body, xfrm.NLM_F_ACK | xfrm.NLM_F_REPLACE

    # -- policies ------------------------------------------------------------

    def policy_of(self, direction):
        """(addresses, selector) of what the traffic needs"""
        version = self.random.choice((4, 6))
        here, there = self.random.choice((host.OUTER, host.INNER))[version]
        ends = (here, there) if direction == "out" else (there, here)
        ports = (PORT_DUT, PORT_PEER) if direction == "out" else (PORT_PEER, PORT_DUT)
        return xfrm.udp_selector(*ends, *ports)

    def templates(self, direction):
        """[(source, destination, protocol, mode)], one as a rule"""
        found = []
        for _ in range(self.often(1, (0, 2, 6, 7))):
            here, there = host.OUTER[self.random.choice((4, 6))]
            found.append((*((here, there) if direction == "out" else (there, here)),
                          self.random.choice(("esp", "esp", "ah")),
                          self.often(self.random.choice(MODES[:3]), MODES, 0.95)))
        return found

    def template(self, src, dst, proto, mode):
        return xfrm.template(src, dst, proto, mode, self.maybe(0.2))

    def new_policy(self):
        direction = self.random.choice(("in", "out"))
        kind = self.random.choice((xfrm.NEWPOLICY, xfrm.UPDPOLICY))
        selector, templates = self.policy_of(direction), self.templates(direction)
        self.policies = [*self.policies[-3:], (direction, selector, templates)]
        priority, action = self.random.randrange(3), self.often(0, (1,))
        made = (self.template(*one) for one in templates)
        return "policy", kind, xfrm.userpolicy(selector, direction, *made, priority=priority,
                                               action=action), xfrm.NLM_F_ACK

    def delete_policy(self):
        """One that may be there"""
        direction, selector, _ = self.random.choice(self.policies)
        return "unpolicy", xfrm.DELPOLICY, selector + struct.pack(
            "=IB3x", 0, xfrm.DIRECTION[direction]), xfrm.NLM_F_ACK

    def flush_policies(self):
        return "nopolicy", xfrm.FLUSHPOLICY, b"", xfrm.NLM_F_ACK

    def migrate(self):
        """To other sources only, for the core warns about its own xfrm_state_migrate()
        when an SA cannot follow: the copy that it frees is not marked dead."""
        direction, selector, templates = self.random.choice(self.policies)
        moves = b""
        for src, dst, proto, mode in templates[:self.often(6, (0, 1))]:
            new = self.often(src, ("10.0.0.77", "fd00::77") if self.maybe(0.1) else (dst,), 0.3)
            if packet.family_of(new) != packet.family_of(src):
                new = dst
            moves += (xfrm.ends(dst, src, dst, new) + struct.pack(
                "=BBHIHH", xfrm.PROTO[proto], xfrm.MODE.get(mode, mode), 0, 1,
                packet.family_of(src), packet.family_of(src)))
        body = selector + struct.pack("=IB3x", 0, xfrm.DIRECTION[direction])
        return "migrate", xfrm.MIGRATE, body + xfrm.attribute(xfrm.A_MIGRATE, moves), xfrm.NLM_F_ACK

    # -- anything ------------------------------------------------------------

    def mutated(self):
        """A message of any kind with octets changed, cut out, or added"""
        choice = self.random.choice([c for c in MIXED if c not in ("mutated", "migrate")])
        name, kind, body, flags = getattr(self, choice)()
        body = bytearray(body)
        for _ in range(self.random.randrange(1, 6)):
            at = self.random.randrange(len(body) + 1)
            what = self.random.randrange(3)
            if what == 0 and at < len(body):
                body[at] = self.random.choice((0, 1, 255, body[at] ^ 1, body[at] ^ 128))
            elif what == 1:
                del body[at:at + self.random.randrange(1, 9)]
            else:
                body[at:at] = self.octets(8)
        return f"mutated {name}", kind, bytes(body), flags


STATES = ["new_sa"] * 6 + ["delete_sa"] * 3 + ["look", "flush_sas"]
UPDATES = ["new_sa"] * 3 + ["update_sa"] * 6 + ["spi", "delete_sa", "expire_sa"]
NUMBERS = ["new_sa"] * 4 + ["new_ae"] * 5 + ["get_ae"] * 2 + ["delete_sa"]
POLICIES = ["new_sa"] * 4 + ["new_policy"] * 4 + ["delete_policy", "flush_policies"] + [
    "migrate"] * 4
MIXED = [*STATES, *UPDATES, *NUMBERS, *POLICIES, "mutated"]


# -- traffic -----------------------------------------------------------------

def send_out(rng):
    """Through whatever policies and SAs there are"""
    while True:
        for here, sock in RIG.sockets.plain.items():
            ends = host.OUTER if here in (host.OUTER[4][0], host.OUTER[6][0]) else host.INNER
            version = 6 if ":" in here else 4
            with contextlib.suppress(OSError):
                sock.sendto(rng.randbytes(rng.choice((1, 60, 333, 1400, 3000))),
                            (ends[version][1], PORT_PEER))
        time.sleep(0.002)


def seal(rng, version):
    """A packet with a valid ICV, if the SA that its SPI names is of this kind"""
    shape = rng.choice([s for s in (*TRANSPORT, *TUNNEL, *BEET) if s.outer == version])
    next_header, inner = shape.to_dut(rng.randbytes(rng.randrange(200)))
    spi, esn = rng.choice(SPIS), rng.random() < 0.5
    seq = rng.choice((0, START)) + rng.randrange(5000)
    if rng.random() < 0.3:
        return Ah(Separate(), spi, esn).seal(shape.header(), next_header, inner, seq)
    sealed = Esp(rng.choice(TRAFFIC)(), spi, esn).seal(inner, next_header, seq)
    return packet.ip(shape.there, shape.here, packet.ESP, sealed)


def send_in(rng):
    """To whatever SAs there are"""
    ready = {version: [seal(rng, version) for _ in range(200)] for version in (4, 6)}
    while True:
        version = rng.choice((4, 6))
        there, here = reversed(host.OUTER[version])
        data = rng.choice(ready[version])
        if rng.random() < 0.3:
            data = packet.ip(there, here, rng.choice((packet.ESP, packet.AH)), struct.pack(
                "!I", rng.choice(SPIS)) + rng.randbytes(rng.randrange(300)))
        with contextlib.suppress(OSError):
            RIG.dut.wire.send(data)
        time.sleep(0.001)


@contextlib.contextmanager
def traffic(seed):
    children = []
    for number, work in enumerate((send_out, send_in)):
        child = os.fork()
        if not child:
            try:
                work(random.Random(seed + number))
            finally:
                os._exit(1)
        children.append(child)
    try:
        yield
        for child in children:
            ktap.equal(os.waitpid(child, os.WNOHANG)[0], 0, "a sender that gave up")
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


# -- what has to hold ----------------------------------------------------------

def offloaded(dst, spi, proto):
    """Has the SA the device that decrypts?  It may be gone by now."""
    try:
        found = RIG.dut.state(dst, spi, proto).attributes.get(xfrm.A_OFFLOAD, bytes(4))
    except LookupError:
        return False
    return int.from_bytes(found[:4], "little") == PLUGGED


def tell(config, log, words_log, choice):
    """One message, one answer: is it accepted?"""
    name, kind, body, flags = getattr(config, choice)()
    try:
        RIG.dut.xfrm().request(kind, body, flags)
        log[f"{name} yes"] += 1
        if kind in (xfrm.NEWSA, xfrm.ALLOCSPI):
            config.there()
            log["offloaded"] += offloaded(*config.asked[1:])
        return True
    except OSError as error:
        refusal = error
    words = xfrm.said(refusal)
    ktap.check(words is not None, f"no answer to {name}: {refusal}")
    log[f"{name} no"] += 1
    words_log[words] += 1
    if not impl.INTREE and not words and refusal.errno not in WORDLESS.get(kind, {refusal.errno}):
        ktap.fail(f"{name} is refused without a word, {refusal.strerror}: {body.hex()}")
    return False


def refused(before):
    """Packets that SAs have refused, most of them for their ICV"""
    return host.delta(before, RIG.dut.counters()).get("XfrmInStateProtoError", 0)


def still_works():
    """Every kind of SA carries packets both ways, and then nothing holds the module."""
    RIG.dut.flush()
    for shape in (*TRANSPORT, *TUNNEL):
        for kind, suite in (("esp", gcm()), ("ah", Separate())):
            on = Line(RIG, shape, suite, kind, True, 64, START)
            on.accepts(START + 1)
            on.sends(1)
    RIG.dut.flush()
    RIG.sockets.drain()
    let_go()


def fuzz(name, choices, wanted):
    """wanted: what has to be accepted at least once"""
    seed = SEED + sum(name.encode())
    config, log, words = Config(seed), collections.Counter(), collections.Counter()
    before, never = RIG.dut.counters(), set(wanted)
    try:
        with traffic(seed):
            for sent in range(MOST):
                if sent >= COUNT and not never and refused(before):
                    break
                choice = config.random.choice(choices)
                if tell(config, log, words, choice):
                    never.discard(choice)
    finally:
        changed = host.delta(before, RIG.dut.counters())
        for table in (log, changed):
            ktap.say(", ".join(f"{n} {what}" for what, n in sorted(table.items())))
        ktap.say("\n".join(f"{n} x {what or 'no words'}" for what, n in words.most_common()))
    ktap.check(log["add yes"] > log["add no"] / 3, "hardly an SA was accepted")
    ktap.equal(sorted(never), [], "kinds of messages of which none was accepted")
    ktap.check(words.keys() - {""}, "nothing was refused in words")
    ktap.check(refused(before), "no packet met an SA")
    if COUNT >= 300 and PLUGGED and choices == STATES:
        ktap.check(log["offloaded"], "no SA was accepted for a device")
    still_works()


for name, choices, wanted in (
        ("SAs of every kind", STATES, STATES), ("updates", UPDATES, UPDATES),
        ("numbers and limits", NUMBERS, NUMBERS), ("policies and migrations", POLICIES, POLICIES),
        ("all of it, and octets changed", MIXED + ["mutated"] * 20, ["mutated"])):
    ktap.add(f"netlink against traffic: {name}", fuzz, name, choices, wanted)


@ktap.case("netlink against traffic: the namespace ends")
def namespace_ends():
    """With SAs and policies in it; the senders' sockets keep it until they are killed."""
    config, log, before = Config(SEED), collections.Counter(), RIG.dut.counters()
    with traffic(SEED):
        for _ in range(COUNT):
            tell(config, log, collections.Counter(), config.random.choice(("new_sa", "new_policy")))
        ktap.wait_for(lambda: refused(before), "an SA refuses a packet")
        RIG.stop()
    let_go()
    if PLUGGED:
        ktap.wait_for(lambda: os.path.exists(f"/sys/class/net/{nic.DEVICE}"), "the device is back", 60)
    start()
    still_works()


@ktap.case("after all of that the module unloads")
def unloads():
    RIG.dut.flush()
    reload_at_once()
    still_works()


def plug():
    """v0, which decrypts nothing, and the device that does, if tools/testing/vm/run has built it"""
    global PLUGGED
    if not impl.modprobe("ipsec_v3_nic"):
        host.ip("link", "set", nic.DEVICE, "netns", RIG.dut.name)
    with RIG.dut.inside():
        found = dict(map(reversed, socket.if_nameindex()))
    PLUGGED = found.get(nic.DEVICE)
    DEVICES[:] = [found["v0"], *[PLUGGED] * 3] if PLUGGED else [found["v0"]]


def unplug():
    RIG.stop()
    if PLUGGED:
        ktap.wait_for(lambda: not impl.modprobe("-r", "ipsec_v3_nic"), "the device goes", 60)


def start():
    ktap.say(f"IPSEC_SEED={SEED} IPSEC_CONFIGS={COUNT}")
    RIG.start()
    plug()
    # what is waiting for an SA is not kept
    RIG.dut.sysctl("net.core.xfrm_acq_expires", 2)


if __name__ == "__main__":
    ktap.CASE_SECONDS = 1200
    ktap.main(start, unplug)
