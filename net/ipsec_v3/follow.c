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
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <net/net_namespace.h>
#include <net/xfrm.h>

#include "follow.h"
#include "poll.h"

/**
 * struct follow_cpu - those that follow what a CPU has handed on
 * @poll: comes round with the softirq of this CPU, behind the core's queues
 * @wanting: they want a marker to be sent
 * @marked: they wait for the one that is under way
 * @counted: they wait for rounds of the softirq
 * @marker: a packet that is none, of the pointer to this; there is one, so it is never missing
 * @away: the marker is under way
 */
struct follow_cpu {
	struct ipsec_poll	poll;
	struct list_head	wanting;
	struct list_head	marked;
	struct list_head	counted;
	struct sk_buff		*marker;
	bool			away;
};

static DEFINE_PER_CPU(struct follow_cpu, follow_cpus);
static DEFINE_SPINLOCK(follow_lock);	/* guards all lists and @away, is taken rarely */

/* Rounds of a softirq that take all that a CPU has in its queues: from the core's backlog what
 * is in it now, and from the cells of a tunnel device, which cannot be seen, a thousand packets,
 * which is what they hold unless root wants more. Each round takes 64, but for the one that is
 * under way.
 */
static unsigned int follow_rounds(int cpu)
{
	return 1 + DIV_ROUND_UP(max(ipsec_poll_backlog(cpu), 1000U), NAPI_POLL_WEIGHT);
}

/* The core has finished all packets that were in its list before the marker. */
static int follow_marker(struct net *net, struct sock *sk, struct sk_buff *marker)
{
	struct follow_cpu *here = *(struct follow_cpu **)marker->data;
	unsigned int rounds = follow_rounds(here->poll.cpu);
	struct ipsec_follow *follow;
	bool more;

	spin_lock(&follow_lock);
	list_for_each_entry(follow, &here->marked, list)
		follow->rounds = rounds;
	list_splice_tail_init(&here->marked, &here->counted);
	more = !list_empty(&here->counted) || !list_empty(&here->wanting);
	here->away = false;
	if (more)
		ipsec_poll_call(&here->poll);
	spin_unlock(&follow_lock);
	return 0;
}

/* sends the marker for those that want it, if it is here and the core has room */
static void follow_send_marker(struct follow_cpu *here)
{
	spin_lock(&follow_lock);
	if (!list_empty(&here->wanting) && !here->away &&
	    !xfrm_trans_queue_net(&init_net, here->marker, follow_marker)) {
		here->away = true;
		list_splice_tail_init(&here->wanting, &here->marked);
	}
	spin_unlock(&follow_lock);
}

/* takes out the next that has waited long enough; @round: one more is over */
static struct ipsec_follow *follow_next(struct follow_cpu *here, bool round)
{
	struct ipsec_follow *follow, *found = NULL;

	spin_lock(&follow_lock);
	list_for_each_entry(follow, &here->counted, list) {
		follow->rounds -= round;
		if (!follow->rounds)
			found = follow;
	}
	if (found)
		list_del_init(&found->list);
	spin_unlock(&follow_lock);
	return found;
}

/* has the softirq to come round once more; whoever waits for the marker is called by that */
static bool follow_waits(struct follow_cpu *here)
{
	bool waits;

	spin_lock(&follow_lock);
	waits = !list_empty(&here->counted) || (!list_empty(&here->wanting) && !here->away);
	spin_unlock(&follow_lock);
	return waits;
}

static int follow_poll(struct napi_struct *napi, int budget)
{
	struct follow_cpu *here = container_of(napi, struct follow_cpu, poll.napi);
	struct ipsec_follow *follow;
	bool round = true;

	rcu_read_lock();
	follow_send_marker(here);
	while ((follow = follow_next(here, round))) {
		follow->arrived(follow);
		round = false;
	}
	rcu_read_unlock();
	if (follow_waits(here))
		return budget;
	napi_complete_done(napi, 0);
	return 0;
}

/**
 * ipsec_follow_init() - somebody who may want to follow
 * @follow: follows nothing yet
 * @arrived: what to call
 */
void ipsec_follow_init(struct ipsec_follow *follow, void (*arrived)(struct ipsec_follow *follow))
{
	INIT_LIST_HEAD(&follow->list);
	follow->arrived = arrived;
}

/**
 * ipsec_follow() - call it when all that a CPU has handed on so far has left its queues
 * @follow: follows nothing else
 * @cpu: the CPU; for one that is offline by now, its work item is not waited for
 * @work: some of that is left to the core's work item, as it was received in transport mode
 *
 * Context: BH off.
 */
void ipsec_follow(struct ipsec_follow *follow, int cpu, bool work)
{
	struct follow_cpu *there = per_cpu_ptr(&follow_cpus, cpu);

	spin_lock(&follow_lock);
	follow->rounds = follow_rounds(cpu);
	list_add_tail(&follow->list, work ? &there->wanting : &there->counted);
	spin_unlock(&follow_lock);
	ipsec_poll_call(&there->poll);
}

/**
 * ipsec_follow_cancel() - it follows no more
 * @follow: may just be called for the last time, by somebody who holds RCU
 *
 * Context: process or softirq.
 */
void ipsec_follow_cancel(struct ipsec_follow *follow)
{
	spin_lock_bh(&follow_lock);
	list_del_init(&follow->list);
	spin_unlock_bh(&follow_lock);
}

static void follow_free_markers(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kfree_skb(per_cpu(follow_cpus, cpu).marker);
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
			msleep(1);
		ipsec_poll_del(&per_cpu(follow_cpus, cpu).poll);
	}
	/* for the polls, and for the core, which has just called us with BH off */
	synchronize_net();
	follow_free_markers();
}
