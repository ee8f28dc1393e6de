#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Instructions per packet of a pair of IPsec gateways, one after the other.

    pktgen > [src] > [gw1: encrypt] > [gw2: decrypt] > [sink]

Runs in a guest whose clock counts instructions (vm/run --icount): a time in
nanoseconds *is* a number of instructions there.  All implementations take their turns
within each suite, in the same boot.  What gw1 alone takes is counted with a gw2 that
drops what arrives; the rest is gw2's.
"""

import functools
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import rig		# noqa: E402
from rig import INTREE, INTREE_OFFLOAD, MODULE, MODULE_OFFLOAD, PCRYPT, SUITES, WIREGUARD, sh	# noqa: E402

COUNT = int(os.environ.get("IPSEC_BENCH_PACKETS", "2000"))
FEW = 100
QUEUED = 1000	# no more than those who leave work to others have room for (WireGuard: 1024)
SIZES = (64, 512, 1400)
TRACING = "/sys/kernel/tracing/"

# type->input, and what encrypts: type->output, or with offload the device's turn
FUNCTIONS = {
    (MODULE, "esp"): ("ipsec_input", "ipsec_output"), (MODULE, "ah"): ("ipsec_input", "ipsec_output"),
    (INTREE, "esp"): ("esp_input", "esp_output"), (INTREE, "ah"): ("ah_input", "ah_output"),
    (MODULE_OFFLOAD, "esp"): ("ipsec_input", "offload_xmit"), (INTREE_OFFLOAD, "esp"): ("esp_input", "esp_xmit"),
}


def setup(size, count):
    """Tells pktgen in src what to send."""
    lines = [("kpktgend_0", ["rem_device_all", "add_device r0"]),
             ("r0", [f"count {count}", f"pkt_size {size + 14}", "delay 0", "clone_skb 0", "dst 10.0.2.2",
                     "src_min 10.0.0.1", "src_max 10.0.0.1", f"dst_mac {rig.mac('gw1', 'l0')}",
                     "xmit_mode start_xmit"])]
    with rig.inside("src"):
        for name, commands in lines:
            for command in commands:
                rig.write(f"/proc/self/net/pktgen/{name}", command + "\n")


def start():
    with rig.inside("src"):
        rig.write("/proc/self/net/pktgen/pgctrl", "start\n")


def pktgen(count, size, end=("sink", "l2")):
    """Sends; the instructions that anything takes until all have come to the end"""
    setup(size, count)
    pid, pipe = rig.child(start)
    received = rig.Received(*end, count)
    total = rig.spent([pipe], received, f"{size} bytes to {end[0]}")
    os.waitpid(pid, 0)
    received.close()
    return total


def flood(count, size, end):
    """Sends; the instructions that pktgen says it took, every packet's way included"""
    setup(size, count)
    received = rig.Received(*end, count)
    pid, pipe = rig.child(start)
    os.write(pipe, b"g")
    os.close(pipe)
    os.waitpid(pid, 0)
    if not received():
        sys.exit(f"bench: {size} bytes: some have not come to {end[0]}")
    received.close()
    with rig.inside("src"), open("/proc/self/net/pktgen/r0", encoding="ascii") as file:
        return int(file.read().split("OK: ")[1].split("(")[0]) * 1000


def per_packet(impl, size, end=("sink", "l2")):
    """Who leaves work to others is not done when pktgen is; but what it takes to get
    pktgen going is then in the number, and in that of a few packets."""
    if impl not in (PCRYPT, WIREGUARD):
        return flood(COUNT, size, end) / COUNT
    many = min(FEW + COUNT, QUEUED)
    few = pktgen(FEW, size, end)
    return (pktgen(many, size, end) - few) / (many - FEW)


def gate(closed):
    """Does gw2 drop what comes from gw1?"""
    drop("gw2", "l1", "drop" if closed else "")


def drop(name, device, rule):
    sh(f"ip netns exec {name} nft 'table netdev t; delete table netdev t;"
       f" table netdev t {{ chain c {{ type filter hook ingress device {device} priority 0; {rule}; }}; }}'")


def calls(name, run):
    """Instructions of each call of a function while run() runs, all that it calls and
    the tracer's own included; least first"""
    for file, text in (("current_tracer", "nop"), ("set_ftrace_filter", name),
                       ("current_tracer", "function_graph"), ("trace", ""), ("tracing_on", "1")):
        rig.write(TRACING + file, text)
    run()
    durations = []
    with open(TRACING + "trace", encoding="ascii") as file:
        for line in file:
            if " us " in line and "|" in line and name in line:
                durations.append(float(line.split(" us ")[0].split()[-1]))
    rig.write(TRACING + "current_tracer", "nop")
    return [duration * 1000 for duration in sorted(durations)]


@functools.cache
def tracer():
    """What the tracer itself adds to a call: what one takes that does next to nothing"""
    return calls("__do_sys_getuid", lambda: [os.getuid() for _ in range(100)])[0]


def traced(name, size):
    """Instructions per call: the median ignores the calls that a timer interrupt fell into"""
    found = calls(name, lambda: flood(60, size, ("sink", "l2")))
    return found[len(found) // 2] - tracer()


def measure(impl, suite):
    def report(name, size, value):
        rig.row("gateway", suite, impl, name, "instructions per packet", round(value), size)

    sizes = (SIZES[0], SIZES[-1]) if impl in (PCRYPT, WIREGUARD) else SIZES
    rig.protect(impl, suite)
    pktgen(50, SIZES[0])
    both = {size: per_packet(impl, size) for size in sizes}
    for size in sizes:
        for name, function in functions(impl, suite):
            report(name, size, traced(function, size))
    gate(True)
    for size in sizes:
        encrypt = per_packet(impl, size, ("gw2", "l1"))
        for name, value in (("both", both[size]), ("encrypt", encrypt), ("decrypt", both[size] - encrypt)):
            report(name, size, value)
    gate(False)
    rig.unprotect(impl)


def functions(impl, suite):
    """(what, function) to be traced"""
    proto = SUITES[suite][0] if suite in SUITES else None
    yield from zip(("type->input", "type->output"), FUNCTIONS.get((impl, proto), ()))
    # one call for each packet; in-tree's is one in another for the IV
    if impl == MODULE and proto == "esp":
        yield from ((name, name) for name in ("crypto_aead_decrypt", "crypto_aead_encrypt"))


def prepare():
    rig.prepare()
    sh("modprobe pktgen; mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true")
    rig.network()
    # the sink looks no further
    drop("sink", "l2", "ip daddr 10.0.2.2 drop")
    gate(False)


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    prepare()
    for suite, impl in rig.pairs(only):
        rig.load(impl)
        measure(impl, suite)


if __name__ == "__main__":
    main()
