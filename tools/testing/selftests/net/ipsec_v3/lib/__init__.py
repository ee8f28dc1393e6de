# SPDX-License-Identifier: GPL-2.0-only
"""What the selftests of ipsec_v3 share.

ktap     registry of cases, KTAP output, exit status
impl     which implementation is under test, and the proof that it is
host     a network namespace with a cable, and `ip` in it
wire     the far end of the cable: raw frames, no network stack
xfrm     reading states and events over netlink
packet   IP, UDP and ICMP packets as bytes
suite    the algorithms, without the kernel's xfrm code
peer     ESP and AH written from the RFCs, sharing no code with the kernel
"""
