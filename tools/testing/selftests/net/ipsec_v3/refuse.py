#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""An SA that cannot be served is refused, in words, and leaves nothing behind.

The words are what "ip xfrm" prints of the kernel's extended acknowledgement.
In-tree words its refusals otherwise; there only the refusal itself counts.
"""
import contextlib
import errno
import functools
import os
import re
import subprocess

from lib import host, impl, ktap, xfrm
from lib.memory import each_allocation

ADDRESS = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd09::1", "fd09::2")}
HOLDER = {(4, "esp"): "esp4", (6, "esp"): "esp6", (4, "ah"): "ah4", (6, "ah"): "ah6"}
REPEAT = 5              # a leak of one SA would be lost among the crypto API's own

GCM = ["aead", "rfc4106(gcm(aes))"]
CBC = ["enc", "cbc(aes)", "0x" + "11" * 16]
SHA256 = ["auth-trunc", "hmac(sha256)", "0x" + "22" * 32]
KEY = "The algorithm refuses a key of this length or value"
ICV = "The ICV must be 64 to 512 bits long"


def key(length):
    return "0x" + "5a" * length


def add(family, proto, algorithms, mode="transport", more=()):
    src, dst = ADDRESS[family]
    command = ["ip", "xfrm", "state", "add", "src", src, "dst", dst, "proto", proto,
               "spi", "0x700", "mode", mode, *more, *algorithms]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)


def delete(family, proto, check=True):
    src, dst = ADDRESS[family]
    subprocess.run(["ip", "xfrm", "state", "delete", "src", src, "dst", dst, "proto",
                    proto, "spi", "0x700"], check=check)


def uses(module):
    with open(f"/sys/module/{module}/refcnt", encoding="ascii") as file:
        return int(file.read())


def crypto_uses():
    """References to the crypto API's algorithms, by driver."""
    with open("/proc/crypto", encoding="ascii") as file:
        text = file.read()
    return dict(re.findall(r"driver +: (\S+)\n.*\n.*\nrefcnt +: (\d+)", text))


def grown(before, after):
    return {name: (before[name], count) for name, count in after.items()
            if name in before and int(count) > int(before[name])}


def refused(family, proto, algorithms, sentence, mode="transport", more=()):
    """The SA is refused REPEAT times, and nothing holds on to anything."""
    holder = HOLDER[family, proto] if impl.INTREE else "ipsec_v3"
    # the first instantiates the templates
    if add(family, proto, algorithms, mode, more).returncode == 0:
        delete(family, proto)
    ktap.wait_for(lambda: not uses(holder), f"{holder} is let go of the first SA")
    uses_before, crypto_before = uses(holder), crypto_uses()
    for _ in range(REPEAT):
        done = add(family, proto, algorithms, mode, more)
        if done.returncode == 0:
            delete(family, proto)
        assert done.returncode, "the SA was accepted"
        assert impl.INTREE or re.search(sentence, done.stdout), \
            f"{done.stdout.strip()!r} does not say {sentence!r}"
    # a refused state is freed by a work item
    ktap.wait_for(lambda: uses(holder) == uses_before, f"{holder} is let go")
    ktap.wait_for(lambda: not grown(crypto_before, crypto_uses()),
                  "the algorithms are let go")


def refusal(name, sentence, algorithms, protos=("esp",), families=(4, 6),
            intree_fails=None, **more):
    for family in families:
        for proto in protos:
            ktap.add(f"IPv{family} {proto}: {name}",
                     functools.partial(refused, family, proto, algorithms, sentence, **more),
                     intree_fails=intree_fails)


# algorithms that the core does not know
refusal("unknown aead", "AEAD algorithm not found", ["aead", "rfc9999(gcm(aes))", key(20), "128"])
refusal("unknown enc", "CRYPT algorithm not found", ["enc", "cbc(no-such)", key(16)])
refusal("unknown auth", "AUTH_TRUNC algorithm not found", [*CBC, "auth-trunc", "hmac(no-such)",
                                                         key(16), "96"])
refusal("unknown auth", "AUTH_TRUNC algorithm not found",
        ["auth-trunc", "hmac(no-such)", key(16), "96"], protos=("ah",))

# keys: RFC 4106 8.1, 4309 7.1, 4543 5.4, 7634 2, 3602 2.1, 3686 5.1, 3566, 4494
for size in (0, 15, 19, 21, 37):
    refusal(f"rfc4106 with a key of {size} bytes", KEY, [*GCM, key(size), "128"])
refusal("rfc4309 with a key of 18 bytes", KEY, ["aead", "rfc4309(ccm(aes))", key(18), "128"])
refusal("rfc4543 with a key of 17 bytes", KEY, ["aead", "rfc4543(gcm(aes))", key(17), "128"])
for size in (32, 35, 37):
    refusal(f"rfc7539esp with a key of {size} bytes", KEY,
            ["aead", "rfc7539esp(chacha20,poly1305)", key(size), "128"])
for size in (0, 15, 17, 33):
    refusal(f"cbc(aes) with a key of {size} bytes", KEY, ["enc", "cbc(aes)", key(size), *SHA256, "128"])
refusal("cbc(aes) with a key of 15 bytes, ESN", KEY, ["enc", "cbc(aes)", key(15), *SHA256, "128"],
        more=("replay-window", "64", "flag", "esn"))
refusal("rfc3686 without its nonce", KEY, ["enc", "rfc3686(ctr(aes))", key(16), *SHA256, "128"])
refusal("3DES with a key of 23 bytes", KEY, ["enc", "cbc(des3_ede)", key(23), *SHA256, "128"])
refusal("xcbc with a key of 15 bytes", KEY, [*CBC, "auth-trunc", "xcbc(aes)", key(15), "96"])
for proto_algorithms in (["auth-trunc", "xcbc(aes)", key(15), "96"],
                         ["auth-trunc", "cmac(aes)", key(17), "96"]):
    refusal(f"{proto_algorithms[1]} with a key of the wrong length", KEY, proto_algorithms,
            protos=("ah",))

# ICVs that guessing can hit: shorter than 8 bytes
SHORT = "in-tree serves any ICV that the crypto API does"
for bits in (8, 32, 56):
    refusal(f"hmac(sha256) cut to {bits} bits", ICV, [*CBC, *SHA256, str(bits)],
            intree_fails=SHORT)
    refusal(f"hmac(sha256) cut to {bits} bits, ESN", ICV, [*CBC, *SHA256, str(bits)],
            intree_fails=SHORT if bits >= 32 else None,     # authencesn refuses 1 to 3
            more=("replay-window", "64", "flag", "esn"))
for bits in (1, 4, 7, 8, 32, 56):	# not even a byte is not the null digest's none
    refusal(f"hmac(sha256) cut to {bits} bits", ICV, [*SHA256, str(bits)], protos=("ah",),
            intree_fails=SHORT)
for name in ("rfc4106(gcm(aes))", "rfc4309(ccm(aes))"):
    refusal(f"{name} with an ICV of 32 bits", "AEAD algorithm not found|ICV",
            ["aead", name, key(20 if "gcm" in name else 19), "32"])
refusal("hmac(sha256) longer than it is", "AUTH_TRUNC|ICV", [*SHA256, "264"], protos=("ah",))

# what belongs to another protocol or is no mode of ESP and AH; "ip" itself keeps
# most of these from the kernel, see not_from_ip()
refusal("TFC padding in transport mode", "TFC padding", [*GCM, key(20), "128"],
        more=("tfcpad", "100"))
refusal("BEET for any family", "selector with an address family", [*GCM, key(20), "128"], mode="beet",
        more=("flag", "af-unspec"), intree_fails="it is served")
refusal("TFC padding for AH", "TFCPAD", [*SHA256, "128"], protos=("ah",), more=("tfcpad", "100"))
refusal("ESN with a window of 0", "[Rr]eplay", [*GCM, key(20), "128"],
        more=("replay-window", "0", "flag", "esn"))
refusal("ESN with a window of 4097", "[Rr]eplay", [*GCM, key(20), "128"],
        more=("replay-window", "4097", "flag", "esn"))

# encapsulation
# older kernels serve the drafts that came before RFC 3948
NON_IKE = "it is served" if host.RELEASE == (6, 1) else None
ENCAP = ["4500", "4500", "0.0.0.0"]
refusal("ESP in TCP", "ESP in TCP is not supported, use ESP in UDP", [*GCM, key(20), "128"],
        more=("encap", "espintcp", *ENCAP))
refusal("ESP in UDP with a non-IKE marker", "ESP in UDP", [*GCM, key(20), "128"],
        more=("encap", "espinudp-nonike", *ENCAP), intree_fails=NON_IKE)
refusal("AH in UDP", "AH cannot be encapsulated", [*SHA256, "128"], protos=("ah",),
        more=("encap", "espinudp", *ENCAP))


# -- what "ip" itself would hold back from the kernel --------------------------

MODE_TRANSPORT, MODE_RO, MODE_IN_TRIGGER = (xfrm.MODE[m] for m in ("transport", "ro", "in_trigger"))

AEAD = xfrm.algorithm(xfrm.A_AEAD, "rfc4106(gcm(aes))", bytes(range(20)), 128)
AUTH = xfrm.algorithm(xfrm.A_AUTH_TRUNC, "hmac(sha256)", bytes(range(32)), 128)
CRYPT = xfrm.algorithm(xfrm.A_CRYPT, "cbc(aes)", bytes(range(16)))


def usersa(family, proto, mode):
    return xfrm.usersa(*ADDRESS[family], 0x700, proto, mode)


def refused_words(netlink):
    """What the kernel says to the SA that was sent; None when it accepts it"""
    try:
        netlink.answer()
    except OSError as error:
        said = xfrm.said(error)
        if said is None:
            raise
        return said
    return None


def refused_raw(family, proto, mode, attributes, sentence):
    holder = HOLDER[family, proto] if impl.INTREE else "ipsec_v3"
    uses_before = uses(holder)
    netlink = xfrm.Socket()
    for _ in range(REPEAT):
        netlink.send(xfrm.NEWSA, usersa(family, proto, mode) + attributes)
        said = refused_words(netlink)
        if said is None:
            delete(family, proto)
        ktap.check(said is not None, "the SA was accepted")
        ktap.check(impl.INTREE or re.search(sentence, said), f"{said!r} does not say {sentence!r}")
    ktap.wait_for(lambda: uses(holder) == uses_before, f"{holder} is let go")


for family in (4, 6):
    for name, proto, mode, attributes, sentence in (
            ("no algorithm at all", "esp", MODE_TRANSPORT, b"", "Missing required attribute"),
            ("integrity without a cipher", "esp", MODE_TRANSPORT, AUTH, "ecb\\(cipher_null\\)"),
            ("aead and auth together", "esp", MODE_TRANSPORT, AEAD + AUTH, "combination"),
            ("no algorithm at all", "ah", MODE_TRANSPORT, b"", "Missing required attribute"),
            ("a cipher", "ah", MODE_TRANSPORT, AUTH + CRYPT, "Invalid attributes for AH"),
            ("mode ro", "esp", MODE_RO, AEAD, "[Mm]ode"),
            ("mode ro", "ah", MODE_RO, AUTH, "[Mm]ode"),
            ("mode in_trigger", "esp", MODE_IN_TRIGGER, AEAD, "mode"),
            ("mode in_trigger", "ah", MODE_IN_TRIGGER, AUTH, "mode")):
        served = HOLDER[family, proto] == "esp6" and name == "mode ro"
        ktap.add(f"IPv{family} {proto}: {name}", refused_raw, family, proto, mode, attributes,
                 sentence, intree_fails="esp6 serves any mode" if served else None)


def starved(family, proto, attributes):
    """What is said when the first allocation on the way fails, the second ..."""
    netlink, refusals = xfrm.Socket(), []
    body = usersa(family, proto, MODE_TRANSPORT) + attributes
    for failing in each_allocation():
        sent = False
        with failing, contextlib.suppress(OSError):
            netlink.send(xfrm.NEWSA, body)
            sent = True
        try:
            said = refused_words(netlink) if sent else ""
        except OSError as lost:		# no memory for the answer
            ktap.equal(lost.errno, errno.ENOBUFS, "errno")
            delete(family, proto, check=False)
            continue
        if said is not None:
            refusals.append(said)
        else:
            delete(family, proto)
    ktap.say(f"{failing.number - 1} allocations, {len(refusals)} refusals: {sorted(set(refusals))}")
    ktap.check(refusals, "no allocation failed: is the fault injected?")
    return refusals


def without_memory(family, proto, attributes):
    """Each allocation on the way fails once: refused or, where the kernel can do
    without, accepted; and nothing is left of it (kmemleak looks as well).

    The allocator's own allocations come and go, so that one of the module's may be
    jumped over: then all of them have another turn.
    """
    holder = HOLDER[family, proto] if impl.INTREE else "ipsec_v3"
    heard = any("No memory for the SA" in starved(family, proto, attributes) or impl.INTREE
                for _ in range(5))
    ktap.check(heard, "no word about memory")
    ktap.wait_for(lambda: not uses(holder), f"{holder} is let go")


for family in (4, 6):
    for proto, attributes in (("esp", AEAD), ("esp", CRYPT + AUTH), ("ah", AUTH)):
        ktap.add(f"IPv{family} {proto}: no memory, {'aead' if attributes is AEAD else 'auth'}",
                 without_memory, family, proto, attributes)


@ktap.case("an algorithm that the crypto API does not have")
def missing_template():
    """Its module cannot be loaded, as on a kernel that was built without."""
    conf = "/etc/modprobe.d/no-authencesn.conf"
    if "authencesn" in crypto_templates() or not os.path.exists("/etc/modprobe.d"):
        raise ktap.Skip("this kernel has authencesn built in or loaded")
    with open(conf, "w", encoding="ascii") as file:
        file.write("install authencesn /bin/false\n")
    try:
        refused(4, "esp", [*CBC, *SHA256, "128"],
                "This kernel's crypto API does not have the algorithm",
                more=("replay-window", "64", "flag", "esn"))
    finally:
        os.unlink(conf)


def crypto_templates():
    """Modules that are there already, built in or loaded."""
    found = set(os.listdir("/sys/module"))
    shown = subprocess.run(["modinfo", "-F", "filename", "authencesn"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if "builtin" in shown.stdout:
        found.add("authencesn")
    return found


@ktap.case("after all refusals the module unloads")
def unloads():
    subprocess.run(["ip", "xfrm", "state", "flush"], check=True)
    for module in sorted(HOLDER.values()) if impl.INTREE else ["ipsec_v3"]:
        subprocess.run(["modprobe", module], check=True)
        subprocess.run(["rmmod", module], check=True)


if __name__ == "__main__":
    ktap.CASE_SECONDS = 300
    ktap.main(after=impl.load)
