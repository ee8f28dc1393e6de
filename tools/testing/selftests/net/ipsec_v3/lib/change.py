# SPDX-License-Identifier: GPL-2.0-only
"""What packets under way survive, or at least those that come later: SAs expire, are
updated, migrate; policies change; the link flaps.

	for name, (action, after) in change.ACTIONS.items():	# of a busy.Busy
		if change.possible(name, shape):
			busy.gone_in_flight(kind, shape, action, after)
"""

import time

from . import host, ktap, xfrm
from .faults import ends
from .shape import PORT_DUT, PORT_PEER, SPI_IN


def expire(it):
    """As when the time is up"""
    for src, dst, spi in ends(it.on):
        sa = xfrm.usersa(src, dst, spi, it.on.kind, it.on.shape.mode)
        it.rig.dut.xfrm().request(xfrm.EXPIRE, sa + b"\1" + bytes(7))


def update(it):
    """With the same keys, as a key manager that changes a limit"""
    words = it.on.peer.suite.words(**({"ah": True} if it.on.kind == "ah" else {}))
    for src, dst, spi in ends(it.on):
        it.rig.dut.ip(host.state_line(src, dst, spi, words, it.on.kind, it.on.shape.mode,
                                      esn=True, window=4096, verb="update",
                                      more="limit packet-hard 100000"))


def all_arrive(it):
    """Nothing that was under way is lost, nothing is counted twice."""
    dut = it.rig.dut
    for (_, dst, spi), count in zip(ends(it.on), (it.out, len(it.packets))):
        ktap.wait_for(lambda dst=dst, spi=spi, count=count: dut.state(
            dst, spi, it.on.kind).packets == count, f"{count} packets of {spi:#x}", 60)
    ktap.equal({n: v for n, v in dut.counters().items() if n.startswith("Xfrm")}, {},
               "counters")


def migrate(it):
    """To another source address and back"""
    shape = it.on.shape
    ports = (shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT)
    here, there = shape.here, shape.there
    other = "10.0.0.99" if shape.outer == 4 else "fd00::99"
    for old, new in ((there, other), (other, there)):
        it.rig.dut.xfrm().migrate("in", xfrm.udp_selector(*ports), (old, here), (new, here),
                                  shape.mode, it.on.kind)


def still_flows(it):
    """The same SA, beyond what was under way"""
    seq = it.on.start + len(it.packets) + 1000
    data = b"after all of that"
    it.rig.dut.wire.send(it.on.seal(seq, data))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if it.rig.sockets.receive(it.on.shape) == data:
            return
    ktap.fail("the datagram did not arrive")


def delete_policies(it):
    """At once; what has come by then was accepted before"""
    it.rig.dut.xfrm().request(xfrm.FLUSHPOLICY, b"")
    it.early = len(it.rig.sockets.waiting(it.on.shape))


def block(it):
    """The policy that lets in what the SA protects now blocks it."""
    it.rig.dut.ip(*(it.on.shape.policy(direction, rule="action block priority 0").replace(
        "policy add", "policy update") for direction in ("in", "out")))
    it.early = len(it.rig.sockets.waiting(it.on.shape))


def come_through(it):
    """What was under way is decrypted and counted; how many"""
    count, here = len(it.packets), it.on.shape.here
    ktap.wait_for(lambda: it.rig.dut.state(here, SPI_IN, it.on.kind).packets == count,
                  f"{count} packets of the SA", 60)
    return count


def none_delivered(it, counter):
    """A packet is for the policies that are there when it is decrypted (RFC 4301 5.2)."""
    count = come_through(it) - it.early
    ktap.say(f"{it.early} came before")
    ktap.wait_for(lambda: it.rig.dut.counters().get(counter, 0) == count, f"{counter}: {count}", 60)
    ktap.equal(it.rig.sockets.waiting(it.on.shape), [], "what was delivered")


def blocked(it):
    none_delivered(it, "XfrmInPolBlock")


def without_policies(it):
    """What was in a tunnel is for nobody then; a host that asks for no protection takes the others."""
    if it.on.shape.mode == "tunnel":
        none_delivered(it, "XfrmInNoPols")
        return
    count, got = come_through(it) - it.early, []

    def all_came():
        got.extend(it.rig.sockets.waiting(it.on.shape))
        return len(got) == count
    ktap.wait_for(all_came, f"{count} datagrams", 60)


def flap(it):
    """Down, and up again before the packets are done"""
    it.rig.dut.ip("link set v0 down")
    it.rig.dut.ip("link set v0 up")


ACTIONS = {"SAs expire": (expire, None), "SAs are updated": (update, all_arrive),
           "SAs migrate": (migrate, still_flows), "policies go": (delete_policies, without_policies),
           "policies block": (block, blocked), "the link flaps": (flap, None)}


def possible(name, shape):
    """6.1 and 6.12 migrate tunnels."""
    return name != "SAs migrate" or shape.mode != "transport"
