// SPDX-License-Identifier: GPL-2.0-only
/*
 * What ESP authenticates and encrypts, the same in both directions (RFC 4303
 * 2.2.1, RFC 4106 5):
 *
 *	packet			{SPI | low half | IV | ciphertext | ICV}
 *
 *	scratch, with ESN	{SPI | high half | low half | IV}
 *	packet, with ESN	{ciphertext | ICV}
 *
 * The high half is never sent, so with ESN the AAD is a copy of its own; the
 * header in the packet stays as it is.
 */
#include "esp.h"
#include "esp_wire.h"

/**
 * ipsec_esp_req() - a request for an ESP packet
 * @sa: the SA
 * @skb: the packet, linear and ours
 * @seq: its sequence number
 *
 * Context: does not sleep.
 * Return: the request, or NULL without memory.
 */
struct ipsec_req *ipsec_esp_req(struct ipsec_sa *sa, struct sk_buff *skb, u64 seq)
{
	return sa->esn ? ipsec_req_get(sa, skb, seq, 2, sa->aadlen + sa->ivlen) :
			 ipsec_req_get(sa, skb, seq, 1, 0);
}

/**
 * ipsec_esp_map() - map a packet whose ESP header and IV are written
 * @req: from ipsec_esp_req()
 * @esp: the ESP header
 * @len: bytes of ciphertext and ICV behind header and IV
 */
void ipsec_esp_map(struct ipsec_req *req, const struct ip_esp_hdr *esp, unsigned int len)
{
	const struct ipsec_sa *sa = req->sa;
	unsigned int at = (u8 *)esp - req->skb->data;
	unsigned int aadlen;

	/* the cipher's working copy, which it may overwrite */
	memcpy(req->icv, esp->enc_data, sa->ivlen);
	if (!sa->esn) {
		ipsec_req_map(req, at, sa->hdrlen + len);
		return;
	}
	aadlen = esp_wire_aad(req->scratch, esp->spi, req->seq, true);
	memcpy(req->scratch + aadlen, esp->enc_data, sa->ivlen);
	ipsec_req_map_scratch(req, aadlen + sa->ivlen);
	ipsec_req_map(req, at + sa->hdrlen, len);
}
