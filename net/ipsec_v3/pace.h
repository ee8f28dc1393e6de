/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_PACE_H
#define _IPSEC_V3_PACE_H

#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/types.h>

/* packets in one jiffy that are a crowd, and the CPUs that work for others; set by root at
 * any time
 */
extern unsigned int ipsec_spread;
extern struct cpumask ipsec_spread_cpus;

/**
 * struct ipsec_pace - how fast an SA's packets come and go
 * @jiffy: that brought the last packet
 * @brought: packets that it has brought
 * @total: packets that all before it have brought
 * @crowd: jiffies when one was last seen to have brought a crowd
 * @looked: when the rate was looked at last, microseconds
 * @seen: packets that had come, or gone, by then
 * @alone: packets per second that the CPU that brings processed on the spot, had it
 *	nothing else to do; 0 when not known
 * @waits: spreading was no gain, and is not tried before @again
 * @again: jiffies
 * @wait: jiffies that are waited next time when spreading was no gain
 *
 * Several CPUs may write at once: a packet is then not counted, or a look is lost.
 */
struct ipsec_pace {
	unsigned long	jiffy;
	unsigned int	brought;
	unsigned int	total;
	unsigned long	crowd;
	s64		looked;
	unsigned int	seen;
	unsigned int	alone;
	bool		waits;
	unsigned long	again;
	unsigned long	wait;
};

bool ipsec_pace_jiffy(struct ipsec_pace *pace, unsigned int spread, bool open);
unsigned int ipsec_pace_open(struct ipsec_pace *pace, int start, u16 *cpus, unsigned int most);
void ipsec_pace_restart(struct ipsec_pace *pace, unsigned int packets);
bool ipsec_pace_close(struct ipsec_pace *pace, unsigned int delivered);
void ipsec_pace_init(struct ipsec_pace *pace);
void ipsec_pace_setup(void);

/**
 * ipsec_pace_packet() - a packet of the SA has come
 * @pace: the SA's
 * @spread: packets in one jiffy that are a crowd; 0 for never
 * @open: the SA is spread
 *
 * Context: any.
 * Return: true, once in a jiffy, when there may be a reason to begin or to end that.
 */
static inline bool ipsec_pace_packet(struct ipsec_pace *pace, unsigned int spread, bool open)
{
	unsigned long now = jiffies;

	if (unlikely(now != READ_ONCE(pace->jiffy)))
		return ipsec_pace_jiffy(pace, spread, open);
	WRITE_ONCE(pace->brought, READ_ONCE(pace->brought) + 1);
	return false;
}

#endif
