#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Nanoseconds per packet of a pair of IPsec gateways, at the speed of this machine.

    pktgen > [src] > [gw1: encrypt] > [gw2: decrypt] > [sink]

Runs in User Mode Linux, a process of the host: its time is the host's, cache misses
included.  In-tree and the module take turns, round after round in one boot, with
several samples each.  What else the machine does only adds to a sample, and on a
virtual machine often the half of it: what is reported is the tenth of the samples that
is fastest, and the median beside it.  A cipher that does nothing shows the datapath
alone; the others are the kernel's C code.
"""

import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import gateway		# noqa: E402
import rig		# noqa: E402
from rig import INTREE, MODULE, PLAIN		# noqa: E402

ROUNDS = int(os.environ.get("IPSEC_BENCH_ROUNDS", "11"))	# with all implementations
COUNT = int(os.environ.get("IPSEC_BENCH_PACKETS", "4000"))	# of a sample
SAMPLES = 3
SIZES = (64, 1400)
SINK, GW2 = ("sink", "l2"), ("gw2", "l1")
NULL = "no cipher"
rig.SUITES[NULL] = ("esp", "replay-window 64", "enc 'ecb(cipher_null)' ''", None)


def once(suite, impl, times):
    """Adds this round's figures to those of (size, impl, end)."""
    rig.load(impl)
    rig.protect(impl, suite)
    for end in (SINK, GW2):
        gateway.gate(end == GW2)
        for size in SIZES:
            gateway.flood(200, size, end)
            times.setdefault((size, impl, end), []).extend(
                gateway.flood(COUNT, size, end) / COUNT for _ in range(SAMPLES))
    gateway.gate(False)
    rig.unprotect(impl)


def report(suite, size, impl, both, encrypt):
    def row(measure, value):
        rig.row("native", suite, impl, measure, "ns per packet", round(value), size)

    whole, first = (statistics.quantiles(samples, n=10)[0] for samples in (both, encrypt))
    row("both", whole)
    row("encrypt", first)
    row("decrypt", whole - first)
    row("both, median", statistics.median(both))


def measure(suite, impls):
    times = {}
    for number in range(ROUNDS):
        # who comes first finds the caches as the other one has left them
        for impl in impls if number % 2 else reversed(impls):
            once(suite, impl, times)
    for impl in impls:
        for size in SIZES:
            report(suite, size, impl, times[size, impl, SINK], times[size, impl, GW2])


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    gateway.prepare()
    measure(PLAIN, (PLAIN,))
    for suite in (NULL, "AES-GCM, ESN"):
        if only in suite:
            measure(suite, (INTREE, MODULE))


if __name__ == "__main__":
    main()
