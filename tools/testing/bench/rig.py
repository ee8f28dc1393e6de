# SPDX-License-Identifier: GPL-2.0-only
"""What the benchmarks have in common: four hosts in a row, who protects what passes
between the two in the middle, and a count of the instructions that something takes.

    src ----------- gw1 ------------ gw2 ----------- sink
        10.0.0.0/24     10.0.1.0/24      10.0.2.0/24
"""

import base64
import contextlib
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import time
import traceback

KEY = "0x" + "".join(f"{i:02x}" for i in range(64))
ROW = ["src", "gw1", "gw2", "sink"]
CLONE_NEWNET = 0x40000000
GIVE_UP = 50 * 10**9		# instructions: something hangs
LIBC = ctypes.CDLL(None, use_errno=True)

# {name: (protocol, flags, algorithms, what pcrypt has to be put around)}
SUITES = {
    "AES-GCM, ESN": ("esp", "flag esn replay-window 64", f"aead 'rfc4106(gcm(aes))' {KEY[:42]} 128",
                     "seqiv(rfc4106(gcm(aes)))"),
    "ChaCha20-Poly1305": ("esp", "replay-window 64", f"aead 'rfc7539esp(chacha20,poly1305)' {KEY[:74]} 128",
                          "seqiv(rfc7539esp(chacha20,poly1305))"),
    "AES-CBC, SHA-256": ("esp", "replay-window 64",
                         f"enc 'cbc(aes)' {KEY[:34]} auth-trunc 'hmac(sha256)' {KEY[:66]} 128",
                         "echainiv(authenc(hmac(sha256),cbc(aes)))"),
    "AH, SHA-256": ("ah", "replay-window 64", f"auth-trunc 'hmac(sha256)' {KEY[:66]} 128", None),
}
WIREGUARD_SUITE = "ChaCha20-Poly1305"

PLAIN, INTREE, MODULE, WIREGUARD = "plain", "in-tree", "module", "WireGuard"
INTREE_OFFLOAD, MODULE_OFFLOAD, PCRYPT = "in-tree, offload", "module, offload", "in-tree, pcrypt"
ALONE, ALONE_OFFLOAD = "module, spread=0", "module, offload, spread=0"	# where there are CPUs to spread over
# like is compared with like: the core itself takes longer with offload, GSO or not
MODULES = {
    PLAIN: [],
    INTREE: ["esp4", "ah4"],
    MODULE: ["ipsec_v3 offload=0"],
    INTREE_OFFLOAD: ["esp4", "ah4", "esp4_offload"],
    MODULE_OFFLOAD: ["ipsec_v3 offload=1"],
    ALONE: ["ipsec_v3 offload=0 spread=0"],
    ALONE_OFFLOAD: ["ipsec_v3 offload=1 spread=0"],
    PCRYPT: ["esp4", "ah4", "pcrypt", "algif_aead"],
    WIREGUARD: ["wireguard"],
}
IMPLS = [impl for impl in MODULES if impl not in (ALONE, ALONE_OFFLOAD)]
# without udev nobody loads what the CPU can do, and while a disk is waited for this
# clock runs away from those who load the templates with a timeout
CIPHERS = ("aesni_intel ghash_clmulni_intel sha256_ssse3 chacha_x86_64 poly1305_x86_64 gcm ctr cbc"
           " seqiv echainiv authenc authencesn chacha20poly1305").split()


def sh(command):
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: {command}: {done.stderr}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def row(part, what, impl, measure, unit, value, size=None):
    """One figure; bench/run collects these lines."""
    print(json.dumps({"part": part, "what": what, "size": size, "impl": impl, "measure": measure,
                      "unit": unit, "value": value}), flush=True)


def prepare():
    for name in CIPHERS:
        subprocess.run(["modprobe", "-q", name], check=False)
    # the one that waits shall not get half of the CPU as a group of its own
    with contextlib.suppress(OSError):
        write("/proc/sys/kernel/sched_autogroup_enabled", "0")


def network(names=tuple(ROW)):
    """One veth between neighbours, routes both ways, nothing that learns or asks."""
    for name in names:
        sh(f"ip netns add {name}; ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1"
           f" net.ipv6.conf.all.disable_ipv6=1; ip -n {name} link set lo up")
    for left, right in zip(names, names[1:]):
        i = ROW.index(left)
        sh(f"ip link add r{i} netns {left} type veth peer name l{i} netns {right};"
           f"ip -n {left} addr add 10.0.{i}.1/24 dev r{i}; ip -n {right} addr add 10.0.{i}.2/24 dev l{i};"
           f"ip -n {left} link set r{i} up; ip -n {right} link set l{i} up")
        sh(f"ip -n {left} neigh replace 10.0.{i}.2 dev r{i} lladdr {mac(right, f'l{i}')};"
           f"ip -n {right} neigh replace 10.0.{i}.1 dev l{i} lladdr {mac(left, f'r{i}')}")
    if "sink" in names:
        sh("ip -n src route add 10.0.2.0/24 via 10.0.0.2; ip -n sink route add 10.0.0.0/24 via 10.0.2.1")
        routes()


@functools.cache
def mac(name, device):
    return sh(f"ip netns exec {name} cat /sys/class/net/{device}/address").strip()


def routes():
    sh("ip -n gw1 route replace 10.0.2.0/24 via 10.0.1.2; ip -n gw2 route replace 10.0.0.0/24 via 10.0.1.1")


def stir():
    """A packet on each CPU, with which the core frees what other CPUs have left to that one: a packet
    that a socket has received, and its SA, wait for it as long as it takes."""
    before = os.sched_getaffinity(0)
    sh("ip link set lo up")
    for cpu in before:
        os.sched_setaffinity(0, {cpu})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", 9))
    os.sched_setaffinity(0, before)


def unload(name):
    until = time.monotonic() + 60
    while True:
        subprocess.run(["modprobe", "-r", name], check=False, capture_output=True)
        if not os.path.exists(f"/sys/module/{name}"):
            return
        if time.monotonic() > until:
            sys.exit(f"bench: {name} is still loaded")
        stir()
        time.sleep(0.2)


def modules():
    """Of all implementations, in an order in which they can be unloaded"""
    names = {words.split()[0] for wanted in MODULES.values() for words in wanted} - {"algif_aead"}
    return sorted(names, key="esp4_offload".__ne__)	# which holds esp4


def load(impl):
    """This implementation and no other"""
    for name in modules():
        unload(name)
    for words in MODULES[impl]:
        sh(f"modprobe --ignore-install {words}")


def has(impl, suite):
    """Does it make sense to measure this?"""
    if impl == WIREGUARD:
        return suite == WIREGUARD_SUITE
    return SUITES[suite][0] == "esp" or impl in (PLAIN, INTREE, MODULE)


def pairs(only=""):
    """(suite, implementation) in the order of measurement: plain forwarding first, then
    each suite with all that have it"""
    yield PLAIN, PLAIN
    for suite in SUITES:
        for impl in IMPLS:
            if impl != PLAIN and only in suite and has(impl, suite):
                yield suite, impl


def protect(impl, suite, mode="tunnel"):
    """gw1 and gw2 protect all that passes between them, from here to unprotect()."""
    if impl == PLAIN:
        return
    if impl == WIREGUARD:
        wireguard(here="10.0.0.0/24")
        return
    proto, flags, algo, inner = SUITES[suite]
    if impl == PCRYPT:
        parallel(inner)
    left, right = ("10.0.0.0/24", "10.0.2.0/24") if mode == "tunnel" else ("10.0.1.1", "10.0.1.2")
    for src, dst, spi, here, there, way, back in (("10.0.1.1", "10.0.1.2", "0x100", left, right, "gw1", "gw2"),
                                                  ("10.0.1.2", "10.0.1.1", "0x101", right, left, "gw2", "gw1")):
        tail = f"src {here} dst {there} dir %s tmpl src {src} dst {dst} proto {proto} reqid 1 mode {mode}"
        for name in (way, back):
            patient(sh, f"ip -n {name} xfrm state add src {src} dst {dst} proto {proto} spi {spi} reqid 1"
                    f" mode {mode} {flags} {algo}")
        sh(f"ip -n {way} xfrm policy add {tail % 'out'}; ip -n {back} xfrm policy add {tail % 'in'};"
           f"ip -n {back} xfrm policy add {tail % 'fwd'}")


def parallel(inner):
    """From now on the cipher is one that pcrypt hands to workers."""
    patient(instance, inner)
    with open("/proc/crypto", encoding="ascii") as file:
        ciphers = [dict(map(str.strip, line.split(":", 1)) for line in text.splitlines())
                   for text in file.read().strip().split("\n\n")]
    best = max((cipher for cipher in ciphers if cipher["name"] == inner),
               key=lambda cipher: int(cipher["priority"]))["driver"]
    # by the driver's name: under the other one the kernel does not find what it made
    if not best.startswith("pcrypt("):
        patient(instance, f"pcrypt({best})")


def instance(name):
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as user:
        user.bind(("aead", name))


def patient(function, argument):
    """Once more: a minute of this clock may be over before a cipher has been loaded."""
    for _ in range(5):
        with contextlib.suppress(OSError, SystemExit):
            return function(argument)
    return function(argument)


def wireguard(left="gw1", right="gw2", net="10.0.1", there="10.0.2.0/24", here=None):
    """Between two neighbours in net; there and here: what lies behind each of them"""
    for number in (1, 2):
        write(f"/run/{number}.key", base64.b64encode(bytes([number]) * 32).decode() + "\n")
    for name, number, far in ((left, 1, there), (right, 2, here)):
        public = sh(f"wg pubkey < /run/{3 - number}.key").strip()
        sh(f"ip -n {name} link add wg0 type wireguard; ip -n {name} addr add 10.9.0.{number}/24 dev wg0;"
           f"ip netns exec {name} wg set wg0 listen-port 51820 private-key /run/{number}.key peer {public}"
           f" endpoint {net}.{3 - number}:51820 allowed-ips 0.0.0.0/0; ip -n {name} link set wg0 up")
        if far:
            sh(f"ip -n {name} route replace {far} dev wg0")


def unprotect(impl):
    if impl == WIREGUARD:
        sh("ip -n gw1 link del wg0; ip -n gw2 link del wg0")
        routes()
    elif impl != PLAIN:
        for name in ("gw1", "gw2"):
            sh(f"ip -n {name} xfrm policy flush; ip -n {name} xfrm state flush")
    time.sleep(0.2)


@contextlib.contextmanager
def inside(name):
    """What this thread opens is opened in that network namespace."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def child(function, *args):
    """Starts a process that calls function(*args) when it is told to; (pid, pipe)"""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reader)
        return pid, writer
    try:
        os.close(writer)
        os.read(reader, 1)
        function(*args)
        os._exit(0)
    except BaseException:	# pylint: disable=broad-except
        traceback.print_exc()
        os._exit(1)


class Ended:
    """Has the process of child() ended?"""

    def __init__(self, pid):
        self.pid = pid
        self.status = None

    def __call__(self):
        if self.status is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.status = 0
        return self.status is not None


class Received:
    """Have that many packets reached a device? A file held open is cheap to read."""

    def __init__(self, name, device, count):
        with inside(name):
            self.net = open(f"/proc/{os.getpid()}/net/dev", "rb", buffering=0)
        self.device = device.encode() + b":"
        self.goal = self.now() + count

    def now(self):
        text = os.pread(self.net.fileno(), 4096, 0)
        return int(text[text.index(self.device):].split(None, 3)[2])

    def __call__(self):
        return self.now() >= self.goal

    def close(self):
        self.net.close()


def spent(pipes, done, what):
    """Instructions from the moment when the children behind the pipes start until
    done().  Whoever waits takes the idle time and nothing else, and is taken off."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    for pipe in pipes:
        os.write(pipe, b"g")
    began, own = time.monotonic_ns(), time.thread_time_ns()
    while not done():
        if time.monotonic_ns() - began > GIVE_UP:
            sys.exit(f"bench: {what}: does not end")
    total = time.monotonic_ns() - began - (time.thread_time_ns() - own)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for pipe in pipes:
        os.close(pipe)
    return total
