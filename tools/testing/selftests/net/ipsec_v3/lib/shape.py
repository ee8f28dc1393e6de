# SPDX-License-Identifier: GPL-2.0-only
"""Mode and families of an SA: its addresses, states and policies, and what is
inside a packet of it.  The traffic is UDP between PORT_DUT and PORT_PEER.
"""

from . import host, ktap, packet

PORT_DUT, PORT_PEER, PORT_NATT = 5000, 5001, 4500
SPI_OUT, SPI_IN = 0x100, 0x101		# as the Dut sees it


class Shape:
    """outer, inner: 4 or 6; the same unless mode is tunnel or beet"""

    def __init__(self, mode, outer, inner):
        self.mode, self.outer, self.inner = mode, outer, inner
        self.here, self.there = host.OUTER[outer]
        ends = host.OUTER if mode == "transport" else host.INNER
        self.inner_here, self.inner_there = ends[inner]

    def __str__(self):
        if self.mode == "transport":
            return f"transport {self.outer}"
        return f"{self.mode} {self.inner}in{self.outer}"

    def lines(self, algorithms, proto="esp", start=0, rule="", **more):
        """For Host.ip(): two states, both at the sequence number start, and two
        policies; more goes to host.state_line(), rule into the policies"""
        out, back = (self.here, self.there), (self.there, self.here)
        sel_out, sel_in = "", ""
        if self.outer != self.inner:
            more["flags"] = f"{more.get('flags', '')} af-unspec".strip()
        if self.mode == "beet":
            sel_out = f"src {self.inner_here} dst {self.inner_there}"
            sel_in = f"src {self.inner_there} dst {self.inner_here}"
        return ["xfrm state flush", "xfrm policy flush",
                host.state_line(*out, SPI_OUT, algorithms, proto, self.mode,
                                oseq=start, sel=sel_out, **more),
                host.state_line(*back, SPI_IN, algorithms, proto, self.mode,
                                seq=start, sel=sel_in, **more),
                self.policy("out", host.template(*out, proto, self.mode), rule=rule),
                self.policy("in", host.template(*back, proto, self.mode), rule=rule)]

    def any_flow(self, proto, rule=""):
        """A policy that takes datagrams to and from any port; tunnel mode"""
        template = host.template(self.there, self.here, proto, self.mode)
        return host.policy_line("in", self.inner_there, self.inner_here, template, more=rule)

    def policy(self, direction, *templates, rule=""):
        """Covers the test's UDP only, so that ESP in UDP itself is not caught"""
        if direction == "out":
            src, dst = self.inner_here, self.inner_there
            ports = f"proto udp sport {PORT_DUT} dport {PORT_PEER}"
        else:
            src, dst = self.inner_there, self.inner_here
            ports = f"proto udp sport {PORT_PEER} dport {PORT_DUT}"
        return host.policy_line(direction, src, f"{dst} {ports}", *templates, more=rule)

    def to_dut(self, data, sport=PORT_PEER, dport=PORT_DUT):
        """(next header, what the SA protects) of a datagram of the peer's"""
        segment = packet.udp(self.inner_there, self.inner_here, sport, dport, data)
        if self.mode != "tunnel":
            return packet.UDP, segment
        inner = packet.ip(self.inner_there, self.inner_here, packet.UDP, segment)
        return (packet.IPIP if self.inner == 4 else packet.IPV6), inner

    def from_dut(self, next_header, inner):
        """The datagram of a packet of the Dut's; fails when it is not one"""
        if self.mode == "tunnel":
            ktap.equal(next_header,
                       packet.IPIP if self.inner == 4 else packet.IPV6,
                       "next header")
            ktap.equal((packet.source(inner), packet.destination(inner)),
                       (self.inner_here, self.inner_there), "inner addresses")
            _, next_header, inner = packet.split(inner)
        ktap.equal(next_header, packet.UDP, "next header")
        found = packet.udp_data(self.inner_here, self.inner_there, inner)
        ktap.check(found, "the inner UDP length or checksum is wrong")
        ktap.equal(found[:2], (PORT_DUT, PORT_PEER), "inner ports")
        return found[2]

    def check_outer(self, data):
        """The outer addresses of a packet of the Dut's are the SA's"""
        ktap.equal((packet.source(data), packet.destination(data)),
                   (self.here, self.there), "outer addresses")
        if packet.version(data) == 4:
            header, _, payload = packet.split(data)
            ktap.equal(packet.checksum(header), 0, "checksum of the IPv4 header")
            ktap.equal(len(header) + len(payload), len(data), "IPv4 total length")
        else:
            ktap.equal(40 + int.from_bytes(data[4:6], "big"), len(data),
                       "IPv6 payload length")

    def header(self, version=None):
        """An IP header from the peer to the Dut"""
        here, there = host.OUTER[version] if version else (self.here, self.there)
        return packet.ip(there, here, packet.NONE, b"")


TRANSPORT = V4, V6 = [Shape("transport", v, v) for v in (4, 6)]
TUNNEL = T4IN4, T6IN4, T4IN6, T6IN6 = [Shape("tunnel", o, i) for o in (4, 6) for i in (4, 6)]
BEET = [Shape("beet", o, i) for o in (4, 6) for i in (4, 6)]


def all_of(sock):
    """What has come by now"""
    found = []
    sock.setblocking(False)
    try:
        while True:
            found.append(sock.recv(65536))
    except (BlockingIOError, OSError):
        return found
    finally:
        sock.settimeout(20)


class Sockets:
    """The Dut's UDP sockets for every shape, made once."""

    def __init__(self, dut, device=None):
        self.plain = {}
        for version in host.VERSIONS:
            for here, _ in (host.OUTER[version], host.INNER[version]):
                self.plain[here] = dut.udp(here, PORT_DUT, device=device)
        self.encap = [dut.udp(host.OUTER[version][0], PORT_NATT, True, device)
                      for version in host.VERSIONS]

    def send(self, shape, data):
        self.plain[shape.inner_here].sendto(data, (shape.inner_there, PORT_PEER))

    def receive(self, shape):
        try:
            return self.plain[shape.inner_here].recv(65536)
        except TimeoutError:
            ktap.fail("the datagram did not arrive")

    def waiting(self, shape):
        return all_of(self.plain[shape.inner_here])

    def drain(self):
        for sock in self.plain.values():
            all_of(sock)

    def close(self):
        for sock in (*self.plain.values(), *self.encap):
            sock.close()
