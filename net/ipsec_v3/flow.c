// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flows inside a tunnel, spread over several CPUs, the order of each kept.
 *
 * What the core does with a packet that has left its SA, route it and forward or receive it,
 * takes longer than all that came before. The core does it on the CPU that delivered the
 * packet, so one CPU would do it for all that a lane delivers. Here the last callback
 * before that catches the packet, and hands it to the CPU of its flow, whose NAPI gives
 * it to the stack, through GRO, as the core's own would have. As there, no more than
 * net.core.netdev_max_backlog packets wait for it, nor more than 32767.
 *
 * A caught packet counts as passed in its SA's lane until it has left that NAPI, so that the
 * lane's gate stays shut for it when another CPU begins to deliver.
 *
 * A flow is what skb_get_hash() takes for one, as for RPS: fragments are a flow of their own.
 * It goes to a CPU with less to do when none of its packets, nor of those with which it shares
 * a bucket, wait on the one that it has.
 */
#include <linux/netdevice.h>
#include <linux/percpu.h>
#include <net/dst_metadata.h>
#include <net/gro.h>
#include <net/hotdata.h>

#include "cpus.h"
#include "flow.h"
#include "ipsec.h"
#include "poll.h"

#define FLOW_MORE	256	/* packets by which a CPU has too much to do, beside another */
#define FLOW_LANE	(IPSEC_LANE_MAX / 2)	/* packets in a lane that are no reason */
#define FLOW_OFFLINE	S32_MAX	/* what a CPU has to do that does nothing */

/**
 * struct flow_cpu - the flows of one CPU
 * @came: packets that other CPUs have handed over; its lock guards it
 * @next: packets that came before those, of @poll alone
 * @poll: gives them to the stack
 */
struct flow_cpu {
	struct sk_buff_head	came;
	struct sk_buff_head	next;
	struct ipsec_poll	poll;
};

/**
 * struct flow_cb - what a caught packet carries, behind what the core keeps
 * @core: the core's
 * @dev: to which the packet belongs, held
 */
struct flow_cb {
	struct xfrm_skb_cb	core;
	struct net_device	*dev;
};

/**
 * struct flow_catch - what a CPU catches at this moment
 * @sa: packets of this SA, or NULL
 * @skbs: caught so far
 */
struct flow_catch {
	struct ipsec_sa		*sa;
	struct sk_buff_head	skbs;
};

static DEFINE_PER_CPU(struct flow_cpu, flow_cpus);
static DEFINE_PER_CPU(struct flow_catch, flow_catches);

static struct flow_cb *flow_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct flow_cb) > sizeof(skb->cb));
	return (struct flow_cb *)skb->cb;
}

/* Can the packet take our way? It has left the tunnel of the SA that is delivered; the core
 * takes another way with one that others read as well.
 */
static bool flow_is_wanted(const struct ipsec_sa *sa, struct sk_buff *skb)
{
	const struct xfrm_state *x = xfrm_input_state(skb);

	return x == sa->x &&
	       x->outer_mode.flags & XFRM_MODE_FLAG_TUNNEL && !skb_cloned(skb);
}

/* what the core would do next */
static void flow_leave_sa(struct sk_buff *skb)
{
	nf_reset_ct(skb);
	skb_sec_path(skb)->olen = 0;
	if (skb_valid_dst(skb))
		skb_dst_drop(skb);
	/* GRO, or the stack, finds its own */
	skb->transport_header = (typeof(skb->transport_header))~0U;
}

/**
 * ipsec_flow_catch() - cb_handler of ESP and AH
 * @skb: the packet that was accepted, or dropped
 * @err: not 0 when it was dropped
 *
 * Comes after those of tunnel devices, which have then not taken the packet. The core gives up
 * its reference to a packet with which anything is wrong, without counting it; what
 * is caught has one more.
 *
 * Context: BH off, RCU held.
 * Return: 0 (the core goes on), or -EINPROGRESS (caught).
 */
int ipsec_flow_catch(struct sk_buff *skb, int err)
{
	struct flow_catch *catch = this_cpu_ptr(&flow_catches);
	struct ipsec_sa *sa = catch->sa;

	if (likely(!sa) || err || !flow_is_wanted(sa, skb))
		return 0;
	flow_leave_sa(skb);
	dev_hold(skb->dev);
	flow_cb(skb)->dev = skb->dev;
	this_cpu_inc(sa->counters->busy);
	__skb_queue_tail(&catch->skbs, skb_get(skb));
	return -EINPROGRESS;
}

/**
 * ipsec_flow_take() - these CPUs are given the flows in an SA from now on
 * @flows: the SA's
 * @cpus: IPSEC_FLOW_CPUS at most
 * @count: of them, not 0
 *
 * Context: nothing is delivered until all that was has left its CPU.
 */
void ipsec_flow_take(struct ipsec_flows *flows, const u16 *cpus, unsigned int count)
{
	unsigned int i;

	flows->count = count;
	memcpy(flows->cpu, cpus, count * sizeof(*cpus));
	for (i = 0; i < IPSEC_FLOW_BUCKETS; i++)
		flows->which[i] = i % count;
}

/**
 * ipsec_flow_begin() - packets of an SA are delivered from here on
 * @sa: the SA
 *
 * Context: BH off until ipsec_flow_end(); no other SA's meanwhile.
 */
void ipsec_flow_begin(struct ipsec_sa *sa)
{
	this_cpu_write(flow_catches.sa, sa);
}

/* Packets are no longer on their way. RCU is held since before they left, as the SA may have
 * gone with them.
 */
static void flow_forget(struct ipsec_sa *sa, struct net_device *dev, unsigned int packets)
{
	unsigned int n;

	for (n = 0; n < packets; n++)
		dev_put(dev);
	ipsec_lane_pass(&sa->lane, -(int)packets);
	this_cpu_sub(sa->counters->busy, packets);
}

/* Where the sequence number was, the core has put what it knows of the inner header. */
static void flow_drop(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_count reason)
{
	ipsec_drop(sa, 0, reason);
	dev_core_stats_rx_dropped_inc(skb->dev);
	kfree_skb(skb);
}

static unsigned int flow_bucket(struct sk_buff *skb)
{
	return reciprocal_scale(skb_get_hash(skb), IPSEC_FLOW_BUCKETS);
}

static unsigned int flow_waiting(const struct flow_cpu *flow)
{
	return skb_queue_len_lockless(&flow->came) + skb_queue_len_lockless(&flow->next);
}

/* What a CPU has to do: if it delivers, what fills up the lane as well. */
static unsigned int flow_load(const struct ipsec_lane *lane, int cpu)
{
	unsigned int load = flow_waiting(per_cpu_ptr(&flow_cpus, cpu));

	if (!ipsec_cpu_stays(cpu))
		return FLOW_OFFLINE;
	if (cpu == smp_processor_id())
		load += max(READ_ONCE(lane->count), FLOW_LANE) - FLOW_LANE;
	return load;
}

/* how many packets wait for a CPU at most: as in the core's backlog, and what the counts of a
 * bucket can hold
 */
static int flow_most(void)
{
	return min(ipsec_max_backlog(), S16_MAX);
}

/**
 * ipsec_flow_has_room() - can all be handed over without loss
 * @flows: the SA's, given to CPUs by ipsec_flow_take()
 * @packets: how many, of whatever flows
 *
 * Context: any; the answer may be old at once.
 * Return: true when each of the CPUs has room for them, or nothing to do.
 */
bool ipsec_flow_has_room(const struct ipsec_flows *flows, unsigned int packets)
{
	unsigned int i;

	for (i = 0; i < flows->count; i++) {
		int waiting = flow_waiting(per_cpu_ptr(&flow_cpus, flows->cpu[i]));

		if (waiting && waiting + (int)packets > flow_most())
			return false;
	}
	return true;
}

static unsigned int flow_least(const unsigned int *load, unsigned int count)
{
	unsigned int least = 0, i;

	for (i = 1; i < count; i++)
		if (load[i] < load[least])
			least = i;
	return least;
}

/* Has all of a bucket left our queues, and the core's of the same CPU? The core's RFS asks the
 * latter, too, before it takes a flow elsewhere.
 */
static bool flow_has_left(const struct ipsec_flows *flows, unsigned int bucket)
{
	/* pairs with the release in flow_forget_run() */
	return smp_load_acquire(&flows->left[bucket]) == flows->handed[bucket] &&
	       ipsec_poll_core_rests(flows->cpu[flows->which[bucket]]);
}

/* Gives one bucket of those in a batch to a CPU that has less to do; what that changes shows
 * before the next batch.
 */
static void flow_move(struct ipsec_lane *lane, struct sk_buff_head *skbs)
{
	struct ipsec_flows *flows = &lane->flows;
	unsigned int load[IPSEC_FLOW_CPUS], least, bucket, i;
	struct sk_buff *skb;

	for (i = 0; i < flows->count; i++)
		load[i] = flow_load(lane, flows->cpu[i]);
	least = flow_least(load, flows->count);
	skb_queue_walk(skbs, skb) {
		bucket = flow_bucket(skb);
		if (load[flows->which[bucket]] > load[least] + FLOW_MORE &&
		    flow_has_left(flows, bucket)) {
			flows->which[bucket] = least;
			break;
		}
	}
}

/* takes those of a batch that go to one CPU, in their order */
static void flow_pick(const struct ipsec_flows *flows, unsigned int which,
		      struct sk_buff_head *from, struct sk_buff_head *to)
{
	struct sk_buff *skb, *next;

	skb_queue_walk_safe(from, skb, next) {
		if (flows->which[flow_bucket(skb)] != which)
			continue;
		__skb_unlink(skb, from);
		__skb_queue_tail(to, skb);
	}
}

/* What is too much is dropped, as the core would. */
static void flow_hand(struct ipsec_sa *sa, struct flow_cpu *to, struct sk_buff_head *skbs)
{
	int room = flow_most() - (int)flow_waiting(to);
	struct sk_buff *skb;

	while ((int)skb_queue_len(skbs) > room && (skb = __skb_dequeue_tail(skbs))) {
		struct net_device *dev = skb->dev;

		sa->lane.flows.handed[flow_bucket(skb)]--;
		flow_drop(sa, skb, IPSEC_DROP_RX_FLOW);
		flow_forget(sa, dev, 1);
	}
	spin_lock(&to->came.lock);
	skb_queue_splice_tail_init(skbs, &to->came);
	spin_unlock(&to->came.lock);
	ipsec_poll_call(&to->poll);
}

/* The core told the callbacks that it drops the packets, and one of a tunnel device that came
 * up just then has claimed them.
 */
static void flow_own(struct sk_buff_head *skbs)
{
	struct sk_buff *skb;

	skb_queue_walk(skbs, skb)
		skb->dev = flow_cb(skb)->dev;
}

/**
 * ipsec_flow_end() - a batch of an SA's packets is delivered
 * @sa: the SA
 *
 * Context: that of ipsec_flow_begin(), RCU held.
 */
void ipsec_flow_end(struct ipsec_sa *sa)
{
	struct flow_catch *catch = this_cpu_ptr(&flow_catches);
	struct ipsec_flows *flows = &sa->lane.flows;
	struct sk_buff_head some;
	struct sk_buff *skb;
	unsigned int i;

	catch->sa = NULL;
	if (skb_queue_empty(&catch->skbs))
		return;
	flow_own(&catch->skbs);
	ipsec_lane_pass(&sa->lane, skb_queue_len(&catch->skbs));
	flow_move(&sa->lane, &catch->skbs);
	skb_queue_walk(&catch->skbs, skb)
		flows->handed[flow_bucket(skb)]++;
	__skb_queue_head_init(&some);
	for (i = 0; i < flows->count; i++) {
		flow_pick(flows, i, &catch->skbs, &some);
		if (!skb_queue_empty(&some))
			flow_hand(sa, per_cpu_ptr(&flow_cpus, flows->cpu[i]), &some);
	}
}

static struct ipsec_sa *flow_sa(struct sk_buff *skb)
{
	return ipsec_sa(xfrm_input_state(skb));
}

/* the oldest packet, which stays in @flow->next */
static struct sk_buff *flow_peek(struct flow_cpu *flow)
{
	if (skb_queue_empty(&flow->next)) {
		spin_lock(&flow->came.lock);
		skb_queue_splice_tail_init(&flow->came, &flow->next);
		spin_unlock(&flow->came.lock);
	}
	return skb_peek(&flow->next);
}

/* packets of one SA and one device that have left, @left of each bucket */
struct flow_run {
	struct ipsec_sa		*sa;
	struct net_device	*dev;
	unsigned int		count;
	u8			left[IPSEC_FLOW_BUCKETS];
};

/* does the packet go on with the run, or begin it */
static bool flow_runs(struct flow_run *run, struct sk_buff *skb)
{
	if (!run->count) {
		run->sa = flow_sa(skb);
		run->dev = skb->dev;
	}
	return skb->dev == run->dev && flow_sa(skb) == run->sa;
}

/* Its device may have gone down meanwhile, or to another namespace. */
static void flow_receive(struct napi_struct *napi, struct flow_run *run, struct sk_buff *skb)
{
	run->count++;
	run->left[flow_bucket(skb)]++;
	if (likely(run->dev->flags & IFF_UP && net_eq(dev_net(run->dev), xs_net(run->sa->x))))
		napi_gro_receive(napi, skb);
	else
		flow_drop(run->sa, skb, IPSEC_DROP_RX_DEVICE);
}

/* They have left GRO as well. For a CPU that is offline, this may be done by two at once. */
static void flow_forget_run(struct flow_cpu *flow, const struct flow_run *run)
{
	u16 *left = run->sa->lane.flows.left;
	unsigned int i;

	spin_lock(&flow->came.lock);
	for (i = 0; i < IPSEC_FLOW_BUCKETS; i++)
		if (run->left[i])
			/* from here on the bucket may go to another CPU */
			smp_store_release(&left[i], left[i] + run->left[i]);
	spin_unlock(&flow->came.lock);
	flow_forget(run->sa, run->dev, run->count);
}

/* Completes each time, for that empties GRO: only then has a packet left. */
static int flow_poll(struct napi_struct *napi, int budget)
{
	struct flow_cpu *flow = container_of(napi, struct flow_cpu, poll.napi);
	struct flow_run run = {};
	struct sk_buff *skb;

	rcu_read_lock();
	while ((skb = flow_peek(flow)) && run.count < budget - 1 && flow_runs(&run, skb)) {
		__skb_unlink(skb, &flow->next);
		flow_receive(napi, &run, skb);
	}
	napi_complete_done(napi, run.count);
	if (run.count)
		flow_forget_run(flow, &run);
	if (skb)
		napi_schedule(napi);
	rcu_read_unlock();
	return run.count;
}

static void flow_cpu_init(struct flow_cpu *flow, int cpu)
{
	skb_queue_head_init(&flow->came);
	__skb_queue_head_init(&flow->next);
	ipsec_poll_add(&flow->poll, cpu, flow_poll);
}

/**
 * ipsec_flow_setup() - at load
 *
 * Return: 0, always.
 */
int ipsec_flow_setup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		__skb_queue_head_init(&per_cpu_ptr(&flow_catches, cpu)->skbs);
		flow_cpu_init(per_cpu_ptr(&flow_cpus, cpu), cpu);
	}
	return 0;
}

/**
 * ipsec_flow_teardown() - at unload
 *
 * Context: process context, sleeps; no SA is left.
 */
void ipsec_flow_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		ipsec_poll_del(&per_cpu_ptr(&flow_cpus, cpu)->poll);
	synchronize_net();
}
