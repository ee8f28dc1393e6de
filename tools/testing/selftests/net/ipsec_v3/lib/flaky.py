# SPDX-License-Identifier: GPL-2.0-only
"""AES-GCM, AES-CBC with HMAC-SHA-256 and ESN, and HMAC-SHA-256 that fail on demand, or are
late: a module in ../modules.

	with flaky.loaded():		# new SAs with those, and with AH, get them
		flaky.set_to(late_ms=300)
		...
		flaky.put_aside()	# requests that waited although the queue was full
		with flaky.holding():	# until the end no request is finished
			...
		flush()			# it is unloaded at the end
"""

import contextlib

from . import cryptd, impl, ktap, setting

PARAMETERS = "/sys/module/ipsec_v3_flaky/parameters"


def set_to(**values):
    for name, value in values.items():
        setting.write(f"{PARAMETERS}/{name}", value)


def put_aside():
    return int(setting.read(f"{PARAMETERS}/backlog"))


@contextlib.contextmanager
def holding():
    set_to(hold=1)
    try:
        yield
    finally:
        set_to(hold=0)


def reset():
    set_to(hold=0, error=0, first=0, late_ms=-1, late_error=0, backlog=0)


def tested():
    found = [a["selftest"] for a in cryptd.listed() if a["driver"].startswith("flaky-")]
    return found == ["passed"] * 3


@contextlib.contextmanager
def loaded():
    if impl.modprobe("ipsec_v3_flaky"):
        raise ktap.Skip("there is no ipsec_v3_flaky, which tools/testing/vm/run builds")
    reset()
    # the kernel tests what is new, and would take what it is told below for a mistake
    ktap.wait_for(tested, "its algorithms pass the kernel's tests", 60)
    try:
        yield
    finally:
        reset()
        ktap.wait_for(lambda: not impl.modprobe("-r", "ipsec_v3_flaky"), "it unloads", 60)
