// SPDX-License-Identifier: GPL-2.0-only
/* ESP output (RFC 4303 3.3) */
#include <linux/random.h>
#include <linux/unaligned.h>

#include "esp.h"
#include "esp_wire.h"
#include "tx.h"

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

static void esp_tx_finish(struct ipsec_req *req)
{
	if (req->sa->x->encap)
		ipsec_encap_finish(req->sa, req->skb);
}

/**
 * ipsec_esp_output() - type->output of ESP
 * @x: the SA
 * @skb: the payload; the transport header is where ESP (or UDP) goes, the mac
 *	header points at the byte that names the next header
 *
 * Context: any; does not sleep.
 * Return: 0, -errno (the skb stays the core's), or -EINPROGRESS (it is ours
 * until xfrm_output_resume()).
 */
int ipsec_esp_output(struct xfrm_state *x, struct sk_buff *skb)
{
	struct ipsec_sa *sa = ipsec_sa(x);
	u64 seq = ipsec_tx_seq(skb);
	struct ip_esp_hdr *esp;
	struct ipsec_req *req;
	struct esp_plan plan;

	if (unlikely(esp_wire_plan(&plan, skb->len, esp_tx_tfc(x, skb), sa->align, sa->icvlen) ||
		     !ipsec_tx_fits(sa, skb, plan.tail)))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_TOOBIG);
	if (unlikely(ipsec_room_tx(sa, skb, plan.tail)))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);
	req = ipsec_esp_req(sa, skb, seq);
	if (unlikely(!req))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);

	esp_wire_trailer_write(skb_put(skb, plan.tail), &plan, *skb_mac_header(skb));
	esp = ipsec_encap_push(sa, skb);
	esp_tx_header(sa, esp, seq);
	__skb_push(skb, -skb_network_offset(skb));
	ipsec_esp_map(req, esp, plan.clen + sa->icvlen);

	return ipsec_tx_run(req, ipsec_req_encrypt, esp_tx_finish);
}
