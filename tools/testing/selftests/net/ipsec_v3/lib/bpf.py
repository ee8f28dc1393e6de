# SPDX-License-Identifier: GPL-2.0-only
"""One BPF program, assembled by hand: it puts four octets between the link header of what leaves
a device and its network header.

	with bpf.moving(dut, "v0"):
		...
"""

import contextlib
import ctypes
import os
import struct
import subprocess

from . import ktap

FOLDER = "/run/bpf"
SYSCALL, PROG_LOAD, OBJ_PIN, SCHED_CLS = 321, 5, 6, 3
ADJUST_ROOM, AT_NETWORK_HEADER = 50, 1
MOVE, CALL, EXIT = 0xb7, 0x85, 0x95
PROGRAM = ((MOVE, 2, 4), (MOVE, 3, AT_NETWORK_HEADER), (MOVE, 4, 0), (CALL, 0, ADJUST_ROOM),
           (MOVE, 0, 0), (EXIT, 0, 0))


def call(command, attributes):
    found = ctypes.CDLL(None, use_errno=True).syscall(SYSCALL, command, attributes, len(attributes))
    if found < 0:
        raise ktap.Skip(f"bpf: {os.strerror(ctypes.get_errno())}")
    return found


def pinned():
    """Where the program is; no namespace of a Host hides that"""
    path = f"{FOLDER}/room"
    if os.path.exists(path):
        return path
    os.makedirs(FOLDER, exist_ok=True)
    if subprocess.run(["mount", "-t", "bpf", "bpf", FOLDER], check=False).returncode:
        raise ktap.Skip("this kernel has no BPF file system")
    code = ctypes.create_string_buffer(b"".join(struct.pack("<BBhi", op, register, 0, value)
                                                for op, register, value in PROGRAM))
    license_, name = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(path.encode())
    program = call(PROG_LOAD, struct.pack("<IIQQ", SCHED_CLS, len(PROGRAM), ctypes.addressof(code),
                                          ctypes.addressof(license_)) + bytes(96))
    call(OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), program, 0))
    os.close(program)
    return path


@contextlib.contextmanager
def moving(end, device):
    for words in (f"qdisc add dev {device} clsact",
                  f"filter add dev {device} egress bpf direct-action object-pinned {pinned()}"):
        done = end.run("tc", *words.split(), capture_output=True)
        if done.returncode:
            raise ktap.Skip(f"tc: {done.stderr}")
    try:
        yield
    finally:
        end.run("tc", "qdisc", "del", "dev", device, "clsact")
