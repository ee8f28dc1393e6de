// SPDX-License-Identifier: GPL-2.0-only
/*
 * net/ipsec_v3/ah_canon.c against the tables of RFC 4302 3.3.3.1 and appendix A.
 *
 * The model first reads the header into a list of its parts, then fills in the
 * canonical form octet by octet, and lets a routing header travel (RFC 2460 4.4)
 * instead of computing where it arrives. Input: kind, then the header.
 */
#include "../../../net/ipsec_v3/ah_canon.c"
#include "fuzz.h"

#define PARTS	600

enum rule { KEEP, ZERO };

struct field {
	unsigned int at, len;
	enum rule rule;
};

/* RFC 4302 3.3.3.1.1.1 */
static const struct field ipv4_fields[] = {
	{ 0, 1, KEEP },		/* version, header length */
	{ 1, 1, ZERO },		/* DSCP, ECN */
	{ 2, 2, KEEP },		/* total length */
	{ 4, 2, KEEP },		/* identification */
	{ 6, 2, ZERO },		/* flags, fragment offset */
	{ 8, 1, ZERO },		/* time to live */
	{ 9, 1, KEEP },		/* protocol: see model_ipv4() */
	{ 10, 2, ZERO },	/* header checksum */
	{ 12, 4, KEEP },	/* source */
	{ 16, 4, KEEP },	/* destination: see model_ipv4() */
};

/* RFC 4302 A1: those that are immutable; all others are zeroed */
static const u8 ipv4_immutable[] = { 0, 1, 130, 133, 134, 148, 149 };

/* RFC 4302 3.3.3.1.2.1 */
static const struct field ipv6_fields[] = {
	{ 1, 3, ZERO },		/* rest of the traffic class, flow label */
	{ 4, 2, KEEP },		/* payload length */
	{ 6, 1, KEEP },		/* next header */
	{ 7, 1, ZERO },		/* hop limit */
	{ 8, 16, KEEP },	/* source */
	{ 24, 16, KEEP },	/* destination */
};

/* An option or an extension header */
struct part {
	unsigned int at, len;
	u8 type;
};

static void apply(u8 *out, const u8 *in, const struct field *field)
{
	unsigned int i;

	for (i = 0; i < field->len; i++)
		out[field->at + i] = field->rule == KEEP ? in[field->at + i] : 0;
}

/* RFC 791 3.1: parts of the options, -1 when one does not fit */
static int ipv4_parts(const u8 *in, unsigned int len, struct part *parts)
{
	unsigned int at = 20, size;
	int n = 0;

	while (at < len) {
		if (in[at] == 0) {		/* end: the rest is one part */
			parts[n++] = (struct part){ at, len - at, 0 };
			return n;
		}
		size = 1;
		if (in[at] != 1) {
			if (at + 1 == len || in[at + 1] < 2 || at + in[at + 1] > len)
				return -1;
			size = in[at + 1];
		}
		parts[n++] = (struct part){ at, size, in[at] };
		at += size;
	}
	return n;
}

static bool is_source_route(u8 type)
{
	return type == 131 || type == 137;
}

static int model_ipv4(u8 *out, const u8 *in, unsigned int len, bool outbound)
{
	struct part parts[PARTS];
	int n, i;

	if (len < 20 || in[0] / 16 != 4 || in[0] % 16 * 4 != len)
		return -EINVAL;
	n = ipv4_parts(in, len, parts);
	if (n < 0)
		return -EINVAL;
	for (i = 0; i < (int)ARRAY_SIZE(ipv4_fields); i++)
		apply(out, in, &ipv4_fields[i]);
	out[9] = 51;
	for (i = 0; i < n; i++) {
		const u8 *option = in + parts[i].at;
		struct field field = { parts[i].at, parts[i].len, ZERO };

		if (memchr(ipv4_immutable, parts[i].type, sizeof(ipv4_immutable)))
			field.rule = KEEP;
		apply(out, in, &field);
		if (!is_source_route(parts[i].type))
			continue;
		if (parts[i].len < 7)		/* no address in it: refused */
			return -EINVAL;
		/* the pointer is not behind the route: it has still to be travelled */
		if (outbound && option[2] <= parts[i].len)
			memcpy(out + 16, option + parts[i].len - 4, 4);
	}
	return 0;
}

/* The chain of extension headers, -1 when it does not end at len */
static int ipv6_parts(const u8 *in, unsigned int len, struct part *parts)
{
	unsigned int at = 40;
	u8 type = in[6];
	int n = 0;

	while (at != len) {
		if (at + 8 > len || at + 8 + in[at + 1] * 8 > len)
			return -1;
		parts[n++] = (struct part){ at, 8 + in[at + 1] * 8, type };
		type = in[at];
		at += parts[n - 1].len;
	}
	return n;
}

/* RFC 8200 4.2 */
static int model_options(u8 *out, const struct part *part, bool exchange)
{
	unsigned int at = part->at + 2, end = part->at + part->len, i;

	while (at < end) {
		if (out[at] == 0) {
			at++;
			continue;
		}
		if (at + 2 > end || at + 2 + out[at + 1] > end)
			return -EINVAL;
		if (out[at] / 32 % 2)		/* third bit: may change en route */
			memset(out + at + 2, 0, out[at + 1]);
		if (out[at] == 201 && exchange) {
			if (out[at + 1] != 16)
				return -EINVAL;
			for (i = 0; i < 16; i++) {
				u8 octet = out[at + 2 + i];

				out[at + 2 + i] = out[8 + i];
				out[8 + i] = octet;
			}
		}
		at += 2 + out[at + 1];
	}
	return 0;
}

/* RFC 2460 4.4: what each router on the list does, until nobody is left */
static int model_route(u8 *out, const struct part *part)
{
	u8 *header = out + part->at, *address, octet;
	unsigned int n = header[1] / 2, i;

	if (!header[3])
		return 0;
	if ((header[2] != 0 && header[2] != 2) || header[1] % 2 || header[3] > n)
		return -EINVAL;
	while (header[3]) {
		header[3]--;
		address = header + 8 + (n - header[3] - 1) * 16;
		for (i = 0; i < 16; i++) {
			octet = address[i];
			address[i] = out[24 + i];
			out[24 + i] = octet;
		}
	}
	return 0;
}

static int model_extension(u8 *out, const struct part *part, bool outbound)
{
	if (part->type == 0)
		return model_options(out, part, false);
	if (part->type == 60)
		return model_options(out, part, outbound);
	if (part->type == 43)
		return model_route(out, part);
	return -EINVAL;
}

static int model_ipv6(u8 *out, const u8 *in, unsigned int len, bool outbound)
{
	struct part parts[PARTS];
	int n, i;

	if (len < 40 || in[0] / 16 != 6)
		return -EINVAL;
	n = ipv6_parts(in, len, parts);
	if (n < 0)
		return -EINVAL;
	memcpy(out, in, len);
	out[0] = 0x60;
	for (i = 0; i < (int)ARRAY_SIZE(ipv6_fields); i++)
		apply(out, in, &ipv6_fields[i]);
	for (i = 0; i < n; i++)
		if (model_extension(out, &parts[i], outbound))
			return -EINVAL;
	/* the last next header field names AH */
	out[n ? parts[n - 1].at : 6] = 51;
	return 0;
}

static void compare(const u8 *data, size_t len, bool v6, bool outbound)
{
	u8 *code = exact_copy(data, len), *model = exact_copy(data, len);
	int err, want;

	err = v6 ? ah_canon_ipv6(code, len, outbound) : ah_canon_ipv4(code, len, outbound);
	want = v6 ? model_ipv6(model, data, len, outbound) :
		    model_ipv4(model, data, len, outbound);
	if (err != want || (!err && memcmp(code, model, len))) {
		print_octets("header", data, len);
		print_octets("code", code, len);
		print_octets("model", model, len);
		differs("%s, %s: code %d, model %d", v6 ? "IPv6" : "IPv4",
			outbound ? "out" : "in", err, want);
	}
	free(code);
	free(model);
}

/*
 * kind: 1 IPv6, 2 outbound, 4 version and length of the header as they should be
 */
int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	u8 kind, *header;
	bool v6;

	if (!len)
		return 0;
	kind = *data++;
	len--;
	v6 = kind & 1;
	if (len > (v6 ? 2048 : 64))
		len = v6 ? 2048 : 64;
	if (kind & 4)
		len -= len % (v6 ? 8 : 4);
	header = exact_copy(data, len);
	if (kind & 4 && len)
		header[0] = v6 ? 0x60 | header[0] % 16 : 0x40 | len / 4 % 16;
	compare(header, len, v6, kind & 2);
	free(header);
	return 0;
}
