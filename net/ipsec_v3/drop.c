// SPDX-License-Identifier: GPL-2.0-only
/* Every drop has a name; the table is in drop.h. */
#include <trace/events/ipsec_v3.h>

#include "ipsec.h"

#define DROP_ERRNO(symbol, name, errno, ...)	[IPSEC_DROP_##symbol] = -(errno),
#define DROP_NAME(symbol, name, ...)		[IPSEC_DROP_##symbol] = name,
#define EVENT_NAME(symbol, name, ...)		[IPSEC_EVENT_##symbol] = name,

static const s16 drop_errno[] = { IPSEC_DROPS(DROP_ERRNO) };

static const char * const count_name[] = {
	IPSEC_DROPS(DROP_NAME)
	IPSEC_EVENTS(EVENT_NAME)
};

/**
 * ipsec_count_name() - a counter's name in /proc/net/ipsec_v3_stat
 * @count: the counter
 *
 * Return: the name.
 */
const char *ipsec_count_name(enum ipsec_count count)
{
	return count_name[count];
}

/**
 * ipsec_event() - count something that is no loss
 * @sa: the SA
 * @event: what happened
 *
 * Context: any.
 */
void ipsec_event(struct ipsec_sa *sa, enum ipsec_count event)
{
	this_cpu_inc(sa->counters->value[event]);
}

/**
 * ipsec_drop() - say why a packet dies
 * @sa: the SA
 * @seq: its sequence number, host order
 * @reason: a value of enum ipsec_count that is a drop
 *
 * Context: any.
 * Return: the -errno that goes to the core, which frees the packet; where it is in our
 * hands, that is the caller's to do.
 */
int ipsec_drop(struct ipsec_sa *sa, u64 seq, enum ipsec_count reason)
{
	ipsec_event(sa, reason);
	trace_drop(sa->x, seq, reason);
	return drop_errno[reason];
}
