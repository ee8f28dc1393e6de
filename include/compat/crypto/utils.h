/* SPDX-License-Identifier: GPL-2.0-only */
/* crypto_memneq() moved here in 6.4; older kernels declare it in algapi.h. */
#ifndef _IPSEC_COMPAT_CRYPTO_UTILS_H
#define _IPSEC_COMPAT_CRYPTO_UTILS_H

#if __has_include_next(<crypto/utils.h>)
#include_next <crypto/utils.h>
#else
#include <crypto/algapi.h>
#endif

#endif
