/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_LATE_H
#define _IPSEC_V3_LATE_H

#include "ipsec.h"

/* failures in a row before a resync is tried; no more than that are counted */
#define IPSEC_RESYNC_RUN	8

/**
 * struct ipsec_late - packets of one netns that wait for a second try
 * @queue: untouched copies; each holds its SA (secpath) and its devices
 * @work: takes them in process context
 * @budget: second tries that all SAs of the netns may cost together
 */
struct ipsec_late {
	struct sk_buff_head	queue;
	struct work_struct	work;
	struct ipsec_budget	budget;
};

void ipsec_late_init(struct ipsec_late *late);
void ipsec_late_fini(struct ipsec_late *late);
void ipsec_budget_init(struct ipsec_budget *budget);

struct sk_buff *ipsec_late_stash(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
bool ipsec_late_queue(struct ipsec_sa *sa, struct sk_buff *stash);

#endif
