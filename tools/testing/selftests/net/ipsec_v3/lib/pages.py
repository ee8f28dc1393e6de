# SPDX-License-Identifier: GPL-2.0-only
"""Packets that lie in pages, as NICs deliver them.

	pages = Pages("wire", header)		# Wire.header
	pages.send(data)			# all of the IP packet is in one page
	pages.send(data, linear=20, first=4)	# its first 20 octets are in the linear
						# part, 4 more at the end of a page
	pages.check()				# they are as they were sent

The kernel takes them from a ring that this process shares with it, and copies the
linear part only (PACKET_TX_RING).  6.1.192 and 6.12.117 copy the pages, too, before another
device receives them, so that check() can find something on older kernels only; pages that
are somebody's are in ownership.py.
"""

import mmap
import socket
import struct

from . import ktap, packet, wire

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_VNET_HDR, PACKET_TX_HAS_OFF = (
    263, 10, 13, 15, 19)
TPACKET_V2, SEND_REQUEST = 1, 1
VIRTIO = struct.Struct("=BBHHHH")
PAGE = mmap.PAGESIZE
FRAME, HEADER = 4 * PAGE, 32	# octets, and those in front that are the kernel's


class Pages:
    def __init__(self, device, header, frames=16):
        """header: of Ethernet, without the type"""
        self.header, self.frames, self.number, self.kept = header, frames, 0, {}
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option, value in ((PACKET_VERSION, TPACKET_V2), (PACKET_VNET_HDR, 1),
                              (PACKET_TX_HAS_OFF, 1)):
            self.socket.setsockopt(SOL_PACKET, option, value)
        self.socket.setsockopt(SOL_PACKET, PACKET_TX_RING,
                               struct.pack("=IIII", FRAME, frames, FRAME, frames))
        self.ring = mmap.mmap(self.socket.fileno(), FRAME * frames)
        self.socket.bind((device, 0))

    def close(self):
        self.ring.close()
        self.socket.close()

    def put(self, data, linear=0, first=PAGE, version=None):
        """Into the next frame, for flush(); at most all of them.  version: as for Wire.send()"""
        kind = wire.ETH_IP if (version or packet.version(data)) == 4 else wire.ETH_IPV6
        front = self.header + struct.pack("!H", kind)
        linear = min(len(front) + linear, len(front) + len(data))
        whole = VIRTIO.pack(0, 0, linear, 0, 0, 0) + front + data
        start = self.number % self.frames * FRAME
        at = 2 * PAGE - first - linear - VIRTIO.size
        self.compare(start)
        self.ring[start + at:start + at + len(whole)] = whole
        self.kept[start] = self.content(start)
        # struct tpacket2_hdr: status, length, snap length, where it begins
        self.ring[start:start + 14] = struct.pack("=IIIH", SEND_REQUEST, len(whole), 0, at)
        self.number += 1

    def content(self, start):
        return self.ring[start + HEADER:start + FRAME]

    def compare(self, start):
        ktap.check(self.kept.get(start) in (None, self.content(start)),
                   "a page has changed that belongs to its sender")

    def check(self):
        """Nobody has written into pages that he was only to read."""
        for start in self.kept:
            self.compare(start)

    def flush(self):
        self.socket.send(b"")

    def send(self, data, linear=0, first=PAGE, version=None):
        self.put(data, linear, first, version)
        self.flush()
