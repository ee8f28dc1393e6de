// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is this packet ours to write into, and is there room behind it?
 *
 * A linear, uncloned head was allocated for this skb alone. Everything else (a
 * clone, page fragments, a fragment list) may be a page of somebody else: the
 * page cache of a spliced file, a page of a zero-copy sender, a page_pool page
 * that a driver will reuse. No flag of the skb proves the contrary, so it is
 * copied into a head of our own before the first byte is written, or verified.
 */
#include "ipsec.h"

static bool room_is_ours(const struct sk_buff *skb)
{
	return !skb_is_nonlinear(skb) && !skb_cloned(skb);
}

/**
 * ipsec_room_rx() - make a received packet writable, by nobody else
 * @sa: the SA, for its counters
 * @skb: the packet; pointers into it are stale afterwards
 *
 * Context: any; does not sleep.
 * Return: 0 or -ENOMEM.
 */
int ipsec_room_rx(struct ipsec_sa *sa, struct sk_buff *skb)
{
	int err;

	if (likely(room_is_ours(skb)))
		return 0;
	ipsec_event(sa, IPSEC_EVENT_RX_COPIED);
	err = skb_linearize_cow(skb);
	/* the pages that it was in are gone, and nobody is charged for them yet */
	if (likely(!err && !skb->destructor))
		skb->truesize = SKB_TRUESIZE(skb_end_offset(skb));
	return err;
}

/**
 * ipsec_room_tx() - make a packet writable, with room for what follows it
 * @sa: the SA, for its counters
 * @skb: the packet; pointers into it are stale afterwards
 * @tail: bytes that the caller will append
 *
 * Context: any; does not sleep.
 * Return: 0 or -ENOMEM.
 */
int ipsec_room_tx(struct ipsec_sa *sa, struct sk_buff *skb, unsigned int tail)
{
	unsigned int have = skb_end_pointer(skb) - skb_tail_pointer(skb);
	unsigned int need = skb->data_len + tail;
	int err = 0;

	if (likely(room_is_ours(skb) && have >= need))
		return 0;

	ipsec_event(sa, IPSEC_EVENT_TX_COPIED);
	if (skb_cloned(skb) || have < need)
		err = pskb_expand_head(skb, 0, need > have ? need - have : 0,
				       GFP_ATOMIC);
	return err ?: skb_linearize(skb);
}
