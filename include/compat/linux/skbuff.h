/* SPDX-License-Identifier: GPL-2.0-only */
/* Since 6.12 there are pages that only a device can read. */
#ifndef _IPSEC_COMPAT_LINUX_SKBUFF_H
#define _IPSEC_COMPAT_LINUX_SKBUFF_H

#include_next <linux/skbuff.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
static inline bool skb_frags_readable(const struct sk_buff *skb)
{
	return true;
}
#endif

#endif
