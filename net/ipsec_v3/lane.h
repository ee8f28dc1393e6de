/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_LANE_H
#define _IPSEC_V3_LANE_H

#include <linux/list.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "drop.h"

struct ipsec_sa;

/**
 * struct ipsec_lane - one SA's packets on their way over several CPUs
 * @lock: guards what follows, up to @work
 * @first: oldest packet that is not delivered; linked by skb->next
 * @next: oldest packet that nobody has taken to work on
 * @last: youngest packet
 * @count: packets that are not delivered
 * @waiting: packets that nobody has taken
 * @awake: @work is queued or runs
 * @gated: nothing is delivered until @gate has opened it
 * @drained: the lane is empty, and what it delivered has left the queues of @cpu
 * @draining: @gate is queued to see that
 * @work: works, and delivers in order, on @cpu
 * @gate: runs behind the core's work on the packets that were processed on the spot, on
 *	the CPU that brings and on those where such a packet was finished later; and, on
 *	@cpu, behind that on packets that were delivered
 * @passed: packets processed on the spot that the crypto API has not finished; for
 *	moments one less
 * @cpu: the CPU that delivers
 * @open: packets go through the lane, and not on the spot
 * @run: the run of the softirq, or jiffy, that brought the last packet
 * @brought: packets that @run has brought
 * @came: jiffies when that began
 * @crowd: jiffies when a run was last seen to have brought a crowd
 * @wanted: in the list of lanes that want more hands
 * @lent: it has ever been there
 */
struct ipsec_lane {
	spinlock_t		lock;
	struct sk_buff		*first;
	struct sk_buff		*next;
	struct sk_buff		*last;
	unsigned int		count;
	unsigned int		waiting;
	bool			awake;
	bool			gated;
	bool			drained;
	bool			draining;
	struct work_struct	work;
	struct work_struct	gate;
	atomic_t		passed;
	int			cpu;
	bool			open;
	unsigned int		run;
	unsigned int		brought;
	unsigned long		came;
	unsigned long		crowd;
	struct list_head	wanted;
	bool			lent;
};

/**
 * struct ipsec_lane_job - what is done with a packet in a lane
 * @full: why a packet is dropped when the lane is full
 * @spread: what is counted when it is not
 * @work: on any CPU, in any order: a result, or -EINPROGRESS, and then
 *	ipsec_lane_done() follows. The skb stays the lane's
 * @deliver: in the order in which the packets came, on one CPU; takes the skb
 *
 * Context of both: BH off, RCU held.
 */
struct ipsec_lane_job {
	enum ipsec_count	full;
	enum ipsec_count	spread;
	int			(*work)(struct ipsec_sa *sa, struct sk_buff *skb);
	void			(*deliver)(struct ipsec_sa *sa, struct sk_buff *skb, int result);
};

/** enum ipsec_lane_kind - the jobs there are */
enum ipsec_lane_kind {
	IPSEC_LANE_RX,
	IPSEC_LANE_TX,
	IPSEC_LANE_TX_DEVICE,
};

extern const struct ipsec_lane_job ipsec_rx_job, ipsec_tx_job, ipsec_tx_device_job;

void ipsec_lane_init(struct ipsec_lane *lane);
void ipsec_lane_fini(struct ipsec_lane *lane);
bool ipsec_lane_open(struct ipsec_sa *sa);
int ipsec_lane_passed(struct ipsec_sa *sa, int result);
void ipsec_lane_resume(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_lane_kind kind,
		       int result);
int ipsec_lane_push(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
		    enum ipsec_lane_kind kind);
void ipsec_lane_done(struct ipsec_sa *sa, struct sk_buff *skb, int result);
int ipsec_lane_setup(void);
void ipsec_lane_teardown(void);

#endif
