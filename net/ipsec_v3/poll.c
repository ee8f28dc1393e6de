// SPDX-License-Identifier: GPL-2.0-only
/* NAPIs of our own, whose packets no device of ours brings. */
#include <linux/netdevice.h>

#include "poll.h"

static struct net_device poll_dev;	/* of all of them, and of nothing else */

/**
 * ipsec_poll_add() - a NAPI that may be scheduled from now on
 * @napi: zeroed
 * @poll: what it does, as for netif_napi_add()
 *
 * Context: load, one at a time.
 */
void ipsec_poll_add(struct napi_struct *napi, int (*poll)(struct napi_struct *napi, int budget))
{
	if (poll_dev.reg_state != NETREG_DUMMY)
		init_dummy_netdev(&poll_dev);
	/* as nobody waits for packets of it */
	set_bit(NAPI_STATE_NO_BUSY_POLL, &napi->state);
	netif_napi_add(&poll_dev, napi, poll);
	napi_enable(napi);
}

/**
 * ipsec_poll_del() - waits until it has been polled for the last time
 * @napi: nobody schedules it any more; synchronize_net() has to follow, once for
 *	all that are deleted together
 *
 * Context: process context, sleeps.
 */
void ipsec_poll_del(struct napi_struct *napi)
{
	napi_disable(napi);
	__netif_napi_del(napi);
}
