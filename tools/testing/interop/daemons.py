# SPDX-License-Identifier: GPL-2.0-only
"""IKE daemons, each in a root of its own in the network namespace of a lib.host.Host.

A connection is described once, in words of neither daemon (DEFAULTS), and each daemon
writes its own configuration from it.
"""

import os
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from lib import ktap

UNPACKED = os.environ.get("IPSEC_IKE", "")	# what vm/daemons printed
WORK = "/run/ike"
SECONDS = 60	# a busy machine's guest is slow; nothing waits longer than it must
SECRET = "0123456789abcdef0123456789abcdef"
DEFAULTS = {
    "name": "c", "version": 2, "me": "", "peer": "", "my_id": "", "peer_id": "",
    "my_net": "", "peer_net": "", "proto": "esp", "mode": "tunnel", "suite": "gcm256",
    "esn": "no",		# no, yes or either
    "window": 32,
    "auth": "psk",		# or cert
    "rekey": 0,		# seconds of a CHILD SA; 0: long
    "rekey_ike": 0, "reauth": 0, "dpd": 0, "if_id": 0, "compress": False, "encap": False,
    "mobike": False,		# strongSwan always offers it
}
# name: words of strongSwan, of libreswan, what `ip xfrm state` has to show
SUITES = {
    "gcm256": ("aes256gcm16", "aes_gcm256", ["rfc4106(gcm(aes))"]),
    "gcm128": ("aes128gcm16", "aes_gcm128", ["rfc4106(gcm(aes))"]),
    "chacha": ("chacha20poly1305", "chacha20_poly1305", ["rfc7539esp(chacha20,poly1305)"]),
    "cbc": ("aes128-sha256", "aes128-sha2_256", ["cbc(aes)", "hmac(sha256)"]),
    "null": ("null-sha256", "null-sha2_256", ["ecb(cipher_null)", "hmac(sha256)"]),
    "sha256": ("sha256", "sha2_256", ["hmac(sha256)"]),
}


def command(*words, **options):
    return subprocess.run(words, check=False, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def must(*words, **options):
    done = command(*words, **options)
    if done.returncode:
        raise ktap.Failed(f"{' '.join(words)}: {done.stdout}")
    return done.stdout


def half(package):
    """The package in memory: overlayfs takes no layer that lies inside another."""
    path = f"{WORK}/{package}"
    if not os.path.exists(path):
        if not os.path.isdir(f"{UNPACKED}/{package}"):
            raise ktap.Failed(f"no {package} in IPSEC_IKE; run tools/testing/vm/setup ike")
        os.makedirs(WORK, exist_ok=True)
        must("cp", "-a", f"{UNPACKED}/{package}", path)
    return path


class Daemon:
    """package, program, ready (a socket), established (what it logs of each IKE SA) and the files
    are the subclass's."""

    def __init__(self, host):
        self.host = host
        self.root = f"{WORK}/{host.name}"
        self.process = None
        lower = half(self.package)
        for part in ("root", "upper", "work"):
            os.makedirs(f"{self.root}/{part}")
        must("mount", "-t", "overlay", "-o", f"lowerdir={lower}:/,upperdir={self.root}/upper,"
             f"workdir={self.root}/work", "ike", f"{self.root}/root")
        self.root += "/root"
        for name in ("proc", "sys", "dev"):
            must("mount", "--rbind", f"/{name}", f"{self.root}/{name}")
        must("mount", "-t", "tmpfs", "-o", "mode=755", "run", f"{self.root}/run")
        must("mount", "-t", "tmpfs", "tmp", f"{self.root}/tmp")
        self.prepare()
        self.launch()

    def launch(self):
        self.write("/var/log/output", "")
        with open(f"{self.root}/var/log/output", "a", encoding="ascii") as output:
            self.process = subprocess.Popen(
                self.words(*self.program), stdin=subprocess.DEVNULL, stdout=output,
                stderr=output)
        ktap.wait_for(lambda: os.path.exists(self.root + self.ready) or
                      self.process.poll() is not None, f"{self.package} starts", SECONDS)
        if self.process.poll() is not None:
            raise ktap.Failed(f"{self.package} ended with {self.process.returncode}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        command("umount", "-R", "-l", self.root)

    def words(self, *words):
        return ["ip", "netns", "exec", self.host.name, "chroot", self.root, *words]

    def run(self, *words):
        return command(*self.words(*words), timeout=3 * SECONDS)

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text)

    def log(self):
        found = ""
        for path in ("/var/log/output", "/var/log/ike"):
            if os.path.exists(self.root + path):
                with open(self.root + path, encoding="utf-8", errors="replace") as file:
                    found += file.read()
        return found


def block(name, *lines):
    return "\n".join([f"{name} {{", *lines, "}"])


def settings(**pairs):
    return "\n".join(f"{key} = {value}" for key, value in pairs.items() if value != "")


class StrongSwan(Daemon):
    package = "strongswan"
    program = ["/usr/sbin/charon-systemd"]
    ready = "/run/charon.vici"
    established = r"IKE_SA \S+ (?:established|rekeyed)"
    plugins = ("random nonce openssl aes sha1 sha2 hmac kdf gcm chapoly pem pkcs1 pkcs8 x509 "
               "pubkey constraints kernel-netlink socket-default vici")

    def prepare(self):
        self.write("/etc/strongswan.conf", block(
            "charon-systemd", f"load = {self.plugins}", "install_routes = no",
            "make_before_break = yes",
            "send_vendor_id = yes",		# without it there is no BEET
            "retransmit_tries = 8", "retransmit_timeout = 2.0", "retransmit_base = 1.3",
            block("filelog", block("log", "path = /var/log/ike", "default = 1", "ike = 1",
                                   "flush_line = yes")),
            block("journal", "default = -1"), block("syslog", block("daemon", "default = -1"))))

    def connection(self, conn):
        proposal = SUITES[conn["suite"]][0] + {"no": "-noesn", "yes": "-esn",
                                               "either": "-esn-noesn"}[conn["esn"]]
        child = settings(
            local_ts=conn["my_net"], remote_ts=conn["peer_net"], mode=conn["mode"],
            replay_window=conn["window"], rekey_time=f"{conn['rekey']}s" if conn["rekey"] else "",
            life_time="1h" if conn["rekey"] else "",
            if_id_in=conn["if_id"] or "", if_id_out=conn["if_id"] or "", policies="yes",
            ipcomp="yes" if conn["compress"] else "", start_action="none",
            **{f"{conn['proto']}_proposals": proposal})
        both = settings(
            version=conn["version"], local_addrs=conn["me"], remote_addrs=conn["peer"],
            proposals="aes128-sha256-ecp256", dpd_delay=f"{conn['dpd']}s" if conn["dpd"] else "",
            dpd_timeout="30s" if conn["dpd"] and conn["version"] == 1 else "",
            rekey_time=f"{conn['rekey_ike']}s" if conn["rekey_ike"] else "",
            reauth_time=f"{conn['reauth']}s" if conn["reauth"] else "",
            over_time="1h" if conn["rekey_ike"] or conn["reauth"] else "",
            encap="yes" if conn["encap"] else "", mobike="yes")
        auth = "psk" if conn["auth"] == "psk" else "pubkey"
        cert = f"certs = {conn['my_id']}.pem" if conn["auth"] == "cert" else ""
        return block(conn["name"], both,
                     block("local", f"auth = {auth}", f"id = {conn['my_id']}", cert),
                     block("remote", f"auth = {auth}", f"id = {conn['peer_id']}"),
                     block("children", block(conn["name"], child)))

    def trust(self, name, key, cert, authority):
        for path, content in ((f"rsa/{name}.pem", key), (f"x509/{name}.pem", cert),
                              ("x509ca/ca.pem", authority)):
            self.write(f"/etc/swanctl/{path}", content)

    def load(self, conns):
        self.write("/etc/swanctl/swanctl.conf", "\n".join([
            block("connections", *[self.connection(c) for c in conns]),
            block("secrets", block("ike-all", f'secret = "{SECRET}"'))]))
        done = self.run("swanctl", "--load-all")
        ktap.check(not done.returncode, done.stdout)

    def up(self, name):
        """What it said if it failed, or "" """
        done = self.run("swanctl", "--initiate", "--child", name, "--timeout", str(SECONDS))
        return done.stdout if done.returncode else ""

    def down(self, name):
        self.run("swanctl", "--terminate", "--ike", name, "--timeout", "10", "--force")

    def forget(self, names):
        for name in names:
            self.down(name)
        self.write("/etc/swanctl/swanctl.conf", "")
        self.run("swanctl", "--load-all")


class Libreswan(Daemon):
    package = "libreswan"
    program = ["/usr/libexec/ipsec/pluto", "--nofork", "--config", "/etc/ipsec.conf"]
    ready = "/run/pluto/pluto.ctl"
    established = "(?:initiator|responder) (?:established|rekeyed) IKE SA"

    def prepare(self):
        for path in ("/run/pluto", "/var/lib/ipsec/nss"):
            os.makedirs(self.root + path, exist_ok=True)
        must(*self.words("certutil", "-N", "-d", "sql:/var/lib/ipsec/nss", "--empty-password"))
        self.configure([])
        self.write("/etc/ipsec.secrets", f': PSK "{SECRET}"\n')

    @staticmethod
    def connection(conn):
        suite = SUITES[conn["suite"]][1]
        pairs = {
            "left": "%defaultroute" if conn["me"] == "%any" else conn["me"], "leftid": "@" + conn["my_id"], "right": conn["peer"],
            "rightid": "@" + conn["peer_id"], "leftupdown": "%disabled",
            "rightupdown": "%disabled",
            "authby": "secret" if conn["auth"] == "psk" else "rsasig",
            "ikev2": "insist" if conn["version"] == 2 else "no", "type": conn["mode"],
            "phase2": conn["proto"], "phase2alg": suite, "esn": conn["esn"],
            "replay-window": conn["window"], "ike": "aes128-sha2_256-dh19", "pfs": "no",
            "compress": "yes" if conn["compress"] else "no", "auto": "add"}
        if conn["mode"] == "tunnel":
            pairs |= {"leftsubnet": conn["my_net"], "rightsubnet": conn["peer_net"]}
        if conn["auth"] == "cert":
            pairs |= {"leftcert": conn["my_id"], "rightca": "%same"}
        if conn["rekey"]:
            pairs |= {"salifetime": f"{conn['rekey'] * 2}s", "rekeymargin": f"{conn['rekey']}s",
                      "rekeyfuzz": "0%"}
        if conn["rekey_ike"] or conn["reauth"]:
            margin = conn["rekey"] or 1
            pairs |= {"ikelifetime": f"{margin + (conn['rekey_ike'] or conn['reauth'])}s",
                      "rekeymargin": f"{margin}s", "rekeyfuzz": "0%",
                      "reauth": "yes" if conn["reauth"] else "no"}
        if conn["if_id"]:
            pairs["ipsec-interface"] = conn["if_id"]
        if conn["dpd"]:
            pairs |= {"dpddelay": conn["dpd"], "dpdtimeout": 30, "dpdaction": "clear",
                      "retransmit-timeout": "20s"}
        if conn["encap"]:
            pairs["encapsulation"] = "yes"
        if conn["mobike"]:
            pairs["mobike"] = "yes"
        return "\n".join([f"conn {conn['name']}"] +
                         [f"\t{key}={value}" for key, value in pairs.items()]) + "\n"

    def trust(self, name, key, cert, authority):
        """NSS takes keys as PKCS #12 only"""
        own, ca = (x509.load_pem_x509_certificate(text.encode()) for text in (cert, authority))
        content = pkcs12.serialize_key_and_certificates(
            name.encode(), serialization.load_pem_private_key(key.encode(), None), own, [ca],
            serialization.BestAvailableEncryption(b"x"))
        with open(f"{self.root}/tmp/p12", "wb") as file:
            file.write(content)
        store = ("-d", "sql:/var/lib/ipsec/nss")
        must(*self.words("pk12util", "-i", "/tmp/p12", *store, "-W", "x"))
        must(*self.words("certutil", "-M", "-n", "ca", "-t", "CT,,", *store))

    def configure(self, conns):
        self.write("/etc/ipsec.conf", "config setup\n\tlogfile=/var/log/ike\n"
                   "\tdnssec-enable=no\n\tikev1-policy=accept\n\n" + "\n".join(self.connection(c) for c in conns))

    def load(self, conns):
        self.run("ipsec", "whack", "--listen")
        self.configure(conns)
        for conn in conns:
            done = self.run("ipsec", "auto", "--add", conn["name"])
            ktap.check(not done.returncode, done.stdout)

    def up(self, name):
        done = self.run("ipsec", "auto", "--up", name)
        return done.stdout if done.returncode else ""

    def down(self, name):
        self.run("ipsec", "auto", "--down", name)

    def forget(self, names):
        for name in names:
            self.run("ipsec", "auto", "--delete", name)


KINDS = {"strongSwan": StrongSwan, "libreswan": Libreswan}
