// SPDX-License-Identifier: GPL-2.0-only
/*
 * A network device for tests, xnic0, that says it encrypts and decrypts ESP, ESN included, and
 * segments what it encrypts; or does all of IPsec (packet offload). It does neither: what it is
 * offered ends here, a packet socket has seen it by then; and a frame that somebody writes to it
 * comes back as received, of ESP without encryption, or of UDP as if there had been ESP around
 * it, and as decrypted with the status that its module parameter asks for.
 */
#include <crypto/aead.h>
#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/gro_cells.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/xfrm.h>

#define NIC_FEATURES	(NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_ALL_TSO | \
			 NETIF_F_HW_ESP | NETIF_F_HW_ESP_TX_CSUM | NETIF_F_GSO_ESP)

#define NIC_QUEUES	2

static unsigned int nic_status = CRYPTO_SUCCESS;
module_param_named(status, nic_status, uint, 0644);
MODULE_PARM_DESC(status, "of received packets, as in enum of net/xfrm.h; 1 is success");

static struct net_device *nic_dev;
static bool nic_stopped, nic_single, nic_link = true;
static struct gro_cells nic_cells;
static struct xfrm_state __rcu *nic_in;		/* the SA for receiving, if there is one */

static void nic_apply(void)
{
	netif_set_real_num_tx_queues(nic_dev, nic_single ? 1 : NIC_QUEUES);
	if (nic_stopped)
		netif_tx_stop_all_queues(nic_dev);
	else if (nic_single)
		netif_tx_wake_queue(netdev_get_tx_queue(nic_dev, 0));
	else
		netif_tx_wake_all_queues(nic_dev);
	if (nic_link)
		netif_carrier_on(nic_dev);
	else
		netif_carrier_off(nic_dev);
}

static int nic_set(const char *value, const struct kernel_param *param)
{
	int err = param_set_bool(value, param);

	if (err || !nic_dev)
		return err;
	rtnl_lock();
	nic_apply();
	rtnl_unlock();
	return 0;
}

static const struct kernel_param_ops nic_ops_bool = {
	.set	= nic_set,
	.get	= param_get_bool,
};
module_param_cb(stopped, &nic_ops_bool, &nic_stopped, 0644);
MODULE_PARM_DESC(stopped, "its queues, as those of a device whose ring is full");
module_param_cb(single, &nic_ops_bool, &nic_single, 0644);
MODULE_PARM_DESC(single, "whether it has given up its second queue, as stopped as that was");
module_param_cb(link, &nic_ops_bool, &nic_link, 0644);
MODULE_PARM_DESC(link, "whether it has one");

/* Drivers take over how the crypto API would generate IVs, and look for that in x->data. */
static bool nic_finds_generator(const struct xfrm_state *x)
{
	return x->geniv && !strcmp(x->geniv, "seqiv") &&
	       !strncmp(crypto_tfm_alg_name(crypto_aead_tfm(x->data)), "seqiv(", 6);
}

static int nic_add(struct xfrm_state *x)
{
	if (x->aead && !nic_finds_generator(x))
		return -EINVAL;
	if (x->xso.dir == XFRM_DEV_OFFLOAD_IN)
		rcu_assign_pointer(nic_in, x);
	return 0;
}

static __maybe_unused int nic_add_extack(struct xfrm_state *x, struct netlink_ext_ack *extack)
{
	return nic_add(x);
}

/* 6.2 has added the second argument */
#define nic_state_add							\
	__builtin_choose_expr(						\
		__same_type(((struct xfrmdev_ops *)NULL)->xdo_dev_state_add, &nic_add), \
		nic_add, nic_add_extack)

static void nic_state_delete(struct xfrm_state *x)
{
	/* the core holds locks here, and frees @x after a grace period */
	if (rcu_access_pointer(nic_in) == x)
		RCU_INIT_POINTER(nic_in, NULL);
}

static bool nic_offload_ok(struct sk_buff *skb, struct xfrm_state *x)
{
	return true;
}

static void nic_advance_esn(struct xfrm_state *x)
{
}

#ifdef NIC_POLICIES
static int nic_policy_add(struct xfrm_policy *policy, struct netlink_ext_ack *extack)
{
	return 0;
}

static void nic_policy_forget(struct xfrm_policy *policy)
{
}
#endif

static const struct xfrmdev_ops nic_xfrmdev_ops = {
	.xdo_dev_state_add		= nic_state_add,
	.xdo_dev_state_delete		= nic_state_delete,
	.xdo_dev_offload_ok		= nic_offload_ok,
	.xdo_dev_state_advance_esn	= nic_advance_esn,
#ifdef NIC_POLICIES
	.xdo_dev_policy_add		= nic_policy_add,
	.xdo_dev_policy_delete		= nic_policy_forget,
	.xdo_dev_policy_free		= nic_policy_forget,
#endif
};

/* the protocol and what follows the IP header, if nothing is in between */
static int nic_inside(struct sk_buff *skb, const struct ip_esp_hdr **inside)
{
	unsigned int hlen = skb->protocol == htons(ETH_P_IPV6) ? sizeof(struct ipv6hdr) :
								 sizeof(struct iphdr);

	if ((skb->protocol != htons(ETH_P_IPV6) && skb->protocol != htons(ETH_P_IP)) ||
	    !pskb_may_pull(skb, hlen + sizeof(**inside)))
		return -1;
	*inside = (void *)(skb_network_header(skb) + hlen);
	if (skb->protocol == htons(ETH_P_IPV6))
		return ipv6_hdr(skb)->nexthdr;
	return ip_hdr(skb)->ihl == 5 ? ip_hdr(skb)->protocol : -1;
}

static bool nic_is_for(struct sk_buff *skb, struct xfrm_state *x)
{
	const struct ip_esp_hdr *inside;
	int proto = nic_inside(skb, &inside);

	if (!x)
		return false;
	if (x->xso.type == XFRM_DEV_OFFLOAD_PACKET)
		return proto == IPPROTO_UDP;
	return proto == IPPROTO_ESP && inside->spi == x->id.spi;
}

/* says that the packet was decrypted */
static int nic_claim(struct sk_buff *skb, struct xfrm_state *x)
{
	struct sec_path *sp = secpath_set(skb);
	struct xfrm_offload *xo;

	if (!sp)
		return -ENOMEM;
	if (!refcount_inc_not_zero(&x->refcnt))
		return -ENOENT;
	sp->xvec[sp->len++] = x;
	sp->olen++;
	xo = xfrm_offload(skb);
	xo->flags = CRYPTO_DONE;
	xo->status = READ_ONCE(nic_status);
	return 0;
}

static void nic_receive(struct sk_buff *skb, struct net_device *dev)
{
	struct xfrm_state *x;

	skb_orphan(skb);
	skb_dst_drop(skb);
	skb->protocol = eth_type_trans(skb, dev);
	skb->pkt_type = PACKET_HOST;
	skb->ip_summed = CHECKSUM_NONE;
	skb_reset_network_header(skb);
	rcu_read_lock();
	x = rcu_dereference(nic_in);
	if (nic_is_for(skb, x) && nic_claim(skb, x))
		kfree_skb(skb);
	else
		gro_cells_receive(&nic_cells, skb);
	rcu_read_unlock();
}

/* Is it to encrypt the packet? If it does all of IPsec, only the route says so. */
static bool nic_is_offered(struct sk_buff *skb)
{
	return skb_sec_path(skb) || (skb_dst(skb) && skb_dst(skb)->xfrm &&
				     skb_dst(skb)->xfrm->xso.type == XFRM_DEV_OFFLOAD_PACKET);
}

static netdev_tx_t nic_xmit(struct sk_buff *skb, struct net_device *dev)
{
	if (nic_is_offered(skb))
		consume_skb(skb);
	else
		nic_receive(skb, dev);
	return NETDEV_TX_OK;
}

static const struct net_device_ops nic_ops = {
	.ndo_start_xmit		= nic_xmit,
	.ndo_set_mac_address	= eth_mac_addr,
};

static void nic_setup(struct net_device *dev)
{
	ether_setup(dev);
	eth_hw_addr_random(dev);
	dev->netdev_ops = &nic_ops;
	dev->xfrmdev_ops = &nic_xfrmdev_ops;
	dev->flags |= IFF_NOARP;
	netif_keep_dst(dev);
	dev->features |= NIC_FEATURES;
	dev->hw_features |= NIC_FEATURES;
	dev->hw_enc_features |= NIC_FEATURES;
}

static int __init nic_init(void)
{
	int err = -ENOMEM;

	/* in front of two queues a qdisc sends on although they are stopped */
	nic_dev = alloc_netdev_mq(0, "xnic%d", NET_NAME_ENUM, nic_setup, NIC_QUEUES);
	if (!nic_dev)
		return err;
	err = gro_cells_init(&nic_cells, nic_dev);
	if (err)
		goto free;
	err = register_netdev(nic_dev);
	if (!err)
		return 0;
	gro_cells_destroy(&nic_cells);
free:
	free_netdev(nic_dev);
	return err;
}

static void __exit nic_exit(void)
{
	unregister_netdev(nic_dev);
	gro_cells_destroy(&nic_cells);
	free_netdev(nic_dev);
}

module_init(nic_init);
module_exit(nic_exit);
MODULE_DESCRIPTION("A network device that says it encrypts ESP, for tests");
MODULE_LICENSE("GPL");
