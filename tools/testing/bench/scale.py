#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""How many packets of one SA a gateway handles, module against in-tree.

    [src] > [gw] > [sink]

Runs in a guest with as many CPUs as the question has, in the same boot alternating.
The packets of a burst wait behind a plug in src until all are there, encrypted
already when gw shall decrypt, so that no sender takes a CPU from the gateway.
One CPU lets them go, and receives them. Markers (another DSCP) ahead of the burst
and behind it are time-stamped in the sink, which throws the others away.

    scale.py [ROUNDS] [PACKETS]

Prints a JSON object per burst, and at the end the medians and their ratios.
"""

import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
PACKETS = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
SPREAD = os.environ.get("IPSEC_SPREAD", "16")
KEY = "0x" + "".join(f"{i:02x}" for i in range(20))
NAMES = ("src", "gw", "sink")
FLOWS = 16
MARKERS = 8
TOS = 0x20			# of a marker
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
IMPLS = {"in-tree": ["esp4", "ah4"], "module": ["ipsec_v3 offload=0 spread=0"],
         "module, spread": [f"ipsec_v3 offload=0 spread={SPREAD}"]}


def sh(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def network():
    for name in NAMES:
        sh(f"ip netns add {name}; ip -n {name} link set lo up;"
           f"ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.disable_ipv6=1")
    for i, (left, right) in enumerate(zip(NAMES, NAMES[1:])):
        sh(f"ip link add r{i} netns {left} type veth peer name l{i} netns {right};"
           f"ip -n {left} addr add 10.0.{i}.1/24 dev r{i}; ip -n {right} addr add 10.0.{i}.2/24 dev l{i};"
           f"ip -n {left} link set r{i} up; ip -n {right} link set l{i} up")
        for here, dev, there, far, address in ((left, f"r{i}", right, f"l{i}", f"10.0.{i}.2"),
                                               (right, f"l{i}", left, f"r{i}", f"10.0.{i}.1")):
            mac = sh(f"ip netns exec {there} cat /sys/class/net/{far}/address").strip()
            sh(f"ip -n {here} neigh replace {address} dev {dev} lladdr {mac}")
    sh("ip -n src route add 10.0.1.0/24 via 10.0.0.2; ip -n sink route add 10.0.0.0/24 via 10.0.1.1;"
       "ip netns exec src tc qdisc add dev r0 root plug limit 1000000000;"
       "sysctl -qw net.core.netdev_max_backlog=100000;"
       "ip netns exec sink nft 'table netdev t { chain c { type filter hook ingress device l1 priority 0;"
       " ip dscp cs1 accept; ip protocol { udp, esp } counter drop; }; }'")


def load(impl):
    """This implementation and no other"""
    for name in ("ipsec_v3", "esp4", "ah4"):
        subprocess.run(["modprobe", "-r", name], check=False, capture_output=True)
        if os.path.exists(f"/sys/module/{name}"):
            sys.exit(f"scale: {name} is still loaded")
    for words in IMPLS[impl]:
        sh(f"modprobe --ignore-install {words}")


def protect(what):
    """The tunnel ends on gw, and begins or ends where the question is not"""
    ends = {"decrypt": ("10.0.0.1", "10.0.0.2"), "encrypt": ("10.0.1.1", "10.0.1.2")}[what]
    sa = f"src {ends[0]} dst {ends[1]}"
    tmpl = f"tmpl {sa} proto esp reqid 1 mode tunnel"
    hosts = {"decrypt": (("src", "out"), ("gw", "fwd")), "encrypt": (("gw", "out"),)}[what]
    for host, direction in hosts:
        sh(f"ip -n {host} xfrm state add {sa} proto esp spi 0x100 reqid 1 mode tunnel flag esn"
           f" replay-window 1024 aead 'rfc4106(gcm(aes))' {KEY} 128;"
           f"ip -n {host} xfrm policy add src 10.0.0.0/24 dst 10.0.1.0/24 dir {direction} {tmpl}")


def unprotect():
    for host in NAMES:
        sh(f"ip -n {host} xfrm policy flush; ip -n {host} xfrm state flush")
    time.sleep(0.5)


def socket_in(name, *kind):
    with open(f"/run/netns/{name}", "rb") as there, open("/proc/1/ns/net", "rb") as home:
        libc.setns(there.fileno(), 0)
        made = socket.socket(socket.AF_INET, *kind)
        libc.setns(home.fileno(), 0)
    return made


def senders():
    made = []
    for n in range(FLOWS):
        sock = socket_in("src", socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 29)
        sock.bind(("10.0.0.1", 5000 + n))
        made.append(sock)
    return made


def send(socks, size, count):
    """count packets of size bytes, in flows by turns"""
    data = bytes(size - 28)
    for n in range(count):
        socks[n % FLOWS].sendto(data, ("10.0.1.2", 9))
    return count


def mark(sock, count):
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
    for _ in range(count):
        sock.sendto(b"marker", ("10.0.1.2", 9))
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
    rules = json.loads(sh("ip netns exec sink nft -j list table netdev t"))
    return next(part["counter"]["packets"] for item in rules["nftables"] if "rule" in item
                for part in item["rule"]["expr"] if "counter" in part)


def burst(socks, sink, size):
    """packets per second, and how many got lost"""
    sh("ip netns exec src tc qdisc change dev r0 root plug block")
    mark(socks[0], 1)
    sent = send(socks, size, PACKETS)
    mark(socks[0], MARKERS)
    before = arrived()
    sh("taskset 1 ip netns exec src tc qdisc change dev r0 root plug release_indefinite")
    times = stamps(sink)
    if len(times) < 2:
        sys.exit(f"scale: {len(times)} markers arrived")
    got = arrived() - before
    return got * 10 ** 9 / (times[-1] - times[0]), sent - got


def measure(what, impl, size):
    load(impl)
    protect(what)
    socks = senders()
    with socket_in("sink", socket.SOCK_RAW, socket.IPPROTO_UDP if what == "decrypt" else socket.IPPROTO_ESP) as sink:
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sink.settimeout(3)
        rate, lost = burst(socks, sink, size)
    for sock in socks:
        sock.close()
    unprotect()
    return {"what": what, "impl": impl, "size": size, "rate": round(rate), "lost": lost}


def main():
    network()
    rows = []
    for turn in range(ROUNDS):
        for what in ("decrypt", "encrypt"):
            for size in (64, 1400):
                for impl in IMPLS:
                    rows.append(measure(what, impl, size))
                    print(json.dumps({"round": turn, **rows[-1]}), flush=True)
    for what in ("decrypt", "encrypt"):
        for size in (64, 1400):
            rate = {impl: statistics.median(row["rate"] for row in rows if row["impl"] == impl and
                                            row["what"] == what and row["size"] == size) for impl in IMPLS}
            print(f"# gateway, {what}, {size} bytes: " + ", ".join(
                f"{impl} {value:.0f}/s ({value / rate['in-tree']:.2f})" for impl, value in rate.items()))


if __name__ == "__main__":
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    main()
