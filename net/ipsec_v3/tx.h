/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_TX_H
#define _IPSEC_V3_TX_H

#include "crypt.h"

bool ipsec_tx_fits(const struct ipsec_sa *sa, const struct sk_buff *skb, unsigned int tail);
int ipsec_output_device(struct ipsec_sa *sa, struct sk_buff *skb);

#endif
