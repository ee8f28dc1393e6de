/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The IP header in the form that AH hashes (RFC 4302 3.3.3.1)
 *
 * Pure code: it knows no packet buffer, no lock and no allocator, and is
 * compiled into the module, the unit tests and user-space fuzzers alike.
 */
#ifndef _IPSEC_V3_AH_CANON_H
#define _IPSEC_V3_AH_CANON_H

#include <linux/types.h>

int ah_canon_ipv4(u8 *canon, unsigned int len, bool outbound);
int ah_canon_ipv6(u8 *canon, unsigned int len, bool outbound);

#endif /* _IPSEC_V3_AH_CANON_H */
