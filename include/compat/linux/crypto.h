/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 6.3 hands a completion callback its data; older kernels hand it the request
 * that points to the data. IPSEC_CRYPTO_DONE(name) opens the definition of a
 * callback that sees (void *data, int err) on both.
 */
#ifndef _IPSEC_COMPAT_LINUX_CRYPTO_H
#define _IPSEC_COMPAT_LINUX_CRYPTO_H

#include_next <linux/crypto.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define IPSEC_CRYPTO_DONE(name)						\
	static void name(void *data, int err)
#else
#define IPSEC_CRYPTO_DONE(name)						\
	static void name##_data(void *data, int err);			\
	static void name(struct crypto_async_request *base, int err)	\
	{								\
		name##_data(base->data, err);				\
	}								\
	static void name##_data(void *data, int err)
#endif

#endif
