// SPDX-License-Identifier: GPL-2.0-only
/* Everything in which IPv4 and IPv6 differ. */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/udp.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/ndisc.h>
#include <net/protocol.h>
#include <net/route.h>

#include "ah_canon.h"
#include "ipsec.h"

static __be32 family_spi(const void *header, u8 proto)
{
	if (proto == IPPROTO_ESP)
		return ((const struct ip_esp_hdr *)header)->spi;
	return ((const struct ip_auth_hdr *)header)->spi;
}

static int family4_err(struct sk_buff *skb, u32 info, u8 proto)
{
	const struct iphdr *ip = (const struct iphdr *)skb->data;
	struct net *net = dev_net(skb->dev);
	u8 type = icmp_hdr(skb)->type;
	struct xfrm_state *x;

	if (type != ICMP_REDIRECT &&
	    (type != ICMP_DEST_UNREACH || icmp_hdr(skb)->code != ICMP_FRAG_NEEDED))
		return 0;

	/* only an SA of ours makes the message believable */
	x = xfrm_state_lookup(net, skb->mark, (const xfrm_address_t *)&ip->daddr,
			      family_spi(skb->data + ip->ihl * 4, proto), proto, AF_INET);
	if (!x)
		return 0;
	if (type == ICMP_REDIRECT)
		ipv4_redirect(skb, net, 0, proto);
	else
		ipv4_update_pmtu(skb, net, info, 0, proto);
	xfrm_state_put(x);
	return 0;
}

static int esp4_icmp(struct sk_buff *skb, u32 info)
{
	return family4_err(skb, info, IPPROTO_ESP);
}

static int ah4_icmp(struct sk_buff *skb, u32 info)
{
	return family4_err(skb, info, IPPROTO_AH);
}

static struct xfrm4_protocol family4_esp = {
	.handler	= xfrm4_rcv,
	.input_handler	= xfrm_input,
	.cb_handler	= ipsec_flow_catch,
	.err_handler	= esp4_icmp,
};

static struct xfrm4_protocol family4_ah = {
	.handler	= xfrm4_rcv,
	.input_handler	= xfrm_input,
	.cb_handler	= ipsec_flow_catch,
	.err_handler	= ah4_icmp,
};

static struct xfrm4_protocol *family4_protocol(u8 proto)
{
	return proto == IPPROTO_ESP ? &family4_esp : &family4_ah;
}

static int family4_register(u8 proto)
{
	return xfrm4_protocol_register(family4_protocol(proto), proto);
}

static void family4_deregister(u8 proto)
{
	xfrm4_protocol_deregister(family4_protocol(proto), proto);
}

static void family4_set_length(u8 *header, unsigned int len)
{
	((struct iphdr *)header)->tot_len = htons(len);
}

static unsigned int family4_length(const u8 *header)
{
	return ntohs(((const struct iphdr *)header)->tot_len);
}

static void family4_finish(struct sk_buff *skb)
{
	family4_set_length(skb_network_header(skb), skb->len);
	ip_send_check(ip_hdr(skb));
}

static bool family4_leads_to(const struct sk_buff *skb, u8 proto)
{
	const struct iphdr *ip = ip_hdr(skb);

	return ip->version == 4 && ip->protocol == proto && !ip_is_fragment(ip) &&
	       ip->ihl * 4 == skb_network_header_len(skb);
}

static unsigned int family4_nexthdr_at(const struct sk_buff *skb)
{
	return offsetof(struct iphdr, protocol);
}

static void family4_source(const struct sk_buff *skb, xfrm_address_t *addr)
{
	addr->a4 = ip_hdr(skb)->saddr;
}

static bool family4_source_is(const struct sk_buff *skb, const xfrm_address_t *addr)
{
	return addr->a4 == ip_hdr(skb)->saddr;
}

static void family4_early(struct sk_buff *skb)
{
	memset(skb->cb, 0, sizeof(skb->cb));
	IPCB(skb)->iif = skb->dev->ifindex;
}

static void family4_route(struct sk_buff *skb)
{
	const struct iphdr *ip = ip_hdr(skb);

	ip_route_input_noref(skb, ip->daddr, ip->saddr, ip->tos, skb->dev);
}

static int family4_offload_register(const struct net_offload *offload)
{
	return inet_add_offload(offload, IPPROTO_ESP) ? -EBUSY : 0;
}

static void family4_offload_deregister(const struct net_offload *offload)
{
	inet_del_offload(offload, IPPROTO_ESP);
}

static struct sk_buff *family_segment(const struct net_offload *offload, struct sk_buff *skb,
				      netdev_features_t features)
{
	if (!offload || !offload->callbacks.gso_segment)
		return ERR_PTR(-EPROTONOSUPPORT);
	return offload->callbacks.gso_segment(skb, features);
}

static struct sk_buff *family4_segment(struct sk_buff *skb, netdev_features_t features, u8 proto)
{
	skb_reset_transport_header(skb);
	return family_segment(rcu_dereference(inet_offloads[proto]), skb, features);
}

const struct ipsec_family ipsec_family4 = {
	.af			= AF_INET,
	.name			= "IPv4",
	.hdrlen			= sizeof(struct iphdr),
	.nexthdr		= offsetof(struct iphdr, protocol),
	.daddr			= offsetof(struct iphdr, daddr),
	.maxlen			= IP_MAX_MTU,
	.beet_extra		= IPV4_BEET_PHMAXLEN,
	.protocol_register	= family4_register,
	.protocol_deregister	= family4_deregister,
	.canon			= ah_canon_ipv4,
	.set_length		= family4_set_length,
	.length			= family4_length,
	.finish			= family4_finish,
	.leads_to		= family4_leads_to,
	.nexthdr_at		= family4_nexthdr_at,
	.source			= family4_source,
	.source_is		= family4_source_is,
	.early			= family4_early,
	.route			= family4_route,
	.offload_register	= family4_offload_register,
	.offload_deregister	= family4_offload_deregister,
	.segment		= family4_segment,
};

#if IS_ENABLED(CONFIG_IPV6)
static int family6_err(struct sk_buff *skb, u8 type, int offset, __be32 info, u8 proto)
{
	const struct ipv6hdr *ip = (const struct ipv6hdr *)skb->data;
	struct net *net = dev_net(skb->dev);
	struct xfrm_state *x;

	if (type != ICMPV6_PKT_TOOBIG && type != NDISC_REDIRECT)
		return 0;

	/* only an SA of ours makes the message believable */
	x = xfrm_state_lookup(net, skb->mark, (const xfrm_address_t *)&ip->daddr,
			      family_spi(skb->data + offset, proto), proto, AF_INET6);
	if (!x)
		return 0;
	if (type == NDISC_REDIRECT)
		ip6_redirect(skb, net, skb->dev->ifindex, 0, sock_net_uid(net, NULL));
	else
		ip6_update_pmtu(skb, net, info, 0, 0, sock_net_uid(net, NULL));
	xfrm_state_put(x);
	return 0;
}

static int esp6_icmp(struct sk_buff *skb, struct inet6_skb_parm *opt,
		     u8 type, u8 code, int offset, __be32 info)
{
	return family6_err(skb, type, offset, info, IPPROTO_ESP);
}

static int ah6_icmp(struct sk_buff *skb, struct inet6_skb_parm *opt,
		    u8 type, u8 code, int offset, __be32 info)
{
	return family6_err(skb, type, offset, info, IPPROTO_AH);
}

static struct xfrm6_protocol family6_esp = {
	.handler	= xfrm6_rcv,
	.input_handler	= xfrm_input,
	.cb_handler	= ipsec_flow_catch,
	.err_handler	= esp6_icmp,
};

static struct xfrm6_protocol family6_ah = {
	.handler	= xfrm6_rcv,
	.input_handler	= xfrm_input,
	.cb_handler	= ipsec_flow_catch,
	.err_handler	= ah6_icmp,
};

static struct xfrm6_protocol *family6_protocol(u8 proto)
{
	return proto == IPPROTO_ESP ? &family6_esp : &family6_ah;
}

static int family6_register(u8 proto)
{
	return xfrm6_protocol_register(family6_protocol(proto), proto);
}

static void family6_deregister(u8 proto)
{
	xfrm6_protocol_deregister(family6_protocol(proto), proto);
}

/* 0 stands for a jumbogram, whose length an option carries */
static void family6_set_length(u8 *header, unsigned int len)
{
	len -= sizeof(struct ipv6hdr);
	((struct ipv6hdr *)header)->payload_len = htons(len > IPV6_MAXPLEN ? 0 : len);
}

static unsigned int family6_length(const u8 *header)
{
	return sizeof(struct ipv6hdr) + ntohs(((const struct ipv6hdr *)header)->payload_len);
}

static void family6_finish(struct sk_buff *skb)
{
	family6_set_length(skb_network_header(skb), skb->len);
}

static bool family6_leads_to(const struct sk_buff *skb, u8 proto)
{
	const struct ipv6hdr *ip = ipv6_hdr(skb);
	u8 nexthdr = ip->nexthdr;
	__be16 fragment = 0;
	int at;

	if (ip->version != 6)
		return false;
	at = ipv6_skip_exthdr(skb, skb_network_offset(skb) + sizeof(*ip), &nexthdr, &fragment);
	return nexthdr == proto && !fragment && at == skb_transport_offset(skb);
}

static unsigned int family6_nexthdr_at(const struct sk_buff *skb)
{
	return IP6CB(skb)->nhoff;
}

static void family6_source(const struct sk_buff *skb, xfrm_address_t *addr)
{
	addr->in6 = ipv6_hdr(skb)->saddr;
}

static bool family6_source_is(const struct sk_buff *skb, const xfrm_address_t *addr)
{
	return ipv6_addr_equal(&addr->in6, &ipv6_hdr(skb)->saddr);
}

static void family6_udp_checksum(struct sk_buff *skb)
{
	const struct ipv6hdr *ip = ipv6_hdr(skb);
	unsigned int at = skb_transport_offset(skb);
	struct udphdr *uh = udp_hdr(skb);

	uh->check = csum_ipv6_magic(&ip->saddr, &ip->daddr, skb->len - at, IPPROTO_UDP,
				    skb_checksum(skb, at, skb->len - at, 0)) ?:
		    CSUM_MANGLED_0;
}

static void family6_early(struct sk_buff *skb)
{
	memset(skb->cb, 0, sizeof(skb->cb));
	IP6CB(skb)->iif = skb->dev->ifindex;
	IP6CB(skb)->nhoff = offsetof(struct ipv6hdr, nexthdr);
}

static void family6_route(struct sk_buff *skb)
{
	const struct ipv6hdr *ip = ipv6_hdr(skb);
	struct flowi6 fl6 = {
		.flowi6_iif	= skb->dev->ifindex,
		.flowi6_mark	= skb->mark,
		.flowlabel	= ip6_flowinfo(ip),
		.daddr		= ip->daddr,
		.saddr		= ip->saddr,
	};

	skb_dst_set(skb, ip6_route_input_lookup(dev_net(skb->dev), skb->dev, &fl6, skb,
						RT6_LOOKUP_F_HAS_SADDR));
}

static int family6_offload_register(const struct net_offload *offload)
{
	return inet6_add_offload(offload, IPPROTO_ESP) ? -EBUSY : 0;
}

static void family6_offload_deregister(const struct net_offload *offload)
{
	inet6_del_offload(offload, IPPROTO_ESP);
}

/* ESP may protect destination options, and the GSO of what follows them */
static struct sk_buff *family6_segment(struct sk_buff *skb, netdev_features_t features, u8 proto)
{
	__be16 frag;
	int skip = ipv6_skip_exthdr(skb, 0, &proto, &frag);

	if (skip < 0 || !pskb_pull(skb, skip))
		return ERR_PTR(-EINVAL);
	skb_reset_transport_header(skb);
	return family_segment(rcu_dereference(inet6_offloads[proto]), skb, features);
}

const struct ipsec_family ipsec_family6 = {
	.af			= AF_INET6,
	.name			= "IPv6",
	.hdrlen			= sizeof(struct ipv6hdr),
	.nexthdr		= offsetof(struct ipv6hdr, nexthdr),
	.daddr			= offsetof(struct ipv6hdr, daddr),
	.maxlen			= sizeof(struct ipv6hdr) + IPV6_MAXPLEN,
	.beet_extra		= IPV4_BEET_PHMAXLEN + sizeof(struct ipv6hdr) -
				  sizeof(struct iphdr),
	.protocol_register	= family6_register,
	.protocol_deregister	= family6_deregister,
	.canon			= ah_canon_ipv6,
	.set_length		= family6_set_length,
	.length			= family6_length,
	.finish			= family6_finish,
	.leads_to		= family6_leads_to,
	.nexthdr_at		= family6_nexthdr_at,
	.source			= family6_source,
	.source_is		= family6_source_is,
	.udp_checksum		= family6_udp_checksum,
	.early			= family6_early,
	.route			= family6_route,
	.offload_register	= family6_offload_register,
	.offload_deregister	= family6_offload_deregister,
	.segment		= family6_segment,
};
#endif

/**
 * ipsec_family_get() - the table of an address family
 * @af: AF_INET or AF_INET6
 *
 * Return: the table, or NULL where the kernel has no such family.
 */
const struct ipsec_family *ipsec_family_get(unsigned short af)
{
	if (af == AF_INET)
		return &ipsec_family4;
#if IS_ENABLED(CONFIG_IPV6)
	if (af == AF_INET6)
		return &ipsec_family6;
#endif
	return NULL;
}
