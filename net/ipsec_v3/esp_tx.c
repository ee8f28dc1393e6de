// SPDX-License-Identifier: GPL-2.0-only
/* ESP output (RFC 4303 3.3) */
#include <linux/random.h>
#include <linux/unaligned.h>

#include "esp.h"
#include "esp_wire.h"
#include "tx.h"

#define ESP_TX_RESERVE	(GSO_MAX_SEGS + 1)

/* TFC padding fills the packet up to x->tfcpad, or to the path's MTU */
static unsigned int esp_tx_tfc(struct xfrm_state *x, struct sk_buff *skb)
{
	struct xfrm_dst *dst = (struct xfrm_dst *)skb_dst(skb);
	unsigned int want;

	if (likely(!x->tfcpad))
		return 0;
	want = min(x->tfcpad, xfrm_state_mtu(x, dst->child_mtu_cached));
	return want > skb->len ? want - skb->len : 0;
}

static void esp_tx_iv(struct ipsec_sa *sa, u8 *iv)
{
	switch (sa->iv) {
	case IPSEC_IV_COUNTER:
		put_unaligned(sa->iv_salt ^ atomic64_inc_return(&sa->iv_next),
			      (u64 *)iv);
		break;
	case IPSEC_IV_RANDOM:
		put_unaligned(get_random_u64(), (u64 *)iv);
		if (sa->ivlen > sizeof(u64))
			put_unaligned(get_random_u64(), (u64 *)(iv + sizeof(u64)));
		break;
	}
}

static void esp_tx_header(struct ipsec_sa *sa, struct ip_esp_hdr *esp, u64 seq)
{
	esp->spi = sa->x->id.spi;
	esp->seq_no = htonl(seq);
	esp_tx_iv(sa, esp->enc_data);
}

/* When the 64-bit numbers have run out, the core's offload path lowers the last one
 * again with every packet that it refuses, by as many as one GSO packet may have
 * segments at most. Nothing that it could then give out twice (RFC 4303 3.3.3)
 * is ever sent.
 */
static bool esp_tx_exhausted(const struct ipsec_sa *sa, u64 seq)
{
	return seq > U64_MAX - ESP_TX_RESERVE && sa->x->type_offload;
}

static void esp_tx_finish(struct ipsec_req *req)
{
	if (req->sa->x->encap)
		ipsec_encap_finish(req->sa, req->skb);
}

/* lengths, room, trailer: 0, or -errno that is counted */
static int esp_tx_trail(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
			unsigned int tfc, u8 next_header)
{
	struct esp_plan plan;

	if (unlikely(esp_wire_plan(&plan, skb->len, tfc, sa->align, sa->icvlen) ||
		     !ipsec_tx_fits(sa, skb, plan.tail)))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_TOOBIG);
	if (unlikely(ipsec_room_tx(sa, skb, plan.tail)))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);
	esp_wire_trailer_write(__skb_put(skb, plan.tail), &plan, next_header);
	return 0;
}

/* The whole ESP packet, ready to be encrypted, its data at the IP header; or an
 * ERR_PTR that is counted.
 */
static struct ipsec_req *esp_tx_prepare(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
					unsigned int tfc, u8 next_header)
{
	struct ip_esp_hdr *esp;
	struct ipsec_req *req;
	unsigned int len;
	int err;

	if (unlikely(esp_tx_exhausted(sa, seq)))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_EXHAUSTED));
	err = esp_tx_trail(sa, skb, seq, tfc, next_header);
	if (unlikely(err))
		return ERR_PTR(err);
	len = skb->len;
	req = ipsec_req_get(sa, skb, seq);
	if (unlikely(!req))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM));

	esp = ipsec_encap_push(sa, skb);
	esp_tx_header(sa, esp, seq);
	__skb_push(skb, -skb_network_offset(skb));
	ipsec_esp_map(req, esp, len);
	return req;
}

static struct ipsec_req *esp_tx_output(struct ipsec_sa *sa, struct sk_buff *skb)
{
	u64 seq = ipsec_tx_seq(skb);
	struct ipsec_req *req;

	if (!ipsec_tx_in_place(sa, skb))
		return ERR_PTR(ipsec_drop(sa, seq, IPSEC_DROP_TX_HEADER));
	req = esp_tx_prepare(sa, skb, seq, esp_tx_tfc(sa->x, skb), *skb_mac_header(skb));
	if (!IS_ERR(req))
		*skb_mac_header(skb) = sa->x->encap ? IPPROTO_UDP : IPPROTO_ESP;
	return req;
}

const struct ipsec_tx_ops ipsec_esp_tx = {
	.prepare	= esp_tx_output,
	.run		= ipsec_req_encrypt,
	.finish		= esp_tx_finish,
};

/* what the core writes into the IP header when type->output returns */
static void esp_tx_outer(struct ipsec_sa *sa, struct sk_buff *skb)
{
	if (sa->x->encap)
		skb_network_header(skb)[sa->family->nexthdr] = IPPROTO_UDP;
	sa->family->finish(skb);
}

/**
 * ipsec_esp_tx_device() - ESP for a packet that is already on its way to a device
 * @sa: the SA
 * @skb: the payload; the transport header is where ESP goes, the IP header names
 *	ESP, and the secpath what the payload is
 *
 * Context: BH off; does not sleep.
 * Return: a request ready to run, or an ERR_PTR that is counted.
 */
struct ipsec_req *ipsec_esp_tx_device(struct ipsec_sa *sa, struct sk_buff *skb)
{
	struct ipsec_req *req = esp_tx_prepare(sa, skb, ipsec_tx_seq(skb), 0,
					       xfrm_offload(skb)->proto);

	if (!IS_ERR(req))
		esp_tx_outer(sa, skb);
	return req;
}

/**
 * ipsec_esp_offer() - complete a packet that the device itself will encrypt
 * @sa: the SA
 * @skb: as for ipsec_esp_tx_device(); a GSO packet gets its trailers from the device
 * @seq: its sequence number
 * @next_header: what the payload is
 *
 * Context: BH off; does not sleep.
 * Return: 0 or -errno (counted).
 */
int ipsec_esp_offer(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq, u8 next_header)
{
	/* the device numbers the segments */
	u64 last = skb_is_gso(skb) ? seq + skb_shinfo(skb)->gso_segs - 1 : seq;
	int err = 0;

	if (unlikely(esp_tx_exhausted(sa, last)))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_EXHAUSTED);
	if (!skb_is_gso(skb))
		err = esp_tx_trail(sa, skb, seq, 0, next_header);
	if (unlikely(err))
		return err;
	esp_tx_header(sa, ipsec_encap_push(sa, skb), seq);
	__skb_push(skb, -skb_network_offset(skb));
	esp_tx_outer(sa, skb);
	return 0;
}
