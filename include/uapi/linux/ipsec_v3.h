/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_IPSEC_V3_H
#define _UAPI_LINUX_IPSEC_V3_H

/*
 * Per-SA options of ipsec_v3, carried in XFRMA_SA_EXTRA_FLAGS:
 *
 *	ip xfrm state add ... extra-flag 0x80000000
 *
 * The kernel's own extra flags count up from bit 0, these count down from
 * bit 31. Bits that ipsec_v3 does not know are left to the kernel.
 */

/**
 * IPSEC_V3_XFLAG_RESYNC - resynchronise this inbound ESN SA
 *
 * After a run of packets that failed their ICV the receiver also tries higher
 * values of the sequence number's high half, as RFC 4303 appendix A3 has it.
 * The module parameter "resync" asks for the same on every new inbound SA.
 */
#define IPSEC_V3_XFLAG_RESYNC	(1U << 31)

#endif /* _UAPI_LINUX_IPSEC_V3_H */
