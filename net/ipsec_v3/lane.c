// SPDX-License-Identifier: GPL-2.0-only
/*
 * One SA over several CPUs, its order kept.
 *
 * Packets are processed on the spot until it is a gain not to (pace.c). From then on the
 * CPU that brings them only appends them to the SA's lane:
 *
 *	first           next            last
 *	  |               |               |
 *	[done] [done] [taken] [taken] [waiting] [waiting]
 *	  '--> delivered                  '--> taken by whoever has a hand free
 *
 * Every CPU has a hand. The hand of the lane's CPU delivers, so that no flow in the SA can
 * overtake itself, and works on what waits unless there is much to deliver. While packets
 * pile up, hands of other CPUs are called to work as well, and at last the CPU that
 * brings.
 *
 * What has left a tunnel is several flows: each is handed to a CPU of its own (flow.c).
 *
 * When it is no gain any more, the lane's CPU leaves the lane to the one that brings,
 * and that delivers what is left, and continues on the spot. Only a hand delivers, from
 * its work item or from the softirq, where nothing else is under way. Whenever another CPU
 * begins to deliver, a gate is shut until all that was delivered before has left
 * our queues and those of the core.
 *
 * The packets themselves are the list, so a lane needs no memory that could be
 * missing or grow; what it takes in is bounded by IPSEC_LANE_MAX.
 */
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>
#include <linux/list.h>

#include "cpus.h"
#include "ipsec.h"
#include "lane.h"
#include "poll.h"

#define LANE_CALL	64	/* waiting packets for which another CPU is called */
#define LANE_SELF	128	/* waiting packets from which on the bringer helps */
#define LANE_BEHIND	128	/* taken packets, from which on whoever delivers does no more */
#define LANE_TAKE	8	/* packets taken at once */
#define LANE_BATCH	16	/* packets delivered at once */
#define LANE_ROUNDS	8	/* takes before others have their turn on a CPU */
#define LANE_CPUS	(1 + IPSEC_FLOW_CPUS)
#define LANE_LATER	(25 * NSEC_PER_USEC)	/* doubled each time that the oldest is refused */
#define LANE_DOUBLED	7	/* times at most */

/* what a lane's gate is shut for, one after the other */
enum lane_gate {
	LANE_GATE_OPEN,
	LANE_GATE_PASSED,	/* packets from before are past the lane, and still ours */
	LANE_GATE_BEHIND,	/* they are in queues of the core */
};

/**
 * struct lane_hand - what a CPU does for lanes
 * @work: works and delivers for its own lanes, and works for those that want more hands
 * @lock: guards @lanes, @home and @refused
 * @lanes: its own that are awake, in turn
 * @home: those of them that are served in the softirq
 * @refused: its own that have nothing to do but deliver, which was refused
 * @later: when these have their turn
 * @poll: serves lanes at home
 */
struct lane_hand {
	struct work_struct	work;
	spinlock_t		lock;
	struct list_head	lanes;
	struct list_head	home;
	struct list_head	refused;
	struct hrtimer		later;
	struct ipsec_poll	poll;
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
	queue_work_on(ipsec_cpu_stays(cpu) ? cpu : WORK_CPU_UNBOUND, lane_queue, work);
}

/* In transport mode the core gives each packet that it receives to a work item of the CPU that
 * delivered it.
 */
static bool lane_core_works_later(struct ipsec_lane *lane)
{
	return READ_ONCE(lane->kind) == IPSEC_LANE_RX &&
	       lane_sa(lane)->x->props.mode == XFRM_MODE_TRANSPORT;
}

/* A lane at home is served in the softirq that brings its packets: where that takes all of the
 * CPU's time, nothing else would get any. Nor would what the core does later, which has no more
 * room than netdev_max_backlog, and drops without a word.
 */
static bool lane_in_softirq(struct ipsec_lane *lane)
{
	return READ_ONCE(lane->at_home) && !lane_core_works_later(lane);
}

static struct list_head *lane_list_of(struct lane_hand *hand, struct ipsec_lane *lane)
{
	return lane_in_softirq(lane) ? &hand->home : &hand->lanes;
}

/* those that it has listed have their turn */
static void lane_call_hand(struct lane_hand *hand)
{
	if (!list_empty(&hand->lanes))
		lane_queue_on(hand->poll.cpu, &hand->work);
	if (list_empty(&hand->home))
		return;
	local_bh_disable();
	ipsec_poll_call(&hand->poll);
	local_bh_enable();
}

/* Puts the lane into a list of that hand, if its CPU is still the one that delivers. Who leaves
 * the lane to another CPU says so first, and then looks into this list: one of the two sees the
 * other.
 */
static bool lane_list(struct ipsec_lane *lane, struct lane_hand *hand, bool later)
{
	ktime_t after = ns_to_ktime(LANE_LATER << READ_ONCE(lane->refused));
	bool delivers;

	spin_lock_bh(&hand->lock);
	delivers = hand->poll.cpu == READ_ONCE(lane->cpu);
	if (delivers) {
		WRITE_ONCE(lane->hand, hand);
		list_add_tail(&lane->served, later ? &hand->refused : lane_list_of(hand, lane));
	}
	if (delivers && later && (!hrtimer_is_queued(&hand->later) ||
				  ktime_before(after, hrtimer_get_remaining(&hand->later))))
		hrtimer_start(&hand->later, after, HRTIMER_MODE_REL_SOFT);
	spin_unlock_bh(&hand->lock);
	return delivers;
}

static void lane_unlist_from(struct ipsec_lane *lane)
{
	WRITE_ONCE(lane->hand, NULL);
	list_del_init(&lane->served);
}

/* takes the lane from the hand in whose list it is, or gets into that of @cpu just now; was it in
 * one
 */
static bool lane_unlist(struct ipsec_lane *lane, int cpu)
{
	struct lane_hand *hand = READ_ONCE(lane->hand) ?: per_cpu_ptr(&lane_hands, cpu);
	bool listed;

	spin_lock_bh(&hand->lock);
	listed = lane->hand == hand;
	if (listed)
		lane_unlist_from(lane);
	spin_unlock_bh(&hand->lock);
	return listed;
}

/* Tells the hand of the CPU that delivers; @later: it looks after a while, as the oldest packet
 * was refused. The caller has set @lane->awake, and holds RCU.
 */
static void lane_wake(struct ipsec_lane *lane, bool later)
{
	struct lane_hand *hand;

	do {
		hand = per_cpu_ptr(&lane_hands, READ_ONCE(lane->cpu));
	} while (!lane_list(lane, hand, later));
	if (!later)
		lane_call_hand(hand);
}

static enum hrtimer_restart lane_later(struct hrtimer *timer)
{
	struct lane_hand *hand = container_of(timer, struct lane_hand, later);
	struct ipsec_lane *lane, *next;

	spin_lock(&hand->lock);
	list_for_each_entry_safe(lane, next, &hand->refused, served)
		list_move_tail(&lane->served, lane_list_of(hand, lane));
	spin_unlock(&hand->lock);
	lane_call_hand(hand);
	return HRTIMER_NORESTART;
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

/* What waited while the gate was shut is more than there is room for where the flows go, so it is
 * delivered no faster than it leaves there, until the lane has caught up. One that never does is
 * only held back for as much as it can hold: a flow that is too much for its CPU shall not cost the
 * others.
 */
static bool lane_holds_back(struct ipsec_lane *lane)
{
	if (likely(!lane->held) || lane->at_home || ipsec_flow_has_room(&lane->flows, LANE_BATCH))
		return false;
	lane->refused = min(lane->refused + 1, LANE_DOUBLED);
	return true;
}

/* detaches what the hand of @cpu may deliver now, oldest first; nobody else does meanwhile. Says
 * whether flows may be spread. The hand of a CPU that goes is called elsewhere.
 */
static struct sk_buff *lane_detach(struct ipsec_lane *lane, int cpu, bool *spread)
{
	struct sk_buff *list, *end = NULL;
	unsigned int n;

	if (lane->delivering || lane->cpu != cpu || cpu != smp_processor_id() ||
	    !ipsec_cpu_stays(cpu) || lane_holds_back(lane))
		return NULL;
	list = lane->first;
	for (n = 0; n < LANE_BATCH && lane_ready(lane); n++) {
		end = lane->first;
		lane->first = end->next;
	}
	if (!lane->first) {
		lane->last = NULL;
		lane->held = 0;
	}
	if (!end)
		return NULL;
	end->next = NULL;
	lane->delivering = true;
	*spread = !lane->at_home;
	return list;
}

/* puts back what was detached; @lane->lock is held */
static void lane_attach(struct ipsec_lane *lane, struct sk_buff *list)
{
	struct sk_buff *end = list;

	while (end->next)
		end = end->next;
	end->next = lane->first;
	if (!lane->first)
		lane->last = end;
	lane->first = list;
}

/* delivers a list up to the first packet that is not taken, which is the list then; how many */
static unsigned int lane_deliver_list(struct ipsec_lane *lane, struct sk_buff **list)
{
	struct ipsec_counters __percpu *counters = lane_sa(lane)->counters;
	struct sk_buff *skb, *next;
	unsigned int n = 0;

	for (skb = *list; skb; skb = next, n++) {
		struct lane_cb *cb = lane_cb(skb);
		int result = cb->result;
		u8 kind = cb->kind;

		next = skb->next;
		skb_mark_not_on_list(skb);
		if (!lane_jobs[kind]->deliver(lane_sa(lane), skb, result)) {
			skb->next = next;
			/* a driver that did not take it may have used it */
			cb->result = result;
			cb->kind = kind;
			break;
		}
		this_cpu_dec(counters->busy);
	}
	*list = skb;
	return n;
}

/* delivers what is ready; was anything taken */
static bool lane_deliver(struct ipsec_lane *lane, int cpu)
{
	struct sk_buff *list;
	unsigned int n;
	bool spread;

	spin_lock(&lane->lock);
	list = lane_detach(lane, cpu, &spread);
	spin_unlock(&lane->lock);
	if (!list)
		return false;
	if (spread)
		ipsec_flow_begin(lane_sa(lane));
	n = lane_deliver_list(lane, &list);
	if (spread)
		ipsec_flow_end(lane_sa(lane));
	spin_lock(&lane->lock);
	lane->count -= n;
	lane->held -= min(lane->held, n);
	lane->delivered += n;
	lane->refused = !list ? 0 : n ? 1 : min(lane->refused + 1, LANE_DOUBLED);
	if (list)
		lane_attach(lane, list);
	lane->delivering = false;
	spin_unlock(&lane->lock);
	return n;
}

/* Work was done by somebody who does not deliver: the lane's hand may have gone to
 * sleep over it.
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
		lane_wake(lane, false);
}

/* Do packets go to the CPUs of their flows, as they have left a tunnel? Not those at home. */
static bool lane_has_flows(struct ipsec_lane *lane)
{
	return READ_ONCE(lane->kind) == IPSEC_LANE_RX && !lane_core_works_later(lane);
}

/* Follows one CPU after another that has handed packets on: the one that delivered, then those of
 * the flows but for the one that delivers now; false when there is none any more. BH is off.
 */
static bool lane_follow(struct ipsec_lane *lane)
{
	const struct ipsec_flows *flows = &lane->flows;
	u8 how = IPSEC_FOLLOW_CELLS;

	if (READ_ONCE(lane->ends))
		return false;
	if (lane_core_works_later(lane))
		how |= IPSEC_FOLLOW_WORK;
	if (!lane->followed++) {
		ipsec_follow(&lane->follow, lane->before, how);
		return true;
	}
	while (lane->at_home && lane_has_flows(lane) && lane->followed <= flows->count) {
		int cpu = flows->cpu[lane->followed++ - 1];

		if (cpu != lane->cpu && !ipsec_poll_core_rests(cpu)) {
			ipsec_follow(&lane->follow, cpu, 0);
			return true;
		}
	}
	return false;
}

/* Packets of before are on their way from that CPU; @lane->lock is held. */
static void lane_shut_gate(struct ipsec_lane *lane, int before)
{
	WRITE_ONCE(lane->gated, LANE_GATE_PASSED);
	lane->before = before;
	lane->followed = 0;
}

/* Nothing of before is in a queue any more; but if @passed was one too few when it was looked at,
 * all of it is waited for once more.
 */
static void lane_open_gate(struct ipsec_lane *lane)
{
	spin_lock_bh(&lane->lock);
	if (unlikely(atomic_read(&lane->passed))) {
		lane_shut_gate(lane, lane->before);
	} else {
		/* a trial begins when packets go */
		ipsec_pace_restart(&lane->pace, lane->delivered);
		WRITE_ONCE(lane->gated, LANE_GATE_OPEN);
		lane->held = lane->count && lane_has_flows(lane) ? IPSEC_LANE_MAX : 0;
	}
	spin_unlock_bh(&lane->lock);
	lane_settle(lane);
}

/* It has left the queues of one CPU. */
static void lane_arrived(struct ipsec_follower *follow)
{
	struct ipsec_lane *lane = container_of(follow, struct ipsec_lane, follow);

	if (!lane_follow(lane))
		lane_open_gate(lane);
}

/* Are all packets that were past the lane no longer ours, so that the next queues can be followed?
 * The gate may have been shut again since this was called for. BH is off.
 */
static void lane_look_behind(struct ipsec_lane *lane)
{
	bool follow;

	spin_lock(&lane->lock);
	follow = lane->gated == LANE_GATE_PASSED && !atomic_read(&lane->passed);
	if (follow)
		WRITE_ONCE(lane->gated, LANE_GATE_BEHIND);
	spin_unlock(&lane->lock);
	if (follow)
		lane_follow(lane);
}

/**
 * ipsec_lane_pass() - count packets that are past the lane, and must not be overtaken
 * @lane: the lane
 * @packets: that are on their way from now on, or negative, that were
 *
 * Whoever brings them to zero looks at the gate, without leave of a thread that the CPU may have
 * no time for: had it been shut later than this looks, then whoever shut it would see the zero.
 *
 * Context: any, RCU held.
 */
void ipsec_lane_pass(struct ipsec_lane *lane, int packets)
{
	if (atomic_add_return(packets, &lane->passed) || !READ_ONCE(lane->gated))
		return;
	local_bh_disable();
	lane_look_behind(lane);
	local_bh_enable();
}

/* A CPU delivers no more: the gate is shut. BH is off. */
static void lane_delivers_elsewhere(struct ipsec_lane *lane)
{
	/* whoever brings @passed to zero after this has looked sees the gate shut */
	smp_mb();
	lane_look_behind(lane);
}

/* The CPU that shall deliver next: the one that brings, if that does not go as well */
static int lane_next_cpu(const struct ipsec_lane *lane)
{
	int cpu = lane->home;

	if (likely(ipsec_cpu_stays(cpu)))
		return cpu;
	cpu = cpumask_first_and(&ipsec_cpus, &ipsec_spread_cpus);
	return cpu < nr_cpu_ids ? cpu : cpumask_first(&ipsec_cpus);
}

/* leaves the lane to the CPU that brings, if that was wanted, or @cpu goes; @lane->lock is held */
static bool lane_hand_over(struct ipsec_lane *lane, int cpu)
{
	bool leaves = lane->leaving || (lane->open && !ipsec_cpu_stays(cpu));

	if (!leaves || lane->gated || lane->delivering || lane->cpu != cpu)
		return false;
	lane_shut_gate(lane, cpu);
	WRITE_ONCE(lane->cpu, lane_next_cpu(lane));
	WRITE_ONCE(lane->at_home, true);
	lane->leaving = false;
	return true;
}

/* Sleeps when there is nothing to do, else lets others have their turn. A hand that was called on
 * another CPU than its own may not deliver, and is called anew from elsewhere: its work item stays
 * where it runs, whoever queues it meanwhile.
 */
static void lane_rest(struct ipsec_lane *lane, int cpu)
{
	bool away = cpu != smp_processor_id(), awake, later, left;

	spin_lock(&lane->lock);
	left = lane_hand_over(lane, cpu);
	awake = lane->next || lane_ready(lane);
	later = awake && !left && (away || (!lane->next && lane->refused));
	lane->awake = awake;
	spin_unlock(&lane->lock);
	if (left)
		lane_delivers_elsewhere(lane);
	if (awake)
		lane_wake(lane, later);
}

/* Is there so much to deliver, which nobody else may, that work is better left to others? Then the
 * CPU that brings has to do some at last, and brings less.
 */
static bool lane_is_behind(struct ipsec_lane *lane)
{
	unsigned int waiting = READ_ONCE(lane->waiting);

	return (int)(READ_ONCE(lane->count) - waiting) >= LANE_BEHIND;
}

/* works on some, and delivers; was there anything to do */
static bool lane_turn(struct ipsec_lane *lane, int cpu)
{
	bool worked;

	/* nothing is delivered while the gate is shut, or the oldest is refused */
	if (lane_is_behind(lane))
		return lane_deliver(lane, cpu) || lane_work_some(lane);
	worked = lane_work_some(lane);
	return lane_deliver(lane, cpu) || worked;
}

/* The softirq brings as many packets to a lane at home as it delivers in LANE_ROUNDS, in turn with
 * them, so that there it would never be empty.
 */
static void lane_serve(struct ipsec_lane *lane, int cpu)
{
	unsigned int rounds = LANE_ROUNDS << READ_ONCE(lane->at_home);

	while (lane_turn(lane, cpu) && --rounds)
		;
	lane_rest(lane, cpu);
}

static struct ipsec_lane *lane_served_next(struct lane_hand *hand, struct list_head *lanes)
{
	struct ipsec_lane *lane;

	spin_lock(&hand->lock);
	lane = list_first_entry_or_null(lanes, struct ipsec_lane, served);
	if (lane)
		lane_unlist_from(lane);
	spin_unlock(&hand->lock);
	return lane;
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

/* for whatever lane wants a hand, in turn; does one still */
static bool lane_lend_some(void)
{
	unsigned int rounds = LANE_ROUNDS;
	struct ipsec_lane *lane = NULL;

	/* in this order, or the one taken last would lose its turn */
	while (rounds-- && (lane = lane_wanted_next()))
		lane_lend(lane);
	return lane;
}

/* Does this CPU work for others at all? A hand that was called elsewhere soon ends there. */
static bool lane_lends(const struct lane_hand *hand)
{
	return hand->poll.cpu == raw_smp_processor_id() &&
	       cpumask_test_cpu(hand->poll.cpu, &ipsec_spread_cpus);
}

/* Sleeps when no lane wants a hand: whoever wants one after the list was looked at
 * finds the hand asleep, and calls.
 */
static bool lane_hand_rests(struct lane_hand *hand)
{
	cpumask_clear_cpu(hand->poll.cpu, &lane_hands_awake);
	/* pairs with the test-and-set in lane_call(), which orders listing the lane before
	 * looking at this mask; its unlock alone would not
	 */
	smp_mb__after_atomic();
	return list_empty(&lane_wanted) || !lane_lends(hand) ||
	       cpumask_test_and_set_cpu(hand->poll.cpu, &lane_hands_awake);
}

/* serves one lane of this list of its own; was there one */
static bool lane_serve_next(struct lane_hand *hand, struct list_head *lanes)
{
	struct ipsec_lane *lane = lane_served_next(hand, lanes);

	if (lane)
		lane_serve(lane, hand->poll.cpu);
	return lane;
}

/* As long as it says that there is more, the softirq polls it in turn with all that has
 * packets on this CPU.
 */
static int lane_poll(struct napi_struct *napi, int budget)
{
	struct lane_hand *hand = container_of(napi, struct lane_hand, poll.napi);
	bool more;

	rcu_read_lock();
	more = lane_serve_next(hand, &hand->home);
	rcu_read_unlock();
	if (more)
		return budget;
	napi_complete_done(napi, 0);
	return 0;
}

/* A hand serves one lane of its own, and lends itself when it has none; and lets others
 * have their turn on the CPU.
 */
static void lane_hand_work(struct work_struct *work)
{
	struct lane_hand *hand = container_of(work, struct lane_hand, work);
	bool more;

	local_bh_disable();
	rcu_read_lock();
	more = lane_serve_next(hand, &hand->lanes) || (lane_lends(hand) && lane_lend_some());
	rcu_read_unlock();
	local_bh_enable();
	if (more || !lane_hand_rests(hand))
		lane_queue_on(hand->poll.cpu, work);
}

/* true when there was a CPU to call */
static bool lane_call(struct ipsec_lane *lane)
{
	int here = smp_processor_id(), cpu;

	spin_lock_bh(&lane_wanted_lock);
	if (list_empty(&lane->wanted))
		list_add_tail(&lane->wanted, &lane_wanted);
	spin_unlock_bh(&lane_wanted_lock);

	for_each_cpu_wrap(cpu, &ipsec_spread_cpus, lane->cpu) {
		if (cpu == lane->cpu || cpu == here || !ipsec_cpu_stays(cpu) ||
		    cpumask_test_and_set_cpu(cpu, &lane_hands_awake))
			continue;
		lane_queue_on(cpu, &per_cpu_ptr(&lane_hands, cpu)->work);
		return true;
	}
	return false;
}

/* The first of the CPUs shall deliver; how many there are, 0: none has time. The others shall
 * have the flows if there are two, else the first one as well; and as a last resort the one that
 * brings, which has less to do then.
 */
static unsigned int lane_find_cpus(struct ipsec_lane *lane, u16 *cpus)
{
	unsigned int count = ipsec_pace_open(&lane->pace, hash_ptr(lane, 16) % nr_cpu_ids,
					     cpus, LANE_CPUS);

	if (count == 1)
		cpus[count++] = smp_processor_id();
	return count;
}

/* from now on another CPU delivers, if there is one that it is a gain to take */
static void lane_begin(struct ipsec_lane *lane, enum ipsec_lane_kind kind)
{
	u16 cpus[LANE_CPUS];
	unsigned int count = lane_find_cpus(lane, cpus), apart = count > 2;
	int here = smp_processor_id(), from;
	bool begins;

	if (!count)
		return;
	spin_lock(&lane->lock);
	from = lane->cpu;
	begins = !lane->open && !lane->gated;
	if (begins) {
		ipsec_pace_restart(&lane->pace, lane->delivered);
		lane_shut_gate(lane, here);
		ipsec_flow_take(&lane->flows, cpus + apart, count - apart);
		WRITE_ONCE(lane->kind, kind);
		WRITE_ONCE(lane->cpu, cpus[0]);
		WRITE_ONCE(lane->at_home, false);
		lane->home = here;
		lane->leaving = false;
		lane->used = true;
		WRITE_ONCE(lane->open, true);
	}
	spin_unlock(&lane->lock);
	if (begins)
		lane_delivers_elsewhere(lane);
	/* told when the lane was there last, and had no time before it was closed */
	if (begins && lane_unlist(lane, from))
		lane_wake(lane, false);
}

/* was the lane left to @cpu, which brings */
static bool lane_is_home(struct ipsec_lane *lane, int cpu)
{
	return READ_ONCE(lane->at_home) && READ_ONCE(lane->cpu) == cpu;
}

/* The CPU that delivers shall leave that to this one. If it does not deliver just now, this one
 * takes it: the other may have no time at all. Else it will be done by whoever comes first, that
 * CPU when it has delivered, or this one in the next jiffy.
 */
static void lane_leave(struct ipsec_lane *lane, int here, enum ipsec_lane_kind kind)
{
	bool wake = false, left = false;
	int from;

	spin_lock(&lane->lock);
	from = lane->cpu;
	/* another CPU may have been first */
	if (lane->open && !lane->gated && !lane_is_home(lane, here)) {
		if (!lane->leaving)
			lane->home = here;
		lane->leaving = true;
		WRITE_ONCE(lane->kind, kind);
		left = lane_hand_over(lane, from);
		wake = !lane->awake;
		lane->awake = true;
	}
	spin_unlock(&lane->lock);
	if (left)
		lane_delivers_elsewhere(lane);
	if (wake || (left && lane_unlist(lane, from)))
		lane_wake(lane, false);
}

/* One that is on its way is left alone. */
static bool lane_stays(struct ipsec_lane *lane, int here)
{
	int cpu = READ_ONCE(lane->cpu);

	if (READ_ONCE(lane->gated) || lane_is_home(lane, here))
		return true;
	if (READ_ONCE(lane->leaving))
		return false;
	/* nor is one brought home that goes itself */
	return cpu != here && ipsec_cpu_stays(cpu) &&
	       (!ipsec_cpu_stays(here) ||
		!ipsec_pace_close(&lane->pace, READ_ONCE(lane->delivered)));
}

/* shall the lane be opened, or closed */
static noinline void lane_judge(struct ipsec_lane *lane, enum ipsec_lane_kind kind)
{
	local_bh_disable();
	rcu_read_lock();
	if (!READ_ONCE(lane->open))
		lane_begin(lane, kind);
	else if (!lane_stays(lane, smp_processor_id()))
		lane_leave(lane, smp_processor_id(), kind);
	rcu_read_unlock();
	local_bh_enable();
}

/* Closes the lane if the CPU that brings has delivered all, and so can continue on the spot; says
 * whether it did. What is left that CPU delivers in its softirq, not here: whoever sends may hold
 * the lock of a queue that a delivered packet has to pass, and may himself be a packet that is
 * being delivered, and so on through any number of SAs.
 */
static noinline bool lane_close(struct ipsec_lane *lane)
{
	bool closed;

	if (!lane_is_home(lane, raw_smp_processor_id()) || READ_ONCE(lane->count))
		return false;
	spin_lock_bh(&lane->lock);
	closed = lane->open && !lane->count && !lane->gated &&
		 lane_is_home(lane, smp_processor_id());
	if (closed) {
		ipsec_pace_restart(&lane->pace, READ_ONCE(lane->pace.total));
		lane->leaving = false;
		WRITE_ONCE(lane->open, false);
	}
	spin_unlock_bh(&lane->lock);
	return closed;
}

/**
 * ipsec_lane_open() - does the next packet go through the SA's lane
 * @sa: the SA
 * @kind: what is to be done with it
 *
 * Context: any; the packets of one flow come in order, so not from two CPUs at once.
 * Return: true when it goes to ipsec_lane_push(), false when it is processed on the
 * spot.
 */
bool ipsec_lane_open(struct ipsec_sa *sa, enum ipsec_lane_kind kind)
{
	unsigned int spread = READ_ONCE(ipsec_spread);
	struct ipsec_lane *lane = &sa->lane;
	bool open = READ_ONCE(lane->open);

	/* a real-time kernel wants no NAPI to be scheduled by another CPU */
	if (IS_ENABLED(CONFIG_PREEMPT_RT) || likely(!spread && !open))
		return false;
	if (unlikely(ipsec_pace_packet(&lane->pace, spread, open)))
		lane_judge(lane, kind);
	return unlikely(READ_ONCE(lane->open)) && !lane_close(lane);
}

/**
 * ipsec_lane_passed() - a packet was processed on the spot
 * @sa: the SA
 * @result: of that; for -EINPROGRESS, ipsec_lane_resume() follows or has been called
 *
 * Context: any, RCU held since ipsec_lane_passes(), as the packet may be gone and
 * the SA with it; does not sleep.
 * Return: @result.
 */
int ipsec_lane_passed(struct ipsec_sa *sa, int result)
{
	if (likely(result != -EINPROGRESS))
		this_cpu_dec(sa->counters->busy);
	else
		ipsec_lane_pass(&sa->lane, 1);
	return result;
}

/**
 * ipsec_lane_resume() - the crypto API has finished a packet that was processed on the spot
 * @sa: the SA
 * @skb: the packet; it goes on its way, and the SA may go with it; what is not taken is dropped
 * @kind: what was done with it
 * @result: what its job's work would have returned
 *
 * Context: as the job's deliver.
 */
void ipsec_lane_resume(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_lane_kind kind,
		       int result)
{
	struct ipsec_counters __percpu *counters = sa->counters;

	rcu_read_lock();
	/* only what is sent is ever left to us */
	if (unlikely(!lane_jobs[kind]->deliver(sa, skb, result)))
		lane_jobs[kind]->deliver(sa, skb, ipsec_drop(sa, ipsec_tx_seq(skb),
							     lane_jobs[kind]->full));
	ipsec_lane_pass(&sa->lane, -1);
	rcu_read_unlock();
	this_cpu_dec(counters->busy);
}

/* @lane->lock is held */
static int lane_append(struct ipsec_lane *lane, struct sk_buff *skb)
{
	if (unlikely(!lane->open))
		return -EAGAIN;
	if (unlikely(lane->count == IPSEC_LANE_MAX))
		return -ENOBUFS;
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
	return -EINPROGRESS;
}

/* While packets pile up: another CPU first, the own hands last. */
static void lane_help(struct ipsec_lane *lane, unsigned int waiting)
{
	if (waiting % LANE_CALL == 0 && lane_call(lane))
		return;
	if (waiting >= LANE_SELF)
		lane_lend(lane);
}

static int lane_put(struct ipsec_sa *sa, struct sk_buff *skb, enum ipsec_count spread)
{
	struct ipsec_lane *lane = &sa->lane;
	unsigned int waiting;
	bool wake = false;
	int err;

	spin_lock(&lane->lock);
	err = lane_append(lane, skb);
	if (likely(err == -EINPROGRESS)) {
		wake = !lane->awake;
		lane->awake = true;
	}
	waiting = lane->waiting;
	spin_unlock(&lane->lock);

	if (unlikely(err != -EINPROGRESS))
		return err;
	ipsec_event(sa, spread);
	if (wake)
		lane_wake(lane, false);
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
 * Return: -EINPROGRESS (the skb is the lane's), -EAGAIN (another CPU has closed the
 * lane: it is processed on the spot), or -errno (counted; it stays the core's).
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
	err = lane_put(sa, skb, lane_jobs[kind]->spread);
	if (unlikely(err != -EINPROGRESS))
		this_cpu_dec(counters->busy);
	if (unlikely(err == -ENOBUFS))
		err = ipsec_drop(sa, seq, lane_jobs[kind]->full);
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
	ipsec_follow_init(&lane->follow, lane_arrived);
	INIT_LIST_HEAD(&lane->served);
	INIT_LIST_HEAD(&lane->wanted);
	ipsec_pace_init(&lane->pace);
}

/* takes the lane out of every list that it may be in */
static void lane_forget(struct ipsec_lane *lane)
{
	WRITE_ONCE(lane->ends, true);
	ipsec_follow_cancel(&lane->follow);
	lane_unlist(lane, lane->cpu);
	lane_unwant(lane);
}

/**
 * ipsec_lane_fini() - the SA ends
 * @lane: the lane; no packet is in it, as each holds the SA
 *
 * Context: process context, sleeps.
 */
void ipsec_lane_fini(struct ipsec_lane *lane)
{
	lane_forget(lane);
	if (!lane->used)
		return;
	/* A hand may just deliver the last packet, and put the lane into a list once more;
	 * it is never woken again, and so in none after that. The core waits for this with
	 * RTNL held when a device goes.
	 */
	synchronize_rcu_expedited();
	lane_forget(lane);
	synchronize_rcu_expedited();
}

static void lane_hand_init(struct lane_hand *hand, int cpu)
{
	INIT_WORK(&hand->work, lane_hand_work);
	spin_lock_init(&hand->lock);
	INIT_LIST_HEAD(&hand->lanes);
	INIT_LIST_HEAD(&hand->home);
	INIT_LIST_HEAD(&hand->refused);
	hrtimer_init(&hand->later, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	hand->later.function = lane_later;
	ipsec_poll_add(&hand->poll, cpu, lane_poll);
}

/**
 * ipsec_lane_setup() - the workers, at load
 *
 * Return: 0 or -ENOMEM.
 */
int ipsec_lane_setup(void)
{
	int cpu;

	/* memory may be freed by what is sent over IPsec */
	lane_queue = alloc_workqueue("ipsec_v3", WQ_CPU_INTENSIVE | WQ_MEM_RECLAIM, 0);
	if (!lane_queue)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		lane_hand_init(per_cpu_ptr(&lane_hands, cpu), cpu);
	ipsec_pace_setup();
	return 0;
}

/**
 * ipsec_lane_teardown() - end the workers
 *
 * Context: process context, sleeps; no SA is left.
 */
void ipsec_lane_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		hrtimer_cancel(&per_cpu_ptr(&lane_hands, cpu)->later);
	destroy_workqueue(lane_queue);
	for_each_possible_cpu(cpu)
		ipsec_poll_del(&per_cpu_ptr(&lane_hands, cpu)->poll);
	synchronize_net();
}
