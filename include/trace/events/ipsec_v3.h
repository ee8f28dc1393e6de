/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ipsec_v3

#if !defined(_TRACE_IPSEC_V3_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IPSEC_V3_H

#include <linux/tracepoint.h>
#include <net/xfrm.h>

#include "../../../net/ipsec_v3/drop.h"

#define IPSEC_TRACE_NAME(symbol, name, ...)	{ IPSEC_DROP_##symbol, name },

/**
 * drop - a packet ends in ipsec_v3
 * @x: the SA
 * @seq: full sequence number as inferred or given, host order; where it is not known any more,
 *	0 (RxFlowFull, RxDevice) or U64_MAX (a GSO packet that cannot be segmented)
 * @reason: enum ipsec_count, by its name in /proc/net/ipsec_v3_stat
 *
 * The SA is named by its protocol, SPI and reqid. A record has no address of the kernel: who
 * reads it raw would get it as it is.
 */
TRACE_EVENT(drop,
	TP_PROTO(const struct xfrm_state *x, u64 seq, int reason),
	TP_ARGS(x, seq, reason),
	TP_STRUCT__entry(
		__field(u64, seq)
		__field(u32, spi)
		__field(u32, reqid)
		__field(u8, proto)
		__field(u8, reason)
	),
	TP_fast_assign(
		__entry->seq = seq;
		__entry->spi = ntohl(x->id.spi);
		__entry->reqid = x->props.reqid;
		__entry->proto = x->id.proto;
		__entry->reason = reason;
	),
	TP_printk("proto=%s spi=0x%08x seq=%llu reqid=%u reason=%s",
		  __entry->proto == IPPROTO_AH ? "ah" : "esp",
		  __entry->spi, __entry->seq, __entry->reqid,
		  __print_symbolic(__entry->reason, IPSEC_DROPS(IPSEC_TRACE_NAME)
				   { IPSEC_DROP_MAX, "?" }))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH trace/events
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE ipsec_v3
#include <trace/define_trace.h>
