# SPDX-License-Identifier: GPL-2.0-only
"""Two CPUs for one SA: CPU 0 brings the packets, and CPU 1 delivers them.

	with spread.bringing():		# this thread, and the softirqs it brings about
		with spread.Hog():	# CPU 1 delivers nothing until the end
			...
"""

import contextlib
import os
import subprocess
import sys

from . import impl
from .line import THROTTLE

BRINGS, DELIVERS = 0, 1
PARAMETERS = "/sys/module/ipsec_v3/parameters"


def possible():
    """Ends the file where there is nothing to test."""
    why = "in-tree does not spread" if impl.INTREE else "there is one CPU" if os.cpu_count() < 2 else None
    if why:
        print(f"TAP version 13\n1..0 # SKIP {why}", flush=True)
        sys.exit(4)


def parameter(name, value=None):
    """Its value; with one, that is set first."""
    if value is not None:	# unbuffered, so that it is refused here
        with open(f"{PARAMETERS}/{name}", "wb", buffering=0) as file:
            file.write(str(value).encode())
    with open(f"{PARAMETERS}/{name}", encoding="ascii") as file:
        return file.read().strip()


@contextlib.contextmanager
def parameters(**wanted):
    before = {name: parameter(name) for name in wanted}
    for name, value in wanted.items():
        parameter(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            parameter(name, value)


def tc(netns, verb, *words):
    """Status of tc qdisc VERB ... plug on the wire"""
    return subprocess.run(["ip", "netns", "exec", netns, "tc", "qdisc", verb, "dev", "wire", "root",
                           "plug", *words], check=False, stderr=subprocess.DEVNULL).returncode


@contextlib.contextmanager
def bringing():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {BRINGS})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def fair_server():
    """Does this kernel leave a part of each second to others, whatever the throttle says"""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 12)


class MostlyHog:
    """The CPU that delivers has a twentieth of each second for others: what waits for
    work on every CPU goes on."""
    command = ["chrt", "-f", "50"]
    script = "echo; while :; do :; done"

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.command, "taskset", "-c", str(DELIVERS), "sh", "-c", self.script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.read(1)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class LaterHog(MostlyHog):
    """From go() on"""
    script = "echo; read line; while :; do :; done"

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


class Hog(MostlyHog):
    """Hardly anything but this and interrupts runs on the CPU that delivers."""

    def __enter__(self):
        with open(THROTTLE, "r+", encoding="ascii") as file:
            self.throttle = file.read()
            file.seek(0)	# elsewhere the kernel takes nothing
            file.write("-1")	# or others get a part of each second
        super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        with open(THROTTLE, "w", encoding="ascii") as file:
            file.write(self.throttle)
