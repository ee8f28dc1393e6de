// SPDX-License-Identifier: GPL-2.0-only
/*
 * What AH hashes (RFC 4302 3.3.3), the same in both directions:
 *
 *	packet							req->tail
 *	{IP header, extension headers | AH, ICV zero | payload}	{high half}
 *
 * The headers take their canonical form where they are, in the packet's head,
 * which is ours by then; the scratch keeps them as they are sent. So the hash runs
 * over one piece. The payload is only read, and that of a packet that is sent may lie in
 * pages of others: who changes it then gets a wrong ICV.
 */
#include <net/ah.h>

#include "ah.h"
#include "crypt.h"

static unsigned int ah_headers_len(const struct ipsec_req *req)
{
	return skb_transport_header(req->skb) - skb_network_header(req->skb) +
	       req->sa->hdrlen;
}

static int ah_canonicalise(struct ipsec_req *req, unsigned int iplen, bool outbound)
{
	const struct ipsec_family *family = req->sa->family;
	struct sk_buff *skb = req->skb;
	u8 *canon = skb_network_header(skb);
	unsigned int at;

	memcpy(req->scratch, canon, iplen + req->sa->hdrlen);
	memset(canon + iplen + sizeof(struct ip_auth_hdr), 0, req->sa->icvlen);
	family->set_length(canon, skb->len);
	/* when AH was inside another SA, the header still names that one */
	at = outbound ? iplen : family->nexthdr_at(skb);
	if (at < iplen)
		canon[at] = IPPROTO_AH;
	return family->canon(canon, iplen, outbound);
}

/**
 * ipsec_ah_restore() - the packet's headers become again what they were
 * @req: from ipsec_ah_map(), its hash computed or failed
 */
void ipsec_ah_restore(struct ipsec_req *req)
{
	memcpy(skb_network_header(req->skb), req->scratch, ah_headers_len(req));
}

/**
 * ipsec_ah_map() - a request that will hash this packet
 * @sa: the SA
 * @skb: the packet, its head ours to write, its AH header complete but for the
 *	ICV, its data at the IP header; stays the caller's
 * @seq: its sequence number
 * @outbound: this packet is being sent
 *
 * Context: does not sleep.
 * Return: a request, upon which ipsec_ah_restore() must follow; ERR_PTR(-ENOMEM);
 * or ERR_PTR(-EINVAL) when the headers in front of AH are malformed.
 */
struct ipsec_req *ipsec_ah_map(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
			       bool outbound)
{
	unsigned int iplen = skb_transport_offset(skb);
	struct ipsec_req *req;
	int err;

	if (skb_has_frag_list(skb) && skb_linearize(skb))
		return ERR_PTR(-ENOMEM);
	req = ipsec_req_get_table(sa, skb, seq, skb_shinfo(skb)->nr_frags + 1 + sa->esn,
				  iplen + sa->hdrlen);
	if (!req)
		return ERR_PTR(-ENOMEM);

	err = ah_canonicalise(req, iplen, outbound) ?: ipsec_req_map_table(req, skb->len);
	if (!err)
		return req;
	ipsec_ah_restore(req);
	ipsec_req_put(req);
	return ERR_PTR(err);
}
