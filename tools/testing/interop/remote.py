#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""An End in another guest: `remote.py` serves there, Remote stands for it here.

Requests go over eth0 itself, the network between router and End is a VLAN on it.
"""

import json
import os
import sys
import time
import xmlrpc.client
import xmlrpc.server

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../selftests/net/ipsec_v3")]
import ends								# noqa: E402
from lib import host, impl, ktap						# noqa: E402

HERE_ADDRESS, THERE_ADDRESS, PORT = "192.168.99.1", "192.168.99.2", 6999


def address(mine):
    impl.modprobe("8021q")
    host.ip(lines=["link set eth0 up", f"addr add {mine}/24 dev eth0"])


def cable(namespace, name):
    host.ip("link", "add", "link", "eth0", "name", name, "netns", namespace, "type", "vlan",
            "id", "2")
    host.ip("-n", namespace, "link", "set", name, "up")


class Cable:
    """Instead of the router, where that is in the other guest"""

    @staticmethod
    def join(end):
        cable(end.host.name, "v0")


class Server:
    def __init__(self):
        self.end, self.over = None, False

    def start(self, letter, kind):
        self.end = ends.End(letter, kind, Cable)

    def stop(self):
        self.end.close()

    @staticmethod
    def implementation():
        return impl.WANTED

    def quit(self):
        self.over = True
        error = impl.check()
        if error:
            raise ValueError(error)

    def _dispatch(self, name, words):
        """Any method of the End, or one of those above"""
        mine = name in ("start", "stop", "implementation", "quit")
        method = getattr(self if mine else self.end, name)
        positional, named = json.loads(words[0])
        return json.dumps(method(*positional, **named))


class Remote(ends.End):
    """The End over there; `host` and `daemon` are not at hand"""

    def __init__(self, letter, kind, router):
        self.letter, self.kind, self.router = letter, kind, router
        cable(router.name, f"to-{letter}")
        router.reach(letter)
        call("start", letter, kind)

    def close(self):
        self.router.ip(f"link del to-{self.letter}")
        call("stop")


def over_there(name):
    def method(_, *words, **named):
        return call(name, *words, **named)
    return method


for NAME in ("ip", "trust", "load", "up", "forget", "show", "counters", "log", "ike_sas", "report", "ping", "tcp",
             "implementation", "open_stream", "tell_stream", "close_stream"):
    setattr(Remote, NAME, over_there(NAME))


def call(name, *words, **named):
    proxy = xmlrpc.client.ServerProxy(f"http://{THERE_ADDRESS}:{PORT}", allow_none=True)
    try:
        return json.loads(getattr(proxy, name)(json.dumps([words, named])))
    except xmlrpc.client.Fault as error:
        raise ktap.Failed(error.faultString) from error


def connect():
    address(HERE_ADDRESS)
    deadline = time.monotonic() + 180
    while True:
        try:
            call("implementation")
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("the other guest does not answer")
            time.sleep(0.5)


def main():
    error = impl.load()
    if error:
        sys.exit(error)
    address(THERE_ADDRESS)
    server = Server()
    with xmlrpc.server.SimpleXMLRPCServer((THERE_ADDRESS, PORT), logRequests=False,
                                          allow_none=True) as listener:
        listener.register_instance(server)
        while not server.over:
            listener.handle_request()


if __name__ == "__main__":
    main()
