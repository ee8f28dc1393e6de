#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions per packet of a pair of IPsec gateways, module against in-tree.

    pktgen > [src] > [gw1: encrypt] > [gw2: decrypt] > [sink]

Runs in a guest whose clock counts instructions (vm/run --icount): a time in
nanoseconds *is* a number of instructions there. Every case is measured with
in-tree and with the module in the same boot, and without IPsec for the floor.
Prints one JSON object per measurement; tools/testing/bench/run makes the table.
"""

import json
import os
import subprocess
import sys
import time

COUNT = int(os.environ.get("IPSEC_BENCH_PACKETS", "5000"))
KEY = "0x" + "".join(f"{i:02x}" for i in range(64))
TRACING = "/sys/kernel/tracing/"

SUITES = {
    "aes-gcm esn": ("esp", "flag esn replay-window 64", f"aead 'rfc4106(gcm(aes))' {KEY[:42]} 128"),
    "chacha20-poly1305": ("esp", "replay-window 64", f"aead 'rfc7539esp(chacha20,poly1305)' {KEY[:74]} 128"),
    "aes-cbc hmac-sha-256": ("esp", "replay-window 64",
                             f"enc 'cbc(aes)' {KEY[:34]} auth-trunc 'hmac(sha256)' {KEY[:66]} 128"),
    "ah hmac-sha-256": ("ah", "replay-window 64", f"auth-trunc 'hmac(sha256)' {KEY[:66]} 128"),
}
CASES = [("aes-gcm esn", 64), ("aes-gcm esn", 1400), ("chacha20-poly1305", 64), ("chacha20-poly1305", 1400),
         ("aes-cbc hmac-sha-256", 64), ("aes-cbc hmac-sha-256", 1400), ("ah hmac-sha-256", 64), ("ah hmac-sha-256", 1400)]

# what "type->input" and "type->output" are called in each implementation
# type->input, and what encrypts: type->output, or with offload the device's turn
FUNCTIONS = {
    ("module", False): {"esp": ("ipsec_input", "ipsec_output"), "ah": ("ipsec_input", "ipsec_output")},
    ("module", True): {"esp": ("ipsec_input", "offload_xmit")},
    ("in-tree", False): {"esp": ("esp_input", "esp_output"), "ah": ("ah_input", "ah_output")},
    ("in-tree", True): {"esp": ("esp_input", "esp_xmit")},
}
# like is compared with like: the core itself takes longer with offload, GSO or not
MODULES = {("module", False): ["ipsec_v3"], ("module", True): ["ipsec_v3 offload=1"],
           ("in-tree", False): ["esp4", "ah4"], ("in-tree", True): ["esp4", "ah4", "esp4_offload"]}


def sh(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def batch(lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), check=True, text=True)


def network():
    """src - gw1 - gw2 - sink, one veth between neighbours, routes both ways"""
    names = ["src", "gw1", "gw2", "sink"]
    for name in names:
        sh(f"ip netns add {name}; ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1"
           " net.ipv6.conf.all.disable_ipv6=1")
    for i, (left, right) in enumerate(zip(names, names[1:])):
        sh(f"ip link add r{i} netns {left} type veth peer name l{i} netns {right};"
           f"ip -n {left} addr add 10.0.{i}.1/24 dev r{i}; ip -n {right} addr add 10.0.{i}.2/24 dev l{i};"
           f"ip -n {left} link set r{i} up; ip -n {right} link set l{i} up")
        sh(f"ip -n {left} neigh replace 10.0.{i}.2 dev r{i} lladdr $(ip netns exec {right} cat /sys/class/net/l{i}/address);"
           f"ip -n {right} neigh replace 10.0.{i}.1 dev l{i} lladdr $(ip netns exec {left} cat /sys/class/net/r{i}/address)")
    sh("ip -n gw1 route add 10.0.2.0/24 via 10.0.1.2; ip -n gw2 route add 10.0.0.0/24 via 10.0.1.1")
    # the sink counts what arrives and looks no further
    sh("ip netns exec sink nft 'table netdev t { chain c { type filter hook ingress device l2 priority 0;"
       " ip daddr 10.0.2.2 counter drop; }; }'")


def load(impl, offload=False):
    """This implementation and no other"""
    names = sorted({words.split()[0] for wanted in MODULES.values() for words in wanted},
                   key="esp4_offload".__ne__)	# which holds esp4
    for name in names:
        subprocess.run(["modprobe", "-r", name], check=False, capture_output=True)
        if os.path.exists(f"/sys/module/{name}"):
            sys.exit(f"bench: {name} is still loaded")
    for words in MODULES[impl, offload]:
        sh(f"modprobe --ignore-install {words}")


def protect(suite):
    proto, flags, algo = SUITES[suite]
    sa = f"src 10.0.1.1 dst 10.0.1.2 proto {proto} spi 0x100 reqid 1 mode tunnel {flags} {algo}"
    tmpl = f"src 10.0.0.0/24 dst 10.0.2.0/24 %s tmpl src 10.0.1.1 dst 10.0.1.2 proto {proto} reqid 1 mode tunnel"
    for gw, directions in (("gw1", ["dir out"]), ("gw2", ["dir fwd", "dir in"])):
        sh(f"ip -n {gw} xfrm state add {sa}")
        for direction in directions:
            sh(f"ip -n {gw} xfrm policy add {tmpl % direction}")


def unprotect():
    for gw in ("gw1", "gw2"):
        sh(f"ip -n {gw} xfrm policy flush; ip -n {gw} xfrm state flush")
    time.sleep(0.2)


def arrived():
    rule = json.loads(sh("ip netns exec sink nft -j list table netdev t"))
    return next(e["counter"]["packets"] for o in rule["nftables"] if "rule" in o
                for e in o["rule"]["expr"] if "counter" in e)


def pktgen(count, size):
    """send, and return nanoseconds per packet until all have arrived"""
    mac = sh("ip netns exec gw1 cat /sys/class/net/l0/address").strip()
    setup = [("kpktgend_0", ["rem_device_all", "add_device r0"]),
             ("r0", [f"count {count}", f"pkt_size {size + 14}", "delay 0", "clone_skb 0", "dst 10.0.2.2",
                     "src_min 10.0.0.1", "src_max 10.0.0.1", f"dst_mac {mac}", "xmit_mode start_xmit"])]
    script = "".join(f"echo '{line}' > /proc/net/pktgen/{name};" for name, lines in setup for line in lines)
    before = arrived()
    out = sh(f"ip netns exec src sh -c \"mount -t proc proc /proc; {script} "
             "echo start > /proc/net/pktgen/pgctrl; grep -A1 Result /proc/net/pktgen/r0\"")
    usec = int(out.split("OK: ")[1].split("(")[0])
    got = arrived() - before
    if got != count:
        sys.exit(f"bench: {got} of {count} packets arrived")
    return usec * 1000 / count


def traced(functions, size):
    """nanoseconds per call of each function, all that they call included"""
    totals = {}
    for name in functions:
        for file, text in (("current_tracer", "nop"), ("set_ftrace_filter", name),
                           ("current_tracer", "function_graph"), ("trace", ""), ("tracing_on", "1")):
            with open(TRACING + file, "w", encoding="ascii") as f:
                f.write(text)
        pktgen(200, size)
        durations = []
        with open(TRACING + "trace", encoding="ascii") as f:
            for line in f:
                if " us " in line and "|" in line and name in line:
                    durations.append(float(line.split(" us ")[0].split()[-1]))
        with open(TRACING + "current_tracer", "w", encoding="ascii") as f:
            f.write("nop")
        # the median ignores the calls that a timer interrupt fell into
        totals[name] = sorted(durations)[len(durations) // 2] * 1000 if durations else None
    return totals


def report(**values):
    print(json.dumps(values), flush=True)


def measure(impl, offload, suite, size):
    protect(suite)
    pktgen(200, size)
    per_packet = pktgen(COUNT, size)
    functions = FUNCTIONS[impl, offload][SUITES[suite][0]]
    calls = traced(functions, size)
    report(impl=impl, offload=offload, suite=suite, size=size, packet=round(per_packet),
           input=calls[functions[0]], output=calls[functions[1]])
    unprotect()


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    # without udev nobody loads what the CPU can do, and while a disk is waited for this
    # clock runs away from those who load the templates with a timeout
    sh("for m in aesni_intel ghash_clmulni_intel sha256_ssse3 chacha_x86_64 poly1305_x86_64"
       " gcm ctr cbc seqiv echainiv authenc authencesn chacha20poly1305; do modprobe -q $m; done; true")
    sh("modprobe pktgen; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true")
    network()
    for size in sorted({size for _, size in CASES}):
        pktgen(200, size)
        report(impl="none", suite="plain forwarding", size=size, packet=round(pktgen(COUNT, size)),
               input=None, output=None)
    for impl, offload in FUNCTIONS:
        load(impl, offload)
        for suite, size in CASES:
            if only in suite and SUITES[suite][0] in FUNCTIONS[impl, offload]:
                measure(impl, offload, suite, size)


if __name__ == "__main__":
    main()
