// SPDX-License-Identifier: GPL-2.0-only
/*
 * A cipher that fails on demand: AES-GCM for ESP, by way of the best synchronous
 * one, but with the answers that its module parameters ask for. While it is loaded
 * it is the one that an SA gets.
 */
#include <crypto/internal/aead.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define FLAKY_NAME	"rfc4106(gcm(aes))"

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

struct flaky_ctx {
	struct crypto_aead *inner;
};

struct flaky_request {
	struct delayed_work work;
	struct aead_request *outer;
	int (*run)(struct aead_request *req);
	struct aead_request inner;	/* the inner cipher's own part follows */
};

static int flaky_do(struct aead_request *req)
{
	struct flaky_ctx *ctx = crypto_aead_ctx(crypto_aead_reqtfm(req));
	struct flaky_request *flaky = aead_request_ctx(req);

	aead_request_set_tfm(&flaky->inner, ctx->inner);
	aead_request_set_callback(&flaky->inner, 0, NULL, NULL);
	aead_request_set_crypt(&flaky->inner, req->src, req->dst, req->cryptlen, req->iv);
	aead_request_set_ad(&flaky->inner, req->assoclen);
	return flaky->run(&flaky->inner);
}

static void flaky_work(struct work_struct *work)
{
	struct flaky_request *flaky = container_of(to_delayed_work(work),
						   struct flaky_request, work);
	int err = -READ_ONCE(flaky_late_error);

	local_bh_disable();
	if (!err)
		err = flaky_do(flaky->outer);
	aead_request_complete(flaky->outer, err);
	local_bh_enable();
}

static int flaky_take(struct aead_request *req, int (*run)(struct aead_request *req))
{
	struct flaky_request *flaky = aead_request_ctx(req);
	int error = READ_ONCE(flaky_error), late = READ_ONCE(flaky_late_ms);

	if (error && flaky_first-- <= 0)
		return -error;
	flaky->run = run;
	if (late < 0)
		return flaky_do(req);
	flaky->outer = req;
	INIT_DELAYED_WORK(&flaky->work, flaky_work);
	schedule_delayed_work(&flaky->work, msecs_to_jiffies(late));
	return -EINPROGRESS;
}

static int flaky_encrypt(struct aead_request *req)
{
	return flaky_take(req, crypto_aead_encrypt);
}

static int flaky_decrypt(struct aead_request *req)
{
	return flaky_take(req, crypto_aead_decrypt);
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
	ctx->inner = crypto_alloc_aead(FLAKY_NAME, 0, CRYPTO_ALG_ASYNC);
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

static struct aead_alg flaky_alg = {
	.init		= flaky_init,
	.exit		= flaky_exit,
	.setkey		= flaky_setkey,
	.setauthsize	= flaky_setauthsize,
	.encrypt	= flaky_encrypt,
	.decrypt	= flaky_decrypt,
	.ivsize		= 8,
	.maxauthsize	= 16,
	.base = {
		.cra_name		= FLAKY_NAME,
		.cra_driver_name	= "flaky-rfc4106-gcm-aes",
		.cra_priority		= 100001,
		.cra_flags		= CRYPTO_ALG_ASYNC,
		.cra_blocksize		= 1,
		.cra_ctxsize		= sizeof(struct flaky_ctx),
		.cra_module		= THIS_MODULE,
	},
};

static int __init flaky_module_init(void)
{
	return crypto_register_aead(&flaky_alg);
}

static void __exit flaky_module_exit(void)
{
	crypto_unregister_aead(&flaky_alg);
}

module_init(flaky_module_init);
module_exit(flaky_module_exit);
MODULE_DESCRIPTION("AES-GCM for ESP that fails on demand, for tests");
MODULE_LICENSE("GPL");
