/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Anti-replay window with 64-bit sequence numbers (RFC 4303 3.4.3, appendix A)
 *
 * Pure code: it knows no packet buffer, no lock and no allocator, and is
 * compiled into the module, the unit tests and user-space fuzzers alike.
 */
#ifndef _IPSEC_V3_REPLAY_H
#define _IPSEC_V3_REPLAY_H

#include <linux/types.h>

/**
 * struct replay_window - a view on the receive state of one SA
 * @top: highest authenticated sequence number
 * @size: length of the window in packets; 0 switches the check off. At most 32
 *	when @ring is false, at most 32 times the words of @bits otherwise.
 * @bits: one bit per packet, in the memory that the core reads as well
 * @ring: @bits is a ring of words (the core's "bmp" and "esn" layouts); if
 *	false, one word that shifts: bit n stands for @top - n (its "legacy"
 *	layout)
 * @esn: sequence numbers have 64 bits, of which the low 32 are sent
 *
 * The caller fills @top from the core's state and stores it back there after
 * replay_commit() or replay_resync(), all under the lock of that state.
 */
struct replay_window {
	u64 top;
	u32 size;
	u32 *bits;
	bool ring;
	bool esn;
};

/**
 * enum replay_verdict - what the window says about a sequence number
 * @REPLAY_FRESH: not seen before: right of the window, or in it and unmarked
 * @REPLAY_SEEN: in the window and marked
 * @REPLAY_LATE: left of the window, where nothing is remembered
 * @REPLAY_ZERO: number zero, which no sender uses (RFC 4303 2.2)
 */
enum replay_verdict {
	REPLAY_FRESH,
	REPLAY_SEEN,
	REPLAY_LATE,
	REPLAY_ZERO,
};

u64 replay_infer(const struct replay_window *w, u32 low);
enum replay_verdict replay_check(const struct replay_window *w, u64 seq);
void replay_commit(struct replay_window *w, u64 seq);
bool replay_late_candidate(const struct replay_window *w, u64 guess, u64 *seq);
bool replay_resync_candidate(const struct replay_window *w, u32 low,
			     unsigned int n, u64 *seq);
void replay_resync(struct replay_window *w, u64 seq);

#endif /* _IPSEC_V3_REPLAY_H */
