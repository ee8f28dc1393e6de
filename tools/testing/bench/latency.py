#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions until a packet that is alone has gone through two gateways and its
answer has come back: the latency of a CPU that does nothing else.

Runs in a guest whose clock counts instructions (vm/run --icount).
"""

import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402

ROUNDS = 100
SIZES = (64, 1400)
PORT = 7000
HEADERS = 28		# IPv4 and UDP


def ends():
    """A socket in src and one in sink, each connected to the other"""
    pair = []
    for name, here, there in (("src", "10.0.0.1", "10.0.2.2"), ("sink", "10.0.2.2", "10.0.0.1")):
        with rig.inside(name):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(10)
        sock.bind((here, PORT))
        sock.connect((there, PORT))
        pair.append(sock)
    return pair


def ping_pong(a, b, data):
    began = time.monotonic_ns()
    a.send(data)
    b.recv(2000)
    b.send(data)
    a.recv(2000)
    return time.monotonic_ns() - began


def measure(impl, suite, pair):
    rig.protect(impl, suite)
    for size in SIZES:
        data = bytes(size - HEADERS)
        times = []
        for _ in range(ROUNDS):
            time.sleep(0.002)
            times.append(ping_pong(*pair, data))
        # the median ignores the rounds that a timer interrupt fell into
        rig.row("latency", suite, impl, "round trip", "instructions", sorted(times)[ROUNDS // 2], size)
    rig.unprotect(impl)


def main():
    rig.prepare()
    rig.network()
    pair = ends()
    for suite, impl in rig.pairs():
        rig.load(impl)
        measure(impl, suite, pair)


if __name__ == "__main__":
    main()
