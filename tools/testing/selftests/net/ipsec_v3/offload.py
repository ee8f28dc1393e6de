#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""GSO and GRO: TCP between two hosts whose packets cross the stack whole, and everything
that makes one unfit and has to pass all the same.
"""

import contextlib
import hashlib
import os
import socket
import struct
import threading

from lib import cryptd, host, impl, ktap, line, packet
from lib.peer import Esp
from lib.shape import BEET, TRANSPORT, TUNNEL
from lib.suite import CHACHA, GCM, Combined, Separate

PORT = 7000
SPI_AB, SPI_BA, CPI_AB, CPI_BA = 0x200, 0x201, 0x202, 0x203
EDGE = (68 << 32 | 0xffffffff) - 40
SIZE = 40000 if os.environ.get("IPSEC_SHORT") else 150000
MTU = 1500
TCP_REPAIR, TCP_REPAIR_WINDOW, TCP_REPAIR_OFF_NO_WP = 19, 29, -1
SO_RCVBUFFORCE, SOL_PACKET, PACKET_VNET_HDR = 33, 263, 15


class Pair:
    """Two hosts on a veth with GRO: a sends, b receives."""

    def start(self):
        if impl.INTREE:
            impl.modprobe("-a", "esp4_offload", "esp6_offload")
        self.a, self.b = host.Host("a"), host.Host("b")
        host.ip("link", "add", "v0", "mtu", str(MTU), "netns", self.a.name, "type", "veth",
                "peer", "name", "v0", "mtu", str(MTU), "netns", self.b.name)
        self.addresses(self.a, 0)
        self.addresses(self.b, 1)
        RIG.start(mtu=2000, name="dut")
        # veth uses GRO for what comes from an end without TSO only
        for name, device in ((self.a.name, "v0"), (self.b.name, "v0"),
                             (RIG.dut.name, "v0"), (RIG.dut.far, "wire")):
            host.ethtool(name, device, "gro", "on", "tso", "off")

    @staticmethod
    def addresses(end, number):
        lines = ["link set v0 up"]
        for version, bits, one in ((4, 24, 32), (6, 64, 128)):
            nodad = " nodad" if version == 6 else ""
            outer, inner = host.OUTER[version], host.INNER[version]
            lines += [f"addr add {outer[number]}/{bits} dev v0{nodad}",
                      f"addr add {inner[number]}/{one} dev lo{nodad}",
                      f"route add {inner[1 - number]} via {outer[1 - number]} "
                      f"src {inner[number]}"]
        end.ip(*lines)

    def stop(self):
        RIG.stop()
        self.a.close()
        self.b.close()

    def flush(self):
        self.a.flush()
        self.b.flush()


RIG = line.Rig()
PAIR = Pair()


def template(direction, ends, level):
    # IPComp leaves alone what it would not make shorter
    optional = level["proto"] == "comp" and direction == "in"
    return host.template(*ends, level["proto"], level["mode"],
                         level="use" if optional else "required")


def install(shape, levels, suite, start=0, esn=False, **more):
    """The same on both hosts.  levels: the protocols of a bundle, inside first"""
    out, back = (shape.here, shape.there), (shape.there, shape.here)
    lines = ["xfrm state flush", "xfrm policy flush"]
    for level in levels:
        for ends, spi, cpi in ((out, SPI_AB, CPI_AB), (back, SPI_BA, CPI_BA)):
            if level["proto"] == "comp":
                lines.append(f"xfrm state add src {ends[0]} dst {ends[1]} proto comp "
                             f"spi {cpi:#x} mode {level['mode']} reqid 1 comp deflate")
                continue
            sel = (shape.inner_here, shape.inner_there)
            sel = sel if spi == SPI_AB else sel[::-1]
            lines.append(host.state_line(
                *ends, spi, suite.words(), mode=level["mode"], esn=esn, seq=start,
                oseq=start, window=128,
                sel=f"src {sel[0]} dst {sel[1]}" if level["mode"] == "beet" else "",
                flags="af-unspec" if shape.outer != shape.inner else "", **more))
    for end, here, there in ((PAIR.a, out, back), (PAIR.b, back, out)):
        mine, other = shape.inner_here, shape.inner_there
        mine, other = (mine, other) if end is PAIR.a else (other, mine)
        end.ip(*lines,
               host.policy_line("out", mine, f"{other} proto tcp",
                                *(template("out", here, level) for level in levels)),
               host.policy_line("in", other, f"{mine} proto tcp",
                                *(template("in", there, level) for level in levels)))


def esp(mode):
    return {"proto": "esp", "mode": mode}


def comp(mode):
    return {"proto": "comp", "mode": mode}


# -- a transfer, and what it did ------------------------------------------------

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


def transfer(here, there, data):
    """data over TCP from host a's address to host b's"""
    family = socket.AF_INET6 if ":" in here else socket.AF_INET
    with PAIR.b.inside():
        listener = socket.socket(family, socket.SOCK_STREAM)
    with PAIR.a.inside():
        client = socket.socket(family, socket.SOCK_STREAM)
    with listener, client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((there, PORT))
        listener.listen(1)
        listener.settimeout(30)
        client.settimeout(40)
        client.bind((here, 0))
        client.connect((there, PORT))
        server, _ = listener.accept()
        with server:
            server.settimeout(40)
            sender = threading.Thread(target=send_all, args=(client, data))
            sender.start()
            got = receive_all(server)
            sender.join()
    ktap.equal((len(got), hashlib.sha256(got).digest()),
               (len(data), hashlib.sha256(data).digest()), "what arrived")


class Figures:
    """Of one transfer: packets that a sent, segments that b got, IP packets that b's
    stack saw, and every error"""

    def __init__(self, shape, start=0, data=None):
        data = os.urandom(SIZE) if data is None else data
        before = PAIR.b.ip_figure(shape.inner, "InReceives"), PAIR.a.counters(), PAIR.b.counters()
        transfer(shape.inner_here, shape.inner_there, data)
        self.seen = PAIR.b.ip_figure(shape.inner, "InReceives") - before[0]
        self.errors = {**host.delta(before[1], PAIR.a.counters()),
                       **host.delta(before[2], PAIR.b.counters())}
        for name in line.UNASKED:
            self.errors.pop(name, None)
        out = PAIR.a.state(shape.there, SPI_AB)
        self.sent, self.segments = out.packets, (out.oseq - start) & 0xffffffff
        ktap.wait_for(lambda: PAIR.b.state(shape.there, SPI_AB).packets == self.segments,
                      f"{self.segments} packets at the receiver")
        ktap.say(f"{self.sent} sent, {self.segments} segments, {self.seen} seen")

    def arrived(self):
        ktap.equal(self.errors, {}, "errors")
        ktap.check(self.segments * MTU > SIZE / 2, f"only {self.segments} packets were ESP")


class Tap:
    """What leaves host a, as it is on the wire"""

    def __enter__(self):
        with PAIR.a.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            self.socket.bind(("v0", 3))
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


# -- GSO and GRO -------------------------------------------------------------------

def verify(shape, peer, found, start):
    """Each opens under the next number, fits the MTU, and holds one TCP segment."""
    for number, data in enumerate(found, 1):
        ktap.check(len(data) <= MTU, f"a packet of {len(data)} bytes")
        shape.check_outer(data)
        inner, next_header, seq = peer.open(packet.split(data)[2], start + number)
        ktap.equal(seq, peer.esn and start + number or (start + number) & 0xffffffff,
                   "sequence number")
        if shape.mode == "tunnel":
            ktap.equal(next_header, packet.IPIP if shape.inner == 4 else packet.IPV6,
                       "next header")
            _, next_header, inner = packet.split(inner)
        ktap.equal(next_header, packet.TCP, "what it carries")
        ktap.equal(packet.checksum(packet.pseudo(
            packet.address(shape.inner_here), packet.address(shape.inner_there),
            packet.TCP, len(inner)) + inner), 0, "TCP checksum")


def gso(shape, maker, esn):
    suite = maker()
    start = EDGE if esn else 1000
    install(shape, [esp(shape.mode)], suite, start, esn)
    with Tap() as tap:
        done = Figures(shape, start)
        found = [data for data in tap.packets() if packet.split(data)[1] == packet.ESP]
    done.arrived()
    ktap.equal(len(found), done.segments, "segments on the wire")
    # in-tree decrypts in place what the tap has, too
    if not impl.INTREE:
        verify(shape, Esp(suite, SPI_AB, esn), found, start)
    state = PAIR.a.state(shape.there, SPI_AB)
    ktap.equal(state.oseq, start + len(found), "last number of the sender")
    # how much is joined is a matter of timing, that anything is is not
    ktap.check(done.sent < done.segments, "no packet crossed the stack whole")
    ktap.check(done.seen < done.segments, "GRO joined nothing of what was inside")


SUITES = {
    "AES-GCM": lambda: Combined(GCM),
    "ChaCha20-Poly1305": lambda: Combined(CHACHA),
    "AES-CBC, HMAC-SHA-256": lambda: Separate("cbc(aes)", "hmac(sha256)", 128),
    "NULL, HMAC-SHA-256": lambda: Separate("ecb(cipher_null)", "hmac(sha256)", 128),
}

for _name, _maker in SUITES.items():
    for _shape in (*TRANSPORT, *TUNNEL) if _name == "AES-GCM" else (TRANSPORT[1], TUNNEL[0]):
        for _esn in (True, False):
            ktap.add(f"TCP whole, {_name}, {_shape}, "
                     f"{'ESN over 2^32' if _esn else '32 bits'}", gso, _shape, _maker, _esn,
                     intree_fails="a wrong high half at 2^32" if _esn else None)


def gso_async(shape):
    """Segments that the crypto API keeps; cryptd has a queue per CPU and no order"""
    with cryptd.instance(f"cryptd({GCM})", GCM):
        try:
            install(shape, [esp(shape.mode)], Combined(GCM), EDGE, True)
            Figures(shape, EDGE).arrived()
        finally:
            PAIR.flush()


for _shape in (TRANSPORT[0], TUNNEL[3]):
    ktap.add(f"TCP over cryptd, {_shape}", gso_async, _shape,
             intree_fails="a wrong high half at 2^32")


def overflow():
    """32-bit numbers end in the middle of a GSO packet: nothing wraps"""
    shape = TRANSPORT[0]
    install(shape, [esp("transport")], Combined(GCM), 0xffffffff - 20)
    with Tap() as tap:
        PAIR.a.sysctl("net.ipv4.tcp_retries2", 1)
        with PAIR.b.inside():
            listener = socket.create_server((shape.there, PORT))
        with PAIR.a.inside():
            client = socket.socket()
        with listener, client:
            client.connect((shape.there, PORT))
            client.settimeout(3)
            with contextlib.suppress(OSError):
                client.sendall(bytes(SIZE))
        found = [data for data in tap.packets() if packet.split(data)[1] == packet.ESP]
    lows = [int.from_bytes(packet.split(data)[2][4:8], "big") for data in found]
    ktap.check(lows and lows == sorted(set(lows)) and lows[0] == 0xffffffff - 19,
               f"sequence numbers {lows}")
    ktap.check("XfrmOutStateSeqError" in PAIR.a.counters(), "no overflow was counted")


ktap.add("32-bit numbers end within a GSO packet", overflow)


def whole_tcp(src, dst, size, segment):
    """An IPv4 TCP packet with the header of virtio that says how to segment it"""
    header = struct.pack("!HHIIBBHHH", PORT, PORT, 1, 1, 5 << 4, 16, 512, 0, 0)
    check = ~packet.checksum(packet.pseudo(packet.address(src), packet.address(dst),
                                           packet.TCP, len(header) + size)) & 0xffff
    header = header[:16] + struct.pack("!H", check) + header[18:]
    data = packet.ip4(src, dst, packet.TCP, header + os.urandom(size))
    return struct.pack("=BBHHHH", 1, 1, 54, segment, 34, 16), data


def from_outside():
    """A packet forwarded for a sender that does not say how many segments it will be"""
    shape, suite, start = TUNNEL[0], Combined(GCM), EDGE + 37
    peer = Esp(suite, SPI_AB, True)
    RIG.dut.sysctl("net.ipv4.ip_forward", 1)
    RIG.dut.ip("xfrm state flush", "xfrm policy flush",
               host.state_line(shape.here, shape.there, SPI_AB, suite.words(), mode="tunnel",
                               esn=True, oseq=start),
               host.policy_line("out", shape.there, f"{shape.inner_there} proto tcp",
                                host.template(shape.here, shape.there, mode="tunnel")))
    host.ethtool(RIG.dut.far, "wire", "tso", "on")
    with RIG.dut.outside():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind(("wire", 0x800))
        RIG.dut.wire.drain()
        for number in range(1, 16, 5):
            virtio, data = whole_tcp(shape.there, shape.inner_there, 5000, 1000)
            sock.send(virtio + RIG.dut.wire.header + b"\x08\0" + data)
            for n in range(number, number + 5):
                inner, _, seq = peer.open(packet.split(RIG.dut.wire.receive(packet.ESP))[2],
                                          start + n)
                ktap.equal((len(inner), seq), (1040, start + n), "size and number")
    ktap.equal(RIG.dut.state(shape.there, SPI_AB).oseq, start + 15, "last number")
    host.ethtool(RIG.dut.far, "wire", "tso", "off")


ktap.add("GSO from outside, forwarded", from_outside,
         intree_fails="sequence numbers are used more than once")


# -- what is unfit passes all the same ------------------------------------------------

def passes(shape, levels, **more):
    install(shape, levels, Combined(GCM), **more)
    Figures(shape).arrived()


for _shape in BEET:
    ktap.add(f"unfit: {_shape}", passes, _shape, [esp("beet")],
             intree_fails="its GSO packets are lost")


def tfc(shape):
    install(shape, [esp("tunnel")], Combined(GCM), more="tfcpad 1000")
    with Tap() as tap:
        Figures(shape).arrived()
        sizes = {len(data) for data in tap.packets() if packet.split(data)[1] == packet.ESP}
    ktap.check(min(sizes) > 1000, f"packets of {min(sizes)} bytes")


def compressed(shape, mode):
    """IPComp inside ESP; what compresses and what does not"""
    for data in (bytes(SIZE), os.urandom(SIZE)):
        install(shape, [comp(mode), esp("transport")], Combined(GCM))
        before = PAIR.a.counters(), PAIR.b.counters()
        transfer(shape.inner_here, shape.inner_there, data)
        ktap.equal([without_copies(host.delta(old, end.counters()))
                    for old, end in zip(before, (PAIR.a, PAIR.b))], [{}, {}], "errors")
        ktap.check(PAIR.b.state(shape.there, SPI_AB).packets > 3, "no ESP came")


def without_copies(counters):
    return {name: n for name, n in counters.items() if name not in line.UNASKED}


for _shape in (TUNNEL[0], TUNNEL[3]):
    ktap.add(f"unfit: TFC padding, {_shape}", tfc, _shape,
             intree_fails="esp4_offload does not pad")
for _shape in TRANSPORT:
    ktap.add(f"unfit: IPComp in {_shape}", compressed, _shape, "transport",
             intree_fails="what GRO takes is dropped between two SAs")
for _shape in (TUNNEL[0], TUNNEL[3]):
    ktap.add(f"unfit: IPComp {_shape} in transport", compressed, _shape, "tunnel",
             intree_fails="what GRO takes is dropped between two SAs")

# -- a device that encrypts ----------------------------------------------------------------

SIM = "/sys/bus/netdevsim"
SIM_HERE, SIM_THERE = "192.168.123.3", "192.168.123.4"


@contextlib.contextmanager
def simulated():
    """The name of a netdevsim device, in the first namespace"""
    if impl.modprobe("-q", "netdevsim"):
        raise ktap.Skip("this kernel has no netdevsim")
    with open(f"{SIM}/new_device", "w", encoding="ascii") as file:
        file.write("7 1")
    nets = f"{SIM}/devices/netdevsim7/net"
    ktap.wait_for(lambda: os.path.isdir(nets) and os.listdir(nets), "a netdevsim device")
    try:
        yield os.listdir(nets)[0]
    finally:
        host.ip(lines=["xfrm state flush", "xfrm policy flush"])
        with open(f"{SIM}/del_device", "w", encoding="ascii") as file:
            file.write("7")


def check_offered(data, number, sent):
    """All of ESP but the encryption"""
    kind, fields = packet.split(data)[1:]
    ktap.equal((kind, fields[:8]), (packet.ESP, SPI_AB.to_bytes(4, "big") +
                                    number.to_bytes(4, "big")), "SPI and number")
    plain = fields[16:-16]
    pad = -(8 + len(sent) + 2) % 4
    ktap.equal(plain[8:8 + len(sent)], sent, "payload")
    ktap.equal(plain[8 + len(sent):], bytes(range(1, pad + 1)) + bytes([pad, packet.UDP]),
               "trailer")


@contextlib.contextmanager
def offered(proto, oseq):
    """What a device is given of an SA that it is to encrypt: a packet socket there.
    netdevsim takes none with ESN.
    """
    with simulated() as device:
        host.ip(lines=[
            f"addr add {SIM_HERE}/24 dev {device}", f"link set {device} up",
            f"neigh add {SIM_THERE} lladdr 00:11:22:33:44:55 dev {device}",
            host.state_line(SIM_HERE, SIM_THERE, SPI_AB, Combined(GCM).words(), oseq=oseq,
                            more=f"offload dev {device} dir out"),
            host.policy_line("out", SIM_HERE, f"{SIM_THERE} proto {proto}",
                             host.template(SIM_HERE, SIM_THERE))])
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as tap:
            tap.bind((device, 3))
            tap.settimeout(10)
            yield tap


def taken(tap):
    while True:
        data = tap.recv(1 << 16)
        if packet.version(data) == 4:
            return data


def by_device():
    with offered("udp", 99) as tap, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number, size in enumerate((1, 2, 3, 100, 1001), 100):
            sent = os.urandom(size)
            sock.sendto(sent, (SIM_THERE, PORT))
            check_offered(taken(tap), number, sent)


def connected():
    """A TCP socket to nobody, with a window (TCP_REPAIR)"""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.bind((SIM_HERE, 0))
    sock.connect((SIM_THERE, PORT))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW,
                    struct.pack("=5I", 0, 65535, 65535, 65535, 0))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
    return sock


def segments_by_device():
    """netdevsim has no TSO for what is encapsulated: it gets segments, each with its number."""
    with offered("tcp", 99) as tap, connected() as sock:
        sock.send(bytes(5 * 536))
        for number in range(100, 105):
            kind, fields = packet.split(taken(tap))[1:]
            ktap.equal((kind, fields[:8]), (packet.ESP, struct.pack("!II", SPI_AB, number)),
                       "SPI and number")


ktap.add("a device encrypts", by_device)
ktap.add("a device encrypts the segments of a GSO packet", segments_by_device)

ktap.main(PAIR.start, PAIR.stop)
