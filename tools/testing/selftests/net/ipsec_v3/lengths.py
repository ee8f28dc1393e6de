#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packets that are cut off at every byte, split at every place, and as long as whole
pages: each is dropped and counted once, or arrives.
"""

import os

from lib import ktap, packet
from lib.line import Line, Rig
from lib.shape import T4IN4, T6IN6, V4, V6
from lib.suite import gcm, sha256

START = 68 << 32 | 100000
MTU = 65535

RIG = Rig()


def esp_line(shape, **more):
    return Line(RIG, shape, gcm(), "esp", True, 64, START, **more)


def ah_line(shape):
    return Line(RIG, shape, sha256(), "ah", True, 64, START)


def refuse_all(on, packets):
    """None arrives, each is counted once, and then a good one still passes."""
    before = on.figures()
    for data in packets:
        RIG.dut.wire.send(data)

    def refused():
        changed = on.since(before)
        return sum(n for name, n in changed.items() if name.startswith("XfrmIn"))
    ktap.wait_for(lambda: refused() == len(packets), f"{len(packets)} are counted", 15)
    changed = on.since(before)
    ktap.check("packets" not in changed, "one was accepted")
    ktap.say(", ".join(f"{n} {name}" for name, n in sorted(changed.items())))
    on.accepts(on.start + 1)


def truncated(maker, shape):
    on = maker(shape)
    data = on.seal(on.start + 1, bytes(range(40)))
    header, proto, whole = packet.split(data)
    refuse_all(on, [packet.join(header, proto, whole[:n]) for n in range(len(whole))])


def cut_behind_header(maker, shape):
    """The IP header promises more than arrives: the IP layer's business"""
    on = maker(shape)
    data = on.seal(on.start + 1, bytes(range(40)))
    before = on.figures()
    for n in range(21, len(data)):		# from the first octet behind the shorter of the two headers on
        RIG.dut.wire.send(data[:n])
    on.settle(before, {})
    on.accepts(on.start + 1)


def split_points(size):
    """In the protocol header, the IV, the payload, the trailer and the ICV"""
    last = (size - 1) // 8 * 8
    for point in (8, 16, 24, 32, 40, 48, size // 2 // 8 * 8, last - 24, last - 16,
                  last - 8, last):
        yield (point,)
    yield (8, 16, 24)
    yield tuple(range(8, min(size - 1, 8 * 20), 8))
    yield (last - 16, last - 8, last)


def split_over_fragments(maker, shape):
    on = maker(shape)
    seq = on.start
    for size in (100, 1300, 9000):
        whole = on.seal(seq + 1, bytes(size))
        for points in split_points(len(packet.split(whole)[2])):
            # IPv6 wants the header chain, AH and UDP in the first (RFC 7112)
            if on.kind == "ah" and shape.outer == 6 and points[0] < 40:
                continue
            seq += 1
            content = os.urandom(size)
            pieces = packet.fragments(on.seal(seq, content), points)
            before = on.figures()
            for data in pieces if seq % 2 else reversed(pieces):
                RIG.dut.wire.send(data)
            on.settle(before, {"packets": 1})
            ktap.equal(RIG.sockets.receive(shape), content, "data")
    broken = packet.fragments(on.seal(seq + 1, bytes(1300), flip_icv=True), (640,))
    before = on.figures()
    for data in broken:
        RIG.dut.wire.send(data)
    on.settle(before, {"failed": 1, "RxForged": 1, "XfrmInStateProtoError": 1})
    on.accepts(seq + 1)


def page_edges(maker, shape):
    """Lengths around whole pages, received and sent (CVE-2022-27666)"""
    on = maker(shape)
    seq = on.start
    overhead = len(on.seal(seq, b""))
    for pages in (1, 2, 8):
        for total in edges(pages * 4096, overhead):
            seq += 1
            on.does({"packets": 1}, seq, arrives=True, data=os.urandom(total))
    sent = on.start
    for pages in (1, 2, 8):
        for total in edges(pages * 4096, overhead):
            content = os.urandom(total)
            RIG.dut.wire.drain()
            RIG.sockets.send(shape, content)
            sent += 1
            got, number = on.opened(RIG.dut.wire.receive(on.number), sent)
            ktap.equal((got, number), (content, sent), "data and number on the wire")


def edges(size, overhead):
    """Payloads with which the data, the ESP packet or the IP packet have size"""
    for less in (0, 8, 28, 48, overhead - 28, overhead - 8, overhead):
        for step in (-1, 0, 1):
            yield size - less + step


def tfc_page_edges():
    """Traffic flow padding up to whole pages (RFC 4303 2.7)"""
    for pad in (4095, 4096, 4097, 65000):
        on = esp_line(T4IN4, more=f"tfcpad {pad}")
        for size in (1, 4000, 4068, 4069, 5000):
            content = os.urandom(size)
            RIG.dut.wire.drain()
            RIG.sockets.send(T4IN4, content)
            data = RIG.dut.wire.receive(packet.ESP)
            payload, next_header, _ = on.sender.open(packet.split(data)[2], START)
            inner = payload[:int.from_bytes(payload[2:4], "big")]
            ktap.equal(T4IN4.from_dut(next_header, inner), content, "data")
            ktap.check(len(payload) >= min(pad, 60000), f"only {len(payload)} bytes")


for maker, name in ((esp_line, "ESP"), (ah_line, "AH")):
    for shape in (V4, V6, T6IN6):
        ktap.add(f"{name} {shape}: cut off at every byte", truncated, maker, shape)
        ktap.add(f"{name} {shape}: split over fragments", split_over_fragments, maker, shape)
        ktap.add(f"{name} {shape}: lengths around a page", page_edges, maker, shape)
    for shape in (V4, V6):
        ktap.add(f"{name} {shape}: less than the IP header promises", cut_behind_header,
                 maker, shape)
ktap.add("TFC padding around a page", tfc_page_edges)

ktap.main(lambda: RIG.start(mtu=MTU), RIG.stop)
