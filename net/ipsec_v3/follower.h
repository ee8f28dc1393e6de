/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_FOLLOWER_H
#define _IPSEC_V3_FOLLOWER_H

#include <linux/bits.h>
#include <linux/list.h>
#include <linux/types.h>

/* what else may hold packets beside the core's backlog */
#define IPSEC_FOLLOW_WORK	BIT(0)	/* the core's work item, if they came in transport mode */
#define IPSEC_FOLLOW_CELLS	BIT(1)	/* cells of tunnel devices, and those of the core */

/**
 * struct ipsec_follower - wants to know when all that a CPU has handed on has left its queues
 * @list: in one of the lists of that CPU, while it waits
 * @rounds: of the softirq of that CPU that it still waits for
 * @last: no others come after these
 * @how: IPSEC_FOLLOW_WORK and IPSEC_FOLLOW_CELLS, or neither
 * @arrived: is called then, with BH off and RCU held
 */
struct ipsec_follower {
	struct list_head	list;
	unsigned int		rounds;
	bool			last;
	u8			how;
	void			(*arrived)(struct ipsec_follower *follow);
};

void ipsec_follow_init(struct ipsec_follower *follow,
		       void (*arrived)(struct ipsec_follower *follow));
void ipsec_follow(struct ipsec_follower *follow, int cpu, u8 how);
void ipsec_follow_cancel(struct ipsec_follower *follow);
int ipsec_follow_setup(void);
void ipsec_follow_teardown(void);

#endif
