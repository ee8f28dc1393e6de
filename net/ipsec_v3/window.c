// SPDX-License-Identifier: GPL-2.0-only
/*
 * The anti-replay window of an SA, for the packets that the core does not book.
 *
 * The core checks and moves the window for every packet that it hands on. It
 * never sees a dummy packet, a late one or a resynchronisation; those are booked
 * here, in the core's own state and under its lock, so that GETAE reports the
 * truth whoever moved the window.
 */
#include "ipsec.h"
#include "window.h"

/* x->lock is held; x->replay_esn may be rewritten by NEWAE at any other time */
static void window_get(struct xfrm_state *x, struct replay_window *w)
{
	struct xfrm_replay_state_esn *esn = x->replay_esn;

	w->ring = esn;
	w->esn = x->props.flags & XFRM_STATE_ESN;
	if (!esn) {
		w->top = x->replay.seq;
		w->size = x->props.replay_window;
		w->bits = &x->replay.bitmap;
		return;
	}
	w->top = (u64)(w->esn ? esn->seq_hi : 0) << 32 | esn->seq;
	w->size = esn->replay_window;
	w->bits = esn->bmp;
}

static void window_put(struct xfrm_state *x, const struct replay_window *w)
{
	if (!w->ring) {
		x->replay.seq = w->top;
		return;
	}
	x->replay_esn->seq = w->top;
	if (w->esn)
		x->replay_esn->seq_hi = w->top >> 32;
}

/* x->lock is held */
static void window_refuse(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
			  enum replay_verdict verdict)
{
	struct xfrm_state *x = sa->x;

	if (verdict == REPLAY_LATE)
		x->stats.replay_window++;
	else
		x->stats.replay++;
	xfrm_audit_state_replay(x, skb, htonl(seq));
	XFRM_INC_STATS(xs_net(x), LINUX_MIB_XFRMINSTATESEQERROR);
	ipsec_drop(sa, seq, verdict == REPLAY_LATE ? IPSEC_DROP_RX_LATE : IPSEC_DROP_RX_REPLAY);
}

/**
 * ipsec_window_snapshot() - where the window stands, for an inference
 * @sa: the SA
 * @window: filled in; its bits must not be touched
 *
 * Context: process context or BH.
 */
void ipsec_window_snapshot(struct ipsec_sa *sa, struct replay_window *window)
{
	spin_lock_bh(&sa->x->lock);
	window_get(sa->x, window);
	spin_unlock_bh(&sa->x->lock);
	window->bits = NULL;
}

/**
 * ipsec_window_dummy() - book a verified dummy packet (RFC 4303 2.6, 3.4.3)
 * @sa: the SA
 * @skb: the packet, stripped to its payload; stays the caller's
 * @seq: its sequence number
 *
 * Enters the window and the lifetime like any other packet; one that was seen before is counted
 * as that instead.
 *
 * Context: BH off.
 */
void ipsec_window_dummy(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	struct xfrm_state *x = sa->x;
	enum replay_verdict verdict;
	struct replay_window w;

	spin_lock(&x->lock);
	window_get(x, &w);
	verdict = replay_check(&w, seq);
	if (verdict == REPLAY_FRESH) {
		replay_commit(&w, seq);
		window_put(x, &w);
		x->curlft.bytes += skb->len;
		x->curlft.packets++;
		x->lastused = ktime_get_real_seconds();
	} else {
		window_refuse(sa, skb, seq, verdict);
	}
	spin_unlock(&x->lock);
	if (verdict == REPLAY_FRESH)
		ipsec_event(sa, IPSEC_EVENT_RX_DUMMY);
}

/**
 * ipsec_window_late() - book a packet that verified left of the window
 * @sa: the SA
 * @skb: the packet; stays the caller's
 * @seq: its true sequence number
 *
 * Context: process context or BH.
 */
void ipsec_window_late(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	spin_lock_bh(&sa->x->lock);
	window_refuse(sa, skb, seq, REPLAY_LATE);
	spin_unlock_bh(&sa->x->lock);
}

/**
 * ipsec_window_resync() - move the window to a verified higher number
 * @sa: the SA
 * @seq: the sequence number of the packet that verified
 *
 * The window then ends just before the packet, with nothing marked, and the
 * core books the packet itself as it does any other. A window that has come as
 * far by other means meanwhile stays as it is.
 *
 * Context: process context or BH.
 */
void ipsec_window_resync(struct ipsec_sa *sa, u64 seq)
{
	struct xfrm_state *x = sa->x;
	struct replay_window w;
	bool moved;

	spin_lock_bh(&x->lock);
	window_get(x, &w);
	moved = seq > w.top;
	if (moved) {
		replay_resync(&w, seq);
		window_put(x, &w);
	}
	spin_unlock_bh(&x->lock);
	if (moved)
		ipsec_event(sa, IPSEC_EVENT_RX_RESYNC);
}
