/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IPSEC_V3_CRYPT_H
#define _IPSEC_V3_CRYPT_H

#include "esp_wire.h"
#include "ipsec.h"

/**
 * struct ipsec_req - one packet on its way through the crypto API
 * @sa: the SA; the packet holds the reference (secpath or dst)
 * @skb: the packet, ours until the request is done
 * @stash: RX: untouched copy for a second try, or NULL
 * @done: called when the crypto API finishes the request later; puts it
 * @wait: set while ipsec_req_wait() runs the request, NULL otherwise
 * @seq: full sequence number
 * @len: ESP: bytes of ciphertext and ICV; AH: bytes that are hashed
 * @cached: this request goes back to the per-CPU cache
 * @tail: the high half of the sequence number behind AH's payload
 * @sg: what the transform works on
 * @scratch: AH: the headers as they are sent
 * @icv: AH: the computed ICV
 * @iv: ESP: the cipher's working copy of the IV
 * @aad: ESP with ESN: SPI, sequence number and IV
 * @esp_sg: ESP: an entry that is always @aad, and the last one, for the packet
 *
 * Behind the struct lie the transform's request, and for AH the scatterlist and the
 * scratch; only crypt.c knows how.
 */
struct ipsec_req {
	struct ipsec_sa		*sa;
	struct sk_buff		*skb;
	struct sk_buff		*stash;
	void			(*done)(struct ipsec_req *req, int err);
	struct crypto_wait	*wait;
	u64			seq;
	unsigned int		len;
	bool			cached;
	__be32			tail;
	struct scatterlist	*sg;
	u8			*scratch;
	union {
		u8		icv[IPSEC_ICV_MAX] __aligned(8);
		u8		iv[IPSEC_IV_MAX];
	};
	u8			aad[ESP_WIRE_AAD_MAX + IPSEC_IV_MAX];
	struct scatterlist	esp_sg[2];
};

unsigned int ipsec_req_size(unsigned int reqsize);
struct ipsec_req *ipsec_req_get(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq);
struct ipsec_req *ipsec_req_get_table(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq,
				      unsigned int nsg, unsigned int scratch);
void ipsec_req_put(struct ipsec_req *req);
int ipsec_req_map_table(struct ipsec_req *req, unsigned int len);

int ipsec_req_encrypt(struct ipsec_req *req);
int ipsec_req_decrypt(struct ipsec_req *req);
int ipsec_req_digest(struct ipsec_req *req);
int ipsec_req_wait(struct ipsec_req *req, int (*run)(struct ipsec_req *req));

void ipsec_crypt_teardown(void);

#endif
