// SPDX-License-Identifier: GPL-2.0-only
/*
 * XFRM interfaces that are external (ip link add NAME type xfrm external): they take the packets of
 * any SA, and on a core that then mistakes the device these must not come back later.
 */
#include <linux/atomic.h>
#include <linux/netdevice.h>
#include <linux/string.h>
#include <net/rtnetlink.h>

#include "ipsec.h"

static atomic_t external_count;

static bool external_is(const struct net_device *dev)
{
	return dev->rtnl_link_ops && !strcmp(dev->rtnl_link_ops->kind, "xfrm") &&
	       ((const struct xfrm_if *)netdev_priv(dev))->p.collect_md;
}

static int external_notify(struct notifier_block *nb, unsigned long event, void *data)
{
	const struct net_device *dev = netdev_notifier_info_to_dev(data);

	if (event == NETDEV_REGISTER && external_is(dev))
		atomic_inc(&external_count);
	/* which is said again every second while somebody still holds the device */
	else if (event == NETDEV_UNREGISTER && external_is(dev) &&
		 dev->reg_state != NETREG_UNREGISTERED)
		atomic_dec(&external_count);
	return NOTIFY_DONE;
}

static struct notifier_block external_block = {
	.notifier_call	= external_notify,
};

/**
 * ipsec_external_any() - is there one, in any namespace
 *
 * Context: any.
 * Return: true when there is; always false where the core does not mistake the device.
 */
bool ipsec_external_any(void)
{
	return !IPSEC_INPUT_KEEPS_DEVICE && unlikely(atomic_read(&external_count));
}

/**
 * ipsec_external_setup() - at load: count those there are, and those to come
 *
 * Return: 0 or -errno.
 */
int ipsec_external_setup(void)
{
	return IPSEC_INPUT_KEEPS_DEVICE ? 0 : register_netdevice_notifier(&external_block);
}

/**
 * ipsec_external_teardown() - at unload
 */
void ipsec_external_teardown(void)
{
	if (!IPSEC_INPUT_KEEPS_DEVICE)
		unregister_netdevice_notifier(&external_block);
}
