/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_CPUS_H
#define _IPSEC_V3_CPUS_H

#include <linux/cpumask.h>

extern struct cpumask ipsec_cpus;

/**
 * ipsec_cpu_stays() - may a CPU be given packets to deliver
 * @cpu: the CPU
 *
 * Context: any. Who delivers on it holds RCU since before it asked: when the CPU goes offline, that
 * is waited for, and then until all that was delivered there has left the core's queues.
 * Return: true from when its work items run there and nowhere else, until they soon will no more.
 */
static inline bool ipsec_cpu_stays(int cpu)
{
	return cpumask_test_cpu(cpu, &ipsec_cpus);
}

int ipsec_cpus_setup(void);
void ipsec_cpus_teardown(void);

#endif
