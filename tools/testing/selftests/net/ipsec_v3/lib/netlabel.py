# SPDX-License-Identifier: GPL-2.0-only
"""CIPSO domains of interpretation (FIPS 188) over generic netlink: without one the
kernel takes no packet with a CIPSO option.
"""

import errno
import socket
import struct

from .xfrm import NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, attribute, attributes

NETLINK_GENERIC = 16
CONTROL, GETFAMILY, A_FAMILY_ID, A_FAMILY_NAME = 16, 3, 1, 2
ADD, A_DOI, A_MTYPE, A_TAG, A_TAGLST = 1, 1, 2, 3, 4
MAP_PASS, TAG_BITMAP = 2, 1
NESTED = 0x8000


def request(sock, family, command, version, payload):
    sock.send(struct.pack("=IHHIIBBH", 20 + len(payload), family,
                          NLM_F_REQUEST | NLM_F_ACK, 1, 0, command, version, 0) +
              payload)
    answer = sock.recv(65536)
    kind = struct.unpack("=H", answer[4:6])[0]
    error = -struct.unpack("=i", answer[16:20])[0] if kind == NLMSG_ERROR else 0
    return error, answer[20:]


def add_doi(doi):
    """Levels and categories of this domain are taken as they come; 0 or an errno,
    ENOENT from a kernel without NetLabel."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as sock:
        sock.settimeout(3)
        error, answer = request(sock, CONTROL, GETFAMILY, 1,
                                attribute(A_FAMILY_NAME, b"NLBL_CIPSOv4\0"))
        if error:
            return error
        sock.recv(65536)	# the acknowledgement
        family = struct.unpack("=H", attributes(answer)[A_FAMILY_ID])[0]
        tags = attribute(A_TAG, bytes([TAG_BITMAP]))
        error, _ = request(sock, family, ADD, 3,
                           attribute(A_DOI, struct.pack("=I", doi)) +
                           attribute(A_MTYPE, struct.pack("=I", MAP_PASS)) +
                           attribute(A_TAGLST | NESTED, tags))
    return 0 if error == errno.EEXIST else error
