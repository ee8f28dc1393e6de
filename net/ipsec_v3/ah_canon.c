// SPDX-License-Identifier: GPL-2.0-only
/*
 * The IP header in the form that AH hashes (RFC 4302 3.3.3.1, appendix A)
 *
 * A header on its way changes. Both ends bring it into one form to hash it:
 * immutable fields as they are (=), fields that the network changes zeroed (0),
 * fields that it changes foreseeably as the destination sees them (>).
 *
 *	IPv4   version, IHL =       TOS 0            total length =
 *	       identification =     flags, fragment offset 0
 *	       TTL 0                protocol > 51    checksum 0
 *	       source =             destination >
 *	       options: by type, see ah_canon_ipv4_option()
 *
 *	IPv6   version =            traffic class 0  flow label 0
 *	       payload length =     next header =    hop limit 0
 *	       source >             destination >
 *	       hop-by-hop options, destination options: data of those with the
 *	       mutable bit 0, everything else =, home address option >
 *	       routing header >
 *
 * What AH hashes is then
 *
 *	{canonical headers}{AH with its ICV zeroed}{payload}{sequence, high half}
 *
 * The next header octet in front of AH is 51 when the ICV is made. It is set
 * here rather than trusted: where ESP around this AH has just been removed, the
 * core still has ESP's 50 in the header.
 *
 * Lengths inside the headers that count payload are the caller's business.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#include "ah_canon.h"

#define AH_CANON_PROTO_AH	51

/* octets of the IPv4 header (RFC 791 3.1) */
#define AH_CANON_IPV4_LEN	20
#define AH_CANON_IPV4_TOS	1
#define AH_CANON_IPV4_FRAG	6
#define AH_CANON_IPV4_TTL	8
#define AH_CANON_IPV4_PROTO	9
#define AH_CANON_IPV4_CHECK	10
#define AH_CANON_IPV4_DADDR	16
#define AH_CANON_IPV4_ALEN	4

/* types of IPv4 options, with their copy and class bits (RFC 4302 A1) */
#define AH_CANON_OPT_END	0
#define AH_CANON_OPT_NOP	1
#define AH_CANON_OPT_SEC	130
#define AH_CANON_OPT_LSRR	131
#define AH_CANON_OPT_ESEC	133
#define AH_CANON_OPT_CIPSO	134
#define AH_CANON_OPT_SSRR	137
#define AH_CANON_OPT_RA		148
#define AH_CANON_OPT_SDB	149
#define AH_CANON_ROUTE_MIN	7	/* type, length, pointer, one address */

/* octets of the IPv6 header (RFC 8200 3) and of extension headers (4) */
#define AH_CANON_IPV6_LEN	40
#define AH_CANON_IPV6_NEXT	6
#define AH_CANON_IPV6_HOPS	7
#define AH_CANON_IPV6_SADDR	8
#define AH_CANON_IPV6_DADDR	24
#define AH_CANON_IPV6_ALEN	16
#define AH_CANON_EXT_HOP	0
#define AH_CANON_EXT_ROUTING	43
#define AH_CANON_EXT_DEST	60
#define AH_CANON_TLV_PAD1	0
#define AH_CANON_TLV_MUTABLE	0x20	/* may change on the way (4.2) */
#define AH_CANON_TLV_HAO	0xc9	/* home address (RFC 6275 6.3) */
#define AH_CANON_RT_SOURCE	0	/* RFC 2460 4.4 */
#define AH_CANON_RT_HOME	2	/* RFC 6275 6.4 */
#define AH_CANON_RT_FIXED	8	/* octets in front of the addresses */

/*
 * A source route ends at its last address; when the pointer is behind the route,
 * the header is already addressed to its end. (In-tree's sender takes the last
 * address even then, and disagrees with every receiver, its own included.)
 */
static int ah_canon_ipv4_route(u8 *canon, const u8 *opt, unsigned int optlen,
			       bool outbound)
{
	/* an empty route is legal in RFC 791, refused here as in-tree does */
	if (optlen < AH_CANON_ROUTE_MIN)
		return -EINVAL;
	if (outbound && opt[2] <= optlen)
		memcpy(canon + AH_CANON_IPV4_DADDR,
		       opt + optlen - AH_CANON_IPV4_ALEN, AH_CANON_IPV4_ALEN);
	return 0;
}

/* RFC 4302 A1: a few options are immutable, all others are zeroed whole */
static int ah_canon_ipv4_option(u8 *canon, u8 *opt, unsigned int optlen,
				bool outbound)
{
	int err = 0;

	switch (opt[0]) {
	case AH_CANON_OPT_SEC:
	case AH_CANON_OPT_ESEC:
	case AH_CANON_OPT_CIPSO:
	case AH_CANON_OPT_RA:
	case AH_CANON_OPT_SDB:
		return 0;
	case AH_CANON_OPT_LSRR:
	case AH_CANON_OPT_SSRR:
		err = ah_canon_ipv4_route(canon, opt, optlen, outbound);
		break;
	}
	memset(opt, 0, optlen);
	return err;
}

/**
 * ah_canon_ipv4() - bring an IPv4 header into its canonical form
 * @canon: the header with its options, changed in place, so the caller keeps what
 *	is sent; undefined after a failure
 * @len: length of the header, in octets
 * @outbound: the header is on its way out: a source route has still to be
 *	followed; an inbound one has been
 *
 * Octets behind the end-of-options mark are hashed as they are, as in-tree
 * does.
 *
 * Context: any.
 * Return: 0, or -EINVAL for a malformed header.
 */
int ah_canon_ipv4(u8 *canon, unsigned int len, bool outbound)
{
	unsigned int off = AH_CANON_IPV4_LEN, optlen;
	int err;

	if (len < AH_CANON_IPV4_LEN || canon[0] >> 4 != 4 ||
	    (canon[0] & 0xf) * 4 != len)
		return -EINVAL;

	canon[AH_CANON_IPV4_TOS] = 0;
	memset(canon + AH_CANON_IPV4_FRAG, 0, 2);
	canon[AH_CANON_IPV4_TTL] = 0;
	canon[AH_CANON_IPV4_PROTO] = AH_CANON_PROTO_AH;
	memset(canon + AH_CANON_IPV4_CHECK, 0, 2);

	for (; off < len; off += optlen) {
		if (canon[off] == AH_CANON_OPT_END)
			break;
		optlen = 1;
		if (canon[off] == AH_CANON_OPT_NOP)
			continue;
		if (len - off < 2)
			return -EINVAL;
		optlen = canon[off + 1];
		if (optlen < 2 || optlen > len - off)
			return -EINVAL;
		err = ah_canon_ipv4_option(canon, canon + off, optlen, outbound);
		if (err)
			return err;
	}
	return 0;
}

/*
 * RFC 6275 11.3.2: AH sees the home address as the source, and in the option
 * the care-of address from which the packet is sent. The receiver's stack has
 * exchanged the two before it comes to AH.
 */
static int ah_canon_ipv6_home(u8 *canon, u8 *data, unsigned int datalen)
{
	u8 home[AH_CANON_IPV6_ALEN];

	if (datalen != sizeof(home))
		return -EINVAL;
	memcpy(home, data, sizeof(home));
	memcpy(data, canon + AH_CANON_IPV6_SADDR, sizeof(home));
	memcpy(canon + AH_CANON_IPV6_SADDR, home, sizeof(home));
	return 0;
}

/*
 * Options of a hop-by-hop or destination options header (RFC 4302 3.3.3.1.2.2)
 * @home: exchange the home address
 */
static int ah_canon_ipv6_options(u8 *canon, u8 *ext, unsigned int extlen,
				 bool home)
{
	unsigned int off = 2, optlen;
	int err;

	for (; off < extlen; off += optlen) {
		optlen = 1;
		if (ext[off] == AH_CANON_TLV_PAD1)
			continue;
		if (extlen - off < 2)
			return -EINVAL;
		optlen = 2 + ext[off + 1];
		if (optlen > extlen - off)
			return -EINVAL;
		if (ext[off] & AH_CANON_TLV_MUTABLE)
			memset(ext + off + 2, 0, optlen - 2);
		if (!home || ext[off] != AH_CANON_TLV_HAO)
			continue;
		err = ah_canon_ipv6_home(canon, ext + off + 2, optlen - 2);
		if (err)
			return err;
	}
	return 0;
}

/*
 * A routing header, as it arrives: all segments done, the last address in the
 * IPv6 header, and in the header the addresses that the packet was sent to on
 * its way (RFC 4302 A2). One that arrives finished is not looked into.
 *
 *	          destination   address 1 .. n
 *	sent          R1         R2  R3  D      3 segments left
 *	arrived       D          R1  R2  R3     0 segments left
 *
 * This is how types 0 and 2 work. In-tree treats every type so, and with
 * segment routing's reversed list its two ends then disagree; RFC 8754 7.5
 * defines no AH there.
 */
static int ah_canon_ipv6_routing(u8 *canon, u8 *ext, unsigned int extlen)
{
	unsigned int left = ext[3], segments;
	u8 *next, last[AH_CANON_IPV6_ALEN];

	if (!left)
		return 0;
	if (ext[2] != AH_CANON_RT_SOURCE && ext[2] != AH_CANON_RT_HOME)
		return -EINVAL;
	segments = (extlen - AH_CANON_RT_FIXED) / AH_CANON_IPV6_ALEN;
	if (left > segments ||
	    extlen != AH_CANON_RT_FIXED + segments * AH_CANON_IPV6_ALEN)
		return -EINVAL;

	next = ext + extlen - left * AH_CANON_IPV6_ALEN;
	memcpy(last, ext + extlen - sizeof(last), sizeof(last));
	memmove(next + sizeof(last), next, (left - 1) * sizeof(last));
	memcpy(next, canon + AH_CANON_IPV6_DADDR, sizeof(last));
	memcpy(canon + AH_CANON_IPV6_DADDR, last, sizeof(last));
	ext[3] = 0;
	return 0;
}

static int ah_canon_ipv6_ext(u8 *canon, u8 type, u8 *ext, unsigned int extlen,
			     bool outbound)
{
	switch (type) {
	case AH_CANON_EXT_HOP:
		return ah_canon_ipv6_options(canon, ext, extlen, false);
	case AH_CANON_EXT_DEST:
		return ah_canon_ipv6_options(canon, ext, extlen, outbound);
	case AH_CANON_EXT_ROUTING:
		return ah_canon_ipv6_routing(canon, ext, extlen);
	default:
		return -EINVAL;
	}
}

/**
 * ah_canon_ipv6() - bring an IPv6 header chain into its canonical form
 * @canon: the IPv6 header and the extension headers in front of AH, changed in
 *	place, so the caller keeps what is sent; undefined after a failure
 * @len: length of the chain, in octets
 * @outbound: the chain is on its way out: the home address is still in its
 *	option
 *
 * Context: any.
 * Return: 0, or -EINVAL for a malformed chain, and for an extension header that
 * AH gives no rule for.
 */
int ah_canon_ipv6(u8 *canon, unsigned int len, bool outbound)
{
	unsigned int off = AH_CANON_IPV6_LEN, extlen;
	u8 *next = canon + AH_CANON_IPV6_NEXT;
	int err;

	if (len < AH_CANON_IPV6_LEN || canon[0] >> 4 != 6)
		return -EINVAL;

	canon[0] &= 0xf0;
	memset(canon + 1, 0, 3);
	canon[AH_CANON_IPV6_HOPS] = 0;

	for (; off < len; off += extlen) {
		if (len - off < 8)
			return -EINVAL;
		extlen = (canon[off + 1] + 1) * 8;
		if (extlen > len - off)
			return -EINVAL;
		err = ah_canon_ipv6_ext(canon, *next, canon + off, extlen,
					outbound);
		if (err)
			return err;
		next = canon + off;
	}
	*next = AH_CANON_PROTO_AH;
	return 0;
}
