# SPDX-License-Identifier: GPL-2.0-only
"""Packets in flight: a Dut of its own whose asynchronous transform has many of them
queued, and the proof that afterwards nothing holds the module.

	gone_in_flight(kind, shape, action)	# action(busy): something goes away

Another keeper than cryptd may hold the packets.  Either says how, and proves that they
are under way before anything is done to them.
"""

import contextlib
import fcntl
import socket
import struct

from . import cryptd, impl, ktap, xfrm
from .line import Line, Monopoly, Rig
from .shape import SPI_IN, SPI_OUT
from .suite import GCM, cbc, gcm, sha256

SIOCSIFFLAGS, IFF_MULTICAST, RTM_DELLINK = 0x8914, 0x1000, 17
JUMP = 65536		# beyond it an ESN packet may be an old one, see late.c
# {name: (crypto API's name, type, protocol, suite)}, all with ESN
KINDS = {
    GCM: (GCM, "aead", "esp", gcm),
    "authencesn(hmac(sha256),cbc(aes))": (
        "authencesn(hmac(sha256),cbc(aes))", "aead", "esp", cbc),
    "AH hmac(sha256)": ("hmac(sha256)", "ahash", "ah", sha256),
}


class Busy:
    START = 68 << 32 | 100000
    PACKETS = 300

    def __init__(self, suite, proto, shape, **more):
        """more: for the Line"""
        self.rig = Rig()
        self.rig.start(name="busy")
        self.on = Line(self.rig, shape, suite, proto, True, 4096, self.START, **more)
        self.packets = self.sealed(self.PACKETS)
        self.out = 0		# datagrams that were sent
        self.early = 0		# those that were delivered before something was done to the SAs

    def sealed(self, count, after=0):
        first = self.on.start + after + 1
        return [self.on.seal(number) for number in range(first, first + count)]

    def suspects(self, late, forged):
        """So many packets each that have a second try"""
        return [self.on.seal(self.on.start - 2 * JUMP + n) for n in range(late)] + [
            self.on.seal(self.on.start + (1 << 31) + n, flip_icv=True) for n in range(forged)]

    def fill(self):
        for n, data in enumerate(self.packets):
            self.rig.dut.wire.send(data)
            if n % 3 == 0:		# more would not fit a socket's buffer
                self.out += 1
                with contextlib.suppress(OSError):	# the core may tell the sender
                    self.rig.sockets.send(self.on.shape, b"one of many")

    def more(self, count):
        """Received behind those"""
        new = self.sealed(count, len(self.packets))
        self.packets += new
        for data in new:
            self.rig.dut.wire.send(data)

    def flush(self):
        """A queued datagram holds its SA."""
        if self.rig:
            self.rig.dut.flush()
            self.rig.sockets.drain()

    def stop(self):
        if self.rig:
            self.rig.stop()
            self.rig = None


def let_go():
    for module in impl.WANTED:
        path = f"/sys/module/{module}/refcnt"

        def idle(path=path):
            with open(path, encoding="ascii") as file:
                return file.read() == "0\n"
        ktap.wait_for(idle, f"{module} is let go", 60)


def reload_at_once():
    """As soon as the last SA is freed, which the packets hold"""
    for module in impl.WANTED:
        ktap.wait_for(lambda module=module: not impl.modprobe("-r", module),
                      f"{module} unloads", 60)
    ktap.equal(impl.load(), None, "loading again")


def not_all_through(it):
    """A kernel that leaves other threads a part of each second may have finished a few."""
    through = it.on.figures()["packets"]
    ktap.check(through < len(it.packets), "all packets are through already")
    ktap.say(f"{through} were through before")


@contextlib.contextmanager
def cryptd_keeps(kind):
    """Its worker gets no CPU, and so nothing is finished."""
    name, crypto_type, _, _ = KINDS[kind]
    with cryptd.instance(f"cryptd({name})", name, crypto_type):
        yield Monopoly, not_all_through


def gone_in_flight(kind, shape, action, after=None, unload=False, keeper=cryptd_keeps,
                   before=None, **more):
    """before(busy), then what is done to the SAs while packets are under way, then after(busy):
    what became of them, and of SAs that survive it.  At the end nothing holds the module.

    keeper: yields what keeps them there, and what fails when none is; more: for the Line."""
    _, _, proto, suite = KINDS[kind]
    with keeper(kind) as (keeps, under_way):
        busy = Busy(suite(), proto, shape, **more)
        try:
            if before:
                before(busy)
            with keeps():
                busy.fill()
                under_way(busy)
                action(busy)
            if after:
                after(busy)
        finally:
            busy.flush()
            if unload:
                reload_at_once()
            busy.stop()
        let_go()


# -- what may go while packets are under way: without a process, or they would be through -------

def delete_states(it):
    for spi, dst in ((SPI_IN, it.on.shape.here), (SPI_OUT, it.on.shape.there)):
        it.rig.dut.xfrm().request(xfrm.DELSA, xfrm.sa_id(dst, spi, it.on.kind))


def flush_states(it):
    it.rig.dut.xfrm().request(xfrm.FLUSHSA, b"\0")


def flush_all(it):
    flush_states(it)
    it.rig.dut.xfrm().request(xfrm.FLUSHPOLICY, b"")


def down(dut, device):
    """Nothing else of it changes."""
    with dut.inside(), socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), IFF_MULTICAST))


def unlink(dut, device):
    with dut.inside(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.send(struct.pack("=IHHII4xi8x", 32, RTM_DELLINK, xfrm.NLM_F_REQUEST | xfrm.NLM_F_ACK, 1, 0,
                              socket.if_nametoindex(device)))
        ktap.equal(struct.unpack("=16xi", sock.recv(4096)[:20]), (0,), f"answer to the end of {device}")


def remove_device(it):
    unlink(it.rig.dut, "v0")


def device_down(it):
    down(it.rig.dut, "v0")


def leave_netns(it):
    it.stop()
