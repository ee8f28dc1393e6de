#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""net.ipsec_v3.userns_refuse keeps the roots of user namespaces away from SAs.

A user namespace gives anybody CAP_NET_ADMIN in a network namespace of his own,
and with it the whole of ESP and AH to try his luck on.
"""
import subprocess

from lib import impl, ktap

SWITCH = "/proc/sys/net/ipsec_v3/userns_refuse"
NOBODY = 65534
STAT = "/proc/net/ipsec_v3_stat"
FORGE = ("/usr/bin/python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50); "
         "s.sendto(bytes.fromhex('0000080000000001') + bytes(40), ('10.9.0.2', 0))\"")
SENTENCE = "net.ipsec_v3.userns_refuse is set"
NO_SWITCH = "in-tree has no such switch"
SA = {
    "esp": "ip xfrm state add src 10.9.0.1 dst 10.9.0.2 proto esp spi 0x800 "
           "aead 'rfc4106(gcm(aes))' 0x" + "11" * 20 + " 128",
    "ah": "ip xfrm state add src fd09::1 dst fd09::2 proto ah spi 0x801 "
          "auth-trunc 'hmac(sha256)' 0x" + "22" * 32 + " 128",
}


def shell(script, *before):
    return subprocess.run([*before, "sh", "-c", script], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def as_stranger(script):
    """A user without rights, who makes himself a user and network namespace."""
    done = shell("id -u", "setpriv", f"--reuid={NOBODY}", "--clear-groups", "unshare", "-Urn")
    if done.stdout.strip() != "0":
        raise ktap.Skip(f"no user namespace for a user: {done.stdout.strip()}")
    return shell(script, "setpriv", f"--reuid={NOBODY}", "--clear-groups", "unshare", "-Urn")


def switch(value):
    if impl.INTREE:
        return
    with open(SWITCH, "w", encoding="ascii") as file:
        file.write(f"{value}\n")


def load():
    modules = ["esp4", "ah6"] if impl.INTREE else ["ipsec_v3"]
    subprocess.run(["modprobe", "-a", *modules], check=True)
    switch(0)


@ktap.case("the switch is off until somebody sets it")
def off():
    load()
    if impl.INTREE:
        raise ktap.Skip(NO_SWITCH)
    # the SAs of a namespace that was left just now go when the kernel gets to it
    ktap.wait_for(lambda: not impl.modprobe("-r", "ipsec_v3"), "unloading")
    subprocess.run(["modprobe", "ipsec_v3"], check=True)
    with open(SWITCH, encoding="ascii") as file:
        assert file.read() == "0\n"
    done = as_stranger(f"cat {SWITCH}")
    assert done.stdout == "0\n", done.stdout


@ktap.case("it takes 0 and 1 and nothing else")
def values():
    if impl.INTREE:
        raise ktap.Skip(NO_SWITCH)
    load()
    for value in ("2", "-1", "x"):
        try:
            switch(value)
            raise AssertionError(f"{value} was accepted")
        except OSError:
            pass
    switch(1)
    switch(0)


@ktap.case("off: root of a user namespace adds SAs")
def allowed():
    load()
    for proto, command in SA.items():
        done = as_stranger(f"{command} && ip xfrm state count")
        assert done.returncode == 0 and "SAD count 1" in done.stdout, (proto, done.stdout)


@ktap.case("on: they are refused in words", intree_fails=NO_SWITCH)
def refused():
    load()
    switch(1)
    try:
        for proto, command in SA.items():
            done = as_stranger(command)
            assert done.returncode, f"{proto}: the SA was accepted"
            assert SENTENCE in done.stdout, (proto, done.stdout)
    finally:
        switch(0)


@ktap.case("on: root of the user namespace cannot lift it", intree_fails=NO_SWITCH)
def not_lifted():
    load()
    switch(1)
    try:
        done = as_stranger(f"echo 0 > {SWITCH}; sysctl -w net.ipsec_v3.userns_refuse=0; "
                           f"{SA['esp']}")
        assert done.returncode and SENTENCE in done.stdout, done.stdout
        if not impl.INTREE:
            with open(SWITCH, encoding="ascii") as file:
                assert file.read() == "1\n", "the initial namespace's switch moved"
    finally:
        switch(0)


def stranger_with_namespace():
    """One who waits with his namespaces until his input ends."""
    waiting = subprocess.Popen(
        ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "unshare", "-Urn", "sh", "-c",
         f"echo $$; read go; echo 0 > {SWITCH}; {SA['esp']}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return waiting, int(waiting.stdout.readline())


@ktap.case("on in one such namespace alone: refused there, and not to be lifted",
      intree_fails=NO_SWITCH)
def own_switch():
    load()
    as_stranger("true")
    waiting, pid = stranger_with_namespace()
    if not impl.INTREE:
        done = shell(f"echo 1 > {SWITCH}", "nsenter", "-t", str(pid), "-n")
        assert done.returncode == 0, done.stdout
    said = waiting.communicate("\n")[0]
    assert waiting.returncode and SENTENCE in said, said
    done = as_stranger(SA["esp"])
    assert done.returncode == 0, f"another namespace is refused too: {done.stdout}"


@ktap.case("on: the initial user namespace's own SAs are not touched")
def others():
    load()
    switch(1)
    try:
        for before in ([], ["unshare", "-n"]):
            for proto, command in SA.items():
                done = shell(f"{command} && ip xfrm state flush", *before)
                assert done.returncode == 0, (proto, before, done.stdout)
    finally:
        switch(0)


@ktap.case("on: a namespace that a user namespace owns sees its own counters")
def counters():
    if impl.INTREE:
        raise ktap.Skip("in-tree has no such counters")
    load()
    before = shell(f"cat {STAT}").stdout
    # a forgery, inside
    done = as_stranger(f"ip link set lo up && ip addr add 10.9.0.1 dev lo && ip addr add 10.9.0.2 dev lo &&"
                       f"{SA['esp']} && {FORGE} && sleep 0.5; grep RxForged {STAT}")
    assert done.stdout.split() == ["RxForged", "1"], done.stdout
    ktap.equal(shell(f"cat {STAT}").stdout, before, "the counters outside")


if __name__ == "__main__":
    ktap.main(after=impl.load)
