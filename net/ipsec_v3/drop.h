/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_DROP_H
#define _IPSEC_V3_DROP_H

#include <linux/types.h>

struct ipsec_sa;

/*
 * Every way in which a packet ends inside this module, one line each:
 *
 *	X(symbol, name, errno, MIB counter, who mostly raises that, sentence)
 *
 * The errno goes back to the core. The MIB counter of /proc/net/xfrm_stat is
 * the one that an administrator already watches; "core" means that the core
 * raises it when it sees the errno, "here" that the packet ends in our hands
 * and we raise it. "-" has no counter there. The enum, /proc/net/ipsec_v3_stat,
 * the tracepoint's names and counters.rst all come from this table.
 */
#define IPSEC_DROPS(X)							\
	X(RX_SHORT, "RxShort", EINVAL, XFRMINSTATEPROTOERROR, core,	\
	  "too short to hold the header, the IV, the ICV and the trailer") \
	X(RX_BLOCK, "RxBlock", EINVAL, XFRMINSTATEPROTOERROR, core,	\
	  "ciphertext is not a whole number of cipher blocks (RFC 4303 2.4)") \
	X(RX_ICV, "RxForged", EBADMSG, XFRMINSTATEPROTOERROR, core,	\
	  "integrity check failed: forged, damaged or another key (RFC 4303 3.4.4)") \
	X(RX_LATE, "RxLate", EINVAL, XFRMINSTATESEQERROR, here,	\
	  "genuine, but older than the anti-replay window (RFC 4303 3.4.3)") \
	X(RX_REPLAY, "RxReplay", EINVAL, XFRMINSTATESEQERROR, here,	\
	  "a dummy packet seen before (RFC 4303 3.4.3)") \
	X(RX_PADLEN, "RxPadLength", EINVAL, XFRMINSTATEPROTOERROR, core, \
	  "pad length runs past the start of the payload (RFC 4303 2.5)") \
	X(RX_PADDING, "RxPadding", EINVAL, XFRMINSTATEPROTOERROR, core, \
	  "padding is not 1, 2, 3 ... (RFC 4303 2.4)")			\
	X(RX_AHLEN, "RxAhLength", EINVAL, XFRMINSTATEPROTOERROR, core,	\
	  "AH payload length does not fit the SA's ICV (RFC 4302 2.2)")	\
	X(RX_HEADER, "RxHeader", EINVAL, XFRMINSTATEPROTOERROR, core,	\
	  "malformed IP options or extension headers before AH (RFC 4302 3.3.3.1)") \
	X(RX_CRYPTO, "RxCrypto", EIO, XFRMINSTATEPROTOERROR, core,	\
	  "the crypto driver failed or had no room in its queue")	\
	X(RX_QUEUE, "RxQueueFull", ENOBUFS, XFRMINSTATEPROTOERROR, core, \
	  "more packets of the SA wait than the CPUs can process")	\
	X(RX_FLOW, "RxFlowFull", ENOBUFS, -, here,			\
	  "more packets wait for the CPU of their flow than netdev_max_backlog, or 32767") \
	X(RX_DEVICE, "RxDevice", ENETDOWN, -, here,			\
	  "while the packet waited the device went down or away, or was mistaken for another") \
	X(RX_NOMEM, "RxNoMemory", ENOMEM, XFRMINSTATEPROTOERROR, core,	\
	  "no memory to receive the packet")				\
	X(TX_TOOBIG, "TxTooBig", EMSGSIZE, XFRMOUTSTATEPROTOERROR, core, \
	  "the protected packet would exceed 65535 bytes")		\
	X(TX_HEADER, "TxHeader", EINVAL, XFRMOUTSTATEPROTOERROR, core,	\
	  "malformed headers before AH (RFC 4302 3.3.3.1), too many, or not of the SA's mode") \
	X(TX_MOVED, "TxMoved", EINVAL, XFRMOUTSTATEPROTOERROR, here,	\
	  "it got headers, or was fragmented, on its way to the device: load with offload=0") \
	X(TX_SEGMENT, "TxSegment", EINVAL, XFRMOUTSTATEPROTOERROR, here, \
	  "a GSO packet whose headers are not such that segments can be made of it") \
	X(TX_EXHAUSTED, "TxExhausted", EOVERFLOW, XFRMOUTSTATEPROTOERROR, core, \
	  "the SA has no sequence numbers left: rekey (RFC 4303 3.3.3)")	\
	X(TX_CRYPTO, "TxCrypto", EIO, XFRMOUTSTATEPROTOERROR, core,	\
	  "the crypto driver failed")					\
	X(TX_BUSY, "TxBusy", ENOBUFS, XFRMOUTSTATEPROTOERROR, core,	\
	  "the crypto driver had no room in its queue")			\
	X(TX_DEVICE, "TxDevice", ENETDOWN, XFRMOUTSTATEPROTOERROR, here, \
	  "the device went down, lost its link or left the namespace while the packet waited")	\
	X(TX_QUEUE, "TxQueueFull", ENOBUFS, XFRMOUTSTATEPROTOERROR, core, \
	  "more packets of the SA wait than the CPUs can process, or the device takes")	\
	X(TX_NOMEM, "TxNoMemory", ENOMEM, XFRMOUTSTATEPROTOERROR, core,	\
	  "no memory to send the packet")

/*
 * What is worth counting although nothing was lost: X(symbol, name, sentence).
 */
#define IPSEC_EVENTS(X)							\
	X(RX_DUMMY, "RxDummy",						\
	  "dummy packets accepted and thrown away (RFC 4303 2.6)")	\
	X(RX_SECOND, "RxSecondTry",					\
	  "second tries of a packet whose ICV failed under the inferred number") \
	X(RX_RESYNC, "RxResync",					\
	  "windows moved to a verified higher sequence number (RFC 4303 A3)") \
	X(RX_MAPPING, "RxMapping",					\
	  "packets from a NAT mapping that is not the SA's (RFC 3947)")	\
	X(RX_SPREAD, "RxSpread",						\
	  "packets that the CPU which received them left to others")	\
	X(RX_COPIED, "RxCopied",					\
	  "packets copied because their memory was not ours to write into") \
	X(TX_SPREAD, "TxSpread",						\
	  "packets that the CPU which sent them left to others")	\
	X(TX_COPIED, "TxCopied",					\
	  "packets copied because their memory was not ours to write into, or too small")

#define IPSEC_COUNT_DROP(symbol, ...)	IPSEC_DROP_##symbol,
#define IPSEC_COUNT_EVENT(symbol, ...)	IPSEC_EVENT_##symbol,

/** enum ipsec_count - index of a counter: the drops first, then the events */
enum ipsec_count {
	IPSEC_DROPS(IPSEC_COUNT_DROP)
	IPSEC_DROP_MAX,
	IPSEC_EVENT_FIRST = IPSEC_DROP_MAX - 1,
	IPSEC_EVENTS(IPSEC_COUNT_EVENT)
	IPSEC_COUNT_MAX
};

const char *ipsec_count_name(enum ipsec_count count);
int ipsec_drop(struct ipsec_sa *sa, u64 seq, enum ipsec_count reason);
void ipsec_event(struct ipsec_sa *sa, enum ipsec_count event);

#endif
