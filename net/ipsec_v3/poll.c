// SPDX-License-Identifier: GPL-2.0-only
/* NAPIs of our own, whose packets no device of ours brings. */
#include "poll.h"

static struct net_device poll_dev;	/* of all of them, and of nothing else */

static void poll_called(void *data)
{
	struct ipsec_poll *poll = data;

	__napi_schedule(&poll->napi);
}

/**
 * ipsec_poll_add() - a NAPI that may be called from now on
 * @poll: zeroed
 * @cpu: where it is polled
 * @function: what it does, as for netif_napi_add()
 *
 * Context: load, one at a time.
 */
void ipsec_poll_add(struct ipsec_poll *poll, int cpu,
		    int (*function)(struct napi_struct *napi, int budget))
{
	if (poll_dev.reg_state != NETREG_DUMMY)
		init_dummy_netdev(&poll_dev);
	poll->cpu = cpu;
	INIT_CSD(&poll->call, poll_called, poll);
	/* as nobody waits for packets of it */
	set_bit(NAPI_STATE_NO_BUSY_POLL, &poll->napi.state);
	netif_napi_add(&poll_dev, &poll->napi, function);
	napi_enable(&poll->napi);
}

/**
 * ipsec_poll_call() - it shall be polled
 * @poll: the NAPI; that of a CPU that is offline is polled by this one
 *
 * Context: BH off.
 */
void ipsec_poll_call(struct ipsec_poll *poll)
{
	if (!napi_schedule_prep(&poll->napi))
		return;
	if (poll->cpu == smp_processor_id() ||
	    smp_call_function_single_async(poll->cpu, &poll->call))
		__napi_schedule(&poll->napi);
}

/**
 * ipsec_poll_del() - waits until it has been polled for the last time
 * @poll: nobody calls it any more; synchronize_net() has to follow, once for
 *	all that are deleted together
 *
 * Context: process context, sleeps.
 */
void ipsec_poll_del(struct ipsec_poll *poll)
{
	napi_disable(&poll->napi);
	__netif_napi_del(&poll->napi);
}
