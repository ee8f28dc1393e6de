# SPDX-License-Identifier: GPL-2.0-only
"""A device whose packets come to the stack in the thread that writes them.

	with contextlib.closing(Tun(dut)) as tun:
		tun.write(packet)		# an IP packet, in pages where it is large

So what they meet on their way is that thread's, as an allocation that shall fail.
"""

import fcntl
import os
import struct

from . import impl, ktap

TUNSETIFF = 0x400454ca
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
MTU = 65521		# more it does not take


class Tun:
    def __init__(self, dut, name="tun0"):
        if impl.modprobe("tun"):
            raise ktap.Skip("this kernel has no tun")
        with dut.inside():
            self.file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self.file, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
        dut.ip(f"link set {name} mtu {MTU} up")

    def close(self):
        os.close(self.file)

    def write(self, packet, virtio=bytes(10)):
        """virtio: its header, which says what is left to do with the packet"""
        os.write(self.file, virtio + packet)
