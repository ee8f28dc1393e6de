# SPDX-License-Identifier: GPL-2.0-only
"""Asynchronous algorithms: instances of cryptd(...) and pcrypt(...).

	with cryptd.instance("cryptd(rfc4106(gcm(aes)))", "rfc4106(gcm(aes))") as driver:
		...		# a new SA gets this one: its priority is higher

The instance goes at the end, so that the next case is synchronous again.
"""

import contextlib
import errno
import os
import socket
import struct
import time

from . import impl, ktap

NETLINK_CRYPTO = 21
NEWALG, DELALG, UPDATEALG = 16, 17, 18
REQUEST, ACK = 1, 4
A_PRIORITY = 1
PRIORITY = 100000
NAME_BYTES = 64		# of a driver in a message, with its end; the kernel knows 128
NOTESTS = "/sys/module/cryptomgr/parameters/notests"
TYPE = {"aead": 3, "ahash": 15}
TYPE_MASK = {"aead": 15, "ahash": 14}


def request(kind, driver, more=b"", types=(0, 0)):
    body = struct.pack("64s64s64sIIII", b"", driver.encode(), b"", *types, 0, 0) + more
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_CRYPTO) as sock:
        sock.settimeout(20)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK, 1, 0) + body)
        answer = sock.recv(4096)
    error = -struct.unpack("=i", answer[16:20])[0]
    if error:
        raise OSError(error, os.strerror(error), driver)


def listed():
    """[{field: value}] of /proc/crypto"""
    with open("/proc/crypto", encoding="ascii") as file:
        blocks = file.read().strip().split("\n\n")
    return [dict((part.strip() for part in line.split(":", 1))
                 for line in block.splitlines()) for block in blocks]


def serving(name):
    """All that an allocation by this name can get"""
    return [a for a in listed() if a.get("name") == name and a.get("type") in (
        "aead", "ahash", "shash") and not a.get("internal", "no") == "yes"]


def best(name):
    """The one that it does get"""
    return max(serving(name), key=lambda a: int(a["priority"]), default={})


def uses(driver):
    return sum(int(a["refcnt"]) for a in listed() if a["driver"] == driver)


def made(driver, name):
    """The instances by this name whose outer template is driver's"""
    template = driver.split("(", 1)[0] + "("
    return [a["driver"] for a in serving(name) if a["driver"].startswith(template)]


def ask(driver, name, kind):
    """Makes an instance and lets it be the best.  The answer says little: EAGAIN
    while it is being registered, on 6.1 ENOENT although it is there; either way
    the priority asked for is lost."""
    priority = struct.pack("=HHI", 8, A_PRIORITY, PRIORITY)
    for _ in range(60):
        error = None
        try:
            request(NEWALG, driver, priority, (TYPE[kind], TYPE_MASK[kind]))
        except (BlockingIOError, FileExistsError, FileNotFoundError) as answer:
            error = answer
        for full in made(driver, name):
            ktap.check(len(full) < NAME_BYTES, f"{full} is too long a name for a message: "
                       "take algorithms with shorter ones")
            request(UPDATEALG, full, priority)
            return
        if isinstance(error, FileNotFoundError):
            raise error
        time.sleep(0.5)


def make(driver, name, kind):
    """Needs CONFIG_CRYPTO_USER, and the template"""
    impl.modprobe("-q", "crypto_user")
    impl.modprobe("-q", "cryptd")
    # 6.1's cryptd changes the caller's request and so fails the core's self-test
    if os.path.exists(NOTESTS):		# or the kernel has no such tests
        with open(NOTESTS, "w", encoding="ascii") as file:
            file.write("1")
    try:
        ask(driver, name, kind)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise ktap.Skip("this kernel has no CONFIG_CRYPTO_USER") from error
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
            raise ktap.Skip(f"this kernel cannot make {driver}: {error}") from error
        raise


def unwrap(name):
    """In-tree puts an IV generator around it, and one that is there already stays
    around what it was made of."""
    for algorithm in listed():
        if algorithm["name"] in (f"seqiv({name})", f"echainiv({name})"):
            remove(algorithm["driver"])


@contextlib.contextmanager
def instance(driver, name, kind="aead"):
    """Yields the driver's name in full; fails when an SA would not get it."""
    make(driver, name, kind)
    if impl.INTREE:
        unwrap(name)
    chosen = best(name)["driver"]
    ktap.check(chosen in made(driver, name), f"{chosen} is the best {name}, not {driver}")
    try:
        yield chosen
    finally:
        remove(chosen)


def remove(driver):
    """SAs let go of their transform a while after they are deleted."""
    def gone():
        try:
            request(DELALG, driver)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True
    ktap.wait_for(gone, f"{driver} is let go", 60)
