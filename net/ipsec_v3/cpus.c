// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPUs that deliver, while others come and go.
 *
 * A CPU that goes offline is called online long after its work items run wherever there is
 * a worker, and one that comes before they run nowhere else. What is delivered meanwhile would
 * lie in the queues of several CPUs, and overtake itself. So a CPU is one of ours only in between,
 * and goes when all that was delivered there has left it.
 */
#include <linux/completion.h>
#include <linux/cpuhotplug.h>
#include <linux/jiffies.h>
#include <linux/rcupdate.h>

#include "cpus.h"
#include "follower.h"

#define CPUS_WAIT	HZ	/* at most: root may leave the core's queues no room */

/**
 * struct cpus_last - waits for what a CPU has delivered last
 * @follow: follows it
 * @left: it has left the CPU's queues
 */
struct cpus_last {
	struct ipsec_follower	follow;
	struct completion	left;
};

struct cpumask ipsec_cpus;
static enum cpuhp_state cpus_state;

static int cpus_come(unsigned int cpu)
{
	cpumask_set_cpu(cpu, &ipsec_cpus);
	return 0;
}

static void cpus_have_left(struct ipsec_follower *follow)
{
	complete(&container_of(follow, struct cpus_last, follow)->left);
}

/* on that CPU, whose workers and softirq still are its own */
static int cpus_go(unsigned int cpu)
{
	struct cpus_last last;

	cpumask_clear_cpu(cpu, &ipsec_cpus);
	synchronize_rcu();
	init_completion(&last.left);
	ipsec_follow_init(&last.follow, cpus_have_left);
	local_bh_disable();
	ipsec_follow(&last.follow, cpu, IPSEC_FOLLOW_WORK | IPSEC_FOLLOW_CELLS);
	local_bh_enable();
	if (wait_for_completion_timeout(&last.left, CPUS_WAIT))
		return 0;
	ipsec_follow_cancel(&last.follow);
	/* it may just be called for the last time */
	synchronize_rcu();
	return 0;
}

/**
 * ipsec_cpus_setup() - those that are there, at load
 *
 * Return: 0 or -errno.
 */
int ipsec_cpus_setup(void)
{
	/* comes after the core's workers, and goes before them */
	int state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "net/ipsec_v3:online",
				      cpus_come, cpus_go);

	if (state < 0)
		return state;
	cpus_state = state;
	return 0;
}

/**
 * ipsec_cpus_teardown() - CPUs may come and go
 *
 * Context: process context, sleeps; no SA is left.
 */
void ipsec_cpus_teardown(void)
{
	cpuhp_remove_state_nocalls(cpus_state);
}
