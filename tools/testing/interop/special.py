# SPDX-License-Identifier: GPL-2.0-only
"""What needs more than one connection that comes up: a function for each scenario, and
with which daemons it runs."""

import re
import subprocess
import time

import certs
import ends
from lib import impl, ktap

S, L = "strongSwan", "libreswan"
CASES = []
V1 = {"version": 1, "suite": "cbc", "esn": "no"}
ENDED = ("XfrmOutStateInvalid", "XfrmInStateInvalid")	# the core found an SA, and it ended before its use
GAPS = (*ENDED, "XfrmAcquireError", "XfrmOutNoStates")
MOVED = (*GAPS, "XfrmInNoStates", "XfrmInNoPols", "XfrmOutPolBlock")	# while it takes all away for a moment
# as which the router hides a, by family
OLD_NAT, NEW_NAT = {4: "10.0.2.254", 6: "fd00:2::254"}, {4: "10.0.2.253", 6: "fd00:2::253"}


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


def pinged(a, b):
    here, there = ends.inner(a.letter, 4), ends.inner(b.letter, 4)
    return not a.host.run("ping", "-c", "1", "-W", "1", "-I", here, there,
                          stdout=subprocess.DEVNULL).returncode


def follows(a, b):
    """Waits until ping from a to b is answered"""
    ktap.wait_for(lambda: pinged(a, b), f"{b.letter} follows", 90)


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


@scenario("IKEv2 with ESN to one peer, IKEv1 without it to another, both in UDP", (S, S, L), (S, L, S),
          apart=True)
def versions_in_udp(a, b, c):
    two_peers(a, b, c, {"encap": True}, {"version": 1, "suite": "cbc", "encap": True})


@scenario("IKEv2 with ESN to one peer, IKEv1 without it to another in UDP", (L, S, L), apart=True)
def versions_mixed(a, b, c):
    two_peers(a, b, c, {}, {"version": 1, "suite": "cbc", "encap": True})


def gaps(*some, names=GAPS):
    """Packets for which some ends had no SA any more, one that was deleted between the core's look for it
    and its use, or one that has no keys yet. In-tree or not, libreswan leaves a moment without one when it
    renews it, as does strongSwan when it authenticates anew; and with IKEv1 it uses one before its peer can."""
    return sum(end.counters().get(name, 0) for end in some for name in names)


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


def start_streams(a, b, conn):
    mine, theirs = ends.addresses(conn)
    a.open_stream(mine, theirs)
    b.open_stream(theirs, mine)
    for end in (a, b):
        end.tell_stream("go")


def stop_streams(a, b):
    """How many datagrams of a's, and of b's, did not arrive; none may arrive twice"""
    for end in (a, b):
        end.tell_stream("hush")
    follows(a, b)	# and so did all that is ahead of this
    (sent, got, twice), (sent_back, got_back, twice_back) = [end.tell_stream("close") for end in (a, b)]
    for end in (a, b):
        end.close_stream()
    ktap.equal((twice, twice_back), (0, 0), "datagrams that arrived twice")
    ktap.say(f"lost {sent - got_back} of {sent} datagrams one way, {sent_back - got} of {sent_back} the other")
    return sent - got_back, sent_back - got


def under_traffic(a, b, until=lambda: True, **words):
    """Datagrams both ways while a renews its SAs, and until() is true: each has to arrive but in gaps, which
    two strongSwans do not leave with IKEv2 unless they authenticate anew. libreswan takes away what it
    receives with for that, too, before its peer knows."""
    esn, names = words.get("esn") == "yes", MOVED if L in (a.kind, b.kind) and "reauth" in words else GAPS
    conns, _ = ends.establish(a, b, **words)
    since, before = [end.counters() for end in (a, b)], gaps(a, b, names=names)
    start_streams(a, b, conns[0])
    seen, most = set(), [0, 0]
    while len(seen) < 5 or min(most) < 100 or not until():
        found = ends.judged(a, b, conns, esn)
        seen |= {state.spi for state in found[0]["out"]}
        most = [max([least, *[state.sent for state in ways["out"]]]) for least, ways in zip(most, found)]
        time.sleep(1)
    lost = stop_streams(a, b)
    counted = gaps(a, b, names=names) - before
    ktap.check(sum(lost) <= counted, f"{lost} lost, {counted} of them without an SA")
    while not all(ways := ends.carried(ends.judged(a, b, conns, esn))):
        follows(a, b)
    strict = L not in (a.kind, b.kind) and not {"reauth", "version"} & set(words)
    ends.arrived(ways, 0, missing=0 if strict else gaps(a, b, names=names) - before)
    ends.unlost(a, b, since, *(ENDED if strict else names))
    exchange_between(a, b, conns[0])


@scenario("CHILD SA renewed every 4 seconds under traffic", apart=True)
def rekey_child(a, b):
    under_traffic(a, b, esn="yes", rekey=4, peer_words={"rekey": 0})


@scenario("IKEv1, CHILD SA renewed every 4 seconds under traffic", (S, S), apart=True)
def rekey_v1(a, b):
    under_traffic(a, b, **V1, rekey=4, peer_words={"rekey": 0})


@scenario("IKE SA and CHILD SA renewed every few seconds under traffic", apart=True)
def rekey_both(a, b):
    under_traffic(a, b, lambda: a.ike_sas() > 3, esn="yes", rekey=5, rekey_ike=7,
                  peer_words={"rekey": 0, "rekey_ike": 0})


@scenario("authenticated anew every 5 seconds under traffic", apart=True)
def reauthentication(a, b):
    under_traffic(a, b, lambda: a.ike_sas() > 2, esn="yes", reauth=5, peer_words={"reauth": 0})


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
    ends.arrived(ends.carried(ends.judged(a, b, conns, True)), 20)
    ends.unlost(a, b, since, *GAPS)


def hide(a, address, ports=""):
    """The router shows a to others as address"""
    family, hidden = ("ip6", "fd00:1::/64") if ":" in address else ("ip", "10.0.1.0/24")
    with a.router.inside():
        rule = f"add rule {family} nat post {family} saddr {hidden} oifname to-b"
        subprocess.run(["nft", "-f", "-"], check=True, text=True, input=f"""
            flush ruleset
            add table {family} nat
            add chain {family} nat post {{ type nat hook postrouting priority 100; }}
            {rule} meta l4proto udp snat to {f"[{address}]" if family == "ip6" else address}{ports}
            {rule} snat to {address}
            """)
        subprocess.run(["conntrack", "-F"], check=False, stderr=subprocess.DEVNULL)


def show(a):
    with a.router.inside():
        subprocess.run(["nft", "flush", "ruleset"], check=True)


@scenario("NAT between", short=True, apart=True)
def nat(a, b, family=4, **words):
    hide(a, OLD_NAT[family])
    conns, since = ends.establish(a, b, family=family, **{"esn": "yes", **words}, peer_words={"peer": "%any"})
    ends.exchange(a, b, conns[0])
    conns[0] |= {"encap": True}
    conns[1] |= {"encap": True, "peer": OLD_NAT[family]}
    ends.verdict(a, b, conns, not words, since)
    show(a)


@scenario("IPv6, NAT between", apart=True)
def nat6(a, b):
    nat(a, b, family=6)


@scenario("IKEv1, NAT between", (L, S), apart=True)
def nat_v1(a, b):
    nat(a, b, **V1)


@scenario("NAT between, whose mapping changes under traffic", (S, S), (L, S), apart=True)
def nat_change(a, b, family=4):
    """Datagrams are lost while b's daemon replaces its SAs and policies; and what b sends goes to the
    old mapping at first, of which the router knows no more."""
    hide(a, OLD_NAT[family])
    a.router.ip(f"addr add {ends.net(NEW_NAT[family])} dev to-b{' nodad' if family == 6 else ''}")
    conns, since = ends.establish(a, b, family=family, esn="yes", peer_words={"peer": "%any"})
    ends.exchange(a, b, conns[0])
    conns[0] |= {"encap": True}
    conns[1] |= {"encap": True, "peer": OLD_NAT[family]}
    ends.verdict(a, b, conns, True, since)
    astray, before = a.router.strays(), gaps(a, b, names=MOVED)
    start_streams(a, b, conns[0])
    hide(a, NEW_NAT[family], ":20000-20100")
    conns[1] |= {"peer": NEW_NAT[family]}
    ktap.wait_for(lambda: all(ends.judge(b, conns[1], True).values()), "b follows", 90)
    lost = stop_streams(a, b)
    counted = gaps(a, b, names=MOVED) - before
    ktap.check(lost[0] <= counted, f"{lost[0]} lost from a, {counted} of them without an SA")
    counted += a.router.strays() - astray
    ktap.check(sum(lost) <= counted, f"{lost} lost, {counted} of them without an SA or to the old mapping")
    if b.implementation() == impl.MODULE:
        ktap.check(b.counters().get("RxMapping", 0) > since[1].get("RxMapping", 0), "RxMapping did not count")
    ends.unlost(a, b, since, *MOVED)
    since, before = [end.counters() for end in (a, b)], ends.so_far(a, b)
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, True, since, before)
    state = ends.judge(b, conns[1], True)["out"][0]
    ktap.check(re.search(r"dport 20\d\d\d", state.text), state.text)
    show(a)


@scenario("IPv6, NAT between, whose mapping changes under traffic", (S, S), (L, S), apart=True)
def nat_change6(a, b):
    nat_change(a, b, family=6)


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
    conns = [conns[0] | {"me": now}, conns[1] | {"peer": now}]
    before = ends.so_far(a, b)
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, True, since, before)


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
def certificates(a, b, **words):
    authority = certs.Authority()
    for end in (a, b):
        name = f"{end.letter}.example"
        end.trust(name, *authority.issue(name))
    conns, since = ends.establish(a, b, auth="cert", **{"esn": "yes", **words})
    ends.exchange(a, b, conns[0])
    ends.verdict(a, b, conns, not words, since)


@scenario("IKEv1, certificates", (S, L), apart=True)
def certificates_v1(a, b):
    certificates(a, b, **V1)


@scenario("IPComp", short=True, apart=True)
def compression(a, b):
    conns, since = ends.establish(a, b, compress=True, esn="yes")
    ends.exchange(a, b, conns[0])
    for end, other in ((a, "b"), (b, "a")):
        end.tcp(ends.inner(other, 4), ends.inner(end.letter, 4), size=100000, random=False)
    ends.verdict(a, b, [conn | {"mode": "transport"} for conn in conns], True, since)
    for end in (a, b):
        shrunk = [s.packets for s in end.states() if s.proto == "comp"]
        ktap.check(len(shrunk) == 2 and min(shrunk) > 5, f"compressed: {shrunk}\n{end.show()}")


def narrow(a, b, family):
    """A link of 1300 bytes behind the router; once that is known, no packet is lost any more"""
    a.router.ip("link set to-b mtu 1300")
    b.ip("link set v0 mtu 1300")
    # in the queue before the link between two guests, flows overtake each other
    conns, since = ends.establish(a, b, family=family, esn="yes", window=4096)
    there, here = ends.inner("b", family), ends.inner("a", family)
    a.tcp(there, here, size=200000)
    b.tcp(here, there, size=200000)
    route = a.host.run("ip", "route", "get", ends.outer("b", family),
                       capture_output=True).stdout
    ktap.check(" mtu 1300 " in route, f"no path MTU was learnt: {route}")
    ends.unlost(a, b, since, "XfrmOutStateModeError")	# a packet too long is one to the core
    since, before = [end.counters() for end in (a, b)], ends.so_far(a, b)
    a.tcp(there, here, size=200000)
    b.tcp(here, there, size=200000)
    a.ping(there, here, size=4000)
    b.ping(here, there, size=4000)
    ends.verdict(a, b, conns, True, since, before)


@scenario("path MTU discovery and fragments, IPv4", short=True, apart=True)
def pmtu4(a, b):
    narrow(a, b, 4)


@scenario("path MTU discovery and fragments, IPv6", apart=True)
def pmtu6(a, b):
    narrow(a, b, 6)
