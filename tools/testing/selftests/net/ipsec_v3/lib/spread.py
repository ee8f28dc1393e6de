# SPDX-License-Identifier: GPL-2.0-only
"""Two CPUs for one SA: CPU 0 brings the packets, and CPU 1 delivers them.

	with spread.bringing():		# this thread, and the softirqs it brings about
		with spread.Hog():	# CPU 1 delivers nothing until the end
			...
	with spread.bringing(spread.ALL):	# whichever CPUs there are may deliver
		...
"""

import contextlib
import os
import subprocess

from . import host, impl, ktap, setting
from .line import one_cpu

BRINGS, DELIVERS = 0, 1
ALL = f"0-{os.cpu_count() - 1}"
PARAMETERS = "/sys/module/ipsec_v3/parameters"


def possible():
    """Ends the file where there is nothing to test"""
    why = "in-tree does not spread" if impl.INTREE else "there is one CPU" if os.cpu_count() < 2 else None
    if why:
        ktap.skip_file(why)


def parameter(name, value=None):
    """Its value; with one, that is set first."""
    if value is not None:
        setting.write(f"{PARAMETERS}/{name}", value)
    return setting.read(f"{PARAMETERS}/{name}")


@contextlib.contextmanager
def parameters(**wanted):
    with contextlib.ExitStack() as stack:
        for name, value in wanted.items():
            stack.enter_context(setting.of(f"{PARAMETERS}/{name}", value))
        yield


def tc(netns, verb, *words):
    """Status of tc qdisc VERB ... plug on the wire"""
    return subprocess.run(["ip", "netns", "exec", netns, "tc", "qdisc", verb, "dev", "wire", "root",
                           "plug", *words], check=False, stderr=subprocess.DEVNULL).returncode


@contextlib.contextmanager
def bringing(cpus=f"{BRINGS}-{DELIVERS}"):
    """cpus: that may take part"""
    with one_cpu(BRINGS), parameters(spread_cpus=cpus):
        yield


@contextlib.contextmanager
def urgent():
    """This thread comes before any Hog."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def unfair(cpu):
    """Nor does a server leave them more than a tick, which kernels since 6.12 have besides the throttle;
    with none at all the core may warn."""
    path = f"/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime"
    subprocess.run(["mount", "-t", "debugfs", "none", "/sys/kernel/debug"], check=False, stderr=subprocess.DEVNULL)
    with setting.unthrottled(), setting.of(path, 1000) if os.path.exists(path) else contextlib.nullcontext():
        yield


def softirqs_on_their_own():
    """Do softirqs run when an interrupt ends although a thread of theirs waits for the CPU"""
    return host.RELEASE >= (6, 5)


class MostlyHog:
    """The CPU that delivers has a twentieth of each second for others: what waits for
    work on every CPU goes on."""
    command = ["chrt", "-f", "50"]
    cpu = DELIVERS
    program = "sh"
    script = "echo; while :; do :; done"

    def __enter__(self):
        self.process = subprocess.Popen(
            [*self.command, "taskset", "-c", str(self.cpu), self.program, "-c", self.script],
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


class OtherHog(MostlyHog):
    """A CPU that neither brings nor delivers has every other hundredth of a second for others."""
    cpu = DELIVERS + 1
    program = "python3"
    script = """
import time
print(flush=True)
while True:
    until = time.monotonic() + .01
    while time.monotonic() < until:
        pass
    time.sleep(.01)
"""


class Hog(MostlyHog):
    """Hardly anything but this and interrupts runs on its CPU."""

    def __enter__(self):
        self.unfair = unfair(self.cpu)
        self.unfair.__enter__()
        return super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        self.unfair.__exit__(None, None, None)


class HomeHog(Hog, LaterHog):
    """Nor on the one that brings, which has softirqs only; from go() on"""
    cpu = BRINGS
