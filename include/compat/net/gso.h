/* SPDX-License-Identifier: GPL-2.0-only */
/* The segmentation helpers got a header of their own in 6.5. */
#ifndef _IPSEC_COMPAT_NET_GSO_H
#define _IPSEC_COMPAT_NET_GSO_H

#if __has_include_next(<net/gso.h>)
#include_next <net/gso.h>
#else
#include <linux/netdevice.h>
#endif

#endif
