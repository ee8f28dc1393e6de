#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What many SAs cost: time to add and to delete them, and memory for each.

Runs in a guest whose clock counts instructions (vm/run --icount), so that the two
implementations of one boot can be compared. Prints one JSON object for each.
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import gateway

COUNT = int(os.environ.get("IPSEC_BENCH_SAS", "50000"))


def available():
    """bytes of memory that are not in use, once the caches are as small as they get"""
    gateway.sh("sync; echo 3 > /proc/sys/vm/drop_caches; echo 3 > /proc/sys/vm/drop_caches")
    time.sleep(0.5)
    with open("/proc/meminfo", encoding="ascii") as f:
        fields = dict(line.split(":") for line in f)
    return sum(int(fields[name].split()[0]) for name in ("MemFree", "Cached", "Buffers")) * 1024


def adds(count):
    _, flags, algo = gateway.SUITES["aes-gcm esn"]
    return "".join(f"xfrm state add src 10.0.1.1 dst 10.{i >> 16}.{i >> 8 & 255}.{i & 255} proto esp"
                   f" spi {0x1000 + i} reqid 1 mode tunnel {flags} {algo}\n" for i in range(count))


def timed(command, **kwargs):
    start = time.monotonic()
    subprocess.run(command, check=True, **kwargs)
    return time.monotonic() - start


def measure(impl):
    gateway.load(impl)
    gateway.sh("ip netns add many")
    # the first SA loads ciphers, which is not what is measured
    subprocess.run(["ip", "-n", "many", "-batch", "-"], input=adds(1), text=True, check=True)
    gateway.sh("ip -n many xfrm state flush")
    time.sleep(0.5)
    free = available()
    add = timed(["ip", "-n", "many", "-batch", "-"], input=adds(COUNT), text=True)
    used = free - available()
    delete = timed(["ip", "-n", "many", "xfrm", "state", "flush"])
    gateway.report(impl=impl, sas=COUNT, add_us=round(add * 1e6 / COUNT, 1),
                   delete_us=round(delete * 1e6 / COUNT, 2), bytes=round(used / COUNT))
    gateway.sh("ip netns del many")
    time.sleep(2)


def main():
    gateway.sh("modprobe aesni_intel || true")
    for impl in ("in-tree", "module"):
        measure(impl)


if __name__ == "__main__":
    main()
