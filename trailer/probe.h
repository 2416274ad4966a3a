/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes probes for programs in C: locate.rs has the same rules for Rust. Section 4 of docs/trailer.md, rules 1 to 7, behind the
 * link layer.
 *
 * Who includes this has defined
 *
 *	struct packet;
 *	static __always_inline int load(const struct packet *packet, __u32 offset, void *to, __u32 length);
 *
 * which copies bytes of the packet, and returns whether it could.
 */
#ifndef INSTAMP_PROBE_H
#define INSTAMP_PROBE_H

#include <linux/types.h>

#include "trailer.h"

/* An ICMP (RFC 792) or ICMPv6 (RFC 4443) echo message, by offsets in its packet. */
struct echo {
	__u32 start;
	__u32 end;
	__u8 is_request;
	__u8 number[4];	/* identifier and sequence number */
};

/* The header of an echo message. */
struct echo_header {
	__u8 type;
	__u8 code;
	__u8 checksum[2];
	__u8 number[4];
};

/* An IPv4 header without options and an echo header, or the beginning of an IPv6 header. */
struct ip_start {
	__u8 ip[20];
	struct echo_header echo;
};

enum {
	PROTOCOL_ICMP = 1,
	PROTOCOL_ICMPV6 = 58,
	IPV6_HEADER_LENGTH = 40,
	MAX_IPV6_EXTENSIONS = 6,
};

static __always_inline __u16 network_u16(const __u8 *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

static __always_inline int is_echo(const struct echo_header *header, __u8 request, __u8 reply, struct echo *echo)
{
	echo->is_request = header->type == request;
	__builtin_memcpy(echo->number, header->number, sizeof(echo->number));
	return (header->type == request || header->type == reply) && header->code == 0;
}

static __always_inline int find_echo_ipv4(const struct packet *packet, __u32 offset, const struct ip_start *start,
					  struct echo *echo)
{
	__u32 length = (start->ip[0] & 0xf) * 4;
	struct echo_header header = start->echo;

	/* The protocol; "more fragments" and the fragment offset. */
	if (start->ip[9] != PROTOCOL_ICMP || length < sizeof(start->ip) || network_u16(&start->ip[6]) & 0x3fff)
		return 0;
	echo->start = offset + length;
	echo->end = offset + network_u16(&start->ip[2]);
	if (length > sizeof(start->ip) && !load(packet, echo->start, &header, sizeof(header)))
		return 0;
	return is_echo(&header, 8, 0, echo);
}

/* Hop-by-hop, routing and destination options. */
static __always_inline int is_ipv6_extension(__u8 header)
{
	return header == 0 || header == 43 || header == 60;
}

static __always_inline int find_echo_ipv6(const struct packet *packet, __u32 offset, const struct ip_start *start,
					  struct echo *echo)
{
	struct echo_header header;
	__u8 next = start->ip[6];
	__u8 extension[2];

	if (next != PROTOCOL_ICMPV6 && !is_ipv6_extension(next))
		return 0;
	echo->start = offset + IPV6_HEADER_LENGTH;
	echo->end = echo->start + network_u16(&start->ip[4]);
	for (int skipped = 0; skipped < MAX_IPV6_EXTENSIONS && is_ipv6_extension(next); skipped++) {
		if (!load(packet, echo->start, extension, sizeof(extension)))
			return 0;
		next = extension[0];
		echo->start += (extension[1] + 1) * 8;
	}
	return next == PROTOCOL_ICMPV6 && load(packet, echo->start, &header, sizeof(header)) &&
	       is_echo(&header, 128, 129, echo);
}

/* Whether the IP packet at `offset` is an echo message, with a trailer or without. */
static __always_inline int find_echo(const struct packet *packet, __u32 offset, struct echo *echo)
{
	struct ip_start start;

	if (!load(packet, offset, &start, sizeof(start)))
		return 0;
	switch (start.ip[0] >> 4) {
	case 4:
		return find_echo_ipv4(packet, offset, &start, echo);
	case 6:
		return find_echo_ipv6(packet, offset, &start, echo);
	default:
		return 0;
	}
}

/* Whether an echo message ends in a trailer. */
static __always_inline int find_footer(const struct packet *packet, const struct echo *echo,
				       struct trailer_footer *footer)
{
	if (echo->end < echo->start + sizeof(struct echo_header) + sizeof(*footer) ||
	    !load(packet, echo->end - sizeof(*footer), footer, sizeof(*footer)))
		return 0;
	return trailer_is_valid(footer, echo->end - echo->start - sizeof(struct echo_header));
}

#endif
