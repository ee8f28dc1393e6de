# SPDX-License-Identifier: GPL-2.0-only
"""Allocations that fail, on a kernel that injects faults.

	with NoMemory():			# all that ipsec_v3's code asks for
	with NoMemory(percent=10, all_code=True):	# every tenth of an atomic context
"""

import os

from . import impl, ktap

FAULTS = [f"/sys/kernel/debug/{name}" for name in ("failslab", "fail_page_alloc")]
EVERYWHERE = 0, 0xffffffffffffffff


def text_of_module():
    """Address range of ipsec_v3's code"""
    base = "/sys/module/ipsec_v3/sections/.text"
    with open(base, encoding="ascii") as file:
        start = int(file.read(), 16)
    with open("/sys/module/ipsec_v3/coresize", encoding="ascii") as file:
        return start, start + int(file.read())


class NoMemory:
    """By default every allocation that ipsec_v3's code asks for fails, of a whole
    page too; with all_code those of the kernel that may not sleep do."""

    def __init__(self, percent=100, all_code=False):
        self.percent, self.all_code = percent, all_code

    def __enter__(self):
        if not all(os.path.exists(f"{d}/require-start") for d in FAULTS):
            raise ktap.Skip("no fault injection; run it with --kernel debug")
        if impl.INTREE and not self.all_code:
            raise ktap.Skip("about allocations of ipsec_v3")
        start, end = EVERYWHERE if self.all_code else text_of_module()
        self.write({"ignore-gfp-wait": "Y" if self.all_code else "N", "task-filter": "N",
                    "verbose": 0, "interval": 1, "space": 0, "stacktrace-depth": 32,
                    "require-start": hex(start), "require-end": hex(end), "times": -1,
                    "min-order": 0, "probability": self.percent})

    def __exit__(self, *_):
        self.write({"probability": 0, "require-start": 0,
                    "require-end": hex(EVERYWHERE[1])})

    @staticmethod
    def write(values):
        for folder in FAULTS:
            for name, value in values.items():
                if name == "min-order" and not os.path.exists(f"{folder}/{name}"):
                    continue		# slabs have no order
                with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                    file.write(str(value))
