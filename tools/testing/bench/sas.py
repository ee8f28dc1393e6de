#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What many SAs cost: to install, dump and delete them, memory for each, and a packet
to one of them at random.

Runs in a guest whose clock counts instructions (vm/run --icount), so that the two
implementations of one boot can be compared; what many SAs do to a CPU's caches is not
seen there.  One host sends to itself: every SA protects and takes back its packets.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402
from rig import INTREE, MODULE, sh	# noqa: E402

NUMBERS = [int(n) for n in os.environ.get("IPSEC_BENCH_SAS", "1 1000 100000").split()]
PACKETS, FEW = 3000, 100
PORT = 7000
HOST = "many"
NETLINK_XFRM, XFRM_MSG_GETSA, NLMSG_DONE, REQUEST_DUMP = 6, 0x12, 3, 0x301
SO_RCVBUFFORCE = 33


def available():
    """Bytes of memory that are not in use, once the caches are as small as they get"""
    sh("sync; echo 3 > /proc/sys/vm/drop_caches; echo 3 > /proc/sys/vm/drop_caches")
    time.sleep(0.5)
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    return sum(int(fields[name].split()[0]) for name in ("MemFree", "Cached", "Buffers")) * 1024


def address(number):
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def host():
    sh(f"ip netns add {HOST}; ip -n {HOST} link set lo up; ip -n {HOST} addr add 10.0.0.1/32 dev lo;"
       f"ip -n {HOST} route add local 10.64.0.0/10 dev lo src 10.0.0.1;"
       f"ip netns exec {HOST} sysctl -qw net.ipv4.conf.lo.disable_xfrm=0 net.ipv4.conf.all.disable_xfrm=0;"
       f"ip -n {HOST} xfrm policy add dst 10.64.0.0/10 dir out tmpl proto esp reqid 1 mode transport")


def adds(count):
    _, flags, algo, _ = rig.SUITES["AES-GCM, ESN"]
    return "".join(f"xfrm state add src 10.0.0.1 dst {address(i)} proto esp spi {0x1000 + i} reqid 1"
                   f" mode transport {flags} {algo}\n" for i in range(count))


def batch(path):
    subprocess.run(["ip", "-n", HOST, "-batch", path], check=True)


def flush():
    subprocess.run(["ip", "-n", HOST, "xfrm", "state", "flush"], check=True)


def dump():
    """Asks for all SAs, and throws away what comes."""
    with rig.inside(HOST):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
    # struct xfrm_usersa_id: no filter
    sock.send(struct.pack("=IHHII", 16 + 24, XFRM_MSG_GETSA, REQUEST_DUMP, 1, 0) + bytes(24))
    while struct.unpack_from("=H", sock.recv(1 << 16), 4)[0] != NLMSG_DONE:
        pass


def send(sock, addresses):
    for one in addresses:
        sock.sendto(b"x" * 36, (one, PORT))


def counted(function, *args):
    pid, pipe = rig.child(function, *args)
    ended = rig.Ended(pid)
    return rig.spent([pipe], ended, function.__name__)


def packets(count):
    """Instructions of a packet to a random SA, from one socket to the other"""
    with rig.inside(HOST):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    receiver.bind(("", PORT))
    pick = random.Random(count)
    addresses = [address(pick.randrange(count)) for _ in range(FEW + PACKETS)]
    # what it takes to get a process going is in both of these numbers
    few = counted(send, sender, addresses[:FEW])
    total = counted(send, sender, addresses) - few
    receiver.setblocking(False)
    for _ in range(FEW + FEW + PACKETS):
        receiver.recv(100)	# or an exception: it was lost
    sender.close()
    receiver.close()
    return total / PACKETS


def measure(impl, count):
    def report(name, unit, value):
        rig.row("sas", f"{count:,}", impl, name, unit, round(value))

    path = "/run/adds"
    rig.write(path, adds(count))
    idle = [counted(*words) for words in ((batch, "/dev/null"), (dump,), (flush,))]
    free = available()
    add = counted(batch, path)
    used = free - available()
    report("packet to a random one", "instructions", packets(count))
    times = [add, counted(dump), counted(flush)]
    # of fewer it would be the cost of everything but the SA
    for name, all_, none, least in zip(("install", "dump", "delete"), times, idle, (1000, 100000, 100000)):
        if count >= least:
            report(name, "instructions per SA", (all_ - none) / count)
    if count >= 100000:
        report("memory", "bytes per SA", used / count)
    time.sleep(2)


def main():
    rig.prepare()
    for impl in (INTREE, MODULE):
        rig.load(impl)
        host()
        # the first SA loads ciphers, which is not what is measured
        rig.write("/run/adds", adds(1))
        batch("/run/adds")
        flush()
        time.sleep(0.5)
        for count in NUMBERS:
            measure(impl, count)
        sh(f"ip netns del {HOST}")
        time.sleep(2)


if __name__ == "__main__":
    main()
