#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How many packets of one SA a gateway handles, and does it keep the order of each flow.

    [src] > [gw1] > [gw2]

Runs in a guest with as many CPUs as the question has; unlike in the other parts, what
is measured is time, so nothing else should run on the machine.  The packets of a
burst wait behind a plug in src until all are there, encrypted already when gw1 shall
decrypt, so that no sender takes a CPU from the gateway.  One CPU lets them go, and
receives them.  Markers (another DSCP) ahead of the burst and behind it are
time-stamped in gw2, which throws the others away.  Every figure is the median of all
rounds, in which the implementations take their turns.
"""

import json
import os
import socket
import statistics
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402
from rig import INTREE, MODULE, PCRYPT, SPREAD, WIREGUARD, sh	# noqa: E402

ROUNDS = int(os.environ.get("IPSEC_BENCH_ROUNDS", "3"))
PACKETS = int(os.environ.get("IPSEC_BENCH_PACKETS", "5000"))
SUITES = {INTREE: "AES-GCM, ESN", MODULE: "AES-GCM, ESN", SPREAD: "AES-GCM, ESN", PCRYPT: "AES-GCM, ESN"}
IMPLS = {"decrypts": (INTREE, PCRYPT, MODULE, SPREAD, WIREGUARD),
         # what WireGuard sends shows no marker
         "encrypts": (INTREE, PCRYPT, MODULE, SPREAD)}
SIZES = (64, 1400)
FLOWS = 16
CHUNK = 200			# packets that WireGuard surely queues
MARKERS = 8
TOS = 0x20			# of a marker
SINK = "10.0.1.2"
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
PLUG = "ip netns exec src tc qdisc {} dev r0 root plug {}"


def network():
    rig.network(("src", "gw1", "gw2"))
    sh("ip -n src route add 10.0.1.0/24 via 10.0.0.2; ip -n gw2 route add 10.0.0.0/24 via 10.0.1.1;"
       "sysctl -qw net.core.netdev_max_backlog=100000;"
       "ip netns exec gw2 nft 'table netdev t { chain c { type filter hook ingress device l1 priority 0;"
       " ip dscp cs1 accept; ip protocol { udp, esp } counter drop; }; }'")
    sh(PLUG.format("add", "limit 1000000000"))
    sh(PLUG.format("change", "release_indefinite"))


def protect(what, impl):
    """The tunnel ends on gw1, and begins or ends where the question is not."""
    if impl == WIREGUARD:
        rig.wireguard("src", "gw1", "10.0.0", "10.0.1.0/24")
        return
    proto, flags, algo, inner = rig.SUITES[SUITES[impl]]
    if impl == PCRYPT:
        rig.parallel(inner)
    ends = {"decrypts": ("10.0.0.1", "10.0.0.2"), "encrypts": ("10.0.1.1", SINK)}[what]
    sa = f"src {ends[0]} dst {ends[1]} proto {proto}"
    hosts = {"decrypts": (("src", "out"), ("gw1", "fwd")), "encrypts": (("gw1", "out"),)}[what]
    for host, direction in hosts:
        rig.patient(sh, f"ip -n {host} xfrm state add {sa} spi 0x100 reqid 1 mode tunnel {flags} {algo}")
        sh(f"ip -n {host} xfrm policy add src 10.0.0.0/24 dst 10.0.1.0/24 dir {direction}"
           f" tmpl {sa} reqid 1 mode tunnel")


def unprotect(impl):
    if impl == WIREGUARD:
        sh("ip -n src link del wg0; ip -n gw1 link del wg0; ip -n src route replace 10.0.1.0/24 via 10.0.0.2")
    for host in ("src", "gw1"):
        sh(f"ip -n {host} xfrm policy flush; ip -n {host} xfrm state flush")
    time.sleep(0.5)


def senders():
    made = []
    with rig.inside("src"):
        for n in range(FLOWS):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 29)
            sock.bind(("10.0.0.1", 5000 + n))
            made.append(sock)
    return made


def waiting():
    """Packets behind the plug"""
    return json.loads(sh("ip netns exec src tc -s -j qdisc show dev r0"))[0]["qlen"]


def queued(count):
    """WireGuard encrypts later."""
    until = time.monotonic() + 20
    while waiting() < count:
        if time.monotonic() > until:
            sys.exit(f"bench: {waiting()} of {count} packets wait for the gateway")


def send(socks, size):
    """PACKETS of size bytes, their number in front, in flows by turns"""
    rest = bytes(size - 28 - 4)
    for n in range(PACKETS):
        socks[n % FLOWS].sendto(struct.pack("!I", n) + rest, (SINK, 9))
        if n % CHUNK == CHUNK - 1:
            queued(n)


def mark(sock, count):
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    for _ in range(count):
        sock.sendto(b"marker", (SINK, 9))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)


def stamps(sock):
    """When the markers came, nanoseconds; ends when none comes any more"""
    found = []
    while True:
        try:
            _, more, _, _ = sock.recvmsg(2048, 128)
        except socket.timeout:
            return found
        second, nano = struct.unpack("ll", more[0][2])
        found.append(second * 10 ** 9 + nano)


def arrived():
    rules = json.loads(sh("ip netns exec gw2 nft -j list table netdev t"))
    return next(part["counter"]["packets"] for item in rules["nftables"] if "rule" in item
                for part in item["rule"]["expr"] if "counter" in part)


def burst(socks, size):
    sh(PLUG.format("change", "block"))
    mark(socks[0], 1)
    send(socks, size)
    mark(socks[0], MARKERS)
    queued(PACKETS + MARKERS)
    sh("taskset 1 " + PLUG.format("change", "release_indefinite"))


def rate(socks, what, size):
    """packets per second, and how many got lost"""
    with rig.inside("gw2"):
        sink = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_UDP if what == "decrypts" else socket.IPPROTO_ESP)
    with sink:
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sink.settimeout(3)
        before = arrived()
        burst(socks, size)
        times = stamps(sink)
    if len(times) < 2:
        sys.exit(f"bench: {len(times)} markers arrived")
    got = arrived() - before
    return got * 10 ** 9 / (times[-1] - times[0]), PACKETS - got


def late(socks, size):
    """packets that come after a younger one of their flow"""
    with rig.inside("gw2"):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x800))
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        tap.bind(("l1", 0x800))
        burst(socks, size)
        tap.settimeout(3)
        youngest, found = [-1] * FLOWS, 0
        while True:
            try:
                packet = tap.recv(2048)
            except socket.timeout:
                return found
            if packet[9] != socket.IPPROTO_UDP or packet[1] == TOS:
                continue
            number = struct.unpack_from("!I", packet, 28)[0]
            found += number < youngest[number % FLOWS]
            youngest[number % FLOWS] = max(number, youngest[number % FLOWS])


def measure(what, impl, size):
    """{measure: value} of one burst, or of two"""
    rig.load(impl)
    protect(what, impl)
    socks = senders()
    mark(socks[0], 1)		# WireGuard's handshake
    time.sleep(0.5)
    found = dict(zip(("rate", "lost"), rate(socks, what, size)))
    if what == "decrypts" and size == SIZES[0]:
        found["late"] = late(socks, size)
    for sock in socks:
        sock.close()
    unprotect(impl)
    return found


def main():
    rig.prepare()
    network()
    rounds = {}
    for turn in range(ROUNDS):
        for what, impls in IMPLS.items():
            for size in SIZES:
                for impl in impls:
                    found = measure(what, impl, size)
                    rounds.setdefault((what, size, impl), []).append(found)
                    print(f"# round {turn + 1} of {ROUNDS}: {what}, {size} bytes, {impl}: {found}", flush=True)
    for (what, size, impl), found in rounds.items():
        for name, unit in (("rate", "packets/s"), ("lost", "packets"), ("late", "packets")):
            if name in found[0]:
                rig.row("scale", what, impl, name, unit, round(statistics.median(one[name] for one in found)), size)


if __name__ == "__main__":
    main()
