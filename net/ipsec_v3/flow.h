/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_FLOW_H
#define _IPSEC_V3_FLOW_H

#include <linux/types.h>

struct ipsec_sa;
struct sk_buff;

/* CPUs over which the flows in one SA are spread, at most: more would wait for the one that
 * brings the packets
 */
#define IPSEC_FLOW_CPUS		8

/**
 * struct ipsec_flows - where the flows in one SA go
 * @count: of CPUs
 * @cpu: which
 */
struct ipsec_flows {
	unsigned int	count;
	u16		cpu[IPSEC_FLOW_CPUS];
};

void ipsec_flow_begin(struct ipsec_sa *sa);
void ipsec_flow_end(struct ipsec_sa *sa);
int ipsec_flow_catch(struct sk_buff *skb, int err);
int ipsec_flow_setup(void);
void ipsec_flow_teardown(void);

#endif
