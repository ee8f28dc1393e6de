// SPDX-License-Identifier: GPL-2.0-only
/*
 * When is it a gain to spread an SA over several CPUs?
 *
 * When one CPU brings the SA's packets in crowds and has no time left, while another
 * CPU has. And it stays one as long as more packets leave the SA's lane than that CPU
 * has processed on the spot: whatever else takes the time of the one that delivers,
 * other SAs, a program, or another guest, shows in this. When it was none, it is tried
 * again later, each time after twice as long.
 */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/isolation.h>
#include <linux/spinlock.h>
#include <linux/tick.h>

#include "cpus.h"
#include "pace.h"

#define PACE_LINGER	DIV_ROUND_UP(HZ, 10)	/* jiffies without a crowd that close a lane */
#define PACE_LOOK	(5 * USEC_PER_MSEC)	/* from one look at a CPU's time to the next */
#define PACE_STALE	(100 * USEC_PER_MSEC)	/* when the look before says nothing any more */
#define PACE_TRIAL	(50 * USEC_PER_MSEC)	/* after which an open lane has to be a gain */
#define PACE_WAIT	DIV_ROUND_UP(HZ, 5)	/* jiffies until the next trial, at first */
#define PACE_WAIT_MAX	(8 * HZ)

/**
 * struct pace_cpu - what was seen of a CPU's time
 * @lock: guards what follows
 * @looked: when its idle time was read last, microseconds
 * @idle: its idle time then, microseconds since boot
 * @percent: of its time that the CPU was idle before, negative when that is not known
 */
struct pace_cpu {
	spinlock_t	lock;
	s64		looked;
	u64		idle;
	int		percent;
};

unsigned int ipsec_spread = 16;
module_param_named(spread, ipsec_spread, uint, 0644);
MODULE_PARM_DESC(spread, "Packets of one SA that have to come in one jiffy before the SA is spread over several CPUs (default 16; 0: never)");

static u8 ipsec_spread_idle = 60;
module_param_named(spread_idle, ipsec_spread_idle, byte, 0644);
MODULE_PARM_DESC(spread_idle, "Percent of its time by which another CPU must have been idler than the one that brings an SA's packets before the SA is spread (default 60; 0: however busy they are, and whether it is a gain or not)");

struct cpumask ipsec_spread_cpus;

/* the lock of the module's parameters is held; a list that is refused changes nothing */
static int pace_cpus_set(const char *value, const struct kernel_param *param)
{
	static struct cpumask wanted;
	int err = cpulist_parse(value, &wanted);

	if (!err)
		cpumask_copy(&ipsec_spread_cpus, &wanted);
	return err;
}

static int pace_cpus_get(char *buffer, const struct kernel_param *param)
{
	return cpumap_print_to_pagebuf(true, buffer, &ipsec_spread_cpus);
}

static const struct kernel_param_ops pace_cpus_ops = {
	.set	= pace_cpus_set,
	.get	= pace_cpus_get,
};
module_param_cb(spread_cpus, &pace_cpus_ops, NULL, 0644);
MODULE_PARM_DESC(spread_cpus, "List of the CPUs that work for other CPUs' SAs (default: all that are not isolated)");

static DEFINE_PER_CPU(struct pace_cpu, pace_looks);

static s64 pace_now(void)
{
	return ktime_to_us(ktime_get());
}

/* Percent of its time that a CPU was idle lately, softirqs and interrupts taken off;
 * negative when nobody has looked before, so that the next look will know.
 */
static int pace_idle(int cpu)
{
	struct pace_cpu *look = per_cpu_ptr(&pace_looks, cpu);
	u64 idle = get_cpu_idle_time_us(cpu, NULL);
	int percent;
	s64 took;

	spin_lock_bh(&look->lock);
	took = pace_now() - look->looked;
	if (took >= PACE_LOOK) {
		look->percent = took < PACE_STALE ? div64_s64(100 * (idle - look->idle), took) : -1;
		look->looked += took;
		look->idle = idle;
	}
	percent = look->percent;
	spin_unlock_bh(&look->lock);
	return percent;
}

/* Has a CPU time, when the one that brings was idle for @own percent of its own? */
static bool pace_has_time(int cpu, int own, int wanted)
{
	/* a kernel that keeps its tick does not know */
	if (!wanted || get_cpu_idle_time_us(cpu, NULL) == -1ULL)
		return true;
	return own >= 0 && pace_idle(cpu) - own >= wanted;
}

/* packets per second since the last look, if that was at least @least microseconds ago;
 * a new look begins with it
 */
static bool pace_rate(struct ipsec_pace *pace, unsigned int packets, s64 least, unsigned int *rate)
{
	s64 now = pace_now(), took = now - READ_ONCE(pace->looked);
	u64 more = packets - READ_ONCE(pace->seen);	/* the count wraps */

	if (took < least)
		return false;
	*rate = took < PACE_STALE ? div64_u64(more * USEC_PER_SEC, took) : 0;
	WRITE_ONCE(pace->looked, now);
	WRITE_ONCE(pace->seen, packets);
	return true;
}

/**
 * ipsec_pace_jiffy() - a packet of the SA has come, the first in its jiffy
 * @pace: the SA's
 * @spread: as for ipsec_pace_packet()
 * @open: as for ipsec_pace_packet()
 *
 * Context: any.
 * Return: as for ipsec_pace_packet().
 */
bool ipsec_pace_jiffy(struct ipsec_pace *pace, unsigned int spread, bool open)
{
	unsigned long now = jiffies, last = READ_ONCE(pace->jiffy);
	unsigned int brought = READ_ONCE(pace->brought);
	/* a jiffy that is long ago says nothing */
	bool crowd = spread && brought >= spread && time_before(now, last + PACE_LINGER);

	WRITE_ONCE(pace->jiffy, now);
	WRITE_ONCE(pace->brought, 1);
	WRITE_ONCE(pace->total, READ_ONCE(pace->total) + brought);
	if (crowd)
		WRITE_ONCE(pace->crowd, now);
	return crowd || open;
}

/* how many packets the CPU that brings could process, were it never idle */
static void pace_measure(struct ipsec_pace *pace, int own)
{
	unsigned int rate;

	if (!pace_rate(pace, READ_ONCE(pace->total), PACE_LOOK, &rate))
		return;
	WRITE_ONCE(pace->alone, own >= 0 && own < 100 ? div_u64(100ULL * rate, 100 - own) : 0);
}

/* is it too early for another trial */
static bool pace_waits(struct ipsec_pace *pace)
{
	if (READ_ONCE(pace->waits) && time_before(jiffies, READ_ONCE(pace->again)))
		return true;
	WRITE_ONCE(pace->waits, false);
	return false;
}

/**
 * ipsec_pace_open() - which CPUs shall take over, now that packets come in crowds
 * @pace: the SA's; ipsec_pace_packet() has said so
 * @start: where to begin to look
 * @cpus: those that have time, never the one that brings
 * @most: for how many there is room
 *
 * Context: any, preemption off.
 * Return: how many were found; 0 also when it was no gain a short time ago.
 */
unsigned int ipsec_pace_open(struct ipsec_pace *pace, int start, u16 *cpus, unsigned int most)
{
	int wanted = READ_ONCE(ipsec_spread_idle), here = smp_processor_id();
	int own = pace_idle(here), cpu;
	unsigned int found = 0;

	pace_measure(pace, own);
	/* nor does one that goes itself begin anything */
	if ((wanted && pace_waits(pace)) || !ipsec_cpu_stays(here))
		return 0;
	for_each_cpu_wrap(cpu, &ipsec_spread_cpus, start) {
		if (found == most)
			break;
		if (cpu != here && ipsec_cpu_stays(cpu) && pace_has_time(cpu, own, wanted))
			cpus[found++] = cpu;
	}
	return !wanted || READ_ONCE(pace->alone) ? found : 0;
}

/**
 * ipsec_pace_restart() - the SA's lane was opened or closed
 * @pace: the SA's
 * @packets: that have ever left the lane, or have come by @total
 *
 * Context: any.
 */
void ipsec_pace_restart(struct ipsec_pace *pace, unsigned int packets)
{
	WRITE_ONCE(pace->looked, pace_now());
	WRITE_ONCE(pace->seen, packets);
}

/* was the last trial a gain; a next one has to wait when it was not */
static bool pace_gains(struct ipsec_pace *pace, unsigned int delivered)
{
	unsigned int rate;

	if (!READ_ONCE(ipsec_spread_idle) || !pace_rate(pace, delivered, PACE_TRIAL, &rate))
		return true;
	if (rate >= READ_ONCE(pace->alone)) {
		WRITE_ONCE(pace->wait, PACE_WAIT);
		return true;
	}
	WRITE_ONCE(pace->again, jiffies + pace->wait);
	WRITE_ONCE(pace->waits, true);
	WRITE_ONCE(pace->wait, min(2 * pace->wait, PACE_WAIT_MAX));
	return false;
}

/**
 * ipsec_pace_close() - shall the SA no longer be spread
 * @pace: the SA's; ipsec_pace_packet() has asked
 * @delivered: packets that have ever left its lane
 *
 * Context: any.
 * Return: true when no crowd comes any more, or when the CPU that brings does as well
 * without.
 */
bool ipsec_pace_close(struct ipsec_pace *pace, unsigned int delivered)
{
	if (!time_before(jiffies, READ_ONCE(pace->crowd) + PACE_LINGER))
		return true;
	return !pace_gains(pace, delivered);
}

/**
 * ipsec_pace_init() - the pace of a new SA
 * @pace: zeroed
 */
void ipsec_pace_init(struct ipsec_pace *pace)
{
	pace->wait = PACE_WAIT;
}

/**
 * ipsec_pace_setup() - at load
 */
void ipsec_pace_setup(void)
{
	int cpu;

	if (cpumask_empty(&ipsec_spread_cpus))
		cpumask_and(&ipsec_spread_cpus, housekeeping_cpumask(HK_TYPE_DOMAIN),
			    housekeeping_cpumask(HK_TYPE_KTHREAD));
	for_each_possible_cpu(cpu) {
		struct pace_cpu *look = per_cpu_ptr(&pace_looks, cpu);

		spin_lock_init(&look->lock);
		look->percent = -1;
	}
}
