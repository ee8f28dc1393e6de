// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps the in-tree modules out while this one is loaded.
 *
 * xfrm_register_type() does not fail on a conflict, it overwrites: an in-tree
 * module that loads after us would take the type slot, fail at the protocol, and
 * leave the slot empty. So its load is refused before its first line runs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>

#include "ipsec.h"

static const char * const guard_modules[] = {
	"esp4", "esp6", "ah4", "ah6", "esp4_offload", "esp6_offload",
};

static int guard_notify(struct notifier_block *nb, unsigned long state, void *data)
{
	const struct module *module = data;

	if (state != MODULE_STATE_COMING ||
	    match_string(guard_modules, ARRAY_SIZE(guard_modules), module->name) < 0)
		return NOTIFY_DONE;

	pr_err("%s is refused: ESP and AH are ours; to use it, delete the SAs (ip xfrm state flush), then modprobe -r %s\n",
	       module->name, KBUILD_MODNAME);
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block guard_block = {
	.notifier_call	= guard_notify,
};

/**
 * ipsec_guard_setup() - refuse the in-tree modules from now on
 *
 * Return: 0 or -errno.
 */
int ipsec_guard_setup(void)
{
	return register_module_notifier(&guard_block);
}

/**
 * ipsec_guard_teardown() - let them load again
 */
void ipsec_guard_teardown(void)
{
	unregister_module_notifier(&guard_block);
}
