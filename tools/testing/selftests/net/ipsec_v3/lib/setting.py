# SPDX-License-Identifier: GPL-2.0-only
"""Files of /proc/sys and /sys that say how the kernel shall behave.

	with setting.of("/proc/sys/net/core/netdev_max_backlog", 0):	# put back at the end
		...
"""

import contextlib
import glob

THROTTLE = "/proc/sys/kernel/sched_rt_runtime_us"


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def write(path, value):
    with open(path, "wb", buffering=0) as file:	# so that it is refused here
        file.write(str(value).encode())


@contextlib.contextmanager
def of(path, value):
    before = read(path)
    write(path, value)
    try:
        yield
    finally:
        write(path, before)


@contextlib.contextmanager
def unthrottled():
    """Real-time threads leave others no part of a second."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(of(THROTTLE, -1))
        # which newer kernels have instead
        for path in glob.glob("/sys/kernel/debug/sched/fair_server/cpu*/runtime"):
            stack.enter_context(of(path, 0))
        yield
