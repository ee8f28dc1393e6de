#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Keys do not stay behind: the machine's memory, in use or free, is searched for them.

What is the module's may hold no key: the copy that it makes for authenc, a request with
what a cipher derives for one packet, the transform of an SA that is gone.  Not the
module's, and not wiped by 6.1 and 6.12: the core's struct xfrm_algo and what netlink and
`ip` made of it.  There the algorithm's name stands in front of the key.
"""

import contextlib
import functools
import mmap
import os
import subprocess

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from lib import busy, cryptd, host, impl, ktap, packet
from lib.line import Line, Monopoly, Rig
from lib.ram import MASK, Ram, Secret
from lib.shape import V4
from lib.suite import CHACHA, GCM, Combined, cbc, gcm, sha256
from lib.trace import Trace

V4 = V4
RIG = Rig()
START = 68 << 32 | 100000
BURST = 20
KEY_AND_SALT = 32 + 4		# RFC 7634 2


def states(words, proto="esp"):
    RIG.dut.ip(*V4.lines(words, proto))


def gone():
    """No SA any more, and none that waits to be freed"""
    RIG.dut.flush()
    RIG.sockets.drain()
    busy.let_go()


@contextlib.contextmanager
def unloaded():
    """The module is gone meanwhile."""
    gone()
    for module in reversed(impl.WANTED):
        ktap.wait_for(lambda module=module: not impl.modprobe("-r", module), "it unloads")
    try:
        yield
    finally:
        ktap.equal(impl.load(), None, "loading again")


def copies(secret):
    return len(Ram().find(secret)[secret])


@ktap.case("what is in memory is found, and nothing else")
def found():
    """Or the rest of this file proves nothing."""
    secret, other, page = Secret(32), Secret(32), mmap.mmap(-1, 4096)
    for n, octet in enumerate(secret.masked):
        page[1000 + n] = octet ^ MASK
    # a kernel short of memory moves pages, and leaves a copy where one was
    mine, never = (len(fronts) for fronts in Ram().find(secret, other).values())
    ktap.check(mine and not never, f"{mine} copies of what is there, {never} of what is not")


# -- the key of an SA -----------------------------------------------------------------

def nameless(secret, name):
    """Copies outside of a struct xfrm_algo"""
    fronts = Ram().find(secret)[secret]
    left = [front for front in fronts if name.encode() not in front]
    ktap.say(f"{len(fronts)} copies, {len(left)} of them without a name")
    return len(left)


def of_transform(name):
    """It lies in the transform, and goes with it."""
    secret = Secret(16)
    states(f"aead {name} {secret.hex()}{os.urandom(4).hex()} 128")
    ktap.check(nameless(secret, name), "the transform has no key?")
    for _ in range(10):
        RIG.sockets.send(V4, bytes(1000))
        RIG.dut.wire.receive(packet.ESP)
    gone()
    ktap.equal(nameless(secret, name), 0, "copies that are not the core's")


ktap.add("key: of AES-GCM, of an SA that is gone", of_transform, GCM)


def of_separate(proto, enc, secrets):
    """HMAC keeps what it makes of its key; the cipher has it as it is while the SA is there."""
    words = f"auth-trunc hmac(sha256) {secrets['hmac(sha256)'].hex()} 128"
    if enc:
        words += f" enc {enc} {secrets[enc].hex()}"
    states(words, proto)
    if enc:
        ktap.check(nameless(secrets[enc], enc), "the transform has no key?")
    RIG.sockets.send(V4, bytes(1000))
    RIG.dut.wire.receive((packet.AH, packet.ESP))
    gone()
    ktap.equal([nameless(secret, name) for name, secret in secrets.items()], [0] * len(secrets),
               "copies that are not the core's")


@ktap.case("key: of AH, of an SA that is gone")
def of_ah():
    of_separate("ah", None, {"hmac(sha256)": Secret(32)})


@ktap.case("key: of authenc, of an SA that is gone")
def of_authenc():
    of_separate("esp", "cbc(aes)", {"hmac(sha256)": Secret(32), "cbc(aes)": Secret(16)})


@ktap.case("key: for authenc, which refuses it")
def refused():
    """The copy is in a piece of 64 octets; of those the allocator writes to 32 to 39 when
    it gets them back, and this is 12 to 31.  What the copy for an SA that is accepted was
    in is used again before anybody could look."""
    auth, enc = Secret(20), Secret(15)
    in_a_row = Secret(octets=auth.masked[4:] + enc.masked[:4])
    with contextlib.suppress(host.IpError):
        states(f"auth-trunc hmac(sha1) {auth.hex()} 96 enc cbc(aes) {enc.hex()}")
        ktap.fail("it takes a key of 15 octets")
    ktap.equal(copies(in_a_row), 0, "copies")
    gone()


# -- the key of a packet ----------------------------------------------------------------

def one_time_key(key, sent):
    """Poly1305's for a packet (RFC 8439 2.6), masked by what is encrypted"""
    nonce = bytes(4) + key[32:] + packet.split(sent)[2][8:16]
    run = Cipher(algorithms.ChaCha20(key[:32], nonce), None).encryptor()
    return Secret(octets=run.update(bytes([MASK]) * 64)[:32])


def left_by(secrets):
    """Keys that are somewhere"""
    found = Ram().find(*secrets)
    return sum(bool(fronts) for fronts in found.values())


def cipher_and_packets(count, pause=contextlib.nullcontext):
    """The one-time keys of packets that are sent, which are done"""
    key = os.urandom(KEY_AND_SALT)
    states(f"aead {CHACHA} 0x{key.hex()} 128")
    with pause():
        for _ in range(count):
            RIG.sockets.send(V4, bytes(1000))
    return [one_time_key(key, RIG.dut.wire.receive(packet.ESP)) for _ in range(count)]


@ktap.case("request: keeps a key until the module is unloaded")
def request():
    secrets = cipher_and_packets(3)
    ktap.check(left_by(secrets), "not even the last one's is in memory")
    with unloaded():
        ktap.equal(left_by(secrets), 0, "keys of packets")


@ktap.case("request: of many at a time, each CPU keeps one")
def requests():
    with cryptd.instance(f"cryptd({CHACHA})", CHACHA):
        try:
            secrets = cipher_and_packets(BURST, Monopoly)
        finally:
            gone()
        left = left_by(secrets)
        ktap.say(f"{left} of {BURST} keys are left")
        ktap.check(left <= os.sysconf("SC_NPROCESSORS_CONF"), f"keys of {left} packets are left")
    with unloaded():
        ktap.equal(left_by(secrets), 0, "keys of packets")


# -- what is said of a packet, and of an SA ----------------------------------------------

def kernel_log():
    return subprocess.run(["dmesg"], stdout=subprocess.PIPE, check=True).stdout


PLAIN = os.urandom(30)		# what packets bear
BIGGEST = 65535 - 20 - 8
# {name: (protocol, suite)}
KINDS = {"AES-GCM": ("esp", gcm), "authenc": ("esp", cbc), "AH": ("ah", sha256)}


def keys_of(suite):
    """Without a salt"""
    return [suite.secret] if isinstance(suite, Combined) else [key for key in (suite.enc_key, suite.auth_key) if key]


def bad(on):
    """What the Dut drops: (how to make it do that, reason)"""
    short = packet.join(V4.header(), on.number, packet.split(on.seal(START + 1, PLAIN))[2][:20])
    yield functools.partial(RIG.dut.wire.send, short), "RxShort"
    yield functools.partial(RIG.dut.wire.send, on.seal(START + 2, PLAIN, flip_icv=True)), "RxForged"
    if on.kind == "esp":
        padded = on.seal(START + 3, plain=PLAIN + b"\xff\x11")
        yield functools.partial(RIG.dut.wire.send, padded), "RxPadLength"
    yield functools.partial(RIG.sockets.send, V4, PLAIN * (BIGGEST // len(PLAIN))), "TxTooBig"


def dies(on):
    """In some ways, each counted"""
    for act, reason in bad(on):
        before = RIG.dut.counters()
        with contextlib.suppress(OSError):	# a sender is told
            act()
        if not impl.INTREE:
            ktap.wait_for(lambda before=before, reason=reason:
                          host.delta(before, RIG.dut.counters()).get(reason) == 1, reason)


# no key is right for these
REFUSED = (f"aead {GCM} {{key}} 56", f"aead {GCM} {{key}}00 128", "aead rfc0000(gcm(aes)) {key} 128",
           "auth-trunc hmac(sha256) {key} 32 enc cbc(aes) {key}",
           "auth-trunc hmac(sha256) {key} 128 enc cbc(aes) {key}00")


def refusals(key):
    """What `ip` prints, with the kernel's words"""
    for words in REFUSED:
        try:
            states(words.format(key=f"0x{key.hex()}"))
        except host.IpError as error:
            yield str(error).encode()
        else:
            ktap.fail(f"accepted: {words}")


def said(proto, maker):
    suite = maker()
    on = Line(RIG, V4, suite, proto, True, 64, START)
    with Trace() as trace:
        dies(on)
        places = {"trace": trace.text().encode(), "records": trace.records()} if not impl.INTREE else {}
    places["refusals"] = b"\n".join(words for key in keys_of(suite) for words in refusals(key))
    places["log"] = kernel_log()
    ktap.say(places["refusals"].decode())
    for place, text in places.items():
        ktap.check(text, f"nothing in {place}")
        for secret in (*keys_of(suite), PLAIN):
            for form in (secret, secret[:8], secret[7::-1]):
                for shown in (form, form.hex().encode(), form.hex(" ").encode(), form.hex(":").encode()):
                    ktap.check(shown not in text.lower() if shown != form else form not in text,
                               f"{'plaintext' if secret is PLAIN else 'a key'} is in {place}")


for name, (proto, maker) in KINDS.items():
    ktap.add(f"said: no key or plaintext of {name} in the log, in the tracepoint or in a refusal", said, proto, maker)


def log_of_a_death():
    """Lines, which may be somebody else's"""
    on = Line(RIG, V4, gcm(), "esp", True, 64, START)
    before = kernel_log().splitlines()
    dies(on)
    return kernel_log().splitlines()[len(before):]


@ktap.case("said: nothing in the log of a packet that is bad")
def silent():
    tries = [log_of_a_death() for _ in range(3)]
    ktap.check([] in tries, f"lines in the log: {tries[-1]}")


if __name__ == "__main__":
    ktap.CASE_SECONDS = 600
    ktap.main(RIG.start, RIG.stop)
