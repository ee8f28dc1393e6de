// SPDX-License-Identifier: GPL-2.0-only
/*
 * What AH hashes (RFC 4302 3.3.3), the same in both directions:
 *
 *	scratch						packet		req->tail
 *	{IP header, extension headers | AH, ICV zero |	 ... payload}	{high half}
 *
 * The scratch is a copy: the packet itself is never edited for the hash. It takes
 * the start of the payload as well, up to a whole number of the hash's blocks,
 * and all of a small one: a hash is quickest on few pieces that are whole blocks.
 */
#include <net/ah.h>

#include "ah.h"
#include "crypt.h"

#define AH_SCRATCH_BLOCK	128	/* a block of SHA-512, two of SHA-256 */
#define AH_SCRATCH_SMALL	256	/* a message of up to this goes in whole */

/* bytes of the payload that go into the scratch, behind @header bytes */
static unsigned int ah_scratch_payload(unsigned int header, unsigned int payload)
{
	if (header + payload <= AH_SCRATCH_SMALL)
		return payload;
	return min(payload, ALIGN(header, AH_SCRATCH_BLOCK) - header);
}

static void ah_copy_header(struct ipsec_req *req, unsigned int iplen, bool outbound)
{
	const struct ipsec_family *family = req->sa->family;
	struct sk_buff *skb = req->skb;
	u8 *canon = req->scratch;
	unsigned int at;

	memcpy(canon, skb_network_header(skb), iplen + req->sa->hdrlen);
	memset(canon + iplen + sizeof(struct ip_auth_hdr), 0, req->sa->icvlen);
	family->set_length(canon, skb->len - skb_network_offset(skb));
	if (outbound)
		return;
	/* when AH was inside another SA, the header still names that one */
	at = family->nexthdr_at(skb);
	if (at < iplen)
		canon[at] = IPPROTO_AH;
}

static int ah_copy_payload(struct ipsec_req *req, unsigned int from, unsigned int to,
			   unsigned int len)
{
	if (unlikely(skb_is_nonlinear(req->skb)))
		return skb_copy_bits(req->skb, from, req->scratch + to, len);
	memcpy(req->scratch + to, req->skb->data + from, len);
	return 0;
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
	unsigned int header = iplen + sa->hdrlen;
	unsigned int payload = skb_transport_offset(skb) + sa->hdrlen;
	unsigned int copied = ah_scratch_payload(header, skb->len - payload);
	struct ipsec_req *req;
	int err;

	/* the payload is only read, so fragments of others may stay */
	if (skb_has_frag_list(skb) && skb_linearize(skb))
		return ERR_PTR(-ENOMEM);
	req = ipsec_req_get(sa, skb, seq, skb_shinfo(skb)->nr_frags + 2 + sa->esn, header + copied);
	if (!req)
		return ERR_PTR(-ENOMEM);

	ah_copy_header(req, iplen, outbound);
	err = sa->family->canon(req->scratch, iplen, outbound) ?:
	      ah_copy_payload(req, payload, header, copied) ?:
	      ipsec_req_map(req, payload + copied, skb->len - payload - copied);
	if (!err)
		return req;
	ipsec_req_put(req);
	return ERR_PTR(err);
}
