// SPDX-License-Identifier: GPL-2.0-only
/*
 * The per-SA object: made in init_state, freed in the destructor.
 *
 * ESP's x->data has to be its crypto_aead, because the core's xfrm_state_mtu()
 * takes it for one. So the object hangs on x->type instead: it contains a copy of
 * the registered struct xfrm_type, and x->type points at that copy. The core
 * holds the module through the registered one, which is put back before the
 * object goes.
 */
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <uapi/linux/ipsec_v3.h>

#include "ah.h"
#include "ipsec.h"
#include "late.h"

static bool ipsec_resync;
module_param_named(resync, ipsec_resync, bool, 0644);
MODULE_PARM_DESC(resync, "Resynchronise every new inbound ESN SA after a loss of more than 2^32 packets (RFC 4303 A3; default off; one SA: extra-flag 0x80000000)");

static struct kmem_cache *sa_cache;

static int sa_check(struct xfrm_state *x, struct netlink_ext_ack *extack)
{
	switch (x->props.mode) {
	case XFRM_MODE_TRANSPORT:
	case XFRM_MODE_TUNNEL:
	case XFRM_MODE_BEET:
		break;
	default:
		NL_SET_ERR_MSG(extack, "ESP and AH know the modes transport, tunnel and beet");
		return -EINVAL;
	}
	/* it decides upon the room for the inner header, and what that is when a packet comes */
	if (x->props.mode == XFRM_MODE_BEET && !x->sel.family) {
		NL_SET_ERR_MSG(extack, "Mode beet takes a selector with an address family: which packets has it inside");
		return -EINVAL;
	}
	if (!ipsec_family_get(x->props.family)) {
		NL_SET_ERR_MSG(extack, "This kernel has no such address family");
		return -EAFNOSUPPORT;
	}
	if (!ipsec_netns_allows(xs_net(x))) {
		NL_SET_ERR_MSG(extack, "net.ipsec_v3.userns_refuse is set: no SA in a network namespace that a user namespace owns");
		return -EPERM;
	}
	return 0;
}

static void sa_free(struct ipsec_sa *sa)
{
	memzero_explicit(sa, sizeof(*sa));
	kmem_cache_free(sa_cache, sa);
}

static struct ipsec_sa *sa_alloc(struct xfrm_state *x)
{
	struct ipsec_sa *sa = kmem_cache_zalloc(sa_cache, GFP_KERNEL);

	if (!sa)
		return NULL;
	sa->x = x;
	sa->core_type = x->type;
	sa->type = *x->type;
	sa->family = ipsec_family_get(x->props.family);
	sa->counters = ipsec_netns_counters(xs_net(x));
	sa->esn = x->props.flags & XFRM_STATE_ESN;
	sa->resync = sa->esn && (READ_ONCE(ipsec_resync) ||
				 x->props.extra_flags & IPSEC_V3_XFLAG_RESYNC);
	ipsec_budget_init(&sa->budget);
	ipsec_lane_init(&sa->lane);
	get_random_bytes(&sa->iv_salt, sizeof(sa->iv_salt));
	return sa;
}

/* What the core reserves in front of the payload and behind it. The trailer's
 * figure is the one that xfrm has always been told: the most that padding, pad
 * length and ICV need beyond what the allocation rounds up to.
 */
static void sa_reserve(struct ipsec_sa *sa)
{
	struct xfrm_state *x = sa->x;

	x->props.header_len += sa->hdrlen;
	if (x->props.mode == XFRM_MODE_TUNNEL)
		x->props.header_len += sa->family->hdrlen;
	if (x->props.mode == XFRM_MODE_BEET && x->sel.family != AF_INET6)
		x->props.header_len += sa->family->beet_extra;
	if (sa->type.proto == IPPROTO_ESP)
		x->props.trailer_len = sa->align + 1 + sa->icvlen;
}

static int sa_init(struct xfrm_state *x, const struct ipsec_rx_ops *rx,
		   const struct ipsec_tx_ops *tx,
		   int (*suite)(struct ipsec_sa *sa, struct netlink_ext_ack *extack),
		   struct netlink_ext_ack *extack)
{
	struct ipsec_sa *sa;
	int err = sa_check(x, extack);

	if (err)
		return err;
	sa = sa_alloc(x);
	if (!sa) {
		NL_SET_ERR_MSG(extack, "No memory for the SA");
		return -ENOMEM;
	}
	sa->rx = rx;
	sa->tx = tx;
	err = suite(sa, extack);
	if (err) {
		sa_free(sa);
		return err;
	}
	sa_reserve(sa);
	x->type = &sa->type;
	return 0;
}

/**
 * ipsec_esp_init_state() - type->init_state of ESP
 * @x: the SA, its keys attached, x->type the registered type
 * @extack: where a refusal is explained, may be NULL
 *
 * Context: process context, sleeps.
 * Return: 0 or -errno; then the core calls ipsec_sa_destroy().
 */
int ipsec_esp_init_state(struct xfrm_state *x, struct netlink_ext_ack *extack)
{
	struct ipsec_sa *sa;
	int err;

	x->data = NULL;
	x->props.header_len = 0;
	err = ipsec_encap_setup(x, extack) ?:
	      sa_init(x, &ipsec_esp_rx, &ipsec_esp_tx, ipsec_suite_esp, extack);
	if (err)
		return err;
	sa = ipsec_sa(x);
	/* what the core and NIC drivers take for the transform; lest they look for a generator
	 * where there is none
	 */
	x->data = sa->seqiv ?: sa->aead;
	if (!sa->seqiv)
		x->geniv = NULL;
	err = ipsec_offload_init_state(x);
	if (err)
		NL_SET_ERR_MSG(extack, "No memory for the SA");
	return err;
}

/**
 * ipsec_ah_init_state() - type->init_state of AH
 * @x: the SA, its keys attached, x->type the registered type
 * @extack: where a refusal is explained, may be NULL
 *
 * Context: process context, sleeps.
 * Return: 0 or -errno; then the core calls ipsec_sa_destroy().
 */
int ipsec_ah_init_state(struct xfrm_state *x, struct netlink_ext_ack *extack)
{
	int err;

	x->data = NULL;
	x->props.header_len = 0;
	if (x->encap) {
		NL_SET_ERR_MSG(extack, "AH cannot be encapsulated");
		return -EINVAL;
	}
	err = sa_init(x, &ipsec_ah_rx, &ipsec_ah_tx, ipsec_suite_ah, extack);
	if (!err)
		x->data = ipsec_sa(x)->ahash;
	return err;
}

/**
 * ipsec_sa_destroy() - type->destructor of both
 * @x: the SA; no packet can be on its way through it any more
 *
 * Context: process context.
 */
void ipsec_sa_destroy(struct xfrm_state *x)
{
	struct ipsec_sa *sa;

	if (!x->data)
		return;
	sa = ipsec_sa(x);
	x->type = sa->core_type;
	x->data = NULL;
	ipsec_lane_fini(&sa->lane);
	ipsec_suite_free(sa);
	sa_free(sa);
}

/**
 * ipsec_sa_setup() - memory for SAs, at load
 *
 * Return: 0 or -ENOMEM.
 */
int ipsec_sa_setup(void)
{
	sa_cache = KMEM_CACHE(ipsec_sa, 0);
	return sa_cache ? 0 : -ENOMEM;
}

/**
 * ipsec_sa_teardown() - give it back; no SA is left
 */
void ipsec_sa_teardown(void)
{
	kmem_cache_destroy(sa_cache);
}
