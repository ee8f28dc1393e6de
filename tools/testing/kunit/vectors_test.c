// SPDX-License-Identifier: GPL-2.0-only
/*
 * Published ESP packets, made and opened with esp_wire.h and the crypto API
 *
 * AAD and IV are what is only authenticated, as in the datapath:
 *
 *	{AAD, a buffer of its own}{IV | plaintext | ICV}
 */
#include <crypto/aead.h>
#include <crypto/authenc.h>
#include <kunit/test.h>
#include <linux/crypto.h>
#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/hex.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/scatterlist.h>
#include <linux/string.h>

#include "../../../net/ipsec_v3/esp_wire.h"
#include "vectors.h"

#define VECTOR_MAX	256	/* octets of the longest string of vectors.h */

struct octets {
	unsigned int len;
	u8 data[VECTOR_MAX];
};

/* What one packet is computed with; the buffers are found by KASAN's redzones */
struct vector_run {
	const struct esp_vector *v;
	struct octets plain;
	struct octets packet;
	__be32 spi;
	u64 seq;
	u8 *aad;
	u8 *body;	/* IV, text, ICV */
};

static void octets_parse(struct kunit *test, struct octets *o, const char *hex)
{
	for (o->len = 0; *hex; hex++) {
		if (isspace(*hex))
			continue;
		KUNIT_ASSERT_LT(test, o->len, VECTOR_MAX);
		KUNIT_ASSERT_EQ(test, hex2bin(&o->data[o->len++], hex, 1), 0);
		hex++;
	}
}

/* authenc() takes its two keys behind an attribute (crypto/authenc.h) */
static void key_wrap(struct octets *key)
{
	struct crypto_authenc_key_param param = {
		.enckeylen = cpu_to_be32(key->len),
	};
	struct rtattr attr = {
		.rta_len = RTA_LENGTH(sizeof(param)),
		.rta_type = CRYPTO_AUTHENC_KEYA_PARAM,
	};
	unsigned int front = RTA_SPACE(sizeof(param));

	memmove(key->data + front, key->data, key->len);
	memcpy(key->data, &attr, sizeof(attr));
	memcpy(key->data + RTA_LENGTH(0), &param, sizeof(param));
	key->len += front;
}

static struct crypto_aead *vector_tfm(struct kunit *test, const struct esp_vector *v)
{
	struct crypto_aead *tfm = crypto_alloc_aead(v->alg, 0, 0);
	struct octets key;

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(tfm), "%s: %ld", v->alg, PTR_ERR(tfm));

	octets_parse(test, &key, v->key);
	if (!strncmp(v->alg, "authenc(", 8))
		key_wrap(&key);
	KUNIT_EXPECT_EQ(test, crypto_aead_setkey(tfm, key.data, key.len), 0);
	KUNIT_EXPECT_EQ(test, crypto_aead_setauthsize(tfm, v->icvlen), 0);
	return tfm;
}

static void vector_run_init(struct kunit *test, struct vector_run *run,
			    const struct esp_vector *v)
{
	const u8 *number;

	run->v = v;
	octets_parse(test, &run->plain, v->plain);
	octets_parse(test, &run->packet, v->packet);
	KUNIT_ASSERT_EQ(test, run->packet.len, ESP_WIRE_HEADER_LEN + v->ivlen +
			run->plain.len + v->icvlen);
	memcpy(&run->spi, run->packet.data, sizeof(run->spi));
	number = run->packet.data + 4;
	run->seq = (u64)v->seq_high << 32 | (u32)number[0] << 24 |
		   number[1] << 16 | number[2] << 8 | number[3];
	run->aad = kunit_kzalloc(test, v->esn ? 12 : 8, GFP_KERNEL);
	run->body = kunit_kzalloc(test, run->packet.len - ESP_WIRE_HEADER_LEN,
				  GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, run->aad);
	KUNIT_ASSERT_NOT_NULL(test, run->body);
}

/* Runs the transform over {AAD}{body} */
static int vector_crypt(struct kunit *test, struct vector_run *run,
			struct crypto_aead *tfm, unsigned int aadlen, bool encrypt)
{
	unsigned int adlen = aadlen + run->v->ivlen;
	unsigned int total = aadlen + run->packet.len - ESP_WIRE_HEADER_LEN;
	unsigned int cryptlen = total - adlen;
	struct aead_request *req = aead_request_alloc(tfm, GFP_KERNEL);
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg[2];
	u8 iv[16];
	int err;

	KUNIT_ASSERT_NOT_NULL(test, req);
	sg_init_table(sg, ARRAY_SIZE(sg));
	sg_set_buf(&sg[0], run->aad, aadlen);
	sg_set_buf(&sg[1], run->body, total - aadlen);
	memcpy(iv, run->body, run->v->ivlen);
	aead_request_set_callback(req, 0, crypto_req_done, &wait);
	aead_request_set_ad(req, adlen);
	aead_request_set_crypt(req, sg, sg,
			       cryptlen - (encrypt ? run->v->icvlen : 0), iv);
	err = crypto_wait_req(encrypt ? crypto_aead_encrypt(req) :
					crypto_aead_decrypt(req), &wait);
	aead_request_free(req);
	return err;
}

/* The sender: trailer and AAD by esp_wire.h, the IV as published */
static void vector_encrypt(struct kunit *test, struct vector_run *run)
{
	const struct esp_vector *v = run->v;
	struct crypto_aead *tfm = vector_tfm(test, v);
	const u8 *trailer = run->plain.data + run->plain.len - 2;
	unsigned int payload = run->plain.len - 2 - trailer[0];
	unsigned int align = max(crypto_aead_blocksize(tfm), 4U);
	struct esp_plan plan;
	unsigned int aadlen;

	KUNIT_EXPECT_EQ(test, esp_wire_plan(&plan, payload, 0, align, v->icvlen), 0);
	KUNIT_EXPECT_EQ(test, payload + plan.tail, run->plain.len + v->icvlen);
	memcpy(run->body, run->packet.data + ESP_WIRE_HEADER_LEN, v->ivlen);
	memcpy(run->body + v->ivlen, run->plain.data, payload);
	esp_wire_trailer_write(run->body + v->ivlen + payload, &plan, trailer[1]);
	KUNIT_EXPECT_MEMEQ(test, run->body + v->ivlen, run->plain.data,
			   run->plain.len);

	aadlen = esp_wire_aad(run->aad, run->spi, run->seq, v->esn);
	KUNIT_EXPECT_EQ(test, vector_crypt(test, run, tfm, aadlen, true), 0);
	KUNIT_EXPECT_MEMEQ(test, run->body, run->packet.data + ESP_WIRE_HEADER_LEN,
			   run->packet.len - ESP_WIRE_HEADER_LEN);
	crypto_free_aead(tfm);
}

static int vector_decrypt(struct kunit *test, struct vector_run *run,
			  struct crypto_aead *tfm, u64 seq, unsigned int flip)
{
	unsigned int aadlen;

	aadlen = esp_wire_aad(run->aad, run->spi, seq, run->v->esn);
	memcpy(run->body, run->packet.data + ESP_WIRE_HEADER_LEN,
	       run->packet.len - ESP_WIRE_HEADER_LEN);
	if (flip < run->packet.len - ESP_WIRE_HEADER_LEN)
		run->body[flip] ^= 0x10;
	return vector_crypt(test, run, tfm, aadlen, false);
}

/* The receiver, with the IV as it came */
static void vector_open(struct kunit *test, struct vector_run *run)
{
	const struct esp_vector *v = run->v;
	struct crypto_aead *tfm = vector_tfm(test, v);
	const u8 *text = run->body + v->ivlen;
	struct esp_trailer trailer;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, vector_decrypt(test, run, tfm, run->seq, ~0), 0);
	KUNIT_EXPECT_MEMEQ(test, text, run->plain.data, run->plain.len);
	memcpy(&trailer, text + run->plain.len - 2, sizeof(trailer));
	KUNIT_EXPECT_EQ(test, esp_wire_trailer_check(text + run->plain.len - 2 -
						     trailer.pad_length,
						     trailer.pad_length), 0);

	if (!v->icvlen)
		goto free;
	/* all of the body and all of the AAD are authenticated: samples */
	for (i = 0; i < run->packet.len - ESP_WIRE_HEADER_LEN; i += 5)
		KUNIT_EXPECT_EQ(test, vector_decrypt(test, run, tfm, run->seq, i),
				-EBADMSG);
	for (i = 0; i < (v->esn ? 64 : 32); i += 7)
		KUNIT_EXPECT_EQ(test, vector_decrypt(test, run, tfm,
						     run->seq ^ 1ULL << i, ~0),
				-EBADMSG);
free:
	crypto_free_aead(tfm);
}

static void vectors_esp(struct kunit *test)
{
	const struct esp_vector *v = test->param_value;
	struct vector_run *run = kunit_kzalloc(test, sizeof(*run), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, run);
	vector_run_init(test, run, v);
	vector_encrypt(test, run);
	vector_open(test, run);
}

static void vector_name(const struct esp_vector *v, char *name)
{
	strscpy(name, v->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(esp_vector, esp_vectors, vector_name);

static struct kunit_case vectors_cases[] = {
	KUNIT_CASE_PARAM_ATTR(vectors_esp, esp_vector_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite vectors_suite = {
	.name = "ipsec_v3_vectors",
	.test_cases = vectors_cases,
};

kunit_test_suites(&vectors_suite);

MODULE_DESCRIPTION("KUnit tests of the ipsec_v3 pure cores");
MODULE_LICENSE("GPL");
