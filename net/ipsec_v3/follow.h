/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_FOLLOW_H
#define _IPSEC_V3_FOLLOW_H

#include <linux/list.h>

/**
 * struct ipsec_follow - wants to know when all that a CPU has handed on has left its queues
 * @list: in one of the lists of that CPU, while it waits
 * @rounds: of the softirq of that CPU that it still waits for
 * @arrived: is called then, with BH off and RCU held
 */
struct ipsec_follow {
	struct list_head	list;
	unsigned int		rounds;
	void			(*arrived)(struct ipsec_follow *follow);
};

void ipsec_follow_init(struct ipsec_follow *follow, void (*arrived)(struct ipsec_follow *follow));
void ipsec_follow(struct ipsec_follow *follow, int cpu, bool work);
void ipsec_follow_cancel(struct ipsec_follow *follow);
int ipsec_follow_setup(void);
void ipsec_follow_teardown(void);

#endif
