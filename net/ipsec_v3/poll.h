/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_POLL_H
#define _IPSEC_V3_POLL_H

struct napi_struct;

void ipsec_poll_add(struct napi_struct *napi, int (*poll)(struct napi_struct *napi, int budget));
void ipsec_poll_del(struct napi_struct *napi);

#endif
