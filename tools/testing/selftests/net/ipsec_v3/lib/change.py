# SPDX-License-Identifier: GPL-2.0-only
"""What is done to SAs, policies and devices with packets under way, and what becomes of those:
each is delivered, or leaves, or is a drop that has a name.  SAs that survive it carry more.
It is done without a process where it can be: packets would come through meanwhile.

	for action, after in change.GONE.items():	# of a busy.Busy
		busy.gone_in_flight(kind, shape, action, after)
	for name, (action, after) in change.ACTIONS.items():
		if change.possible(name, shape):
			busy.gone_in_flight(kind, shape, action, after)
"""

import struct
import time

from . import busy, host, ktap, packet, xfrm
from .faults import ends
from .shape import PORT_DUT, PORT_NATT, PORT_PEER, SPI_IN

HARD_PACKETS = 120	# in xfrm_usersa_info
NO_LIMIT = b"\xff" * 32 + bytes(32)
BLOCK = 1

# -- what becomes of them ----------------------------------------------------

def come_to_an_end(on, wanted, received=(), sent=(), seen=(0, 0), before=None):
    """So many packets received and sent: each is delivered or leaves, or is counted under one of these
    names, of which v0 is the device that is down; once.  sent: None where a device may lose some without
    a word; seen: those that the caller has taken out of the sockets; before: the counters then"""
    dut, names, deadline = on.dut, (received, sent or ()), time.monotonic() + 60
    came, left = seen
    while True:
        came += len(on.rig.sockets.waiting(on.shape))
        left += dut.wire.waiting(on.number)
        counters = host.delta(before or {}, {**dut.counters(), "v0": dut.dropped("v0")})
        lost = [sum(counters.get(name, 0) for name in each) for each in names]
        found = came + lost[0], left + lost[1] if sent is not None else max(left, wanted[1])
        if found == wanted or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    ktap.say(f"{came} of {wanted[0]} came, {left} of {wanted[1]} left, {counters}")
    ktap.equal(found, wanted, "packets that have come to an end")
    others = {name for name in counters if name.startswith("XfrmIn" if sent is None else "Xfrm")}
    ktap.equal(others - {*received, *names[1]}, set(), "other drops")


def all_end(it, received=(), sent=()):
    come_to_an_end(it.on, (len(it.packets), it.out), received, sent, (it.early, 0))


NO_SA = ("XfrmInStateInvalid", "XfrmInNoStates")


def without_sas(it):
    """What was received finds its SA gone, or no SA where it had not got that far; what was sent leaves."""
    all_end(it, NO_SA)


def without_all(it):
    """What had come through its SA by then may have found no policy."""
    all_end(it, (*NO_SA, "XfrmInNoPols"))


def come_through(it):
    """What was under way is decrypted and counted; how many"""
    count, here = len(it.packets), it.on.shape.here
    ktap.wait_for(lambda: it.rig.dut.state(here, SPI_IN, it.on.kind).packets == count,
                  f"{count} packets of the SA", 60)
    return count


def until(data, receive):
    """What was under way may come before it."""
    while receive() != data:
        pass


def still_flows(it):
    """The same SAs, beyond what was under way"""
    on, dut, sockets = it.on, it.rig.dut, it.rig.sockets
    data = b"after all of that"
    dut.wire.send(on.seal(on.start + len(it.packets) + 1000, data))
    until(data, lambda: sockets.receive(on.shape))
    sockets.send(on.shape, data)
    until((data, on.start + it.out + 1), lambda: on.opened(dut.wire.receive(on.number), on.start))


# -- all of it goes ----------------------------------------------------------

def device_up(it):
    """With what it had and has lost"""
    it.rig.dut.ip(*(line.replace(" add ", " replace ") for line in it.rig.dut.addresses()))


def device_back(it):
    device_up(it)
    all_end(it, ("v0",), None)
    still_flows(it)


# to a device that goes the core delivers as it likes, and with the namespace the figures go
GONE = {busy.delete_states: without_sas, busy.flush_states: without_sas, busy.flush_all: without_all,
        busy.remove_device: come_through, busy.device_down: device_back, busy.leave_netns: None}


# -- the SAs are changed, or what is around them -----------------------------

def expire(it):
    """As when the time is up"""
    for src, dst, spi in ends(it.on):
        sa = xfrm.usersa(src, dst, spi, it.on.kind, it.on.shape.mode)
        it.rig.dut.xfrm().request(xfrm.EXPIRE, sa + b"\1" + bytes(7))


def update_states(it, edit):
    """edit() of what the kernel says of each"""
    for _, dst, spi in ends(it.on):
        sa = it.rig.dut.xfrm().request(xfrm.GETSA, xfrm.sa_id(dst, spi, it.on.kind), 0)
        it.rig.dut.xfrm().request(xfrm.UPDSA, edit(sa))


def update(it):
    """With the same keys, as a key manager that changes a limit"""
    update_states(it, lambda sa: sa[:HARD_PACKETS] + struct.pack("=Q", 100000) + sa[HARD_PACKETS + 8:])


def all_arrive(it):
    """Nothing that was under way is lost, nothing is counted twice."""
    for (_, dst, spi), count in zip(ends(it.on), (it.out, len(it.packets))):
        ktap.wait_for(lambda dst=dst, spi=spi, count=count: it.rig.dut.state(
            dst, spi, it.on.kind).packets == count, f"{count} packets of {spi:#x}", 60)
    all_end(it)
    still_flows(it)


def migrate(it):
    """To another source address and back"""
    shape = it.on.shape
    ports = (shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT)
    here, there = shape.here, shape.there
    other = "10.0.0.99" if shape.outer == 4 else "fd00::99"
    for old, new in ((there, other), (other, there)):
        it.rig.dut.xfrm().migrate("in", xfrm.udp_selector(*ports), (old, here), (new, here),
                                  shape.mode, it.on.kind)


def migrated(it):
    """What was under way belongs to the one that was left."""
    without_sas(it)
    still_flows(it)


def policies(it, verb, **more):
    it.rig.dut.ip(*(line.replace("policy add", f"policy {verb}")
                    for line in it.on.shape.lines("", it.on.kind, **more)[4:]))


def delete_policies(it):
    """At once; what has come by then was accepted before"""
    it.rig.dut.xfrm().request(xfrm.FLUSHPOLICY, b"")
    it.early = len(it.rig.sockets.waiting(it.on.shape))


def block(it):
    """The policy that lets in what the SA protects now blocks it."""
    shape = it.on.shape
    selector = xfrm.udp_selector(shape.inner_there, shape.inner_here, PORT_PEER, PORT_DUT)
    it.rig.dut.xfrm().request(xfrm.UPDPOLICY, selector + NO_LIMIT + bytes(32 + 8) + struct.pack(
        "=BB6x", xfrm.DIRECTION["in"], BLOCK))
    it.early = len(it.rig.sockets.waiting(shape))


def none_delivered(it, counter):
    """A packet is for the policies that are there when it is decrypted (RFC 4301 5.2)."""
    count = come_through(it) - it.early
    ktap.say(f"{it.early} came before")
    ktap.wait_for(lambda: it.rig.dut.counters().get(counter, 0) == count, f"{counter}: {count}", 60)
    ktap.equal(it.rig.sockets.waiting(it.on.shape), [], "what was delivered")


def blocked(it):
    none_delivered(it, "XfrmInPolBlock")
    policies(it, "update")
    still_flows(it)


def without_policies(it):
    """What was in a tunnel is for nobody then; a host that asks for no protection takes the others."""
    if it.on.shape.mode == "transport":
        all_end(it)
    else:
        none_delivered(it, "XfrmInNoPols")
    policies(it, "add")
    still_flows(it)


def flap(it):
    """Down, and up again before the packets are done"""
    busy.device_down(it)
    device_up(it)


ACTIONS = {"SAs expire": (expire, without_sas), "SAs are updated": (update, all_arrive),
           "SAs migrate": (migrate, migrated), "policies go": (delete_policies, without_policies),
           "policies block": (block, blocked), "the link flaps": (flap, device_back)}


def possible(name, shape):
    """6.1 and 6.12 migrate tunnels."""
    return name != "SAs migrate" or shape.mode == "tunnel"


# -- the kernel ends them itself ---------------------------------------------

def time_is_up(it):
    for _, dst, spi in ends(it.on):
        ktap.wait_for(lambda dst=dst, spi=spi: it.rig.dut.lacks_state(dst, spi, it.on.kind), f"{spi:#x} ends", 60)


def limit_reached(it):
    """What was received before it has been counted goes on, and the next one finds it reached.  What is
    sent has been counted, and from the first on that finds it reached there is no SA."""
    all_end(it, (), ("XfrmOutStateExpired", "XfrmOutStateInvalid", "XfrmOutNoStates"))
    on, dut = it.on, it.rig.dut
    ktap.equal(dut.counters().get("XfrmOutStateExpired"), 1, "XfrmOutStateExpired")
    dut.wire.send(on.seal(on.start + len(it.packets) + 1000))
    for _, dst, spi in ends(on):
        ktap.wait_for(lambda dst=dst, spi=spi: dut.lacks_state(dst, spi, on.kind), f"{spi:#x} ends", 60)
    ktap.equal(dut.counters().get("XfrmInStateExpired"), 1, "XfrmInStateExpired")


# -- what ESP in UDP and an XFRM interface have besides ----------------------

def close_socket(it):
    """The one that takes ESP in UDP"""
    it.closed = next(sock for sock in it.rig.sockets.encap if sock.getsockname()[0] == it.on.shape.here)
    it.closed.close()


def new_socket(it):
    """Nothing that had passed it is lost, and the SA goes on with another."""
    all_end(it)
    encap = it.rig.sockets.encap
    encap[encap.index(it.closed)] = it.rig.dut.udp(it.on.shape.here, PORT_NATT, True)
    still_flows(it)


OTHER_PORT = 4501


def remap(it):
    old, new = (struct.pack("=H", host.ESPINUDP) + struct.pack("!HH", port, port) for port in (PORT_NATT, OTHER_PORT))
    update_states(it, lambda sa: sa.replace(old, new))


def ports_that_leave(it, count):
    return {struct.unpack("!HH", packet.split(it.rig.dut.wire.receive(packet.UDP))[2][:4]) for _ in range(count)}


def remapped(it):
    """What was under way has the ports from before, what is sent then has the new ones.  Another
    mapping than the SA's is told of, and no reason to drop."""
    ktap.equal(ports_that_leave(it, it.out), {(PORT_NATT, PORT_NATT)}, "ports of what was under way")
    all_end(it, (), None)
    still_flows(it)
    it.rig.sockets.send(it.on.shape, b"one more")
    ktap.equal(ports_that_leave(it, 1), {(OTHER_PORT, OTHER_PORT)}, "ports")


def interface(it):
    """Both SAs are of an XFRM interface, and what is sent goes to it."""
    shape = it.on.shape
    it.rig.dut.ip("link add xfrm7 type xfrm dev v0 if_id 7", "link set xfrm7 up",
                  f"route replace {shape.inner_there} src {shape.inner_here} dev xfrm7")


def remove_interface(it):
    busy.unlink(it.rig.dut, "xfrm7")
    it.early = len(it.rig.sockets.waiting(it.on.shape))


def without_interface(it):
    """What comes through the SA then belongs to no interface, for which there is no policy; on 6.1 it
    does not get that far."""
    all_end(it, ("XfrmInNoPols", "RxDevice"))
