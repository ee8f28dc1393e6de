# SPDX-License-Identifier: GPL-2.0-only
"""BPF programs, assembled by hand, that put something between the link header of what leaves a
device and its network header.

	with bpf.moving(dut, "v0"):		# four octets
		...
	dut.ip(f"route add ... encap bpf xmit pinned {bpf.pinned('nothing')} dev ...")
"""

import contextlib
import ctypes
import os
import struct
import subprocess

from . import ktap

FOLDER = "/run/bpf"
SYSCALL, PROG_LOAD, OBJ_PIN = 321, 5, 6
SCHED_CLS, LWT_XMIT = 3, 12
STORE_BYTES, ADJUST_ROOM, AT_NETWORK_HEADER = 9, 50, 1
ETHERNET = 14
OUTER = bytes.fromhex("4500 0054 0000 0000 4004 0000 c0000201 c0000202")	# of IP in IP


def put(register, value):
    return 0xb7, register, 0, value


def copy(register, source):
    return 0xbf, source << 4 | register, 0, 0


def add(register, value):
    return 0x07, register, 0, value


def store(offset, word):
    """On the stack"""
    return 0x62, 10, offset, int.from_bytes(word, "little", signed=True)


def call(number):
    return 0x85, 0, 0, number


def room(octets):
    return put(2, octets), put(3, AT_NETWORK_HEADER), put(4, 0), call(ADJUST_ROOM)


END = put(0, 0), (0x95, 0, 0, 0)
# {name: (type, instructions)}
PROGRAMS = {
    "nothing": (LWT_XMIT, END),
    "room": (SCHED_CLS, (*room(4), *END)),
    "header": (SCHED_CLS, (
        copy(6, 1), *room(len(OUTER)),
        *(store(at - len(OUTER), OUTER[at:at + 4]) for at in range(0, len(OUTER), 4)),
        copy(1, 6), put(2, ETHERNET), copy(3, 10), add(3, -len(OUTER)), put(4, len(OUTER)), put(5, 0),
        call(STORE_BYTES), *END)),
}


def system(command, attributes):
    found = ctypes.CDLL(None, use_errno=True).syscall(SYSCALL, command, attributes, len(attributes))
    if found < 0:
        raise ktap.Skip(f"bpf: {os.strerror(ctypes.get_errno())}")
    return found


def pinned(name):
    """Where the program is; no namespace of a Host hides that"""
    path = f"{FOLDER}/{name}"
    if os.path.exists(path):
        return path
    os.makedirs(FOLDER, exist_ok=True)
    if not os.path.ismount(FOLDER) and subprocess.run(["mount", "-t", "bpf", "bpf", FOLDER], check=False).returncode:
        raise ktap.Skip("this kernel has no BPF file system")
    kind, program = PROGRAMS[name]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<BBhi", *each) for each in program))
    licence, where = (ctypes.create_string_buffer(text) for text in (b"GPL", path.encode()))
    loaded = system(PROG_LOAD, struct.pack("<IIQQ", kind, len(program), ctypes.addressof(code),
                                           ctypes.addressof(licence)) + bytes(96))
    system(OBJ_PIN, struct.pack("<QII", ctypes.addressof(where), loaded, 0))
    os.close(loaded)
    return path


@contextlib.contextmanager
def moving(end, device, name="room"):
    for words in (f"qdisc add dev {device} clsact",
                  f"filter add dev {device} egress bpf direct-action object-pinned {pinned(name)}"):
        done = end.run("tc", *words.split(), capture_output=True)
        if done.returncode:
            raise ktap.Skip(f"tc: {done.stderr}")
    try:
        yield
    finally:
        end.run("tc", "qdisc", "del", "dev", device, "clsact")
