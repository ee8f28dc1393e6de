// SPDX-License-Identifier: GPL-2.0-only
/* Sending, for both protocols: run the request, finish the packet, hand it on. */
#include <net/sch_generic.h>

#include "esp.h"
#include "tx.h"

/* puts the request; the skb stays the core's */
static int tx_done(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	u64 seq = req->seq;

	if (likely(!err))
		sa->tx->finish(req);
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

/* 0, -errno that is counted, or -EINPROGRESS, and then @done follows */
static int tx_run(struct ipsec_req *req, void (*done)(struct ipsec_req *req, int err))
{
	int err;

	if (IS_ERR(req))
		return PTR_ERR(req);
	req->done = done;
	err = req->sa->tx->run(req);
	return err == -EINPROGRESS ? err : tx_done(req, err);
}

static bool tx_deliver(struct ipsec_sa *sa, struct sk_buff *skb, int err)
{
	struct net_device *from = skb->dev;

	xfrm_output_resume(skb_to_full_sk(skb), skb, err);
	dev_put(from);
	return true;
}

static void tx_resume(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;

	ipsec_lane_resume(sa, skb, IPSEC_LANE_TX, tx_done(req, err));
}

static void tx_lane_done(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;

	ipsec_lane_done(sa, skb, tx_done(req, err));
}

static int tx_lane_work(struct ipsec_sa *sa, struct sk_buff *skb)
{
	return tx_run(sa->tx->prepare(sa, skb), tx_lane_done);
}

const struct ipsec_lane_job ipsec_tx_job = {
	.full		= IPSEC_DROP_TX_QUEUE,
	.spread		= IPSEC_EVENT_TX_SPREAD,
	.work		= tx_lane_work,
	.deliver	= tx_deliver,
};

/* The device's queue is that of the CPU that brings, as it was when packets were processed on
 * the spot (XPS), whoever delivers. It takes the place of the NAPI that brought the packet.
 */
static void tx_keep_queue(struct sk_buff *skb)
{
#ifdef CONFIG_XPS
	skb->sender_cpu = raw_smp_processor_id() + 1;
#endif
}

/* pktgen calls us as well, and takes no answer for "later" */
static bool tx_by_core(const struct xfrm_state *x, const struct sk_buff *skb)
{
	return skb_dst(skb) && skb_dst(skb)->xfrm == x;
}

/**
 * ipsec_output() - type->output of ESP and AH
 * @x: the SA
 * @skb: the payload; the transport header is where ESP, UDP or AH goes, the mac
 *	header points at the byte that names the next header
 *
 * Context: any; does not sleep.
 * Return: 0, -errno (counted; the skb stays the core's), or -EINPROGRESS (it is
 * ours until xfrm_output_resume()).
 */
int ipsec_output(struct xfrm_state *x, struct sk_buff *skb)
{
	struct net_device *from = skb->dev;
	struct ipsec_sa *sa = ipsec_sa(x);
	int err = -EAGAIN;

	/* where it came from, which is asked for again when it is sent on */
	dev_hold(from);
	if (unlikely(ipsec_lane_open(sa, IPSEC_LANE_TX)) && tx_by_core(x, skb)) {
		tx_keep_queue(skb);
		err = ipsec_lane_push(sa, skb, ipsec_tx_seq(skb), IPSEC_LANE_TX);
	}
	if (likely(err == -EAGAIN)) {
		rcu_read_lock();
		ipsec_lane_passes(sa);
		err = ipsec_lane_passed(sa, tx_run(sa->tx->prepare(sa, skb), tx_resume));
		rcu_read_unlock();
	}
	if (likely(err != -EINPROGRESS))
		dev_put(from);
	return err;
}

/* too late for whoever asked, who has dropped it */
static void tx_forsaken(struct ipsec_req *req, int err)
{
	struct ipsec_counters __percpu *counters = req->sa->counters;
	struct sk_buff *skb = req->skb;

	rcu_read_lock();
	tx_done(req, err ?: -EBUSY);
	kfree_skb(skb);
	rcu_read_unlock();
	this_cpu_dec(counters->busy);
}

/**
 * ipsec_output_now() - encrypt a packet that cannot wait
 * @sa: the SA, whose transform finishes at once, see ipsec_suite_defers()
 * @skb: the packet, which nobody shares; its secpath holds the SA
 * @req: the packet's request, ready to run, or an ERR_PTR that is counted
 *
 * Context: RCU read side; does not sleep.
 * Return: 0 or -errno (counted); the skb stays the caller's. What finishes later for
 * once is lost.
 */
int ipsec_output_now(struct ipsec_sa *sa, struct sk_buff *skb, struct ipsec_req *req)
{
	int err;

	ipsec_lane_passes(sa);
	skb_get(skb);
	err = tx_run(req, tx_forsaken);
	if (unlikely(err == -EINPROGRESS))
		return -EBUSY;
	consume_skb(skb);
	return ipsec_lane_passed(sa, err);
}

/* The packet as its device gets it; it gives up its SA, which we hold on. */
static void tx_leave_sa(struct ipsec_sa *sa, struct sk_buff *skb)
{
	xfrm_state_hold(sa->x);
	secpath_reset(skb);
	skb_push(skb, skb->data - skb_mac_header(skb));
}

/* Does the device take the packet? What it does not take, as its queue is stopped, the core puts
 * aside for this CPU: without a limit, the next packet would overtake it once the queue goes on,
 * and as long as anything is there, the core does not encrypt what this CPU sends to a device
 * without a queueing discipline. So it is taken back at once.
 */
static bool tx_to_device(struct sk_buff *skb)
{
	struct sk_buff_head *aside = &this_cpu_ptr(&softnet_data)->xfrm_backlog;
	u16 queue = skb_get_queue_mapping(skb);

	/* one that the device has no more may never go on; the core looks for another */
	if (queue < READ_ONCE(skb->dev->real_num_tx_queues) &&
	    netif_xmit_frozen_or_stopped(netdev_get_tx_queue(skb->dev, queue)))
		return false;
	/* the core looks for a queue again, and is to find the same */
	skb_record_rx_queue(skb, queue);
	xfrm_dev_resume(skb);
	if (likely(skb_peek_tail(aside) != skb))
		return true;
	skb_unlink(skb, aside);
	return false;
}

/* A device that is down, has no link or has left the namespace takes no more; the core does not
 * wait for one either.
 */
static bool tx_device_gone(const struct net_device *dev, struct xfrm_state *x)
{
	return !netif_running(dev) || !netif_carrier_ok(dev) || !net_eq(dev_net(dev), xs_net(x));
}

static bool tx_deliver_device(struct ipsec_sa *sa, struct sk_buff *skb, int err)
{
	struct net_device *dev = skb->dev;
	struct xfrm_state *x = sa->x;

	if (skb_sec_path(skb))
		tx_leave_sa(sa, skb);
	if (likely(!err) && unlikely(tx_device_gone(dev, x)))
		err = ipsec_drop(sa, ipsec_tx_seq(skb), IPSEC_DROP_TX_DEVICE);
	if (unlikely(err)) {
		XFRM_INC_STATS(xs_net(x), LINUX_MIB_XFRMOUTSTATEPROTOERROR);
		kfree_skb(skb);
	} else if (!tx_to_device(skb)) {
		return false;
	}
	dev_put(dev);
	xfrm_state_put(x);
	return true;
}

static void tx_resume_device(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;

	ipsec_lane_resume(sa, skb, IPSEC_LANE_TX_DEVICE, tx_done(req, err));
}

static int tx_lane_work_device(struct ipsec_sa *sa, struct sk_buff *skb)
{
	return tx_run(ipsec_esp_tx_device(sa, skb), tx_lane_done);
}

const struct ipsec_lane_job ipsec_tx_device_job = {
	.full		= IPSEC_DROP_TX_QUEUE,
	.spread		= IPSEC_EVENT_TX_SPREAD,
	.work		= tx_lane_work_device,
	.deliver	= tx_deliver_device,
};

/* A device without a queue tells the sender that a packet which comes later was lost. */
static bool tx_has_queue(const struct net_device *dev)
{
	return rcu_dereference_bh(netdev_get_tx_queue(dev, 0)->qdisc)->enqueue;
}

/**
 * ipsec_output_device() - encrypt a packet on its way to a device
 * @sa: the SA
 * @skb: the packet, its sequence number where the core leaves it for type->output
 *
 * The packet holds its device while the crypto API or a lane has it; nobody else
 * does.
 *
 * Context: BH off; does not sleep.
 * Return: 0, -errno (counted; the skb stays the core's), or -EINPROGRESS (it is
 * ours, and leaves by xfrm_dev_resume()).
 */
int ipsec_output_device(struct ipsec_sa *sa, struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	int err = -EAGAIN;

	dev_hold(dev);
	if (IPSEC_SEGMENT_MAY_WAIT && tx_has_queue(dev) &&
	    unlikely(ipsec_lane_open(sa, IPSEC_LANE_TX_DEVICE)))
		err = ipsec_lane_push(sa, skb, ipsec_tx_seq(skb), IPSEC_LANE_TX_DEVICE);
	if (likely(err == -EAGAIN)) {
		ipsec_lane_passes(sa);
		err = ipsec_lane_passed(sa, tx_run(ipsec_esp_tx_device(sa, skb),
						   tx_resume_device));
	}
	if (likely(err != -EINPROGRESS))
		dev_put(dev);
	return err;
}
