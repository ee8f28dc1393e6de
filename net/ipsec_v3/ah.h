/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_AH_H
#define _IPSEC_V3_AH_H

#include "ipsec.h"

struct ipsec_req *ipsec_ah_map(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
			       bool outbound);
void ipsec_ah_restore(struct ipsec_req *req);

#endif
