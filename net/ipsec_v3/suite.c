// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the algorithms of an SA to a keyed transform and its geometry.
 *
 * A cipher with a separate integrity algorithm becomes one AEAD of the crypto
 * API's authenc (32-bit numbers) or authencesn (64-bit numbers) template, so that
 * the datapath knows AEADs only. The IV generators of the crypto API (seqiv,
 * echainiv) are not used: the datapath writes the IV itself. But a NIC driver reads from x->data
 * how the core's ESP would generate it, so there is one for the algorithm that NICs know.
 */
#include <crypto/authenc.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "crypt.h"

#define IPSEC_ICV_MIN	8	/* an ICV that a second of guessing cannot hit */

static unsigned int bytes(unsigned int bits)
{
	return DIV_ROUND_UP(bits, 8);
}

/* 0 is for algorithms that promise no integrity at all */
static int suite_check_icv(unsigned int icvlen, struct netlink_ext_ack *extack)
{
	if (!icvlen || (icvlen >= IPSEC_ICV_MIN && icvlen <= IPSEC_ICV_MAX))
		return 0;
	NL_SET_ERR_MSG(extack, "The ICV must be 64 to 512 bits long");
	return -EINVAL;
}

static int suite_alloc_error(int err, struct netlink_ext_ack *extack)
{
	if (err == -ENOENT)
		NL_SET_ERR_MSG(extack, "This kernel's crypto API does not have the algorithm");
	else
		NL_SET_ERR_MSG(extack, "The crypto API cannot set up the algorithm");
	return err;
}

static int suite_key_error(int err, struct netlink_ext_ack *extack)
{
	NL_SET_ERR_MSG(extack, "The algorithm refuses a key of this length or value");
	return err;
}

static int suite_alloc_aead(struct ipsec_sa *sa, const char *name,
			    struct netlink_ext_ack *extack)
{
	struct crypto_aead *aead = crypto_alloc_aead(name, 0, 0);

	if (IS_ERR(aead))
		return suite_alloc_error(PTR_ERR(aead), extack);
	sa->aead = aead;
	return 0;
}

static int suite_set_icv(struct ipsec_sa *sa, unsigned int icvlen,
			 struct netlink_ext_ack *extack)
{
	int err = suite_check_icv(icvlen, extack);

	if (err)
		return err;
	err = crypto_aead_setauthsize(sa->aead, icvlen);
	if (err)
		NL_SET_ERR_MSG(extack, "The algorithm has no ICV of this length");
	return err;
}

/* For NIC drivers, which do AES-GCM only. It has no key, as nobody encrypts with it. */
static int suite_alloc_seqiv(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	struct crypto_aead *seqiv;

	if (strcmp(sa->x->aead->alg_name, "rfc4106(gcm(aes))"))
		return 0;
	seqiv = crypto_alloc_aead("seqiv(rfc4106(gcm(aes)))", 0, 0);
	/* a kernel without it can only do without NICs */
	if (seqiv == ERR_PTR(-ENOENT))
		return 0;
	if (IS_ERR(seqiv))
		return suite_alloc_error(PTR_ERR(seqiv), extack);
	sa->seqiv = seqiv;
	return crypto_aead_setauthsize(seqiv, crypto_aead_authsize(sa->aead));
}

static int suite_combined(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	const struct xfrm_algo_aead *algo = sa->x->aead;
	int err;

	err = suite_alloc_aead(sa, algo->alg_name, extack);
	if (err)
		return err;
	err = suite_set_icv(sa, algo->alg_icv_len / 8, extack);
	if (err)
		return err;
	err = crypto_aead_setkey(sa->aead, algo->alg_key, bytes(algo->alg_key_len));
	return err ? suite_key_error(err, extack) : suite_alloc_seqiv(sa, extack);
}

/* authenc's key: {rtattr: length of the cipher's key} {integrity key} {cipher key} */
static int suite_separate_key(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	const struct xfrm_algo_auth *auth = sa->x->aalg;
	const struct xfrm_algo *enc = sa->x->ealg;
	unsigned int authlen = auth ? bytes(auth->alg_key_len) : 0;
	unsigned int len = RTA_SPACE(sizeof(struct crypto_authenc_key_param)) +
			   authlen + bytes(enc->alg_key_len);
	struct crypto_authenc_key_param *param;
	struct rtattr *rta = kzalloc(len, GFP_KERNEL);
	int err;

	if (!rta) {
		NL_SET_ERR_MSG(extack, "No memory for the key");
		return -ENOMEM;
	}
	rta->rta_type = CRYPTO_AUTHENC_KEYA_PARAM;
	rta->rta_len = RTA_LENGTH(sizeof(*param));
	param = RTA_DATA(rta);
	param->enckeylen = cpu_to_be32(bytes(enc->alg_key_len));
	if (auth)
		memcpy((u8 *)rta + RTA_SPACE(sizeof(*param)), auth->alg_key, authlen);
	memcpy((u8 *)rta + RTA_SPACE(sizeof(*param)) + authlen, enc->alg_key,
	       bytes(enc->alg_key_len));

	err = crypto_aead_setkey(sa->aead, (u8 *)rta, len);
	kfree_sensitive(rta);
	return err ? suite_key_error(err, extack) : 0;
}

static int suite_separate(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	const struct xfrm_state *x = sa->x;
	char name[CRYPTO_MAX_ALG_NAME];
	int err;

	if (snprintf(name, sizeof(name), "%s(%s,%s)",
		     sa->esn ? "authencesn" : "authenc",
		     x->aalg ? x->aalg->alg_name : "digest_null",
		     x->ealg->alg_name) >= sizeof(name)) {
		NL_SET_ERR_MSG(extack, "The algorithm's name is too long");
		return -ENAMETOOLONG;
	}
	err = suite_alloc_aead(sa, name, extack);
	if (err)
		return err;
	err = suite_set_icv(sa, x->aalg ? x->aalg->alg_trunc_len / 8 : 0, extack);
	return err ?: suite_separate_key(sa, extack);
}

/* What encrypts octet by octet makes a key stream, of which none may come twice (RFC 3686 3.1,
 * 4106 3.1, 4309 3.1, 4543 3.1, 7634 2); what has blocks is CBC, whose IV must not be foreseen
 * (RFC 3602 3). x->geniv says so too, but not of an SA that was moved.
 */
static int suite_iv(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	sa->ivlen = crypto_aead_ivsize(sa->aead);
	if (!sa->ivlen)
		sa->iv = IPSEC_IV_NONE;
	else if (crypto_aead_blocksize(sa->aead) == 1)
		sa->iv = IPSEC_IV_COUNTER;
	else
		sa->iv = IPSEC_IV_RANDOM;

	if (!sa->ivlen || sa->ivlen == 8 || (sa->iv == IPSEC_IV_RANDOM && sa->ivlen == 16))
		return 0;
	NL_SET_ERR_MSG(extack, "The algorithm's IV is neither 8 nor 16 bytes long");
	return -EINVAL;
}

/**
 * ipsec_suite_esp() - ESP: keyed transform and geometry
 * @sa: the SA
 * @extack: where a refusal is explained, may be NULL
 *
 * Return: 0 or -errno; then nothing is held.
 */
int ipsec_suite_esp(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	const struct xfrm_state *x = sa->x;
	int err;

	if (!x->aead && !x->ealg) {
		NL_SET_ERR_MSG(extack, "ESP needs an aead or an enc algorithm; integrity alone is enc 'ecb(cipher_null)'");
		return -EINVAL;
	}
	err = x->aead ? suite_combined(sa, extack) : suite_separate(sa, extack);
	if (!err)
		err = suite_iv(sa, extack);
	if (err) {
		ipsec_suite_free(sa);
		return err;
	}
	sa->aadlen = sa->esn ? ESP_WIRE_AAD_MAX : ESP_WIRE_HEADER_LEN;
	sa->icvlen = crypto_aead_authsize(sa->aead);
	sa->block = crypto_aead_blocksize(sa->aead);
	sa->align = ALIGN(sa->block, 4);
	sa->reqsize = ipsec_req_size(crypto_aead_reqsize(sa->aead));
	sa->hdrlen = ESP_WIRE_HEADER_LEN + sa->ivlen;
	return 0;
}

#define SUITE_PROBE	64	/* a multiple of every cipher's block */

/* @data: {working copy of the IV}{AAD | IV | zeros | ICV}; encrypts the zeros: 0, or what a
 * transform says that finishes later
 */
static int suite_try(struct ipsec_sa *sa, struct aead_request *req, u8 *data)
{
	unsigned int assoclen = sa->aadlen + sa->ivlen;
	DECLARE_CRYPTO_WAIT(wait);
	struct scatterlist sg;
	int err;

	sg_init_one(&sg, data + IPSEC_IV_MAX, assoclen + SUITE_PROBE + sa->icvlen);
	aead_request_set_callback(req, CRYPTO_TFM_REQ_MAY_SLEEP | CRYPTO_TFM_REQ_MAY_BACKLOG,
				  crypto_req_done, &wait);
	aead_request_set_crypt(req, &sg, &sg, SUITE_PROBE, data);
	aead_request_set_ad(req, assoclen);
	err = crypto_aead_encrypt(req);
	crypto_wait_req(err, &wait);
	return err;
}

/**
 * ipsec_suite_defers() - does ESP's transform finish later
 * @sa: the SA, its transform keyed
 *
 * The flag of an algorithm does not tell: a SIMD cipher has it, and finishes at
 * once nearly always. So the transform is tried. The result is thrown away, so
 * it does not matter that its IV is no secret and may come again.
 *
 * Context: process context, sleeps.
 * Return: 0, 1 when it does, or -ENOMEM.
 */
int ipsec_suite_defers(struct ipsec_sa *sa)
{
	struct aead_request *req;
	int err = -ENOMEM;
	u8 *data;

	if (!(crypto_aead_tfm(sa->aead)->__crt_alg->cra_flags & CRYPTO_ALG_ASYNC))
		return 0;
	req = aead_request_alloc(sa->aead, GFP_KERNEL);
	data = kzalloc(IPSEC_IV_MAX + sa->aadlen + sa->ivlen + SUITE_PROBE + sa->icvlen,
		       GFP_KERNEL);
	if (req && data)
		err = suite_try(sa, req, data);
	aead_request_free(req);
	kfree_sensitive(data);
	return err == -ENOMEM ? err : err == -EINPROGRESS || err == -EBUSY;
}

static int suite_hash(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	const struct xfrm_algo_auth *auth = sa->x->aalg;
	struct crypto_ahash *ahash = crypto_alloc_ahash(auth->alg_name, 0, 0);
	int err;

	if (IS_ERR(ahash))
		return suite_alloc_error(PTR_ERR(ahash), extack);
	sa->ahash = ahash;
	sa->icvlen = auth->alg_trunc_len / 8;
	if (sa->icvlen > crypto_ahash_digestsize(ahash) ||
	    crypto_ahash_digestsize(ahash) > IPSEC_ICV_MAX) {
		NL_SET_ERR_MSG(extack, "The algorithm has no ICV of this length");
		return -EINVAL;
	}
	/* fewer than 8 bits are not the null digest's 0 */
	err = suite_check_icv(sa->icvlen ?: auth->alg_trunc_len, extack);
	if (err)
		return err;
	err = crypto_ahash_setkey(ahash, auth->alg_key, bytes(auth->alg_key_len));
	return err ? suite_key_error(err, extack) : 0;
}

/**
 * ipsec_suite_ah() - AH: keyed transform and geometry
 * @sa: the SA
 * @extack: where a refusal is explained, may be NULL
 *
 * The header is a multiple of 8 bytes, which RFC 4302 2.6 asks for IPv6 and Linux
 * has always done for IPv4; the align4 flag makes it 4 for IPv4, as the RFC has it.
 *
 * Return: 0 or -errno; then nothing is held.
 */
int ipsec_suite_ah(struct ipsec_sa *sa, struct netlink_ext_ack *extack)
{
	bool align4 = sa->family->af == AF_INET && sa->x->props.flags & XFRM_STATE_ALIGN4;
	int err;

	if (!sa->x->aalg) {
		NL_SET_ERR_MSG(extack, "AH needs an auth algorithm");
		return -EINVAL;
	}
	err = suite_hash(sa, extack);
	if (err) {
		ipsec_suite_free(sa);
		return err;
	}
	sa->hdrlen = ALIGN(sizeof(struct ip_auth_hdr) + sa->icvlen, align4 ? 4 : 8);
	sa->reqsize = ipsec_req_size(crypto_ahash_reqsize(sa->ahash));
	return 0;
}

/**
 * ipsec_suite_free() - free the transform, and with it the keys
 * @sa: the SA
 */
void ipsec_suite_free(struct ipsec_sa *sa)
{
	if (sa->rx == &ipsec_ah_rx)
		crypto_free_ahash(sa->ahash);
	else
		crypto_free_aead(sa->aead);
	crypto_free_aead(sa->seqiv);
	sa->seqiv = NULL;
	sa->aead = NULL;
}
