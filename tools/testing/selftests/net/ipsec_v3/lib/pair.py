# SPDX-License-Identifier: GPL-2.0-only
"""Two hosts on a link with GRO, whose packets cross the stack whole: host a sends, host b
receives.

	pair = Pair()			# start() before the first case
	pair.install(shape, [esp("transport")], suite)
	Figures(pair, shape).arrived()	# TCP from a to b
"""

import contextlib
import hashlib
import os
import socket
import threading

from . import host, impl, ktap, line

PORT = 7000
SPI_AB, SPI_BA, CPI_AB, CPI_BA = 0x200, 0x201, 0x202, 0x203
SIZE = 40000 if os.environ.get("IPSEC_SHORT") else 150000
MTU = 1500
SO_RCVBUFFORCE, SO_BINDTODEVICE = 33, 25


def esp(mode):
    return {"proto": "esp", "mode": mode}


def comp(mode):
    return {"proto": "comp", "mode": mode}


def template(direction, ends, level):
    # IPComp leaves alone what it would not make shorter
    optional = level["proto"] == "comp" and direction == "in"
    return host.template(*ends, level["proto"], level["mode"],
                         level="use" if optional else "required")


class Pair:
    device = "v0"	# with the outer addresses
    inner = "lo"	# with the inner ones
    vrf = ""

    def __init__(self, name="pair"):
        self.name = name

    def start(self):
        if impl.INTREE:
            impl.modprobe("-a", "esp4_offload", "esp6_offload")
        self.a, self.b = host.Host(f"{self.name}-a"), host.Host(f"{self.name}-b")
        host.ip("link", "add", "v0", "mtu", str(MTU), "netns", self.a.name, "type", "veth",
                "peer", "name", "v0", "mtu", str(MTU), "netns", self.b.name)
        for number, end in enumerate((self.a, self.b)):
            end.ip("link set v0 up", *self.prepared(), *self.addresses(number))
        host.use_gro(True, (self.a.name, "v0"), (self.b.name, "v0"))

    def prepared(self):
        """For `ip`, before there are addresses"""
        return []

    def addresses(self, number):
        for version, bits, one in ((4, 24, 32), (6, 64, 128)):
            nodad = " nodad" if version == 6 else ""
            outer, inner = host.OUTER[version], host.INNER[version]
            yield f"addr add {outer[number]}/{bits} dev {self.device}{nodad}"
            yield f"addr add {inner[number]}/{one} dev {self.inner}{nodad}"
            yield (f"route add {self.vrf} {inner[1 - number]} via {outer[1 - number]} "
                   f"src {inner[number]}")

    def stop(self):
        self.a.close()
        self.b.close()

    def flush(self):
        self.a.flush()
        self.b.flush()

    def install(self, shape, levels, suite, start=0, esn=False, proto="tcp", **more):
        """The same on both hosts.  levels: the protocols of a bundle, inside first;
        proto: what they protect"""
        out, back = (shape.here, shape.there), (shape.there, shape.here)
        lines = ["xfrm state flush", "xfrm policy flush"]
        for level in levels:
            lines += states(shape, level, suite, start, esn, **more)
        for end, here, there in ((self.a, out, back), (self.b, back, out)):
            mine, other = shape.inner_here, shape.inner_there
            mine, other = (mine, other) if end is self.a else (other, mine)
            end.ip(*lines,
                   host.policy_line("out", mine, f"{other} proto {proto}",
                                    *(template("out", here, level) for level in levels)),
                   host.policy_line("in", other, f"{mine} proto {proto}",
                                    *(template("in", there, level) for level in levels)))

    def socket(self, end, address):
        """Of TCP, bound there"""
        with end.inside():
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(40)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.inner != "lo":
            sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, self.inner.encode())
        return sock

    def transfer(self, here, there, data, options=()):
        """data over TCP from host a's address to host b's; options: of a's socket"""
        with self.socket(self.b, there) as listener, self.socket(self.a, here) as client:
            listener.bind((there, PORT))
            listener.listen(1)
            client.bind((here, 0))
            for option in options:
                client.setsockopt(*option)
            client.connect((there, PORT))
            server, _ = listener.accept()
            with server:
                server.settimeout(40)
                sender = threading.Thread(target=send_all, args=(client, data))
                sender.start()
                got = receive_all(server)
                sender.join()
                # or b's last packet comes in the next case, under the same SPI
                server.shutdown(socket.SHUT_WR)
                client.recv(1)
        ktap.equal((len(got), hashlib.sha256(got).digest()),
                   (len(data), hashlib.sha256(data).digest()), "what arrived")


def states(shape, level, suite, start, esn, **more):
    out, back = (shape.here, shape.there), (shape.there, shape.here)
    for ends, spi, cpi in ((out, SPI_AB, CPI_AB), (back, SPI_BA, CPI_BA)):
        if level["proto"] == "comp":
            yield (f"xfrm state add src {ends[0]} dst {ends[1]} proto comp "
                   f"spi {cpi:#x} mode {level['mode']} reqid 1 comp deflate")
            continue
        sel = (shape.inner_here, shape.inner_there)
        sel = sel if spi == SPI_AB else sel[::-1]
        yield host.state_line(
            *ends, spi, suite.words(), mode=level["mode"], esn=esn, seq=start,
            oseq=start, window=128,
            sel=f"src {sel[0]} dst {sel[1]}" if level["mode"] == "beet" else "",
            flags="af-unspec" if shape.outer != shape.inner else "", **more)


def send_all(sock, data):
    with contextlib.suppress(OSError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)


def receive_all(sock):
    got = bytearray()
    while True:
        part = sock.recv(1 << 16)
        if not part:
            return bytes(got)
        got += part


class Figures:
    """Of one transfer: packets that a sent, segments that b got, IP packets that b's
    stack saw, and every error"""

    def __init__(self, pair, shape, start=0, data=None, ends=None, options=()):
        """ends: addresses, when not the shape's own; options: as for Pair.transfer()"""
        a, b = pair.a, pair.b
        data = os.urandom(SIZE + 1) if data is None else data
        before = b.ip_figure(shape.inner, "InReceives"), a.counters(), b.counters()
        pair.transfer(*(ends or (shape.inner_here, shape.inner_there)), data, options)
        self.seen = b.ip_figure(shape.inner, "InReceives") - before[0]
        self.errors = {**host.delta(before[1], a.counters()),
                       **host.delta(before[2], b.counters())}
        for name in line.UNASKED:
            self.errors.pop(name, None)
        out = a.state(shape.there, SPI_AB)
        self.sent, self.segments = out.packets, (out.oseq - start) & 0xffffffff
        ktap.wait_for(lambda: b.state(shape.there, SPI_AB).packets == self.segments,
                      f"{self.segments} packets at the receiver")
        ktap.say(f"{self.sent} sent, {self.segments} segments, {self.seen} seen")

    def arrived(self):
        ktap.equal(self.errors, {}, "errors")
        ktap.check(self.segments * MTU > SIZE / 2, f"only {self.segments} packets were ESP")

    def whole(self):
        """How much is joined is a matter of timing, that anything is is not."""
        ktap.check(self.sent < self.segments, "no packet crossed the stack whole")
        ktap.check(self.seen < self.segments, "GRO joined nothing of what was inside")


class Tap:
    """What leaves a host, as it is on the wire"""

    def __init__(self, end, device="v0"):
        self.end, self.device = end, device

    def __enter__(self):
        with self.end.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.socket.bind((self.device, 3))
        return self

    def __exit__(self, *_):
        self.socket.close()

    def packets(self):
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                data, origin = self.socket.recvfrom(1 << 16)
                if origin[2] == socket.PACKET_OUTGOING and origin[1] in (0x800, 0x86dd):
                    yield data
