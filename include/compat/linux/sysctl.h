/* SPDX-License-Identifier: GPL-2.0-only */
/* 6.11 made the table of a proc_handler const. */
#ifndef _IPSEC_COMPAT_LINUX_SYSCTL_H
#define _IPSEC_COMPAT_LINUX_SYSCTL_H

#include_next <linux/sysctl.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
typedef const struct ctl_table ipsec_ctl_table;
#else
typedef struct ctl_table ipsec_ctl_table;
#endif

#endif
