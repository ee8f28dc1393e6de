#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a packet filter knows about a packet's SA: nftables' meta secpath, rt ipsec
and ipsec expressions, iptables' policy match.
"""

import json
import re
import subprocess

from lib import ktap, packet
from lib.line import Line, Rig
from lib.shape import PORT_DUT, TRANSPORT, TUNNEL
from lib.suite import gcm, sha256

START = 68 << 32 | 1000
SUITE = {"esp": gcm(), "ah": sha256()}
CLEAR = 5002		# a port of the peer's that no policy covers
RIG = Rig()


def line(shape, kind):
    return Line(RIG, shape, SUITE[kind], kind, True, 64, START)


def both_ways(on):
    """Two packets each way through the SAs, one each way in the clear"""
    for number in (1, 2):
        on.sends(number)
        on.arrives(number)
    shape = on.shape
    RIG.sockets.plain[shape.inner_here].sendto(b"clear", (shape.inner_there, CLEAR))
    RIG.dut.wire.receive(packet.UDP)
    segment = packet.udp(shape.inner_there, shape.inner_here, CLEAR, PORT_DUT, b"clear")
    RIG.dut.wire.send(packet.ip(shape.inner_there, shape.inner_here, packet.UDP, segment))
    ktap.equal(RIG.sockets.receive(shape), b"clear", "data in the clear")


def run(*words, **more):
    done = RIG.dut.run(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    ktap.check(done.returncode == 0, f"{' '.join(words)}: {done.stdout.strip()}")
    return done.stdout


# -- nftables -----------------------------------------------------------------------

def nft_rules(shape):
    """{counter: (chain, condition, packets that meet it)}"""
    rules = {
        "in-protected": ("input", "meta secpath exists", 2),
        "in-clear": ("input", "meta secpath missing", 1),
        "in-spi": ("input", "ipsec in spi 0x101", 2),
        "in-reqid": ("input", "ipsec in reqid 1", 2),
        "in-other": ("input", "ipsec in reqid 2", 0),
        "out-protected": ("output", "rt ipsec exists", 2),
        "out-clear": ("output", "rt ipsec missing", 1),
        "out-spi": ("output", "ipsec out spi 0x100", 2),
        "out-reqid": ("output", "ipsec out reqid 1", 2),
        "out-other": ("output", "ipsec out spi 0x101", 0),
    }
    if shape.mode == "tunnel":
        kind = "ip" if shape.outer == 4 else "ip6"
        rules["in-tunnel"] = ("input", f"ipsec in {kind} saddr {shape.there}", 2)
        rules["out-tunnel"] = ("output", f"ipsec out {kind} daddr {shape.there}", 2)
    return rules


def nft_table(rules):
    names = "\n".join(f"counter {name} {{ }}" for name in rules)
    chains = ""
    for chain in ("input", "output"):
        port = "dport" if chain == "input" else "sport"
        lines = [f"udp {port} {PORT_DUT} {condition} counter name {name}"
                 for name, (where, condition, _) in rules.items() if where == chain]
        chains += (f"chain {chain} {{ type filter hook {chain} priority 0;\n" +
                   "\n".join(lines) + "\n}\n")
    return f"table inet test {{\n{names}\n{chains}}}\n"


def nft(shape, kind):
    on = line(shape, kind)
    rules = nft_rules(shape)
    run("nft", "-f", "-", input=nft_table(rules))
    try:
        both_ways(on)
        found = json.loads(run("nft", "-j", "list", "counters"))["nftables"]
    finally:
        run("nft", "delete", "table", "inet", "test")
    counted = {row["counter"]["name"]: row["counter"]["packets"] for row in found
               if "counter" in row}
    ktap.equal(counted, {name: row[2] for name, row in rules.items()}, "counters")


# -- iptables -------------------------------------------------------------------------

def policy_rules(shape, kind):
    """[(chain, port, match, packets that meet it)]"""
    ends = {"INPUT": (shape.there, shape.here), "OUTPUT": (shape.here, shape.there)}
    for chain, (src, dst) in ends.items():
        port = "--dport" if chain == "INPUT" else "--sport"
        way = "in" if chain == "INPUT" else "out"
        whole = f"--pol ipsec --strict --reqid 1 --proto {kind} --mode {shape.mode}"
        if shape.mode == "tunnel" and shape.outer == shape.inner:
            whole += f" --tunnel-src {src} --tunnel-dst {dst}"
        for match, packets in (("--pol ipsec", 2), ("--pol none", 1), (whole, 2),
                               ("--pol ipsec --strict --reqid 2", 0)):
            yield chain, port, f"--dir {way} {match}", packets


def iptables(shape, kind):
    on = line(shape, kind)
    tool = "iptables" if shape.inner == 4 else "ip6tables"
    rules = list(policy_rules(shape, kind))
    try:
        for chain, port, match, _ in rules:
            run(tool, "-A", chain, "-p", "udp", port, str(PORT_DUT), "-m", "policy",
                *match.split())
        both_ways(on)
        shown = run(f"{tool}-save", "-c", "-t", "filter")
    finally:
        run(tool, "-F")
    counted = re.findall(r"^\[(\d+):\d+\] -A", shown, re.MULTILINE)
    ktap.equal([int(n) for n in counted], [row[3] for row in rules],
               "\n".join(row[2] for row in rules) + "\npackets")


for _shape in (*TRANSPORT, *TUNNEL):
    for _kind in ("esp", "ah"):
        ktap.add(f"nft, {_kind} {_shape}", nft, _shape, _kind)
        ktap.add(f"iptables policy, {_kind} {_shape}", iptables, _shape, _kind)

ktap.shorten(2)
ktap.main(RIG.start, RIG.stop)
