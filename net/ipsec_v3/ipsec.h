/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_IPSEC_H
#define _IPSEC_V3_IPSEC_H

#include <crypto/aead.h>
#include <crypto/hash.h>
#include <linux/atomic.h>
#include <linux/ip.h>
#include <linux/scatterlist.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/xfrm.h>

#include "drop.h"
#include "lane.h"

#if !IS_ENABLED(CONFIG_XFRM_OFFLOAD) || !IS_ENABLED(CONFIG_PROC_FS) || !IS_ENABLED(CONFIG_SYSCTL)
#error "ipsec_v3 needs a kernel with CONFIG_XFRM_OFFLOAD, CONFIG_PROC_FS and CONFIG_SYSCTL"
#endif

#define IPSEC_IV_MAX	16	/* longest IV of any cipher that xfrm names */
#define IPSEC_ICV_MAX	64	/* HMAC-SHA-512, untruncated */

/**
 * enum ipsec_iv - where the IV of an outgoing packet comes from
 * @IPSEC_IV_NONE: the cipher has none
 * @IPSEC_IV_COUNTER: must not repeat under one key: a per-SA counter, never the
 *	sequence number, which user space may set back (RFC 4106 3.1)
 * @IPSEC_IV_RANDOM: must be unpredictable (RFC 3602 3)
 */
enum ipsec_iv {
	IPSEC_IV_NONE,
	IPSEC_IV_COUNTER,
	IPSEC_IV_RANDOM,
};

/**
 * struct ipsec_counters - one CPU's share of a network namespace's counters
 * @busy: packets under way less packets done; only the sum of all CPUs means
 *	something, as one may end elsewhere than it began
 * @value: one per enum ipsec_count
 */
struct ipsec_counters {
	long		busy;
	unsigned long	value[IPSEC_COUNT_MAX];
};

/**
 * struct ipsec_budget - a token bucket: how often something costly may happen
 * @lock: serialises the two below
 * @tokens: how often it may still happen now
 * @stamp: jiffies of the last refill
 */
struct ipsec_budget {
	spinlock_t	lock;
	u32		tokens;
	unsigned long	stamp;
};

struct ipsec_req;
struct net_offload;

/**
 * struct ipsec_rx_ops - the steps of receiving that ESP and AH do differently
 * @prepare: check lengths, make the packet ours, map it; a request ready to
 *	run, or an ERR_PTR whose cause is counted already. Leaves the skb to the
 *	caller
 * @run: start the crypto operation: 0, -EINPROGRESS or -errno
 * @verify: what @run says in the end, and -EBADMSG when the ICV is wrong, found out
 *	in constant time; NULL when @run says that itself
 * @finish: strip what the protocol added from a verified packet; the next
 *	header, or -errno whose cause is counted already
 */
struct ipsec_rx_ops {
	struct ipsec_req	*(*prepare)(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
	int			(*run)(struct ipsec_req *req);
	int			(*verify)(struct ipsec_req *req, int err);
	int			(*finish)(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
};

extern const struct ipsec_rx_ops ipsec_esp_rx, ipsec_ah_rx;

/**
 * struct ipsec_tx_ops - the steps of sending that ESP and AH do differently
 * @prepare: write what the protocol adds and map it; a request ready to run, or an
 *	ERR_PTR whose cause is counted already. Leaves the skb to the caller
 * @run: start the crypto operation: 0, -EINPROGRESS or -errno
 * @finish: complete the packet after success
 */
struct ipsec_tx_ops {
	struct ipsec_req	*(*prepare)(struct ipsec_sa *sa, struct sk_buff *skb);
	int			(*run)(struct ipsec_req *req);
	void			(*finish)(struct ipsec_req *req);
};

extern const struct ipsec_tx_ops ipsec_esp_tx, ipsec_ah_tx;

/**
 * struct ipsec_sa - what this module keeps for one SA
 * @type: x->type points here, so that container_of() leads from an xfrm state
 *	to this object; a copy of @core_type
 * @core_type: the registered type, put back before this object is freed
 * @x: the xfrm state that owns this object
 * @family: everything in which IPv4 and IPv6 differ, for the outer header
 * @aead: ESP's keyed transform
 * @seqiv: the crypto API's IV generator for the same algorithm, which NIC drivers read, or NULL
 * @ahash: AH's keyed transform
 * @rx: how a received packet of this protocol is opened
 * @tx: how a packet of this protocol is made
 * @counters: those of the namespace, which outlives its SAs' packets
 * @hdrlen: bytes of protocol header in front of the payload: ESP with its IV,
 *	or AH with its padded ICV
 * @reqsize: bytes of a request, the transform's own included
 * @ivlen: bytes of IV on the wire
 * @icvlen: bytes of ICV on the wire
 * @aadlen: bytes of SPI and sequence number that are authenticated, 8 or 12
 * @block: bytes of a cipher block, 1 for a stream
 * @align: bytes to which the ciphertext is padded (RFC 4303 2.4)
 * @iv: where IVs come from
 * @esn: sequence numbers have 64 bits (RFC 4303 2.2.1)
 * @resync: RFC 4303 appendix A3 was asked for
 * @iv_salt: random, keeps two SAs with one key from sharing IVs
 * @iv_next: next value of the IV counter
 * @icv_failures: consecutive packets that failed their ICV
 * @budget: second tries that this SA may still cost
 * @lane: its packets on their way over several CPUs; away from @iv_next, as all that
 *	encrypt write that
 */
struct ipsec_sa {
	struct xfrm_type		type;
	const struct xfrm_type		*core_type;
	struct xfrm_state		*x;
	const struct ipsec_family	*family;
	union {
		struct crypto_aead	*aead;
		struct crypto_ahash	*ahash;
	};
	struct crypto_aead		*seqiv;
	const struct ipsec_rx_ops	*rx;
	const struct ipsec_tx_ops	*tx;
	struct ipsec_counters __percpu	*counters;
	u32				reqsize;
	u16				hdrlen;
	u8				ivlen;
	u8				icvlen;
	u8				aadlen;
	u8				block;
	u8				align;
	u8				iv;
	bool				esn;
	bool				resync;
	u64				iv_salt;
	atomic64_t			iv_next;
	atomic_t			icv_failures;
	struct ipsec_budget		budget;
	struct ipsec_lane		lane ____cacheline_aligned_in_smp;
};

/* What this module keeps for an SA that it has made; @x owns it. Not for kernel-doc, which has
 * the struct under that name.
 */
static inline struct ipsec_sa *ipsec_sa(const struct xfrm_state *x)
{
	return container_of(x->type, struct ipsec_sa, type);
}

/**
 * ipsec_lane_passes() - a packet is processed on the spot from here on
 * @sa: the SA
 *
 * One that the crypto API keeps holds up the end of its namespace, and so the SA's counters
 * and devices are there when it is done.
 *
 * Context: any; ipsec_lane_passed() follows.
 */
static inline void ipsec_lane_passes(struct ipsec_sa *sa)
{
	this_cpu_inc(sa->counters->busy);
}

/**
 * ipsec_rx_seq() - the sequence number of a received packet
 * @skb: the packet; the core has put it there, the high half as it infers it
 *
 * Return: it, in host order; 32 bits without ESN.
 */
static inline u64 ipsec_rx_seq(struct sk_buff *skb)
{
	return (u64)ntohl(XFRM_SKB_CB(skb)->seq.input.hi) << 32 |
	       ntohl(XFRM_SKB_CB(skb)->seq.input.low);
}

/**
 * ipsec_tx_seq() - the sequence number of a packet that is sent
 * @skb: the packet; the core, or ipsec_tx_seq_set(), has put it there
 *
 * Return: it, in host order; 32 bits without ESN.
 */
static inline u64 ipsec_tx_seq(struct sk_buff *skb)
{
	return (u64)XFRM_SKB_CB(skb)->seq.output.hi << 32 |
	       XFRM_SKB_CB(skb)->seq.output.low;
}

/**
 * ipsec_tx_seq_set() - where the core would have put it for type->output
 * @skb: the packet
 * @seq: its sequence number, host order
 */
static inline void ipsec_tx_seq_set(struct sk_buff *skb, u64 seq)
{
	XFRM_SKB_CB(skb)->seq.output.hi = seq >> 32;
	XFRM_SKB_CB(skb)->seq.output.low = seq;
}

/**
 * struct ipsec_family - everything in which IPv4 and IPv6 differ
 * @af: AF_INET or AF_INET6
 * @name: for messages
 * @hdrlen: bytes of the fixed header
 * @nexthdr: byte of the fixed header that names what follows
 * @daddr: byte of the fixed header at which the destination is
 * @maxlen: longest packet
 * @beet_extra: header bytes to reserve when BEET carries the other family
 * @protocol_register: claim protocol 50 or 51, -EEXIST when taken
 * @protocol_deregister: give it back
 * @canon: brings the header, in place, into the form that AH hashes
 * @set_length: write the total length into the header
 * @length: total length that a header states
 * @finish: write length and checksum of a finished packet
 * @leads_to: is the transport header where the header in front of it ends, which names @proto; not
 *	in a fragment
 * @nexthdr_at: where a received packet's header names the protocol of the SA
 * @source: source address of the packet
 * @source_is: is this the packet's source address
 * @udp_checksum: fill in the checksum of a finished ESP-in-UDP packet
 * @early: control block of a packet that the family's input has not seen
 * @route: give such a packet a route; none when there is none
 * @offload_register: make ESP's GRO and GSO known, -EBUSY when somebody's are
 * @offload_deregister: undo it
 * @segment: segment a GSO packet whose data is at what @proto names
 */
struct ipsec_family {
	unsigned short	af;
	const char	*name;
	unsigned int	hdrlen;
	unsigned int	nexthdr;
	unsigned int	daddr;
	unsigned int	maxlen;
	unsigned int	beet_extra;
	int		(*protocol_register)(u8 proto);
	void		(*protocol_deregister)(u8 proto);
	int		(*canon)(u8 *canon, unsigned int len, bool outbound);
	void		(*set_length)(u8 *header, unsigned int len);
	unsigned int	(*length)(const u8 *header);
	void		(*finish)(struct sk_buff *skb);
	bool		(*leads_to)(const struct sk_buff *skb, u8 proto);
	unsigned int	(*nexthdr_at)(const struct sk_buff *skb);
	void		(*source)(const struct sk_buff *skb, xfrm_address_t *addr);
	bool		(*source_is)(const struct sk_buff *skb, const xfrm_address_t *addr);
	void		(*udp_checksum)(struct sk_buff *skb);
	void		(*early)(struct sk_buff *skb);
	void		(*route)(struct sk_buff *skb);
	int		(*offload_register)(const struct net_offload *offload);
	void		(*offload_deregister)(const struct net_offload *offload);
	struct sk_buff	*(*segment)(struct sk_buff *skb, netdev_features_t features, u8 proto);
};

/* family.c */
extern const struct ipsec_family ipsec_family4, ipsec_family6;
const struct ipsec_family *ipsec_family_get(unsigned short af);

/* sa.c */
int ipsec_esp_init_state(struct xfrm_state *x, struct netlink_ext_ack *extack);
int ipsec_ah_init_state(struct xfrm_state *x, struct netlink_ext_ack *extack);
void ipsec_sa_destroy(struct xfrm_state *x);
int ipsec_sa_setup(void);
void ipsec_sa_teardown(void);

/* suite.c */
int ipsec_suite_esp(struct ipsec_sa *sa, struct netlink_ext_ack *extack);
int ipsec_suite_ah(struct ipsec_sa *sa, struct netlink_ext_ack *extack);
int ipsec_suite_defers(struct ipsec_sa *sa);
void ipsec_suite_free(struct ipsec_sa *sa);

/* tx.c, rx.c */
int ipsec_output(struct xfrm_state *x, struct sk_buff *skb);
int ipsec_input(struct xfrm_state *x, struct sk_buff *skb);

/* room.c */
int ipsec_room_rx(struct ipsec_sa *sa, struct sk_buff *skb);
int ipsec_room_tx(struct ipsec_sa *sa, struct sk_buff *skb, unsigned int tail);

/* encap.c */
int ipsec_encap_setup(struct xfrm_state *x, struct netlink_ext_ack *extack);
struct ip_esp_hdr *ipsec_encap_push(struct ipsec_sa *sa, struct sk_buff *skb);
void ipsec_encap_finish(struct ipsec_sa *sa, struct sk_buff *skb);
void ipsec_encap_input(struct ipsec_sa *sa, struct sk_buff *skb);

/* offload.c */
int ipsec_offload_init_state(struct xfrm_state *x);
int ipsec_offload_setup(const struct ipsec_family *family);
void ipsec_offload_teardown(const struct ipsec_family *family);

/* netns.c */
bool ipsec_netns_allows(struct net *net);
struct ipsec_counters __percpu *ipsec_netns_counters(struct net *net);
struct ipsec_late *ipsec_netns_late(struct net *net);
int ipsec_netns_setup(void);
void ipsec_netns_teardown(void);

/* external.c */
bool ipsec_external_any(void);
int ipsec_external_setup(void);
void ipsec_external_teardown(void);

/* guard.c */
int ipsec_guard_setup(void);
void ipsec_guard_teardown(void);

#endif
