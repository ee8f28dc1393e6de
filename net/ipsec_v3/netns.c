// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each network namespace has of its own: the counters behind
 * /proc/net/ipsec_v3_stat, the switch net.ipsec_v3.userns_refuse, and the
 * packets that wait for a second try.
 */
#include <linux/delay.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "ipsec.h"
#include "late.h"

/**
 * struct ipsec_netns - what a network namespace has of its own
 * @counters: one per CPU
 * @late: packets that wait for a second try
 * @sysctl: the registered table
 * @table: its rows, which point into this struct
 * @userns_refuse: 1 refuses SAs in namespaces that a user namespace owns
 */
struct ipsec_netns {
	struct ipsec_counters __percpu	*counters;
	struct ipsec_late		late;
	struct ctl_table_header		*sysctl;
	struct ctl_table		*table;
	u8				userns_refuse;
};

static unsigned int ipsec_netns_id;

static struct ipsec_netns *netns(struct net *net)
{
	return net_generic(net, ipsec_netns_id);
}

/**
 * ipsec_netns_allows() - may an SA be made here
 * @net: the namespace
 *
 * A namespace that belongs to the initial user namespace always may. Others may
 * unless the switch is set, in the initial namespace or in their own.
 *
 * Return: true when it may.
 */
bool ipsec_netns_allows(struct net *net)
{
	if (net->user_ns == &init_user_ns)
		return true;
	return !READ_ONCE(netns(&init_net)->userns_refuse) &&
	       !READ_ONCE(netns(net)->userns_refuse);
}

/**
 * ipsec_netns_counters() - the namespace's counters
 * @net: the namespace
 *
 * Return: the counters, one per CPU.
 */
struct ipsec_counters __percpu *ipsec_netns_counters(struct net *net)
{
	return netns(net)->counters;
}

/* The namespace's devices are gone, so nothing new starts. */
static void netns_wait_idle(struct ipsec_netns *ns)
{
	long busy;
	int cpu;

	do {
		busy = 0;
		for_each_possible_cpu(cpu)
			busy += READ_ONCE(per_cpu_ptr(ns->counters, cpu)->busy);
		if (busy)
			usleep_range(1000, 2000);
	} while (busy);
}

/**
 * ipsec_netns_late() - the namespace's queue of packets for a second try
 * @net: the namespace
 *
 * Return: the queue.
 */
struct ipsec_late *ipsec_netns_late(struct net *net)
{
	return &netns(net)->late;
}

static int netns_stat_show(struct seq_file *seq, void *unused)
{
	struct ipsec_netns *ns = netns(seq_file_single_net(seq));
	enum ipsec_count count;
	int cpu;

	for (count = 0; count < IPSEC_COUNT_MAX; count++) {
		unsigned long sum = 0;

		for_each_possible_cpu(cpu)
			sum += per_cpu_ptr(ns->counters, cpu)->value[count];
		seq_printf(seq, "%-24s%lu\n", ipsec_count_name(count), sum);
	}
	return 0;
}

/* root of a user namespace must not lift what the host's root has set */
static int netns_sysctl_write(ipsec_ctl_table *table, int write, void *buffer,
			      size_t *lenp, loff_t *ppos)
{
	if (write && !capable(CAP_NET_ADMIN))
		return -EPERM;
	return proc_dou8vec_minmax(table, write, buffer, lenp, ppos);
}

static int netns_sysctl_init(struct net *net, struct ipsec_netns *ns)
{
	const struct ctl_table row = {
		.procname	= "userns_refuse",
		.data		= &ns->userns_refuse,
		.maxlen		= sizeof(ns->userns_refuse),
		.mode		= 0644,
		.proc_handler	= netns_sysctl_write,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	};

	/* older kernels want an empty row at the end */
	ns->table = kcalloc(2, sizeof(*ns->table), GFP_KERNEL);
	if (!ns->table)
		return -ENOMEM;
	ns->table[0] = row;
	ns->sysctl = register_net_sysctl_sz(net, "net/ipsec_v3", ns->table, 1);
	if (ns->sysctl)
		return 0;
	kfree(ns->table);
	return -ENOMEM;
}

static void netns_sysctl_fini(struct ipsec_netns *ns)
{
	unregister_net_sysctl_table(ns->sysctl);
	kfree(ns->table);
}

static int __net_init netns_init(struct net *net)
{
	struct ipsec_netns *ns = netns(net);
	int err = -ENOMEM;

	ns->counters = alloc_percpu(struct ipsec_counters);
	if (!ns->counters)
		return err;
	if (!proc_create_net_single("ipsec_v3_stat", 0444, net->proc_net,
				    netns_stat_show, NULL))
		goto free_counters;
	err = netns_sysctl_init(net, ns);
	if (err)
		goto remove_proc;
	ipsec_late_init(&ns->late);
	return 0;

remove_proc:
	remove_proc_entry("ipsec_v3_stat", net->proc_net);
free_counters:
	free_percpu(ns->counters);
	return err;
}

static void __net_exit netns_exit(struct net *net)
{
	struct ipsec_netns *ns = netns(net);

	netns_wait_idle(ns);
	ipsec_late_fini(&ns->late);
	netns_sysctl_fini(ns);
	remove_proc_entry("ipsec_v3_stat", net->proc_net);
	free_percpu(ns->counters);
}

static struct pernet_operations ipsec_netns_ops = {
	.init	= netns_init,
	.exit	= netns_exit,
	.id	= &ipsec_netns_id,
	.size	= sizeof(struct ipsec_netns),
};

/**
 * ipsec_netns_setup() - give every namespace its share
 *
 * Return: 0 or -errno.
 */
int ipsec_netns_setup(void)
{
	return register_pernet_subsys(&ipsec_netns_ops);
}

/**
 * ipsec_netns_teardown() - take it back; no SA is left
 */
void ipsec_netns_teardown(void)
{
	unregister_pernet_subsys(&ipsec_netns_ops);
}
