// SPDX-License-Identifier: GPL-2.0-only
/*
 * net/ipsec_v3/esp_wire.h against RFC 4303's figure 1, counted octet by octet.
 *
 * Input: how the rest is read and block size, ICV, next header, TFC (4), payload (4
 * octets, or 1 that says how far from the largest), SPI and number (4 each, and the
 * high half), then octets taken for a received padding.
 */
#include "fuzz.h"
#include "../../../net/ipsec_v3/esp_wire.h"

struct wish {
	u32 payload;
	u32 tfc;
	u32 align;
	u32 icv;
};

/* Adds padding octets until the ciphertext ends where it may (2.4). */
static bool model_plan(const struct wish *wish, struct esp_plan *p)
{
	unsigned long long plain = (unsigned long long)wish->payload + wish->tfc;
	unsigned int pad = 0;

	if (wish->payload > 65535 || wish->tfc > 65535 || wish->icv > 65535)
		return false;
	while ((plain + pad + 2) % wish->align)
		pad++;
	if (8 + plain + pad + 2 + wish->icv > 65535)
		return false;
	p->tfc = wish->tfc;
	p->pad = pad;
	p->tail = wish->tfc + pad + 2 + wish->icv;
	return true;
}

static bool compare_plan(const struct wish *wish, struct esp_plan *p)
{
	struct esp_plan want = { 7, 7, 7 };
	bool fits = model_plan(wish, &want);

	*p = (struct esp_plan){ 7, 7, 7 };
	same(esp_wire_plan(p, wish->payload, wish->tfc, wish->align, wish->icv),
	     fits ? 0 : -EMSGSIZE, "plan");
	same(p->tfc, want.tfc, "TFC");
	same(p->pad, want.pad, "padding");
	same(p->tail, want.tail, "length of the tail");
	return fits;
}

static void compare_trailer(const struct esp_plan *p, u32 icv, u8 next_header)
{
	size_t len = p->tail - icv, i, at = p->tfc;
	u8 *tail = malloc(len);

	memset(tail, 0x55, len);
	esp_wire_trailer_write(tail, p, next_header);
	for (i = 0; i < p->tfc; i++)
		same(tail[i], 0, "TFC octet");
	for (i = 1; i <= p->pad; i++)
		same(tail[at++], i, "padding octet");
	same(tail[at++], p->pad, "pad length");
	same(tail[at++], next_header, "next header");
	same(at, len, "length of the trailer");
	same(esp_wire_trailer_check(tail + p->tfc, tail[at - 2]), 0, "own padding");
	free(tail);
}

static void compare_aad(struct input *in)
{
	u32 spi = input_u32(in), high = input_u32(in), low = input_u32(in);
	u64 seq = (u64)high << 32 | low;
	u8 aad[ESP_WIRE_AAD_MAX], *want = aad;
	u32 words[2][3] = { { spi, low }, { spi, high, low } };
	__be32 wire = __builtin_bswap32(spi);
	unsigned int esn, i;

	for (esn = 0; esn < 2; esn++) {
		want = aad;
		same(esp_wire_aad(aad, wire, seq, esn), esn ? 12 : 8, "length of the AAD");
		for (i = 0; i < 2 + esn; i++, want += 4)
			same((u32)want[0] << 24 | want[1] << 16 | want[2] << 8 | want[3],
			     words[esn][i], "word of the AAD");
	}
}

/* What a peer sent as padding is right when it counts up from one. */
static void compare_padding(const u8 *data, size_t len)
{
	unsigned int size = len > 255 ? 255 : len, wrong = 0, i;
	u8 *pad = exact_copy(data, size);

	for (i = 0; i < size; i++)
		wrong += pad[i] != i + 1;
	same(esp_wire_trailer_check(pad, size), wrong ? -EINVAL : 0, "received padding");
	/* and with the octets in which it is wrong put right, one by one */
	for (i = 0; i < size && wrong; i++) {
		wrong -= pad[i] != i + 1;
		pad[i] = i + 1;
		same(esp_wire_trailer_check(pad, size), wrong ? -EINVAL : 0, "mended padding");
	}
	free(pad);
}

/* A few octets about the largest: chance alone does not come by there. */
static u32 near_limit(struct input *in, const struct wish *wish)
{
	return 65535 + 16 - wish->tfc - wish->icv - input_u8(in);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct input in = { data, len };
	struct wish wish;
	struct esp_plan p;
	u8 next_header, kind;

	kind = input_u8(&in);
	wish.align = 4u << (kind & 7) % 7;
	wish.icv = kind & 0x80 ? input_u32(&in) : input_u8(&in) % 65;
	next_header = input_u8(&in);
	wish.tfc = input_u32(&in) >> (kind & 0x20 ? 0 : 16);
	wish.payload = kind & 0x10 ? near_limit(&in, &wish) :
				     input_u32(&in) >> (kind & 0x40 ? 0 : 15);
	if (compare_plan(&wish, &p))
		compare_trailer(&p, wish.icv, next_header);
	compare_aad(&in);
	compare_padding(in.data, in.left);
	return 0;
}
