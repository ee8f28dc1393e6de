// SPDX-License-Identifier: GPL-2.0-only
/*
 * A second reading for packets that failed their ICV.
 *
 * With extended sequence numbers the receiver infers the high half from its
 * window (RFC 4303 A2). It infers wrongly when the packet is older than the
 * window, or when more than 2^32 packets were lost. Then the ICV fails, although
 * nobody forged anything. Such a packet is tried once more with the high half
 * that it may really have:
 *
 *	one lower	verified: the packet is late, and dropped as that
 *	some higher	verified: the window moves there (RFC 4303 A3)
 *	none verified	the packet is forged
 *
 * A verified packet never comes here. A suspect one is copied before its first
 * try, as that may destroy it, and is judged in process context, so that the
 * second try delays nobody. Copies, queue and tries are bounded by a budget per
 * SA and one per netns: a flood of forgeries finds it empty and costs one try
 * each, as without this file.
 */
#include <linux/jiffies.h>
#include <linux/slab.h>

#include "crypt.h"
#include "late.h"
#include "rx.h"
#include "window.h"

/* A healthy SA does not skip so many numbers at once: what lies this far to the
 * right of the window is more likely late than new.
 */
#define IPSEC_LATE_JUMP		65536

#define IPSEC_LATE_QUEUE	256	/* packets waiting, per netns */
#define IPSEC_LATE_PER_SA	128	/* tries per second */
#define IPSEC_LATE_PER_NETNS	2048	/* tries per second */

#define IPSEC_RESYNC_TRIES	8	/* higher values of the high half */

/**
 * ipsec_budget_init() - a bucket that is full once its owner first asks
 * @budget: the bucket
 */
void ipsec_budget_init(struct ipsec_budget *budget)
{
	spin_lock_init(&budget->lock);
	budget->tokens = 0;
	budget->stamp = jiffies - HZ;
}

static bool budget_take(struct ipsec_budget *budget, u32 per_second)
{
	u64 gained;
	bool ok;

	spin_lock_bh(&budget->lock);
	gained = div_u64((u64)(jiffies - budget->stamp) * per_second, HZ);
	if (gained) {
		budget->tokens = min_t(u64, budget->tokens + gained, per_second);
		budget->stamp = jiffies;
	}
	ok = budget->tokens;
	budget->tokens -= ok;
	spin_unlock_bh(&budget->lock);
	return ok;
}

static bool late_affordable(struct ipsec_sa *sa)
{
	return budget_take(&sa->budget, IPSEC_LATE_PER_SA) &&
	       budget_take(&ipsec_netns_late(xs_net(sa->x))->budget,
			   IPSEC_LATE_PER_NETNS);
}

/* Reads the window without its lock: a stale value only misjudges how likely
 * the packet is to need a second try.
 */
static bool late_suspect(const struct ipsec_sa *sa, u64 seq)
{
	const struct xfrm_replay_state_esn *esn = sa->x->replay_esn;
	u64 top = (u64)READ_ONCE(esn->seq_hi) << 32 | READ_ONCE(esn->seq);

	if (unlikely((s64)(seq - top) > IPSEC_LATE_JUMP && seq >> 32))
		return true;
	return sa->resync && atomic_read(&sa->icv_failures) >= IPSEC_RESYNC_RUN;
}

/**
 * ipsec_late_stash() - keep a copy of a packet that may need a second try
 * @sa: the SA
 * @skb: the packet, not yet touched
 * @seq: its inferred sequence number
 *
 * Context: BH off.
 * Return: the copy, the caller's to free or to queue; NULL for nearly every
 * packet, without memory, and when the budget is spent.
 */
struct sk_buff *ipsec_late_stash(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	if (likely(!sa->esn || !late_suspect(sa, seq)))
		return NULL;
	if (!late_affordable(sa))
		return NULL;
	return skb_copy(skb, GFP_ATOMIC | __GFP_NOWARN);
}

/**
 * ipsec_late_queue() - hand a packet over for its second try
 * @sa: the SA
 * @stash: from ipsec_late_stash(); on success no longer the caller's, and with
 *	it what the caller held of its devices
 *
 * Context: BH off.
 * Return: true when it will be judged, false when the queue is full.
 */
bool ipsec_late_queue(struct ipsec_sa *sa, struct sk_buff *stash)
{
	struct ipsec_late *late = ipsec_netns_late(xs_net(sa->x));

	if (skb_queue_len_lockless(&late->queue) >= IPSEC_LATE_QUEUE)
		return false;
	skb_queue_tail(&late->queue, stash);
	queue_work(system_unbound_wq, &late->work);
	return true;
}

/* The packet under another sequence number: a copy that verified, or NULL when that is not its
 * number. An error, of memory or of the driver, is counted, and judges the packet.
 */
static struct sk_buff *late_try(struct ipsec_sa *sa, struct sk_buff *stash, u64 seq)
{
	struct sk_buff *copy = skb_copy(stash, GFP_KERNEL);
	int err;

	ipsec_event(sa, IPSEC_EVENT_RX_SECOND);
	if (!copy)
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_RX_NOMEM));
	/* the NIC's sum is that of the encrypted packet */
	copy->ip_summed = CHECKSUM_NONE;
	XFRM_SKB_CB(copy)->seq.input.hi = htonl(seq >> 32);
	err = ipsec_rx_verify(sa, copy, seq);
	if (!err)
		return copy;
	kfree_skb(copy);
	return err == -EBADMSG ? NULL : ERR_PTR(err);
}

/* left of the window */
static struct sk_buff *late_lower(struct ipsec_sa *sa, struct sk_buff *stash,
				  const struct replay_window *window)
{
	u64 seq;

	if (!replay_late_candidate(window, ipsec_rx_seq(stash), &seq))
		return NULL;
	return late_try(sa, stash, seq);
}

/* A packet that waited behind one that has moved the window by subspaces: what it stands
 * for now is not what it was tried as.
 */
static struct sk_buff *late_again(struct ipsec_sa *sa, struct sk_buff *stash,
				  const struct replay_window *window)
{
	u64 seq = replay_infer(window, ntohl(XFRM_SKB_CB(stash)->seq.input.low));

	return seq == ipsec_rx_seq(stash) ? NULL : late_try(sa, stash, seq);
}

/* likewise under a higher number, and the window moves there */
static struct sk_buff *late_resync(struct ipsec_sa *sa, struct sk_buff *stash,
				   const struct replay_window *window)
{
	u32 low = ntohl(XFRM_SKB_CB(stash)->seq.input.low);
	struct sk_buff *copy = NULL;
	unsigned int n;
	u64 seq;

	if (!sa->resync || atomic_read(&sa->icv_failures) < IPSEC_RESYNC_RUN)
		return NULL;

	for (n = 1; n <= IPSEC_RESYNC_TRIES && !copy; n++) {
		if (!replay_resync_candidate(window, low, n, &seq) ||
		    !late_affordable(sa))
			return NULL;
		copy = late_try(sa, stash, seq);
	}
	if (!IS_ERR_OR_NULL(copy))
		ipsec_window_resync(sa, seq);
	return copy;
}

/* to its receiver, or to the core as a loss */
static void late_deliver(struct ipsec_sa *sa, struct sk_buff *stash, struct sk_buff *copy)
{
	int nexthdr = PTR_ERR_OR_ZERO(copy);

	if (!copy) {
		nexthdr = ipsec_rx_forged(sa, stash, ipsec_rx_seq(stash));
	} else if (!nexthdr) {
		kfree_skb(stash);
		stash = copy;
		nexthdr = ipsec_rx_finish(sa, copy, ipsec_rx_seq(copy));
	}
	if (nexthdr != -EINPROGRESS)
		ipsec_rx_deliver(sa, stash, nexthdr);
}

static void late_judge(struct sk_buff *stash)
{
	struct ipsec_sa *sa = ipsec_sa(xfrm_input_state(stash));
	struct replay_window window;
	struct sk_buff *copy;

	ipsec_window_snapshot(sa, &window);
	copy = late_lower(sa, stash, &window);
	if (!IS_ERR_OR_NULL(copy)) {
		ipsec_window_late(sa, copy, ipsec_rx_seq(copy));
		kfree_skb(copy);
		ipsec_rx_discard(sa, stash);
		return;
	}
	copy = copy ?: late_again(sa, stash, &window) ?: late_resync(sa, stash, &window);

	local_bh_disable();
	rcu_read_lock();
	late_deliver(sa, stash, copy);
	rcu_read_unlock();
	local_bh_enable();
}

static void late_work(struct work_struct *work)
{
	struct ipsec_late *late = container_of(work, struct ipsec_late, work);
	struct sk_buff *stash;

	while ((stash = skb_dequeue(&late->queue))) {
		late_judge(stash);
		cond_resched();
	}
}

/**
 * ipsec_late_init() - an empty queue for a new netns
 * @late: the queue
 */
void ipsec_late_init(struct ipsec_late *late)
{
	skb_queue_head_init(&late->queue);
	INIT_WORK(&late->work, late_work);
	ipsec_budget_init(&late->budget);
}

/**
 * ipsec_late_fini() - judge what still waits, then rest
 * @late: the queue; nothing is queued any more
 *
 * Context: process context, sleeps.
 */
void ipsec_late_fini(struct ipsec_late *late)
{
	flush_work(&late->work);
}
