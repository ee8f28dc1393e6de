/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_LANE_H
#define _IPSEC_V3_LANE_H

#include <linux/list.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "drop.h"
#include "flow.h"
#include "follower.h"
#include "pace.h"

struct ipsec_sa;

struct lane_hand;

#define IPSEC_LANE_MAX	4096	/* packets of one SA under way */

/**
 * struct ipsec_lane - one SA's packets on their way over several CPUs
 * @lock: guards what follows, up to @home
 * @first: oldest packet that is not delivered; linked by skb->next
 * @next: oldest packet that nobody has taken to work on
 * @last: youngest packet
 * @count: packets that are not delivered
 * @waiting: packets that nobody has taken
 * @held: packets that wait where their flows have no room, until the lane has been empty or so
 *	many were delivered since the gate was opened
 * @delivered: packets that ever were
 * @awake: a hand has been told of the lane, and will look, or looks
 * @delivering: somebody delivers at this moment
 * @gated: what the gate is shut for (enum lane_gate): nothing is delivered until it is open
 * @refused: how often the oldest packet was not taken when it was to be delivered, up to
 *	LANE_DOUBLED
 * @kind: enum ipsec_lane_kind: of the packet upon which another CPU delivers, or is about to
 * @leaving: the CPU that delivers shall leave that to @home; it does by itself when it goes offline
 * @at_home: @home delivers, and closes the lane when it is empty; or another one, if that went
 * @cpu: the CPU that delivers
 * @home: the CPU that brings, or did when the lane opened
 * @hand: whose list @served is in, NULL when in none; its lock guards both
 * @served: in the list of lanes that a hand serves, or of those that it looks at later
 * @before: the CPU that delivered, or processed on the spot, before the gate was shut; nobody
 *	changes it until the gate is open
 * @followed: how many CPUs' queues have been followed since then; whoever follows writes it
 * @ends: the SA ends: no further CPU is followed
 * @follow: opens the gate when what they have handed on has left their queues
 * @passed: packets that are past the lane, and still on their way: processed on the spot, and
 *	not finished by the crypto API, or handed to the CPU of their flow; one too few at moments
 * @open: packets go through the lane, and not on the spot
 * @used: it ever was
 * @wanted: in the list of lanes that want more hands
 * @flows: where flows go that have left a tunnel, as long as the lane is not at home
 * @pace: of the packets
 */
struct ipsec_lane {
	spinlock_t		lock;
	struct sk_buff		*first;
	struct sk_buff		*next;
	struct sk_buff		*last;
	unsigned int		count;
	unsigned int		waiting;
	unsigned int		held;
	unsigned int		delivered;
	bool			awake;
	bool			delivering;
	u8			gated;
	u8			refused;
	u8			kind;
	bool			leaving;
	bool			at_home;
	int			cpu;
	int			home;
	struct lane_hand	*hand;
	struct list_head	served;
	int			before;
	u8			followed;
	bool			ends;
	struct ipsec_follower	follow;
	atomic_t		passed;
	bool			open;
	bool			used;
	struct list_head	wanted;
	struct ipsec_flows	flows;
	struct ipsec_pace	pace;
};

/**
 * struct ipsec_lane_job - what is done with a packet in a lane
 * @full: why a packet is dropped when the lane is full
 * @spread: what is counted when it is not
 * @work: on any CPU, in any order: a result, or -EINPROGRESS, and then
 *	ipsec_lane_done() follows. The skb stays the lane's
 * @deliver: in the order in which the packets came, on one CPU; takes the skb, and says so; or
 *	leaves it to the lane, which asks again soon
 *
 * Context of both: BH off, RCU held.
 */
struct ipsec_lane_job {
	enum ipsec_count	full;
	enum ipsec_count	spread;
	int			(*work)(struct ipsec_sa *sa, struct sk_buff *skb);
	bool			(*deliver)(struct ipsec_sa *sa, struct sk_buff *skb, int result);
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
bool ipsec_lane_open(struct ipsec_sa *sa, enum ipsec_lane_kind kind);
void ipsec_lane_pass(struct ipsec_lane *lane, int packets);
int ipsec_lane_passed(struct ipsec_sa *sa, int result);
void ipsec_lane_resume(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_lane_kind kind,
		       int result);
int ipsec_lane_push(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
		    enum ipsec_lane_kind kind);
void ipsec_lane_done(struct ipsec_sa *sa, struct sk_buff *skb, int result);
int ipsec_lane_setup(void);
void ipsec_lane_teardown(void);

#endif
