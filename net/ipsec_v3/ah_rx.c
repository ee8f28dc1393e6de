// SPDX-License-Identifier: GPL-2.0-only
/* AH input (RFC 4302 3.4) */
#include <crypto/utils.h>
#include <net/ah.h>

#include "ah.h"
#include "crypt.h"
#include "rx.h"

static int ah_rx_check(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	const struct ip_auth_hdr *ah = (void *)skb->data;

	if (!pskb_may_pull(skb, sizeof(*ah)))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_SHORT);
	ah = (void *)skb->data;
	if ((ah->hdrlen + 2) * 4 != sa->hdrlen)
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_AHLEN);
	if (!pskb_may_pull(skb, sa->hdrlen))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_SHORT);
	/* What is verified must stay so, and who sent it may still write into his pages. The core
	 * will move the IP header over the AH header, too.
	 */
	if (ipsec_room_rx(sa, skb))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_NOMEM);
	return 0;
}

static struct ipsec_req *ah_rx_prepare(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	int err = ah_rx_check(sa, skb, seq);
	unsigned int iplen;
	struct ipsec_req *req;

	if (unlikely(err))
		return ERR_PTR(err);
	iplen = -skb_network_offset(skb);
	__skb_push(skb, iplen);
	req = ipsec_ah_map(sa, skb, seq, false);
	__skb_pull(skb, iplen);
	if (!IS_ERR(req))
		return req;
	return ERR_PTR(ipsec_drop(sa, seq, PTR_ERR(req) == -ENOMEM ?
				  IPSEC_DROP_RX_NOMEM : IPSEC_DROP_RX_HEADER));
}

static int ah_rx_verify(struct ipsec_req *req, int err)
{
	const struct ip_auth_hdr *ah = (void *)req->skb->data;

	ipsec_ah_restore(req);
	if (unlikely(err))
		return err;
	return crypto_memneq(req->icv, ah->auth_data, req->sa->icvlen) ? -EBADMSG : 0;
}

static int ah_rx_finish(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	const struct ip_auth_hdr *ah = (void *)skb->data;
	int nexthdr = ah->nexthdr;

	ipsec_rx_strip(sa, skb, sa->hdrlen);
	return nexthdr;
}

const struct ipsec_rx_ops ipsec_ah_rx = {
	.prepare	= ah_rx_prepare,
	.run		= ipsec_req_digest,
	.verify		= ah_rx_verify,
	.finish		= ah_rx_finish,
};
