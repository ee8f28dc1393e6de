#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Numbered datagrams to an address, and those that come from there.

	stream.py HERE THERE

says "ready", then obeys a line each: go; hush, which it answers; close, which it answers with
[datagrams sent, numbers received, datagrams whose number had come before].
"""

import collections
import json
import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../selftests/net/ipsec_v3"))
from lib.host import SO_RCVBUFFORCE		# noqa: E402

PAUSE = 0.001	# seconds between two; each costs a guest about as long
PORT = 9
ROOM = 1 << 22


class Stream:
    def __init__(self, here, there):
        self.there = there
        self.sock = socket.socket(socket.AF_INET6 if ":" in here else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self.sock.bind((here, PORT))
        self.sock.setblocking(False)
        self.sent, self.got = 0, collections.Counter()

    def send(self):
        try:
            self.sock.sendto(struct.pack("!I", self.sent), (self.there, PORT))
        except BlockingIOError:
            return	# a link that stands still: it was not sent
        except OSError:
            pass	# one that does not arrive
        self.sent += 1

    def receive(self):
        """All that is in the socket"""
        try:
            while True:
                self.got[self.sock.recv(64)] += 1
        except BlockingIOError:
            pass

    def figures(self):
        return [self.sent, len(self.got), sum(self.got.values()) - len(self.got)]


def main():
    stream, due = Stream(*sys.argv[1:]), None
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        if due and now >= due:
            stream.send()
            due = max(due + PAUSE, now)
        wait = max(0, due - now) if due else None
        readable = select.select([stream.sock, sys.stdin], [], [], wait)[0]
        stream.receive()
        if sys.stdin not in readable:
            continue
        word = sys.stdin.readline().strip()
        due = now if word == "go" else None
        if word != "go":
            print(json.dumps(stream.figures()), flush=True)
        if word not in ("go", "hush"):
            return


if __name__ == "__main__":
    main()
