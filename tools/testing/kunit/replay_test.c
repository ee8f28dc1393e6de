// SPDX-License-Identifier: GPL-2.0-only
/*
 * replay.c: the anti-replay window (RFC 4303 3.4.3, appendix A)
 *
 * Three judges: tables by hand at each case and edge; a naive model that keeps
 * a list of numbers; and the core, by its exported xfrm_replay_seqhi() and by
 * its rule for the place of a bit in the ring.
 */
#include <kunit/test.h>
#include <linux/bitops.h>
#include <linux/prandom.h>
#include <linux/string.h>
#include <net/xfrm.h>

#include "../../../net/ipsec_v3/replay.c"

#define TWO32	BIT_ULL(32)

static const u32 replay_sizes[] = {
	1, 2, 3, 31, 32, 33, 63, 64, 65, 100, 127, 128, 1000, 2048, 4095, 4096,
};

static u32 *replay_bits(struct kunit *test, u32 size)
{
	u32 *bits = kunit_kcalloc(test, DIV_ROUND_UP(max(size, 1U), 32),
				  sizeof(*bits), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bits);
	return bits;
}

/*
 * RFC 4303 A2.1, A2.2. Case A: the window lies in one subspace, Tl >= W - 1.
 * Case B: it begins in the one below.
 */
static void replay_infer_cases(struct kunit *test)
{
	static const struct {
		u64 top;
		u32 size, low;
		u64 seq;
	} want[] = {
		/* case A: below, at and above the bottom (0x7_000000c1), top */
		{ 0x700000100, 64, 0x000000c0, 0x8000000c0 },
		{ 0x700000100, 64, 0x000000c1, 0x7000000c1 },
		{ 0x700000100, 64, 0x00000100, 0x700000100 },
		{ 0x700000100, 64, 0x00000101, 0x700000101 },
		{ 0x700000100, 64, 0xffffffff, 0x7ffffffff },
		{ 0x700000100, 64, 0x00000000, 0x800000000 },
		/* case A at its edge, Tl = W - 1: the bottom is low half 0 */
		{ 0x70000003f, 64, 0x00000000, 0x700000000 },
		{ 0x70000003f, 64, 0xffffffff, 0x7ffffffff },
		/* case B at its edge, Tl = W - 2: the bottom is 0x6_ffffffff */
		{ 0x70000003e, 64, 0xffffffff, 0x6ffffffff },
		{ 0x70000003e, 64, 0xfffffffe, 0x7fffffffe },
		{ 0x70000003e, 64, 0x00000000, 0x700000000 },
		/* case B: below, at and above the bottom (0x6_ffffffc1), top */
		{ 0x700000000, 64, 0xffffffc0, 0x7ffffffc0 },
		{ 0x700000000, 64, 0xffffffc1, 0x6ffffffc1 },
		{ 0x700000000, 64, 0xffffffff, 0x6ffffffff },
		{ 0x700000000, 64, 0x00000000, 0x700000000 },
		{ 0x700000000, 64, 0x00000001, 0x700000001 },
		/* a window of one packet has no case B */
		{ 0x700000000, 1, 0xffffffff, 0x7ffffffff },
		{ 0x700000000, 1, 0x00000000, 0x700000000 },
		{ 0x7ffffffff, 1, 0xffffffff, 0x7ffffffff },
		{ 0x7ffffffff, 1, 0xfffffffe, 0x8fffffffe },
		/* the first subspace, and a window that reaches below zero */
		{ 0, 64, 0x00000001, 1 },
		{ 0, 64, 0xffffffc0, 0x0ffffffc0 },
		{ 0, 64, 0xffffffc1, 0xffffffffffffffc1 },
		{ 62, 64, 0xffffffff, 0xffffffffffffffff },
		{ 63, 64, 0xffffffff, 0x0ffffffff },
		/* the last subspace, and beyond it */
		{ 0xffffffff00000100, 64, 0xffffffff, 0xffffffffffffffff },
		{ 0xffffffff00000100, 64, 0x000000c0, 0x0000000c0 },
	};
	struct replay_window w = { .esn = true, .ring = true };
	int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		w.top = want[i].top;
		w.size = want[i].size;
		KUNIT_EXPECT_EQ_MSG(test, replay_infer(&w, want[i].low),
				    want[i].seq, "line %d", i);
		w.esn = false;
		KUNIT_EXPECT_EQ(test, replay_infer(&w, want[i].low), want[i].low);
		w.esn = true;
	}
}

/* The core's answer, from a state made up for it */
struct replay_core {
	struct xfrm_state *x;
	struct xfrm_replay_state_esn *state;
};

static struct replay_core replay_core_new(struct kunit *test)
{
	struct replay_core core;

	core.x = kunit_kzalloc(test, sizeof(*core.x), GFP_KERNEL);
	core.state = kunit_kzalloc(test, sizeof(*core.state), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, core.x);
	KUNIT_ASSERT_NOT_NULL(test, core.state);
	core.x->props.flags = XFRM_STATE_ESN;
	core.x->replay_esn = core.state;
	return core;
}

static void core_agrees(struct kunit *test, struct replay_core *core, u64 top,
			u32 low)
{
	struct replay_window w = { .top = top, .ring = true, .esn = true,
				   .size = core->state->replay_window };
	u64 seq;

	core->state->seq = top;
	core->state->seq_hi = top >> 32;
	seq = (u64)xfrm_replay_seqhi(core->x, htonl(low)) << 32 | low;
	if (replay_infer(&w, low) != seq)
		KUNIT_FAIL(test, "top %llx size %u low %x: %llx, core %llx\n",
			   top, w.size, low, replay_infer(&w, low), seq);
}

/* Tops at @high and both edges of the two cases, with the low halves around */
static void core_agrees_near(struct kunit *test, struct replay_core *core, u32 high)
{
	u32 size = core->state->replay_window, edge;
	u64 top;
	int i, k;

	for (i = 0; i < 8; i++) {
		edge = (i & 4 ? size : 0) + (i & 3) - 2;
		top = (u64)high << 32 | edge;
		for (k = -3; k <= 3; k++) {
			core_agrees(test, core, top, edge + k);
			core_agrees(test, core, top, edge - size + k);
			core_agrees(test, core, top, k);
		}
	}
}

static void replay_infer_as_core(struct kunit *test)
{
	static const u32 sizes[] = { 0, 1, 32, 33, 64, 100, 4096, 0x7fffffff,
				     0x80000000, 0xffffffff };
	static const u32 highs[] = { 0, 1, 2, 0x7fffffff, 0xfffffffe, 0xffffffff };
	struct replay_core core = replay_core_new(test);
	struct rnd_state rnd;
	u64 top;
	int s, i;

	prandom_seed_state(&rnd, 4303);
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		core.state->replay_window = sizes[s];
		for (i = 0; i < ARRAY_SIZE(highs); i++)
			core_agrees_near(test, &core, highs[i]);
		for (i = 0; i < 5000; i++) {
			top = (u64)prandom_u32_state(&rnd) << 32;
			top |= prandom_u32_state(&rnd);
			core_agrees(test, &core, top, prandom_u32_state(&rnd));
		}
	}
}

/*
 * The naive model: every accepted number, in a list.
 */
#define MODEL_MAX 512

struct replay_model {
	u64 top;
	u32 size;
	u64 seen[MODEL_MAX];
	unsigned int count;
};

static bool model_has(const struct replay_model *m, u64 seq)
{
	unsigned int i;

	for (i = 0; i < m->count; i++)
		if (m->seen[i] == seq)
			return true;
	return false;
}

static enum replay_verdict model_check(const struct replay_model *m, u64 seq)
{
	if (seq == 0)
		return REPLAY_ZERO;
	/* a window that reaches below zero, to -1, -2 ... */
	if (m->size > 1 && m->top < m->size - 1 && seq > m->top &&
	    seq >= -(u64)(m->size - 1 - m->top))
		return REPLAY_LATE;
	if (seq > m->top)
		return REPLAY_FRESH;
	if (m->top - seq >= m->size)
		return REPLAY_LATE;
	return model_has(m, seq) ? REPLAY_SEEN : REPLAY_FRESH;
}

static void model_commit(struct replay_model *m, u64 seq)
{
	m->seen[m->count++] = seq;
	if (seq > m->top)
		m->top = seq;
}

/* Where the core looks for the bit of the number @age below the top */
static u32 core_place(const struct replay_window *w, u32 age)
{
	u32 pos = ((u32)w->top - 1) % w->size;

	if (!w->ring)
		return age;
	return pos >= age ? (pos - age) % w->size : w->size - (age - pos);
}

/* The bits are those of the numbers seen, where the core looks for them */
static bool bits_match(const struct replay_window *w, const struct replay_model *m)
{
	unsigned int i, place, marked = 0, wanted = 0;

	for (i = 0; i < DIV_ROUND_UP(w->size, 32); i++)
		marked += hweight32(w->bits[i]);
	for (i = 0; i < m->count; i++) {
		if (m->top - m->seen[i] >= m->size)
			continue;
		place = core_place(w, m->top - m->seen[i]);
		if (!(w->bits[place / 32] & 1U << place % 32))
			return false;
		wanted++;
	}
	/* bits that the shift word keeps left of the window are never read */
	return w->top == m->top && (marked == wanted || !w->ring);
}

/* A number near one of the window's ends, in it, or far right of it */
static u64 walk_pick(struct rnd_state *rnd, const struct replay_model *m)
{
	u32 r = prandom_u32_state(rnd);
	u64 near = (r >> 8) % 7;

	if (r % 64 == 63)
		return m->top + 2 * TWO32 + near;
	switch (r % 8) {
	case 0:
	case 1:
		return m->top + 1 + near;
	case 2:
		return m->top - near;
	case 3:
		return m->top - m->size + near - 3;
	case 4:
		return m->top + m->size + near - 3;
	case 5:
		return m->top - (r >> 8) % max(m->size, 1U);
	case 6:
		return m->top + (r >> 8) % max(m->size, 1U);
	default:
		return m->count ? m->seen[(r >> 8) % m->count] : 1;
	}
}

/* One packet with number @seq arrives; false when the walk shall end */
static bool walk_step(struct kunit *test, struct replay_window *w,
		      struct replay_model *m, u64 seq)
{
	enum replay_verdict want = model_check(m, seq), got;
	u64 bottom = m->top - m->size + 1;

	/* what is below zero and left of the window is not sent, nor inferred */
	if (want == REPLAY_FRESH && seq > m->top && (s64)(seq - m->top) < 0)
		return true;
	if (w->esn && w->size && seq - bottom < TWO32 &&
	    replay_infer(w, seq) != seq)
		KUNIT_FAIL(test, "infer: top %llx size %u seq %llx: %llx\n",
			   w->top, w->size, seq, replay_infer(w, seq));
	got = replay_check(w, seq);
	if (got != want) {
		KUNIT_FAIL(test, "check: top %llx size %u seq %llx: %d, not %d\n",
			   w->top, w->size, seq, got, want);
		return false;
	}
	if (want == REPLAY_FRESH) {
		replay_commit(w, seq);
		model_commit(m, seq);
	} else if (want == REPLAY_LATE) {
		replay_commit(w, seq);	/* must change nothing */
	}
	if (bits_match(w, m))
		return true;
	KUNIT_FAIL(test, "bits: top %llx size %u seq %llx\n", w->top, w->size, seq);
	return false;
}

static void walk(struct kunit *test, struct replay_window *w,
		 struct replay_model *m, u64 top, u32 seed)
{
	struct rnd_state rnd;
	u64 seq;
	int i;

	prandom_seed_state(&rnd, seed);
	m->top = top;
	m->size = w->size;
	m->count = 0;
	w->top = top;
	memset(w->bits, 0, DIV_ROUND_UP(w->size, 32) * sizeof(*w->bits));
	for (i = 0; i < MODEL_MAX; i++) {
		seq = walk_pick(&rnd, m);
		if (!w->esn)
			seq = (u32)seq;
		if (!walk_step(test, w, m, seq))
			return;
	}
}

static void walk_all(struct kunit *test, bool ring, bool esn)
{
	static const u64 tops[] = {
		0, 1, 31, 32, 33, 62, 63, 64, 4095, 4096, TWO32 - 4097,
		TWO32 - 300, TWO32 - 33, TWO32 - 2, TWO32 - 1, TWO32, TWO32 + 1,
		TWO32 + 40, 3 * TWO32 - 64, 69 * TWO32 - 5, -TWO32 - 20, -200ULL,
	};
	struct replay_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct replay_window w = { .ring = ring, .esn = esn };
	int s, t;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (s = 0; s < ARRAY_SIZE(replay_sizes); s++) {
		w.size = replay_sizes[s];
		if (!ring && w.size > 32)
			break;
		w.bits = replay_bits(test, w.size);
		for (t = 0; t < ARRAY_SIZE(tops); t++)
			if (esn || tops[t] < TWO32)
				walk(test, &w, m, tops[t], 1000 * s + t);
	}
}

static void replay_walk_esn(struct kunit *test)
{
	walk_all(test, true, true);
}

static void replay_walk_ring(struct kunit *test)
{
	walk_all(test, true, false);
}

static void replay_walk_shift(struct kunit *test)
{
	walk_all(test, false, false);
}

/* By hand: a window of 4 whose top is 10, then its edges */
static void replay_verdicts(struct kunit *test)
{
	u32 *bits = replay_bits(test, 4);
	struct replay_window w = { .top = 0, .size = 4, .bits = bits,
				   .ring = true, .esn = true };

	KUNIT_EXPECT_EQ(test, replay_check(&w, 0), REPLAY_ZERO);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 1), REPLAY_FRESH);
	replay_commit(&w, 8);
	replay_commit(&w, 10);
	KUNIT_EXPECT_EQ(test, w.top, 10);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 6), REPLAY_LATE);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 7), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 8), REPLAY_SEEN);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 9), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 10), REPLAY_SEEN);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 11), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(&w, TWO32 + 10), REPLAY_FRESH);
	replay_commit(&w, 14);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 10), REPLAY_LATE);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 11), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 14), REPLAY_SEEN);

	/* the low half 0 of a later subspace is a number like any other */
	w.top = TWO32 - 1;
	KUNIT_EXPECT_EQ(test, replay_check(&w, TWO32), REPLAY_FRESH);
	/* the line's end: the window below zero is late, not far ahead */
	w.top = 1;
	KUNIT_EXPECT_EQ(test, replay_check(&w, -1ULL), REPLAY_LATE);
	KUNIT_EXPECT_EQ(test, replay_check(&w, -2ULL), REPLAY_LATE);
	KUNIT_EXPECT_EQ(test, replay_check(&w, -3ULL), REPLAY_FRESH);
}

/* Without a window everything is fresh and nothing is touched */
static void replay_off(struct kunit *test)
{
	struct replay_window w = { .top = 5, .size = 0, .bits = NULL, .ring = true };

	KUNIT_EXPECT_EQ(test, replay_check(&w, 0), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(&w, 5), REPLAY_FRESH);
	replay_commit(&w, 9);
	KUNIT_EXPECT_EQ(test, w.top, 5);
	replay_resync(&w, 9);
	KUNIT_EXPECT_EQ(test, w.top, 8);
}

/*
 * A window of 33 over the boundary at 2^32: the core's place for the top jumps
 * from (2^32 - 2) % 33 = 2 to 2 % 33 = 2 while the top moves by 4.
 */
static void replay_boundary(struct kunit *test)
{
	u32 *bits = replay_bits(test, 33);
	struct replay_window w = { .top = TWO32 - 40, .size = 33, .bits = bits,
				   .ring = true, .esn = true };
	static const u64 seen[] = { TWO32 - 20, TWO32 - 3, TWO32 - 1, TWO32 + 3 };
	u64 seq;
	int i;

	for (i = 0; i < ARRAY_SIZE(seen); i++)
		replay_commit(&w, seen[i]);
	KUNIT_EXPECT_EQ(test, core_place(&w, 0), 2);
	KUNIT_EXPECT_TRUE(test, bits[0] & 1U << core_place(&w, 4));
	for (seq = w.top - 32, i = 0; seq <= w.top; seq++) {
		bool want = i < ARRAY_SIZE(seen) && seq == seen[i];

		i += want;
		KUNIT_EXPECT_EQ_MSG(test, replay_check(&w, seq),
				    want ? REPLAY_SEEN : REPLAY_FRESH,
				    "seq %llx", seq);
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(seen));
}

static void replay_late(struct kunit *test)
{
	static const struct {
		u64 top;
		u32 size;
		u64 guess;
		bool ok;
		u64 seq;
	} want[] = {
		/* right of the window, a subspace up: late is one below */
		{ 0x700000100, 64, 0x8000000c0, true, 0x7000000c0 },
		{ 0x700000100, 64, 0x700000101, true, 0x600000101 },
		{ 0x100000000, 64, 0x1ffffffc0, true, 0x0ffffffc0 },
		{ 0x000000100, 64, 0x100000001, true, 0x000000001 },
		/* the top and below it are no late guesses */
		{ 0x700000100, 64, 0x700000100, false },
		{ 0x700000100, 64, 0x7000000c1, false },
		/* nothing lies below the first subspace */
		{ 0x000000010, 64, 0x000000011, false },
		{ 0x000000010, 64, 0x0ffffffff, false },
		/* a guess below zero is not right of the window */
		{ 0x000000010, 64, 0xfffffffffffffff0, false },
		{ 0x000000010, 64, 0xffffffffffffffd1, false },
	};
	struct replay_window w = { .ring = true, .esn = true };
	u64 seq;
	int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		w.top = want[i].top;
		w.size = want[i].size;
		seq = 0;
		KUNIT_EXPECT_EQ_MSG(test, replay_late_candidate(&w, want[i].guess, &seq),
				    want[i].ok, "line %d", i);
		KUNIT_EXPECT_EQ_MSG(test, seq, want[i].seq, "line %d", i);
		w.esn = false;
		KUNIT_EXPECT_FALSE(test, replay_late_candidate(&w, want[i].guess, &seq));
		w.esn = true;
	}
}

/* Whatever low half comes: its late reading is left of the window, or none */
static void replay_late_is_late(struct kunit *test)
{
	u32 *bits = replay_bits(test, 100);
	struct replay_window w = { .size = 100, .bits = bits, .ring = true,
				   .esn = true };
	struct rnd_state rnd;
	u64 guess, seq;
	int i;

	prandom_seed_state(&rnd, 45);
	for (i = 0; i < 20000; i++) {
		w.top = ((u64)(prandom_u32_state(&rnd) % 3) << 32 |
			 prandom_u32_state(&rnd)) >> (i % 40);
		guess = replay_infer(&w, w.top + prandom_u32_state(&rnd) % 400 - 200);
		if (!replay_late_candidate(&w, guess, &seq)) {
			KUNIT_EXPECT_TRUE(test, guess <= w.top || guess < TWO32 ||
					  replay_check(&w, guess) == REPLAY_LATE);
			continue;
		}
		KUNIT_EXPECT_EQ(test, (u32)seq, (u32)guess);
		KUNIT_EXPECT_TRUE(test, replay_check(&w, seq) ==
				  (seq ? REPLAY_LATE : REPLAY_ZERO));
	}
}

static void replay_resync_candidates(struct kunit *test)
{
	static const struct {
		u64 top;
		u32 low;
		unsigned int n;
		bool ok;
		u64 seq;
	} want[] = {
		{ 0x700000100, 0x101, 1, true, 0x800000101 },
		{ 0x700000100, 0x101, 3, true, 0xa00000101 },
		{ 0x700000100, 0x100, 1, true, 0x800000100 },
		{ 0x700000100, 0x0c0, 1, true, 0x9000000c0 },	/* infer: 8.. */
		{ 0x700000000, 0xffffffff, 1, true, 0x7ffffffff },	/* infer: 6.. */
		{ 0x700000100, 0x101, 0, false },
		/* below zero, the first higher reading is the low half itself */
		{ 5, 0xfffffff0, 1, true, 0x0fffffff0 },
		{ 5, 0xfffffff0, 2, true, 0x1fffffff0 },
		{ 5, 6, 1, true, 0x100000006 },
		/* up to the last subspace and not beyond */
		{ 5, 6, 0xffffffff, true, 0xffffffff00000006 },
		{ TWO32, 6, 0xffffffff, false },
		{ 5, 0xfffffff0, 0xffffffff, true, 0xfffffffefffffff0 },
		{ 0xfffffffe00000100, 0x101, 1, true, 0xffffffff00000101 },
		{ 0xfffffffe00000100, 0x101, 2, false },
		{ 0xffffffff00000100, 0x101, 1, false },
		{ 0xffffffff00000100, 0x001, 1, false },	/* infer wrapped */
		{ 0xffffffff00000100, 0x001, 0xffffffff, false },
	};
	struct replay_window w = { .size = 64, .ring = true, .esn = true };
	u64 seq;
	int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		w.top = want[i].top;
		seq = 0;
		KUNIT_EXPECT_EQ_MSG(test,
				    replay_resync_candidate(&w, want[i].low,
							    want[i].n, &seq),
				    want[i].ok, "line %d", i);
		KUNIT_EXPECT_EQ_MSG(test, seq, want[i].seq, "line %d", i);
		w.esn = false;
		KUNIT_EXPECT_FALSE(test, replay_resync_candidate(&w, want[i].low,
								 want[i].n, &seq));
		w.esn = true;
	}
}

static void resync_one(struct kunit *test, struct replay_window *w,
		       struct replay_model *m, u64 seq)
{
	unsigned int words = DIV_ROUND_UP(w->size, 32);

	memset(w->bits, 0xff, words * sizeof(*w->bits));
	replay_resync(w, seq);
	m->size = w->size;
	m->top = seq - 1;
	m->count = 0;
	KUNIT_EXPECT_TRUE(test, bits_match(w, m));
	KUNIT_EXPECT_EQ(test, replay_check(w, seq), REPLAY_FRESH);
	replay_commit(w, seq);
	m->top = seq;
	m->seen[0] = seq;
	m->count = 1;
	KUNIT_EXPECT_TRUE(test, bits_match(w, m));
	KUNIT_EXPECT_EQ(test, replay_check(w, seq), REPLAY_SEEN);
	KUNIT_EXPECT_EQ(test, replay_check(w, seq + 1), REPLAY_FRESH);
	KUNIT_EXPECT_EQ(test, replay_check(w, seq - w->size), REPLAY_LATE);
	if (w->size > 1)
		KUNIT_EXPECT_EQ(test, replay_check(w, seq - 1), REPLAY_FRESH);
}

static void replay_resynced(struct kunit *test)
{
	static const u64 tops[] = { 100000, TWO32 - 1, TWO32, TWO32 + 1,
				    9 * TWO32 + 77, -TWO32 };
	struct replay_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct replay_window w = { .esn = true };
	int s, t;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (s = 0; s < ARRAY_SIZE(replay_sizes); s++) {
		w.size = replay_sizes[s];
		w.bits = replay_bits(test, w.size);
		for (t = 0; t < ARRAY_SIZE(tops); t++) {
			w.ring = true;
			resync_one(test, &w, m, tops[t]);
			w.ring = false;
			if (w.size <= 32)
				resync_one(test, &w, m, tops[t]);
		}
	}
}

static struct kunit_case replay_cases[] = {
	KUNIT_CASE(replay_infer_cases),
	KUNIT_CASE(replay_infer_as_core),
	KUNIT_CASE_SLOW(replay_walk_esn),
	KUNIT_CASE_SLOW(replay_walk_ring),
	KUNIT_CASE(replay_walk_shift),
	KUNIT_CASE(replay_verdicts),
	KUNIT_CASE(replay_off),
	KUNIT_CASE(replay_boundary),
	KUNIT_CASE(replay_late),
	KUNIT_CASE(replay_late_is_late),
	KUNIT_CASE(replay_resync_candidates),
	KUNIT_CASE(replay_resynced),
	{}
};

static struct kunit_suite replay_suite = {
	.name = "ipsec_v3_replay",
	.test_cases = replay_cases,
};

kunit_test_suites(&replay_suite);
