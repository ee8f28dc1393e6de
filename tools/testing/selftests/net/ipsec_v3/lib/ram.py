# SPDX-License-Identifier: GPL-2.0-only
"""What all of the machine's memory holds, in use or free.

	secret = Secret(16)		# made up here; secret.hex() is for `ip`
	found = Ram().find(secret)	# {secret: [what lies in front of it, ...]}

Who looks for octets holds them himself.  So a secret is kept masked, and what is looked
for is its first eight octets; what follows those is compared masked, too.
"""

import os
import struct

from . import ktap

MASK = 0xa5
HEAD = 8
CHUNK = 512 << 10
FRONT = 80		# octets in front of a find
MARGIN = 128		# of a chunk, seen with the one before as well
PT_LOAD = 1
TEXT = 0xffffffff80000000	# mapped once more from here
UNMAPPED = (1 << 64) - 1
PATH = "/proc/kcore"


def masked(octets):
    return bytes(octet ^ MASK for octet in octets)


class Secret:
    """Random octets, or those that are given masked"""

    def __init__(self, size=0, octets=None):
        self.masked = octets or os.urandom(size)
        self.rest = self.masked[HEAD:]

    def hex(self):
        return "0x" + "".join(f"{octet ^ MASK:02x}" for octet in self.masked)

    def at(self, view, place):
        """Is all of it there?"""
        return masked(view[place + HEAD:place + HEAD + len(self.rest)]) == self.rest

    def head(self):
        return masked(self.masked[:HEAD])


class Ram:
    """The kernel's direct mapping, by way of /proc/kcore"""

    def __init__(self):
        if not os.path.exists(PATH):
            raise ktap.Skip(f"this kernel has no {PATH}")
        self.buffer = bytearray(CHUNK + 2 * MARGIN)
        self.zeros = bytes(len(self.buffer))

    @staticmethod
    def pieces(fd):
        """(offset in the file, octets) of what is memory"""
        header = os.pread(fd, 64, 0)
        table, = struct.unpack("=Q", header[32:40])
        size, count = struct.unpack("=HH", header[54:58])
        for n in range(count):
            kind, _, offset, virtual, physical, length = struct.unpack(
                "=IIQQQQ", os.pread(fd, 40, table + n * size))
            if kind == PT_LOAD and physical != UNMAPPED and virtual < TEXT:
                yield offset, length

    def chunks(self, fd):
        """(octets in front, octets to look at): what the buffer holds now"""
        for offset, length in self.pieces(fd):
            for at in range(0, length, CHUNK):
                front = min(at, MARGIN)
                wanted = min(front + CHUNK + MARGIN, length - at + front)
                view = memoryview(self.buffer)[:wanted]
                got = os.preadv(fd, [view], offset + at - front)
                view.release()
                if self.buffer != self.zeros:	# nobody has used most of it yet
                    yield front, min(CHUNK, got - front)

    def find(self, *secrets):
        """{secret: [the octets in front of each copy]}"""
        heads = [(secret, secret.head()) for secret in secrets]
        found = {secret: [] for secret in secrets}
        fd = os.open(PATH, os.O_RDONLY)
        try:
            for front, length in self.chunks(fd):
                for secret, head in heads:
                    found[secret] += self.look(secret, head, front, front + length)
                if any(found.values()):
                    self.buffer[:] = self.zeros	# the buffer is memory too
        finally:
            os.close(fd)
        return found

    def look(self, secret, head, start, end):
        """Of one secret in the buffer"""
        place = self.buffer.find(head, start, end + HEAD - 1)
        while place >= 0:
            if secret.at(self.buffer, place):
                yield self.buffer[max(0, place - FRONT):place]
            place = self.buffer.find(head, place + 1, end + HEAD - 1)
