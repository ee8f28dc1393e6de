// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs that go offline, and come back, slowly: each is held for a while where its work items run
 * on any CPU, and cpu_online() is true. That is behind the core's workers when it goes, and before
 * them when it comes.
 */
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/module.h>

/* a step in the right place that belongs to another machine's hardware */
#define SLOW_STEP	CPUHP_AP_PERF_S390_CF_ONLINE

static unsigned int slow_ms = 300;
module_param_named(ms, slow_ms, uint, 0644);
MODULE_PARM_DESC(ms, "Milliseconds");

static int slow_step(unsigned int cpu)
{
	msleep(slow_ms);
	return 0;
}

static int __init slow_init(void)
{
	return cpuhp_setup_state_nocalls(SLOW_STEP, "ipsec_v3:slow", slow_step, slow_step);
}

static void __exit slow_exit(void)
{
	cpuhp_remove_state_nocalls(SLOW_STEP);
}

module_init(slow_init);
module_exit(slow_exit);

MODULE_DESCRIPTION("CPUs that go offline and come back slowly, for the tests of ipsec_v3");
MODULE_LICENSE("GPL");
