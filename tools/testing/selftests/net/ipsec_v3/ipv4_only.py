#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""A kernel booted with ipv6.disable=1: IPv4 works, an IPv6 SA is refused with a
reason, and the module goes as it came.

	tools/testing/vm/run --append ipv6.disable=1 -- .../ipv4_only.py
"""

from lib import host, impl, ktap
from lib.line import Line, Rig
from lib.shape import T4IN4, V4
from lib.suite import gcm, sha256

START = 68 << 32 | 1000
SUITE = {"esp": gcm(), "ah": sha256()}
RIG = Rig()


def carried(shape, kind, encap=False):
    RIG.start()
    try:
        on = Line(RIG, shape, SUITE[kind], kind, True, 64, START, encap)
        for number in range(1, 4):
            if not encap:
                on.sends(number)
            on.arrives(number)
    finally:
        RIG.stop()


def refused(kind):
    try:
        host.ip(lines=[host.state_line("fd00::1", "fd00::2", 0x100, SUITE[kind].words(kind), kind)])
    except host.IpError as error:
        ktap.say(error)
        sentence = str(error).splitlines()[0]
        ktap.check(sentence.startswith("Error: ") and len(sentence) > 20,
                   f"no reason: {error}")
    else:
        ktap.fail("an IPv6 SA in a kernel without IPv6")


def unload():
    """Also after the refusals: they hold nothing"""
    ktap.wait_for(lambda: not impl.modprobe("-r", *impl.WANTED), "unload")
    error = impl.load()
    ktap.check(not error, error)


for _shape in (V4, T4IN4):
    for _kind in ("esp", "ah"):
        ktap.add(f"{_kind} {_shape}", carried, _shape, _kind)
ktap.add("esp in UDP, received", carried, T4IN4, "esp", True)
for _kind in ("esp", "ah"):
    ktap.add(f"an IPv6 {_kind} SA is refused", refused, _kind)
ktap.add("unload and load", unload)
ktap.add("esp again", carried, T4IN4, "esp")

if 6 in host.VERSIONS:
    ktap.skip_file("boot with ipv6.disable=1")
ktap.main()
