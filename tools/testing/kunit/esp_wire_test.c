// SPDX-License-Identifier: GPL-2.0-only
/*
 * esp_wire.h: lengths, trailer and AAD (RFC 4303 2.2 to 2.7)
 */
#include <kunit/test.h>
#include <linux/limits.h>
#include <linux/string.h>

#include "../../../net/ipsec_v3/esp_wire.h"

static const unsigned int esp_aligns[] = { 4, 8, 16 };
static const unsigned int esp_icvs[] = { 0, 8, 12, 16, 24, 32 };
static const unsigned int esp_tfcs[] = { 0, 1, 2, 3, 4, 15, 255, 256, 1000 };

static void plan_check(struct kunit *test, unsigned int payload,
		       unsigned int tfc, unsigned int align, unsigned int icv)
{
	struct esp_plan p;

	KUNIT_ASSERT_EQ(test, esp_wire_plan(&p, payload, tfc, align, icv), 0);
	KUNIT_EXPECT_EQ(test, p.tfc, tfc);
	KUNIT_EXPECT_LT(test, p.pad, align);
	KUNIT_EXPECT_EQ(test, (payload + tfc + p.pad + 2) % align, 0);
	KUNIT_EXPECT_EQ(test, p.tail, tfc + p.pad + 2 + icv);
}

static void esp_wire_plan_lengths(struct kunit *test)
{
	unsigned int payload, a, i, t;

	for (payload = 0; payload <= 300; payload++)
		for (a = 0; a < ARRAY_SIZE(esp_aligns); a++)
			for (i = 0; i < ARRAY_SIZE(esp_icvs); i++)
				for (t = 0; t < ARRAY_SIZE(esp_tfcs); t++)
					plan_check(test, payload, esp_tfcs[t],
						   esp_aligns[a], esp_icvs[i]);
	plan_check(test, 0, 0, 256, 16);
	plan_check(test, 255, 0, 256, 16);
}

/* Each pad length of a block, by hand */
static void esp_wire_plan_pad(struct kunit *test)
{
	static const struct {
		unsigned int payload, align, pad;
	} want[] = {
		{ 0, 4, 2 }, { 1, 4, 1 }, { 2, 4, 0 }, { 3, 4, 3 },
		{ 0, 8, 6 }, { 5, 8, 1 }, { 6, 8, 0 }, { 7, 8, 7 },
		{ 0, 16, 14 }, { 13, 16, 1 }, { 14, 16, 0 }, { 15, 16, 15 },
		{ 1400, 4, 2 }, { 1400, 16, 6 }, { 0, 256, 254 }, { 255, 256, 255 },
	};
	struct esp_plan p;
	int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		KUNIT_EXPECT_EQ(test, esp_wire_plan(&p, want[i].payload, 0,
						    want[i].align, 16), 0);
		KUNIT_EXPECT_EQ(test, p.pad, want[i].pad);
	}
}

/* Header (8), what is encrypted, and icv are 65535 at most; a failure leaves the plan alone */
static void esp_wire_plan_overflow(struct kunit *test)
{
	static const struct {
		unsigned int payload, tfc, align, icv;
		int err;
	} want[] = {
		{ 65506, 0, 4, 16, 0 },	/* 65532 */
		{ 65507, 0, 4, 16, -EMSGSIZE },	/* 65536, with padding */
		{ 0, 65506, 4, 16, 0 },
		{ 0, 65507, 4, 16, -EMSGSIZE },
		{ 65522, 0, 4, 0, 0 },
		{ 65523, 0, 4, 0, -EMSGSIZE },
		{ 65518, 0, 16, 0, 0 },
		{ 65519, 0, 16, 0, -EMSGSIZE },
		{ 65535, 0, 4, 0, -EMSGSIZE },
		{ 0, 0, 4, 65523, 0 },
		{ 0, 0, 4, 65524, -EMSGSIZE },
		{ UINT_MAX, 0, 4, 16, -EMSGSIZE },
		{ UINT_MAX, 1, 4, 16, -EMSGSIZE },
		{ 1, UINT_MAX, 4, 16, -EMSGSIZE },
		{ 0x80000000, 0x80000000, 4, 16, -EMSGSIZE },
		{ 100, 0, 4, UINT_MAX, -EMSGSIZE },
		{ 100, 0, 4, UINT_MAX - 108, -EMSGSIZE },
	};
	struct esp_plan p, before;
	int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		memset(&p, 0x5a, sizeof(p));
		before = p;
		KUNIT_EXPECT_EQ_MSG(test, esp_wire_plan(&p, want[i].payload,
							want[i].tfc, want[i].align,
							want[i].icv),
				    want[i].err, "line %d", i);
		if (want[i].err)
			KUNIT_EXPECT_MEMEQ(test, &p, &before, sizeof(p));
	}
}

/* Written into a buffer of exactly its size; what is written passes the check */
static void trailer_check(struct kunit *test, unsigned int payload,
			  unsigned int tfc, unsigned int align)
{
	struct esp_plan p;
	unsigned int i;
	u8 *tail;

	KUNIT_ASSERT_EQ(test, esp_wire_plan(&p, payload, tfc, align, 0), 0);
	tail = kmalloc(p.tail, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tail);
	memset(tail, 0xee, p.tail);
	esp_wire_trailer_write(tail, &p, 0x29);

	for (i = 0; i < tfc; i++)
		KUNIT_EXPECT_EQ(test, tail[i], 0);
	for (i = 0; i < p.pad; i++)
		KUNIT_EXPECT_EQ(test, tail[tfc + i], i + 1);
	KUNIT_EXPECT_EQ(test, tail[tfc + p.pad], p.pad);
	KUNIT_EXPECT_EQ(test, tail[tfc + p.pad + 1], 0x29);
	KUNIT_EXPECT_EQ(test, esp_wire_trailer_check(tail + tfc, p.pad), 0);
	kfree(tail);
}

static void esp_wire_trailer_written(struct kunit *test)
{
	unsigned int payload, a, t;

	for (payload = 0; payload <= 32; payload++)
		for (a = 0; a < ARRAY_SIZE(esp_aligns); a++)
			for (t = 0; t < ARRAY_SIZE(esp_tfcs); t++)
				trailer_check(test, payload, esp_tfcs[t],
					      esp_aligns[a]);
	trailer_check(test, 255, 0, 256);
}

/* Every pad length, and every octet of it wrong once */
static void esp_wire_trailer_checked(struct kunit *test)
{
	unsigned int len, i;
	u8 *pad;

	for (len = 0; len <= 255; len++) {
		pad = kmalloc(len, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, pad);
		for (i = 0; i < len; i++)
			pad[i] = i + 1;
		KUNIT_EXPECT_EQ(test, esp_wire_trailer_check(pad, len), 0);
		for (i = 0; i < len; i++) {
			pad[i] ^= 1 << i % 8;
			KUNIT_EXPECT_EQ(test, esp_wire_trailer_check(pad, len),
					-EINVAL);
			pad[i] ^= 1 << i % 8;
		}
		kfree(pad);
	}
}

/* RFC 4106 5 figures 2 and 3; the octets behind the AAD stay */
static void esp_wire_aad_written(struct kunit *test)
{
	static const u8 with[12] = { 0x01, 0x02, 0x03, 0x04, 0x11, 0x12, 0x13,
				     0x14, 0x21, 0x22, 0x23, 0x24 };
	static const u8 without[12] = { 0x01, 0x02, 0x03, 0x04, 0x21, 0x22, 0x23,
					0x24, 0xee, 0xee, 0xee, 0xee };
	const __be32 spi = cpu_to_be32(0x01020304);
	const u64 seq = 0x1112131421222324ULL;
	u8 aad[12];

	memset(aad, 0xee, sizeof(aad));
	KUNIT_EXPECT_EQ(test, esp_wire_aad(aad, spi, seq, false), 8);
	KUNIT_EXPECT_MEMEQ(test, aad, without, sizeof(aad));
	KUNIT_EXPECT_EQ(test, esp_wire_aad(aad, spi, seq, true), 12);
	KUNIT_EXPECT_MEMEQ(test, aad, with, sizeof(aad));
}

static struct kunit_case esp_wire_cases[] = {
	KUNIT_CASE(esp_wire_plan_lengths),
	KUNIT_CASE(esp_wire_plan_pad),
	KUNIT_CASE(esp_wire_plan_overflow),
	KUNIT_CASE(esp_wire_trailer_written),
	KUNIT_CASE(esp_wire_trailer_checked),
	KUNIT_CASE(esp_wire_aad_written),
	{}
};

static struct kunit_suite esp_wire_suite = {
	.name = "ipsec_v3_esp_wire",
	.test_cases = esp_wire_cases,
};

kunit_test_suites(&esp_wire_suite);
