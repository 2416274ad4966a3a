/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The trailer for programs in C that recognize probes and read their footer. The format is specified in docs/trailer.md;
 * wire.rs has it for Rust, and writes it. All integers are in network byte order.
 */
#ifndef INSTAMP_TRAILER_H
#define INSTAMP_TRAILER_H

#include <linux/types.h>
#include <bpf/bpf_endian.h>

#define TRAILER_MIN_CAP 2

/* Section 2.1. */
struct trailer_record {
	__u8 place;	/* phase, point, hook */
	__u8 quality;	/* clock, bound */
	__be16 node;
	__u8 time_ns[8];
};

/* Of the place. */
#define TRAILER_HOOK 0xf

enum {
	TRAILER_TC_EGRESS = 1,
	TRAILER_APP_TX = 8,
};

enum {
	TRAILER_MONOTONIC = 1,
};

/* Section 2.2. */
struct trailer_footer {
	__u8 nonce[8];
	__be16 complement;
	__u8 counts;	/* used, cap */
	__u8 flags;
	__be32 magic_and_version;
};

_Static_assert(sizeof(struct trailer_record) == 12 && sizeof(struct trailer_footer) == 16, "docs/trailer.md, section 2");

static __always_inline __u32 trailer_used(const struct trailer_footer *footer)
{
	return footer->counts >> 4;
}

static __always_inline __u32 trailer_cap(const struct trailer_footer *footer)
{
	return footer->counts & 0xf;
}

/* Whether these bytes end a trailer that fits into an echo payload of this length: section 4, rules 5 to 7. */
static __always_inline int trailer_is_valid(const struct trailer_footer *footer, __u32 payload_length)
{
	__u32 used = trailer_used(footer), cap = trailer_cap(footer);

	return footer->magic_and_version == bpf_htonl(0x49535401) && payload_length % 2 == 0 &&
	       cap >= TRAILER_MIN_CAP && used <= cap &&
	       cap * sizeof(struct trailer_record) + sizeof(*footer) <= payload_length;
}

#endif
