#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How fast one TCP stream is over one SA, between two hosts (transport mode) and through
two gateways (tunnel mode).

Runs in a guest with one CPU or two and measures time, as scale does; all hosts share them.
Every figure is the median of all rounds, in which the implementations take their turns.
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402
import tcp		# noqa: E402
from rig import ALONE_OFFLOAD, INTREE_OFFLOAD, MODULE_OFFLOAD, PCRYPT, PLAIN, WIREGUARD	# noqa: E402

ROUNDS = int(os.environ.get("IPSEC_BENCH_ROUNDS", "6"))
SECONDS = float(os.environ.get("IPSEC_BENCH_SECONDS", "2"))
SUITE = "AES-GCM, ESN"
IMPLS = (PLAIN, INTREE_OFFLOAD, PCRYPT, ALONE_OFFLOAD, MODULE_OFFLOAD, WIREGUARD)
if os.cpu_count() == 1:
    IMPLS = (PLAIN, INTREE_OFFLOAD, MODULE_OFFLOAD, WIREGUARD)
# {what: (mode, sender, receiver, its address)}
WAYS = {
    "one TCP stream, hosts": ("transport", "gw1", "gw2", "10.0.1.2"),
    "one TCP stream, gateways": ("tunnel", "src", "sink", "10.0.2.2"),
}


def send(sock, other):
    """Until the other end is closed, which this process has got as well"""
    other.close()
    block = bytes(tcp.CHUNK)
    try:
        while True:
            sock.sendall(block)
    except OSError:
        pass


def receive(sock, seconds):
    """Bytes, and how long they took"""
    block = bytearray(4 * tcp.CHUNK)
    began, total = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        total += sock.recv_into(block) or sys.exit("bench: the connection ended")
    return total, time.monotonic() - began


def rate(sender, receiver, address):
    """Mbit/s of a connection that is no longer young; the sender is a process of its own"""
    a, b = tcp.connect(sender, receiver, address)
    pid, go = rig.child(send, a, b)
    os.write(go, b"g")
    receive(b, SECONDS / 4)
    total, took = receive(b, SECONDS)
    b.close()	# a reset; who has only shut down answers nothing where the window is full
    os.waitpid(pid, 0)
    os.close(go)
    a.close()
    return total * 8 / took / 1e6


def measure(what, impl):
    mode, sender, receiver, address = WAYS[what]
    rig.load(impl)
    rig.protect(impl, SUITE, mode)
    if impl == WIREGUARD and mode == "transport":
        address = "10.9.0.2"
    found = rate(sender, receiver, address)
    rig.unprotect(impl)
    return found


def main():
    rig.prepare()
    rig.network()
    tcp.prepare()
    rounds = {}
    for turn in range(ROUNDS):
        for what in WAYS:
            for impl in IMPLS:
                found = measure(what, impl)
                rounds.setdefault((what, impl), []).append(found)
                print(f"# round {turn + 1} of {ROUNDS}: {what}, {impl}: {found:.1f} Mbit/s", flush=True)
    for (what, impl), found in rounds.items():
        rig.row("stream", what, impl, "rate", "Mbit/s", round(statistics.median(found), 1))


if __name__ == "__main__":
    main()
