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
NEWALG, DELALG = 16, 17
REQUEST, ACK = 1, 4
A_PRIORITY = 1
PRIORITY = 100000
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


def best(name):
    """The driver that an allocation by this name gets"""
    found = [a for a in listed() if a.get("name") == name and a.get("type") in (
        "aead", "ahash", "shash") and not a.get("internal", "no") == "yes"]
    return max(found, key=lambda a: int(a["priority"])) if found else {}


def uses(driver):
    return sum(int(a["refcnt"]) for a in listed() if a["driver"] == driver)


def made(driver, name):
    return best(name).get("driver", "").startswith(driver.split("(", 1)[0] + "(")


def make(driver, name, kind):
    """Needs CONFIG_CRYPTO_USER, and the template"""
    impl.modprobe("-q", "crypto_user")
    priority = struct.pack("=HHI", 8, A_PRIORITY, PRIORITY)
    try:
        # EAGAIN: its self-test runs; asked again, it would be wrapped once more
        for _ in range(60):
            if made(driver, name):
                return
            try:
                request(NEWALG, driver, priority, (TYPE[kind], TYPE_MASK[kind]))
                return
            except BlockingIOError:
                time.sleep(0.5)
            except FileExistsError:
                return
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise ktap.Skip("this kernel has no CONFIG_CRYPTO_USER") from error
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
            raise ktap.Skip(f"this kernel cannot make {driver}: {error}") from error
        raise


@contextlib.contextmanager
def instance(driver, name, kind="aead"):
    """Yields the driver's name in full; fails when an SA would not get it."""
    make(driver, name, kind)
    ktap.wait_for(lambda: made(driver, name), f"{driver} is the best {name}", 60)
    chosen = best(name)["driver"]
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
