// SPDX-License-Identifier: GPL-2.0-only
/*
 * net/ipsec_v3/replay.c against a list of the numbers that were received.
 *
 * The model works on the true line of numbers, which __int128 holds whole: it
 * has no halves, no ring and no wrapping. Input:
 *
 *	kind of window, size, place of the top, top (8), then steps of 5: what, value (4)
 */
#include "../../../net/ipsec_v3/replay.c"
#include "fuzz.h"

#define STEPS	100
#define TWO32	((__int128)0x100000000)

struct model {
	__int128 top;
	__int128 size;	/* 0: no window */
	bool esn;
	u64 seen[STEPS];
	int count;
};

static bool model_seen(const struct model *m, u64 seq)
{
	int i;

	for (i = 0; i < m->count; i++)
		if (m->seen[i] == seq)
			return true;
	return false;
}

/* first number of the window; one of size 0 is read as one of 2^32 */
static __int128 model_bottom(const struct model *m)
{
	return m->top - (m->size ? m->size : TWO32) + 1;
}

/* The only number with this low half among the 2^32 from the bottom on */
static __int128 model_read(const struct model *m, u32 low)
{
	__int128 high, seq;

	for (high = -1; high <= TWO32; high++) {
		/* no need to walk where the top is not */
		if (high == 0 && m->top >> 32 > 1)
			high = (m->top >> 32) - 1;
		seq = high * TWO32 + low;
		if (seq >= model_bottom(m))
			return seq;
	}
	abort();
}

static enum replay_verdict model_check(const struct model *m, u64 seq)
{
	__int128 below_zero = (__int128)seq - ((__int128)1 << 64);

	if (!m->size)
		return REPLAY_FRESH;
	if (seq == 0)
		return REPLAY_ZERO;
	/* read as a number left of zero, which no sender has */
	if (below_zero >= model_bottom(m) && (__int128)seq > m->top)
		return REPLAY_LATE;
	if ((__int128)seq < model_bottom(m))
		return REPLAY_LATE;
	return model_seen(m, seq) ? REPLAY_SEEN : REPLAY_FRESH;
}

static void model_commit(struct model *m, u64 seq)
{
	if (!m->size || model_check(m, seq) != REPLAY_FRESH)
		return;
	m->seen[m->count++] = seq;
	if ((__int128)seq > m->top)
		m->top = seq;
}

/* Where the core looks for a number: xfrm_replay_check_esn(), -_bmp(), -_legacy() */
static bool core_bit(const struct replay_window *w, u64 seq)
{
	u32 behind = w->top - seq, place;

	if (!w->ring)
		return w->bits[0] >> behind & 1;
	place = ((u32)w->top - 1) % w->size;
	place = place >= behind ? place - behind : w->size - (behind - place);
	return w->bits[place / 32] >> place % 32 & 1;
}

static void compare_bits(const struct replay_window *w, const struct model *m)
{
	bool want[4096] = { false };
	u32 age;
	int i;

	for (i = 0; i < m->count; i++)
		if (m->seen[i] >= model_bottom(m) && (__int128)m->seen[i] <= m->top)
			want[m->top - m->seen[i]] = true;
	for (age = 0; age < w->size; age++)
		if (core_bit(w, w->top - age) != want[age])
			differs("bit of the number %u behind %#llx", age,
				(unsigned long long)w->top);
}

static void compare_late(const struct replay_window *w, const struct model *m, u32 low)
{
	u64 guess = replay_infer(w, low), seq = 77;
	__int128 read = model_read(m, low), older = read - TWO32;
	bool found = replay_late_candidate(w, guess, &seq);

	/* beyond the end of the line there is nothing that was guessed */
	if (read > 0 && read >> 64)
		return;
	same(found, m->esn && read > m->top && older >= 0, "is there an older reading");
	same(seq, found ? (u64)older : 77, "older reading");
}

static void compare_resync(const struct replay_window *w, const struct model *m, u32 low,
			   u32 n)
{
	__int128 want = model_read(m, low) + (__int128)n * TWO32;
	bool exists = m->esn && n && want < (__int128)1 << 64;
	u64 seq = 77;

	same(replay_resync_candidate(w, low, n, &seq), exists, "is there a higher reading");
	same(seq, exists ? (u64)want : 77, "higher reading");
}

static u64 compare_infer(const struct replay_window *w, const struct model *m, u32 low)
{
	u64 seq = replay_infer(w, low);

	same(seq, m->esn ? (u64)model_read(m, low) : low, "number of a low half");
	return seq;
}

/* The number that a step is about */
static u64 step_number(const struct replay_window *w, const struct model *m, u8 what, u32 value)
{
	u64 limit = w->esn ? ~0ull : TWO32 - 1, seq;

	switch (what & 7) {
	case 0:
		return compare_infer(w, m, value);
	case 1:
		return compare_infer(w, m, w->top + (signed char)value);
	case 2:
		return compare_infer(w, m, w->top - w->size + (signed char)value);
	case 3:
		seq = w->top + 1 + value % 64;
		break;
	case 4:
		seq = w->top + value;
		break;
	case 5:
		seq = w->top + ((u64)value << 16);
		break;
	case 6:
		seq = w->top - value % 8192;
		break;
	default:
		seq = w->top + w->size + (signed char)value % 4;
		break;
	}
	return seq & limit;
}

static void step(struct replay_window *w, struct model *m, u8 what, u32 value)
{
	u64 seq = step_number(w, m, what, value);

	same(replay_check(w, seq), model_check(m, seq), "verdict");
	compare_late(w, m, seq);
	compare_resync(w, m, seq, value >> 28);
	if (what >> 3 == 1 && seq > w->top) {
		replay_resync(w, seq);
		m->top = (__int128)seq - 1;
		m->count = 0;
	}
	if (what >> 3 == 2)
		return;
	replay_commit(w, seq);
	model_commit(m, seq);
	same(w->top, (u64)m->top, "top");
}

/* Near the start of the line, near its end, where a half ends, or anywhere */
static u64 start_top(struct input *in)
{
	u8 where = input_u8(in);
	u64 high = input_u32(in), low = input_u32(in);

	switch (where % 4) {
	case 0:
		return low % 8192;
	case 1:
		return ~(low % 8192);
	case 2:
		return ((high % 256 + 1) << 32) + 4096 - low % 8192;
	default:
		return high << 32 | low;
	}
}

/* the first six fit into one word */
static const u16 sizes[] = {
	0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 1000, 4095, 4096,
};

static void start(struct replay_window *w, struct model *m, struct input *in)
{
	u8 kind = input_u8(in);

	w->ring = kind & 1;
	w->esn = w->ring && kind & 2;
	w->size = sizes[input_u8(in) % (w->ring ? ARRAY_SIZE(sizes) : 6)];
	w->top = start_top(in);
	if (!w->esn)
		w->top = (u32)w->top;
	w->bits = calloc(w->size ? (w->size + 31) / 32 : 1, sizeof(u32));
	*m = (struct model){ .top = w->top, .size = w->size, .esn = w->esn };
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct input in = { data, len };
	struct replay_window w;
	struct model m;
	int n;
	u8 what;

	start(&w, &m, &in);
	for (n = 0; n < STEPS && in.left; n++) {
		what = input_u8(&in);
		step(&w, &m, what, input_u32(&in));
		if (w.size <= 128)
			compare_bits(&w, &m);
	}
	compare_bits(&w, &m);
	free(w.bits);
	return 0;
}
