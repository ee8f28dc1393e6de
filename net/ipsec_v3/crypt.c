// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a request: get, map, run, complete. The only per-packet caller of the
 * crypto API.
 *
 * A request lies in one piece of memory:
 *
 *	+------------------+-------------------+-------------------+-------------+
 *	| struct ipsec_req | transform request | AH: scatterlist[] | AH: scratch |
 *	+------------------+-------------------+-------------------+-------------+
 *
 * and its scatterlist is
 *
 *	ESP		{SPI | sequence number | IV | ciphertext | ICV in the packet}
 *	ESP, ESN	{SPI | 64-bit number | IV in req->aad} {ciphertext | ICV ...}
 *	AH		{IP header ... payload in the packet}
 *	AH, ESN		{IP header ... payload in the packet} {high half}
 *
 * so that no part of the number which is not sent ever enters the packet. That of ESP,
 * whose packets are in one piece, is a part of the request, and made once for as long
 * as that is cached.
 */
#include <linux/crypto.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include "crypt.h"

/* big enough for every stock cipher's request and a packet in 17 fragments */
#define IPSEC_REQ_CACHED	2048

/* One request per CPU waits here for the next packet: a packet that finishes on
 * the spot, as nearly all do, costs no allocation. A request that the crypto API
 * keeps (-EINPROGRESS) is simply not here, and the next packet allocates.
 */
static DEFINE_PER_CPU(struct ipsec_req *, ipsec_req_cache);

union ipsec_tfm_req {
	struct aead_request	aead;
	struct ahash_request	ahash;
};

static union ipsec_tfm_req *req_tfm(struct ipsec_req *req)
{
	return PTR_ALIGN((void *)(req + 1), __alignof__(union ipsec_tfm_req));
}

/**
 * ipsec_req_size() - bytes of a request without a table
 * @reqsize: bytes of the transform's own request
 *
 * Return: what belongs into sa->reqsize.
 */
unsigned int ipsec_req_size(unsigned int reqsize)
{
	return ALIGN(ALIGN(sizeof(struct ipsec_req), __alignof__(union ipsec_tfm_req)) +
		     sizeof(union ipsec_tfm_req) + reqsize, __alignof__(struct scatterlist));
}

static struct ipsec_req *req_alloc(size_t size, bool cached)
{
	struct ipsec_req *req = kmalloc(size, GFP_ATOMIC | __GFP_NOWARN);

	if (!req)
		return NULL;
	req->cached = cached;
	sg_init_table(req->esp_sg, ARRAY_SIZE(req->esp_sg));
	sg_set_buf(&req->esp_sg[0], req->aad, sizeof(req->aad));
	return req;
}

static __always_inline struct ipsec_req *req_get(struct ipsec_sa *sa, struct sk_buff *skb,
						 u64 seq, size_t size)
{
	struct ipsec_req *req = NULL;

	if (likely(size <= IPSEC_REQ_CACHED)) {
		req = this_cpu_xchg(ipsec_req_cache, NULL);
		if (unlikely(!req))
			req = req_alloc(IPSEC_REQ_CACHED, true);
	} else {
		req = req_alloc(size, false);
	}
	if (unlikely(!req))
		return NULL;
	req->sa = sa;
	req->skb = skb;
	req->stash = NULL;
	req->wait = NULL;
	req->seq = seq;
	return req;
}

/**
 * ipsec_req_get() - a request for one packet, which is in one piece
 * @sa: the SA; outlives the request because @skb holds it
 * @skb: the packet, stays the caller's
 * @seq: its full sequence number
 *
 * Context: any; does not sleep.
 * Return: the request, or NULL without memory.
 */
struct ipsec_req *ipsec_req_get(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	return req_get(sa, skb, seq, sa->reqsize);
}

/**
 * ipsec_req_get_table() - a request for one packet, in any number of pieces
 * @sa: the SA
 * @skb: the packet
 * @seq: its full sequence number
 * @nsg: entries of the scatterlist
 * @scratch: bytes of scratch, may be 0; the caller fills them
 *
 * Context: any; does not sleep.
 * Return: the request, or NULL without memory.
 */
struct ipsec_req *ipsec_req_get_table(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
				      unsigned int nsg, unsigned int scratch)
{
	size_t scratch_at = sa->reqsize + nsg * sizeof(struct scatterlist);
	struct ipsec_req *req = req_get(sa, skb, seq, scratch_at + scratch);

	if (unlikely(!req))
		return NULL;
	req->sg = (void *)req + sa->reqsize;
	req->scratch = (void *)req + scratch_at;
	sg_init_table(req->sg, nsg);
	return req;
}

/**
 * ipsec_req_put() - the request is done
 * @req: the request; what it points to stays the caller's
 *
 * Context: any.
 */
void ipsec_req_put(struct ipsec_req *req)
{
	if (req->cached && !this_cpu_cmpxchg(ipsec_req_cache, NULL, req))
		return;
	/* a cipher may have put a key of this one packet there */
	kfree_sensitive(req);
}

/**
 * ipsec_req_map_table() - AH: put the packet into the table
 * @req: from ipsec_req_get_table(), with enough entries
 * @len: bytes, from skb->data
 *
 * With ESN the last entry is the high half of the sequence number (RFC 4302 3.3.3.2.2).
 *
 * Return: 0 or -errno.
 */
int ipsec_req_map_table(struct ipsec_req *req, unsigned int len)
{
	struct scatterlist *sg = req->sg;
	int n = skb_to_sgvec_nomark(req->skb, sg, 0, len);

	if (n < 0)
		return n;
	req->len = len;
	if (req->sa->esn) {
		req->tail = htonl(req->seq >> 32);
		sg_set_buf(sg + n++, &req->tail, sizeof(req->tail));
		req->len += sizeof(req->tail);
	}
	sg_mark_end(sg + n - 1);
	return 0;
}

IPSEC_CRYPTO_DONE(req_complete)
{
	struct ipsec_req *req = data;

	/* left the backlog, not finished */
	if (err != -EINPROGRESS)
		req->done(req, err);
}

/* a request that waits may also queue where the driver is full */
static u32 req_flags(const struct ipsec_req *req)
{
	return req->wait ? CRYPTO_TFM_REQ_MAY_BACKLOG | CRYPTO_TFM_REQ_MAY_SLEEP : 0;
}

/* @len: bytes of payload, and when it is received also of the ICV */
static struct aead_request *req_aead(struct ipsec_req *req, unsigned int len)
{
	struct aead_request *aead = &req_tfm(req)->aead;

	aead_request_set_tfm(aead, req->sa->aead);
	aead_request_set_callback(aead, req_flags(req),
				  req->wait ? crypto_req_done : req_complete,
				  req->wait ?: (void *)req);
	aead_request_set_crypt(aead, req->sg, req->sg, len, req->iv);
	aead_request_set_ad(aead, req->sa->aadlen + req->sa->ivlen);
	return aead;
}

/**
 * ipsec_req_encrypt() - encrypt and authenticate what is mapped
 * @req: mapped request; the ICV's place is the end of the mapping
 *
 * Return: 0, -EINPROGRESS (@req->done follows) or -errno.
 */
int ipsec_req_encrypt(struct ipsec_req *req)
{
	return crypto_aead_encrypt(req_aead(req, req->len - req->sa->icvlen));
}

/**
 * ipsec_req_decrypt() - verify and decrypt what is mapped
 * @req: mapped request; the mapping ends with the ICV
 *
 * Return: 0, -EBADMSG, -EINPROGRESS (@req->done follows) or -errno.
 */
int ipsec_req_decrypt(struct ipsec_req *req)
{
	return crypto_aead_decrypt(req_aead(req, req->len));
}

/**
 * ipsec_req_digest() - compute AH's ICV into @req->icv
 * @req: mapped request
 *
 * Return: 0, -EINPROGRESS (@req->done follows) or -errno.
 */
int ipsec_req_digest(struct ipsec_req *req)
{
	struct ahash_request *ahash = &req_tfm(req)->ahash;

	ahash_request_set_tfm(ahash, req->sa->ahash);
	ahash_request_set_callback(ahash, req_flags(req),
				   req->wait ? crypto_req_done : req_complete,
				   req->wait ?: (void *)req);
	ahash_request_set_crypt(ahash, req->sg, req->icv, req->len);
	return crypto_ahash_digest(ahash);
}

/**
 * ipsec_req_wait() - run a request to its end
 * @req: mapped request
 * @run: one of the three above
 *
 * Context: process context, sleeps.
 * Return: what @run says in the end, never -EINPROGRESS.
 */
int ipsec_req_wait(struct ipsec_req *req, int (*run)(struct ipsec_req *req))
{
	DECLARE_CRYPTO_WAIT(wait);

	req->wait = &wait;
	return crypto_wait_req(run(req), &wait);
}

/**
 * ipsec_crypt_teardown() - free the cached requests
 *
 * Context: module unload, when no packet can be under way any more.
 */
void ipsec_crypt_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kfree_sensitive(xchg(per_cpu_ptr(&ipsec_req_cache, cpu), NULL));
}
