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

/* flows with the same part of their hash share a bucket */
#define IPSEC_FLOW_BUCKETS	32

/**
 * struct ipsec_flows - where the flows in one SA go
 * @count: of CPUs
 * @cpu: which
 * @which: the CPU of each bucket, an index of @cpu; whoever delivers writes it, and @handed
 * @handed: packets of each bucket that were handed to its CPU
 * @left: those that have left it, which it writes itself, holding the lock of its queue; both
 *	wrap
 */
struct ipsec_flows {
	unsigned int	count;
	u16		cpu[IPSEC_FLOW_CPUS];
	u8		which[IPSEC_FLOW_BUCKETS];
	u16		handed[IPSEC_FLOW_BUCKETS];
	u16		left[IPSEC_FLOW_BUCKETS];
};

void ipsec_flow_take(struct ipsec_flows *flows, const u16 *cpus, unsigned int count);
bool ipsec_flow_has_room(const struct ipsec_flows *flows, unsigned int packets);
void ipsec_flow_begin(struct ipsec_sa *sa);
void ipsec_flow_end(struct ipsec_sa *sa);
int ipsec_flow_catch(struct sk_buff *skb, int err);
int ipsec_flow_setup(void);
void ipsec_flow_teardown(void);

#endif
