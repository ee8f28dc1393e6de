// SPDX-License-Identifier: GPL-2.0-only
/*
 * Behind all that a CPU has handed on to the core.
 *
 * It lies in that CPU's queues for a while, and whoever goes on with it on another CPU has to
 * wait until it has left them: received in transport mode, the list from which the core's work
 * item takes packets; then, or at once, the core's backlog and the cells of tunnel devices, which
 * the softirq empties.
 *
 * A marker goes through the core's list like a packet, and comes out behind those that were in
 * it. The softirq's queues take no marker: a NAPI of ours counts how often it comes round.
 */
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>
#include <net/xfrm.h>

#include "follower.h"
#include "poll.h"

#define FOLLOW_AGAIN	NSEC_PER_MSEC	/* until the core's list may have room for the marker */
#define FOLLOW_CELLS	DIV_ROUND_UP(1000U, NAPI_POLL_WEIGHT)	/* rounds that empty cells */

/**
 * struct follow_cpu - those that follow what a CPU has handed on
 * @poll: comes round with the softirq of this CPU, behind the core's queues
 * @wanting: they want a marker to be sent
 * @marked: they wait for the one that is under way
 * @counted: they wait for rounds of the softirq
 * @again: sends the marker, as the core's list had no room
 * @marker: a packet that is none, of the pointer to this; there is one, so it is never missing
 * @away: the marker is under way
 */
struct follow_cpu {
	struct ipsec_poll	poll;
	struct list_head	wanting;
	struct list_head	marked;
	struct list_head	counted;
	struct hrtimer		again;
	struct sk_buff		*marker;
	bool			away;
};

static DEFINE_PER_CPU(struct follow_cpu, follow_cpus);
static DEFINE_SPINLOCK(follow_lock);	/* guards all lists, and writes of @away */

/* Rounds of a softirq that take all that is in the core's backlog of a CPU, without the one that is
 * under way.
 */
static unsigned int follow_backlog(int cpu)
{
	return 1 + DIV_ROUND_UP(ipsec_poll_backlog(cpu), ipsec_poll_quota(cpu));
}

/* What has left a tunnel is in cells, which cannot be seen: a thousand packets, which is what they
 * hold unless root wants more. Or in the backlog, where its device has no GRO. When it is forwarded
 * into a veth, it goes into the backlog from there, behind all that came meanwhile.
 */
static void follow_begin(struct ipsec_follower *follow, int cpu)
{
	follow->rounds = follow_backlog(cpu);
	follow->last = !(follow->how & IPSEC_FOLLOW_CELLS);
	if (!follow->last)
		follow->rounds = max(follow->rounds, 1 + FOLLOW_CELLS);
}

/* a round is over; was it the last */
static bool follow_round(struct ipsec_follower *follow, int cpu)
{
	if (--follow->rounds)
		return false;
	if (follow->last)
		return true;
	follow->rounds = follow_backlog(cpu);
	follow->last = true;
	return false;
}

/* The core has finished all packets that were in its list before the marker. */
static int follow_marker(struct net *net, struct sock *sk, struct sk_buff *marker)
{
	struct follow_cpu *here = *(struct follow_cpu **)marker->data;
	struct ipsec_follower *follow;
	bool more;

	spin_lock(&follow_lock);
	list_for_each_entry(follow, &here->marked, list)
		follow_begin(follow, here->poll.cpu);
	list_splice_tail_init(&here->marked, &here->counted);
	more = !list_empty(&here->counted) || !list_empty(&here->wanting);
	WRITE_ONCE(here->away, false);
	if (more)
		ipsec_poll_call(&here->poll);
	spin_unlock(&follow_lock);
	return 0;
}

/* sends the marker for those that want it, if it is here */
static void follow_send_marker(struct follow_cpu *here)
{
	spin_lock(&follow_lock);
	if (list_empty(&here->wanting) || here->away) {
		/* nobody wants it, or it will be sent when it comes back */
	} else if (xfrm_trans_queue_net(&init_net, here->marker, follow_marker)) {
		/* the core's work item needs this CPU to make room */
		hrtimer_start(&here->again, ns_to_ktime(FOLLOW_AGAIN), HRTIMER_MODE_REL_SOFT);
	} else {
		WRITE_ONCE(here->away, true);
		list_splice_tail_init(&here->wanting, &here->marked);
	}
	spin_unlock(&follow_lock);
}

static enum hrtimer_restart follow_again(struct hrtimer *timer)
{
	ipsec_poll_call(&container_of(timer, struct follow_cpu, again)->poll);
	return HRTIMER_NORESTART;
}

/* a round is over for all that wait for rounds; those that have arrived go to @arrived */
static void follow_count(struct follow_cpu *here, struct list_head *arrived)
{
	struct ipsec_follower *follow, *next;

	spin_lock(&follow_lock);
	list_for_each_entry_safe(follow, next, &here->counted, list)
		if (follow_round(follow, here->poll.cpu))
			list_move_tail(&follow->list, arrived);
	spin_unlock(&follow_lock);
}

/* takes out the next one, if it is not cancelled by now */
static struct ipsec_follower *follow_next(struct list_head *arrived)
{
	struct ipsec_follower *follow;

	spin_lock(&follow_lock);
	follow = list_first_entry_or_null(arrived, struct ipsec_follower, list);
	if (follow)
		list_del_init(&follow->list);
	spin_unlock(&follow_lock);
	return follow;
}

static int follow_poll(struct napi_struct *napi, int budget)
{
	struct follow_cpu *here = container_of(napi, struct follow_cpu, poll.napi);
	struct ipsec_follower *follow;
	LIST_HEAD(arrived);

	rcu_read_lock();
	follow_send_marker(here);
	follow_count(here, &arrived);
	while ((follow = follow_next(&arrived)))
		follow->arrived(follow);
	rcu_read_unlock();
	if (!list_empty_careful(&here->counted))
		return budget;
	napi_complete_done(napi, 0);
	return 0;
}

/**
 * ipsec_follow_init() - somebody who may want to follow
 * @follow: follows nothing yet
 * @arrived: what to call
 */
void ipsec_follow_init(struct ipsec_follower *follow,
		       void (*arrived)(struct ipsec_follower *follow))
{
	INIT_LIST_HEAD(&follow->list);
	follow->arrived = arrived;
}

/**
 * ipsec_follow() - call it when all that a CPU has handed on so far has left its queues
 * @follow: follows nothing else
 * @cpu: the CPU; one that has gone offline has nothing left of what was delivered there (cpus.c)
 * @how: in what else some of it may be: IPSEC_FOLLOW_WORK, IPSEC_FOLLOW_CELLS
 *
 * Context: BH off.
 */
void ipsec_follow(struct ipsec_follower *follow, int cpu, u8 how)
{
	struct follow_cpu *there = per_cpu_ptr(&follow_cpus, cpu);

	spin_lock(&follow_lock);
	follow->how = how;
	follow_begin(follow, cpu);
	list_add_tail(&follow->list, how & IPSEC_FOLLOW_WORK ? &there->wanting : &there->counted);
	spin_unlock(&follow_lock);
	ipsec_poll_call(&there->poll);
}

/**
 * ipsec_follow_cancel() - it follows no more
 * @follow: may just be called for the last time, by somebody who holds RCU
 *
 * Context: process or softirq.
 */
void ipsec_follow_cancel(struct ipsec_follower *follow)
{
	spin_lock_bh(&follow_lock);
	list_del_init(&follow->list);
	spin_unlock_bh(&follow_lock);
}

static void follow_free_markers(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		consume_skb(per_cpu(follow_cpus, cpu).marker);
}

static struct sk_buff *follow_new_marker(struct follow_cpu *here)
{
	struct sk_buff *marker = alloc_skb(sizeof(here), GFP_KERNEL);

	if (marker)
		skb_put_data(marker, &here, sizeof(here));
	return marker;
}

/**
 * ipsec_follow_setup() - the markers, at load
 *
 * Return: 0 or -ENOMEM.
 */
int ipsec_follow_setup(void)
{
	struct follow_cpu *there;
	int cpu;

	for_each_possible_cpu(cpu) {
		there = per_cpu_ptr(&follow_cpus, cpu);
		there->marker = follow_new_marker(there);
		if (!there->marker) {
			follow_free_markers();
			return -ENOMEM;
		}
	}
	for_each_possible_cpu(cpu) {
		there = per_cpu_ptr(&follow_cpus, cpu);
		INIT_LIST_HEAD(&there->wanting);
		INIT_LIST_HEAD(&there->marked);
		INIT_LIST_HEAD(&there->counted);
		hrtimer_init(&there->again, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
		there->again.function = follow_again;
		ipsec_poll_add(&there->poll, cpu, follow_poll);
	}
	return 0;
}

/**
 * ipsec_follow_teardown() - the markers come home
 *
 * Context: process context, sleeps; nobody follows any more.
 */
void ipsec_follow_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		while (READ_ONCE(per_cpu(follow_cpus, cpu).away))
			msleep(20);
		hrtimer_cancel(&per_cpu(follow_cpus, cpu).again);
		ipsec_poll_del(&per_cpu(follow_cpus, cpu).poll);
	}
	/* for the polls, and for the core, which has just called us with BH off */
	synchronize_net();
	follow_free_markers();
}
