#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Load and unload: who holds ESP and AH, autoload, refusals, failures half-way.

Nothing here looks at a packet's bytes; that a protocol is carried is shown by a
ping through an SA.
"""
import contextlib
import ctypes
import errno
import os
import re
import subprocess
import time

from lib import impl, ktap, memory, setting, xfrm
from lib.meanwhile import meanwhile

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.realpath(os.path.join(HERE, "../../../../.."))
CONF = "/etc/modprobe.d/ipsec_v3.conf"
OURS = "ipsec_v3"
STAT = "/proc/net/ipsec_v3_stat"

# in-tree modules and the family and protocol that each holds
IN_TREE = {
    "esp4": (4, "esp"), "ah4": (4, "ah"), "esp6": (6, "esp"), "ah6": (6, "ah"),
    "esp4_offload": (4, "esp"), "esp6_offload": (6, "esp"),
}
PAIRS = ((4, "esp"), (4, "ah"), (6, "esp"), (6, "ah"))
ADDRESS = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd09::1", "fd09::2")}
ALGORITHM = {
    "esp": ["aead", "rfc4106(gcm(aes))", "0x" + "11" * 20, "128"],
    "ah": ["auth-trunc", "hmac(sha256)", "0x" + "22" * 32, "128"],
}
FINIT_MODULE = 313      # its number on x86-64
SECONDS_TO_GO = 10      # an SA is freed by a work item, a while after its deletion


def run(*command, check=True, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, env=env,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if check:
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout.strip()}"
    return done


def ip(*words, **more):
    return run("ip", *words, **more)


def loaded():
    with open("/proc/modules", encoding="ascii") as file:
        return {line.split()[0] for line in file}


def kernel_log():
    return run("dmesg", "--notime").stdout.splitlines()


class Log:
    """The lines that the kernel logs from now on."""

    def __init__(self):
        self.mark = f"life.py: mark {time.monotonic_ns()}"
        with open("/dev/kmsg", "w", encoding="ascii") as file:
            file.write(self.mark + "\n")

    def ours(self):
        lines = kernel_log()
        since = max(i for i, line in enumerate(lines) if self.mark in line)
        return [line for line in lines[since:] if line.startswith(OURS + ": ")]


def load_in_tree(name):
    """Past the modprobe.d file, which would turn it into a load of ours."""
    return run("modprobe", "-C", "/dev/null", name, check=False)


def unload(name):
    """Waits for the SAs that are still being freed."""
    end = time.monotonic() + SECONDS_TO_GO
    while True:
        done = run("rmmod", name, check=False)
        if done.returncode == 0:
            return
        assert time.monotonic() < end, f"rmmod {name}: {done.stdout.strip()}"
        time.sleep(0.05)


def free_protocols():
    """No SA, and nobody holds ESP or AH."""
    ip("-all", "netns", "delete")
    ip("xfrm", "state", "flush")
    for name in ("esp4_offload", "esp6_offload", "esp4", "esp6", "ah4", "ah6", OURS):
        if name in loaded():
            unload(name)
    assert not os.path.exists(STAT), f"{STAT} is left behind"


@contextlib.contextmanager
def nobody():
    free_protocols()
    try:
        yield
    finally:
        free_protocols()


def sa_words(family, proto, spi, backward=False):
    src, dst = reversed(ADDRESS[family]) if backward else ADDRESS[family]
    return ["xfrm", "state", "add", "src", src, "dst", dst, "proto", proto,
            "spi", str(spi), "reqid", "1", "mode", "transport",
            "replay-window", "64", "flag", "esn", *ALGORITHM[proto]]


def add_sa(family, proto, spi, where=(), backward=False):
    return ip(*where, *sa_words(family, proto, spi, backward))


def add_policies(family, proto, ns):
    for n, direction in enumerate(("out", "in") if ns == "a" else ("in", "out")):
        src, dst = reversed(ADDRESS[family]) if n else ADDRESS[family]
        ip("-n", ns, "xfrm", "policy", "add", "src", src, "dst", dst, "dir", direction,
           "tmpl", "src", src, "dst", dst, "proto", proto, "reqid", "1",
           "mode", "transport")


@contextlib.contextmanager
def hosts(family, proto):
    """Two namespaces with an SA pair; deletes them, and with them the SAs."""
    first, second = ADDRESS[family]
    for ns in "ab":
        ip("netns", "add", ns)
    try:
        ip("link", "add", "va", "netns", "a", "type", "veth", "peer", "name", "vb",
           "netns", "b")
        for ns, address in (("a", first), ("b", second)):
            more = ["nodad"] if family == 6 else []
            ip("-n", ns, "addr", "add", f"{address}/{24 if family == 4 else 64}",
               "dev", f"v{ns}", *more)
            ip("-n", ns, "link", "set", f"v{ns}", "up")
            add_sa(family, proto, 0x100, where=("-n", ns))
            add_sa(family, proto, 0x101, where=("-n", ns), backward=True)
            add_policies(family, proto, ns)
        yield ADDRESS[family][1]
    finally:
        ip("-all", "netns", "delete")


def counted(ns):
    """Packets of all SAs there"""
    shown = ip("-n", ns, "-s", "xfrm", "state").stdout
    return sum(int(n) for n in re.findall(r"(\d+)\(packets\)", shown))


def carries(family, proto):
    """A ping goes through, and the receiver's SA has counted it."""
    with hosts(family, proto) as peer:
        run("ip", "netns", "exec", "a", "ping", "-c", "2", "-i", "0.1", "-W", "5", peer)
        assert counted("b") >= 4, f"the SAs carried {counted('b')} packets of 4"


def only_module():
    if impl.INTREE:
        raise ktap.Skip("about loading ipsec_v3")


def refused_line(log, name):
    lines = log.ours()
    assert len(lines) == 1, f"one line in the log was expected, not: {lines}"
    assert re.search(rf"\b{name}\b", lines[0]), f"does not name {name}: {lines[0]}"
    return lines[0]


def in_tree_first(name):
    only_module()
    family, proto = IN_TREE[name]
    holder = name.removesuffix("_offload")
    with nobody():
        done = load_in_tree(name)
        assert name in loaded(), f"cannot load {name}: {done.stdout}"
        before = loaded()
        log = Log()

        done = run("modprobe", OURS, check=False)
        assert done.returncode and "busy" in done.stdout, f"not refused: {done.stdout}"
        line = refused_line(log, holder)
        assert OURS not in loaded(), "half loaded"
        assert not os.path.exists(STAT), f"{STAT} is left behind"
        assert loaded() == before, f"modules came or went: {loaded() ^ before}"
        carries(family, proto)

        # what the line says must work as it stands
        hint = re.search(r"free it with: (.*)$", line)
        assert hint, f"does not say how to free it: {line}"
        end = time.monotonic() + SECONDS_TO_GO
        while run("sh", "-ec", hint[1], check=False).returncode:
            assert time.monotonic() < end, f"does not free it: {hint[1]}"
            time.sleep(0.1)
        run("modprobe", OURS)
        carries(family, proto)


for module in IN_TREE:
    ktap.add(f"load while {module} holds its protocol: EBUSY, nothing half-registered",
             in_tree_first, module)


def in_tree_second(name):
    only_module()
    refused = name.removesuffix("_offload")     # the first that modprobe tries
    family, proto = IN_TREE[name]
    with nobody():
        run("modprobe", OURS)
        log = Log()
        done = load_in_tree(name)
        assert done.returncode and "busy" in done.stdout, f"not refused: {done.stdout}"
        line = refused_line(log, refused)
        assert f"modprobe -r {OURS}" in line, f"does not say how to use it: {line}"
        assert not loaded() & IN_TREE.keys(), loaded() & IN_TREE.keys()
        carries(family, proto)


for module in IN_TREE:
    ktap.add(f"load of {module} while ipsec_v3 is there: EBUSY and a line in the log",
             in_tree_second, module)


@contextlib.contextmanager
def modprobe_conf():
    """The file that the packages install; a tree that is only built has it too."""
    there = os.path.exists(CONF)
    if not there:
        run("cp", f"{TOP}/packaging/modprobe.d/ipsec_v3.conf", CONF)
    try:
        yield
    finally:
        if not there:
            os.unlink(CONF)


def autoload(family, proto):
    only_module()
    with nobody(), modprobe_conf():
        assert OURS not in loaded()
        add_sa(family, proto, 0x200)
        assert OURS in loaded(), "the first SA did not load ipsec_v3"
        assert not loaded() & IN_TREE.keys(), loaded() & IN_TREE.keys()


for pair in PAIRS:
    ktap.add(f"autoload: the first IPv{pair[0]} {pair[1]} SA loads ipsec_v3 and none else",
             autoload, *pair)


@ktap.case("autoload: an in-tree module by name becomes ipsec_v3")
def autoload_by_name():
    only_module()
    for name in IN_TREE:
        with nobody(), modprobe_conf():
            run("modprobe", name)
            assert loaded() & (IN_TREE.keys() | {OURS}) == {OURS}, loaded()


def ours_or_in_tree():
    """What a load and an unload are tried with."""
    return ["esp4", "ah4", "esp6", "ah6"] if impl.INTREE else [OURS]


def load_all():
    for name in ours_or_in_tree():
        run("modprobe", name)


@ktap.case("unload is refused while an SA is there, and clean after it")
def unload_with_sa():
    for family, proto in PAIRS:
        with nobody():
            load_all()
            add_sa(family, proto, 0x300)
            holder = f"{proto}{family}" if impl.INTREE else OURS
            done = run("rmmod", holder, check=False)
            assert done.returncode and "in use" in done.stdout, done.stdout
            ip("xfrm", "state", "flush")
            unload(holder)


@ktap.case("unload is refused while an SA of another namespace is there")
def unload_with_netns():
    with nobody():
        load_all()
        ip("netns", "add", "c")
        add_sa(4, "esp", 0x301, where=("-n", "c"))
        holder = "esp4" if impl.INTREE else OURS
        assert run("rmmod", holder, check=False).returncode, "unloaded under an SA"
        ip("netns", "delete", "c")
        unload(holder)


def unload_under_traffic(family, proto):
    with nobody():
        load_all()
        with hosts(family, proto) as peer:
            pings = [subprocess.Popen(["ip", "netns", "exec", "a", "ping", "-q", "-f",
                                       "-s", size, peer], stdout=subprocess.DEVNULL)
                     for size in ("56", "4000")]
            ktap.wait_for(lambda: counted("b") >= 100, "packets go through the SAs")
            for ns in "ab":
                ip("-n", ns, "xfrm", "state", "flush")
            for name in ours_or_in_tree():
                unload(name)
            for ping in pings:
                ping.terminate()
                ping.wait()


for pair in PAIRS:
    ktap.add(f"unload with traffic until just before: IPv{pair[0]} {pair[1]}",
             unload_under_traffic, *pair)


@ktap.case("load and unload fifty times, with an SA each time")
def rounds():
    with nobody():
        for n in range(50):
            load_all()
            add_sa(4 if n & 1 else 6, "esp" if n & 2 else "ah", 0x400 + n)
            ip("xfrm", "state", "flush")
            for name in ours_or_in_tree():
                unload(name)
        load_all()
        carries(4, "esp")


class Insmod:
    """finit_module(), and nothing else that allocates"""

    def __init__(self, name):
        path = run("modinfo", "-n", name).stdout.strip()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.module = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def load(self):
        """0 or an errno"""
        failed = self.libc.syscall(FINIT_MODULE, self.module, b"", 0)
        return ctypes.get_errno() if failed else 0


@ktap.case("an SA that is asked for while a load fails does not get half a module")
def asked_while_failing():
    """The load fails at the last protocol; an SA of the first is asked for all the time."""
    only_module()
    with nobody():
        run("modprobe", OURS)
        add_sa(4, "esp", 0x500)		# which loads the cipher
    # from here on nobody but us loads anything
    with nobody(), setting.of("/proc/sys/kernel/modprobe", "/nobody"):
        load_in_tree("ah6")
        insmod, netlink = Insmod(OURS), xfrm.Socket()
        body = xfrm.usersa(*ADDRESS[4], 0x500, "esp", "transport") + xfrm.algorithm(
            xfrm.A_AEAD, "rfc4106(gcm(aes))", bytes(20), 128)

        def ask():
            with contextlib.suppress(OSError):
                netlink.request(xfrm.NEWSA, body)
        with meanwhile(ask):
            refused = {insmod.load() for _ in range(20)}
        assert refused == {errno.EBUSY}, refused
        shown = ip("xfrm", "state").stdout
        assert not shown, f"an SA without a module:\n{shown}"


@ktap.case("a failed allocation at any point of the load leaves nothing behind")
def load_without_memory():
    only_module()
    with nobody():
        insmod = Insmod(OURS)
        failures = 0
        # the core warns itself when it has no memory for the events of a module
        for failing in memory.each_allocation(but="__trace_add_new_event"):
            with failing:
                error = insmod.load()
            assert (OURS in loaded()) == (not error), f"allocation {failing.number}: half loaded"
            if error:
                failures += 1
                assert not os.path.exists(STAT), f"allocation {failing.number}: {STAT} is there"
            else:
                unload(OURS)
        ktap.say(f"{failing.number - 1} allocations, the load failed at {failures}")
        assert failures > 20, "hardly an allocation failed: is the fault injected?"
        run("modprobe", OURS)
        carries(4, "esp")
        carries(6, "ah")


if __name__ == "__main__":
    ktap.CASE_SECONDS = 3000
    ktap.main(after=impl.load)
