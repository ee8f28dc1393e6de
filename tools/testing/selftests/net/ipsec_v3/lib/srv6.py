# SPDX-License-Identifier: GPL-2.0-only
"""A route that puts an IPv6 header and a list of segments before each packet (RFC 8754).

	with srv6.route(dut, there):		# until the end, for what goes to that address
		srv6.receive(dut.wire, packet.ESP)	# the next one, without them
"""

import contextlib

from . import packet

SEGMENT = "fd99::1"	# whose host takes them off


@contextlib.contextmanager
def route(end, there, lladdr=None):
    """lladdr: of the segment's host, if that does not answer"""
    if lladdr:
        end.ip(f"neigh replace {SEGMENT} lladdr {lladdr} dev v0 nud permanent")
    end.ip(f"route add {SEGMENT} dev v0", f"route add {there} encap seg6 mode encap segs {SEGMENT} dev v0")
    try:
        yield
    finally:
        end.ip(f"route del {there} encap seg6 mode encap segs {SEGMENT} dev v0", f"route del {SEGMENT} dev v0")


def receive(wire, proto):
    """As Wire.receive(), for what came so; ICMP that nobody asked for comes so as well"""
    while True:
        data = packet.split(wire.receive((packet.IPIP, packet.IPV6)))[2]
        if packet.split(data)[1] == proto:
            return data
