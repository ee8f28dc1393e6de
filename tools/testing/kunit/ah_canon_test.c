// SPDX-License-Identifier: GPL-2.0-only
/*
 * ah_canon.c: the header form that AH hashes (RFC 4302 3.3.3.1, appendix A)
 *
 * Headers are written in hexadecimal, blanks mean nothing. Every call works on
 * an allocation of exactly the header's length, so that KASAN sees each octet
 * touched outside of it.
 */
#include <kunit/test.h>
#include <linux/hex.h>
#include <linux/prandom.h>
#include <linux/string.h>

#include "../../../net/ipsec_v3/ah_canon.c"

#define CANON_MAX	512

/* 20 octets without the first: total length to destination */
#define V4_FIXED	" 1c 0054 abcd 4000 40 33 beef c0a80001 c0a80002 "
#define V4_CANON	" 00 0054 abcd 0000 00 33 0000 c0a80001 c0a80002 "
#define V4_CANON_LAST	" 00 0054 abcd 0000 00 33 0000 c0a80001 0a000009 "

/* addresses: source, destination, three routers, home, care-of */
#define A_SRC	" 20010db8 00000000 00000000 000000aa "
#define A_DST	" 20010db8 00000000 00000000 000000bb "
#define A_R1	" 20010db8 00000000 00000000 00000001 "
#define A_R2	" 20010db8 00000000 00000000 00000002 "
#define A_R3	" 20010db8 00000000 00000000 00000003 "
#define A_HOME	" 20010db8 00000000 00000000 000000f0 "
#define A_CARE	" 20010db8 00000000 00000000 000000c0 "

/* IPv6 header up to the addresses, with next header and as canonical form */
#define V6_FIXED(next)	"6a bcdef1 0040 " next " 40 "
#define V6_CANON(next)	"60 000000 0040 " next " 00 "

/* hop-by-hop: router alert, a mutable option, Pad1, PadN */
#define HBH(next)	next " 01 0502 0000 3e04 aabbccdd 00 0101 00 "
#define HBH_CANON(next)	next " 01 0502 0000 3e04 00000000 00 0101 00 "
/* destination options: home address, with padding in front */
#define HAO(next, addr)	next " 02 0102 0000 c910 " addr

struct canon_sample {
	const char *name;
	bool v6;
	bool outbound;
	const char *in;
	const char *out;
	const char *mask;	/* see canon_bits() */
};

#define M16	"iiiiiiiiiiiiiiii"
#define V4_M	"imiiiimmmmmmiiiiiiii"
#define V4_MOUT	"imiiiimmmmmmiiiimmmm"	/* destination from the route */
#define V6_M(n)	"vmmmii" n "m"

static const struct canon_sample canon_samples[] = {
	{
		.name = "ipv4",
		.in = "45" V4_FIXED, .out = "45" V4_CANON, .mask = V4_M,
	}, {
		.name = "ipv4: router alert, record route, padding",
		.in = "48" V4_FIXED "9404 0000 07 07 04 01020304 01",
		.out = "48" V4_CANON "9404 0000 00 00 00 00000000 01",
		.mask = V4_M "iiiixxmmmmmi",
	}, {
		.name = "ipv4: behind the end of options",
		.in = "47" V4_FIXED "0007 0701 0203 0405",
		.out = "47" V4_CANON "0007 0701 0203 0405",
		.mask = V4_M "iiiiiiii",
	}, {
		.name = "ipv4: loose source route, sent",
		.outbound = true,
		.in = "48" V4_FIXED "83 0b 04 0a000005 0a000009 00",
		.out = "48" V4_CANON_LAST "00 00 00 00000000 00000000 00",
		.mask = V4_MOUT "xxxmmmmiiiix",
	}, {
		.name = "ipv4: strict source route, sent",
		.outbound = true,
		.in = "47" V4_FIXED "89 07 04 0a000009 01",
		.out = "47" V4_CANON_LAST "00 00 00 00000000 01",
		.mask = V4_MOUT "xxxiiiii",
	}, {
		.name = "ipv4: source route, arrived",
		.in = "48" V4_FIXED "83 0b 0c 0a000005 0a000009 00",
		.out = "48" V4_CANON "00 00 00 00000000 00000000 00",
		.mask = V4_M "xxmmmmmmmmmx",
	}, {
		.name = "ipv4: source route, done before it is sent",
		.outbound = true,
		.in = "48" V4_FIXED "83 0b 0c 0a000005 0a000009 00",
		.out = "48" V4_CANON "00 00 00 00000000 00000000 00",
		.mask = V4_M "xxxmmmmmmmmx",
	}, {
		.name = "ipv4: protocol of an ESP that was around",
		.in = "45 1c 0054 abcd 4000 40 32 beef c0a80001 c0a80002",
		.out = "45" V4_CANON,
		.mask = V4_M,
	}, {
		.name = "ipv6",
		.v6 = true,
		.in = V6_FIXED("33") A_SRC A_DST,
		.out = V6_CANON("33") A_SRC A_DST,
		.mask = V6_M("m") M16 M16,
	}, {
		.name = "ipv6: hop-by-hop",
		.v6 = true,
		.in = V6_FIXED("00") A_SRC A_DST HBH("33"),
		.out = V6_CANON("00") A_SRC A_DST HBH_CANON("33"),
		.mask = V6_M("i") M16 M16 "miiiiiiimmmmiiii",
	}, {
		.name = "ipv6: destination options, next header of an ESP",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("3c") A_SRC A_DST HBH("32"),
		.out = V6_CANON("3c") A_SRC A_DST HBH_CANON("33"),
		.mask = V6_M("i") M16 M16 "miiiiiiimmmmiiii",
	}, {
		.name = "ipv6: home address, sent",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("3c") A_CARE A_DST HAO("33", A_HOME),
		.out = V6_CANON("3c") A_HOME A_DST HAO("33", A_CARE),
		.mask = V6_M("i") M16 M16 "miiiiiii" M16,
	}, {
		.name = "ipv6: home address, arrived",
		.v6 = true,
		.in = V6_FIXED("3c") A_HOME A_DST HAO("33", A_CARE),
		.out = V6_CANON("3c") A_HOME A_DST HAO("33", A_CARE),
		.mask = V6_M("i") M16 M16 "miiiiiii" M16,
	}, {
		.name = "ipv6: home address in hop-by-hop is an option like any",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("00") A_CARE A_DST HAO("33", A_HOME),
		.out = V6_CANON("00") A_CARE A_DST HAO("33", A_HOME),
		.mask = V6_M("i") M16 M16 "miiiiiii" M16,
	}, {
		.name = "ipv6: source route, sent",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("2b") A_SRC A_R1 "33 06 00 03 00000000" A_R2 A_R3 A_DST,
		.out = V6_CANON("2b") A_SRC A_DST "33 06 00 00 00000000" A_R1 A_R2 A_R3,
		.mask = V6_M("i") M16 M16 "miixiiii" M16 M16 M16,
	}, {
		.name = "ipv6: source route, on its way",
		.v6 = true,
		.in = V6_FIXED("2b") A_SRC A_R2 "33 06 00 02 00000000" A_R1 A_R3 A_DST,
		.out = V6_CANON("2b") A_SRC A_DST "33 06 00 00 00000000" A_R1 A_R2 A_R3,
		.mask = V6_M("i") M16 M16 "miixiiii" M16 M16 M16,
	}, {
		.name = "ipv6: source route, arrived",
		.v6 = true,
		.in = V6_FIXED("2b") A_SRC A_DST "33 06 00 00 00000000" A_R1 A_R2 A_R3,
		.out = V6_CANON("2b") A_SRC A_DST "33 06 00 00 00000000" A_R1 A_R2 A_R3,
		.mask = V6_M("i") M16 M16 "miixiiii" M16 M16 M16,
	}, {
		.name = "ipv6: type 2 routing, sent",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("2b") A_SRC A_CARE "33 02 02 01 00000000" A_HOME,
		.out = V6_CANON("2b") A_SRC A_HOME "33 02 02 00 00000000" A_CARE,
		.mask = V6_M("i") M16 M16 "miixiiii" M16,
	}, {
		.name = "ipv6: unknown routing, arrived",
		.v6 = true,
		.in = V6_FIXED("2b") A_SRC A_DST "33 01 fd 00 01020304 05060708 090a0b0c",
		.out = V6_CANON("2b") A_SRC A_DST "33 01 fd 00 01020304 05060708 090a0b0c",
		.mask = V6_M("i") M16 M16 "miiiiiiiiiiiiiii",
	}, {
		.name = "ipv6: hop-by-hop, home address, type 2 routing, sent",
		.v6 = true, .outbound = true,
		.in = V6_FIXED("00") A_CARE A_R1 HBH("2b")
		      "3c 02 02 01 00000000" A_DST HAO("33", A_HOME),
		.out = V6_CANON("00") A_HOME A_DST HBH_CANON("2b")
		       "3c 02 02 00 00000000" A_R1 HAO("33", A_CARE),
		.mask = V6_M("i") M16 M16 "iiiiiiiimmmmiiiiiiixiiii" M16
			"miiiiiii" M16,
	},
};

struct canon_refusal {
	const char *name;
	bool v6;
	bool outbound;
	const char *in;
};

static const struct canon_refusal canon_refusals[] = {
	{ "ipv4: version 5", .in = "55" V4_FIXED },
	{ "ipv4: header length 4", .in = "44" V4_FIXED },
	{ "ipv4: header length 6 in 20 octets", .in = "46" V4_FIXED },
	{ "ipv4: header length 5 in 24 octets", .in = "45" V4_FIXED "01010101" },
	{ "ipv4: option length 0", .in = "46" V4_FIXED "9400 0000" },
	{ "ipv4: option length 1", .in = "46" V4_FIXED "9401 0000" },
	{ "ipv4: option longer than the header", .in = "46" V4_FIXED "9405 0000" },
	{ "ipv4: the last option longer by one",
	  .in = "47" V4_FIXED "9404 0000 0705 0000" },
	{ "ipv4: option type without length", .in = "46" V4_FIXED "0101 0107" },
	{ "ipv4: empty source route, arrived", .in = "46" V4_FIXED "8303 0401" },
	{ "ipv4: empty source route, sent", .outbound = true,
	  .in = "46" V4_FIXED "8903 0401" },
	{ "ipv4: half an address", .outbound = true,
	  .in = "47" V4_FIXED "8306 0401 0203 0101" },
	{ "ipv6: version 4", true, .in = "4a bcdef1 0040 33 40" A_SRC A_DST },
	{ "ipv6: fragment header", true,
	  .in = V6_FIXED("2c") A_SRC A_DST "33 00 0000 00000000" },
	{ "ipv6: mobility header", true,
	  .in = V6_FIXED("87") A_SRC A_DST "33 00 0000 00000000" },
	{ "ipv6: a header behind AH", true,
	  .in = V6_FIXED("33") A_SRC A_DST "3b 00 0000 00000000" },
	{ "ipv6: header longer than the chain", true,
	  .in = V6_FIXED("00") A_SRC A_DST "33 01 0104 00000000" },
	{ "ipv6: four octets of a header", true,
	  .in = V6_FIXED("00") A_SRC A_DST "33 00 0100" },
	{ "ipv6: option longer than its header", true,
	  .in = V6_FIXED("00") A_SRC A_DST "33 00 0105 00000000" },
	{ "ipv6: option type without length", true,
	  .in = V6_FIXED("3c") A_SRC A_DST "33 00 0103 000000 3e" },
	{ "ipv6: option reaches into the next header", true,
	  .in = V6_FIXED("00") A_SRC A_DST "3c 00 3e05 00000000 33 00 0104 00000000" },
	{ "ipv6: home address of 15 octets", true, true,
	  .in = V6_FIXED("3c") A_SRC A_DST
		"33 02 0103 000000 c90f 00000000 00000000 00000000 000000" },
	{ "ipv6: home address of 17 octets", true, true,
	  .in = V6_FIXED("3c") A_SRC A_DST
		"33 02 0101 00 c911 00000000 00000000 00000000 00000000 00" },
	{ "ipv6: more segments left than there are", true,
	  .in = V6_FIXED("2b") A_SRC A_R1 "33 02 00 02 00000000" A_DST },
	{ "ipv6: segments left and no address", true,
	  .in = V6_FIXED("2b") A_SRC A_R1 "33 00 00 01 00000000" },
	{ "ipv6: one and a half addresses", true,
	  .in = V6_FIXED("2b") A_SRC A_R1
		"33 03 00 01 00000000" A_DST "01020304 05060708" },
	{ "ipv6: segments left of an unknown routing type", true, true,
	  .in = V6_FIXED("2b") A_SRC A_R1 "33 02 04 01 00000000" A_DST },
};

static unsigned int canon_parse(struct kunit *test, u8 *to, const char *hex)
{
	unsigned int len;

	for (len = 0; *hex; hex += 2) {
		while (*hex == ' ')
			hex++;
		if (!*hex)
			break;
		KUNIT_ASSERT_LT(test, len, CANON_MAX);
		KUNIT_ASSERT_EQ(test, hex2bin(&to[len++], hex, 1), 0);
	}
	return len;
}

/* What one call works with */
struct canon_work {
	unsigned int len;
	u8 in[CANON_MAX];
	u8 out[CANON_MAX];
	u8 *exact;	/* @len octets */
	u8 *again;
};

static struct canon_work *canon_work_new(struct kunit *test, const char *in,
					 const char *out)
{
	struct canon_work *work = kunit_kzalloc(test, sizeof(*work), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, work);
	work->len = canon_parse(test, work->in, in);
	KUNIT_ASSERT_EQ(test, work->len, canon_parse(test, work->out, out));
	work->exact = kunit_kzalloc(test, work->len, GFP_KERNEL);
	work->again = kunit_kzalloc(test, work->len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, work->exact);
	KUNIT_ASSERT_NOT_NULL(test, work->again);
	memcpy(work->exact, work->in, work->len);
	return work;
}

static int canon(bool v6, u8 *octets, unsigned int len, bool outbound)
{
	return v6 ? ah_canon_ipv6(octets, len, outbound) :
		    ah_canon_ipv4(octets, len, outbound);
}

static void canon_sample_name(const struct canon_sample *s, char *name)
{
	strscpy(name, s->name, KUNIT_PARAM_DESC_SIZE);
}

static void canon_refusal_name(const struct canon_refusal *r, char *name)
{
	strscpy(name, r->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(canon_sample, canon_samples, canon_sample_name);
KUNIT_ARRAY_PARAM(canon_refusal, canon_refusals, canon_refusal_name);

static void canon_known(struct kunit *test)
{
	const struct canon_sample *s = test->param_value;
	struct canon_work *work = canon_work_new(test, s->in, s->out);

	KUNIT_EXPECT_EQ(test, canon(s->v6, work->exact, work->len, s->outbound), 0);
	KUNIT_EXPECT_MEMEQ(test, work->exact, work->out, work->len);
	/* what arrives in canonical form stays */
	KUNIT_EXPECT_EQ(test, canon(s->v6, work->exact, work->len, false), 0);
	KUNIT_EXPECT_MEMEQ(test, work->exact, work->out, work->len);
}

static void canon_refused(struct kunit *test)
{
	const struct canon_refusal *r = test->param_value;
	struct canon_work *work = canon_work_new(test, r->in, r->in);

	KUNIT_EXPECT_EQ(test, canon(r->v6, work->exact, work->len, r->outbound),
			-EINVAL);
}

/*
 * Flips every bit: i immutable, the canonical form changes or is refused;
 * m mutable, it stays; v four bits i, four bits m; x depends on the bit.
 */
static void canon_bits(struct kunit *test)
{
	const struct canon_sample *s = test->param_value;
	struct canon_work *work = canon_work_new(test, s->in, s->out);
	unsigned int bit;
	bool same;
	char kind;

	KUNIT_ASSERT_EQ(test, strlen(s->mask), work->len);
	for (bit = 0; bit < work->len * 8; bit++) {
		kind = s->mask[bit / 8];
		if (kind == 'v')
			kind = bit % 8 < 4 ? 'm' : 'i';
		memcpy(work->exact, work->in, work->len);
		work->exact[bit / 8] ^= 1 << bit % 8;
		same = !canon(s->v6, work->exact, work->len, s->outbound) &&
		       !memcmp(work->exact, work->out, work->len);
		if (kind != 'x')
			KUNIT_EXPECT_EQ_MSG(test, same, kind == 'm',
					    "octet %u bit %u", bit / 8, bit % 8);
	}
}

/* Is @len where a header of the chain begins or ends? */
static bool canon_v6_boundary(const u8 *chain, unsigned int len)
{
	unsigned int off = 40;

	while (off < len)
		off += (chain[off + 1] + 1) * 8;
	return off == len;
}

/* Cut at every octet; a chain cut between two headers is a chain */
static void canon_cut(struct kunit *test)
{
	const struct canon_sample *s = test->param_value;
	struct canon_work *work = canon_work_new(test, s->in, s->out);
	unsigned int cut;
	u8 *exact;
	int want;

	for (cut = 0; cut < work->len; cut++) {
		exact = kmemdup(work->in, cut, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, exact);
		want = s->v6 && canon_v6_boundary(work->in, cut) ? 0 : -EINVAL;
		KUNIT_EXPECT_EQ_MSG(test, canon(s->v6, exact, cut, s->outbound),
				    want, "length %u", cut);
		if (!s->v6 && cut && cut % 4 == 0) {
			memcpy(exact, work->in, cut);
			exact[0] = 0x40 | cut / 4;
			want = ah_canon_ipv4(exact, cut, s->outbound);
			KUNIT_EXPECT_TRUE(test, cut >= 20 || want == -EINVAL);
		}
		kfree(exact);
	}
}

/* Whatever comes in: 0 or -EINVAL, and what passes is in canonical form */
static bool canon_sound(bool v6, u8 *exact, u8 *again, unsigned int len,
			bool outbound, unsigned int *passed)
{
	int err = canon(v6, exact, len, outbound);

	if (err)
		return err == -EINVAL;
	++*passed;
	memcpy(again, exact, len);
	return !canon(v6, again, len, false) && !memcmp(again, exact, len);
}

/* Every octet takes every value */
static void canon_values(struct kunit *test)
{
	const struct canon_sample *s = test->param_value;
	struct canon_work *work = canon_work_new(test, s->in, s->out);
	unsigned int passed = 0, i;

	for (i = 0; i < work->len * 512; i++) {
		memcpy(work->exact, work->in, work->len);
		work->exact[i / 512] = i / 2;
		if (!canon_sound(s->v6, work->exact, work->again, work->len,
				 i % 2, &passed))
			KUNIT_FAIL(test, "octet %u value %u\n", i / 512, (u8)(i / 2));
	}
	KUNIT_EXPECT_GT(test, passed, work->len * 2);
}

/* RFC 4302 A1, all 256 option types: five are immutable besides padding */
static void canon_option_types(struct kunit *test)
{
	static const u8 immutable[] = { 130, 133, 134, 148, 149 };
	static const char head[] = "48" V4_FIXED;
	u8 in[32], exact[32], want[12];
	unsigned int type;

	for (type = 2; type < 256; type++) {
		KUNIT_ASSERT_EQ(test, canon_parse(test, in, head), 20);
		memcpy(in + 20, "\x01\0\x08\x04wxyz\x01\x01\x01\x01", 12);
		in[21] = type;
		in[22] = 8;
		memcpy(want, in + 20, sizeof(want));
		if (!memchr(immutable, type, sizeof(immutable)))
			memset(want + 1, 0, 8);
		memcpy(exact, in, sizeof(in));
		KUNIT_EXPECT_EQ(test, ah_canon_ipv4(exact, sizeof(exact), false), 0);
		KUNIT_EXPECT_MEMEQ(test, exact + 20, want, sizeof(want));
	}
}

/* Octets that look a little like headers */
static void canon_random_fill(struct rnd_state *rnd, u8 *octets, unsigned int len,
			      bool v6)
{
	static const u8 next[] = { 0, 43, 60, 51 };
	static const u8 types[] = { 0, 1, 7, 131, 137, 148, 0x3e, 0xc9, 5, 2 };
	unsigned int i, off;

	prandom_bytes_state(rnd, octets, len);
	for (i = v6 ? 42 : 20; i < len; i++)
		if (octets[i] & 0x80)
			octets[i] = octets[i] & 0x40 ? octets[i] % 18 :
					types[octets[i] % sizeof(types)];
	if (!v6) {
		octets[0] = 0x40 | len / 4;
		return;
	}
	octets[0] = 0x60;
	octets[6] = next[octets[6] % 3];
	for (off = 40; off + 8 <= len; off += (octets[off + 1] + 1) * 8) {
		octets[off] = next[octets[off] % 4];
		octets[off + 1] %= 4;
	}
}

static void canon_random(struct kunit *test)
{
	unsigned int i, len, passed[2] = {};
	struct rnd_state rnd;
	u8 *exact, *again;
	bool v6;

	prandom_seed_state(&rnd, 4302);
	for (i = 0; i < 40000; i++) {
		v6 = i & 1;
		len = v6 ? 40 + 8 * (prandom_u32_state(&rnd) % 12) :
			   20 + 4 * (prandom_u32_state(&rnd) % 11);
		exact = kmalloc(len, GFP_KERNEL);
		again = kmalloc(len, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, exact);
		KUNIT_ASSERT_NOT_NULL(test, again);
		canon_random_fill(&rnd, exact, len, v6);
		if (!canon_sound(v6, exact, again, len, i & 2, &passed[v6]))
			KUNIT_FAIL(test, "round %u: %*ph\n", i, len, exact);
		kfree(exact);
		kfree(again);
	}
	/* both answers came often enough to mean something */
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_GT(test, passed[i], 500);
		KUNIT_EXPECT_LT(test, passed[i], 19500);
	}
}

static struct kunit_case ah_canon_cases[] = {
	KUNIT_CASE_PARAM(canon_known, canon_sample_gen_params),
	KUNIT_CASE_PARAM(canon_refused, canon_refusal_gen_params),
	KUNIT_CASE_PARAM(canon_bits, canon_sample_gen_params),
	KUNIT_CASE_PARAM(canon_cut, canon_sample_gen_params),
	KUNIT_CASE_PARAM(canon_values, canon_sample_gen_params),
	KUNIT_CASE(canon_option_types),
	KUNIT_CASE_SLOW(canon_random),
	{}
};

static struct kunit_suite ah_canon_suite = {
	.name = "ipsec_v3_ah_canon",
	.test_cases = ah_canon_cases,
};

kunit_test_suites(&ah_canon_suite);
