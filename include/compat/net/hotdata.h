/* SPDX-License-Identifier: GPL-2.0-only */
/* The limit of the core's queues moved here in 6.9. */
#ifndef _IPSEC_COMPAT_NET_HOTDATA_H
#define _IPSEC_COMPAT_NET_HOTDATA_H

#include <linux/netdevice.h>

#if __has_include_next(<net/hotdata.h>)
#include_next <net/hotdata.h>

static inline int ipsec_max_backlog(void)
{
	return READ_ONCE(net_hotdata.max_backlog);
}
#else
static inline int ipsec_max_backlog(void)
{
	return READ_ONCE(netdev_max_backlog);
}
#endif

#endif
