// SPDX-License-Identifier: GPL-2.0-only
/* Sending, for both protocols: run the request, finish the packet, hand it on. */
#include "tx.h"

/**
 * ipsec_tx_fits() - does an IP packet hold it
 * @sa: the SA
 * @skb: the packet, its data anywhere in front of the payload's end
 * @tail: bytes that will be appended
 *
 * Return: true when it does.
 */
bool ipsec_tx_fits(const struct ipsec_sa *sa, const struct sk_buff *skb, unsigned int tail)
{
	return skb->len - skb_network_offset(skb) + tail <= sa->family->maxlen;
}

/* puts the request; the skb stays the core's */
static int tx_done(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	u64 seq = req->seq;

	if (likely(!err))
		req->finish(req);
	ipsec_req_put(req);

	switch (err) {
	case 0:
		return 0;
	case -ENOSPC:
	case -EBUSY:
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_BUSY);
	case -ENOMEM:
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);
	default:
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_CRYPTO);
	}
}

static void tx_resume(struct ipsec_req *req, int err)
{
	struct sk_buff *skb = req->skb;

	err = tx_done(req, err);
	xfrm_output_resume(skb_to_full_sk(skb), skb, err);
}

/**
 * ipsec_tx_run() - the last step of type->output
 * @req: mapped request, consumed
 * @run: the crypto operation
 * @finish: completes the packet once @run has succeeded
 *
 * Return: 0, -errno (counted; the skb stays the core's), or -EINPROGRESS (it is
 * ours until the core gets it back).
 */
int ipsec_tx_run(struct ipsec_req *req, int (*run)(struct ipsec_req *req),
		 void (*finish)(struct ipsec_req *req))
{
	int err;

	req->done = tx_resume;
	req->finish = finish;
	err = ipsec_req_run(req, run);
	return err == -EINPROGRESS ? err : tx_done(req, err);
}
