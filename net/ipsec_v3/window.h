/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_WINDOW_H
#define _IPSEC_V3_WINDOW_H

#include "ipsec.h"
#include "replay.h"

void ipsec_window_snapshot(struct ipsec_sa *sa, struct replay_window *window);
void ipsec_window_dummy(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
void ipsec_window_late(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
void ipsec_window_resync(struct ipsec_sa *sa, u64 seq);

#endif
