#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the stages of decryption take when one SA is spread over CPUs: to bring a packet
to the lane, to work on it, to deliver it to the stack in order, to forward it, the lane
itself, and handing it to the CPU of its flow.

    pktgen > [src] > [gw1: encrypts] > [gw2: decrypts] > [sink]

Runs in a guest with two CPUs whose clock counts the instructions of both
(vm/run --icount --cpus 2).  All that pktgen brings about stays on its CPU, but for what
a lane hands to the other.
"""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import gateway		# noqa: E402
import rig		# noqa: E402
from rig import ALONE, INTREE, MODULE, sh	# noqa: E402

COUNT = int(os.environ.get("IPSEC_BENCH_PACKETS", "10000"))
FEW = 2000
SIZES = (64, 1400)
SUITE = "AES-GCM, ESN"
FIRST, LAST = ("gw2", "l1"), ("sink", "l2")
SPREAD, IDLE = (f"/sys/module/ipsec_v3/parameters/{name}" for name in ("spread", "spread_idle"))


def per_packet(size, end=LAST):
    """When pktgen has ended a lane still has some, of many packets as of few."""
    return (gateway.flood(FEW + COUNT, size, end) - gateway.flood(FEW, size, end)) / COUNT


def outdated():
    """gw2's window is ahead of all that comes: the SA is found, and nothing done with it."""
    _, _, algo, _ = rig.SUITES[SUITE]
    sh("ip -n gw2 xfrm state flush")
    sh("ip -n gw2 xfrm state add src 10.0.1.1 dst 10.0.1.2 proto esp spi 0x100 reqid 1 mode tunnel"
       f" replay-window 64 replay-seq 0x7fffffff {algo}")


def encrypting(size):
    gateway.gate(True)
    spent = per_packet(size, FIRST)
    gateway.gate(False)
    return spent


def decrypting(size):
    """gw2 drops what comes out of the tunnel before it looks for a route."""
    sh("ip netns exec gw2 nft 'table ip t { chain c { type filter hook prerouting priority raw;"
       " ip daddr 10.0.2.2 drop; }; }'")
    spent = per_packet(size, FIRST)
    sh("ip netns exec gw2 nft delete table ip t")
    return spent


@contextlib.contextmanager
def spreading():
    rig.write(IDLE, "0")
    rig.write(SPREAD, "1")
    yield
    rig.write(SPREAD, "0")


def calls(name, size):
    """Instructions of each, while so many packets come that a lane opens; least first"""
    with spreading():
        return [spent - gateway.tracer() for spent in gateway.calls(name, lambda: gateway.flood(FEW, size, LAST))]


def spread():
    """Packets that have been"""
    return int(sh("ip netns exec gw2 awk '/^RxSpread/ { print $2 }' /proc/net/ipsec_v3_stat"))


def handing(size):
    """What the CPU that delivers does per packet for the CPUs of flows; there, it is done
    instead of what the core would do for its queue."""
    before = spread()
    spent = sum(calls("ipsec_flow_end", size))
    return spent / (spread() - before)


def report(size, impl, **stages):
    for name, value in stages.items():
        rig.row("stages", "decrypts", impl, name, "instructions per packet", round(value), size)


def in_tree(size):
    rig.load(INTREE)
    rig.protect(INTREE, SUITE)
    per_packet(size)
    report(size, INTREE, all=per_packet(size) - encrypting(size))
    rig.unprotect(INTREE)


def module(size):
    rig.load(ALONE)
    rig.protect(ALONE, SUITE)
    per_packet(size)
    total, encrypt, decrypt = per_packet(size), encrypting(size), decrypting(size)
    work = gateway.traced("ipsec_input", size)
    push, hand = calls("ipsec_lane_push", size)[0], handing(size)	# the least: of a lane that is awake
    outdated()
    bring = per_packet(size, FIRST) - encrypt
    report(size, MODULE, all=total - encrypt, bring=bring, work=work,
           deliver=decrypt - encrypt - bring - work, forward=total - decrypt,
           lane=2 * push, flow=hand)	# whoever takes from a lane does as much again
    rig.unprotect(ALONE)


def main():
    rig.prepare()
    sh("modprobe pktgen; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true")
    os.sched_setaffinity(0, {0})
    rig.network()
    gateway.drop("sink", "l2", "ip daddr 10.0.2.2 drop")
    gateway.gate(False)
    for size in SIZES:
        in_tree(size)
        module(size)


if __name__ == "__main__":
    main()
