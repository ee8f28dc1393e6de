# SPDX-License-Identifier: GPL-2.0-only
"""IP, UDP and ICMP packets as bytes.

Every field that a hostile test wants to set wrong is a parameter.
"""

import itertools
import os
import socket
import struct

IPIP, TCP, UDP, IPV6, ROUTING, GRE, ESP, AH, ICMP6, NONE, DSTOPTS, IPCOMP = (
    4, 6, 17, 41, 43, 47, 50, 51, 58, 59, 60, 108)
HOPOPTS, ICMP, FRAGMENT = 0, 1, 44


def address(text):
    return socket.inet_pton(family_of(text), text)


def family_of(text):
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def text_of(octets):
    return socket.inet_ntop(socket.AF_INET6 if len(octets) == 16 else
                            socket.AF_INET, octets)


def checksum(data):
    """RFC 1071, ready to be stored"""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo(src, dst, proto, length):
    if len(src) == 16:
        return src + dst + struct.pack("!II", length, proto)
    return src + dst + struct.pack("!HH", proto, length)


def udp(src, dst, sport, dport, data, check=None):
    """check: None computes it, a number is stored as it is"""
    length = 8 + len(data)
    header = struct.pack("!HHHH", sport, dport, length, 0)
    if check is None:
        check = checksum(pseudo(address(src), address(dst), UDP, length) +
                         header + data) or 0xffff
    return header[:6] + struct.pack("!H", check) + data


def ip4(src, dst, proto, payload, ttl=64, tos=0, options=b"", ident=1,
        fragment=0x4000):
    """fragment: flags and offset, don't-fragment unless told"""
    hlen = 20 + len(options)
    header = struct.pack("!BBHHHBBH4s4s", 0x40 | hlen // 4, tos,
                         hlen + len(payload), ident, fragment, ttl, proto, 0,
                         address(src), address(dst)) + options
    return ip4_refresh(header) + payload


def ip4_refresh(packet):
    """packet with its header's checksum right again"""
    hlen = (packet[0] & 15) * 4
    header = packet[:10] + b"\0\0" + packet[12:hlen]
    return (header[:10] + struct.pack("!H", checksum(header)) + header[12:] +
            packet[hlen:])


def ip6(src, dst, nexthdr, payload, hops=64, tclass=0, flow=0):
    """nexthdr names the first header of payload, extension headers included"""
    return struct.pack("!IHBB", 6 << 28 | tclass << 20 | flow, len(payload),
                       nexthdr, hops) + address(src) + address(dst) + payload


def ip(src, dst, proto, payload):
    build = ip6 if ":" in src else ip4
    return build(src, dst, proto, payload)


def ext6(nexthdr, body):
    """hop-by-hop or destination options, body padded to 8 octets with PadN"""
    pad = -(2 + len(body)) % 8
    if pad == 1:
        body += b"\0"
    elif pad:
        body += bytes([1, pad - 2]) + bytes(pad - 2)
    return bytes([nexthdr, (2 + len(body)) // 8 - 1]) + body


def version(packet):
    return packet[0] >> 4


def split(packet):
    """(IP header with its options or extension headers, protocol, payload)"""
    if version(packet) == 4:
        hlen = (packet[0] & 15) * 4
        total = struct.unpack("!H", packet[2:4])[0]
        return packet[:hlen], packet[9], packet[hlen:total]
    end = 40 + struct.unpack("!H", packet[4:6])[0]
    at, proto = 40, packet[6]
    while proto in (HOPOPTS, ROUTING, DSTOPTS):
        proto, at = packet[at], at + (packet[at + 1] + 1) * 8
    return packet[:at], proto, packet[at:end]


def source(packet):
    return text_of(packet[12:16] if version(packet) == 4 else packet[8:24])


def destination(packet):
    return text_of(packet[16:20] if version(packet) == 4 else packet[24:40])


def set_protocol(header, proto):
    """header, its chain now ending in proto"""
    header = bytearray(header)
    if version(header) == 4:
        header[9] = proto
        return bytes(header)
    at, field = 40, 6
    while at < len(header):
        field, at = at, at + (header[at + 1] + 1) * 8
    header[field] = proto
    return bytes(header)


def join(header, proto, payload):
    """split() backwards: lengths and checksum made right"""
    header = bytearray(set_protocol(header, proto))
    if version(header) == 4:
        header[2:4] = struct.pack("!H", len(header) + len(payload))
        return ip4_refresh(bytes(header) + payload)
    header[4:6] = struct.pack("!H", len(header) - 40 + len(payload))
    return bytes(header) + payload


IDENT = itertools.count(1)


def fragments(data, points):
    """data as IP fragments that end at these offsets of its payload

    AH hashes the identification of IPv4, so that stays.
    """
    header, proto, payload = split(data)
    ends = [*points, len(payload)]
    ident = int.from_bytes(header[4:6], "big") if version(data) == 4 else next(IDENT)
    pieces = []
    for start, end in zip([0, *points], ends):
        more = end != len(payload)
        if version(data) == 4:
            pieces.append(ip4(source(data), destination(data), proto, payload[start:end],
                              ident=ident,
                              fragment=start // 8 | (0x2000 if more else 0)))
        else:
            head = struct.pack("!BBHI", proto, 0, start | more, ident)
            pieces.append(ip6(source(data), destination(data), FRAGMENT,
                              head + payload[start:end]))
    return pieces


def udp_data(src, dst, segment):
    """(source port, destination port, data); None for a wrong checksum"""
    sport, dport, length, check = struct.unpack("!HHHH", segment[:8])
    if length != len(segment):
        return None
    if check and checksum(pseudo(address(src), address(dst), UDP, length) +
                          segment):
        return None
    return sport, dport, segment[8:]


def too_big(src, dst, mtu, about):
    """ICMP fragmentation needed, or ICMPv6 packet too big"""
    if ":" in src:
        body = struct.pack("!BBHI", 2, 0, 0, mtu) + about[:1200]
        check = checksum(pseudo(address(src), address(dst), ICMP6, len(body)) +
                         body)
        proto = ICMP6
    else:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + about[:548]
        check, proto = checksum(body), ICMP
    body = body[:2] + struct.pack("!H", check) + body[4:]
    return ip(src, dst, proto, body)


def whole_tcp(src, dst, size, segment, port=5555, link=14):
    """An IPv4 TCP packet, and the header of virtio that says how to segment it behind so
    many bytes of another header"""
    header = struct.pack("!HHIIBBHHH", port, port, 1, 1, 5 << 4, 16, 512, 0, 0)
    check = ~checksum(pseudo(address(src), address(dst), TCP, len(header) + size)) & 0xffff
    header = header[:16] + struct.pack("!H", check) + header[18:]
    data = ip4(src, dst, TCP, header + os.urandom(size))
    return struct.pack("=BBHHHH", 1, 1, link + 40, segment, link + 20, 16), data
