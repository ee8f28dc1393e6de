// SPDX-License-Identifier: GPL-2.0-only
/*
 * Algorithms that fail on demand: AES-GCM and AES-CBC with HMAC-SHA-256 for ESP, the latter
 * with ESN, and HMAC-SHA-256 for AH, by way of the best synchronous ones, but with the
 * answers that the module parameters ask for. While it is loaded they are those that an SA
 * gets. AH asks for whole digests only, so that the pieces of one never fail.
 *
 * With error=EBUSY they are a device whose queue is full: it refuses what may not wait,
 * and puts aside what may (CRYPTO_TFM_REQ_MAY_BACKLOG), says -EBUSY to that as well, then
 * -EINPROGRESS when there is room, and what has come of it when it is done.
 */
#include <crypto/aes.h>
#include <crypto/internal/aead.h>
#include <crypto/internal/hash.h>
#include <crypto/sha2.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define FLAKY_HASH	"hmac(sha256)"

static int flaky_error;
module_param_named(error, flaky_error, int, 0644);
MODULE_PARM_DESC(error, "errno of requests that are not taken, 0 takes them");

static int flaky_first;
module_param_named(first, flaky_first, int, 0644);
MODULE_PARM_DESC(first, "requests that are still taken before error is the answer");

static int flaky_late_ms = -1;
module_param_named(late_ms, flaky_late_ms, int, 0644);
MODULE_PARM_DESC(late_ms, "milliseconds until a request that is taken is finished, -1 is at once");

static int flaky_late_error;
module_param_named(late_error, flaky_late_error, int, 0644);
MODULE_PARM_DESC(late_error, "errno of requests that are finished late, 0 does the work");

static int flaky_backlog;
module_param_named(backlog, flaky_backlog, int, 0644);
MODULE_PARM_DESC(backlog, "requests that were put aside so far");

/* a request that somebody asked for */
struct flaky_job {
	struct delayed_work work;
	struct list_head held;
	void *outer;
	bool aside;
	int (*run)(void *outer);
	void (*complete)(void *outer, int err);
};

static DEFINE_SPINLOCK(flaky_lock);	/* for the two below */
static LIST_HEAD(flaky_jobs);
static bool flaky_hold;

static int flaky_set_hold(const char *val, const struct kernel_param *param)
{
	struct flaky_job *job, *next;
	int err;

	spin_lock_bh(&flaky_lock);
	err = param_set_bool(val, param);
	if (!err && !flaky_hold) {
		list_for_each_entry_safe(job, next, &flaky_jobs, held) {
			list_del(&job->held);
			schedule_delayed_work(&job->work, 0);
		}
	}
	spin_unlock_bh(&flaky_lock);
	return err;
}

static const struct kernel_param_ops flaky_hold_ops = {
	.set	= flaky_set_hold,
	.get	= param_get_bool,
};
module_param_cb(hold, &flaky_hold_ops, &flaky_hold, 0644);
MODULE_PARM_DESC(hold, "requests that nobody sleeps for are held until this is no longer so");

static bool flaky_held(struct flaky_job *job, u32 flags)
{
	bool hold;

	spin_lock_bh(&flaky_lock);
	hold = flaky_hold && !(flags & CRYPTO_TFM_REQ_MAY_SLEEP);
	if (hold)
		list_add_tail(&job->held, &flaky_jobs);
	spin_unlock_bh(&flaky_lock);
	return hold;
}

static void flaky_work(struct work_struct *work)
{
	struct flaky_job *job = container_of(to_delayed_work(work), struct flaky_job, work);
	int err = -READ_ONCE(flaky_late_error);

	local_bh_disable();
	if (job->aside)
		job->complete(job->outer, -EINPROGRESS);
	if (!err)
		err = job->run(job->outer);
	job->complete(job->outer, err);
	local_bh_enable();
}

static int flaky_take(struct flaky_job *job, void *outer, u32 flags, int (*run)(void *outer),
		      void (*complete)(void *outer, int err))
{
	int error = READ_ONCE(flaky_error), late = READ_ONCE(flaky_late_ms);
	bool full = error && flaky_first-- <= 0;

	job->aside = full && error == EBUSY && flags & CRYPTO_TFM_REQ_MAY_BACKLOG;
	if (full && !job->aside)
		return -error;
	if (late < 0 && !job->aside && !READ_ONCE(flaky_hold))
		return run(outer);
	job->outer = outer;
	job->run = run;
	job->complete = complete;
	flaky_backlog += job->aside;
	INIT_DELAYED_WORK(&job->work, flaky_work);
	if (!flaky_held(job, flags))
		schedule_delayed_work(&job->work, msecs_to_jiffies(max(late, 0)));
	return full ? -EBUSY : -EINPROGRESS;
}

/* -- ciphers for ESP */

struct flaky_ctx {
	struct crypto_aead *inner;
};

struct flaky_request {
	struct flaky_job job;
	struct aead_request inner;	/* the inner cipher's own part follows */
};

static struct aead_request *flaky_inner(struct aead_request *req)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(crypto_aead_reqtfm(req));
	struct flaky_request *flaky = aead_request_ctx(req);

	aead_request_set_tfm(&flaky->inner, ctx->inner);
	aead_request_set_callback(&flaky->inner, 0, NULL, NULL);
	aead_request_set_crypt(&flaky->inner, req->src, req->dst, req->cryptlen, req->iv);
	aead_request_set_ad(&flaky->inner, req->assoclen);
	return &flaky->inner;
}

static int flaky_encrypt_now(void *outer)
{
	return crypto_aead_encrypt(flaky_inner(outer));
}

static int flaky_decrypt_now(void *outer)
{
	return crypto_aead_decrypt(flaky_inner(outer));
}

static void flaky_aead_complete(void *outer, int err)
{
	aead_request_complete(outer, err);
}

static int flaky_encrypt(struct aead_request *req)
{
	struct flaky_request *flaky = aead_request_ctx(req);

	return flaky_take(&flaky->job, req, aead_request_flags(req), flaky_encrypt_now,
			  flaky_aead_complete);
}

static int flaky_decrypt(struct aead_request *req)
{
	struct flaky_request *flaky = aead_request_ctx(req);

	return flaky_take(&flaky->job, req, aead_request_flags(req), flaky_decrypt_now,
			  flaky_aead_complete);
}

static int flaky_setkey(struct crypto_aead *tfm, const u8 *key, unsigned int keylen)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(tfm);

	return crypto_aead_setkey(ctx->inner, key, keylen);
}

static int flaky_setauthsize(struct crypto_aead *tfm, unsigned int authsize)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(tfm);

	return crypto_aead_setauthsize(ctx->inner, authsize);
}

static int flaky_init(struct crypto_aead *tfm)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(tfm);

	/* not itself, which is asynchronous */
	ctx->inner = crypto_alloc_aead(crypto_tfm_alg_name(crypto_aead_tfm(tfm)), 0,
				       CRYPTO_ALG_ASYNC);
	if (IS_ERR(ctx->inner))
		return PTR_ERR(ctx->inner);
	crypto_aead_set_reqsize(tfm, sizeof(struct flaky_request) +
				crypto_aead_reqsize(ctx->inner));
	return 0;
}

static void flaky_exit(struct crypto_aead *tfm)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(tfm);

	crypto_free_aead(ctx->inner);
}

#define FLAKY_AEAD(name, driver, iv, icv, block) {			\
	.init		= flaky_init,					\
	.exit		= flaky_exit,					\
	.setkey		= flaky_setkey,					\
	.setauthsize	= flaky_setauthsize,				\
	.encrypt	= flaky_encrypt,				\
	.decrypt	= flaky_decrypt,				\
	.ivsize		= iv,						\
	.maxauthsize	= icv,						\
	.base = {							\
		.cra_name		= name,				\
		.cra_driver_name	= driver,			\
		.cra_priority		= 100001,			\
		.cra_flags		= CRYPTO_ALG_ASYNC,		\
		.cra_blocksize		= block,			\
		.cra_ctxsize		= sizeof(struct flaky_ctx),	\
		.cra_module		= THIS_MODULE,			\
	},								\
}

static struct aead_alg flaky_algs[] = {
	FLAKY_AEAD("rfc4106(gcm(aes))", "flaky-rfc4106-gcm-aes", 8, 16, 1),
	FLAKY_AEAD("authencesn(hmac(sha256),cbc(aes))", "flaky-authencesn-hmac-sha256-cbc-aes",
		   AES_BLOCK_SIZE, SHA256_DIGEST_SIZE, AES_BLOCK_SIZE),
};

/* -- HMAC-SHA-256 */

struct flaky_hash_ctx {
	struct crypto_ahash *inner;
};

struct flaky_hash_request {
	struct flaky_job job;
	struct ahash_request inner;	/* the inner hash's own part follows */
};

static struct ahash_request *flaky_hash_inner(struct ahash_request *req)
{
	struct flaky_hash_ctx *ctx = crypto_ahash_ctx(crypto_ahash_reqtfm(req));
	struct flaky_hash_request *flaky = ahash_request_ctx(req);

	ahash_request_set_tfm(&flaky->inner, ctx->inner);
	ahash_request_set_callback(&flaky->inner, 0, NULL, NULL);
	ahash_request_set_crypt(&flaky->inner, req->src, req->result, req->nbytes);
	return &flaky->inner;
}

static int flaky_hash_start(struct ahash_request *req)
{
	return crypto_ahash_init(flaky_hash_inner(req));
}

static int flaky_hash_update(struct ahash_request *req)
{
	return crypto_ahash_update(flaky_hash_inner(req));
}

static int flaky_hash_final(struct ahash_request *req)
{
	return crypto_ahash_final(flaky_hash_inner(req));
}

static int flaky_hash_finup(struct ahash_request *req)
{
	return crypto_ahash_finup(flaky_hash_inner(req));
}

static int flaky_hash_export(struct ahash_request *req, void *out)
{
	return crypto_ahash_export(flaky_hash_inner(req), out);
}

static int flaky_hash_import(struct ahash_request *req, const void *in)
{
	return crypto_ahash_import(flaky_hash_inner(req), in);
}

static int flaky_digest_now(void *outer)
{
	return crypto_ahash_digest(flaky_hash_inner(outer));
}

static void flaky_hash_complete(void *outer, int err)
{
	ahash_request_complete(outer, err);
}

static int flaky_hash_digest(struct ahash_request *req)
{
	struct flaky_hash_request *flaky = ahash_request_ctx(req);

	return flaky_take(&flaky->job, req, ahash_request_flags(req), flaky_digest_now,
			  flaky_hash_complete);
}

static int flaky_hash_setkey(struct crypto_ahash *tfm, const u8 *key, unsigned int keylen)
{
	struct flaky_hash_ctx *ctx = crypto_ahash_ctx(tfm);

	return crypto_ahash_setkey(ctx->inner, key, keylen);
}

static int flaky_hash_init(struct crypto_ahash *tfm)
{
	struct flaky_hash_ctx *ctx = crypto_ahash_ctx(tfm);

	ctx->inner = crypto_alloc_ahash(FLAKY_HASH, 0, CRYPTO_ALG_ASYNC);
	if (IS_ERR(ctx->inner))
		return PTR_ERR(ctx->inner);
	crypto_ahash_set_reqsize(tfm, sizeof(struct flaky_hash_request) +
				 crypto_ahash_reqsize(ctx->inner));
	return 0;
}

static void flaky_hash_exit(struct crypto_ahash *tfm)
{
	struct flaky_hash_ctx *ctx = crypto_ahash_ctx(tfm);

	crypto_free_ahash(ctx->inner);
}

static struct ahash_alg flaky_hash_alg = {
	.init_tfm	= flaky_hash_init,
	.exit_tfm	= flaky_hash_exit,
	.init		= flaky_hash_start,
	.update		= flaky_hash_update,
	.final		= flaky_hash_final,
	.finup		= flaky_hash_finup,
	.digest		= flaky_hash_digest,
	.export		= flaky_hash_export,
	.import		= flaky_hash_import,
	.setkey		= flaky_hash_setkey,
	.halg = {
		.digestsize	= SHA256_DIGEST_SIZE,
		.statesize	= sizeof(struct sha256_state),
		.base = {
			.cra_name		= FLAKY_HASH,
			.cra_driver_name	= "flaky-hmac-sha256",
			.cra_priority		= 100001,
			.cra_flags		= CRYPTO_ALG_ASYNC,
			.cra_blocksize		= SHA256_BLOCK_SIZE,
			.cra_ctxsize		= sizeof(struct flaky_hash_ctx),
			.cra_module		= THIS_MODULE,
		},
	},
};

static int __init flaky_module_init(void)
{
	int err = crypto_register_aeads(flaky_algs, ARRAY_SIZE(flaky_algs));

	if (err)
		return err;
	err = crypto_register_ahash(&flaky_hash_alg);
	if (err)
		crypto_unregister_aeads(flaky_algs, ARRAY_SIZE(flaky_algs));
	return err;
}

static void __exit flaky_module_exit(void)
{
	crypto_unregister_ahash(&flaky_hash_alg);
	crypto_unregister_aeads(flaky_algs, ARRAY_SIZE(flaky_algs));
}

module_init(flaky_module_init);
module_exit(flaky_module_exit);
MODULE_DESCRIPTION("AES-GCM, AES-CBC and HMAC-SHA-256 that fail on demand, for tests");
MODULE_LICENSE("GPL");
