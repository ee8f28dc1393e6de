// SPDX-License-Identifier: GPL-2.0-only
/* ESP input (RFC 4303 3.4) */
#include "esp.h"
#include "esp_wire.h"
#include "rx.h"

static int esp_rx_check(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	unsigned int around = sa->hdrlen + sa->icvlen;

	if (skb->len < around + sizeof(struct esp_trailer))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_SHORT);
	if ((skb->len - around) & (sa->block - 1))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_BLOCK);
	if (ipsec_room_rx(sa, skb))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_NOMEM);
	return 0;
}

static struct ipsec_req *esp_rx_prepare(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	int err = esp_rx_check(sa, skb, seq);
	struct ipsec_req *req;

	if (unlikely(err))
		return ERR_PTR(err);
	req = ipsec_req_get(sa, skb, seq);
	if (unlikely(!req))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_RX_NOMEM));
	ipsec_esp_map(req, (void *)skb->data, skb->len - sa->hdrlen);
	return req;
}

/* RFC 4303 3.4.4.1 step 4: what the padding says must be true before it goes */
static int esp_rx_finish(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	const u8 *end = skb_tail_pointer(skb) - sa->icvlen - sizeof(struct esp_trailer);
	struct esp_trailer trailer = { end[0], end[1] };
	unsigned int plain = skb->len - sa->hdrlen - sa->icvlen - sizeof(trailer);

	if (unlikely(trailer.pad_length > plain))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_PADLEN);
	if (unlikely(esp_wire_trailer_check(end - trailer.pad_length, trailer.pad_length)))
		return ipsec_drop(sa, seq, IPSEC_DROP_RX_PADDING);

	__skb_trim(skb, skb->len - trailer.pad_length - sizeof(trailer) - sa->icvlen);
	if (sa->x->encap)
		ipsec_encap_input(sa, skb);
	ipsec_rx_strip(sa, skb, sa->hdrlen);
	return trailer.next_header;
}

/**
 * ipsec_esp_opened() - a packet that its device has verified and decrypted
 * @sa: the SA
 * @skb: the packet, its data at the ESP header
 *
 * Context: BH off.
 * Return: the next header, or -errno (counted; the skb stays the core's).
 */
int ipsec_esp_opened(struct ipsec_sa *sa, struct sk_buff *skb)
{
	/* the core does not know the high half yet, but has looked at the header */
	u64 seq = ntohl(((struct ip_esp_hdr *)skb->data)->seq_no);

	/* a sum over the whole packet says nothing about a part of it */
	if (skb->ip_summed == CHECKSUM_COMPLETE)
		skb->ip_summed = CHECKSUM_NONE;
	return esp_rx_check(sa, skb, seq) ?: esp_rx_finish(sa, skb, seq);
}

const struct ipsec_rx_ops ipsec_esp_rx = {
	.prepare	= esp_rx_prepare,
	.run		= ipsec_req_decrypt,
	.finish		= esp_rx_finish,
};
