// SPDX-License-Identifier: GPL-2.0-only
/*
 * What AH hashes (RFC 4302 3.3.3), the same in both directions:
 *
 *	scratch						packet		req->tail
 *	{IP header, extension headers | AH, ICV zero}	{payload}	{high half}
 *
 * The scratch is a copy: the packet itself is never edited for the hash.
 */
#include <net/ah.h>

#include "ah.h"
#include "crypt.h"

static void ah_copy_header(struct ipsec_req *req, unsigned int iplen, bool outbound)
{
	const struct ipsec_family *family = req->sa->family;
	struct sk_buff *skb = req->skb;
	u8 *canon = req->scratch;
	unsigned int at;

	memcpy(canon, skb_network_header(skb), req->scratchlen);
	memset(canon + iplen + sizeof(struct ip_auth_hdr), 0, req->sa->icvlen);
	family->set_length(canon, skb->len - skb_network_offset(skb));
	if (outbound)
		return;
	/* when AH was inside another SA, the header still names that one */
	at = family->nexthdr_at(skb);
	if (at < iplen)
		canon[at] = IPPROTO_AH;
}

/**
 * ipsec_ah_map() - a request that will hash this packet
 * @sa: the SA
 * @skb: the packet, its AH header complete but for the ICV; its data at the IP
 *	header when @outbound, else at the AH header; stays the caller's
 * @seq: its sequence number
 * @outbound: this packet is being sent
 *
 * Context: does not sleep.
 * Return: a request, ERR_PTR(-ENOMEM), or ERR_PTR(-EINVAL) when the headers in
 * front of AH are malformed.
 */
struct ipsec_req *ipsec_ah_map(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
			       bool outbound)
{
	unsigned int iplen = skb_transport_header(skb) - skb_network_header(skb);
	unsigned int payload = skb_transport_offset(skb) + sa->hdrlen;
	struct ipsec_req *req;
	int err;

	/* the payload is only read, so fragments of others may stay */
	if (skb_has_frag_list(skb) && skb_linearize(skb))
		return ERR_PTR(-ENOMEM);
	req = ipsec_req_get(sa, skb, seq, skb_shinfo(skb)->nr_frags + 3,
			    iplen + sa->hdrlen);
	if (!req)
		return ERR_PTR(-ENOMEM);

	ah_copy_header(req, iplen, outbound);
	err = sa->family->canon(req->scratch, iplen, outbound) ?:
	      ipsec_req_map(req, payload, skb->len - payload);
	if (!err)
		return req;
	ipsec_req_put(req);
	return ERR_PTR(err);
}
