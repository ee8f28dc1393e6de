# SPDX-License-Identifier: GPL-2.0-only
"""The algorithms of an SA, without the kernel's xfrm code.

Python's hashlib and python3-cryptography compute them.  Two ciphers that
neither has, Serpent and Twofish, come from the kernel's crypto API over AF_ALG:
for those the test proves the ESP around the cipher, not the cipher.
"""

import functools
import hashlib
import hmac
import os
import socket
import struct
import warnings

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.cmac import CMAC


# old ciphers are what is tested here
warnings.filterwarnings("ignore", module=__name__)


class Forged(Exception):
    """The ICV is wrong."""


class AfAlg:
    """A CBC cipher of the running kernel."""

    def __init__(self, name, key):
        self.socket = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
        self.socket.bind(("skcipher", name))
        self.socket.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, key)

    def run(self, op, iv, data):
        if not data:
            return b""
        with self.socket.accept()[0] as request:
            request.sendmsg_afalg([data], op=op, iv=iv)
            return request.recv(len(data))

    def encrypt(self, iv, data):
        return self.run(socket.ALG_OP_ENCRYPT, iv, data)

    def decrypt(self, iv, data):
        return self.run(socket.ALG_OP_DECRYPT, iv, data)


class Cbc:
    def __init__(self, algorithm):
        self.algorithm = algorithm

    def encrypt(self, iv, data):
        run = Cipher(self.algorithm, modes.CBC(iv)).encryptor()
        return run.update(data) + run.finalize()

    def decrypt(self, iv, data):
        run = Cipher(self.algorithm, modes.CBC(iv)).decryptor()
        return run.update(data) + run.finalize()


class Ctr:
    """RFC 3686: the key ends with a nonce of 4 octets, the counter starts at 1"""

    def __init__(self, key):
        self.key, self.nonce = key[:-4], key[-4:]

    def encrypt(self, iv, data):
        counter = self.nonce + iv + b"\0\0\0\1"
        run = Cipher(algorithms.AES(self.key), modes.CTR(counter)).encryptor()
        return run.update(data) + run.finalize()

    decrypt = encrypt


class Null:
    def encrypt(self, _iv, data):
        return data

    decrypt = encrypt


def xcbc(key, data):
    """AES-XCBC-MAC (RFC 3566 4)"""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    keys = [ecb.update(bytes([n]) * 16) for n in (1, 2, 3)]
    last = len(data) - 1 - (len(data) - 1) % 16 if data else 0
    end, mask = data[last:], keys[1]
    if len(end) < 16:
        end, mask = end + b"\x80" + bytes(15 - len(end)), keys[2]
    end = bytes(a ^ b for a, b in zip(end, mask))
    run = Cipher(algorithms.AES(keys[0]), modes.CBC(bytes(16))).encryptor()
    return run.update(data[:last] + end)[-16:]


def cmac(key, data):
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def hmac_of(digest, key, data):
    return hmac.new(key, data, digest).digest()


@functools.cache
def python_has(digest):
    try:
        return bool(hashlib.new(digest))
    except ValueError:
        return False


# {kernel's name: (function, octets of key, bits of a whole ICV)}
MACS = {"xcbc(aes)": (xcbc, 16, 128), "cmac(aes)": (cmac, 16, 128)}
for _name, _digest, _key, _bits in (
        ("md5", "md5", 16, 128), ("sha1", "sha1", 20, 160),
        ("sha256", "sha256", 32, 256), ("sha384", "sha384", 48, 384),
        ("sha512", "sha512", 64, 512), ("rmd160", "ripemd160", 20, 160),
        ("sm3", "sm3", 32, 256)):
    MACS[f"hmac({_name})"] = (functools.partial(hmac_of, _digest), _key, _bits)

# {kernel's name: (octets of key, octets of block and IV, maker)}
CIPHERS = {
    "ecb(cipher_null)": (0, 1, lambda key: Null()),
    "rfc3686(ctr(aes))": (20, 1, Ctr),
    "cbc(aes)": (16, 16, lambda key: Cbc(algorithms.AES(key))),
    "cbc(des)": (8, 8, lambda key: Cbc(algorithms.TripleDES(key * 3))),
    "cbc(des3_ede)": (24, 8, lambda key: Cbc(algorithms.TripleDES(key))),
    "cbc(cast5)": (16, 8, lambda key: Cbc(algorithms.CAST5(key))),
    "cbc(blowfish)": (16, 8, lambda key: Cbc(algorithms.Blowfish(key))),
    "cbc(camellia)": (16, 16, lambda key: Cbc(algorithms.Camellia(key))),
    "cbc(sm4)": (16, 16, lambda key: Cbc(algorithms.SM4(key))),
    "cbc(serpent)": (16, 16, lambda key: AfAlg("cbc(serpent)", key)),
    "cbc(twofish)": (16, 16, lambda key: AfAlg("cbc(twofish)", key)),
}

GCM, CCM, GMAC, CHACHA = ("rfc4106(gcm(aes))", "rfc4309(ccm(aes))",
                          "rfc4543(gcm(aes))", "rfc7539esp(chacha20,poly1305)")
SALT = {GCM: 4, CCM: 3, GMAC: 4, CHACHA: 4}
AEAD_KEY = {GCM: 16, CCM: 16, GMAC: 16, CHACHA: 32}


def key_of(length):
    """A key that looks random and is the same in every run; each octet has odd
    parity, as old DES drivers want it."""
    octets = b""
    while len(octets) < length:
        octets += hashlib.sha256(b"key %d" % len(octets)).digest()
    return bytes(b ^ (bin(b).count("1") % 2 ^ 1) for b in octets[:length])


def hexed(key):
    return "0x" + key.hex() if key else '""'


class Combined:
    """An AEAD.

    seal(aad, iv, plain) -> (ciphertext, ICV)
    open(aad, iv, ciphertext, ICV) -> plaintext, or Forged
    """

    ivlen, block = 8, 1

    def __init__(self, name, bits=128, keylen=None):
        self.name, self.bits, self.icvlen = name, bits, bits // 8
        self.key = key_of((keylen or AEAD_KEY[name]) + SALT[name])
        self.salt = self.key[-SALT[name]:]
        self.secret = self.key[:-SALT[name]]

    def words(self, _kind="esp"):
        """For `ip xfrm state add`"""
        return f"aead {self.name} {hexed(self.key)} {self.bits}"

    def gcm(self, aad, iv, data):
        run = Cipher(algorithms.AES(self.secret),
                     modes.GCM(self.salt + iv)).encryptor()
        run.authenticate_additional_data(aad)
        return run.update(data) + run.finalize(), run.tag[:self.icvlen]

    def api(self):
        if self.name == CCM:
            return AESCCM(self.secret, self.icvlen)
        return ChaCha20Poly1305(self.secret)

    def seal(self, aad, iv, plain):
        if self.name == GCM:
            return self.gcm(aad, iv, plain)
        if self.name == GMAC:		# RFC 4543 3: all of it is AAD
            return plain, self.gcm(aad + iv + plain, iv, b"")[1]
        sealed = self.api().encrypt(self.salt + iv, plain, aad)
        return sealed[:len(plain)], sealed[len(plain):]

    def open(self, aad, iv, data, icv):
        if self.name in (CCM, CHACHA):
            try:
                return self.api().decrypt(self.salt + iv, data + icv, aad)
            except InvalidTag as error:
                raise Forged from error
        # GCM is a counter mode: encrypting again decrypts
        plain = data if self.name == GMAC else self.gcm(aad, iv, data)[0]
        if self.seal(aad, iv, plain) != (data, icv):
            raise Forged
        return plain


class Separate:
    """A cipher and an integrity algorithm; either may be missing.

    encrypt and decrypt(iv, data); icv(data)
    """

    def __init__(self, enc="ecb(cipher_null)", auth="hmac(sha256)", bits=None,
                 keylen=None):
        self.enc, self.auth = enc, auth
        size, self.block, maker = CIPHERS[enc]
        self.ivlen = {"ecb(cipher_null)": 0, "rfc3686(ctr(aes))": 8}.get(
            enc, self.block)
        self.enc_key = key_of(keylen or size)
        self.cipher = maker(self.enc_key)
        self.auth_key, self.bits = b"", 0
        if auth and auth != "digest_null":
            self.mac, size, whole = MACS[auth]
            self.auth_key, self.bits = key_of(size), bits or whole
        self.icvlen = self.bits // 8

    def words(self, kind="esp"):
        """For `ip xfrm state add`"""
        words = [] if kind == "ah" else [f"enc {self.enc} {hexed(self.enc_key)}"]
        if self.bits:
            words.append(f"auth-trunc {self.auth} {hexed(self.auth_key)} "
                         f"{self.bits}")
        elif self.auth:
            words.append(f'auth {self.auth} ""')
        return " ".join(words)

    def encrypt(self, iv, data):
        return self.cipher.encrypt(iv, data)

    def decrypt(self, iv, data):
        return self.cipher.decrypt(iv, data)

    def icv(self, data):
        if not self.bits:
            return b""
        return self.mac(self.auth_key, data)[:self.icvlen]


# -- those that most tests take --

def gcm():
    return Combined(GCM)


def chacha():
    return Combined(CHACHA)


def cbc():
    return Separate("cbc(aes)", "hmac(sha256)", 128)


def sha256():
    """For AH; as ESP's it is without a cipher"""
    return Separate(auth="hmac(sha256)", bits=128)


def new_iv(length):
    return os.urandom(length)


def number(value):
    return struct.pack("!I", value & 0xffffffff)
