/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_ESP_H
#define _IPSEC_V3_ESP_H

#include <net/esp.h>

#include "crypt.h"

void ipsec_esp_map(struct ipsec_req *req, const struct ip_esp_hdr *esp, unsigned int len);
struct ipsec_req *ipsec_esp_tx_device(struct ipsec_sa *sa, struct sk_buff *skb);

#endif
