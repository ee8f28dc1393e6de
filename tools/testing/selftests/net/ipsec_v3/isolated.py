#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A kernel booted with isolcpus=1: a CPU that somebody keeps for himself does nothing for
SAs whose packets come to others, unless root says so.

	tools/testing/vm/run --cpus 2 --append isolcpus=1 -- .../isolated.py
"""

from lib import impl, ktap, setting, spread
from lib.line import Line, Rig, one_cpu
from lib.shape import V4
from lib.suite import gcm

START = 68 << 32 | 100000
PACKETS = 200
ISOLATED = 1
RIG = Rig()


def spread_from(cpu):
    """How many of the packets that this CPU brings it leaves to others"""
    on = Line(RIG, V4, gcm(), "esp", True, 4096, START)
    before = RIG.dut.counters().get("RxSpread", 0)
    with one_cpu(cpu):
        for number in range(1, PACKETS + 1):
            RIG.dut.wire.send(on.seal(START + number))
    ktap.wait_for(lambda: on.figures()["packets"] == PACKETS, f"{PACKETS} packets")
    return RIG.dut.counters().get("RxSpread", 0) - before


@ktap.case("spread_cpus leaves it out")
def left_out():
    ktap.equal(spread.parameter("spread_cpus"), "0", "spread_cpus")


@ktap.case("what others bring is not left to it")
def not_asked():
    ktap.equal(spread_from(0), 0, "RxSpread")


@ktap.case("what it brings is left to others")
def asks():
    ktap.check(spread_from(ISOLATED), "RxSpread is 0")


@ktap.case("it helps when root says so")
def told():
    with spread.parameters(spread_cpus=spread.ALL):
        ktap.check(spread_from(0), "RxSpread is 0")


spread.possible()
if setting.read("/sys/devices/system/cpu/isolated") != str(ISOLATED):
    ktap.skip_file(f"boot with isolcpus={ISOLATED}")
impl.PARAMETERS += ["spread=1", "spread_idle=0"]
ktap.main(RIG.start, RIG.stop)
