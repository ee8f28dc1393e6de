/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SAs know their direction since 6.10, and received packets have a lookup of their own since
 * 6.12.13. ipsec_input_lookup() finds the SA of a received packet on all; one that is for sending
 * only is not found.
 *
 * What the core had to learn for some feature is asked for by series: one that is not named here
 * does without that feature until somebody has looked.
 */
#ifndef _IPSEC_COMPAT_NET_XFRM_H
#define _IPSEC_COMPAT_NET_XFRM_H

#include_next <net/xfrm.h>
#include <linux/version.h>

/* is it of that series, and no older */
#define IPSEC_SERIES(major, minor, patch)				\
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, patch) &&	\
	 LINUX_VERSION_CODE < KERNEL_VERSION(major, (minor) + 1, 0))

/* For a packet that comes back from type->input later, xfrm_input() of 6.1.192 gives up the device
 * that a tunnel device's callback has put in place of the one that it holds. And when such a
 * packet is kept by another SA, it gives up skb->dev after type->input has taken the skb. From
 * 6.12.112 on it does neither.
 */
#define IPSEC_INPUT_KEEPS_DEVICE	IPSEC_SERIES(6, 12, 112)

/* Does xfrm_input() know a packet from GRO by XFRM_GRO? Before 6.7 it went by another number in
 * encap_type, and which 6.1 stopped that first is not known; 6.1.192 is. After 6.12 the core may
 * ask who offloads an SA when that is set up, and then ipsec_offload_init_state() has no say.
 */
#define IPSEC_INPUT_TAKES_GRO						\
	(IPSEC_SERIES(6, 1, 192) ||					\
	 (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0) &&		\
	  LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)))

/* May a segment of a GSO packet leave later than the others? Where it is not known to be mended,
 * validate_xmit_xfrm() leaves the first one pointing at the last, wherever that is then.
 */
#define IPSEC_SEGMENT_MAY_WAIT		(IPSEC_SERIES(6, 12, 114) || IPSEC_SERIES(6, 1, 191))

static inline struct xfrm_state *ipsec_input_lookup(struct net *net, u32 mark,
						    const xfrm_address_t *daddr, __be32 spi,
						    u8 proto, unsigned short family)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 13)
	struct xfrm_state *x = xfrm_input_state_lookup(net, mark, daddr, spi, proto, family);
#else
	struct xfrm_state *x = xfrm_state_lookup(net, mark, daddr, spi, proto, family);
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)

	if (x && x->dir && x->dir != XFRM_SA_DIR_IN) {
		xfrm_state_put(x);
		return NULL;
	}
#endif
	return x;
}

#endif
