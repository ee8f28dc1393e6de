// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anti-replay window with 64-bit sequence numbers (RFC 4303 3.4.3, appendix A)
 *
 * The window is the @size numbers that end in @top. On the line of 64-bit
 * numbers, with B = top - size + 1:
 *
 *	   late                 window                     fresh
 *	--------------|B ...................... top|-------------------->
 *	              |<----------- 2^32 readings of "low" ----------->|
 *
 * A packet carries the low half only. Exactly one number with that low half
 * lies in the 2^32 numbers from B on: this is the whole of RFC 4303 A2.1 and
 * A2.2, whose case A (the window lies in one 2^32 subspace) and case B (it
 * spans two) fall out of 64-bit subtraction.
 *
 * The bits live in the core's memory, so their place is the core's choice. In
 * the ring, the bit of @top is at (low half of @top - 1) modulo @size, and
 * older numbers are to its left, cyclically.
 */
#include <linux/string.h>
#include <linux/types.h>

#include "replay.h"

#define REPLAY_WORD_BITS 32

/* The distance from B to @top. A size of 0 is read as 2^32, as the core does. */
static u32 replay_span(const struct replay_window *w)
{
	return w->size - 1;
}

/* Where the ring has the bit of number @top */
static u32 replay_ring_head(u64 top, u32 size)
{
	return ((u32)top - 1) % size;
}

/* The place @by to the left of @index, both less than @size */
static u32 replay_ring_left(u32 size, u32 index, u32 by)
{
	return index >= by ? index - by : index + (size - by);
}

/* The place @by to the right of @index, both less than @size */
static u32 replay_ring_right(u32 size, u32 index, u32 by)
{
	return by < size - index ? index + by : by - (size - index);
}

/* Where the ring has the bit of the number @age below the top, @age < size */
static u32 replay_ring_index(const struct replay_window *w, u32 age)
{
	return replay_ring_left(w->size, replay_ring_head(w->top, w->size), age);
}

static bool replay_ring_test(const u32 *bits, u32 index)
{
	return (bits[index / REPLAY_WORD_BITS] >> (index % REPLAY_WORD_BITS)) & 1;
}

static void replay_ring_assign(u32 *bits, u32 index, bool value)
{
	u32 bit = 1u << (index % REPLAY_WORD_BITS);

	if (value)
		bits[index / REPLAY_WORD_BITS] |= bit;
	else
		bits[index / REPLAY_WORD_BITS] &= ~bit;
}

/* Clear the bits @from to @to - 1, a word at a time; @from <= @to <= size */
static void replay_ring_clear_span(u32 *bits, u32 from, u32 to)
{
	u32 end, keep;

	while (from < to) {
		end = from - from % REPLAY_WORD_BITS + REPLAY_WORD_BITS;
		keep = (1u << (from % REPLAY_WORD_BITS)) - 1;
		if (end > to) {
			keep |= ~0u << (to % REPLAY_WORD_BITS);
			end = to;
		}
		bits[from / REPLAY_WORD_BITS] &= keep;
		from = end;
	}
}

/* Clear @count bits from @from on, going round at @size; @count < @size */
static void replay_ring_clear(u32 *bits, u32 size, u32 from, u32 count)
{
	u32 room = size - from;

	if (count <= room) {
		replay_ring_clear_span(bits, from, from + count);
		return;
	}
	replay_ring_clear_span(bits, from, size);
	replay_ring_clear_span(bits, 0, count - room);
}

static void replay_ring_reverse(u32 *bits, u32 from, u32 to)
{
	bool low, high;

	for (; from + 1 < to; from++, to--) {
		low = replay_ring_test(bits, from);
		high = replay_ring_test(bits, to - 1);
		replay_ring_assign(bits, from, high);
		replay_ring_assign(bits, to - 1, low);
	}
}

/* Move every bit @by places up, going round at @size (three reversals) */
static void replay_ring_rotate(u32 *bits, u32 size, u32 by)
{
	replay_ring_reverse(bits, 0, size - by);
	replay_ring_reverse(bits, size - by, size);
	replay_ring_reverse(bits, 0, size);
}

static void replay_ring_erase(u32 *bits, u32 size)
{
	memset(bits, 0, ((size - 1) / REPLAY_WORD_BITS + 1) * sizeof(*bits));
}

/* Mark a number inside the window */
static void replay_mark(struct replay_window *w, u64 seq)
{
	u32 age = w->top - seq;

	if (w->ring)
		replay_ring_assign(w->bits, replay_ring_index(w, age), true);
	else
		w->bits[0] |= 1u << age;
}

/*
 * Move the top of a ring @step numbers up, to @seq.
 *
 * The core finds the head by the low half of the top alone. Where that half
 * goes over zero (from the first number to the second as well, (0 - 1) being
 * 2^32 - 1), the head of a ring whose size is no power of two jumps, and the
 * bits must jump with it for the core to find them again. This happens once in
 * 2^32 packets, and only with such a size; it is the one thing here that works
 * bit by bit.
 */
static void replay_ring_advance(struct replay_window *w, u64 seq, u32 step)
{
	u32 size = w->size;
	u32 old = replay_ring_head(w->top, size);
	u32 head = replay_ring_head(seq, size);
	u32 walked = replay_ring_right(size, old, step);

	replay_ring_clear(w->bits, size, (old + 1) % size, step - 1);
	if (walked != head)
		replay_ring_rotate(w->bits, size,
				   replay_ring_left(size, head, walked));
}

/**
 * replay_infer() - the sequence number that a received low half stands for
 * @w: window
 * @low: sequence number field of the packet
 *
 * RFC 4303 A2.1 and A2.2: the lowest number with this low half that is not left
 * of the window. It is a guess until the ICV, which covers the high half, is
 * verified. Without ESN the low half is the number.
 *
 * Near the two ends of the 64-bit line the arithmetic wraps, in the same way as
 * the core's xfrm_replay_seqhi(). With @top in the first @size - 1 numbers, the
 * window reaches below zero, and a low half from there gets the high half
 * 0xffffffff: no sender has sent such a number, and replay_check() calls it
 * late. In the last 2^32 numbers, a low half left of the window gets the high
 * half 0, which is late too: the line ends there (RFC 4303 3.3.3).
 *
 * Context: any; the caller keeps @w stable.
 * Return: the sequence number.
 */
u64 replay_infer(const struct replay_window *w, u32 low)
{
	u64 bottom = w->top - replay_span(w);

	if (!w->esn)
		return low;
	return bottom + (u32)(low - (u32)bottom);
}

/**
 * replay_check() - look a sequence number up in the window
 * @w: window
 * @seq: sequence number, as replay_infer() gave it
 *
 * Context: any; the caller keeps @w stable.
 * Return: the verdict; REPLAY_FRESH for everything when the window is off.
 */
enum replay_verdict replay_check(const struct replay_window *w, u64 seq)
{
	u64 age = w->top - seq;
	bool seen;

	if (!w->size)
		return REPLAY_FRESH;
	if (!seq)
		return REPLAY_ZERO;
	if (seq > w->top)
		return age < w->size ? REPLAY_LATE : REPLAY_FRESH;
	if (age >= w->size)
		return REPLAY_LATE;

	if (w->ring)
		seen = replay_ring_test(w->bits, replay_ring_index(w, age));
	else
		seen = w->bits[0] >> age & 1;
	return seen ? REPLAY_SEEN : REPLAY_FRESH;
}

/**
 * replay_commit() - enter an authenticated sequence number
 * @w: window; @w->top moves up when @seq is right of it
 * @seq: the number; nothing happens unless replay_check() calls it fresh
 *
 * The cost is bounded by the words of the window, see replay_ring_advance() for
 * the one exception.
 *
 * Context: any; the caller excludes every other user of @w.
 */
void replay_commit(struct replay_window *w, u64 seq)
{
	u64 step = seq - w->top;

	if (!w->size || replay_check(w, seq) != REPLAY_FRESH)
		return;
	if (seq > w->top && step >= w->size) {
		replay_resync(w, seq);
		step = 1;
	}

	if (seq > w->top) {
		if (w->ring)
			replay_ring_advance(w, seq, step);
		else
			w->bits[0] <<= step;
		w->top = seq;
	}
	replay_mark(w, seq);
}

/**
 * replay_late_candidate() - the reading of a packet that is left of the window
 * @w: window
 * @guess: the reading from replay_infer() under which the ICV did not verify
 * @seq: where the other reading goes; untouched on failure
 *
 * A low half left of the window is read as a number of the next subspace. When
 * the packet fails its ICV, it is either forged or late; the reading 2^32 lower
 * tells which. It never enters the window.
 *
 * Context: any; the caller keeps @w stable.
 * Return: true when there is such a reading.
 */
bool replay_late_candidate(const struct replay_window *w, u64 guess, u64 *seq)
{
	if (!w->esn || guess <= w->top || guess >> 32 == 0)
		return false;
	/* below zero, not right of the window: see replay_infer() */
	if (w->top - guess <= replay_span(w))
		return false;
	*seq = guess - (1ull << 32);
	return true;
}

/**
 * replay_resync_candidate() - the nth higher reading of a received low half
 * @w: window
 * @low: sequence number field of the packet
 * @n: how many subspaces to go up, from 1 on
 * @seq: where the reading goes; untouched on failure
 *
 * RFC 4303 A3: after the loss of more than 2^32 packets the receiver tries
 * higher values for the high half. Every such reading lies right of the window.
 *
 * Context: any; the caller keeps @w stable.
 * Return: false without ESN, for @n == 0, and beyond the last 64-bit number.
 */
bool replay_resync_candidate(const struct replay_window *w, u32 low,
			     unsigned int n, u64 *seq)
{
	u64 bottom = w->top - replay_span(w);
	u64 ahead = ((u64)n << 32) + (u32)(low - (u32)bottom) - replay_span(w);

	if (!w->esn || !n || w->top + ahead < w->top)
		return false;
	*seq = w->top + ahead;
	return true;
}

/**
 * replay_resync() - make room for an authenticated number far to the right
 * @w: window; ends just before @seq afterwards, with nothing marked, since none
 *	of the numbers it then covers was ever received
 * @seq: the number, still to be committed
 *
 * Context: any; the caller excludes every other user of @w.
 */
void replay_resync(struct replay_window *w, u64 seq)
{
	w->top = seq - 1;
	if (!w->size)
		return;
	if (w->ring)
		replay_ring_erase(w->bits, w->size);
	else
		w->bits[0] = 0;
}
