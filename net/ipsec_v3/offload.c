// SPDX-License-Identifier: GPL-2.0-only
/*
 * ESP at the edge of the stack: whole GSO packets down to the device, GRO on the
 * way up, and devices that encrypt.
 *
 * Sending. The core lets a packet, GSO or not, through the stack with room for the
 * ESP header but not yet encrypted. At the device it has a GSO packet segmented,
 * and asks for each packet to be encrypted, or handed to a device that does so:
 *
 *	offload_encap()		SPI and number into the ESP header
 *	offload_gso_segment()	segments; each gets its number
 *	offload_xmit()		trailer, IV, encryption, IP header
 *
 * The core takes as many numbers as there should be segments and names the first. The
 * ESP header of each packet holds the low half of its own; the high half follows
 * from the number that is named, which is near, and so it does not matter in which order and
 * how often the core asks. What would be somewhere else by then is encrypted in the first two.
 *
 * Receiving. A packet is decrypted before the stack sees it, and goes in once more
 * from the start, where GRO finds what was inside. What is odd in any way (options,
 * extension headers, link padding, another header in front) takes the common way,
 * which knows it all.
 */
#include <linux/module.h>
#include <linux/udp.h>
#include <net/esp.h>
#include <net/gro.h>
#include <net/gso.h>
#include <net/lwtunnel.h>
#include <net/protocol.h>

#include "esp.h"
#include "esp_wire.h"
#include "ipsec.h"
#include "tx.h"

static bool ipsec_offload = true;
module_param_named(offload, ipsec_offload, bool, 0444);
MODULE_PARM_DESC(offload, "GSO, GRO and device offload of ESP: leave packets whole and unencrypted down to the device (default on)");

#define OFFLOAD_NOW	BIT(31)		/* in xo->flags, of which the core has the low ones */
#define OFFLOAD_JUMBO	8		/* octets of a hop-by-hop header with a length in it */

static bool offload_by_device(const struct xfrm_state *x, const struct sk_buff *skb,
			      netdev_features_t features)
{
	return x->xso.dev == skb->dev &&
	       (features | skb->dev->gso_partial_features) & NETIF_F_HW_ESP;
}

/* Does its route put headers before it (SRv6, MPLS, BPF)? */
static bool offload_will_move(const struct sk_buff *skb)
{
	struct lwtunnel_state *lwt = xfrm_dst_child(skb_dst(skb))->lwtstate;

	return lwtunnel_output_redirect(lwt) || lwtunnel_xmit_redirect(lwt);
}

/* The core has looked whether it fits once it is encrypted, but with a header without options, and
 * so with another padding. IP must see how long it is: a device does not fragment.
 */
static bool offload_is_too_long(const struct xfrm_state *x, const struct sk_buff *skb)
{
	const struct ipsec_sa *sa = ipsec_sa(x);
	struct esp_plan plan;

	if (x->props.mode != XFRM_MODE_TRANSPORT ||
	    likely(skb_network_header_len(skb) == sa->family->hdrlen))
		return false;
	return esp_wire_plan(&plan, skb->len, 0, sa->align, sa->icvlen) ||
	       skb->len - skb_network_offset(skb) + plan.tail >
	       dst_mtu(xfrm_dst_child(skb_dst(skb)));
}

/* The core drops a packet that has no route behind that of its SA, with XfrmOutError. */
static void offload_encap_failed(struct sk_buff *skb)
{
	struct dst_entry *behind = dst_clone(xfrm_dst_child(skb_dst(skb)));

	skb_dst_drop(skb);
	skb_dst_set(skb, behind);
}

/* as type->output does, but the core takes no answer here */
static void offload_encap_now(struct ipsec_sa *sa, struct sk_buff *skb)
{
	int err;

	rcu_read_lock();
	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_help(skb))
		err = ipsec_drop(sa, ipsec_tx_seq(skb), IPSEC_DROP_TX_NOMEM);
	else
		err = ipsec_output_now(sa, skb, sa->tx->prepare(sa, skb));
	rcu_read_unlock();
	if (unlikely(err)) {
		offload_encap_failed(skb);
		return;
	}
	skb->encapsulation = 0;
	secpath_reset(skb);
}

/* No device may segment it. SRv6 makes the transport header the inner one, and then the core
 * drops what does not look like TCP there. Who segments it finds ESP by the headers in front.
 */
static void offload_gso_now(struct sk_buff *skb)
{
	xfrm_offload(skb)->flags |= OFFLOAD_NOW;
	skb_shinfo(skb)->gso_type |= SKB_GSO_DODGY;
	skb->transport_header = skb->inner_transport_header;
}

/* The core's call for every packet that will come to offload_xmit(). What cannot wait so long
 * is encrypted here, or where a GSO packet becomes segments.
 */
static void offload_encap(struct xfrm_state *x, struct sk_buff *skb)
{
	struct xfrm_offload *xo = xfrm_offload(skb);
	struct ip_esp_hdr *esp = ip_esp_hdr(skb);
	bool moves = unlikely(offload_will_move(skb));

	if (!ipsec_tx_in_place(ipsec_sa(x), skb)) {
		ipsec_drop(ipsec_sa(x), ipsec_tx_seq(skb), IPSEC_DROP_TX_HEADER);
		offload_encap_failed(skb);
		return;
	}
	if (!skb_is_gso(skb) && (moves || offload_is_too_long(x, skb))) {
		offload_encap_now(ipsec_sa(x), skb);
		return;
	}
	xo->proto = *skb_mac_header(skb);
	*skb_mac_header(skb) = IPPROTO_ESP;
	esp->spi = x->id.spi;
	esp->seq_no = htonl(xo->seq.low);
	__skb_push(skb, -skb_network_offset(skb));
	/* The core has made it that of the payload, GRE for example, and then drops what
	 * does not look like TCP there. The checksum tells where TCP is.
	 */
	if (skb_is_gso(skb) && skb->ip_summed == CHECKSUM_PARTIAL)
		skb_set_inner_transport_header(skb, skb_checksum_start_offset(skb));
	if (moves)
		offload_gso_now(skb);
}

/* The number of a packet; the first of its segments'; or that of the last of those which the core
 * has made before it took numbers, for they share this.
 */
static u64 offload_named(const struct xfrm_offload *xo)
{
	return (u64)xo->seq.hi << 32 | xo->seq.low;
}

static u64 offload_seq(const struct ipsec_sa *sa, const struct xfrm_offload *xo,
		       const struct ip_esp_hdr *esp)
{
	u32 low = ntohl(esp->seq_no);

	return sa->esn ? offload_named(xo) + (s32)(low - xo->seq.low) : low;
}

static netdev_features_t offload_features(const struct xfrm_state *x, struct sk_buff *skb,
					  netdev_features_t features)
{
	bool now = xfrm_offload(skb)->flags & OFFLOAD_NOW;

	/* all segments, as there will be no other time to encrypt them */
	if (unlikely(now))
		features &= ~NETIF_F_GSO_MASK;
	/* whoever encrypts in software needs all of it, with its checksums */
	if (now || !offload_by_device(x, skb, features))
		return features & ~(NETIF_F_SG | NETIF_F_CSUM_MASK | NETIF_F_SCTP_CRC);
	if (!((features | skb->dev->gso_partial_features) & NETIF_F_HW_ESP_TX_CSUM))
		return features & ~(NETIF_F_CSUM_MASK | NETIF_F_SCTP_CRC);
	return features;
}

/* Takes n fresh numbers. A GSO packet from outside (tun, a packet socket) does not say
 * how many segments it will be, and the core took too few numbers for it. False
 * when there are no more.
 */
static bool offload_renumber(struct xfrm_state *x, struct xfrm_offload *xo, u32 n)
{
	struct xfrm_replay_state_esn *esn = x->replay_esn;
	bool has_high = x->repl_mode == XFRM_REPLAY_MODE_ESN, wraps, ends;
	u32 *oseq = esn ? &esn->oseq : &x->replay.oseq;

	spin_lock_bh(&x->lock);
	wraps = *oseq + n < *oseq;
	ends = wraps && (has_high ? esn->oseq_hi == U32_MAX :
			 !(x->props.extra_flags & XFRM_SA_XFLAG_OSEQ_MAY_WRAP));
	if (!ends) {
		xo->seq.low = *oseq + 1;
		xo->seq.hi = has_high ? esn->oseq_hi + !xo->seq.low : 0;
		*oseq += n;
		if (has_high)
			esn->oseq_hi += wraps;
	}
	spin_unlock_bh(&x->lock);
	return !ends;
}

static u32 offload_segments(const struct sk_buff *skb)
{
	return skb_is_gso(skb) ? skb_shinfo(skb)->gso_segs : 1;
}

/* The core frees the packet, and counts nothing. */
static int offload_gso_drop(struct xfrm_state *x, enum ipsec_count reason)
{
	XFRM_INC_STATS(xs_net(x), LINUX_MIB_XFRMOUTSTATEPROTOERROR);
	return ipsec_drop(ipsec_sa(x), U64_MAX, reason);
}

/* In transport mode the core looks for the ESP header x->props.header_len in front of
 * the transport header; when ESP protects destination options, it is not there.
 */
static int offload_number(struct xfrm_state *x, struct xfrm_offload *xo, struct sk_buff *segs,
			  unsigned int at, u32 taken)
{
	struct sk_buff *skb;
	u32 seq, n = 0;

	for (skb = segs; skb; skb = skb->next)
		n += offload_segments(skb);
	if (unlikely(n > taken) && !offload_renumber(x, xo, n))
		return offload_gso_drop(x, IPSEC_DROP_TX_EXHAUSTED);

	seq = xo->seq.low;
	for (skb = segs; skb; skb = skb->next) {
		((struct ip_esp_hdr *)(skb_mac_header(skb) + at))->seq_no = htonl(seq);
		seq += offload_segments(skb);
		if (x->props.mode == XFRM_MODE_TRANSPORT)
			skb->transport_header = skb->mac_header + at + x->props.header_len;
	}
	return 0;
}

/* Are the headers those that offload_encap() has seen? Where tc, IPVS or BPF has put others before
 * them, the core has sought the payload in the wrong place, and what follows would be written
 * behind the packet's end.
 */
static bool offload_unmoved(const struct xfrm_state *x, const struct sk_buff *skb)
{
	return ipsec_tx_in_place(ipsec_sa(x), skb) &&
	       ip_esp_hdr(skb)->spi == x->id.spi &&
	       ipsec_sa(x)->family->leads_to(skb, IPPROTO_ESP);
}

/* One segment, its data at the link header; @network and @esp say where IP and ESP are. */
static int offload_segment_now(struct xfrm_state *x, struct sk_buff *skb, unsigned int network,
			       unsigned int esp)
{
	struct skb_gso_cb gso = *SKB_GSO_CB(skb);
	struct ipsec_sa *sa = ipsec_sa(x);
	int err;

	skb_set_network_header(skb, network);
	skb_set_transport_header(skb, esp);
	__skb_pull(skb, min(skb->len, esp + ipsec_tx_hdrlen(ipsec_sa(x))));
	if (unlikely(!offload_unmoved(x, skb)))
		return ipsec_drop(sa, offload_named(xfrm_offload(skb)), IPSEC_DROP_TX_MOVED);
	ipsec_tx_seq_set(skb, offload_seq(sa, xfrm_offload(skb), ip_esp_hdr(skb)));
	err = ipsec_output_now(sa, skb, ipsec_esp_tx_device(sa, skb));
	if (unlikely(err))
		return err;
	__skb_push(skb, skb->data - skb_mac_header(skb));
	secpath_reset(skb);
	*SKB_GSO_CB(skb) = gso;
	return 0;
}

/* The first of a chain that GRO has made is the GSO packet itself, which the caller has as well. */
static int offload_segment_own(struct xfrm_state *x, struct sk_buff **link)
{
	struct sk_buff *skb = *link, *own;

	if (likely(!skb_shared(skb)))
		return 0;
	own = skb_copy(skb, GFP_ATOMIC);
	if (!own)
		return ipsec_drop(ipsec_sa(x), U64_MAX, IPSEC_DROP_TX_NOMEM);
	own->next = skb->next;
	*link = own;
	skb_mark_not_on_list(skb);
	consume_skb(skb);
	return 0;
}

/* What offload_encap() could not leave to the device: the headers before ESP get their lengths
 * when this is done. A segment that fails is dropped alone; an ERR_PTR when none is left.
 */
static struct sk_buff *offload_segments_now(struct xfrm_state *x, struct sk_buff *segs,
					    unsigned int network, unsigned int esp)
{
	struct sk_buff **link = &segs, *last = NULL, *skb;
	int err;

	while (*link) {
		err = offload_segment_own(x, link) ?:
		      offload_segment_now(x, *link, network, esp);
		skb = *link;
		if (likely(!err)) {
			last = skb;
			link = &skb->next;
			continue;
		}
		XFRM_INC_STATS(xs_net(x), LINUX_MIB_XFRMOUTSTATEPROTOERROR);
		*link = skb->next;
		skb_mark_not_on_list(skb);
		kfree_skb(skb);
	}
	if (!last)
		return ERR_PTR(-ENOBUFS);
	/* where the core looks for the last one */
	segs->prev = last;
	return segs;
}

/* Packets that GRO has only chained keep the headroom that their NIC gave them, which is
 * too little for the headers that each of them gets now. A member may be somebody else's
 * as well, and then so is the link in it: the chain is copied.
 */
static int offload_gso_headroom(struct sk_buff *skb)
{
	struct sk_buff **link, *member, *wide;
	unsigned int room;

	if (skb_unclone(skb, GFP_ATOMIC))
		return -ENOMEM;
	for (link = &skb_shinfo(skb)->frag_list; (member = *link); link = &(*link)->next) {
		/* its data is behind its own headers */
		room = skb_headroom(skb) - skb_network_offset(member);
		if (!skb_shared(member) && skb_headroom(member) >= room)
			continue;
		wide = skb_realloc_headroom(member, room);
		if (!wide)
			return -ENOMEM;
		wide->next = member->next;
		*link = wide;
		skb->truesize += wide->truesize - member->truesize;
		consume_skb(member);
	}
	return 0;
}

/* Members of a chain get a copy of what is in front of the inner header: in transport mode that is
 * not ESP. There the core segments what is in one piece.
 */
static int offload_gso_chained(const struct xfrm_state *x, struct sk_buff *skb)
{
	if (likely(!(skb_shinfo(skb)->gso_type & SKB_GSO_FRAGLIST)))
		return 0;
	return x->props.mode == XFRM_MODE_TUNNEL ? offload_gso_headroom(skb) : skb_linearize(skb);
}

/* Is this IPv6 header followed by one that has the length only (RFC 2675 2) */
static bool offload_is_jumbo(const struct ipv6hdr *ip)
{
	const u8 *hop = (const u8 *)(ip + 1);

	return ip->nexthdr == NEXTHDR_HOP && !hop[1] && hop[2] == IPV6_TLV_JUMBO;
}

/* What TCP sends at once may be longer than IPv6's header can say, and says it in an option that no
 * segment shall have. The core takes that away only where TCP is next, not ESP, and not from a
 * packet in a tunnel over IPv4. The payload is skb->data. What is in front of the option goes
 * along, from where the core began to segment: behind labels of MPLS it sets the MAC header anew.
 */
static int offload_gso_unjumbo(const struct xfrm_state *x, struct sk_buff *skb)
{
	bool inside = x->props.mode == XFRM_MODE_TUNNEL;
	struct ipv6hdr *ip;
	u8 *first;

	/* counted from the outer header, so not too strict */
	if (likely(skb->len - skb_network_offset(skb) <= IPV6_MAXPLEN) ||
	    (inside ? xfrm_offload(skb)->proto != IPPROTO_IPV6 : x->props.family != AF_INET6))
		return 0;
	if ((inside && !pskb_may_pull(skb, sizeof(*ip) + OFFLOAD_JUMBO)) || skb_cow_head(skb, 0))
		return -ENOMEM;
	ip = inside ? (struct ipv6hdr *)skb->data : ipv6_hdr(skb);
	if (!offload_is_jumbo(ip))
		return 0;

	ip->nexthdr = *(u8 *)(ip + 1);
	first = skb->head + SKB_GSO_CB(skb)->mac_offset;
	memmove(first + OFFLOAD_JUMBO, first, (u8 *)(ip + 1) - first);
	SKB_GSO_CB(skb)->mac_offset += OFFLOAD_JUMBO;
	skb->mac_header += OFFLOAD_JUMBO;
	skb->network_header += OFFLOAD_JUMBO;
	if (inside) {
		skb->transport_header += OFFLOAD_JUMBO;
		skb->inner_network_header += OFFLOAD_JUMBO;
		__skb_pull(skb, OFFLOAD_JUMBO);
	}
	return 0;
}

static struct sk_buff *offload_gso_segment(struct sk_buff *skb, netdev_features_t features)
{
	unsigned int at, network;
	struct xfrm_offload *xo = xfrm_offload(skb);
	struct sk_buff *segs;
	struct xfrm_state *x;
	u32 taken = skb_shinfo(skb)->gso_segs;
	int err;

	if (!xo || !(skb_shinfo(skb)->gso_type & SKB_GSO_ESP))
		return ERR_PTR(-EINVAL);
	x = xfrm_input_state(skb);
	if (!pskb_may_pull(skb, ipsec_tx_hdrlen(ipsec_sa(x))))
		return ERR_PTR(offload_gso_drop(x, IPSEC_DROP_TX_NOMEM));
	if (ip_esp_hdr(skb)->spi != x->id.spi)
		return ERR_PTR(offload_gso_drop(x, IPSEC_DROP_TX_MOVED));

	__skb_pull(skb, ipsec_tx_hdrlen(ipsec_sa(x)));
	if (offload_gso_unjumbo(x, skb) || offload_gso_chained(x, skb))
		return ERR_PTR(offload_gso_drop(x, IPSEC_DROP_TX_NOMEM));
	at = skb_transport_header(skb) - skb_mac_header(skb);
	network = skb_network_header(skb) - skb_mac_header(skb);
	/* no checksum may be left to the device */
	skb->encap_hdr_csum = 1;
	xo->flags |= XFRM_GSO_SEGMENT;
	features = offload_features(x, skb, features);
	if (x->props.mode == XFRM_MODE_TUNNEL)
		segs = skb_eth_gso_segment(skb, features, xo->proto == IPPROTO_IPV6 ?
					   htons(ETH_P_IPV6) : htons(ETH_P_IP));
	else
		segs = ipsec_sa(x)->family->segment(skb, features, xo->proto);
	if (IS_ERR(segs))
		return ERR_PTR(offload_gso_drop(x, PTR_ERR(segs) == -ENOMEM ? IPSEC_DROP_TX_NOMEM :
								      IPSEC_DROP_TX_SEGMENT));
	/* NULL: the device will segment it */
	err = offload_number(x, xo, segs ?: skb, at, taken);
	if (unlikely(err)) {
		kfree_skb_list(segs);
		return ERR_PTR(err);
	}
	if (unlikely(xo->flags & OFFLOAD_NOW))
		return offload_segments_now(x, segs, network, at);
	return segs;
}

/* the device sees the packet's own number; segments share a secpath until here */
static int offload_to_device(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq, u8 next_header)
{
	struct xfrm_offload *xo;
	int err = ipsec_esp_offer(sa, skb, seq, next_header);

	if (err)
		return err;
	if (!skb_ext_add(skb, SKB_EXT_SEC_PATH))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);
	xo = xfrm_offload(skb);
	xo->seq.low = seq;
	xo->seq.hi = seq >> 32;
	xo->flags |= XFRM_XMIT;
	return 0;
}

static int offload_encrypt(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	int err;

	/* left to a device that then does not encrypt, or to another one */
	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_help(skb))
		return ipsec_drop(sa, seq, IPSEC_DROP_TX_NOMEM);
	xfrm_offload(skb)->flags |= CRYPTO_FALLBACK;
	ipsec_tx_seq_set(skb, seq);
	err = ipsec_output_device(sa, skb);
	if (likely(!err))
		secpath_reset(skb);
	return err;
}

/* What is counted already ends here. Were the core told, it would forget the segments before this
 * one, whose SA is then never freed, and drop those behind it without a word. It has to be told
 * where it would look for a last segment that it no longer has.
 */
static int offload_drop(struct xfrm_state *x, struct sk_buff *skb, int err)
{
	if (!IPSEC_SEGMENT_MAY_WAIT)
		return err;
	XFRM_INC_STATS(xs_net(x), LINUX_MIB_XFRMOUTSTATEPROTOERROR);
	kfree_skb(skb);
	return -EINPROGRESS;
}

static int offload_xmit(struct xfrm_state *x, struct sk_buff *skb, netdev_features_t features)
{
	struct xfrm_offload *xo = xfrm_offload(skb);
	u64 seq;
	int err;

	if (unlikely(!xo))
		return -EINVAL;
	if (unlikely(!offload_unmoved(x, skb)))
		return offload_drop(x, skb, ipsec_drop(ipsec_sa(x), offload_named(xo),
						       IPSEC_DROP_TX_MOVED));
	seq = offload_seq(ipsec_sa(x), xo, ip_esp_hdr(skb));
	if (offload_by_device(x, skb, features))
		err = offload_to_device(ipsec_sa(x), skb, seq, xo->proto);
	else
		err = offload_encrypt(ipsec_sa(x), skb, seq);
	return likely(!err) || err == -EINPROGRESS ? err : offload_drop(x, skb, err);
}

/* The device verified and decrypted it. The core books a dummy packet like any other, and
 * then looks for who takes it, and answers that nobody does, which RFC 4303 2.6 forbids;
 * to a packet that is for another host it does not answer. It asks us before it looks at the
 * window, so one that is replayed is counted here and there.
 */
static int offload_input_tail(struct xfrm_state *x, struct sk_buff *skb)
{
	int nexthdr = ipsec_esp_opened(ipsec_sa(x), skb);

	if (unlikely(nexthdr == IPPROTO_NONE)) {
		skb->pkt_type = PACKET_OTHERHOST;
		ipsec_event(ipsec_sa(x), IPSEC_EVENT_RX_DUMMY);
	}
	return nexthdr;
}

static const struct ipsec_family *offload_family(const struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		return &ipsec_family4;
	if (skb->protocol == htons(ETH_P_IPV6))
		return ipsec_family_get(AF_INET6);
	return NULL;
}

/* is it nothing but an IP header and ESP, or ESP in UDP (and not in FOU, which is no
 * encapsulation of an SA's), and nothing behind it
 */
static bool offload_gro_fits(const struct ipsec_family *family, struct sk_buff *skb)
{
	unsigned int at = skb_gro_offset(skb);
	struct ip_esp_hdr *esp;
	const u8 *ip;

	if (skb_network_offset(skb) || skb_is_gso(skb) || NAPI_GRO_CB(skb)->is_fou)
		return false;
	esp = skb_gro_header(skb, at + sizeof(*esp), at);
	if (!esp)
		return false;
	ip = (u8 *)esp - at;
	if (family->length(ip) != skb->len)
		return false;
	if (at == family->hdrlen && ip[family->nexthdr] == IPPROTO_ESP)
		return true;
	return at == family->hdrlen + sizeof(struct udphdr) &&
	       ip[family->nexthdr] == IPPROTO_UDP &&
	       ntohs(((struct udphdr *)esp)[-1].len) == skb->len - family->hdrlen;
}

/* the SA goes into the packet's secpath */
static bool offload_gro_lookup(const struct ipsec_family *family, struct sk_buff *skb,
			       const struct ip_esp_hdr *esp)
{
	const u8 *ip = (u8 *)esp - skb_gro_offset(skb);
	struct xfrm_state *x;
	struct sec_path *sp;

	/* through an SA already: what that proves must not be lost */
	if (skb_sec_path(skb))
		return false;
	x = ipsec_input_lookup(dev_net(skb->dev), skb->mark,
			       (const xfrm_address_t *)(ip + family->daddr), esp->spi,
			       IPPROTO_ESP, family->af);
	if (!x)
		return false;
	sp = secpath_set(skb);
	if (!sp) {
		xfrm_state_put(x);
		return false;
	}
	skb->mark = xfrm_smark_get(skb->mark, x);
	sp->xvec[sp->len++] = x;
	sp->olen++;
	return true;
}

static bool offload_by_nic(struct sk_buff *skb)
{
	const struct xfrm_offload *xo = xfrm_offload(skb);

	return xo && xo->flags & CRYPTO_DONE;
}

/* what the core's input wants to know of a packet, and then that itself */
static void offload_gro_input(const struct ipsec_family *family, struct sk_buff *skb)
{
	bool udp = skb_network_header(skb)[family->nexthdr] == IPPROTO_UDP;
	const struct ip_esp_hdr *esp = (struct ip_esp_hdr *)skb->data;

	/* as IP does on receiving, which a packet of more than one SA never comes to: UDP would
	 * take the socket of a sender on this machine for its own
	 */
	skb_orphan(skb);
	xfrm_offload(skb)->flags |= XFRM_GRO;
	family->early(skb);
	XFRM_SPI_SKB_CB(skb)->family = family->af;
	XFRM_SPI_SKB_CB(skb)->daddroff = family->daddr;
	XFRM_SPI_SKB_CB(skb)->seq = esp->seq_no;
	xfrm_input(skb, IPPROTO_ESP, esp->spi, udp ? UDP_ENCAP_ESPINUDP : 0);
}

static struct sk_buff *offload_gro_receive(struct list_head *head, struct sk_buff *skb)
{
	const struct ipsec_family *family = offload_family(skb);
	unsigned int at = skb_gro_offset(skb);

	/* what GRO has looked at may still be in a page */
	if (!family || !offload_gro_fits(family, skb) ||
	    !pskb_may_pull(skb, at + sizeof(struct ip_esp_hdr)))
		goto flush;
	if (!offload_by_nic(skb) &&
	    !offload_gro_lookup(family, skb, (struct ip_esp_hdr *)(skb->data + at)))
		goto flush;
	__skb_pull(skb, at);
	offload_gro_input(family, skb);
	return ERR_PTR(-EINPROGRESS);

flush:
	NAPI_GRO_CB(skb)->same_flow = 0;
	NAPI_GRO_CB(skb)->flush = 1;
	return NULL;
}

static const struct xfrm_type_offload offload_type = {
	.owner		= THIS_MODULE,
	.proto		= IPPROTO_ESP,
	.encap		= offload_encap,
	.input_tail	= offload_input_tail,
	.xmit		= offload_xmit,
};

static const struct net_offload offload_esp = {
	.callbacks = {
		.gro_receive	= offload_gro_receive,
		.gso_segment	= offload_gso_segment,
	},
};

/**
 * ipsec_offload_init_state() - may the core offload this SA
 * @x: the SA, set up
 *
 * A BEET packet's length changes with what is in it. TFC padding depends on a path
 * MTU that is not known any more at the device. For a packet that is encrypted
 * later than at once, a device without a queue tells the sender that it was lost.
 * No device writes the UDP checksum that IPv6 wants. Those SAs have their GSO
 * packets segmented early, and no device.
 *
 * Context: process context, sleeps.
 * Return: 0 or -ENOMEM.
 */
int ipsec_offload_init_state(struct xfrm_state *x)
{
	int unfit = x->props.mode == XFRM_MODE_BEET || x->tfcpad ||
		    (x->encap && x->props.family == AF_INET6);

	if (!x->type_offload)
		return 0;
	if (!unfit)
		unfit = ipsec_suite_defers(ipsec_sa(x));
	if (unfit <= 0)
		return unfit;
	module_put(x->type_offload->owner);
	x->type_offload = NULL;
	return 0;
}

/* whose offload the core calls for ESP now, or NULL */
static const struct xfrm_type_offload *offload_holder(const struct ipsec_family *family)
{
	const struct xfrm_type_offload *holder;

	rcu_read_lock();
	holder = xfrm_state_afinfo_get_rcu(family->af)->type_offload_esp;
	rcu_read_unlock();
	return holder;
}

/**
 * ipsec_offload_setup() - make it known to the core, if asked to
 * @family: IPv4 or IPv6, which this kernel has
 *
 * Return: 0 or -errno, and then nothing is held.
 */
int ipsec_offload_setup(const struct ipsec_family *family)
{
	int err;

	if (!ipsec_offload || !IPSEC_INPUT_TAKES_GRO)
		return 0;
	/* the core would overwrite it */
	if (offload_holder(family))
		return -EBUSY;
	err = family->offload_register(&offload_esp);
	if (err)
		return err;
	err = xfrm_register_type_offload(&offload_type, family->af);
	if (err)
		family->offload_deregister(&offload_esp);
	return err;
}

/**
 * ipsec_offload_teardown() - undo ipsec_offload_setup()
 * @family: IPv4 or IPv6
 *
 * Context: process context, sleeps; no SA is left.
 */
void ipsec_offload_teardown(const struct ipsec_family *family)
{
	if (offload_holder(family) != &offload_type)
		return;
	xfrm_unregister_type_offload(&offload_type, family->af);
	family->offload_deregister(&offload_esp);
}
