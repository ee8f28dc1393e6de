# SPDX-License-Identifier: GPL-2.0-only
"""A certificate authority, and certificates of hosts, for one test."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def pem(thing):
    """A key or a certificate as text"""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM).decode()
    return thing.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                               serialization.NoEncryption()).decode()


class Authority:
    def __init__(self, name="ca"):
        self.name, self.key = named(name), new_key()
        self.cert = self.sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))

    def sign(self, name, key, *extensions):
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number(),
                                          now - DAY, now + DAY)
        for extension in (*extensions, x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                          x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        """(key, certificate, the authority's own), all PEM, for a host of this name"""
        key = new_key()
        cert = self.sign(named(name), key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        return pem(key), pem(cert), pem(self.cert)
