# SPDX-License-Identifier: GPL-2.0-only
"""A network namespace, and `ip` in it.

A Host runs the implementation under test.  Dut is one with a cable whose far
end belongs to the test (see wire): no second network stack interferes.

	10.0.0.1  fd00::1  v0 ------ wire  10.0.0.2  fd00::2
	10.1.0.1  fd01::1  lo              10.2.0.1  fd02::1  (routed)
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

from . import wire, xfrm

CLONE_NEWNET, MNT_DETACH = 0x40000000, 2
UDP_ENCAP, ESPINUDP = 100, 2
SO_RCVBUFFORCE = 33
SIOCETHTOOL, ETHTOOL_SGRO = 0x8946, 0x2c
RELEASE = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])	# (6, 12)
# ipv6.disable=1 at boot leaves IPv4
VERSIONS = (4, 6) if os.path.exists("/proc/net/if_inet6") else (4,)
OUTER = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}
INNER = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd01::1", "fd02::1")}
MAC_HOST, MAC_WIRE = "02:00:00:00:00:01", "02:00:00:00:00:02"
LIBC = ctypes.CDLL(None, use_errno=True)
COUNTERS = ("/proc/thread-self/net/xfrm_stat",
            "/proc/thread-self/net/ipsec_v3_stat")


class IpError(Exception):
    """`ip` refused; the text is what it said."""


def ip(*words, lines=()):
    """Runs `ip WORDS`, or with lines one `ip -batch` for all of them."""
    words = ["ip", *words]
    if lines:
        words += ["-batch", "-"]
    done = subprocess.run(words, input="\n".join(lines), text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise IpError(done.stderr.strip())
    return done.stdout


def enter(path):
    with open(path, "rb") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")


def forget(name):
    """A named namespace, which goes with its last socket: as `ip netns del` does, without a process"""
    path = f"/run/netns/{name}"
    if LIBC.umount2(path.encode(), MNT_DETACH):
        raise OSError(ctypes.get_errno(), f"umount {path}")
    os.unlink(path)


def ethtool(name, device, *words):
    """Switches features of a device in a named namespace"""
    subprocess.run(["ip", "netns", "exec", name, "ethtool", "-K", device, *words], check=True)


def use_gro(on, *ends):
    """ends: (namespace, device) of both ends of a veth pair, which uses it for what comes from an end
    without TSO only"""
    for end in ends:
        ethtool(*end, "gro", "on" if on else "off", "tso", "off" if on else "on")


def set_gro(sock, device, on):
    """GRO, without a process; sock: any of the device's namespace"""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_SGRO, bool(on)), 8)
    fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", device.encode(), ctypes.addressof(value)))


class Host:
    """A named network namespace with its own states and policies."""

    def __init__(self, name):
        self.name = f"v3-{os.getpid()}-{name}"
        self.xfrm_socket = None
        ip("netns", "add", self.name)
        self.ip("link set lo up")

    def close(self):
        if self.xfrm_socket:
            self.xfrm_socket.close()
        forget(self.name)

    def ip(self, *lines):
        """Each line is what follows `ip`; stops at the first that fails."""
        return ip("-n", self.name, lines=lines)

    @contextlib.contextmanager
    def inside(self):
        """Sockets made inside belong to this namespace for good."""
        enter(f"/run/netns/{self.name}")
        try:
            yield
        finally:
            enter("/proc/1/ns/net")

    def run(self, *words, **options):
        return subprocess.run(["ip", "netns", "exec", self.name, *words],
                              check=False, text=True, **options)

    def sysctl(self, name, value):
        with self.inside():
            with open(f"/proc/sys/{name.replace('.', '/')}", "w",
                      encoding="ascii") as file:
                file.write(str(value))

    def udp(self, address, port, encap=False, device=None):
        """A bound UDP socket; encap makes it take ESP in UDP."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.inside():
            sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)	# hundreds wait at times
        if encap:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, ESPINUDP)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                            device.encode())
        sock.bind((address, port))
        sock.settimeout(20)
        return sock

    def counters(self):
        """{name: value} of xfrm_stat and ipsec_v3_stat, zeros left out"""
        found = {}
        with self.inside():
            for path in COUNTERS:
                if not os.path.exists(path):
                    continue
                with open(path, encoding="ascii") as file:
                    for line in file:
                        name, value = line.split()
                        if value != "0":
                            found[name] = int(value)
        return found

    def dropped(self, device):
        """What it has received and the core had no room for"""
        with self.inside():
            with open("/proc/thread-self/net/dev", encoding="ascii") as file:
                return next(int(line.split()[4]) for line in file if line.split()[0] == f"{device}:")

    def ip_figure(self, version, figure):
        """InReceives or InDelivers: a whole GRO packet counts as one"""
        name = "snmp" if version == 4 else "snmp6"
        with self.inside():
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
                text = file.read()
        if version == 6:
            return int(text.split(f"Ip6{figure}", 1)[1].split()[0])
        names, values = [row.split() for row in text.splitlines() if row.startswith("Ip:")]
        return int(values[names.index(figure)])

    def xfrm(self):
        """Netlink to the states of this namespace; see xfrm.Socket."""
        if not self.xfrm_socket:
            with self.inside():
                self.xfrm_socket = xfrm.Socket()
        return self.xfrm_socket

    def state(self, dst, spi, proto="esp"):
        """xfrm.State as the kernel has it now, LookupError if not there"""
        return self.xfrm().get(dst, spi, proto)

    def lacks_state(self, dst, spi, proto="esp"):
        """Is there no such state, or none any more?"""
        try:
            self.state(dst, spi, proto)
        except LookupError:
            return True
        return False

    def flush(self):
        self.ip("xfrm state flush", "xfrm policy flush")


def delta(before, after):
    """{name: increase} of two counters() results, zeros left out"""
    return {name: value - before.get(name, 0) for name, value in after.items()
            if value != before.get(name, 0)}


class Dut(Host):
    """A Host on a cable whose far end is self.wire."""

    queue = ""		# words for a queueing discipline in front of v0

    def __init__(self, name="dut", mtu=1500):
        super().__init__(name)
        far = f"{self.name}-w"
        ip("netns", "add", far)
        self.far = far
        ip("-n", far, lines=[
            f"link add wire mtu {mtu} address {MAC_WIRE} type veth peer name v0 "
            f"mtu {mtu} address {MAC_HOST} netns {self.name}"])
        if 6 in VERSIONS:
            enter(f"/run/netns/{far}")
            with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w",
                      encoding="ascii") as file:
                file.write("1")
            enter("/proc/1/ns/net")
            self.sysctl("net.ipv6.conf.v0.router_solicitations", 0)
        ip("-n", far, lines=["link set wire up"])
        self.ip(*self.addresses())
        if self.queue:
            self.run("tc", "qdisc", "add", "dev", "v0", "root", *self.queue.split())
        self.veth = (self.name, "v0"), (self.far, "wire")
        with self.outside():
            self.wire = wire.Wire("wire", MAC_WIRE, MAC_HOST)

    @staticmethod
    def addresses():
        yield "link set v0 up"
        for version in VERSIONS:
            bits = "24" if version == 4 else "64"
            nodad = "" if version == 4 else " nodad"
            here, there = OUTER[version]
            inner_here, inner_there = INNER[version]
            one = "32" if version == 4 else "128"
            yield f"addr add {here}/{bits} dev v0{nodad}"
            yield f"addr add {inner_here}/{one} dev lo{nodad}"
            yield f"neigh add {there} lladdr {MAC_WIRE} dev v0 nud permanent"
            yield f"route add {inner_there} via {there} src {inner_here}"

    @contextlib.contextmanager
    def outside(self):
        """As inside(), at the far end of the cable"""
        enter(f"/run/netns/{self.far}")
        try:
            yield
        finally:
            enter("/proc/1/ns/net")

    def close(self):
        self.wire.close()
        forget(self.far)
        super().close()


def state_line(src, dst, spi, algorithms, proto="esp", mode="transport", reqid=1,
               esn=False, window=32, flags="", seq=None, oseq=None, encap=None,
               sel="", more="", verb="add"):
    """One line for Host.ip().

    algorithms: Suite.words().  seq, oseq: 64-bit numbers last seen and last
    sent.  encap: (source port, destination port).  sel: a selector, for beet.
    """
    flags = ("esn " if esn else "") + flags
    words = [f"xfrm state {verb} src {src} dst {dst} proto {proto} spi {spi:#x}",
             f"mode {mode} reqid {reqid} replay-window {window}"]
    for name, value in (("seq", seq), ("oseq", oseq)):
        if value is not None:
            words.append(f"replay-{name} {value & 0xffffffff:#x}")
            if esn:
                words.append(f"replay-{name}-hi {value >> 32:#x}")
    if flags:
        words.append(f"flag {flags.strip()}")
    words.append(algorithms)
    if encap:
        words.append(f"encap espinudp {encap[0]} {encap[1]} 0.0.0.0")
    if sel:
        words.append(f"sel {sel}")
    return " ".join([*words, more]).strip()


def policy_line(direction, src, dst, *templates, more="", verb="add"):
    """templates: from template(), in the order in which they are applied"""
    return " ".join([f"xfrm policy {verb} src {src} dst {dst} dir {direction}",
                     more, *templates])


def template(src=None, dst=None, proto="esp", mode="transport", reqid=1,
             level="required"):
    ends = f"src {src} dst {dst} " if src else ""
    return f"tmpl {ends}proto {proto} reqid {reqid} mode {mode} level {level}"
