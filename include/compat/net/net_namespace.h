/* SPDX-License-Identifier: GPL-2.0-only */
/* 6.6 registers tables by size; older kernels look for an empty last row. */
#ifndef _IPSEC_COMPAT_NET_NET_NAMESPACE_H
#define _IPSEC_COMPAT_NET_NET_NAMESPACE_H

#include_next <net/net_namespace.h>

#ifndef register_net_sysctl
#define register_net_sysctl_sz(net, path, table, size)	\
	register_net_sysctl(net, path, table)
#endif

#endif
