# SPDX-License-Identifier: GPL-2.0-only
"""Files of /proc/sys and /sys that say how the kernel shall behave.

	with setting.of("/proc/sys/net/core/netdev_max_backlog", 0):	# put back at the end
		...
"""

import contextlib

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


def unthrottled():
    """Real-time threads leave others no part of a second."""
    return of(THROTTLE, -1)
