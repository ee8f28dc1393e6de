// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load and unload: one table of steps, walked forward, and backward from wherever
 * it stopped.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <net/xfrm.h>

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
 * struct ipsec_step - one thing to set up at load and take down at unload
 * @setup: returns 0 or -errno, and then holds nothing
 * @teardown: undoes @setup
 * @family: what the two work on, for the steps that claim a protocol
 * @type: likewise
 */
struct ipsec_step {
	int				(*setup)(const struct ipsec_step *step);
	void				(*teardown)(const struct ipsec_step *step);
	const struct ipsec_family	*family;
	const struct xfrm_type		*type;
};

/* the type that holds our slot in the core now, or NULL; RCU is held */
static const struct xfrm_type *claim_holder(const struct ipsec_step *step)
{
	const struct xfrm_state_afinfo *afinfo = xfrm_state_afinfo_get_rcu(step->family->af);

	if (!afinfo)
		return ERR_PTR(-EAFNOSUPPORT);
	return step->type->proto == IPPROTO_ESP ? afinfo->type_esp : afinfo->type_ah;
}

/* Says who holds a slot and how to free it. */
static void claim_complain(const struct ipsec_step *step, const struct module *owner)
{
	const char *family = step->family->name;

	if (!owner)
		pr_err("IP protocol %u of %s is built into this kernel, which cannot load %s\n",
		       step->type->proto, family, KBUILD_MODNAME);
	else if (step->type->proto == IPPROTO_ESP)
		/* modprobe passes over the offload half when it is not loaded */
		pr_err("ESP for %s is held by module %s; free it with: ip xfrm state flush; modprobe -r %s_offload %s\n",
		       family, owner->name, owner->name, owner->name);
	else
		pr_err("AH for %s is held by module %s; free it with: ip xfrm state flush; modprobe -r %s\n",
		       family, owner->name, owner->name);
}

/* 0 when the slot is free, else -errno, and the log says what to do */
static int claim_check(const struct ipsec_step *step)
{
	const struct xfrm_type *holder;
	int err = 0;

	rcu_read_lock();
	holder = claim_holder(step);
	if (IS_ERR(holder)) {
		err = PTR_ERR(holder);
	} else if (holder) {
		err = -EEXIST;
		claim_complain(step, holder->owner);
	}
	rcu_read_unlock();
	return err;
}

/* The protocol first: unlike the type, registering it fails on a conflict. */
static int claim_setup(const struct ipsec_step *step)
{
	const struct ipsec_family *family = step->family;
	u8 proto = step->type->proto;
	int err = claim_check(step);

	if (err)
		/* a kernel booted with ipv6.disable=1 still has IPv4 */
		return err == -EAFNOSUPPORT && family->af == AF_INET6 ? 0 : err;

	err = family->protocol_register(proto);
	if (err) {
		pr_err("IP protocol %u of %s is held by another module (%d)\n",
		       proto, family->name, err);
		return err;
	}
	err = xfrm_register_type(step->type, family->af);
	if (err)
		family->protocol_deregister(proto);
	return err;
}

static void claim_teardown(const struct ipsec_step *step)
{
	bool ours;

	rcu_read_lock();
	ours = claim_holder(step) == step->type;
	rcu_read_unlock();
	if (!ours)
		return;
	xfrm_unregister_type(step->type, step->family->af);
	step->family->protocol_deregister(step->type->proto);
}

/* after the claim of ESP, without which it would not be ours */
static int offload_setup(const struct ipsec_step *step)
{
	int err = ipsec_offload_setup(step->family);

	if (err == -EAFNOSUPPORT && step->family->af == AF_INET6)
		return 0;
	if (err)
		pr_err("GSO and GRO of ESP for %s are held by another module (%d)\n",
		       step->family->name, err);
	return err;
}

static void offload_teardown(const struct ipsec_step *step)
{
	ipsec_offload_teardown(step->family);
}

static int crypt_setup(const struct ipsec_step *step)
{
	return 0;
}

static void crypt_teardown(const struct ipsec_step *step)
{
	ipsec_crypt_teardown();
}

static int sa_setup(const struct ipsec_step *step)
{
	return ipsec_sa_setup();
}

static void sa_teardown(const struct ipsec_step *step)
{
	ipsec_sa_teardown();
}

static int lane_setup(const struct ipsec_step *step)
{
	return ipsec_lane_setup();
}

static void lane_teardown(const struct ipsec_step *step)
{
	ipsec_lane_teardown();
}

static int flow_setup(const struct ipsec_step *step)
{
	ipsec_flow_setup();
	return 0;
}

static void flow_teardown(const struct ipsec_step *step)
{
	ipsec_flow_teardown();
}

static int netns_setup(const struct ipsec_step *step)
{
	return ipsec_netns_setup();
}

static void netns_teardown(const struct ipsec_step *step)
{
	ipsec_netns_teardown();
}

static int guard_setup(const struct ipsec_step *step)
{
	return ipsec_guard_setup();
}

static void guard_teardown(const struct ipsec_step *step)
{
	ipsec_guard_teardown();
}

static const struct ipsec_step steps[] = {
	{ sa_setup, sa_teardown },
	{ crypt_setup, crypt_teardown },
	{ lane_setup, lane_teardown },
	{ flow_setup, flow_teardown },
	{ netns_setup, netns_teardown },
	{ guard_setup, guard_teardown },
	{ claim_setup, claim_teardown, &ipsec_family4, &esp_type },
	{ offload_setup, offload_teardown, &ipsec_family4 },
	{ claim_setup, claim_teardown, &ipsec_family4, &ah_type },
#if IS_ENABLED(CONFIG_IPV6)
	{ claim_setup, claim_teardown, &ipsec_family6, &esp_type },
	{ offload_setup, offload_teardown, &ipsec_family6 },
	{ claim_setup, claim_teardown, &ipsec_family6, &ah_type },
#endif
};

static void steps_undo(size_t done)
{
	while (done--)
		steps[done].teardown(&steps[done]);
}

static int __init ipsec_v3_init(void)
{
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		err = steps[i].setup(&steps[i]);
		if (err) {
			steps_undo(i);
			return err;
		}
	}
	pr_info("ESPv3 and AHv3 for IPv4 and IPv6\n");
	return 0;
}

static void __exit ipsec_v3_exit(void)
{
	steps_undo(ARRAY_SIZE(steps));
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
