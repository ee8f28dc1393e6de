/* SPDX-License-Identifier: GPL-2.0-only */
/* The header moved out of asm/ in 6.12. */
#ifndef _IPSEC_COMPAT_LINUX_UNALIGNED_H
#define _IPSEC_COMPAT_LINUX_UNALIGNED_H

#if __has_include_next(<linux/unaligned.h>)
#include_next <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

#endif
