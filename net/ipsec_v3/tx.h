/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_TX_H
#define _IPSEC_V3_TX_H

#include <linux/udp.h>

#include "crypt.h"

/**
 * ipsec_tx_fits() - does an IP packet hold it
 * @sa: the SA
 * @skb: the packet, its data anywhere in front of the payload's end
 * @tail: bytes that will be appended
 *
 * Return: true when it does.
 */
static inline bool ipsec_tx_fits(const struct ipsec_sa *sa, const struct sk_buff *skb,
				 unsigned int tail)
{
	return skb->len - skb_network_offset(skb) + tail <= sa->family->maxlen;
}

/**
 * ipsec_tx_hdrlen() - what is in front of the payload
 * @sa: the SA
 *
 * Return: octets of ESP, its IV and UDP, or of AH.
 */
static inline unsigned int ipsec_tx_hdrlen(const struct ipsec_sa *sa)
{
	return sa->hdrlen + (sa->x->encap ? sizeof(struct udphdr) : 0);
}

/**
 * ipsec_tx_in_place() - does the header end where the payload begins
 * @sa: the SA
 * @skb: the packet, its data at the payload
 *
 * Not in BEET mode, where the payload is of another family than the SA's selector says and the
 * core has reserved for; nor behind so many extension headers that sk_buff::transport_header
 * cannot count them. All that is written depends on it.
 *
 * Return: true when it does.
 */
static inline bool ipsec_tx_in_place(const struct ipsec_sa *sa, const struct sk_buff *skb)
{
	return likely(skb_transport_offset(skb) == -(int)ipsec_tx_hdrlen(sa));
}

int ipsec_output_now(struct ipsec_sa *sa, struct sk_buff *skb, struct ipsec_req *req);
int ipsec_output_device(struct ipsec_sa *sa, struct sk_buff *skb);

#endif
