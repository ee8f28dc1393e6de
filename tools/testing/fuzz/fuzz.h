/* SPDX-License-Identifier: GPL-2.0-only */
/* What the targets share: reading the input, and saying what differs. */
#ifndef _FUZZ_H
#define _FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/errno.h>
#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof(*(array)))

/* The rest of the input; reading beyond its end gives zeros. */
struct input {
	const u8 *data;
	size_t left;
};

static inline u8 input_u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

static inline u32 input_u32(struct input *in)
{
	u32 value = 0;
	int i;

	for (i = 0; i < 4; i++)
		value = value << 8 | input_u8(in);
	return value;
}

/* A copy of its own, so that the sanitizer sees each octet beyond its end. */
static inline u8 *exact_copy(const u8 *data, size_t len)
{
	u8 *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	return copy;
}

static inline void print_octets(const char *name, const u8 *data, size_t len)
{
	size_t i;

	fprintf(stderr, "  %-6s", name);
	for (i = 0; i < len; i++)
		fprintf(stderr, "%s%02x", i % 4 ? "" : " ", data[i]);
	fprintf(stderr, "\n");
}

#define differs(...)							\
	do {								\
		fprintf(stderr, "MODEL AND CODE DIFFER: " __VA_ARGS__);	\
		fprintf(stderr, "\n");					\
		abort();						\
	} while (0)

#define same(code, model, what)						\
	do {								\
		unsigned long long c_ = (code), m_ = (model);		\
									\
		if (c_ != m_)						\
			differs("%s: code %#llx, model %#llx", what, c_, m_); \
	} while (0)

int LLVMFuzzerTestOneInput(const u8 *data, size_t len);

#endif
