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
shape    mode and families of an SA: its addresses, states, policies, traffic
line     one SA pair between a Dut and the test, and what each packet changes
pair     two hosts whose TCP crosses the stack whole

busy     packets in flight, and the proof that nothing holds the module afterwards
change   what is done to SAs meanwhile, and what becomes of the packets
faults   what the files about faults share
memory   allocations that fail
meanwhile, setting, spread	another thread; /proc/sys and /sys; CPUs

cryptd, flaky	transforms that finish later, or fail
nic, tun, pages, whole	devices that encrypt, and other ways by which packets come
trace, ram, netlabel	the tracepoint; all of memory; CIPSO
"""
