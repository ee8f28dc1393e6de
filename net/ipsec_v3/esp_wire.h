/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ESP on the wire: lengths, trailer and AAD as arithmetic on octets
 *
 * Pure code: it knows no packet buffer, no lock and no allocator, and is
 * compiled into the module, the unit tests and user-space fuzzers alike.
 *
 *	 0                   1                   2                   3
 *	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *	+---------------------------------------------------------------+
 *	|                              SPI                              | ^
 *	+---------------------------------------------------------------+ |
 *	|               sequence number, low 32 bits                    | |
 *	+---------------------------------------------------------------+ |
 *	|                  IV (size of the algorithm)                   | | integrity
 *	+---------------------------------------------------------------+ |
 *	|                            payload                            | | ^
 *	+ - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - + | |
 *	|              TFC padding (tfc octets of zero)                 | | | encrypted
 *	+ - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - + | |
 *	|   padding (pad octets: 1, 2, 3 ...)  | pad length|next header | v v
 *	+---------------------------------------------------------------+
 *	|              ICV (icv octets, none without integrity)         |
 *	+---------------------------------------------------------------+
 *
 * The high 32 bits of an extended sequence number are never sent; they are
 * part of the AAD of a combined mode or hashed after the next header field
 * (RFC 4303 2.2.1).
 */
#ifndef _IPSEC_V3_ESP_WIRE_H
#define _IPSEC_V3_ESP_WIRE_H

#include <linux/errno.h>
#include <linux/string.h>
#include <linux/types.h>

#define ESP_WIRE_HEADER_LEN	8	/* SPI and sequence number */
#define ESP_WIRE_TRAILER_LEN	2	/* pad length and next header */
#define ESP_WIRE_AAD_MAX	12	/* SPI and a 64-bit sequence number */
#define ESP_WIRE_MAX		65535	/* no IP datagram carries more */

/**
 * struct esp_plan - the lengths of one outgoing ESP packet, in octets
 * @tfc: traffic flow confidentiality padding, directly behind the payload
 * @pad: padding, without the pad length and next header octets
 * @tail: what is appended to the payload: @tfc, @pad, trailer and ICV
 */
struct esp_plan {
	unsigned int tfc;
	unsigned int pad;
	unsigned int tail;
};

/**
 * struct esp_trailer - the last two octets of the plaintext
 * @pad_length: number of padding octets in front of the trailer
 * @next_header: protocol of the payload, 59 for a dummy packet
 */
struct esp_trailer {
	u8 pad_length;
	u8 next_header;
};

static inline void esp_wire_put32(u8 *to, u32 value)
{
	to[0] = value >> 24;
	to[1] = (value >> 16) & 0xff;
	to[2] = (value >> 8) & 0xff;
	to[3] = value & 0xff;
}

/**
 * esp_wire_plan() - compute the lengths of an ESP packet
 * @p: where the plan goes; untouched on failure
 * @payload: length of what ESP protects, in octets
 * @tfc: wanted length of the TFC padding, in octets
 * @align: block size of the cipher, a power of two between 4 and 256
 * @icv: length of the ICV, in octets
 *
 * The padding is the smallest that ends the trailer on a multiple of @align;
 * the 4-octet alignment of the ICV (RFC 4303 2.4) follows from @align >= 4.
 *
 * Context: any.
 * Return: 0, or -EMSGSIZE when ESP header, ciphertext and ICV are together
 * larger than any IP datagram can be.
 */
static inline int esp_wire_plan(struct esp_plan *p, unsigned int payload,
				unsigned int tfc, unsigned int align,
				unsigned int icv)
{
	unsigned int plain, pad;

	if (payload > ESP_WIRE_MAX || tfc > ESP_WIRE_MAX || icv > ESP_WIRE_MAX)
		return -EMSGSIZE;

	plain = payload + tfc + ESP_WIRE_TRAILER_LEN;
	pad = -plain & (align - 1);
	if (ESP_WIRE_HEADER_LEN + plain + pad + icv > ESP_WIRE_MAX)
		return -EMSGSIZE;

	p->tfc = tfc;
	p->pad = pad;
	p->tail = tfc + pad + ESP_WIRE_TRAILER_LEN + icv;
	return 0;
}

/**
 * esp_wire_trailer_write() - write what follows the payload, up to the ICV
 * @tail: first octet behind the payload; all of @p->tail but the ICV is written
 * @p: the plan of this packet
 * @next_header: protocol of the payload
 *
 * TFC octets are zero, so that nothing leaks; padding is 1, 2, 3 ... as
 * RFC 4303 2.4 asks of every algorithm that names no padding of its own.
 *
 * Context: any.
 */
static inline void esp_wire_trailer_write(u8 *tail, const struct esp_plan *p,
					  u8 next_header)
{
	unsigned int i;

	if (p->tfc)
		memset(tail, 0, p->tfc);
	tail += p->tfc;
	for (i = 0; i < p->pad; i++)
		tail[i] = i + 1;
	tail[p->pad] = p->pad;
	tail[p->pad + 1] = next_header;
}

/**
 * esp_wire_trailer_check() - look at the padding of a decrypted packet
 * @pad: first octet of the padding
 * @pad_length: number of padding octets; all of them must be readable
 *
 * Context: any.
 * Return: 0, or -EINVAL when the octets are not 1, 2, 3 ... (RFC 4303 2.4).
 */
static inline int esp_wire_trailer_check(const u8 *pad, unsigned int pad_length)
{
	unsigned int i;

	for (i = 0; i < pad_length; i++)
		if (pad[i] != (u8)(i + 1))
			return -EINVAL;
	return 0;
}

/**
 * esp_wire_aad() - write the additional authenticated data of a combined mode
 * @aad: 12 octets
 * @spi: SPI of the SA
 * @seq: sequence number, all 64 bits
 * @esn: extended sequence numbers are in use
 *
 * SPI and sequence number (RFC 4106 5); the 64-bit number is written high half
 * first, as it would stand in the packet if it were sent (RFC 4303 2.2.1).
 *
 * Context: any.
 * Return: octets written, 8 without ESN and 12 with it.
 */
static inline unsigned int esp_wire_aad(u8 *aad, __be32 spi, u64 seq, bool esn)
{
	unsigned int len = sizeof(spi);

	memcpy(aad, &spi, sizeof(spi));
	if (esn) {
		esp_wire_put32(aad + len, seq >> 32);
		len += 4;
	}
	esp_wire_put32(aad + len, seq & 0xffffffff);
	return len + 4;
}

#endif /* _IPSEC_V3_ESP_WIRE_H */
