# SPDX-License-Identifier: GPL-2.0-only
"""What needs more than one connection that comes up: a function for each scenario, and
with which daemons it runs."""

import re
import subprocess
import time

import certs
import ends
from lib import ktap

S, L = "strongSwan", "libreswan"
CASES = []
OLD_NAT, NEW_NAT = "10.0.2.254", "10.0.2.253"	# as which the router hides a


def scenario(name, *kinds, short=False, apart=False):
    """apart: also when b is in another guest"""
    def register(function):
        CASES.append((name, kinds, short, apart, function))
        return function
    return register


def register(run, pairs, short_form, two_guests):
    for name, kinds_list, short, apart, function in CASES:
        kinds_list = kinds_list or pairs
        for kinds in kinds_list[-1:] if short_form else kinds_list:
            if (short or not short_form) and (apart or not two_guests):
                ktap.add(f"{' to '.join(kinds[:2])}: {name}", run, kinds, function)


def unlost(a, b, since, core=True, but=""):
    """core: not one was lost for want of a state either; but: a counter that may rise"""
    for end, before in zip((a, b), since):
        lost = {name: value for name, value in end.lost(before).items()
                if name != but and (core or not name.startswith("Xfrm"))}
        ktap.equal(lost, {}, f"{end.letter}: packets lost")


def follows(a, b):
    """Waits until ping from a to b is answered"""
    here, there = ends.inner(a.letter, 4), ends.inner(b.letter, 4)
    ktap.wait_for(lambda: not a.host.run("ping", "-c", "1", "-W", "1", "-I", here, there,
                                         stdout=subprocess.DEVNULL).returncode,
                  f"{b.letter} follows", 90)


def two_peers(a, b, c, first, second):
    """a has a connection with b and one with c at the same time; c refuses ESN, which IKEv2 can offer
    without asking for it"""
    offer = "no" if second.get("version") == 1 else "either"
    peers = ((b, {"name": "one", "esn": "yes", **first}, {}),
             (c, {"name": "two", "esn": offer, **second}, {"esn": "no"}))
    a.load(*[a.describe(end.letter, **words) for end, words, _ in peers])
    since = {end: end.counters() for end in (a, b, c)}
    for end, words, theirs in peers:
        end.load(end.describe("a", **{**words, **theirs}))
    for _, words, _ in peers:
        ktap.equal(a.up(words["name"]), "", f"{words['name']} came up")
    for end, words, theirs in peers:
        conns = [a.describe(end.letter, **words), end.describe("a", **{**words, **theirs})]
        ends.exchange(a, end, conns[0])
        ends.verdict(a, end, conns, words.get("esn") == "yes", [since[a], since[end]])


@scenario("IKEv2 with ESN to one peer, IKEv1 without it to another, same port",
          (S, S, L), (L, S, L), (S, L, S), short=True, apart=True)
def versions(a, b, c):
    two_peers(a, b, c, {}, {"version": 1, "suite": "cbc"})


@scenario("IKEv1 with ESN to one peer, IKEv2 without it to another, same port", (S, S, L), apart=True)
def versions_turned(a, b, c):
    two_peers(a, b, c, {"version": 1}, {"suite": "cbc"})


def gaps(a, b):
    """Packets for which there was no SA any more, or one that was deleted between the core's look for it
    and its use. In-tree or not, libreswan leaves a moment without one when it renews it, as does
    strongSwan when it authenticates anew."""
    return sum(end.counters().get(name, 0) for end in (a, b)
               for name in ("XfrmAcquireError", "XfrmOutNoStates", "XfrmOutStateInvalid"))


def exchange_between(a, b, conn):
    """Traffic both ways while SAs are renewed; once more when what failed fell into a gap"""
    for _ in range(5):
        before = gaps(a, b)
        try:
            return ends.exchange(a, b, conn)
        except ktap.Failed:
            if gaps(a, b) == before:
                raise
    return ends.exchange(a, b, conn)


def under_traffic(a, b, seconds, **words):
    """Pings fast while a renews its SAs: none may be lost but in gaps, which two strongSwans do not leave
    unless they authenticate anew"""
    before = gaps(a, b)
    conns, since = ends.establish(a, b, **words)
    there, here = (conns[0][key].split("/")[0] for key in ("peer_net", "my_net"))
    flood = subprocess.Popen(
        ["ip", "netns", "exec", a.host.name, "ping", "-n", "-q", "-i", "0.02", "-w",
         str(seconds), "-I", here, there], stdout=subprocess.PIPE, text=True)
    seen = set()
    while flood.poll() is None:
        seen |= {s.spi for s in a.states() if s.src == conns[0]["me"] and s.names}
        time.sleep(0.3)
    said = flood.stdout.read()
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received",
                                        said).groups())
    # the last one may still be under way when ping ends
    ktap.check(received > 20 * seconds // 4, said)
    ktap.check(len(seen) > 3, f"SPIs seen: {seen}")
    missed = gaps(a, b) - before
    ktap.check(sent - received <= 1 + missed, f"{missed} packets without an SA\n{said}")
    strict = L not in (a.kind, b.kind) and not words.get("reauth")
    unlost(a, b, since, core=strict, but="XfrmOutStateInvalid")
    exchange_between(a, b, conns[0])


@scenario("CHILD SA renewed every 4 seconds under traffic", apart=True)
def rekey_child(a, b):
    under_traffic(a, b, 24, esn="yes", rekey=4, peer_words={"rekey": 0})


@scenario("IKE SA and CHILD SA renewed every few seconds under traffic", apart=True)
def rekey_both(a, b):
    under_traffic(a, b, 30, esn="yes", rekey=5, rekey_ike=7,
                  peer_words={"rekey": 0, "rekey_ike": 0})
    ktap.check(a.ike_sas() > 3, f"IKE SAs: {a.ike_sas()}")


@scenario("authenticated anew every 5 seconds under traffic", apart=True)
def reauthentication(a, b):
    under_traffic(a, b, 24, esn="yes", reauth=5, peer_words={"reauth": 0})
    ktap.check(a.ike_sas() > 2, f"IKE SAs: {a.ike_sas()}")


@scenario("dead peer noticed, connection made again", apart=True)
def dead_peer(a, b):
    conns, since = ends.establish(a, b, esn="yes", dpd=2, peer_words={"dpd": 0})
    ends.exchange(a, b, conns[0])
    b.ip("link set v0 down")
    ktap.wait_for(lambda: not [s for s in a.states() if s.names], "a forgets its SAs", 150)
    b.ip("link set v0 up", f"addr replace {ends.outer('b', 6)}/64 dev v0 nodad",
         "route replace default via 10.0.2.254", "route replace default via fd00:2::254",
         f"route replace {ends.inner('a', 4)} via 10.0.2.254 src {ends.inner('b', 4)}",
         f"route replace {ends.inner('a', 6)} via fd00:2::254 src {ends.inner('b', 6)}")
    a.up()		# libreswan is already at it by itself
    follows(a, b)
    ends.exchange(a, b, conns[0])
    unlost(a, b, since, core=False)


def hide(a, address, ports=""):
    """The router shows a to others as address"""
    router = a.router
    with router.inside():
        rule = "add rule ip nat post ip saddr 10.0.1.0/24 oifname to-b"
        subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
            flush ruleset
            add table ip nat
            add chain ip nat post {{ type nat hook postrouting priority 100; }}
            {rule} meta l4proto udp snat to {address}{ports}
            {rule} snat to {address}
            """)
        subprocess.run(["conntrack", "-F"], check=False, stderr=subprocess.DEVNULL)


def show(a):
    with a.router.inside():
        subprocess.run(["nft", "flush", "ruleset"], check=True)


@scenario("NAT between", short=True, apart=True)
def nat(a, b):
    hide(a, OLD_NAT)
    conns, since = ends.establish(a, b, esn="yes", peer_words={"peer": "%any"})
    ends.exchange(a, b, conns[0])
    conns[0] |= {"encap": True}
    conns[1] |= {"encap": True, "peer": OLD_NAT}
    ends.verdict(a, b, conns, True, since)
    show(a)


@scenario("NAT between, whose mapping changes", (S, S), (L, S))
def nat_change(a, b):
    hide(a, OLD_NAT)
    a.router.ip(f"addr add {NEW_NAT}/24 dev to-b")
    conns, since = ends.establish(a, b, esn="yes", peer_words={"peer": "%any"})
    ends.exchange(a, b, conns[0])
    hide(a, NEW_NAT, ":20000-20100")
    follows(a, b)
    ends.exchange(a, b, conns[0])
    ends.judge(a, conns[0] | {"encap": True}, True)
    state = ends.judge(b, conns[1] | {"encap": True, "peer": NEW_NAT}, True)["out"]
    ktap.check(re.search(r"dport 20\d\d\d", state.text), state.text)
    ktap.check(b.counters().get("RxMapping", 0) > since[1].get("RxMapping", 0),
               "RxMapping did not count")
    unlost(a, b, since)
    show(a)


@scenario("MOBIKE: the initiator's address changes", apart=True)
def mobike(a, b):
    new = "10.0.1.2"
    a.ip(f"addr add {new}/24 dev v0")
    a.host.sysctl("net.ipv4.conf.v0.promote_secondaries", 1)
    conns, since = ends.establish(a, b, me="%any", esn="yes", window=128, mobike=True,
                                  peer_words={"peer": "%any", "me": ends.outer("b", 4)})
    ends.exchange(a, b, conns[0])
    old = next(s.src for s in a.states() if s.dst == ends.outer("b", 4))
    now = new if old != new else ends.outer("a", 4)
    others = [s.spi for s in a.states() if s.names]
    a.ip(f"addr del {old}/24 dev v0")
    a.ip("route replace default via 10.0.1.254",
         f"route replace {ends.inner('b', 4)} via 10.0.1.254 src {ends.inner('a', 4)}")
    ktap.wait_for(lambda: {s.src for s in b.states() if s.names} == {now, ends.outer("b", 4)},
                  "b follows", 90)
    ktap.equal(sorted(s.spi for s in a.states() if s.names), sorted(others), "SPIs")
    ends.exchange(a, b, conns[0])
    for end, me, peer in ((a, now, ends.outer("b", 4)), (b, ends.outer("b", 4), now)):
        ends.judge(end, conns[0] | {"me": me, "peer": peer}, True)
    unlost(a, b, since)


@scenario("XFRM interface (if_id) on one side", short=True, apart=True)
def interface(a, b):
    a.ip("link add ipsec42 type xfrm dev v0 if_id 42", "link set ipsec42 up",
         f"route replace {ends.inner('b', 4)} dev ipsec42 src {ends.inner('a', 4)}")
    conns, since = ends.establish(a, b, esn="yes", if_id=42, peer_words={"if_id": 0})
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, True, since)
    ktap.equal({s.if_id for s in a.states() if s.names}, {42}, "if_id")
    sent = a.host.run("ip", "-s", "link", "show", "ipsec42", capture_output=True).stdout
    ktap.check(int(re.search(r"TX:.*\n\s+\d+\s+(\d+)", sent)[1]) > 20, sent)


@scenario("BEET", (S, S), short=True, apart=True)
def beet(a, b):
    for suite, esn in (("gcm256", "yes"), ("cbc", "no")):
        nets = {"my_net": ends.net(ends.inner("a", 4)), "peer_net": ends.net(ends.inner("b", 4))}
        conns, since = ends.establish(
            a, b, mode="beet", suite=suite, esn=esn, **nets,
            peer_words={"my_net": nets["peer_net"], "peer_net": nets["my_net"]})
        ends.exchange(a, b, conns[0])
        ends.verdict(a, b, conns, esn == "yes", since)
        for end in (a, b):
            end.forget()


@scenario("certificates", apart=True)
def certificates(a, b):
    authority = certs.Authority()
    for end in (a, b):
        name = f"{end.letter}.example"
        end.trust(name, *authority.issue(name))
    conns, since = ends.establish(a, b, auth="cert", esn="yes")
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, True, since)


@scenario("IPComp", short=True, apart=True)
def compression(a, b):
    conns, since = ends.establish(a, b, compress=True, esn="yes")
    ends.exchange(a, b, conns[0])
    for end, other in ((a, "b"), (b, "a")):
        end.tcp(ends.inner(other, 4), ends.inner(end.letter, 4), size=100000, random=False)
    for end in (a, b):
        found = end.states()
        ktap.equal({s.esn for s in found if s.names and s.proto == "esp"}, {True}, end.show())
        shrunk = [s.packets for s in found if s.proto == "comp"]
        ktap.check(len(shrunk) == 2 and min(shrunk) > 5, f"compressed: {shrunk}\n{end.show()}")
    unlost(a, b, since)


def narrow(a, b, family):
    """A link of 1300 bytes behind the router"""
    a.router.ip("link set to-b mtu 1300")
    b.ip("link set v0 mtu 1300")
    conns, since = ends.establish(a, b, family=family, esn="yes")
    there, here = ends.inner("b", family), ends.inner("a", family)
    a.tcp(there, here, size=200000)
    b.tcp(here, there, size=200000)
    route = a.host.run("ip", "route", "get", ends.outer("b", family),
                       capture_output=True).stdout
    ktap.check(" mtu 1300 " in route, f"no path MTU was learnt: {route}")
    a.ping(there, here, size=4000)
    b.ping(here, there, size=4000)
    unlost(a, b, since, core=False)		# a packet too long is an error to the core
    ends.judge(a, conns[0], True)


@scenario("path MTU discovery and fragments, IPv4", short=True, apart=True)
def pmtu4(a, b):
    narrow(a, b, 4)


@scenario("path MTU discovery and fragments, IPv6", apart=True)
def pmtu6(a, b):
    narrow(a, b, 6)
