/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_POLL_H
#define _IPSEC_V3_POLL_H

#include <linux/netdevice.h>
#include <linux/smp.h>

/**
 * struct ipsec_poll - a NAPI of a CPU, which any CPU may call
 * @napi: the NAPI
 * @call: tells the CPU that @napi has been scheduled
 * @cpu: the CPU
 */
struct ipsec_poll {
	struct napi_struct	napi;
	call_single_data_t	call;
	int			cpu;
};

/**
 * ipsec_poll_backlog() - packets in the core's own queue of a CPU
 * @cpu: the CPU
 *
 * The one that it has taken out, and is with, is not among them.
 *
 * Context: any; the answer may be old at once.
 * Return: how many.
 */
static inline unsigned int ipsec_poll_backlog(int cpu)
{
	const struct softnet_data *sd = &per_cpu(softnet_data, cpu);
	unsigned int input = skb_queue_len_lockless(&sd->input_pkt_queue);

	/* the core moves all of it from here to there: seen twice, but not missed */
	smp_rmb();
	return input + skb_queue_len_lockless(&sd->process_queue);
}

/**
 * ipsec_poll_quota() - packets that the core takes out of that queue in one round of the softirq
 * @cpu: the CPU
 *
 * Context: any.
 * Return: how many (net.core.dev_weight), from 1 to what a NAPI takes.
 */
static inline unsigned int ipsec_poll_quota(int cpu)
{
	return clamp(READ_ONCE(per_cpu(softnet_data, cpu).backlog.weight), 1, NAPI_POLL_WEIGHT);
}

/**
 * ipsec_poll_core_rests() - has the core given on all that was in its own queue of a CPU
 * @cpu: the CPU
 *
 * Context: any; the answer may be old at once.
 * Return: true when it has.
 */
static inline bool ipsec_poll_core_rests(int cpu)
{
	return !test_bit(NAPI_STATE_SCHED, &per_cpu(softnet_data, cpu).backlog.state);
}

void ipsec_poll_add(struct ipsec_poll *poll, int cpu,
		    int (*function)(struct napi_struct *napi, int budget));
void ipsec_poll_call(struct ipsec_poll *poll);
void ipsec_poll_del(struct ipsec_poll *poll);

#endif
