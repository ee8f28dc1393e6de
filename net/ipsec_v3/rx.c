// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving, for both protocols: prepare, run, verify, finish.
 *
 * The four steps are the protocol's (struct ipsec_rx_ops); what joins them, and
 * who owns the packet when, is here. A packet that the crypto API keeps comes
 * back through rx_resume(), and from there on takes the same way.
 */
#include <net/ip6_tunnel.h>
#include <net/ip_tunnels.h>

#include "crypt.h"
#include "late.h"
#include "rx.h"
#include "window.h"

#define RX_REPLACED	(-EALREADY)

/**
 * ipsec_rx_strip() - take off the outer protocol header
 * @sa: the SA
 * @skb: the packet, its data at the protocol header
 * @hlen: bytes of protocol header
 *
 * Leaves the headers where the core's mode handling expects them: the transport
 * header is where the IP header moves to, or the payload in tunnel mode.
 */
void ipsec_rx_strip(struct ipsec_sa *sa, struct sk_buff *skb, unsigned int hlen)
{
	int iplen = skb_network_header_len(skb);

	if (sa->x->encap)
		iplen -= sizeof(struct udphdr);
	__skb_pull(skb, hlen);
	if (sa->x->props.mode == XFRM_MODE_TUNNEL)
		skb_reset_transport_header(skb);
	else
		skb_set_transport_header(skb, -iplen);
}

/* The VTI device that the core is to give the packet to. Nobody holds it for a packet that comes
 * back later, but for us.
 */
static struct net_device *rx_tunnel(const struct ipsec_sa *sa, struct sk_buff *skb)
{
	const struct xfrm_tunnel_skb_cb *cb = XFRM_TUNNEL_SKB_CB(skb);

	if (likely(!cb->tunnel.ip4))
		return NULL;
	return sa->family->af == AF_INET ? cb->tunnel.ip4->dev : cb->tunnel.ip6->dev;
}

/* gives up the devices of a packet that ends with us; type->input has kept it, or is about to say
 * so
 */
static void rx_release(struct ipsec_sa *sa, struct sk_buff *skb)
{
	dev_put(rx_tunnel(sa, skb));
	/* which the core took for us */
	dev_put(skb->dev);
}

/**
 * ipsec_rx_discard() - a packet that type->input has kept ends with us
 * @sa: the SA, which may go with the packet
 * @skb: the packet; consumed, and with it what was held of its devices. Its end is counted.
 *
 * Context: any.
 */
void ipsec_rx_discard(struct ipsec_sa *sa, struct sk_buff *skb)
{
	struct net_device *tunnel = rx_tunnel(sa, skb), *dev = skb->dev;

	/* whoever traces it may look at them */
	kfree_skb(skb);
	dev_put(tunnel);
	dev_put(dev);
}

/* The packet ends with us although nothing is wrong. The core forgets it on -EINPROGRESS; one
 * that looks at it once more does that before this CPU's next softirq.
 */
static int rx_consume(struct sk_buff *skb)
{
	if (IPSEC_INPUT_KEEPS_DEVICE)
		consume_skb(skb);
	else
		dev_consume_skb_irq(skb);
	return -EINPROGRESS;
}

static bool rx_nested(int nexthdr)
{
	return nexthdr == IPPROTO_ESP || nexthdr == IPPROTO_AH || nexthdr == IPPROTO_COMP;
}

/* The core drops a packet between two SAs unless it has a route, and one that GRO
 * gave us has none.
 */
static void rx_route(struct ipsec_sa *sa, struct sk_buff *skb)
{
	rcu_read_lock();
	sa->family->route(skb);
	skb_dst_force(skb);
	rcu_read_unlock();
}

/* what is done in the order of arrival, as a dummy packet moves the window */
static int rx_accept(struct ipsec_sa *sa, struct sk_buff *skb, int nexthdr)
{
	if (unlikely(nexthdr == IPPROTO_NONE && sa->type.proto == IPPROTO_ESP)) {
		ipsec_window_dummy(sa, skb, ipsec_rx_seq(skb));
		rx_release(sa, skb);
		return rx_consume(skb);
	}
	if (unlikely(!skb_dst(skb) && rx_nested(nexthdr)))
		rx_route(sa, skb);
	/* it is that of the ESP, AH or UDP header: the same for all flows inside */
	skb_clear_hash(skb);
	return nexthdr;
}

/**
 * ipsec_rx_finish() - a verified packet becomes its payload
 * @sa: the SA
 * @skb: the packet; consumed on -EINPROGRESS, else the caller's
 * @seq: its sequence number
 *
 * Context: BH off.
 * Return: the next header, -errno (counted), or -EINPROGRESS for a dummy packet,
 * which ends here.
 */
int ipsec_rx_finish(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	return rx_accept(sa, skb, sa->rx->finish(sa, skb, seq));
}

/**
 * ipsec_rx_forged() - book a packet whose ICV is wrong
 * @sa: the SA
 * @skb: the packet; stays the caller's
 * @seq: the sequence number under which it was tried
 *
 * Return: -EBADMSG, upon which the core audits it and counts it for the SA.
 */
int ipsec_rx_forged(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	if (sa->resync)
		atomic_add_unless(&sa->icv_failures, 1, IPSEC_RESYNC_RUN);
	return ipsec_drop(sa, seq, IPSEC_DROP_RX_ICV);
}

static int rx_verdict(struct ipsec_req *req, int err)
{
	const struct ipsec_rx_ops *rx = req->sa->rx;

	return rx->verify ? rx->verify(req, err) : err;
}

static int rx_failed(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq, int err)
{
	if (err == -EBADMSG)
		return ipsec_rx_forged(sa, skb, seq);
	return ipsec_drop(sa, seq, err == -ENOMEM ?
			  IPSEC_DROP_RX_NOMEM : IPSEC_DROP_RX_CRYPTO);
}

/* Puts the request. The next header, -errno that is counted, or RX_REPLACED when a copy
 * awaits a second try instead. The skb stays the caller's.
 */
static int rx_opened(struct ipsec_req *req, int err)
{
	struct sk_buff *skb = req->skb, *stash = req->stash;
	struct ipsec_sa *sa = req->sa;
	u64 seq = req->seq;

	err = rx_verdict(req, err);
	ipsec_req_put(req);

	if (unlikely(stash && err == -EBADMSG && ipsec_late_queue(sa, stash)))
		return RX_REPLACED;
	if (unlikely(stash))
		kfree_skb(stash);
	if (unlikely(err))
		return rx_failed(sa, skb, seq, err);

	if (unlikely(sa->resync && atomic_read(&sa->icv_failures)))
		atomic_set(&sa->icv_failures, 0);
	return sa->rx->finish(sa, skb, seq);
}

/* what rx_opened() says of a packet, or -EINPROGRESS, and then @done follows */
static int rx_open(struct ipsec_sa *sa, struct sk_buff *skb,
		   void (*done)(struct ipsec_req *req, int err))
{
	u64 seq = ipsec_rx_seq(skb);
	struct sk_buff *stash = ipsec_late_stash(sa, skb, seq);
	struct ipsec_req *req = sa->rx->prepare(sa, skb, seq);
	int err;

	if (IS_ERR(req)) {
		kfree_skb(stash);
		return PTR_ERR(req);
	}
	req->stash = stash;
	req->done = done;
	skb->ip_summed = CHECKSUM_NONE;

	err = sa->rx->run(req);
	return err == -EINPROGRESS ? err : rx_opened(req, err);
}

/* the skb is gone on -EINPROGRESS, else still the core's */
static int rx_close(struct ipsec_sa *sa, struct sk_buff *skb, int result)
{
	if (likely(result >= 0))
		return rx_accept(sa, skb, result);
	if (result != RX_REPLACED)
		return result;
	/* what it held went with the stash */
	return rx_consume(skb);
}

/* Would the core mistake the XFRM or VTI interface that takes the packet for its device? */
static bool rx_mistaken(const struct xfrm_state *x, struct sk_buff *skb)
{
	return !IPSEC_INPUT_KEEPS_DEVICE &&
	       (XFRM_TUNNEL_SKB_CB(skb)->tunnel.ip4 || x->if_id || ipsec_external_any());
}

/* Did the packet's device leave the namespace while it waited, or would the core mistake an
 * interface for it? It does not go on then.
 */
static bool rx_device_gone(struct xfrm_state *x, struct sk_buff *skb, int nexthdr)
{
	return !net_eq(dev_net(skb->dev), xs_net(x)) || (nexthdr >= 0 && rx_mistaken(x, skb));
}

static void rx_drop_device(struct ipsec_sa *sa, struct sk_buff *skb, int nexthdr)
{
	if (nexthdr >= 0)
		ipsec_drop(sa, ipsec_rx_seq(skb), IPSEC_DROP_RX_DEVICE);
	else
		XFRM_INC_STATS(xs_net(sa->x), LINUX_MIB_XFRMINSTATEPROTOERROR);
	ipsec_rx_discard(sa, skb);
}

/**
 * ipsec_rx_deliver() - give a packet that type->input has kept back to the core
 * @sa: the SA, which may go with the packet
 * @skb: the packet; consumed
 * @nexthdr: the next header, or -errno that is counted
 *
 * Context: BH off, RCU held.
 */
void ipsec_rx_deliver(struct ipsec_sa *sa, struct sk_buff *skb, int nexthdr)
{
	struct net_device *tunnel = rx_tunnel(sa, skb), *dev = skb->dev;

	if (unlikely(rx_device_gone(sa->x, skb, nexthdr))) {
		rx_drop_device(sa, skb, nexthdr);
		return;
	}
	/* the core gives it up, and then asks it whether it is up */
	dev_hold(dev);
	xfrm_input_resume(skb, nexthdr);
	dev_put(dev);
	dev_put(tunnel);
}

static bool rx_deliver(struct ipsec_sa *sa, struct sk_buff *skb, int result)
{
	int nexthdr = rx_close(sa, skb, result);

	if (nexthdr != -EINPROGRESS)
		ipsec_rx_deliver(sa, skb, nexthdr);
	return true;
}

static void rx_resume(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;

	ipsec_lane_resume(sa, skb, IPSEC_LANE_RX, rx_opened(req, err));
}

static void rx_lane_done(struct ipsec_req *req, int err)
{
	struct ipsec_sa *sa = req->sa;
	struct sk_buff *skb = req->skb;

	ipsec_lane_done(sa, skb, rx_opened(req, err));
}

static int rx_lane_work(struct ipsec_sa *sa, struct sk_buff *skb)
{
	return rx_open(sa, skb, rx_lane_done);
}

const struct ipsec_lane_job ipsec_rx_job = {
	.full		= IPSEC_DROP_RX_QUEUE,
	.spread		= IPSEC_EVENT_RX_SPREAD,
	.work		= rx_lane_work,
	.deliver	= rx_deliver,
};

/* May the packet come back later? Not where the core then mistakes the device: an XFRM or VTI
 * interface will take the packet, or it has come back from another SA already, and the core looks
 * at it after we have taken it.
 */
static bool rx_may_wait(const struct xfrm_state *x, struct sk_buff *skb)
{
	return IPSEC_INPUT_KEEPS_DEVICE ||
	       (skb_sec_path(skb)->len == 1 && !rx_mistaken(x, skb));
}

static int rx_on_the_spot(struct ipsec_sa *sa, struct sk_buff *skb)
{
	int result;

	ipsec_lane_passes(sa);
	result = ipsec_lane_passed(sa, rx_open(sa, skb, rx_resume));
	return result == -EINPROGRESS ? result : rx_close(sa, skb, result);
}

/**
 * ipsec_input() - type->input of ESP and AH
 * @x: the SA
 * @skb: the packet, its data at the protocol header
 *
 * Context: BH off, RCU held; the core holds @skb->dev for us.
 * Return: the next header, -errno (the skb stays the core's), or -EINPROGRESS
 * (the skb is ours).
 */
int ipsec_input(struct xfrm_state *x, struct sk_buff *skb)
{
	struct ipsec_sa *sa = ipsec_sa(x);
	struct net_device *tunnel = rx_tunnel(sa, skb);
	int result = -EAGAIN;

	dev_hold(tunnel);
	if (rx_may_wait(x, skb) && unlikely(ipsec_lane_open(sa, IPSEC_LANE_RX)))
		result = ipsec_lane_push(sa, skb, ipsec_rx_seq(skb), IPSEC_LANE_RX);
	if (likely(result == -EAGAIN))
		result = rx_on_the_spot(sa, skb);
	if (likely(result != -EINPROGRESS))
		dev_put(tunnel);
	return result;
}

/**
 * ipsec_rx_verify() - is the ICV right under this sequence number
 * @sa: the SA
 * @skb: the packet; decrypted in place when right, destroyed when not
 * @seq: the sequence number to try
 *
 * Context: process context, sleeps.
 * Return: 0, -EBADMSG when it is not, or another -errno (counted) when nobody can say.
 */
int ipsec_rx_verify(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	struct ipsec_req *req = sa->rx->prepare(sa, skb, seq);
	int err;

	if (IS_ERR(req))
		return PTR_ERR(req);
	err = rx_verdict(req, ipsec_req_wait(req, sa->rx->run));
	ipsec_req_put(req);
	return err && err != -EBADMSG ? rx_failed(sa, skb, seq, err) : err;
}
