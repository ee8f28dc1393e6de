#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ESP: modes x families x algorithms x ESN x UDP encapsulation.

The peer is lib/peer.py, and Scapy where it knows the algorithm.  Each case sends
datagrams both ways and compares every byte; each has forged packets that must
not arrive; with ESN both directions run with a high half that is not zero.
"""

import os

from lib import host, ktap, packet
from lib.line import Rig
from lib.peer import Esp
from lib.shape import BEET, PORT_NATT, SPI_IN, SPI_OUT, T4IN4, T4IN6, T6IN6, TRANSPORT, TUNNEL, V4, V6
from lib.suite import CCM, CHACHA, CIPHERS, GCM, GMAC, Combined, Separate, cbc, chacha, gcm

SIZES = (1, 333, 1400)
START_ESN, START_32 = 68 << 32 | 0x01020304, 0x7fffff00
ABSENT = ("Function not implemented", "algorithm not found")


class MatrixRig(Rig):
    def install(self, shape, suite, esn, encap):
        start = START_ESN if esn else START_32
        try:
            self.dut.ip(*shape.lines(
                suite.words(), esn=esn, start=start,
                encap=(PORT_NATT, PORT_NATT) if encap else None))
        except host.IpError as error:
            if any(text in str(error) for text in ABSENT):
                raise ktap.Skip("not in this kernel") from error
            raise
        self.dut.wire.drain()
        self.sockets.drain()
        return start


RIG = MatrixRig()


def unwrap(shape, data, encap):
    """What the outer header, and UDP, carry: ESP"""
    shape.check_outer(data)
    _, proto, payload = packet.split(data)
    if not encap:
        ktap.equal(proto, packet.ESP, "protocol")
        return payload
    ktap.equal(proto, packet.UDP, "protocol")
    found = packet.udp_data(shape.here, shape.there, payload)
    ktap.check(found, "the outer UDP length or checksum is wrong")
    ktap.equal(found[:2], (PORT_NATT, PORT_NATT), "outer ports")
    zero = payload[6:8] == b"\0\0"
    ktap.equal(zero, shape.outer == 4, "the UDP checksum is zero (RFC 3948 2.1)")
    return found[2]


def wrap(shape, data, encap):
    """A packet from the peer that carries this ESP"""
    if not encap:
        return packet.ip(shape.there, shape.here, packet.ESP, data)
    check = 0 if shape.outer == 4 else None
    segment = packet.udp(shape.there, shape.here, PORT_NATT, PORT_NATT, data, check)
    return packet.ip(shape.there, shape.here, packet.UDP, segment)


def dut_sends(shape, suite, esn, encap, start):
    peer = Esp(suite, SPI_OUT, esn)
    ivs = set()
    for number, size in enumerate(SIZES, 1):
        data = os.urandom(size)
        RIG.sockets.send(shape, data)
        sent = RIG.dut.wire.receive((packet.ESP, packet.UDP))
        esp = unwrap(shape, sent, encap)
        inner, next_header, seq = peer.open(esp, start)
        ktap.equal(shape.from_dut(next_header, inner), data, "data on the wire")
        ktap.equal(seq, start + number, "sequence number")
        ivs.add(esp[8:8 + suite.ivlen])
    ktap.check(not suite.ivlen or len(ivs) == len(SIZES), "an IV was used twice")
    state = RIG.dut.state(shape.there, SPI_OUT)
    ktap.equal((state.packets, state.oseq), (len(SIZES), start + len(SIZES)),
               "packets and last number of the outbound state")


def forgeries(peer, suite, esn, shape, seq):
    """ESP that must not arrive"""
    next_header, inner = shape.to_dut(b"forged")
    if not suite.icvlen:
        return
    yield peer.seal(inner, next_header, seq, flip_icv=True)
    yield peer.seal(inner, next_header, seq, hashed_seq=seq + 1)
    if esn:
        for wrong in (1 << 32, -1 << 32, -68 << 32):
            yield peer.seal(inner, next_header, seq, hashed_seq=seq + wrong)


def sizes_received(shape, encap):
    """Over IPv6 the core's UDP code drops ESP of less than 40 octets, taking
    the IPv6 header for part of what is left (__xfrm6_udp_encap_rcv)"""
    return (21, *SIZES[1:]) if encap and shape.outer == 6 else SIZES


def dut_receives(shape, suite, esn, encap, start):
    peer = Esp(suite, SPI_IN, esn)
    forged = list(forgeries(peer, suite, esn, shape, start + 1))
    for esp in forged:
        RIG.dut.wire.send(wrap(shape, esp, encap))
    for number, size in enumerate(sizes_received(shape, encap), 1):
        data = os.urandom(size)
        next_header, inner = shape.to_dut(data)
        esp = peer.seal(inner, next_header, start + number)
        RIG.dut.wire.send(wrap(shape, esp, encap))
        ktap.equal(RIG.sockets.receive(shape), data, "data at the socket")
    state = RIG.dut.state(shape.here, SPI_IN)
    ktap.equal((state.packets, state.seq, state.failed),
               (len(SIZES), start + len(SIZES), len(forged)),
               "packets, last number and failures of the inbound state")


def both_ways(shape, suite, esn, encap):
    start = RIG.install(shape, suite, esn, encap)
    dut_sends(shape, suite, esn, encap, start)
    dut_receives(shape, suite, esn, encap, start)


def name_of(shape, name, esn, encap):
    return (f"{name}, {shape}, {'ESN' if esn else '32 bits'}"
            f"{', in UDP' if encap else ''}")


def add_matrix(name, maker, axes):
    for shape, esn, encap in axes:
        # made late: a cipher that this machine does not have skips its cases
        ktap.add(name_of(shape, name, esn, encap), late_both_ways, maker, shape,
                 esn, encap)


def late_both_ways(maker, shape, esn, encap):
    try:
        suite = maker()
    except (OSError, ValueError) as error:
        raise ktap.Skip(f"no cipher to compare with: {error}") from error
    both_ways(shape, suite, esn, encap)


ALL_AXES = [(shape, esn, encap) for shape in (*TRANSPORT, *TUNNEL, *BEET)
            for encap in (False, True) for esn in (False, True)]
FEW_AXES = [(V4, True, False), (T6IN6, False, False),
            (V6, True, True), (T4IN6, False, True)]
TWO_AXES = [(V6, False, False), (T4IN4, True, False)]


def add_suites():
    add_matrix("AES-GCM-128/128", gcm, ALL_AXES)
    add_matrix("AES-CBC-128, HMAC-SHA-256/128", cbc, ALL_AXES)
    for name, bits, keylen in ((GCM, 64, 16), (GCM, 96, 16), (GCM, 128, 24),
                               (GCM, 128, 32), (CCM, 64, 16), (CCM, 96, 16),
                               (CCM, 128, 16), (CCM, 128, 32), (GMAC, 128, 16),
                               (GMAC, 128, 32), (CHACHA, 128, 32)):
        add_matrix(f"{name}, key {keylen * 8}, ICV {bits}",
                   lambda n=name, b=bits, k=keylen: Combined(n, b, k), FEW_AXES)
    for enc in CIPHERS:
        if enc != "cbc(aes)":
            add_matrix(f"{enc}, hmac(sha256)/128",
                       lambda e=enc: Separate(e, "hmac(sha256)", 128), FEW_AXES)
    for enc, keylen in (("cbc(aes)", 24), ("cbc(aes)", 32), ("cbc(camellia)", 32),
                        ("cbc(blowfish)", 56), ("rfc3686(ctr(aes))", 36),
                        ("cbc(serpent)", 32), ("cbc(twofish)", 32)):
        add_matrix(f"{enc} key {keylen * 8}, hmac(sha256)/128",
                   lambda e=enc, k=keylen: Separate(e, "hmac(sha256)", 128, k),
                   TWO_AXES)
    for auth, bits in (("hmac(md5)", 96), ("hmac(md5)", 128), ("hmac(sha1)", 96),
                       ("hmac(sha1)", 160), ("hmac(sha256)", 96),
                       ("hmac(sha256)", 256), ("hmac(sha384)", 192),
                       ("hmac(sha384)", 384), ("hmac(sha512)", 256),
                       ("hmac(sha512)", 512), ("hmac(rmd160)", 96),
                       ("hmac(rmd160)", 160), ("xcbc(aes)", 96), ("xcbc(aes)", 128),
                       ("cmac(aes)", 96), ("cmac(aes)", 128), ("hmac(sm3)", 256)):
        add_matrix(f"cbc(aes), {auth}/{bits}",
                   lambda a=auth, b=bits: Separate("cbc(aes)", a, b), FEW_AXES)
    for enc in ("cbc(aes)", "rfc3686(ctr(aes))", "ecb(cipher_null)"):
        for auth in (None, "digest_null"):
            add_matrix(f"{enc}, {auth or 'no integrity algorithm'}",
                       lambda e=enc, a=auth: Separate(e, a), FEW_AXES)


# Scapy's names of algorithms; its ESN with a separate ICV hashes 32 bits only
SCAPY = {
    "AES-GCM": ("AES-GCM", None, gcm, True),
    "AES-CCM": ("AES-CCM", None, lambda: Combined(CCM), True),
    "ChaCha20-Poly1305": ("CHACHA20-POLY1305", None, chacha, True),
    "AES-CBC, HMAC-SHA-256": (
        "AES-CBC", "SHA2-256-128", cbc, False),
    "AES-CTR, HMAC-SHA-1": (
        "AES-CTR", "HMAC-SHA1-96",
        lambda: Separate("rfc3686(ctr(aes))", "hmac(sha1)", 96), False),
    "3DES, HMAC-MD5": (
        "3DES", "HMAC-MD5-96",
        lambda: Separate("cbc(des3_ede)", "hmac(md5)", 96), False),
    "NULL, HMAC-SHA-512": (
        "NULL", "SHA2-512-256",
        lambda: Separate("ecb(cipher_null)", "hmac(sha512)", 256), False),
    "AES-CBC, AES-CMAC": (
        "AES-CBC", "AES-CMAC-96",
        lambda: Separate("cbc(aes)", "cmac(aes)", 96), False),
}


def scapy_sa(shape, names, suite, spi, esn, here, there):
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP, SecurityAssociation

    kind = IP if shape.outer == 4 else IPv6
    key = suite.key if isinstance(suite, Combined) else suite.enc_key
    more = {"auth_algo": names[1], "auth_key": suite.auth_key} if names[1] else {}
    tunnel = kind(src=here, dst=there) if shape.mode == "tunnel" else None
    return SecurityAssociation(ESP, spi=spi, crypt_algo=names[0], crypt_key=key,
                               tunnel_header=tunnel, esn_en=esn,
                               esn=START_ESN >> 32, **more), kind


def scapy_opens(shape, sa, kind):
    data = os.urandom(333)
    RIG.sockets.send(shape, data)
    opened = bytes(sa.decrypt(kind(RIG.dut.wire.receive(packet.ESP))))
    _, next_header, inner = packet.split(opened)
    found = packet.udp_data(shape.inner_here, shape.inner_there, inner)
    ktap.equal((next_header, found and found[2]), (packet.UDP, data),
               "what Scapy decrypts")


def scapy_sends(shape, sa, kind, start):
    data = os.urandom(333)
    _, inner = shape.to_dut(data)
    if shape.mode != "tunnel":
        inner = packet.ip(shape.there, shape.here, packet.UDP, inner)
    whole = sa.encrypt(kind(inner), seq_num=start + 1 & 0xffffffff)
    RIG.dut.wire.send(bytes(whole))
    ktap.equal(RIG.sockets.receive(shape), data, "data of Scapy's packet")


def with_scapy(shape, names, esn):
    suite = names[2]()
    start = RIG.install(shape, suite, esn, False)
    there, here = (shape.there, shape.here), (shape.here, shape.there)
    sa, kind = scapy_sa(shape, names, suite, SPI_OUT, esn, *here)
    scapy_opens(shape, sa, kind)
    sa, kind = scapy_sa(shape, names, suite, SPI_IN, esn, *there)
    scapy_sends(shape, sa, kind, start)


def add_scapy():
    for name, names in SCAPY.items():
        for shape, esn in ((V4, False), (T6IN6, names[3]),
                           (V6, names[3])):
            ktap.add(f"Scapy: {name_of(shape, name, esn, False)}", with_scapy,
                     shape, names, esn)


add_suites()
add_scapy()
ktap.shorten(4)
ktap.main(RIG.start, RIG.stop)
