# SPDX-License-Identifier: GPL-2.0-only
"""States and events of XFRM over netlink: what `ip xfrm` does not print, and
reading without a process per look.

Layouts are those of linux/xfrm.h on a 64-bit machine.
"""

import os
import socket
import struct

from . import packet

NETLINK_XFRM = 6
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE = 1, 4, 0x100
NLMSG_ERROR = 2
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
NEWSA, DELSA, GETSA, NEWPOLICY, DELPOLICY, ALLOCSPI, ACQUIRE, EXPIRE, UPDPOLICY = (
    0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x19)
UPDSA, FLUSHSA, FLUSHPOLICY, NEWAE, GETAE, MIGRATE, MAPPING = (
    0x1a, 0x1c, 0x1d, 0x1e, 0x1f, 0x21, 0x26)
A_AUTH, A_CRYPT, A_ENCAP, A_TMPL, A_LTIME, A_REPLAY, A_COADDR, A_MIGRATE, A_AEAD = (
    1, 2, 4, 5, 9, 10, 14, 17, 18)
A_AUTH_TRUNC, A_MARK, A_TFCPAD, A_REPLAY_ESN, A_EXTRA_FLAGS, A_OFFLOAD, A_IF_ID, A_DIR = (
    20, 21, 22, 23, 24, 28, 31, 33)
MODE = {"transport": 0, "tunnel": 1, "ro": 2, "in_trigger": 3, "beet": 4}
DIRECTION = {"in": 0, "out": 1, "fwd": 2}
GROUP = {"acquire": 1, "expire": 2, "sa": 3, "policy": 4, "aevents": 5,
         "migrate": 7, "mapping": 8}
AE_RVAL, AE_LVAL, AE_CU = 2, 4, 16
OFFLOAD_INBOUND, OFFLOAD_PACKET = 2, 4
PROTO = {"esp": 50, "ah": 51, "comp": 108}


def pad16(octets):
    return octets + bytes(16 - len(octets))


def ends(*addresses):
    return b"".join(pad16(packet.address(a)) for a in addresses)


def udp_selector(src, dst, sport, dport):
    """Of a policy for one pair of UDP ports"""
    bits = 128 if ":" in src else 32
    return (ends(dst, src) + struct.pack("!4H", dport, 0xffff, sport, 0xffff) +
            struct.pack("=HBBB3xII", packet.family_of(src), bits, bits, packet.UDP,
                        0, 0))


def attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def attribute(kind, data):
    return (struct.pack("=HH", 4 + len(data), kind) + data +
            bytes(-len(data) % 4))


def sa_id(dst, spi, proto):
    family = packet.family_of(dst)
    return (pad16(packet.address(dst)) + struct.pack("!I", spi) +
            struct.pack("=HBx", family, PROTO[proto]))


def algorithm(kind, name, secret, *bits):
    """struct xfrm_algo, xfrm_algo_auth or xfrm_algo_aead as an attribute"""
    body = struct.pack("64sI", name.encode(), len(secret) * 8)
    return attribute(kind, body + b"".join(struct.pack("I", n) for n in bits) + secret)


ENDLESS = struct.pack("=8Q", *[(1 << 64) - 1] * 4, 0, 0, 0, 0)


def usersa(src, dst, spi, proto, mode, flags=0, window=0, seq=0, limits=ENDLESS,
           selector=None, reqid=1):
    """struct xfrm_usersa_info; proto and mode are names or numbers"""
    family = packet.family_of(src)
    if selector is None:
        selector = bytes(40) + struct.pack("=HBBB3xII", family, 0, 0, 0, 0, 0)
    return (selector + pad16(packet.address(dst)) +
            struct.pack("!IB3x", spi, PROTO.get(proto, proto)) +
            pad16(packet.address(src)) + limits + bytes(32 + 12) +
            struct.pack("=IIHBBB7x", seq, reqid, family, MODE.get(mode, mode), window, flags))


def template(src, dst, proto, mode, optional=False):
    """struct xfrm_user_tmpl; mode is a name or a number"""
    return (pad16(packet.address(dst)) + struct.pack("!IB3x", 0, PROTO[proto]) +
            struct.pack("=H2x", packet.family_of(src)) + pad16(packet.address(src)) +
            struct.pack("=IBBBxIII", 1, MODE.get(mode, mode), 0, optional, *[0xffffffff] * 3))


def userpolicy(selector, direction, *templates, priority=0, action=0):
    """struct xfrm_userpolicy_info and its templates"""
    return selector + ENDLESS + bytes(32) + struct.pack(
        "=IIBBBB4x", priority, 0, DIRECTION[direction], action, 0, 0) + attribute(A_TMPL, b"".join(templates))


def offload(index, flags):
    """struct xfrm_user_offload of the device with this index, as an attribute"""
    return attribute(A_OFFLOAD, struct.pack("=iB3x", index, flags))


def said(error):
    """What the kernel said when it refused; None when it is not the kernel's no"""
    return getattr(error, "__notes__", [None])[0]


class Replay:
    """Where an SA's window stands.

    seq, oseq: the last number received and sent, 64 bits with ESN.
    seen(n): is the number n behind seq marked as received.
    """

    def __init__(self, found):
        esn = found.get(A_REPLAY_ESN)
        if esn:
            words, oseq, seq, oseq_hi, seq_hi, self.window = struct.unpack(
                "=6I", esn[:24])
            self.seq, self.oseq = seq_hi << 32 | seq, oseq_hi << 32 | oseq
            self.words = struct.unpack(f"={words}I", esn[24:24 + 4 * words])
        else:
            self.oseq, self.seq, bitmap = struct.unpack(
                "=3I", found.get(A_REPLAY, bytes(12))[:12])
            self.words, self.window = (bitmap,), 32
        self.ring = bool(esn)

    def seen(self, behind=0):
        if not self.ring:
            return bool(self.words[0] >> behind & 1)
        top = (self.seq - 1 & 0xffffffff) % self.window
        bit = (top - behind) % self.window
        return bool(self.words[bit // 32] >> bit % 32 & 1)


class State(Replay):
    """An SA as the kernel describes it: bytes, packets, late, replayed,
    failed, window, seq, oseq, tfcpad, attributes."""

    def __init__(self, body):
        found = attributes(body[224:])
        super().__init__(found)
        self.attributes = found
        self.bytes, self.packets = struct.unpack("=QQ", body[160:176])
        self.late, self.replayed, self.failed = struct.unpack(
            "=3I", body[192:204])
        if not self.ring:
            self.window = body[215]
        self.tfcpad = int.from_bytes(found.get(A_TFCPAD, b""), "little")


class Event:
    """kind: a message type, such as EXPIRE; body: what follows its header."""

    def __init__(self, kind, body):
        self.kind = kind
        self.body = body

    def expire(self):
        """(SPI, was it the hard limit) of an EXPIRE"""
        return struct.unpack("!I", self.body[72:76])[0], bool(self.body[224])

    def mapping(self):
        """(SPI, new address, new port, old port) of a MAPPING"""
        spi, family = (struct.unpack("!I", self.body[16:20])[0],
                       struct.unpack("=H", self.body[20:22])[0])
        size = 4 if family == socket.AF_INET else 16
        old_port, new_port = struct.unpack("!HH", self.body[60:64])
        return (spi, packet.text_of(self.body[44:44 + size]), new_port, old_port)


class Socket:
    """Requests; with groups, also a listener for their events."""

    def __init__(self, *groups):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                    NETLINK_XFRM)
        mask = sum(1 << (GROUP[g] - 1) for g in groups)
        self.socket.bind((0, mask))
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        self.socket.settimeout(20)
        self.number = 0

    def close(self):
        self.socket.close()

    def request(self, kind, body, flags=NLM_F_ACK):
        self.send(kind, body, flags)
        return self.answer()

    def send(self, kind, body, flags=NLM_F_ACK):
        self.number += 1
        self.socket.send(struct.pack("=IHHII", 16 + len(body), kind,
                                     NLM_F_REQUEST | flags, self.number, 0) +
                         body)

    def answer(self):
        """To what was sent last; see said() for what a refusal holds."""
        while True:
            got, number, answer = self.message()
            if number == self.number:
                break
        error = -struct.unpack("=i", answer[:4])[0] if got == NLMSG_ERROR else 0
        if error:
            refusal = OSError(error, os.strerror(error))
            refusal.add_note(attributes(answer[20:]).get(1, b"").rstrip(b"\0").decode())
            raise refusal
        return answer

    def message(self):
        data = self.socket.recv(65536)
        length, kind, _, number, _ = struct.unpack("=IHHII", data[:16])
        return kind, number, data[16:length]

    def event(self, kind, seconds=3):
        """The next event of a kind, or None."""
        self.socket.settimeout(seconds)
        try:
            while True:
                got, _, body = self.message()
                if got == kind:
                    return Event(got, body)
        except TimeoutError:
            return None

    def get(self, dst, spi, proto="esp"):
        try:
            return State(self.request(GETSA, sa_id(dst, spi, proto), 0))
        except ProcessLookupError as error:
            raise LookupError(f"no {proto} state {spi:#x} to {dst}") from error

    def to_beet(self, dst, spi, proto, selector):
        """Makes an SA anew in BEET mode, which `ip` does not allow for AH."""
        sa = self.request(GETSA, sa_id(dst, spi, proto), 0)
        self.request(DELSA, sa_id(dst, spi, proto))
        self.request(NEWSA, selector + sa[56:214] + bytes([MODE["beet"]]) + sa[215:])

    def get_ae(self, src, dst, spi, proto="esp"):
        """Replay and lifetime as an IKE daemon reads them (XFRM_MSG_GETAE):
        the Replay, with bytes and packets."""
        body = (sa_id(dst, spi, proto) + pad16(packet.address(src)) +
                struct.pack("=II", AE_RVAL | AE_LVAL, 0))
        found = attributes(self.request(GETAE, body, 0)[48:])
        replay = Replay(found)
        replay.bytes, replay.packets = struct.unpack("=QQ", found[A_LTIME][:16])
        return replay

    def new_ae(self, src, dst, spi, seq, oseq, window, words, proto="esp"):
        """Sets the ESN window as MOBIKE does (XFRM_MSG_NEWAE)."""
        esn = struct.pack("=6I", len(words), oseq & 0xffffffff, seq & 0xffffffff,
                          oseq >> 32, seq >> 32, window)
        esn += struct.pack(f"={len(words)}I", *words)
        body = (sa_id(dst, spi, proto) + pad16(packet.address(src)) +
                struct.pack("=II", AE_CU, 0) + attribute(A_REPLAY_ESN, esn))
        self.request(NEWAE, body, NLM_F_ACK | NLM_F_REPLACE)

    def migrate(self, direction, selector, old, new, mode, proto="esp", reqid=1):
        """Moves a policy's SA to other addresses (XFRM_MSG_MIGRATE); old and new
        are (source, destination)."""
        move = (ends(*reversed(old), *reversed(new)) +
                struct.pack("=BBHIHH", PROTO[proto], MODE[mode], 0, reqid,
                            packet.family_of(old[0]), packet.family_of(new[0])))
        body = selector + struct.pack("=IB3x", 0, DIRECTION[direction])
        self.request(MIGRATE, body + attribute(A_MIGRATE, move))
