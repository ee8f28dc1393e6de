/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_ESP_H
#define _IPSEC_V3_ESP_H

#include <net/esp.h>

#include "crypt.h"

void ipsec_esp_map(struct ipsec_req *req, const struct ip_esp_hdr *esp, unsigned int len);
int ipsec_esp_opened(struct ipsec_sa *sa, struct sk_buff *skb);
struct ipsec_req *ipsec_esp_tx_device(struct ipsec_sa *sa, struct sk_buff *skb);
int ipsec_esp_offer(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq, u8 next_header);

#endif
