#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions that TCP takes for each 1000 bytes, between two hosts that protect it
themselves (transport mode) and through two gateways (tunnel mode).

Runs in a guest whose clock counts instructions (vm/run --icount).  Two devices' NAPI is a
thread here: "send" is the sender and the thread that handles its ACKs, "receive" the
other two.  What the kernel puts off to its softirq thread is in neither of them, but in
"both".  No device segments for TCP, as on most virtual ones; all use GRO.
"""

import contextlib
import glob
import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402
from rig import PCRYPT, WIREGUARD, sh	# noqa: E402

BYTES = int(os.environ.get("IPSEC_BENCH_BYTES", "4000000"))
WARM = 1000000
CHUNK, BUFFER = 65536, 1 << 17	# a window of packets that a veth has room for
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
PORT = 7000


def comm(path):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""	# it has just ended


class Threads:
    """The NAPI threads of one host"""

    def __init__(self, name, devices):
        for device in devices:
            sh(f"ip netns exec {name} sh -c 'echo 1 > /sys/class/net/{device}/threaded'")
        self.files = [os.path.dirname(path) + "/schedstat" for path in glob.glob("/proc/[0-9]*/comm")
                      if any(comm(path).startswith(f"napi/{device}-") for device in devices)]
        if len(self.files) < len(devices):
            sys.exit(f"bench: {len(self.files)} NAPI threads of {devices}")

    def spent(self):
        total = 0
        for path in self.files:
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total


def connect(sender, receiver, address):
    """(sending socket, receiving socket), with buffers that the kernel does not adapt"""
    with rig.inside(receiver):
        listener = socket.socket()
    with rig.inside(sender):
        a = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    a.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, PORT))
    listener.listen()
    a.connect((address, PORT))
    b, _ = listener.accept()
    listener.close()
    return a, b


def send(sock, count, told):
    began = time.thread_time_ns()
    block = bytes(CHUNK)
    while count:
        count -= sock.send(block[:min(count, CHUNK)])
    os.write(told, b"%d\n" % (time.thread_time_ns() - began))


def receive(sock, count, told):
    began = time.thread_time_ns()
    block = bytearray(4 * CHUNK)
    while count:
        count -= sock.recv_into(block) or sys.exit("bench: the connection ended")
    os.write(told, b"%d\n" % (time.thread_time_ns() - began))


def transfer(a, b, count, threads):
    """Instructions of (all, the sending host, the receiving one)"""
    before = [one.spent() for one in threads]
    pipes = [os.pipe(), os.pipe()]
    actors = [rig.child(send, a, count, pipes[0][1]), rig.child(receive, b, count, pipes[1][1])]
    total = rig.spent([pipe for _, pipe in actors], rig.Ended(actors[1][0]), "TCP")
    os.waitpid(actors[0][0], 0)
    own = [int(os.read(reader, 32)) for reader, _ in pipes]
    for end in sum(pipes, ()):
        os.close(end)
    return [total, *(mine + one.spent() - old for mine, one, old in zip(own, threads, before))]


def stream(ends, threads):
    """transfer() of BYTES by a connection that is no longer young"""
    a, b = connect(*ends)
    transfer(a, b, WARM, threads)
    spent = transfer(a, b, BYTES, threads)
    a.close()
    b.close()
    time.sleep(0.5)
    return spent


def measure(impl, suite, threads):
    rig.protect(impl, suite, "transport")
    spent = stream(("gw1", "gw2", "10.9.0.2" if impl == WIREGUARD else "10.0.1.2"), threads)
    # those two leave a part of the work to workers of their own
    for name, value in zip(("both", "send", "receive")[:1 if impl in (PCRYPT, WIREGUARD) else 3], spent):
        report(impl, suite, name, value)
    rig.unprotect(impl)


def through(impl, suite, threads):
    rig.protect(impl, suite)
    report(impl, suite, "gateways", stream(("src", "sink", "10.0.2.2"), threads)[0])
    rig.unprotect(impl)


def report(impl, suite, name, value):
    rig.row("tcp", suite, impl, name, "instructions per 1000 bytes", round(value * 1000 / BYTES))


def prepare():
    """The devices of rig.network()"""
    for name, device in (("src", "r0"), ("gw1", "l0"), ("gw1", "r1"), ("gw2", "l1"), ("gw2", "r2"), ("sink", "l2")):
        subprocess.run(["ip", "netns", "exec", name, "ethtool", "-K", device, "tso", "off", "gro", "on"],
                       check=True, stdout=subprocess.DEVNULL)
    # what fits into every tunnel, so that all send segments of one size
    sh("ip -n src route replace 10.0.2.0/24 via 10.0.0.2 mtu 1420;"
       "ip -n sink route replace 10.0.0.0/24 via 10.0.2.1 mtu 1420")


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    rig.prepare()
    rig.network()
    prepare()
    threads = [Threads("gw1", ["r1"]), Threads("gw2", ["l1"])]
    for suite, impl in rig.pairs(only):
        rig.load(impl)
        measure(impl, suite, threads)
        through(impl, suite, threads)


if __name__ == "__main__":
    main()
