/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_POLL_H
#define _IPSEC_V3_POLL_H

#include <linux/netdevice.h>
#include <linux/smp.h>

/**
 * struct ipsec_poll - a NAPI of a CPU, which any CPU may call
 * @napi: the NAPI
 * @call: tells the CPU that @napi has been scheduled
 * @cpu: the CPU
 */
struct ipsec_poll {
	struct napi_struct	napi;
	call_single_data_t	call;
	int			cpu;
};

void ipsec_poll_add(struct ipsec_poll *poll, int cpu,
		    int (*function)(struct napi_struct *napi, int budget));
void ipsec_poll_call(struct ipsec_poll *poll);
void ipsec_poll_del(struct ipsec_poll *poll);

#endif
