# SPDX-License-Identifier: GPL-2.0-only
"""Allocations that fail, on a kernel that injects faults.

	with NoMemory():			# all that ipsec_v3's code asks for
	with NoMemory(function="late_work"):	# all that is asked for below this one
	with NoMemory(percent=10, all_code=True):	# every tenth of an atomic context
	for failing in each_allocation():	# of this thread, the first, the second ...
		with failing:
			...
"""

import os

from . import impl, ktap

FAULTS = [f"/sys/kernel/debug/{name}" for name in ("failslab", "fail_page_alloc")]
EVERYWHERE = 0, 0xffffffffffffffff
NTH = "/proc/thread-self/fail-nth"
MOST = 5000		# allocations of one thing that is done


def text_of_module():
    """Address range of ipsec_v3's code"""
    base = "/sys/module/ipsec_v3/sections/.text"
    with open(base, encoding="ascii") as file:
        start = int(file.read(), 16)
    with open("/sys/module/ipsec_v3/coresize", encoding="ascii") as file:
        return start, start + int(file.read())


def text_of(function):
    """Address range of a function of the kernel or of a module"""
    with open("/proc/kallsyms", encoding="ascii") as file:
        rows = [line.split() for line in file]
    start = next(int(row[0], 16) for row in rows if row[2] == function)
    return start, min(int(row[0], 16) for row in rows if int(row[0], 16) > start)


class NoMemory:
    """By default every allocation that ipsec_v3's code asks for fails, of a whole
    page too, in whatever context; with function those that it and what it calls ask
    for, with all_code those of the kernel that may not sleep."""

    def __init__(self, percent=100, all_code=False, function=None):
        self.percent, self.all_code, self.function = percent, all_code, function

    def text(self):
        if self.function:
            return text_of(self.function)
        return EVERYWHERE if self.all_code else text_of_module()

    def __enter__(self):
        if not all(os.path.exists(f"{d}/require-start") for d in FAULTS):
            raise ktap.Skip("no fault injection; run it with --kernel debug")
        if impl.INTREE and not self.all_code:
            raise ktap.Skip("about allocations of ipsec_v3")
        start, end = self.text()
        write({"ignore-gfp-wait": "Y" if self.all_code else "N", "task-filter": "N",
               "verbose": 0, "interval": 1, "space": 0, "stacktrace-depth": 32,
               "require-start": hex(start), "require-end": hex(end), "times": -1,
               "min-order": 0, "probability": self.percent})

    def __exit__(self, *_):
        write({"probability": 0, "require-start": 0, "require-end": hex(EVERYWHERE[1])})


def write(values):
    for folder in FAULTS:
        for name, value in values.items():
            if name == "min-order" and not os.path.exists(f"{folder}/{name}"):
                continue		# slabs have no order
            with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                file.write(str(value))


class Failing:
    """Within it, one allocation that this thread asks for fails, of a slab's object or of a
    page, but none of a softirq; happened says whether there were so many."""

    def __init__(self, knob, number):
        self.knob, self.number, self.happened = knob, number, False

    def __enter__(self):
        os.pwrite(self.knob, str(self.number).encode(), 0)

    def __exit__(self, *_):
        self.happened = int(os.pread(self.knob, 16, 0)) == 0
        os.pwrite(self.knob, b"0", 0)


def each_allocation(but=None):
    """Failing, for each allocation of what is done within it, the same every time; but: a
    function of the kernel whose allocations are left out"""
    if not os.path.exists(NTH):
        raise ktap.Skip("this kernel injects no faults; run it with --kernel debug")
    start, end = text_of(but) if but else (0, 0)
    write({"ignore-gfp-wait": "N", "verbose": 0, "stacktrace-depth": 32, "min-order": 0,
           "reject-start": hex(start), "reject-end": hex(end)})
    knob = os.open(NTH, os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in range(1, MOST + 1):
            failing = Failing(knob, number)
            yield failing
            if not failing.happened:
                return
        ktap.fail(f"more than {MOST} allocations")
    finally:
        os.close(knob)
        write({"reject-start": 0, "reject-end": 0})
