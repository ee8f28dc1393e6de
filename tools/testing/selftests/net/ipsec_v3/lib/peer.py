# SPDX-License-Identifier: GPL-2.0-only
"""ESP (RFC 4303) and AH (RFC 4302), written from the RFCs: the peer that shares
no code with the kernel.

	esp = Esp(suite.Combined(suite.GCM), spi=0x100, esn=True)
	data = esp.seal(inner, next_header, seq)	# what follows the IP header
	inner, next_header, seq = esp.open(data, near=seq)

Sequence numbers are 64 bits wide; without ESN the low half is all that counts.
What a hostile test wants to set wrong is a keyword.
"""

import struct

from . import packet
from .suite import Combined, Forged, new_iv, number

__all__ = ["Ah", "Esp", "Forged", "Malformed"]


class Malformed(Exception):
    """The packet breaks the RFC; the text says where."""


def near_number(low, near, esn):
    """The 64-bit number with this low half that is closest to near."""
    if not esn:
        return low
    high = near >> 32
    return min(((h << 32 | low) for h in (high - 1, high, high + 1) if h >= 0),
               key=lambda seq: abs(seq - near))


class Esp:
    def __init__(self, suite, spi, esn=False):
        self.suite = suite
        self.spi = spi
        self.esn = esn
        self.align = max(4, suite.block)

    def padding(self, length):
        return bytes(range(1, 1 + -(length + 2) % self.align))

    def seal(self, inner, next_header, seq, iv=None, tfc=b"", pad=None,
             pad_length=None, plain=None, hashed_seq=None, flip_icv=False,
             icv_cut=0):
        """A packet from its ESP header on.

        tfc:		octets of traffic flow confidentiality padding
        pad:		the padding, instead of 1, 2, 3 ... to the alignment
        pad_length:	what the pad length field says, instead of the truth
        plain:		everything that is encrypted, instead of all the above
        hashed_seq:	number that the ICV covers, when not the one sent
        flip_icv:	spoil one bit of the ICV
        icv_cut:	octets to leave out at the packet's end
        """
        if plain is None:
            if pad is None:
                pad = self.padding(len(inner) + len(tfc))
            if pad_length is None:
                pad_length = len(pad)
            plain = inner + tfc + pad + bytes([pad_length, next_header])
        iv = new_iv(self.suite.ivlen) if iv is None else iv
        hashed = seq if hashed_seq is None else hashed_seq
        data, icv = self.protect(hashed, iv, plain)
        if flip_icv:
            icv = icv[:-1] + bytes([icv[-1] ^ 1])
        sealed = number(self.spi) + number(seq) + iv + data + icv
        return sealed[:len(sealed) - icv_cut]

    def hashed_header(self, seq):
        """AAD of a combined mode (RFC 4106 5)"""
        high = number(seq >> 32) if self.esn else b""
        return number(self.spi) + high + number(seq)

    def separate_icv(self, seq, iv, data):
        """RFC 4303 2.8: the high half is hashed after the packet"""
        high = number(seq >> 32) if self.esn else b""
        return self.suite.icv(number(self.spi) + number(seq) + iv + data + high)

    def protect(self, seq, iv, plain):
        if isinstance(self.suite, Combined):
            return self.suite.seal(self.hashed_header(seq), iv, plain)
        data = self.suite.encrypt(iv, plain)
        return data, self.separate_icv(seq, iv, data)

    def unprotect(self, seq, iv, data, icv):
        if isinstance(self.suite, Combined):
            return self.suite.open(self.hashed_header(seq), iv, data, icv)
        if self.separate_icv(seq, iv, data) != icv:
            raise Forged
        return self.suite.decrypt(iv, data)

    def open(self, data, near=0):
        """(payload with any TFC padding, next header, sequence number)

        near: a number close to the packet's, to tell the high half.
        Forged for a wrong ICV, Malformed for what no sender may send.
        """
        spi, low = struct.unpack("!II", data[:8])
        if spi != self.spi:
            raise Malformed(f"SPI {spi:#x}, not {self.spi:#x}")
        seq = near_number(low, near, self.esn)
        start, end = 8 + self.suite.ivlen, len(data) - self.suite.icvlen
        if (end - start) % self.align or end - start < 2:
            raise Malformed(f"{end - start} octets of ciphertext")
        plain = self.unprotect(seq, data[8:start], data[start:end], data[end:])
        size = plain[-2]
        payload, pad = plain[:-2 - size], plain[-2 - size:-2]
        if size + 2 > len(plain) or pad != bytes(range(1, 1 + size)):
            raise Malformed(f"padding {pad.hex()} of {size} octets")
        return payload, plain[-1], seq


class Ah:
    def __init__(self, suite, spi, esn=False, align4=False):
        self.suite = suite
        self.spi = spi
        self.esn = esn
        self.align4 = align4
        self.padding = b""	# behind the ICV of the last packet opened

    def length(self, header):
        """Octets of an AH header behind this IP header: a multiple of 8, but 4
        in IPv4 when asked for (RFC 4302 2.6)"""
        unit = 4 if self.align4 and packet.version(header) == 4 else 8
        return 12 + self.suite.icvlen + -(12 + self.suite.icvlen) % unit

    def fixed(self, header, next_header, seq):
        return (bytes([next_header, self.length(header) // 4 - 2, 0, 0]) +
                number(self.spi) + number(seq))

    def icv(self, header, fixed, payload, seq, arrived, padding=None):
        """header: with its lengths right; padding: what follows the ICV, which
        the ICV covers as it is (RFC 4302 3.3.3.2.1)"""
        blank = bytes(self.length(header) - len(fixed))
        if padding:
            blank = blank[:-len(padding)] + padding
        high = number(seq >> 32) if self.esn else b""
        return self.suite.icv(canonical(header, arrived) + fixed + blank +
                              payload + high)

    def seal(self, header, next_header, payload, seq, hashed_seq=None,
             hashed_header=None, arrived=False, flip_icv=False):
        """A whole packet: header, AH, payload.

        header:		the IP header with options or extension headers
        hashed_header:	what the ICV covers, when not header
        arrived:	header is as the destination sees it: source routes and
			routing headers are done, home address exchanged
        """
        fixed = self.fixed(header, next_header, seq)
        size = self.length(header) + len(payload)
        hashed, _, _ = packet.split(packet.join(hashed_header or header,
                                                packet.AH, bytes(size)))
        covered = seq if hashed_seq is None else hashed_seq
        icv = self.icv(hashed, self.fixed(header, next_header, covered), payload,
                       covered, arrived)
        if flip_icv:
            icv = icv[:-1] + bytes([icv[-1] ^ 1])
        blank = bytes(self.length(header) - len(fixed) - len(icv))
        return packet.join(header, packet.AH, fixed + icv + blank + payload)

    def open(self, data, near=0, arrived=False):
        """(header with AH's next header put in, payload, sequence number)

        arrived: as for seal().
        """
        header, proto, rest = packet.split(data)
        if proto != packet.AH:
            raise Malformed(f"protocol {proto}")
        next_header, words, reserved, spi, low = struct.unpack("!BBHII", rest[:12])
        size = self.length(header)
        if spi != self.spi or reserved or (words + 2) * 4 != size:
            raise Malformed(f"SPI {spi:#x}, reserved {reserved}, length {words}")
        seq = near_number(low, near, self.esn)
        end = 12 + self.suite.icvlen
        icv, self.padding = rest[12:end], rest[end:size]
        if self.icv(header, rest[:12], rest[size:], seq, arrived,
                    self.padding) != icv:
            raise Forged
        return packet.set_protocol(header, next_header), rest[size:], seq


# RFC 4302 appendix A1: hashed as they are
IMMUTABLE_OPTIONS = {130, 133, 134, 148, 149}
SOURCE_ROUTES = {131, 137}
HOME_ADDRESS = 201


def canonical(header, arrived):
    """The IP header as AH hashes it (RFC 4302 3.3.3.1)"""
    if packet.version(header) == 4:
        return canonical4(header, arrived)
    return canonical6(header, arrived)


def canonical4(header, arrived):
    final = header[16:20]
    options, at = b"", 20
    while at < len(header):
        kind = header[at]
        if kind == 0:
            options += header[at:]
            break
        size = 1 if kind == 1 else header[at + 1]
        option = header[at:at + size]
        if kind in SOURCE_ROUTES and not arrived and option[2] <= size:
            final = option[-4:]
        keep = kind == 1 or kind in IMMUTABLE_OPTIONS
        options += option if keep else bytes(size)
        at += size
    return (header[:1] + b"\0" + header[2:6] + b"\0\0\0" + bytes([packet.AH]) +
            b"\0\0" + header[12:16] + final + options)


def canonical6(header, arrived):
    """A packet's chain when it arrives: RFC 4302 3.3.3.1.2, A2; RFC 6275 11.3.2"""
    src, dst = header[8:24], header[24:40]
    kind, at, chain = header[6], 40, b""
    while at < len(header):
        size = (header[at + 1] + 1) * 8
        extension = header[at:at + size]
        if kind == packet.ROUTING:
            extension, dst = arrived_routing(extension, dst)
        else:
            extension, src = arrived_options(extension, src, arrived)
        kind, at, chain = header[at], at + size, chain + extension
    return (b"\x60\0\0\0" + header[4:7] + b"\0" + src + dst + chain)


def arrived_routing(extension, dst):
    """(header, destination) once all segments are done"""
    left = extension[3]
    if not left:
        return extension, dst
    hops = [extension[i:i + 16] for i in range(8, len(extension), 16)]
    before, ahead = hops[:len(hops) - left], hops[len(hops) - left:]
    visited = before + [dst] + ahead[:-1]
    return extension[:3] + b"\0" + extension[4:8] + b"".join(visited), ahead[-1]


def arrived_options(extension, src, arrived):
    """(header with mutable data zeroed, source with the home address in it)"""
    out, at = extension[:2], 2
    while at < len(extension):
        if extension[at] == 0:
            out, at = out + b"\0", at + 1
            continue
        kind, size = extension[at], extension[at + 1]
        data = extension[at + 2:at + 2 + size]
        if kind & 0x20:
            data = bytes(size)
        elif kind == HOME_ADDRESS and not arrived:
            data, src = src, data
        out += bytes([kind, size]) + data
        at += 2 + size
    return out, src
