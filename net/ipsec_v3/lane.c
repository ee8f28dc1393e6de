// SPDX-License-Identifier: GPL-2.0-only
/*
 * One SA over several CPUs, its order kept.
 *
 * Packets are processed on the spot until one CPU brings an SA's packets in crowds, and
 * has no time left while another has. From then on that CPU only appends them to the
 * SA's lane:
 *
 *	first           next            last
 *	  |               |               |
 *	[done] [done] [taken] [taken] [waiting] [waiting]
 *	  '--> delivered                  '--> taken by whoever has a hand free
 *
 * The lane's own work takes and delivers, on the lane's CPU, so that no flow in the
 * SA can overtake itself. While packets pile up, other CPUs are called to take as
 * well, and at last the CPU that brings them.
 *
 * The packets themselves are the list, so a lane needs no memory that could be
 * missing or grow; what it takes in is bounded by LANE_MAX.
 */
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/interrupt.h>
#include <linux/kernel_stat.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/sched/isolation.h>
#include <linux/tick.h>

#include "ipsec.h"
#include "lane.h"

#define LANE_MAX	1024	/* packets of one SA under way */
#define LANE_CALL	64	/* waiting packets for which another CPU is called */
#define LANE_SELF	128	/* waiting packets from which on the bringer helps */
#define LANE_TAKE	8	/* packets taken at once */
#define LANE_ROUNDS	8	/* takes before others have their turn on a CPU */
#define LANE_LINGER	DIV_ROUND_UP(HZ, 10)	/* jiffies without a crowd that close a lane */
#define LANE_LOOK	(10 * USEC_PER_MSEC)	/* from one look at a CPU's time to the next */
#define LANE_STALE	(100 * USEC_PER_MSEC)	/* when the look before says nothing any more */

/**
 * struct lane_hand - a CPU's work for the lanes of others
 * @work: takes from the lanes that want hands
 * @cpu: the CPU
 * @lock: guards what follows
 * @looked: when its idle time was read last
 * @idle: which was this then, microseconds since boot
 * @percent: of its time that the CPU was idle before, negative when that is not known
 */
struct lane_hand {
	struct work_struct	work;
	int			cpu;
	spinlock_t		lock;
	ktime_t			looked;
	u64			idle;
	int			percent;
};

/**
 * struct lane_cb - what a packet carries in a lane, behind what the core keeps
 * @core: the core's
 * @result: of the work, -EINPROGRESS until it is there
 * @kind: enum ipsec_lane_kind
 */
struct lane_cb {
	struct xfrm_skb_cb	core;
	int			result;
	u8			kind;
};

static const struct ipsec_lane_job * const lane_jobs[] = {
	[IPSEC_LANE_RX]		= &ipsec_rx_job,
	[IPSEC_LANE_TX]		= &ipsec_tx_job,
	[IPSEC_LANE_TX_DEVICE]	= &ipsec_tx_device_job,
};

static unsigned int ipsec_spread;
module_param_named(spread, ipsec_spread, uint, 0644);
MODULE_PARM_DESC(spread, "Packets of one SA that one CPU has to bring in one run before the SA is spread over several CPUs (default 0: never)");

static u8 ipsec_spread_idle = 60;
module_param_named(spread_idle, ipsec_spread_idle, byte, 0644);
MODULE_PARM_DESC(spread_idle, "Percent of its time by which another CPU must have been idler than the one that brings an SA's packets before the SA is spread (default 60; 0: however busy they are)");

static struct cpumask lane_cpus;

/* the lock of the module's parameters is held; a list that is refused changes nothing */
static int lane_cpus_set(const char *value, const struct kernel_param *param)
{
	static struct cpumask wanted;
	int err = cpulist_parse(value, &wanted);

	if (!err)
		cpumask_copy(&lane_cpus, &wanted);
	return err;
}

static int lane_cpus_get(char *buffer, const struct kernel_param *param)
{
	return cpumap_print_to_pagebuf(true, buffer, &lane_cpus);
}

static const struct kernel_param_ops lane_cpus_ops = {
	.set	= lane_cpus_set,
	.get	= lane_cpus_get,
};
module_param_cb(spread_cpus, &lane_cpus_ops, NULL, 0644);
MODULE_PARM_DESC(spread_cpus, "List of the CPUs that work for other CPUs' SAs (default: all that are not isolated)");

static struct workqueue_struct *lane_queue;
static DEFINE_PER_CPU(struct lane_hand, lane_hands);
static struct cpumask lane_hands_awake;
static DEFINE_SPINLOCK(lane_wanted_lock);
static LIST_HEAD(lane_wanted);

static struct lane_cb *lane_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct lane_cb) > sizeof(skb->cb));
	return (struct lane_cb *)skb->cb;
}

static struct ipsec_sa *lane_sa(struct ipsec_lane *lane)
{
	return container_of(lane, struct ipsec_sa, lane);
}

/* is there something to deliver; @lane->lock is held */
static bool lane_ready(struct ipsec_lane *lane)
{
	if (!lane->first || lane->gated)
		return false;
	/* pairs with the release by whoever did the work: the packet is then complete */
	return smp_load_acquire(&lane_cb(lane->first)->result) != -EINPROGRESS;
}

static void lane_queue_on(int cpu, struct work_struct *work)
{
	queue_work_on(cpu_online(cpu) ? cpu : WORK_CPU_UNBOUND, lane_queue, work);
}

/* takes some packets and works on them; how many */
static unsigned int lane_work_some(struct ipsec_lane *lane)
{
	struct sk_buff *taken[LANE_TAKE];
	unsigned int n, i;
	int result;

	spin_lock(&lane->lock);
	for (n = 0; n < LANE_TAKE && lane->next; n++) {
		taken[n] = lane->next;
		lane->next = taken[n]->next;
	}
	lane->waiting -= n;
	spin_unlock(&lane->lock);

	for (i = 0; i < n; i++) {
		result = lane_jobs[lane_cb(taken[i])->kind]->work(lane_sa(lane), taken[i]);
		if (result != -EINPROGRESS)
			/* from here on it may be delivered */
			smp_store_release(&lane_cb(taken[i])->result, result);
	}
	return n;
}

/* detaches what can be delivered, oldest first */
static struct sk_buff *lane_detach(struct ipsec_lane *lane)
{
	struct sk_buff *list, *end = NULL;

	spin_lock(&lane->lock);
	list = lane->first;
	while (lane_ready(lane)) {
		end = lane->first;
		lane->first = end->next;
		lane->count--;
	}
	if (!lane->first)
		lane->last = NULL;
	spin_unlock(&lane->lock);
	if (!end)
		return NULL;
	end->next = NULL;
	return list;
}

/* delivers what is ready; was there anything */
static bool lane_deliver(struct ipsec_lane *lane)
{
	struct ipsec_counters __percpu *counters = lane_sa(lane)->counters;
	struct sk_buff *list = lane_detach(lane), *skb, *next;

	skb_list_walk_safe(list, skb, next) {
		struct lane_cb *cb = lane_cb(skb);

		skb_mark_not_on_list(skb);
		lane_jobs[cb->kind]->deliver(lane_sa(lane), skb, cb->result);
		this_cpu_dec(counters->busy);
	}
	return list;
}

/* Has all that was delivered left the queues of this CPU, which delivered it? In process
 * context no softirq of this CPU is half done. @lane->lock is held.
 */
static bool lane_is_drained(struct ipsec_lane *lane)
{
	return !lane->count && !lane->awake &&
	       !(local_softirq_pending() & (BIT(NET_RX_SOFTIRQ) | BIT(TASKLET_SOFTIRQ)));
}

/* In transport mode the core gives each packet that was delivered to a work item of this
 * CPU, and what shall follow that is queued behind it.
 */
static bool lane_core_works_later(struct ipsec_lane *lane)
{
	return lane_sa(lane)->x->props.mode == XFRM_MODE_TRANSPORT;
}

/* The lane is empty. A gate that is queued already is not behind what was delivered
 * last. @lane->lock is held.
 */
static void lane_drain(struct ipsec_lane *lane)
{
	if (lane_core_works_later(lane))
		lane->draining = queue_work_on(smp_processor_id(), system_wq, &lane->gate);
	else
		lane->drained = lane_is_drained(lane);
}

/* Sleeps when there is nothing to do, else lets others have their turn. */
static void lane_rest(struct ipsec_lane *lane)
{
	spin_lock_bh(&lane->lock);
	lane->awake = lane->next || lane_ready(lane);
	if (lane->awake)
		lane_queue_on(lane->cpu, &lane->work);
	else if (!lane->count)
		lane_drain(lane);
	spin_unlock_bh(&lane->lock);
}

static void lane_work(struct work_struct *work)
{
	struct ipsec_lane *lane = container_of(work, struct ipsec_lane, work);
	unsigned int rounds = LANE_ROUNDS;
	bool worked, delivered;

	local_bh_disable();
	rcu_read_lock();
	do {
		worked = lane_work_some(lane);
		delivered = lane_deliver(lane);
	} while ((worked || delivered) && --rounds);
	rcu_read_unlock();
	local_bh_enable();
	lane_rest(lane);
}

/* Work was done by somebody who does not deliver: the lane's own work may have gone
 * to sleep over it.
 */
static void lane_settle(struct ipsec_lane *lane)
{
	bool wake;

	spin_lock_bh(&lane->lock);
	wake = !lane->awake && lane_ready(lane);
	if (wake)
		lane->awake = true;
	spin_unlock_bh(&lane->lock);
	if (wake)
		lane_queue_on(lane->cpu, &lane->work);
}

static void lane_gate_work(struct work_struct *work)
{
	struct ipsec_lane *lane = container_of(work, struct ipsec_lane, gate);

	spin_lock_bh(&lane->lock);
	lane->gated = atomic_read(&lane->passed);
	if (lane->draining)
		lane->drained = lane_is_drained(lane);
	lane->draining = false;
	spin_unlock_bh(&lane->lock);
	lane_settle(lane);
}

/* What was processed on the spot may still be in the crypto API, and in transport mode
 * with the core's work item. It must not be overtaken: the lane's gate is queued behind
 * it.
 */
static void lane_shut_gate(struct ipsec_lane *lane, int here)
{
	if (!lane_core_works_later(lane) && !atomic_read(&lane->passed))
		return;
	spin_lock_bh(&lane->lock);
	lane->gated = true;
	spin_unlock_bh(&lane->lock);
	queue_work_on(here, system_wq, &lane->gate);
}

/* Whoever brings @passed to zero opens the gate: had it been shut later than this
 * looks, then its work would see the zero.
 */
static void lane_pass(struct ipsec_lane *lane, int packets)
{
	if (!atomic_add_return(packets, &lane->passed) && READ_ONCE(lane->gated))
		queue_work(system_wq, &lane->gate);
}

static struct ipsec_lane *lane_wanted_next(void)
{
	struct ipsec_lane *lane;

	spin_lock(&lane_wanted_lock);
	lane = list_first_entry_or_null(&lane_wanted, struct ipsec_lane, wanted);
	if (lane)
		list_move_tail(&lane->wanted, &lane_wanted);
	spin_unlock(&lane_wanted_lock);
	return lane;
}

static void lane_unwant(struct ipsec_lane *lane)
{
	spin_lock_bh(&lane_wanted_lock);
	list_del_init(&lane->wanted);
	spin_unlock_bh(&lane_wanted_lock);
}

static void lane_lend(struct ipsec_lane *lane)
{
	if (lane_work_some(lane))
		lane_settle(lane);
	else
		lane_unwant(lane);
}

/* Sleeps when no lane wants a hand: whoever wants one after the list was looked at
 * finds the hand asleep, and calls.
 */
static bool lane_hand_rests(struct lane_hand *hand)
{
	cpumask_clear_cpu(hand->cpu, &lane_hands_awake);
	/* pairs with the lock in lane_call(), between listing the lane and this mask */
	smp_mb__after_atomic();
	return list_empty(&lane_wanted) ||
	       cpumask_test_and_set_cpu(hand->cpu, &lane_hands_awake);
}

/* A hand serves whatever lane wants one, in turn, until none does. */
static void lane_hand_work(struct work_struct *work)
{
	struct lane_hand *hand = container_of(work, struct lane_hand, work);
	unsigned int rounds = LANE_ROUNDS;
	struct ipsec_lane *lane;

	local_bh_disable();
	rcu_read_lock();
	while ((lane = lane_wanted_next()) && rounds--)
		lane_lend(lane);
	rcu_read_unlock();
	local_bh_enable();
	if (lane || !lane_hand_rests(hand))
		lane_queue_on(hand->cpu, work);
}

/* true when there was a CPU to call */
static bool lane_call(struct ipsec_lane *lane)
{
	int here = smp_processor_id(), cpu;

	lane->lent = true;
	spin_lock_bh(&lane_wanted_lock);
	if (list_empty(&lane->wanted))
		list_add_tail(&lane->wanted, &lane_wanted);
	spin_unlock_bh(&lane_wanted_lock);

	for_each_cpu_wrap(cpu, &lane_cpus, lane->cpu) {
		if (cpu == lane->cpu || cpu == here || !cpu_online(cpu) ||
		    cpumask_test_and_set_cpu(cpu, &lane_hands_awake))
			continue;
		lane_queue_on(cpu, &per_cpu_ptr(&lane_hands, cpu)->work);
		return true;
	}
	return false;
}

/* What tells one crowd from the next: the run of the receiving softirq, or for who
 * sends from process context the jiffy.
 */
static unsigned int lane_run(void)
{
	return in_serving_softirq() ?
	       kstat_softirqs_cpu(NET_RX_SOFTIRQ, raw_smp_processor_id()) :
	       (unsigned int)jiffies;
}

/* Percent of its time that a CPU was idle lately, softirqs and interrupts taken off;
 * negative when nobody has looked before, so that the next look will know.
 */
static int lane_idle(int cpu)
{
	struct lane_hand *hand = per_cpu_ptr(&lane_hands, cpu);
	u64 idle = get_cpu_idle_time_us(cpu, NULL);
	int percent;
	s64 took;

	spin_lock_bh(&hand->lock);
	took = ktime_us_delta(ktime_get(), hand->looked);
	if (took >= LANE_LOOK) {
		hand->percent = took < LANE_STALE ? div64_s64(100 * (idle - hand->idle), took) : -1;
		hand->looked = ktime_add_us(hand->looked, took);
		hand->idle = idle;
	}
	percent = hand->percent;
	spin_unlock_bh(&hand->lock);
	return percent;
}

/* Has a CPU time, when the one that brings was idle for @own percent of its own? */
static bool lane_has_time(int cpu, int own)
{
	int wanted = READ_ONCE(ipsec_spread_idle);

	/* a kernel that keeps its tick does not know */
	if (!wanted || get_cpu_idle_time_us(cpu, NULL) == -1ULL)
		return true;
	return own >= 0 && lane_idle(cpu) - own >= wanted;
}

/* Which CPU shall deliver: never the one that brings. False when there is none. */
static bool lane_place(struct ipsec_lane *lane)
{
	unsigned int start = hash_ptr(lane, 16) % nr_cpu_ids;
	int here = raw_smp_processor_id(), own = lane_idle(here), cpu;

	for_each_cpu_wrap(cpu, &lane_cpus, start) {
		if (cpu == here || !cpu_online(cpu) || !lane_has_time(cpu, own))
			continue;
		WRITE_ONCE(lane->cpu, cpu);
		lane_shut_gate(lane, here);
		return true;
	}
	return false;
}

/* Nothing is under way, and nothing that was delivered can be overtaken. */
static bool lane_drained(struct ipsec_lane *lane)
{
	bool drained;

	spin_lock_bh(&lane->lock);
	drained = lane->drained;
	spin_unlock_bh(&lane->lock);
	return drained;
}

/* A new run begins: shall the lane be open in it? The run before says so if it was a
 * crowd; but one that ended long ago says nothing. To look for a CPU takes time where
 * there are many, so a lane does it once in a jiffy.
 */
static noinline bool lane_judge(struct ipsec_lane *lane, unsigned int spread)
{
	unsigned long now = jiffies, last = READ_ONCE(lane->crowd);
	bool crowd = spread && READ_ONCE(lane->brought) >= spread &&
		     time_before(now, READ_ONCE(lane->came) + LANE_LINGER);

	if (crowd)
		WRITE_ONCE(lane->crowd, now);
	if (!READ_ONCE(lane->open))
		return crowd && now != last && lane_place(lane);
	return crowd || time_before(now, last + LANE_LINGER) || !lane_drained(lane);
}

/**
 * ipsec_lane_open() - does the next packet go through the SA's lane
 * @sa: the SA
 *
 * A lane opens and closes only between two runs of the softirq. What the run before
 * gave to this CPU's queues has been taken from there when the first packet of the
 * next run comes, and is not overtaken by what another CPU delivers.
 *
 * Context: any.
 * Return: true when it goes to ipsec_lane_push(), false when it is processed on the
 * spot.
 */
bool ipsec_lane_open(struct ipsec_sa *sa)
{
	unsigned int spread = READ_ONCE(ipsec_spread), run;
	struct ipsec_lane *lane = &sa->lane;

	if (likely(!spread && !READ_ONCE(lane->open)))
		return false;
	run = lane_run();
	if (run == READ_ONCE(lane->run)) {
		WRITE_ONCE(lane->brought, READ_ONCE(lane->brought) + 1);
	} else {
		/* most runs are neither, and look no further */
		if (unlikely(READ_ONCE(lane->open) || READ_ONCE(lane->brought) >= spread))
			WRITE_ONCE(lane->open, lane_judge(lane, spread));
		WRITE_ONCE(lane->run, run);
		WRITE_ONCE(lane->brought, 1);
		WRITE_ONCE(lane->came, jiffies);
	}
	return READ_ONCE(lane->open);
}

/**
 * ipsec_lane_passed() - a packet was processed on the spot
 * @sa: the SA
 * @result: of that; for -EINPROGRESS, ipsec_lane_resume() follows or has been called
 *
 * Context: any, RCU held since before the processing, as the packet may be gone and
 * the SA with it; does not sleep.
 * Return: @result.
 */
int ipsec_lane_passed(struct ipsec_sa *sa, int result)
{
	if (unlikely(result == -EINPROGRESS))
		lane_pass(&sa->lane, 1);
	return result;
}

/**
 * ipsec_lane_resume() - such a packet was finished later
 * @sa: the SA
 * @skb: the packet; it goes on its way, and the SA may go with it
 * @kind: what was done with it
 * @result: what its job's work would have returned
 *
 * Context: as the job's deliver.
 */
void ipsec_lane_resume(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_lane_kind kind,
		       int result)
{
	rcu_read_lock();
	lane_jobs[kind]->deliver(sa, skb, result);
	lane_pass(&sa->lane, -1);
	rcu_read_unlock();
}

/* false when the lane is full */
static bool lane_append(struct ipsec_lane *lane, struct sk_buff *skb)
{
	if (lane->count == LANE_MAX)
		return false;
	skb->next = NULL;
	if (lane->first)
		lane->last->next = skb;
	else
		lane->first = skb;
	if (!lane->next)
		lane->next = skb;
	lane->last = skb;
	lane->count++;
	lane->waiting++;
	lane->drained = false;
	lane->draining = false;
	return true;
}

/* While packets pile up: another CPU first, the own hands last. */
static void lane_help(struct ipsec_lane *lane, unsigned int waiting)
{
	if (waiting % LANE_CALL == 0 && lane_call(lane))
		return;
	if (waiting >= LANE_SELF)
		lane_lend(lane);
}

static int lane_put(struct ipsec_sa *sa, struct sk_buff *skb)
{
	struct ipsec_lane *lane = &sa->lane;
	unsigned int waiting;
	bool fits, wake;

	spin_lock(&lane->lock);
	fits = lane_append(lane, skb);
	wake = fits && !lane->awake;
	lane->awake |= fits;
	waiting = lane->waiting;
	spin_unlock(&lane->lock);

	if (unlikely(!fits))
		return -ENOBUFS;
	if (wake)
		lane_queue_on(lane->cpu, &lane->work);
	else if (waiting >= LANE_CALL)
		lane_help(lane, waiting);
	return -EINPROGRESS;
}

/**
 * ipsec_lane_push() - put a packet into the SA's lane
 * @sa: the SA; the packet holds the reference
 * @skb: the packet
 * @seq: its sequence number
 * @kind: what is to be done with it
 *
 * A packet in a lane holds up the end of its namespace, as one in the crypto API
 * does.
 *
 * Context: any; does not sleep.
 * Return: -EINPROGRESS (the skb is the lane's), or -errno (counted; it stays the
 * core's).
 */
int ipsec_lane_push(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
		    enum ipsec_lane_kind kind)
{
	struct ipsec_counters __percpu *counters = sa->counters;
	int err;

	lane_cb(skb)->result = -EINPROGRESS;
	lane_cb(skb)->kind = kind;
	local_bh_disable();
	rcu_read_lock();
	this_cpu_inc(counters->busy);
	ipsec_event(sa, lane_jobs[kind]->spread);
	err = lane_put(sa, skb);
	if (unlikely(err != -EINPROGRESS)) {
		this_cpu_dec(counters->busy);
		err = ipsec_drop(sa, seq, lane_jobs[kind]->full);
	}
	rcu_read_unlock();
	local_bh_enable();
	return err;
}

/**
 * ipsec_lane_done() - the work on a packet was finished later
 * @sa: the SA
 * @skb: the packet, in the SA's lane
 * @result: what its job's work would have returned
 *
 * Context: any; does not sleep.
 */
void ipsec_lane_done(struct ipsec_sa *sa, struct sk_buff *skb, int result)
{
	rcu_read_lock();
	/* from here on it may be delivered */
	smp_store_release(&lane_cb(skb)->result, result);
	lane_settle(&sa->lane);
	rcu_read_unlock();
}

/**
 * ipsec_lane_init() - a lane for a new SA, closed
 * @lane: the lane, zeroed
 */
void ipsec_lane_init(struct ipsec_lane *lane)
{
	spin_lock_init(&lane->lock);
	INIT_WORK(&lane->work, lane_work);
	INIT_WORK(&lane->gate, lane_gate_work);
	INIT_LIST_HEAD(&lane->wanted);
}

/**
 * ipsec_lane_fini() - the SA ends
 * @lane: the lane; no packet is in it, as each holds the SA
 *
 * Context: process context, sleeps.
 */
void ipsec_lane_fini(struct ipsec_lane *lane)
{
	cancel_work_sync(&lane->work);
	cancel_work_sync(&lane->gate);
	lane_unwant(lane);
	/* a hand may have found it in the list before another took it out of there */
	if (lane->lent)
		synchronize_rcu();
}

/**
 * ipsec_lane_setup() - the workers, at load
 *
 * Return: 0 or -ENOMEM.
 */
int ipsec_lane_setup(void)
{
	int cpu;

	if (cpumask_empty(&lane_cpus))
		cpumask_copy(&lane_cpus, housekeeping_cpumask(HK_TYPE_DOMAIN));
	for_each_possible_cpu(cpu) {
		struct lane_hand *hand = per_cpu_ptr(&lane_hands, cpu);

		INIT_WORK(&hand->work, lane_hand_work);
		hand->cpu = cpu;
		spin_lock_init(&hand->lock);
		hand->percent = -1;
	}
	/* memory may be freed by what is sent over IPsec */
	lane_queue = alloc_workqueue("ipsec_v3", WQ_CPU_INTENSIVE | WQ_MEM_RECLAIM, 0);
	return lane_queue ? 0 : -ENOMEM;
}

/**
 * ipsec_lane_teardown() - end the workers
 *
 * Context: process context, sleeps; no SA is left.
 */
void ipsec_lane_teardown(void)
{
	destroy_workqueue(lane_queue);
}
