// SPDX-License-Identifier: GPL-2.0-only
/* AH output (RFC 4302 3.3) */
#include <net/ah.h>

#include "ah.h"
#include "crypt.h"
#include "tx.h"

/*
 *	+-------------+---------------+-----------+----------------------+
 *	| next header | length/4 - 2  | reserved  |          SPI         |
 *	+-------------+---------------+-----------+----------------------+
 *	| sequence number, low half   | ICV, then zeros up to the length |
 *	+-----------------------------+----------------------------------+
 */
static void ah_tx_header(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	struct ip_auth_hdr *ah = ip_auth_hdr(skb);

	ah->nexthdr = *skb_mac_header(skb);
	*skb_mac_header(skb) = IPPROTO_AH;
	ah->hdrlen = sa->hdrlen / 4 - 2;
	ah->reserved = 0;
	ah->spi = sa->x->id.spi;
	ah->seq_no = htonl(seq);
	memset(ah->auth_data, 0, sa->hdrlen - sizeof(*ah));
}

static struct ipsec_req *ah_tx_prepare(struct ipsec_sa *sa, struct sk_buff *skb)
{
	u64 seq = ipsec_tx_seq(skb);
	struct ipsec_req *req;

	if (!ipsec_tx_in_place(sa, skb))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_HEADER));
	if (unlikely(!ipsec_tx_fits(sa, skb, 0)))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_TOOBIG));
	/* pages that only a device can read cannot be copied either */
	if (unlikely(!skb_frags_readable(skb) || skb_cow_head(skb, 0)))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM));

	__skb_push(skb, -skb_network_offset(skb));
	ah_tx_header(sa, skb, seq);
	req = ipsec_ah_map(sa, skb, seq, true);
	if (!IS_ERR(req))
		return req;
	return ERR_PTR(ipsec_drop(sa, seq, PTR_ERR(req) == -ENOMEM ?
				  IPSEC_DROP_TX_NOMEM : IPSEC_DROP_TX_HEADER));
}

static void ah_tx_finish(struct ipsec_req *req)
{
	ipsec_ah_restore(req);
	memcpy(ip_auth_hdr(req->skb)->auth_data, req->icv, req->sa->icvlen);
}

const struct ipsec_tx_ops ipsec_ah_tx = {
	.prepare	= ah_tx_prepare,
	.run		= ipsec_req_digest,
	.finish		= ah_tx_finish,
};
