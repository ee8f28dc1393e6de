# SPDX-License-Identifier: GPL-2.0-only
"""Two or three hosts with IKE daemons, and the router between them.

	a 10.0.1.1 fd00:1::1 ---- r ---- 10.0.2.1 fd00:2::1 b
	  10.1.0.1 fd01::1        |      10.2.0.1 fd02::1
	                          +----- 10.0.3.1 fd00:3::1 c
"""

import itertools
import json
import os
import re
import socket
import subprocess
import threading

from daemons import DEFAULTS, KINDS, SUITES
from lib import host, impl, ktap
from lib.line import EVENTS

ECHO = 7
STREAM = os.path.join(os.path.dirname(os.path.realpath(__file__)), "stream.py")
SERIAL = itertools.count()	# a name is not used twice, whatever became of its owner
NUMBER = {"a": 1, "b": 2, "c": 3}


def outer(name, family):
    return f"10.0.{NUMBER[name]}.1" if family == 4 else f"fd00:{NUMBER[name]}::1"


def inner(name, family):
    return f"10.{NUMBER[name]}.0.1" if family == 4 else f"fd0{NUMBER[name]}::1"


def net(address):
    return address + ("/128" if ":" in address else "/32")


class Router(host.Host):
    def __init__(self):
        super().__init__(f"r{next(SERIAL)}")
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def join(self, end):
        """A cable to a new End"""
        device = f"to-{end.letter}"
        end.ip(f"link add v0 type veth peer name {device} netns {self.name}", "link set v0 up")
        self.reach(end.letter)

    def reach(self, letter):
        """The addresses that an End expects of its router, on the device to-LETTER"""
        number, device = NUMBER[letter], f"to-{letter}"
        self.ip(f"link set {device} up", f"addr add 10.0.{number}.254/24 dev {device}",
                f"addr add fd00:{number}::254/64 dev {device} nodad",
                f"route add {inner(letter, 4)} via {outer(letter, 4)}",
                f"route add {inner(letter, 6)} via {outer(letter, 6)}")

    def strays(self):
        """Datagrams to itself that no socket waited for"""
        with self.inside():
            with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
                names, values = [line.split() for line in file if line.startswith("Udp:")]
            with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
                by_ipv6 = dict(line.split() for line in file)
        return int(values[names.index("NoPorts")]) + int(by_ipv6["Udp6NoPorts"])


class End:
    """A host, its daemon, and a server that echoes what it gets."""

    def __init__(self, letter, kind, router):
        self.letter, self.kind, self.router, self.names = letter, kind, router, []
        self.stream = None
        self.host = host.Host(f"{letter}{next(SERIAL)}")
        router.join(self)
        number = NUMBER[letter]
        self.ip(f"addr add {outer(letter, 4)}/24 dev v0",
                f"addr add {outer(letter, 6)}/64 dev v0 nodad",
                f"addr add {inner(letter, 4)}/32 dev lo",
                f"addr add {inner(letter, 6)}/128 dev lo nodad",
                f"route add default via 10.0.{number}.254",
                f"route add default via fd00:{number}::254")
        for other in set(NUMBER) - {letter}:
            self.ip(f"route add {inner(other, 4)} via 10.0.{number}.254 src {inner(letter, 4)}",
                    f"route add {inner(other, 6)} via fd00:{number}::254 src {inner(letter, 6)}")
        self.server = self.socket()
        threading.Thread(target=self.echo, daemon=True).start()
        self.daemon = KINDS[kind](self.host)

    def ip(self, *lines):
        return self.host.ip(*lines)

    def socket(self):
        with self.host.inside():
            return socket.create_server(("::", ECHO), family=socket.AF_INET6,
                                        dualstack_ipv6=True)

    def echo(self):
        while True:
            try:
                client = self.server.accept()[0]
            except OSError:
                return
            with client:
                try:
                    while data := client.recv(65536):
                        client.sendall(data)
                except OSError:
                    pass

    def close(self):
        self.close_stream()
        self.daemon.close()
        self.server.close()
        self.ip("link del v0")		# the end of a namespace can take its time
        self.host.close()

    @staticmethod
    def implementation():
        return impl.WANTED

    def describe(self, other, family=4, inside=None, **words):
        """A connection to the End with the letter other, as daemons.DEFAULTS has it"""
        inside = inside or family
        tunnel = words.get("mode", "tunnel") == "tunnel"
        nets = inner if tunnel else outer
        return {**DEFAULTS, "me": outer(self.letter, family), "peer": outer(other, family),
                "my_id": f"{self.letter}.example", "peer_id": f"{other}.example",
                "my_net": net(nets(self.letter, inside)), "peer_net": net(nets(other, inside)),
                **words}

    def trust(self, *words):
        self.daemon.trust(*words)

    def load(self, *conns):
        self.names = [c["name"] for c in conns]
        self.daemon.load(conns)

    def up(self, name="c"):
        return self.daemon.up(name)

    def forget(self):
        self.daemon.forget(self.names)
        self.host.flush()

    def states(self):
        return [State(text) for text in re.split(r"^(?=src )", self.show(), flags=re.M)
                if text]

    def show(self):
        return host.ip("-n", self.host.name, "-d", "-s", "xfrm", "state")

    def lost(self, since):
        """{name: increase} of all that counts a lost packet"""
        found = host.delta(since, self.counters())
        return {name: value for name, value in found.items() if name not in EVENTS}

    def counters(self):
        return self.host.counters()

    def log(self):
        return self.daemon.log()

    def ike_sas(self):
        """How many there ever were"""
        return len(re.findall(self.daemon.established, self.log()))

    def report(self):
        """For whoever looks for the reason of a failure"""
        return "\n".join([f"{self.letter}: {self.kind}", self.log()[-3000:], self.show(),
                          host.ip("-n", self.host.name, "xfrm", "policy"),
                          str(self.counters())])

    def ping(self, there, here=None, count=5, interval=0.1, size=56):
        done = self.host.run("ping", "-n", "-c", str(count), "-i", str(interval), "-w", "30",
                            "-s", str(size), *(["-I", here] if here else []), there,
                            capture_output=True)
        if " 0% packet loss" not in done.stdout:
            ktap.fail(f"ping from {self.letter} to {there}: {done.stdout}{done.stderr}")

    def tcp(self, there, here, size=50000, random=True):
        """Sends bytes, random ones or zeros, and compares what comes back"""
        data, back = os.urandom(size) if random else bytes(size), b""
        with self.host.inside():
            sock = socket.socket(socket.AF_INET6 if ":" in there else socket.AF_INET)
        with sock:
            sock.settimeout(30)
            sock.bind((here, 0))
            sock.connect((there, ECHO))
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            while len(back) < size and (part := sock.recv(65536)):
                back += part
            sender.join()
        ktap.check(back == data, f"TCP changed the data: {len(back)} of {size} bytes")

    def open_stream(self, here, there):
        """Numbered datagrams to an address, and from there; it sends from "go" on"""
        self.stream = subprocess.Popen(
            ["ip", "netns", "exec", self.host.name, STREAM, here, there], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ktap.equal(self.stream.stdout.readline(), "ready\n", "a stream")

    def tell_stream(self, word):
        """What it answers, see stream.py"""
        self.stream.stdin.write(f"{word}\n")
        self.stream.stdin.flush()
        return None if word == "go" else json.loads(self.stream.stdout.readline())

    def close_stream(self):
        if self.stream:
            self.stream.communicate()	# the end of its input ends it
        self.stream = None


class State:
    """A state as `ip -d -s xfrm state` prints it"""

    def __init__(self, text):
        self.text = text
        self.src, self.dst = re.match(r"src (\S+) dst (\S+)", text).groups()
        self.proto, self.mode = re.search(r"proto (\S+) .*mode (\S+)", text).groups()
        self.spi = re.search(r"spi (\S+?)\(", text)[1]
        self.names = re.findall(r"^\s+(?:aead|enc|auth-trunc|auth) (\S+)", text, re.M)
        self.esn = bool(re.search(r"flag .*\besn\b", text))
        windows = re.findall(r"replay[-_]window (\d+)", text)
        self.window = max(int(w) for w in windows)
        self.encap = "encap type espinudp" in text
        self.if_id = int((re.search(r"if_id (0x\w+)", text) or [0, "0"])[1], 0)
        # a packet that is cut into segments later counts once in the lifetime
        self.sent = int(re.search(r"\boseq (0x\w+)", text)[1], 0)
        self.packets = int(re.search(r"(\d+)\(packets\)", text[text.index("lifetime current"):])[1])


def judge(end, conn, esn):
    """Its states between the ends of conn, each of which is as it was asked for: {way: [State]}"""
    found, states = {}, [state for state in end.states() if state.names]
    for way, src, dst in (("out", conn["me"], conn["peer"]), ("in", conn["peer"], conn["me"])):
        found[way] = [s for s in states if (s.src, s.dst, s.proto) == (src, dst, conn["proto"])]
    for state in found["out"] + found["in"]:
        ktap.equal(sorted(state.names), sorted(SUITES[conn["suite"]][2]), state.text)
        ktap.equal((state.mode, state.esn, state.encap), (conn["mode"], esn, conn["encap"]),
                   state.text)
    for state in found["in"]:
        ktap.equal(state.window, conn["window"], f"{end.letter}: window\n{state.text}")
    return found


def exchange(a, b, conn):
    """Traffic both ways through conn, which is a's"""
    mine, theirs = addresses(conn)
    a.ping(theirs, mine)
    a.tcp(theirs, mine)
    b.tcp(mine, theirs)


def addresses(conn):
    """One of its own network, one of the peer's"""
    return [conn[key].split("/")[0] for key in ("my_net", "peer_net")]


def judged(a, b, conns, esn):
    return [judge(end, conn, esn) for end, conn in zip((a, b), conns)]


def carried(found, before=({}, {})):
    """For each way, by SA that both ends have now, [packets protected, packets received] since before"""
    return [[[there.sent - sent.get(there.spi, 0), here.packets - received.get(here.spi, 0)]
             for there in sender["out"] for here in receiver["in"] if there.spi == here.spi]
            for sender, receiver, sent, received in (
                (*found, *before), (*found[::-1], *before[::-1]))]


def so_far(*some):
    """For each of some ends, {SPI: packets that it protected or received}"""
    return [{s.spi: s.sent or s.packets for s in end.states() if s.names} for end in some]


def arrived(ways, least, missing=0):
    """ways: what carried() gives; missing: how many may be"""
    for way in ways:
        sent = sum(sent for sent, _ in way)
        ktap.check(sent >= least, f"only {sent} packets were protected")
        for sent, received in way:
            ktap.check(sent - missing <= received <= sent, f"{received} packets received of {sent}")


def verdict(a, b, conns, esn, since, before=({}, {})):
    """since, before: counters() and so_far() when the traffic began"""
    found = judged(a, b, conns, esn)
    ktap.equal([len(states) for ways in found for states in ways.values()], 4 * [1],
               f"states between a and b\n{a.show()}{b.show()}")
    arrived(carried(found, before), 20)
    unlost(a, b, since)


def unlost(a, b, since, *but):
    """but: counters that may rise"""
    for end, before in zip((a, b), since):
        lost = {name: value for name, value in end.lost(before).items() if name not in but}
        ktap.equal(lost, {}, f"{end.letter}: packets lost")


def establish(a, b, peer_words=None, **words):
    """Loads and brings up one connection; (connections, counters before)"""
    conns = [a.describe(b.letter, **words),
             b.describe(a.letter, **{**words, **(peer_words or {})})]
    for end, conn in zip((a, b), conns):
        end.load(conn)
    since = [end.counters() for end in (a, b)]
    ktap.equal(a.up(conns[0]["name"]), "", "the connection came up")
    return conns, since
