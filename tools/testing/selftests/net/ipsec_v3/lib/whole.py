# SPDX-License-Identifier: GPL-2.0-only
"""Whole TCP packets (GSO), which a host forwards into an SA, so that they are segmented and
encrypted at the device.

	with contextlib.closing(Whole(dut, here, there, START)) as whole:
		data = whole.send()		# SEGMENTS of SEGMENT bytes
		whole.part(packet, data)	# (which of them, its number - START) of an ESP packet
"""

from . import host, impl, ktap, packet, setting
from .peer import Esp
from .suite import gcm
from .tun import Tun

NEAR, FAR = "198.51.100.1", "203.0.113.1"
SPI, REQID = 0x300, 5
SEGMENTS, SEGMENT = 40, 100


def encrypted_for_device():
    """Skips a case where nothing is, nor decrypted by GRO."""
    if impl.INTREE or setting.read("/sys/module/ipsec_v3/parameters/offload") in ("N", "0"):
        raise ktap.Skip("about what ipsec_v3 does at the edge of the stack, which takes offload=1")


class Whole(Tun):
    def __init__(self, dut, here, there, start):
        super().__init__(dut)
        self.dut, self.start = dut, start
        suite = gcm()
        self.sender = Esp(suite, SPI, esn=True)
        dut.sysctl("net.ipv4.ip_forward", 1)
        dut.ip(f"route add {NEAR} dev tun0", f"route add {FAR} via {there}",
               host.state_line(here, there, SPI, suite.words(), mode="tunnel", reqid=REQID, esn=True, oseq=start),
               host.policy_line("out", NEAR, FAR, host.template(here, there, mode="tunnel", reqid=REQID)))

    def close(self):
        super().close()
        self.dut.ip(f"route del {FAR}")
        self.dut.sysctl("net.ipv4.ip_forward", 0)

    def make(self):
        """(header of virtio, the next packet)"""
        return packet.whole_tcp(NEAR, FAR, SEGMENTS * SEGMENT, SEGMENT, link=0)

    def send(self, count=1):
        virtio, data = self.make()
        for _ in range(count):
            self.write(data, virtio)
        return data

    def part(self, data, whole):
        """Which segment of that whole packet a packet of the host's is, from 0, and its sequence number
        less the start"""
        inner, next_header, seq = self.sender.open(packet.split(data)[2], self.start)
        ktap.equal(next_header, packet.IPIP, "next header")
        payload, wanted = (packet.split(each)[2][20:] for each in (inner, whole))
        number, odd = divmod(wanted.find(payload), SEGMENT)
        ktap.equal((odd, len(payload)), (0, SEGMENT), "where its bytes are, and how many")
        return number, seq - self.start
