#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""IKE daemons with the module below them, in one guest; with IPSEC_PEER=1 the
side that answers is in another (remote.py).

Every case is verified by ping and TCP in both directions, by the states that the
daemons installed, by packets sent on one side being received on the other, and by the
counters of lost packets, which must not move.
"""

import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../selftests/net/ipsec_v3")]
from lib import impl, ktap						# noqa: E402
import daemons								# noqa: E402
import ends								# noqa: E402
import remote								# noqa: E402
import special								# noqa: E402

PEER = os.environ.get("IPSEC_PEER") == "1"
CASES = os.environ.get("IPSEC_CASES")	# plain or special: half of them
SHORT = os.environ.get("IPSEC_SHORT") == "1"
PAIRS = [("strongSwan", "strongSwan"), ("libreswan", "libreswan"), ("libreswan", "strongSwan"),
         ("strongSwan", "libreswan")]	# the last one is in the short form of the special ones


class Site:
    """Ends that stay up from case to case; one failure, and they are made anew."""

    def __init__(self):
        self.kinds, self.router, self.ends = None, None, []

    def of(self, apart, *kinds):
        """apart: which End is in the other guest, if there is one"""
        if self.kinds != (apart, *kinds):
            self.close()
            self.kinds, self.router = (apart, *kinds), ends.Router()
            for letter, kind in zip("abc", kinds):
                make = remote.Remote if PEER and letter == apart else ends.End
                self.ends.append(make(letter, kind, self.router))
        return self.ends

    def close(self):
        for end in self.ends:
            end.close()
        if self.router:
            self.router.close()
        self.kinds, self.router, self.ends = None, None, []


SITE = Site()


def run(kinds, function, *arguments, apart="b"):
    """function(a, b, ...); what the daemons said, if it fails"""
    try:
        function(*SITE.of(apart, *kinds), *arguments)
    except ktap.Skip:
        raise
    except Exception:
        for end in SITE.ends:
            ktap.say(end.report())
        SITE.close()
        raise
    if function is plain:
        for end in SITE.ends:
            end.forget()
    else:
        SITE.close()		# it may have changed addresses and routes


def plain(a, b, words):
    """words: of daemons.DEFAULTS; theirs: what b wants otherwise; agreed: is the result ESN"""
    words = dict(words)
    theirs, agreed = words.pop("theirs", {}), words.pop("agreed", None)
    conns = [a.describe("b", **words), b.describe("a", **{**words, **theirs})]
    for end, conn in zip((a, b), conns):
        end.load(conn)
    since, logged = [end.counters() for end in (a, b)], len(a.log())
    said = a.up()
    if agreed == "nothing":
        ktap.check("NO_PROPOSAL_CHOSEN" in a.log()[logged:], "the offer was not refused")
        # one without algorithms only keeps an SPI for a while
        ktap.equal([s.text for end in (a, b) for s in end.states() if s.names], [], "states")
        return
    ktap.equal(said, "", "the connection came up")
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, words.get("esn") == "yes" if agreed is None else agreed, since)


# what, words, is it in the short form
PLAIN = [
    ("AES-GCM-256, tunnel", {}, True),
    ("AES-GCM-256, ESN, transport", {"mode": "transport", "esn": "yes"}, True),
    ("AES-GCM-128, ESN, tunnel", {"suite": "gcm128", "esn": "yes"}, False),
    ("ChaCha20-Poly1305, ESN, tunnel", {"suite": "chacha", "esn": "yes"}, True),
    ("AES-CBC, SHA-256, tunnel", {"suite": "cbc"}, False),
    ("AES-CBC, SHA-256, ESN, transport", {"suite": "cbc", "esn": "yes", "mode": "transport"},
     True),
    ("null, SHA-256, tunnel", {"suite": "null"}, False),
    ("AH SHA-256, tunnel", {"suite": "sha256", "proto": "ah"}, False),
    ("AH SHA-256, ESN, transport", {"suite": "sha256", "proto": "ah", "esn": "yes",
                                    "mode": "transport"}, True),
    ("ESN offered, and taken", {"esn": "either", "theirs": {"esn": "yes"}, "agreed": True}, False),
    ("ESN offered, and refused", {"esn": "either", "theirs": {"esn": "no"}, "agreed": False},
     True),
    ("ESN required, and refused", {"esn": "yes", "theirs": {"esn": "no"}, "agreed": "nothing"},
     False),
    ("no replay window", {"window": 0}, False),
    ("replay window 128", {"window": 128}, False),
    ("replay window 4096, ESN", {"window": 4096, "esn": "yes"}, True),
    ("IPv6, tunnel", {"family": 6, "esn": "yes"}, True),
    ("IPv6, transport", {"family": 6, "mode": "transport", "esn": "yes"}, False),
    ("IPv6, AES-CBC, SHA-256, transport", {"family": 6, "mode": "transport", "suite": "cbc"},
     False),
    ("IPv6, AH SHA-256, ESN, transport", {"family": 6, "mode": "transport", "suite": "sha256",
                                          "proto": "ah", "esn": "yes"}, False),
    ("IPv4 in IPv6", {"family": 6, "inside": 4, "esn": "yes"}, True),
    ("IPv6 in IPv4", {"family": 4, "inside": 6, "esn": "yes"}, True),
    ("ESP in UDP, forced", {"encap": True, "esn": "yes"}, False),
    ("IKEv1, AES-GCM-128, tunnel", {"version": 1, "suite": "gcm128"}, True),
    ("IKEv1, AES-CBC, SHA-256, transport", {"version": 1, "suite": "cbc", "mode": "transport"},
     False),
]


# with the sides exchanged: one of each kind
EXCHANGED = ("AES-GCM-256, tunnel", "ChaCha20-Poly1305, ESN, tunnel", "AES-CBC, SHA-256, ESN, transport",
             "null, SHA-256, tunnel", "AH SHA-256, ESN, transport", "ESN offered, and refused", "replay window 4096, ESN",
             "IPv6, tunnel", "IPv4 in IPv6", "ESP in UDP, forced", "IKEv1, AES-GCM-128, tunnel")


def register():
    for kinds in PAIRS:
        for name, words, short in PLAIN:
            if short or not SHORT:
                ktap.add(f"{' to '.join(kinds)}: {name}", run, kinds, plain, words)
    for kinds in PAIRS[-2:] if PEER else []:
        for name, words, _ in PLAIN:
            if name in EXCHANGED:
                ktap.add(f"{' to '.join(kinds)}: in-tree initiates: {name}", exchanged, kinds, words)


def exchanged(kinds, words):
    run(kinds, plain, words, apart="a")


def before():
    found, other = {}, ""
    if PEER:
        remote.connect()
        other = f", {' and '.join(remote.call('implementation'))} on the other side"
    for package in ("strongswan", "libreswan"):
        with open(f"{daemons.UNPACKED}/{package}/versions", encoding="ascii") as file:
            found |= dict(line.split() for line in file)
    ktap.say(f"ran on Linux {os.uname().release}, {' and '.join(impl.WANTED)}, strongSwan "
             f"{found['charon-systemd']}, "
             f"libreswan {found['libreswan']}{other}")


def after():
    SITE.close()
    if PEER:
        remote.call("quit")


if __name__ == "__main__":
    if CASES != "special":
        register()
    if CASES != "plain":
        special.register(run, PAIRS, SHORT, PEER)
    ktap.main(before=before, after=after)
