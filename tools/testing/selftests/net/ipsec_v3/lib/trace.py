# SPDX-License-Identifier: GPL-2.0-only
"""The tracepoint ipsec_v3:drop, in a buffer of its own.

	with Trace() as trace:
		...
		trace.lines()		# [(protocol, SPI, sequence number, reason)]
"""

import contextlib
import glob
import os
import re

from . import impl

TRACING = "/sys/kernel/tracing/instances/ipsec_v3_drops"


class Trace:
    """The tracepoint's lines from now on."""

    def __enter__(self):
        if impl.INTREE:
            return self
        os.makedirs(TRACING, exist_ok=True)
        self.write("events/ipsec_v3/drop/enable", "1")
        self.write("trace", "")
        return self

    def __exit__(self, *_):
        if not impl.INTREE:
            self.write("events/ipsec_v3/drop/enable", "0")
            os.rmdir(TRACING)

    @staticmethod
    def write(name, text):
        with open(f"{TRACING}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    @staticmethod
    def text():
        with open(f"{TRACING}/trace", encoding="ascii") as file:
            return file.read()

    def lines(self, reqid=1):
        """[(protocol, SPI, sequence number, reason)]"""
        return [(m[1], int(m[2], 16), int(m[3]), m[4]) for m in re.finditer(
            rf"drop: proto=(\w+) spi=(\w+) seq=(\d+) reqid={reqid} reason=(\w+)", self.text())]

    @staticmethod
    def records():
        """As who reads them raw gets them; they are gone then"""
        found = b""
        for path in glob.glob(f"{TRACING}/per_cpu/cpu*/trace_pipe_raw"):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while page := os.read(fd, 1 << 16):
                    found += page
            os.close(fd)
        return found
