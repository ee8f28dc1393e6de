#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""No write ever goes to a page that is not the packet's own.

The page cache of a spliced file (CVE-2026-43284), the buffer of a sender who splices
his memory or sends without a copy, the memory that a packet tap looks at: all of it is
as it was after ESP has encrypted or decrypted what lies in it.  The files are on tmpfs,
where the page cache is the file.  Nor is anything that lies in such a page believed.
"""

import contextlib
import ctypes
import mmap
import os
import socket
import struct
import tempfile
import traceback

from lib import host, impl, ktap, packet, wire
from lib.line import Line, Rig
from lib.peer import Esp
from lib.shape import PORT_DUT, PORT_NATT, PORT_PEER, SPI_IN, T4IN4, T6IN6, TRANSPORT, V4
from lib.suite import Separate, cbc, chacha, gcm, sha256

RIG = Rig()
START = 68 << 32 | 100000
SO_MEMINFO, SO_ZEROCOPY, MSG_ZEROCOPY = 55, 60, 0x4000000
MTU = 9000
PAGE = 4096
NOBODY = 65534
LOOPBACK = {4: ("10.0.0.1", "10.1.0.1"), 6: ("fd00::1", "fd01::1")}
SUITES = {
    "GCM": gcm,
    "ChaCha20": chacha,
    "CBC": cbc,
    "NULL": lambda: Separate("ecb(cipher_null)", "hmac(sha256)", 128),
}


@contextlib.contextmanager
def file_with(content):
    """An open file, which anybody may read; fails when it has changed at the end."""
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        with mmap.mmap(file.fileno(), 0) as seen:
            yield file
            ktap.check(seen[:] == content, "the file in the page cache was written to")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as drop:
            drop.write("1")
        ktap.check(os.pread(file.fileno(), len(content), 0) == content,
                   "the file was written to")


def through_pipe(fill, size, sock):
    """One datagram made of the pages with which fill(pipe) fills a pipe"""
    reader, writer = os.pipe()
    try:
        ktap.equal(fill(writer), size, "spliced in")
        ktap.equal(os.splice(reader, sock.fileno(), size), size, "spliced out")
    finally:
        os.close(reader)
        os.close(writer)


def splice(file, size, sock):
    through_pipe(lambda pipe: os.splice(file.fileno(), pipe, size, offset_src=0), size, sock)


def vmsplice(buffer, size, sock):
    """Of the sender's own memory"""
    memory = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), size)	# struct iovec
    through_pipe(lambda pipe: host.LIBC.vmsplice(pipe, memory, 1, 0), size, sock)


def sendfile(file, size, sock):
    ktap.equal(os.sendfile(sock.fileno(), file.fileno(), 0, size), size, "sent")


def pagewise(version):
    """UDP over IPv6 had no sendpage: what is spliced is copied, and every page of it
    becomes a datagram of its own."""
    return version == 6 and host.RELEASE < (6, 5)


def connected(shape):
    """A sender of the Dut's, apart from the shared one"""
    sock = RIG.dut.udp(shape.inner_here, 0)
    sock.connect((shape.inner_there, PORT_PEER))
    return sock


def any_port_policy(on):
    """Like shape.policy(), for every port"""
    shape = on.shape
    RIG.dut.ip(host.policy_line(
        "out", shape.inner_here, shape.inner_there + " proto udp",
        host.template(shape.here, shape.there, on.kind, shape.mode)))


def line(kind, suite, shape, encap=False):
    on = Line(RIG, shape, suite(), kind, True, 64, START, encap=encap)
    any_port_policy(on)
    return on


def on_the_wire(on, size):
    """The datagram that the Dut sent, decrypted by the peer"""
    data = RIG.dut.wire.receive(on.number)
    if on.kind == "ah":
        header, payload, _ = on.sender.open(data, START)
        next_header = packet.split(header)[1]
    else:
        esp = packet.split(data)[2][8 if on.encap else 0:]
        payload, next_header, _ = on.sender.open(esp, START)
    if on.shape.mode == "tunnel":
        _, next_header, payload = packet.split(payload)
    ktap.equal((next_header, len(payload)), (packet.UDP, size + 8), "protocol and length")
    return payload[8:]


def sends_file(kind, suite, shape, encap, how):
    on = line(kind, suite, shape, encap)
    content = os.urandom(6000)
    sizes = [PAGE, 6000 - PAGE] if pagewise(shape.inner) else [6000]
    before = on.figures()
    with file_with(content) as file, connected(shape) as sock:
        how(file, len(content), sock)
        ktap.equal(b"".join(on_the_wire(on, size) for size in sizes), content,
                   "data on the wire")
    # elsewhere the core itself may copy, for the sake of a checksum
    if kind == "esp" and shape is V4:
        on.settle(before, {"TxCopied": 1})


def sends_zerocopy(kind, suite, shape):
    on = line(kind, suite, shape)
    content = os.urandom(6000)
    buffer = mmap.mmap(-1, 8192)
    buffer[:len(content)] = content
    with connected(shape) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        with memoryview(buffer)[:len(content)] as view:
            sock.send(view, MSG_ZEROCOPY)
        ktap.equal(on_the_wire(on, len(content)), content, "data on the wire")
    ktap.check(buffer[:len(content)] == content, "the sender's buffer was written to")
    buffer.close()


for shape in (*TRANSPORT, T4IN4, T6IN6):
    for encap in (False, True):
        for how in (splice, sendfile):
            ktap.add(f"{how.__name__} out, ESP GCM, {shape}{', in UDP' if encap else ''}",
                     sends_file, "esp", SUITES["GCM"], shape, encap, how)
    for name in ("CBC", "ChaCha20", "NULL"):
        ktap.add(f"splice out, ESP {name}, {shape}", sends_file, "esp", SUITES[name], shape,
                 False, splice)
    ktap.add(f"splice out, AH, {shape}", sends_file, "ah", sha256, shape, False, splice)
    ktap.add(f"MSG_ZEROCOPY, ESP, {shape}", sends_zerocopy, "esp", SUITES["GCM"], shape)
    ktap.add(f"MSG_ZEROCOPY, AH, {shape}", sends_zerocopy, "ah", sha256, shape)


# -- receiving ---------------------------------------------------------------

class Loopback:
    """An SA from one of the Dut's addresses to another, through which a local attacker sends."""

    def __init__(self, suite, version, mode, mtu=65536):
        self.version, self.mode = version, mode
        self.src, self.dst = LOOPBACK[version]
        RIG.dut.flush()
        RIG.dut.ip(host.state_line(self.src, self.dst, SPI_IN, suite.words(), "esp", mode,
                                   esn=True, window=64, seq=START,
                                   encap=(PORT_NATT + 1, PORT_NATT)),
                   host.policy_line("in", self.src, f"{self.dst} proto udp dport {PORT_DUT}",
                                    host.template(self.src, self.dst, "esp", mode)))
        self.encap = RIG.dut.udp(self.dst, PORT_NATT, encap=True)
        self.plain = RIG.sockets.plain[self.dst]
        self.peer = Esp(suite, SPI_IN, True)
        RIG.dut.ip(f"link set lo mtu {mtu}")
        # the peer of a tunnel between two own addresses is not a martian
        RIG.dut.sysctl("net.ipv4.conf.lo.accept_local", 1)
        self.before = RIG.dut.counters()

    def close(self):
        RIG.dut.ip("link set lo mtu 65536")
        self.encap.close()
        RIG.dut.flush()

    def seal(self, data, forged):
        segment = packet.udp(self.src, self.dst, PORT_PEER, PORT_DUT, data)
        if self.mode == "transport":
            return self.peer.seal(segment, packet.UDP, START + 1, flip_icv=forged)
        whole = packet.ip(self.src, self.dst, packet.UDP, segment)
        return self.peer.seal(whole, packet.IPIP if self.version == 4 else packet.IPV6,
                              START + 1, flip_icv=forged)

    def attack(self, how):
        """how(socket), by a user without rights"""
        child = os.fork()
        if not child:
            try:
                host.enter(f"/run/netns/{RIG.dut.name}")
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                with socket.socket(packet.family_of(self.src), socket.SOCK_DGRAM) as sock:
                    sock.bind((self.src, PORT_NATT + 1))
                    sock.connect((self.dst, PORT_NATT))
                    how(sock)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        ktap.equal(os.waitpid(child, 0)[1], 0, "status of the attacker")

    def changed(self):
        return host.delta(self.before, RIG.dut.counters())

    def ends(self, content, forged):
        """Whatever the packet's end does to its pages is done then."""
        if forged:
            ktap.wait_for(lambda: self.changed().get("XfrmInStateProtoError") == 1, "the forgery is counted")
        else:
            ktap.equal(self.plain.recv(65536), content, "data")
        ktap.wait_for(lambda: RIG.dut.state(self.dst, SPI_IN).packets == (not forged), "the SA counts it")


def splice_named(path, size, sock):
    """He opens it himself."""
    with open(path, "rb") as file:
        splice(file, size, sock)


def one_datagram(version):
    """All of its ESP packet is in one."""
    return os.urandom(PAGE - 200 if pagewise(version) else 6000)


def receives_file(suite, version, mode, mtu, forged):
    content = one_datagram(version)
    with contextlib.closing(Loopback(suite(), version, mode, mtu)) as on:
        esp = on.seal(content, forged)
        with file_with(esp) as file:
            on.attack(lambda sock: splice_named(file.name, len(esp), sock))
            on.ends(content, forged)
        if not impl.INTREE:
            owned = pagewise(version) and mtu > PAGE
            ktap.equal(on.changed().get("RxCopied", 0), 0 if owned else 1, "RxCopied")


def receives_memory(suite, version, mode, forged):
    """It is still the attacker's; what is sent with MSG_ZEROCOPY the core itself copies."""
    content = one_datagram(version)
    with contextlib.closing(Loopback(suite(), version, mode)) as on, mmap.mmap(-1, 8192) as buffer:
        esp = on.seal(content, forged)
        buffer[:len(esp)] = esp
        on.attack(lambda sock: vmsplice(buffer, len(esp), sock))
        on.ends(content, forged)
        ktap.check(buffer[:len(esp)] == esp, "the sender's buffer was written to")


for version in (4, 6):
    for mode in ("transport", "tunnel"):
        for name, suite in SUITES.items():
            ktap.add(f"splice in, ESP {name} in UDP, {mode} {version}", receives_file,
                     suite, version, mode, 65536, False)
        ktap.add(f"splice in, a forgery, {mode} {version}", receives_file, SUITES["GCM"],
                 version, mode, 65536, True)
        ktap.add(f"splice in, over fragments, {mode} {version}", receives_file,
                 SUITES["GCM"], version, mode, 1500, False)
        for forged in (False, True):
            ktap.add(f"vmsplice in{', a forgery' if forged else ''}, {mode} {version}", receives_memory,
                     SUITES["GCM"], version, mode, forged)


def charged(mode):
    """Whoever receives it pays for the memory that it is in, not for pages that the module has let go."""
    content = one_datagram(4)
    with contextlib.closing(Loopback(gcm(), 4, mode)) as on, file_with(on.seal(content, False)) as file:
        on.attack(lambda sock: splice_named(file.name, os.fstat(file.fileno()).st_size, sock))
        ktap.wait_for(lambda: RIG.dut.state(on.dst, SPI_IN).packets, "it arrives")
        paid = struct.unpack("=I", on.plain.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4))[0]
        on.ends(content, False)
    ktap.check(len(content) < paid < 2 * len(content), f"{paid} bytes for {len(content)}")


for mode in ("transport", "tunnel"):
    ktap.add(f"what a copied packet costs its receiver, {mode}", charged, mode,
             intree_fails="it pays for the pages that it was in as well")


def tapped(kind, suite, shape, size):
    """A tap holds a clone of the packet while it is decrypted."""
    on = line(kind, suite, shape)
    content = os.urandom(size)
    data = on.seal(START + 1, content)
    with RIG.dut.inside():
        tap = wire.Wire("v0", host.MAC_HOST, host.MAC_WIRE)
    before = on.figures()
    try:
        RIG.dut.wire.send(data)
        ktap.equal(RIG.sockets.receive(shape), content, "data")
        ktap.equal(tap.receive(on.number), data, "what the tap saw")
        on.settle(before, {"packets": 1, "RxCopied": 1})
    finally:
        tap.close()


@contextlib.contextmanager
def neighbour(kind, suite, shape):
    """A socket of a host at the far end, from which the Dut's SA receives"""
    far, here, there = RIG.dut.far, shape.here, shape.there
    inner = f"src {shape.inner_there} dst {shape.inner_here} proto udp"
    try:
        host.ip("-n", far, lines=[
            f"addr add {there}/24 dev wire", *([f"addr add {shape.inner_there}/32 dev lo"] if shape is T4IN4 else []),
            f"route replace {shape.inner_here} via {here} dev wire src {shape.inner_there} onlink",
            host.state_line(there, here, SPI_IN, suite.words(kind), kind, shape.mode, esn=True, oseq=START),
            f"xfrm policy add dir out {inner} {host.template(there, here, kind, shape.mode)}"])
        with RIG.dut.outside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((shape.inner_there, PORT_PEER))
            sock.connect((shape.inner_here, PORT_DUT))
            yield sock
    finally:
        host.ip("-n", far, lines=["xfrm state flush", "xfrm policy flush", "addr flush dev wire", "addr flush dev lo"])


def changed_later(kind, shape):
    """What was verified is what arrives, whatever its sender does to his pages meanwhile"""
    suite = SUITES["GCM"]() if kind == "esp" else sha256()
    on = line(kind, lambda: suite, shape)
    content = os.urandom(1000)
    with neighbour(kind, suite, shape) as sock, tempfile.NamedTemporaryFile(dir="/tmp") as file:
        file.write(content)
        file.flush()
        splice(file, len(content), sock)
        ktap.wait_for(lambda: on.figures()["packets"] == 1, "it is verified")
        # the same words in another order, which no checksum notices
        os.pwrite(file.fileno(), content[500:] + content[:500], 0)
        ktap.equal(RIG.sockets.receive(shape), content, "data")


for shape in (V4, T4IN4):
    for kind in ("esp", "ah"):
        ktap.add(f"its sender changes it later, {kind.upper()}, {shape}", changed_later, kind, shape)


# pulling the header into a head of its own leaves a packet that skb_cloned() denies
PULLED = "it writes to pages that are the tap's as well"
for shape in (*TRANSPORT, T4IN4, T6IN6):
    for size in (40, 6000):
        for name, suite in SUITES.items():
            ktap.add(f"tap, ESP {name}, {shape}, {size} bytes", tapped, "esp", suite, shape,
                     size, intree_fails=PULLED if size > PAGE else None)
        ktap.add(f"tap, AH, {shape}, {size} bytes", tapped, "ah", sha256, shape, size)

ktap.main(lambda: RIG.start(mtu=MTU), RIG.stop)
