// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load and unload: the module's parts, then its claims to the core's slots. Each is a
 * table, walked forward, and backward from wherever it stopped.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <net/xfrm.h>

#include "cpus.h"
#include "crypt.h"
#include "ipsec.h"
#include "lane.h"

/* What we register for a protocol of a family; the core's slots are per family,
 * so the same description may stand in both.
 */
static const struct xfrm_type esp_type = {
	.owner		= THIS_MODULE,
	.proto		= IPPROTO_ESP,
	.flags		= XFRM_TYPE_REPLAY_PROT,
	.init_state	= ipsec_esp_init_state,
	.destructor	= ipsec_sa_destroy,
	.input		= ipsec_input,
	.output		= ipsec_output,
};

static const struct xfrm_type ah_type = {
	.owner		= THIS_MODULE,
	.proto		= IPPROTO_AH,
	.flags		= XFRM_TYPE_REPLAY_PROT,
	.init_state	= ipsec_ah_init_state,
	.destructor	= ipsec_sa_destroy,
	.input		= ipsec_input,
	.output		= ipsec_output,
};

/**
 * struct ipsec_part - what serves all SAs
 * @setup: returns 0 or -errno, and then holds nothing; NULL where there is nothing to do
 * @teardown: undoes @setup, and frees what has gathered since
 */
struct ipsec_part {
	int	(*setup)(void);
	void	(*teardown)(void);
};

/**
 * struct ipsec_claim - something of the core's that only one module can have
 * @setup: returns 0 or -errno, and then holds nothing
 * @teardown: undoes @setup
 * @family: where
 * @type: what
 */
struct ipsec_claim {
	int				(*setup)(const struct ipsec_claim *claim);
	void				(*teardown)(const struct ipsec_claim *claim);
	const struct ipsec_family	*family;
	const struct xfrm_type		*type;
};

/* a kernel booted with ipv6.disable=1 still has IPv4 */
static bool claim_absent(const struct ipsec_claim *claim)
{
	return claim->family->af == AF_INET6 && !ipv6_mod_enabled();
}

/* the type that holds our slot in the core now, or NULL; RCU is held */
static const struct xfrm_type *claim_holder(const struct ipsec_claim *claim)
{
	const struct xfrm_state_afinfo *afinfo = xfrm_state_afinfo_get_rcu(claim->family->af);

	return claim->type->proto == IPPROTO_ESP ? afinfo->type_esp : afinfo->type_ah;
}

/* Says who holds a slot and how to free it. */
static void claim_complain(const struct ipsec_claim *claim, const struct module *owner)
{
	const char *family = claim->family->name;

	if (!owner)
		pr_err("IP protocol %u of %s is built into this kernel, which cannot load %s\n",
		       claim->type->proto, family, KBUILD_MODNAME);
	else if (claim->type->proto == IPPROTO_ESP)
		/* modprobe passes over the offload half when it is not loaded */
		pr_err("ESP for %s is held by module %s; free it with: ip xfrm state flush; modprobe -r %s_offload %s\n",
		       family, owner->name, owner->name, owner->name);
	else
		pr_err("AH for %s is held by module %s; free it with: ip xfrm state flush; modprobe -r %s\n",
		       family, owner->name, owner->name);
}

/* 0 when the slot is free, else -errno, and the log says what to do */
static int claim_check(const struct ipsec_claim *claim)
{
	const struct xfrm_type *holder;
	int err = 0;

	rcu_read_lock();
	holder = claim_holder(claim);
	if (holder) {
		/* modprobe takes -EEXIST for "is loaded already", and is silent */
		err = -EBUSY;
		claim_complain(claim, holder->owner);
	}
	rcu_read_unlock();
	return err;
}

/* Unlike the type, registering it fails on a conflict. */
static int protocol_setup(const struct ipsec_claim *claim)
{
	const struct ipsec_family *family = claim->family;
	u8 proto = claim->type->proto;
	int err = claim_check(claim);

	if (err)
		return err;
	err = family->protocol_register(proto);
	if (err) {
		pr_err("IP protocol %u of %s is held by another module (%d)\n",
		       proto, family->name, err);
		return -EBUSY;
	}
	return 0;
}

static void protocol_teardown(const struct ipsec_claim *claim)
{
	claim->family->protocol_deregister(claim->type->proto);
}

static int type_setup(const struct ipsec_claim *claim)
{
	return xfrm_register_type(claim->type, claim->family->af);
}

static void type_teardown(const struct ipsec_claim *claim)
{
	const struct xfrm_type *holder;

	rcu_read_lock();
	holder = claim_holder(claim);
	rcu_read_unlock();
	/* an in-tree module that was loaded at the same moment may have taken the slot and, refused
	 * the protocol, cleared it
	 */
	if (holder == claim->type)
		xfrm_unregister_type(claim->type, claim->family->af);
}

static int offload_setup(const struct ipsec_claim *claim)
{
	int err = ipsec_offload_setup(claim->family);

	if (err)
		pr_err("GSO and GRO of ESP for %s are held by another module (%d)\n",
		       claim->family->name, err);
	return err;
}

static void offload_teardown(const struct ipsec_claim *claim)
{
	ipsec_offload_teardown(claim->family);
}

static const struct ipsec_part parts[] = {
	{ ipsec_sa_setup, ipsec_sa_teardown },
	{ NULL, ipsec_crypt_teardown },
	{ ipsec_follow_setup, ipsec_follow_teardown },
	{ ipsec_cpus_setup, ipsec_cpus_teardown },
	{ ipsec_lane_setup, ipsec_lane_teardown },
	{ ipsec_flow_setup, ipsec_flow_teardown },
	{ ipsec_netns_setup, ipsec_netns_teardown },
	{ ipsec_external_setup, ipsec_external_teardown },
	{ ipsec_guard_setup, ipsec_guard_teardown },
};

/* ESP before its offload half, which would not be ours without it; the types last, as an SA may
 * be made of the first at once, and must not see those behind it fail
 */
static const struct ipsec_claim claims[] = {
	{ protocol_setup, protocol_teardown, &ipsec_family4, &esp_type },
	{ offload_setup, offload_teardown, &ipsec_family4, &esp_type },
	{ protocol_setup, protocol_teardown, &ipsec_family4, &ah_type },
#if IS_ENABLED(CONFIG_IPV6)
	{ protocol_setup, protocol_teardown, &ipsec_family6, &esp_type },
	{ offload_setup, offload_teardown, &ipsec_family6, &esp_type },
	{ protocol_setup, protocol_teardown, &ipsec_family6, &ah_type },
	{ type_setup, type_teardown, &ipsec_family6, &esp_type },
	{ type_setup, type_teardown, &ipsec_family6, &ah_type },
#endif
	{ type_setup, type_teardown, &ipsec_family4, &esp_type },
	{ type_setup, type_teardown, &ipsec_family4, &ah_type },
};

static void parts_teardown(size_t done)
{
	while (done--)
		parts[done].teardown();
}

static int __init parts_setup(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		err = parts[i].setup ? parts[i].setup() : 0;
		if (err) {
			parts_teardown(i);
			return err;
		}
	}
	return 0;
}

static void claims_teardown(size_t done)
{
	while (done--)
		if (!claim_absent(&claims[done]))
			claims[done].teardown(&claims[done]);
}

static int __init claims_setup(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(claims); i++) {
		err = claim_absent(&claims[i]) ? 0 : claims[i].setup(&claims[i]);
		if (err) {
			claims_teardown(i);
			return err;
		}
	}
	return 0;
}

static int __init ipsec_v3_init(void)
{
	int err = parts_setup();

	if (err)
		return err;
	err = claims_setup();
	if (err) {
		parts_teardown(ARRAY_SIZE(parts));
		return err;
	}
	pr_info("ESPv3 and AHv3 for IPv4%s\n", ipv6_mod_enabled() ? " and IPv6" : " only");
	return 0;
}

static void __exit ipsec_v3_exit(void)
{
	claims_teardown(ARRAY_SIZE(claims));
	parts_teardown(ARRAY_SIZE(parts));
}

module_init(ipsec_v3_init);
module_exit(ipsec_v3_exit);

MODULE_DESCRIPTION("ESPv3 (RFC 4303) and AHv3 (RFC 4302) datapath");
MODULE_AUTHOR("The ipsec_v3 developers");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
MODULE_ALIAS_XFRM_TYPE(AF_INET, XFRM_PROTO_ESP);
MODULE_ALIAS_XFRM_TYPE(AF_INET, XFRM_PROTO_AH);
MODULE_ALIAS_XFRM_TYPE(AF_INET6, XFRM_PROTO_ESP);
MODULE_ALIAS_XFRM_TYPE(AF_INET6, XFRM_PROTO_AH);
MODULE_ALIAS_XFRM_OFFLOAD_TYPE(AF_INET, XFRM_PROTO_ESP);
MODULE_ALIAS_XFRM_OFFLOAD_TYPE(AF_INET6, XFRM_PROTO_ESP);
