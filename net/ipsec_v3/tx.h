/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_TX_H
#define _IPSEC_V3_TX_H

#include "crypt.h"

bool ipsec_tx_fits(const struct ipsec_sa *sa, const struct sk_buff *skb, unsigned int tail);
int ipsec_tx_run(struct ipsec_req *req, int (*run)(struct ipsec_req *req),
		 void (*finish)(struct ipsec_req *req));
int ipsec_tx_run_device(struct ipsec_req *req, int (*run)(struct ipsec_req *req),
			void (*finish)(struct ipsec_req *req));

#endif
