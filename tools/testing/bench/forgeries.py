#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions that a forged packet costs, with and without the second try.

	tools/testing/vm/run --icount -- tools/testing/bench/forgeries.py
	IPSEC_IMPL=intree tools/testing/vm/run --icount -- tools/testing/bench/forgeries.py

In that guest a nanosecond that the CPU is not idle is an instruction.  What it costs
to send a packet is in each figure; one for no SA costs nothing else, so it is taken
off the others.
"""

import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../selftests/net/ipsec_v3"))

from lib import impl, packet		# noqa: E402
from lib.line import Line, Rig		# noqa: E402
from lib.peer import Esp		# noqa: E402
from lib.shape import V4		# noqa: E402
from lib.suite import gcm		# noqa: E402

START = 68 << 32 | 1000000
FAR = 1 << 30		# ahead of the window: more likely late than new
RESYNC = "extra-flag 0x80000000"	# a forgery may stand for 2^32 lost packets
SIZES = (64, 1400)
# {name: (rounds, packets of each, seconds between them)}; within the budget is fewer
# than IPSEC_LATE_PER_SA of net/ipsec_v3/late.c, after a second in which it fills
PACES = {"flood": (1, 20000, 0), "within the budget": (60, 100, 1.5)}
RIG = Rig()


def idle():
    """Nanoseconds since boot"""
    with open("/proc/stat", encoding="ascii") as file:
        words = file.readline().split()
    return (int(words[4]) + int(words[5])) * 10_000_000


def counted(name):
    return RIG.dut.counters().get(name, 0)


def cost(data, name, pace):
    """(instructions of each, second tries)"""
    rounds, count, pause = PACES[pace]
    wanted, second = counted(name) + rounds * count, counted("RxSecondTry")
    began, slept = time.monotonic_ns(), idle()
    for _ in range(rounds):
        for _ in range(count):
            RIG.dut.wire.send(data)
        time.sleep(pause)
    while counted(name) < wanted:
        time.sleep(0.01)
    busy = time.monotonic_ns() - began - (idle() - slept)
    return busy / rounds / count, counted("RxSecondTry") - second


def measure(size, pace):
    on = Line(RIG, V4, gcm(), "esp", True, 64, START)
    data = bytes(size - 28)
    stranger = Esp(gcm(), 0x999).seal(data, packet.UDP, 1)
    floor, _ = cost(packet.ip(V4.there, V4.here, packet.ESP, stranger),
                    "XfrmInNoStates", pace)
    near, none = cost(on.seal(START + 5, data, flip_icv=True), "XfrmInStateProtoError", pace)
    far, second = cost(on.seal(START + FAR, data, flip_icv=True), "XfrmInStateProtoError", pace)
    rounds, count, _ = PACES[pace]
    print(f"{size:5} {pace:18} {near - floor:10.0f} {far - floor:10.0f} "
          f"{second:8} of {rounds * count}", flush=True)
    if none or (not impl.INTREE and pace != "flood" and second < rounds * count):
        sys.exit(f"not what it should be: {none} and {second} second tries")


def measure_resync(size):
    """Near the window in a flood, where each might be a reason to resynchronise"""
    on = Line(RIG, V4, gcm(), "esp", True, 64, START, more=RESYNC)
    data = bytes(size - 28)
    stranger = Esp(gcm(), 0x999).seal(data, packet.UDP, 1)
    floor, _ = cost(packet.ip(V4.there, V4.here, packet.ESP, stranger),
                    "XfrmInNoStates", "flood")
    near, second = cost(on.seal(START + 5, data, flip_icv=True), "XfrmInStateProtoError", "flood")
    print(f"{size:5} {'flood, resync on':18} {near - floor:10.0f} {'':10} "
          f"{second:8} of {PACES['flood'][1]}", flush=True)
    if not impl.INTREE and not second:
        sys.exit("not what it should be: no second try")


def main():
    error = impl.load()
    if error:
        sys.exit(error)
    RIG.start()
    with open("/proc/sys/net/core/netdev_max_backlog", "w", encoding="ascii") as file:
        file.write("30000")
    print(f"{impl.WANTED[0]}: instructions of a forgery beyond those of a packet for no SA\n"
          f"{'bytes':5} {'pace':18} {'near':>10} {'far ahead':>10} {'second tries':>8}")
    for size in SIZES:
        for pace in PACES:
            measure(size, pace)
        measure_resync(size)
    RIG.stop()


if __name__ == "__main__":
    main()
