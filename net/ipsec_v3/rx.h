/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_RX_H
#define _IPSEC_V3_RX_H

#include "ipsec.h"

void ipsec_rx_strip(struct ipsec_sa *sa, struct sk_buff *skb, unsigned int hlen);
int ipsec_rx_verify(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
int ipsec_rx_finish(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
void ipsec_rx_discard(struct ipsec_sa *sa, struct sk_buff *skb);
void ipsec_rx_deliver(struct ipsec_sa *sa, struct sk_buff *skb, int nexthdr);
int ipsec_rx_forged(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);

#endif
