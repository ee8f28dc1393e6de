#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How many packets of one SA a gateway handles, and does it keep the order of each flow;
and of two SAs, each of which comes to a CPU of its own, so that spreading gains nothing.
With one CPU, only how many it decrypts.

    [src]  > plug > [gw1] > [gw2]
    [src2] > plug >

Runs in a guest with as many CPUs as the question has; unlike in the other parts, what
is measured is time, so nothing else should run on the machine.  The packets of a
burst wait behind a plug at the door of gw1 until all are there, encrypted already when
gw1 shall decrypt, so that no sender takes a CPU from the gateway.  One CPU lets them go, and
receives them as it would from the ring of a NIC: those that it has no time for yet are in no
queue of the core's (the device ifb stops its own when that is full).  Markers (another DSCP)
ahead of the burst and behind it are time-stamped in gw2, which throws the others away.  Every
figure is the median of all rounds, in which the implementations take their turns.
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
from rig import ALONE, INTREE, MODULE, PCRYPT, PLAIN, WIREGUARD, sh	# noqa: E402

ROUNDS = int(os.environ.get("IPSEC_BENCH_ROUNDS", "3"))
PACKETS = int(os.environ.get("IPSEC_BENCH_PACKETS", "60000"))
SUITE = "AES-GCM, ESN"
BUSY = "decrypts, two SAs"
IMPLS = {"decrypts": (PLAIN, INTREE, PCRYPT, ALONE, MODULE, WIREGUARD),
         # what WireGuard sends shows no marker
         "encrypts": (INTREE, PCRYPT, ALONE, MODULE),
         BUSY: (INTREE, ALONE, MODULE)}
if os.cpu_count() == 1:
    IMPLS = {"decrypts": (PLAIN, INTREE, MODULE, WIREGUARD)}
SIZES = (64, 1400)
FLOWS = 16
WIREGUARD_PACKETS = 900		# it encrypts later, and more would not fit its queue, markers included
MARKERS = 8
TRIES = 5			# of a burst whose first or last markers all got lost
TOS = 0x20			# of a marker
SINK = "10.0.1.2"
ETH_ALL, ETH_IP = 3, 0x800
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
PLUG = "tc -n gw1 qdisc {} dev {} root plug {}"
SOURCES = {"src": "10.0.0", "src2": "10.0.3"}	# and their networks
DOORS = {"src": "l0", "src2": "l3"}		# of gw1
RING = 256
SECONDS = 10			# more than a burst takes


def network():
    rig.network(("src", "gw1", "gw2"))
    sh("ip -n src route add 10.0.1.0/24 via 10.0.0.2; ip -n gw2 route add 10.0.0.0/24 via 10.0.1.1;"
       "sysctl -qw net.core.netdev_max_backlog=100000;"
       "ip netns exec gw2 nft 'table netdev t { chain c { type filter hook ingress device l1 priority 0;"
       " ip dscp cs1 accept; ip protocol { udp, esp } counter drop; }; }'")
    sh("ip netns add src2; ip netns exec src2 sysctl -qw net.ipv6.conf.all.disable_ipv6=1;"
       "ip link add r0 netns src2 type veth peer name l3 netns gw1;"
       "ip -n src2 addr add 10.0.3.1/24 dev r0; ip -n gw1 addr add 10.0.3.2/24 dev l3;"
       "ip -n src2 link set r0 up; ip -n gw1 link set l3 up; ip -n src2 route add 10.0.1.0/24 via 10.0.3.2;"
       "ip -n gw2 route add 10.0.3.0/24 via 10.0.1.1")
    sh(f"ip -n src2 neigh replace 10.0.3.2 dev r0 lladdr {rig.mac('gw1', 'l3')}")
    for source, door in DOORS.items():
        sh(f"ip -n gw1 link add {source} type ifb; ip -n gw1 link set {source} up txqueuelen {RING};"
           f"tc -n gw1 qdisc add dev {door} ingress;"
           # not what has left an SA, and comes through the same door once more
           f"tc -n gw1 filter add dev {door} ingress protocol ip u32 match mark 0 0xffffffff"
           f" action skbedit mark 1 pipe action mirred egress redirect dev {source}")
        sh(PLUG.format("add", source, "limit 1000000000"))
        sh(PLUG.format("change", source, "release_indefinite"))


def protect(what, impl):
    """The tunnel ends on gw1, and begins or ends where the question is not."""
    if impl == PLAIN:
        return
    if impl == WIREGUARD:
        rig.wireguard("src", "gw1", "10.0.0", "10.0.1.0/24")
        return
    if impl == PCRYPT:
        rig.parallel(rig.SUITES[SUITE][3])
    if what == "encrypts":
        tunnel(0x100, ("10.0.1.1", SINK), "10.0.0.0/24", (("gw1", "out"),))
        return
    for spi, (source, net) in enumerate(SOURCES.items(), 0x100):
        tunnel(spi, (f"{net}.1", f"{net}.2"), f"{net}.0/24", ((source, "out"), ("gw1", "fwd")))


def tunnel(spi, ends, behind, hosts):
    """hosts: that know of it, and the direction of the policy there"""
    proto, flags, algo, _ = rig.SUITES[SUITE]
    sa = f"src {ends[0]} dst {ends[1]} proto {proto}"
    for host, direction in hosts:
        rig.patient(sh, f"ip -n {host} xfrm state add {sa} spi {spi:#x} reqid 1 mode tunnel {flags} {algo}")
        sh(f"ip -n {host} xfrm policy add src {behind} dst 10.0.1.0/24 dir {direction}"
           f" tmpl {sa} reqid 1 mode tunnel")


def unprotect(impl):
    if impl == WIREGUARD:
        sh("ip -n src link del wg0; ip -n gw1 link del wg0; ip -n src route replace 10.0.1.0/24 via 10.0.0.2")
    for host in (*SOURCES, "gw1"):
        sh(f"ip -n {host} xfrm policy flush; ip -n {host} xfrm state flush")
    time.sleep(0.5)


def senders(source):
    made = []
    with rig.inside(source):
        for n in range(FLOWS):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 29)
            sock.bind((f"{SOURCES[source]}.1", 5000 + n))
            made.append(sock)
    return made


def waiting(source):
    """Packets behind the plug"""
    return json.loads(sh(f"tc -n gw1 -s -j qdisc show dev {source}"))[0]["qlen"]


def queued(source, count):
    until = time.monotonic() + 20
    while waiting(source) < count:
        if time.monotonic() > until:
            sys.exit(f"bench: {waiting(source)} of {count} packets wait for the gateway")


def send(socks, size, count):
    """Packets of size bytes, their number in front, in flows by turns"""
    rest = bytes(size - 28 - 4)
    for n in range(count):
        socks[n % FLOWS].sendto(struct.pack("!I", n) + rest, (SINK, 9))


def mark(sock, count):
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    for _ in range(count):
        sock.sendto(b"marker", (SINK, 9))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)


def stamps(sock, most):
    """When the markers came, nanoseconds; ends with the last, or when none comes any more"""
    found = []
    while len(found) < most:
        try:
            _, more, _, _ = sock.recvmsg(2048, 128)
        except socket.timeout:
            break
        second, nano = struct.unpack("ll", more[0][2])
        found.append(second * 10 ** 9 + nano)
    return found


def arrived():
    rules = json.loads(sh("ip netns exec gw2 nft -j list table netdev t"))
    return next(part["counter"]["packets"] for item in rules["nftables"] if "rule" in item
                for part in item["rule"]["expr"] if "counter" in part)


def burst(socks, size, count):
    """socks: {source: its sockets}; each is let go by a CPU of its own"""
    for source, some in socks.items():
        sh(PLUG.format("change", source, "block"))
        mark(some[0], MARKERS)
        send(some, size, count)
        mark(some[0], MARKERS)
        queued(source, count + 2 * MARKERS)
    sh("".join(f"taskset -c {cpu} {PLUG.format('change', source, 'release_indefinite')} & "
               for cpu, source in enumerate(socks)) + "wait")


def rate(socks, what, size, count):
    """packets per second, negative when its end was not seen, and how many got lost"""
    with rig.inside("gw2"):
        sink = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_ESP if what == "encrypts" else socket.IPPROTO_UDP)
    with sink:
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sink.settimeout(SECONDS)
        before = arrived()
        burst(socks, size, count)
        times = stamps(sink, 2 * MARKERS * len(socks))
    time.sleep(0.5)		# other flows than that of the markers may be on another CPU
    got = arrived() - before
    lost = count * len(socks) - got
    if len(times) <= MARKERS * len(socks):	# perhaps none of those ahead of it
        return -1, lost
    return got * 10 ** 9 / (times[-1] - times[0]), lost


def seen_rate(socks, what, size, count):
    """Likewise, of a burst whose end was seen"""
    for _ in range(TRIES):
        found = rate(socks, what, size, count)
        if found[0] > 0:
            return found
        print(f"# {what}, {size} bytes: the end got lost, with {found[1]} packets: once more", flush=True)
    sys.exit(f"bench: the end of {TRIES} bursts got lost")


def seen(tap):
    """The numbers of the packets, markers left out; ends when none comes any more"""
    while True:
        try:
            packet, origin = tap.recvfrom(2048)
        except socket.timeout:
            return
        if origin[1] == ETH_IP and packet[9] == socket.IPPROTO_UDP and packet[1] != TOS:
            yield struct.unpack_from("!I", packet, 28)[0]


def late(socks, size, count):
    """packets that come after a younger one of their flow"""
    with rig.inside("gw2"):
        # one for IPv4 alone would come behind the rule that throws them away
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_ALL))
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        tap.bind(("l1", ETH_ALL))
        before = arrived()
        burst(socks, size, count)
        tap.settimeout(SECONDS)
        numbers = list(seen(tap))
    got = arrived() - before
    if not numbers or len(numbers) != got:	# or "none is late" would say nothing
        sys.exit(f"bench: of {got} packets that arrived the tap saw {len(numbers)}")
    youngest, found = [-1] * FLOWS, 0
    for number in numbers:
        found += number < youngest[number % FLOWS]
        youngest[number % FLOWS] = max(number, youngest[number % FLOWS])
    return found


def measure(what, impl, size):
    """{measure: value} of one burst, or of two"""
    rig.load(impl)
    protect(what, impl)
    socks = {source: senders(source) for source in (SOURCES if what == BUSY else ["src"])}
    for some in socks.values():
        mark(some[0], 1)		# WireGuard's handshake
    time.sleep(0.5)
    count = WIREGUARD_PACKETS if impl == WIREGUARD else PACKETS
    found = dict(zip(("rate", "lost"), seen_rate(socks, what, size, count)))
    if what == "decrypts" and size == SIZES[0]:
        found["late"] = late(socks, size, count)
    for sock in sum(socks.values(), []):
        sock.close()
    unprotect(impl)
    return found


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    rig.prepare()
    network()
    rounds = {}
    for turn in range(ROUNDS):
        for what, impls in IMPLS.items():
            for size in SIZES:
                for impl in impls if only in f"{what}, {size} bytes" else ():
                    found = measure(what, impl, size)
                    rounds.setdefault((what, size, impl), []).append(found)
                    print(f"# round {turn + 1} of {ROUNDS}: {what}, {size} bytes, {impl}: {found}", flush=True)
    for (what, size, impl), found in rounds.items():
        for name, unit in (("rate", "packets/s"), ("lost", "packets"), ("late", "packets")):
            if name in found[0]:
                figures = [one[name] for one in found]
                rig.row("scale", what, impl, name, unit,
                        round(statistics.median(figures) if name == "rate" else max(figures)), size)


if __name__ == "__main__":
    main()
