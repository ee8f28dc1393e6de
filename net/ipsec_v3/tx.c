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

/* The SA may go with the secpath; a device that went down meanwhile takes no more. */
static void tx_resume_device(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;
	struct net_device *dev = skb->dev;
	u64 seq = req->seq;

	err = tx_done(req, err);
	if (likely(!err) && unlikely(!netif_running(dev)))
		err = ipsec_drop(sa, seq, IPSEC_DROP_TX_DEVICE);
	if (unlikely(err)) {
		XFRM_INC_STATS(xs_net(sa->x), LINUX_MIB_XFRMOUTSTATEPROTOERROR);
		kfree_skb(skb);
	} else {
		secpath_reset(skb);
		skb_push(skb, skb->data - skb_mac_header(skb));
		xfrm_dev_resume(skb);
	}
	dev_put(dev);
}

static int tx_start(struct ipsec_req *req, int (*run)(struct ipsec_req *req),
		    void (*finish)(struct ipsec_req *req))
{
	int err;

	req->finish = finish;
	err = ipsec_req_run(req, run);
	return err == -EINPROGRESS ? err : tx_done(req, err);
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
	req->done = tx_resume;
	return tx_start(req, run, finish);
}

/**
 * ipsec_tx_run_device() - likewise for a packet on its way to a device
 * @req: mapped request, consumed
 * @run: the crypto operation
 * @finish: completes the packet once @run has succeeded
 *
 * The packet holds its device while the crypto API has it; nobody else does.
 *
 * Return: 0, -errno (counted; the skb stays the core's), or -EINPROGRESS (it is
 * ours, and leaves by xfrm_dev_resume()).
 */
int ipsec_tx_run_device(struct ipsec_req *req, int (*run)(struct ipsec_req *req),
			void (*finish)(struct ipsec_req *req))
{
	struct net_device *dev = req->skb->dev;
	int err;

	dev_hold(dev);
	req->done = tx_resume_device;
	err = tx_start(req, run, finish);
	if (likely(err != -EINPROGRESS))
		dev_put(dev);
	return err;
}
