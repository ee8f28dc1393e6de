// SPDX-License-Identifier: GPL-2.0-only
/* ESP in UDP (RFC 3948) */
#include <linux/udp.h>
#include <net/esp.h>

#include "ipsec.h"

/**
 * ipsec_encap_setup() - check the SA's encapsulation and reserve its header
 * @x: the SA
 * @extack: where a refusal is explained, may be NULL
 *
 * Return: 0 or -EINVAL.
 */
int ipsec_encap_setup(struct xfrm_state *x, struct netlink_ext_ack *extack)
{
	if (!x->encap)
		return 0;
	switch (x->encap->encap_type) {
	case UDP_ENCAP_ESPINUDP:
		x->props.header_len += sizeof(struct udphdr);
		return 0;
	case TCP_ENCAP_ESPINTCP:
		NL_SET_ERR_MSG(extack, "ESP in TCP is not supported, use ESP in UDP");
		return -EINVAL;
	default:
		NL_SET_ERR_MSG(extack, "Unknown encapsulation, ESP knows ESP in UDP only");
		return -EINVAL;
	}
}

/**
 * ipsec_encap_push() - write the UDP header, if there is one
 * @sa: the SA
 * @skb: the packet with its trailer, its data at the payload
 *
 * The ports are read without the lock: UPDSA may change them between the two,
 * and then one packet carries the old one.
 *
 * Return: where the ESP header goes.
 */
struct ip_esp_hdr *ipsec_encap_push(struct ipsec_sa *sa, struct sk_buff *skb)
{
	const struct xfrm_encap_tmpl *encap = sa->x->encap;
	struct udphdr *uh;

	if (likely(!encap))
		return ip_esp_hdr(skb);
	uh = udp_hdr(skb);
	uh->source = READ_ONCE(encap->encap_sport);
	uh->dest = READ_ONCE(encap->encap_dport);
	uh->len = htons(skb->len - skb_transport_offset(skb));
	uh->check = 0;
	return (struct ip_esp_hdr *)(uh + 1);
}

/**
 * ipsec_encap_finish() - what can only be written once ESP is encrypted
 * @sa: the SA
 * @skb: the whole packet, its data at the IP header
 *
 * IPv4 sends no UDP checksum (RFC 3948 2.1), IPv6 must (RFC 8200 8.1).
 */
void ipsec_encap_finish(struct ipsec_sa *sa, struct sk_buff *skb)
{
	if (sa->family->udp_checksum)
		sa->family->udp_checksum(skb);
}

/**
 * ipsec_encap_input() - after a verified packet came in UDP
 * @sa: the SA
 * @skb: the packet, its data at the ESP header
 *
 * Tells the key manager when the peer's address or port is not the SA's any
 * more. In transport mode a NAT may have broken the inner checksum, which the
 * ICV stands in for (RFC 3948 3.1.2).
 *
 * Context: BH off.
 */
void ipsec_encap_input(struct ipsec_sa *sa, struct sk_buff *skb)
{
	const struct udphdr *uh = (void *)(skb->data - sizeof(*uh));
	struct xfrm_state *x = sa->x;
	xfrm_address_t addr = {};

	if (!sa->family->source_is(skb, &x->props.saddr) ||
	    uh->source != READ_ONCE(x->encap->encap_sport)) {
		sa->family->source(skb, &addr);
		ipsec_event(sa, IPSEC_EVENT_RX_MAPPING);
		km_new_mapping(x, &addr, uh->source);
	}
	if (x->props.mode == XFRM_MODE_TRANSPORT)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
}
