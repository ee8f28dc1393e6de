#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""GSO and GRO: TCP between two hosts whose packets cross the stack whole, segments with
the number that is theirs, and a device that encrypts.
"""

import contextlib
import os
import socket
import struct
import time

from lib import bpf, cryptd, host, impl, ktap, line, nic, packet, xfrm
from lib.pair import MTU, PORT, SIZE, SPI_AB, Figures, Pair, Tap, esp
from lib.peer import Esp
from lib.shape import T4IN4, T6IN4, T6IN6, TRANSPORT, TUNNEL, V4, V6
from lib.suite import GCM, Separate, cbc, chacha, gcm

EDGE = (68 << 32 | 0xffffffff) - 40
TCP_REPAIR, TCP_REPAIR_WINDOW, TCP_REPAIR_OFF_NO_WP = 19, 29, -1

RIG = line.Rig()
PAIR = Pair()


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


def gso(shape, maker, esn, options=()):
    suite = maker()
    start = EDGE if esn else 1000
    PAIR.install(shape, [esp(shape.mode)], suite, start, esn)
    with Tap(PAIR.a) as tap:
        done = Figures(PAIR, shape, start, options=options)
        found = [data for data in tap.packets() if packet.split(data)[1] == packet.ESP]
    done.arrived()
    ktap.equal(len(found), done.segments, "segments on the wire")
    # in-tree decrypts in place what the tap has, too
    if not impl.INTREE:
        verify(shape, Esp(suite, SPI_AB, esn), found, start)
    state = PAIR.a.state(shape.there, SPI_AB)
    ktap.equal(state.oseq, start + len(found), "last number of the sender")
    done.whole()


SUITES = {
    "AES-GCM": gcm,
    "ChaCha20-Poly1305": chacha,
    "AES-CBC, HMAC-SHA-256": cbc,
    "NULL, HMAC-SHA-256": lambda: Separate("ecb(cipher_null)", "hmac(sha256)", 128),
}

for _name, _maker in SUITES.items():
    for _shape in (*TRANSPORT, *TUNNEL) if _name == "AES-GCM" else (V6, T4IN4):
        for _esn in (True, False):
            ktap.add(f"TCP whole, {_name}, {_shape}, "
                     f"{'ESN over 2^32' if _esn else '32 bits'}", gso, _shape, _maker, _esn,
                     intree_fails="a wrong high half at 2^32" if _esn else None)


for _shape in (V4, V6, T6IN4):
    ktap.add(f"TCP whole, odd segments, {_shape}", gso, _shape, SUITES["AES-GCM"], False,
             [(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1001)])


def gso_async(shape):
    """Segments that the crypto API keeps; cryptd has a queue per CPU and no order"""
    with cryptd.instance(f"cryptd({GCM})", GCM):
        try:
            PAIR.install(shape, [esp(shape.mode)], gcm(), EDGE, True)
            Figures(PAIR, shape, EDGE).arrived()
        finally:
            PAIR.flush()


for _shape in (V4, T6IN6):
    ktap.add(f"TCP over cryptd, {_shape}", gso_async, _shape,
             intree_fails="a wrong high half at 2^32")


def overflow():
    """32-bit numbers end in the middle of a GSO packet: nothing wraps"""
    shape = V4
    PAIR.install(shape, [esp("transport")], gcm(), 0xffffffff - 20)
    with Tap(PAIR.a) as tap:
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


def from_outside():
    """A packet forwarded for a sender that does not say how many segments it will be"""
    shape, suite, start = T4IN4, gcm(), EDGE + 37
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
        sock.setsockopt(nic.SOL_PACKET, nic.PACKET_VNET_HDR, 1)
        sock.bind(("wire", 0x800))
        RIG.dut.wire.drain()
        for number in range(1, 16, 5):
            virtio, data = packet.whole_tcp(shape.there, shape.inner_there, 5000, 1000)
            sock.send(virtio + RIG.dut.wire.header + b"\x08\0" + data)
            for n in range(number, number + 5):
                inner, _, seq = peer.open(packet.split(RIG.dut.wire.receive(packet.ESP))[2],
                                          start + n)
                ktap.equal((len(inner), seq), (1040, start + n), "size and number")
    ktap.equal(RIG.dut.state(shape.there, SPI_AB).oseq, start + 15, "last number")
    host.ethtool(RIG.dut.far, "wire", "tso", "off")


ktap.add("GSO from outside, forwarded", from_outside,
         intree_fails="sequence numbers are used more than once")


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
            host.state_line(SIM_HERE, SIM_THERE, SPI_AB, gcm().words(), oseq=oseq,
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


def connected(here, there):
    """A TCP socket to nobody, with a window (TCP_REPAIR)"""
    sock = socket.socket(packet.family_of(here))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.bind((here, 0))
    sock.connect((there, PORT))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW,
                    struct.pack("=5I", 0, 65535, 65535, 65535, 0))
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
    return sock


def segments_by_device():
    """netdevsim has no TSO for what is encapsulated: it gets segments, each with its number."""
    with offered("tcp", 99) as tap, connected(SIM_HERE, SIM_THERE) as sock:
        sock.send(bytes(5 * 536))
        for number in range(100, 105):
            kind, fields = packet.split(taken(tap))[1:]
            ktap.equal((kind, fields[:8]), (packet.ESP, struct.pack("!II", SPI_AB, number)),
                       "SPI and number")


ktap.add("a device encrypts", by_device)
ktap.add("a device encrypts the segments of a GSO packet", segments_by_device)


# -- a device that decrypts, and segments ------------------------------------------------

SEGMENT = {4: 536, 6: 1220}	# of TCP where the other side has not said how much it takes
BEHIND, BEYOND = "198.51.100.1", "203.0.113.1"


def nic_datagram(sent, family=4):
    here, there = nic.ENDS[family]
    return packet.udp(there, here, PORT, PORT, sent)


def by_nic(family, esn):
    """It decrypts; the number's high half is the core's to know."""
    start = EDGE if esn else 1000
    here, there = nic.ENDS[family]
    with nic.plugged() as dut, dut.udp(here, PORT) as sock:
        dut.ip(nic.state_in(gcm(), family, esn=esn, seq=start, window=64))
        for number, size in enumerate((1, 2, 3, 100, 1001) * 10, 1):
            sent = os.urandom(size)
            dut.write(packet.ip(there, here, packet.ESP,
                                nic.decrypted(start + number, nic_datagram(sent, family), packet.UDP)))
            ktap.equal(sock.recv(2000), sent, "data")
        state = dut.state(here, nic.SPI_IN)
        ktap.equal((state.seq, state.packets), (start + 50, 50), "last number, packets")


def bad_by_nic(wanted, status=nic.SUCCESS, next_header=packet.UDP, pad_length=None):
    with nic.plugged() as dut, dut.udp(nic.HERE, PORT) as sock:
        dut.ip(nic.state_in(gcm(), seq=1000))
        before = dut.counters()
        with nic.status(status):
            dut.write(packet.ip4(nic.THERE, nic.HERE, packet.ESP, nic.decrypted(
                1001, nic_datagram(b"bad"), next_header, pad_length)))
        dut.write(packet.ip4(nic.THERE, nic.HERE, packet.ESP,
                             nic.decrypted(1002, nic_datagram(b"good"), packet.UDP)))
        ktap.equal(sock.recv(2000), b"good", "data")
        ktap.equal(host.delta(before, dut.counters()), line.wanted_here(wanted), "counters")
        ktap.equal(dut.state(nic.HERE, nic.SPI_IN).packets, 1 if "XfrmInStateProtoError" in wanted else 2,
                   "packets of the SA")
        ktap.equal(dut.sent(), None, "what was answered")


def segments_by_nic(family, esn):
    """It gets the packet whole, and with it the first number of as many as it will send."""
    start, size = EDGE if esn else 99, SEGMENT[family]
    here, there = nic.ENDS[family]
    with nic.plugged() as dut:
        dut.ip(nic.state_out(gcm(), family, esn=esn, oseq=start),
               host.policy_line("out", here, f"{there} proto tcp", host.template(here, there)))
        with dut.inside():
            sock = connected(here, there)
        with sock:
            sock.send(bytes(5 * size))
            virtio, data = dut.offered(family)
            ktap.equal(dut.state(there, nic.SPI_OUT).oseq, start + 5, "last number")
        ktap.equal(struct.unpack_from("=H", virtio, 4)[0], size, "size of a segment")
        _, kind, fields = packet.split(data)
        ktap.equal((kind, fields[:8]), (packet.ESP, struct.pack("!II", nic.SPI_OUT, start + 1 & 0xffffffff)),
                   "SPI and number")
        ktap.check(len(fields) > 5 * size, f"{len(fields)} bytes")


def by_bpf_route(state):
    """A program may put headers before ESP, so it cannot wait for a device that would take the packet whole."""
    here, there = nic.ENDS[4]
    with nic.plugged() as dut:
        dut.ip(state, host.policy_line("out", here, f"{there} proto tcp", host.template(here, there)),
               f"route add {there} encap bpf xmit pinned {bpf.pinned('nothing')} dev {nic.DEVICE}")
        with dut.inside():
            sock = connected(here, there)
        with sock:
            sock.send(bytes(5 * SEGMENT[4]))
            for number in range(100, 105):
                _, data = dut.sent() or ktap.fail("nothing was sent")
                inner, next_header, seq = Esp(gcm(), nic.SPI_OUT, False).open(packet.split(data)[2], number)
                ktap.equal((next_header, seq, len(inner) - (inner[12] >> 4) * 4), (socket.IPPROTO_TCP, number, SEGMENT[4]),
                           "what it carries, its number, its size")


def software_instead(family):
    """A device is relied on for ESP and for the sum inside it, and then told not to do ESP"""
    here, there = nic.ENDS[family]
    suite = gcm()
    with nic.plugged() as dut, dut.udp(here, PORT) as sock:
        dut.ip(nic.state_out(suite, family, oseq=99),
               host.policy_line("out", here, f"{there} proto udp", host.template(here, there)))
        host.ethtool(dut.name, nic.DEVICE, "esp-hw-offload", "off")
        sock.sendto(b"with a sum", (there, PORT))
        _, data = dut.offered(family)
        inner, next_header, seq = Esp(suite, nic.SPI_OUT, False).open(packet.split(data)[2], 100)
        ktap.equal((next_header, seq), (packet.UDP, 100), "what it carries, and number")
        ktap.equal(packet.udp_data(here, there, inner), (PORT, PORT, b"with a sum"), "datagram, its sum right")


def from_outside_by_nic(start, wanted):
    """Nobody has said how many segments it will be: they get numbers, or it is dropped."""
    with nic.plugged() as dut:
        dut.sysctl("net.ipv4.ip_forward", 1)
        dut.ip(f"route add {BEYOND} via {nic.THERE}", f"route add {BEHIND} via {nic.THERE}",
               nic.state_out(gcm(), mode="tunnel", oseq=start),
               host.policy_line("out", BEHIND, BEYOND, host.template(nic.HERE, nic.THERE, mode="tunnel")))
        before = dut.counters()
        virtio, data = packet.whole_tcp(BEHIND, BEYOND, 5000, 1000)
        dut.write(data, virtio)
        if not wanted:
            _, data = dut.offered()
            ktap.equal(packet.split(data)[2][:8], struct.pack("!II", nic.SPI_OUT, start + 1), "SPI and number")
            ktap.equal(dut.state(nic.THERE, nic.SPI_OUT).oseq, start + 5, "last number")
        time.sleep(0.3)
        ktap.equal(host.delta(before, dut.counters()), wanted, "counters")


# -- a device that does all of IPsec -------------------------------------------------------

def all_by_nic(dut, family, direction):
    """An SA and a policy, which `ip` of 6.1 has no word for"""
    here, there = nic.ENDS[family]
    src, dst, spi = (here, there, nic.SPI_OUT) if direction == "out" else (there, here, nic.SPI_IN)
    flags = xfrm.OFFLOAD_PACKET | (xfrm.OFFLOAD_INBOUND if direction == "in" else 0)
    sa = xfrm.usersa(src, dst, spi, "esp", "transport")
    selector = xfrm.udp_selector(src, dst, PORT, PORT)
    policy = xfrm.userpolicy(selector, direction, xfrm.template(src, dst, "esp", "transport"))
    try:
        dut.xfrm().request(xfrm.NEWSA, sa + xfrm.algorithm(xfrm.A_AEAD, GCM, bytes(20), 128) +
                           xfrm.offload(dut.index(), flags))
    except OSError as error:
        if host.RELEASE == (6, 1):
            raise ktap.Skip("this kernel's devices cannot do all of IPsec") from error
        raise
    dut.xfrm().request(xfrm.NEWPOLICY, policy + xfrm.offload(dut.index(), xfrm.OFFLOAD_PACKET))


def whole_by_nic(family):
    """It is given what IPsec has not touched, and nothing of the module is called; what it has decrypted and
    taken out of ESP is received as it is, if it says that it was right.  The core counts none that was not."""
    here, there = nic.ENDS[family]
    with nic.plugged() as dut, dut.udp(here, PORT) as sock:
        all_by_nic(dut, family, "out")
        all_by_nic(dut, family, "in")
        before = dut.counters()
        sock.sendto(b"to be encrypted", (there, PORT))
        _, data = dut.offered(family, packet.UDP)
        ktap.equal(packet.split(data)[2][8:], b"to be encrypted", "what the device was given")
        for status, sent in ((nic.SUCCESS, b"decrypted"), (nic.AUTH_FAILED, b"forged"), (nic.SUCCESS, b"the last")):
            with nic.status(status):
                dut.write(packet.ip(there, here, packet.UDP, nic_datagram(sent, family)))
            if status == nic.SUCCESS:
                ktap.equal(sock.recv(2000), sent, "data")
        ktap.equal(host.delta(before, dut.counters()), {}, "counters")
        dut.flush()
        ktap.check(dut.lacks_state(there, nic.SPI_OUT), "the SA is there still")


for _family in nic.ENDS:
    for _esn in (True, False):
        _name = f"IPv{_family}, {'ESN over 2^32' if _esn else '32 bits'}"
        ktap.add(f"a device decrypts, {_name}", by_nic, _family, _esn)
        ktap.add(f"a device segments and encrypts, {_name}", segments_by_nic, _family, _esn)
    ktap.add(f"a device does all of IPsec, IPv{_family}", whole_by_nic, _family)
    ktap.add(f"a device does ESP no more, IPv{_family}", software_instead, _family,
             intree_fails="nobody fills in the sum inside")
ktap.add("a device does the SA's ESP, a route of BPF", by_bpf_route, nic.state_out(gcm(), oseq=99),
         intree_fails="a packet that is not encrypted, or not whole")
ktap.add("a device does other SAs' ESP, a route of BPF", by_bpf_route,
         host.state_line(*nic.ENDS[4], nic.SPI_OUT, gcm().words(), oseq=99))
ktap.add("a device decrypts: bad padding", bad_by_nic, {"XfrmInStateProtoError": 1, "RxPadLength": 1},
         nic.SUCCESS, packet.UDP, 255)
ktap.add("a device decrypts: a dummy packet", bad_by_nic, {"RxDummy": 1}, nic.SUCCESS, packet.NONE)
ktap.add("a device says that the ICV was wrong", bad_by_nic, {"XfrmInStateProtoError": 1}, nic.AUTH_FAILED)
ktap.add("GSO from outside, to a device that segments", from_outside_by_nic, 99, {})
ktap.add("32-bit numbers end in a packet that a device segments", from_outside_by_nic, 0xffffffff - 3,
         {"XfrmOutStateSeqError": 1})


def start():
    PAIR.start()
    RIG.start(mtu=2000)


def stop():
    RIG.stop()
    PAIR.stop()


ktap.main(start, stop)
