#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""One of two guests on a link: `static.py 1` asks and judges, `static.py 2` answers.

Every SA below has addresses of its own.  Ping and TCP go through it both ways,
then both ends look at their states.
"""

import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "../selftests/net/ipsec_v3"))
from lib import host, impl, ktap, xfrm			# noqa: E402
from lib.suite import cbc, chacha, gcm, sha256	# noqa: E402

ME = int(sys.argv[1])
PEER = 3 - ME
CONTROL, ECHO, NATT = 6999, 7000, 4500
AH_WORDS = sha256().words("ah")
CBC_WORDS = cbc().words()
# (name, family, protocol, mode, algorithms, more of host.state_line())
SAS = [
    ("ESP AES-GCM, ESN, tunnel 4", 4, "esp", "tunnel", gcm().words(),
     {"esn": True}),
    ("ESP AES-CBC, HMAC-SHA-256, transport 6", 6, "esp", "transport", CBC_WORDS, {}),
    ("ESP AES-CBC, HMAC-SHA-256, ESN, transport 4", 4, "esp", "transport", CBC_WORDS,
     {"esn": True}),
    ("ESP ChaCha20-Poly1305, ESN, tunnel 6", 6, "esp", "tunnel",
     chacha().words(), {"esn": True}),
    ("AH, ESN, transport 4", 4, "ah", "transport", AH_WORDS, {"esn": True}),
    ("AH, ESN, align4, transport 4", 4, "ah", "transport", AH_WORDS,
     {"esn": True, "flags": "align4"}),
    ("AH, ESN, transport 6", 6, "ah", "transport", AH_WORDS, {"esn": True}),
    ("ESP AES-GCM, ESN, in UDP, transport 4", 4, "esp", "transport",
     gcm().words(), {"esn": True, "encap": (NATT, NATT)}),
    ("ESP AES-GCM, in UDP, transport 6", 6, "esp", "transport",
     gcm().words(), {"encap": (NATT, NATT)}),
]


def address(number, family, who):
    return f"10.{20 + number}.0.{who}" if family == 4 else f"fd{20 + number}::{who}"


def start(number):
    return 5 << 32 if SAS[number - 1][5].get("esn") else 0


def lines_of(number):
    _, family, proto, mode, words, more = SAS[number - 1]
    here, there = (address(number, family, who) for who in (ME, PEER))
    bits = "24" if family == 4 else "64 dev eth0 nodad"
    yield f"addr add {here}/{bits}" + (" dev eth0" if family == 4 else "")
    for src, dst, sender in ((here, there, ME), (there, here, PEER)):
        yield host.state_line(src, dst, number * 16 + sender, words, proto, mode,
                              reqid=number, window=64, oseq=start(number),
                              seq=start(number), **more)
    pings = ["proto icmp"] if family == 4 else ["proto ipv6-icmp type 128",
                                                "proto ipv6-icmp type 129"]
    for selector in ["proto tcp", *pings]:
        for way, src, dst in (("out", here, there), ("in", there, here)):
            yield host.policy_line(way, src, f"{dst} {selector}",
                                   host.template(src, dst, proto, mode, number))


def setup():
    error = impl.load()
    if error:
        sys.exit(f"{error}")
    lines = ["link set lo up", "link set eth0 up",
             f"addr add {address(0, 4, ME)}/24 dev eth0"]
    for number in range(1, len(SAS) + 1):
        lines += lines_of(number)
    host.ip(lines=lines)
    sockets = []
    for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_UDP, host.UDP_ENCAP, host.ESPINUDP)
        sock.bind((wildcard, NATT))
        sockets.append(sock)
    return sockets


def figures():
    """[[numbers sent, packets in, failed in]] per SA, as this end has them"""
    found, link = [], xfrm.Socket()
    for number, (_, family, proto, *_) in enumerate(SAS, 1):
        out = link.get(address(number, family, PEER), number * 16 + ME, proto)
        back = link.get(address(number, family, ME), number * 16 + PEER, proto)
        # a packet that is cut into segments later counts once in the lifetime
        found.append([out.oseq - start(number), back.packets, back.failed])
    return found


def answer():
    """Echoes until the control connection ends, then sends the figures"""
    with socket.create_server(("::", ECHO), family=socket.AF_INET6,
                              dualstack_ipv6=True) as echo, \
         socket.create_server(("0.0.0.0", CONTROL)) as control:
        judge = control.accept()[0]
        for _ in SAS:
            with echo.accept()[0] as client:
                while data := client.recv(65536):
                    client.sendall(data)
        judge.recv(1)
        judge.sendall(json.dumps([impl.WANTED, figures(), impl.check()]).encode())
        judge.shutdown(socket.SHUT_WR)
        judge.recv(1)


def connect():
    deadline = time.monotonic() + 120
    while True:
        try:
            return socket.create_connection((address(0, 4, PEER), CONTROL), 3)
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("the other guest does not answer")
            time.sleep(0.5)


def carries(number):
    """What went wrong, or "" """
    family = SAS[number - 1][1]
    there = address(number, family, PEER)
    data, back = os.urandom(50000), b""
    try:
        with socket.create_connection((there, ECHO), 15) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                back += part
    except OSError as error:
        return f"TCP: {error}"
    ping = subprocess.run(["ping", "-n", "-c", "3", "-i", "0.2", "-W", "3", there],
                          check=False, stdout=subprocess.DEVNULL)
    return "TCP changed the data" if back != data else "ping" if ping.returncode else ""


def verdict(wrong, mine, theirs):
    """mine and theirs: [out, in, failed]"""
    if wrong:
        return wrong
    if min(mine[:2]) < 20 or mine[2] or theirs[2]:
        return f"the states say {mine} here, {theirs} there"
    if mine[0] != theirs[1] or mine[1] != theirs[0]:
        return f"packets were lost: {mine} here, {theirs} there"
    return ""


def ask():
    control = connect()
    wrong = [carries(number) for number in range(1, len(SAS) + 1)]
    control.settimeout(10)
    control.send(b"x")
    reply = b""
    while part := control.recv(65536):
        reply += part
    theirs, there, error = json.loads(reply)
    here, failures = figures(), 0
    control.close()
    print("TAP version 13", f"1..{len(SAS)}", sep="\n")
    ktap.say(f"{', '.join(impl.WANTED)} with {', '.join(theirs)}")
    for number, (name, *_) in enumerate(SAS, 1):
        text = error or impl.check() or verdict(wrong[number - 1], here[number - 1],
                                                there[number - 1])
        failures += bool(text)
        if text:
            ktap.say(text)
        print(f"{'not ok' if text else 'ok'} {number} {name}", flush=True)
    return failures


OPEN = setup()
if ME == 1:
    sys.exit(1 if ask() else 0)
answer()
