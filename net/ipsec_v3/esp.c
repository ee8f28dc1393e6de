// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ESP authenticates and encrypts, the same in both directions (RFC 4303
 * 2.2.1, RFC 4106 5):
 *
 *	packet			{SPI | low half | IV | ciphertext | ICV}
 *
 *	req->aad, with ESN	{SPI | high half | low half | IV}
 *	packet, with ESN	{ciphertext | ICV}
 *
 * The high half is never sent, so with ESN the AAD is a copy of its own; the
 * header in the packet stays as it is.
 */
#include <linux/unaligned.h>

#include "esp.h"
#include "esp_wire.h"

/* of 0, 8 or 16 bytes: sa->ivlen is nothing else */
static void esp_iv_copy(u8 *to, const u8 *from, unsigned int len)
{
	if (likely(len))
		put_unaligned(get_unaligned((const u64 *)from), (u64 *)to);
	if (len > sizeof(u64))
		put_unaligned(get_unaligned((const u64 *)from + 1), (u64 *)to + 1);
}

/**
 * ipsec_esp_map() - map a packet whose ESP header and IV are written
 * @req: from ipsec_req_get(), for a packet in one piece that is ours
 * @esp: the ESP header
 * @len: bytes of ciphertext and ICV behind header and IV
 */
void ipsec_esp_map(struct ipsec_req *req, const struct ip_esp_hdr *esp, unsigned int len)
{
	struct scatterlist *aad = &req->esp_sg[0], *packet = &req->esp_sg[1];
	const struct ipsec_sa *sa = req->sa;

	req->len = len;
	esp_iv_copy(req->iv, esp->enc_data, sa->ivlen);
	if (!sa->esn) {
		sg_set_buf(packet, esp, sa->hdrlen + len);
		req->sg = packet;
		return;
	}
	esp_wire_aad(req->aad, esp->spi, req->seq, true);
	esp_iv_copy(req->aad + sa->aadlen, esp->enc_data, sa->ivlen);
	aad->length = sa->aadlen + sa->ivlen;
	sg_set_buf(packet, (u8 *)esp + sa->hdrlen, len);
	req->sg = aad;
}
