/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_TX_H
#define _IPSEC_V3_TX_H

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

int ipsec_output_now(struct ipsec_sa *sa, struct sk_buff *skb, struct ipsec_req *req);
int ipsec_output_device(struct ipsec_sa *sa, struct sk_buff *skb);

#endif
