/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes echo requests in socket buffers on their way out.
 */
#ifndef INSTAMP_PACKET_H
#define INSTAMP_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

/* A socket buffer, as far as it is looked at. Offsets are from its head, from which it is in one piece up to its tail. */
struct packet {
	const unsigned char *head;
	__u32 network;
	__u32 tail;
	__be16 protocol;
};

/* Makes any address one that can be read from: Linux 6.2. What cannot be read there reads as zeros. */
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym __weak;

/* Some type of 16 bytes that all kernels know. */
struct in6_addr___words {
	__u32 word[4];
};

/*
 * What the caller does not look at is not read where the kernel allows to read in place: a call of the helper takes longer than all
 * that is looked at.
 */
static __always_inline int load(const struct packet *packet, __u32 offset, void *to, __u32 length)
{
	const void *from = packet->head + offset;

	if (offset + length > packet->tail)
		return 0;
	if (!bpf_rdonly_cast)
		return !bpf_probe_read_kernel(to, length, from);
#pragma clang loop unroll(full)
	for (__u32 word = 0; word < length / 4; word++) {
		const struct in6_addr___words *words =
			bpf_rdonly_cast(from + word * 4, bpf_core_type_id_kernel(struct in6_addr___words));

		__builtin_memcpy(to + word * 4, &words->word[0], 4);
	}
#pragma clang loop unroll(full)
	for (__u32 byte = length / 4 * 4; byte < length; byte++) {
		const __u8 *bytes = bpf_rdonly_cast(from + byte, bpf_core_type_id_kernel(struct in6_addr___words));

		((__u8 *)to)[byte] = *bytes;
	}
	return 1;
}

#include "../trailer/probe.h"

/* Whether this is an echo request, with a trailer or without. */
static __always_inline int find_request(const struct packet *packet, struct echo *echo)
{
	/* Behind a VLAN tag that is part of the packet comes the IP header too. */
	if (packet->protocol != bpf_htons(ETH_P_IP) && packet->protocol != bpf_htons(ETH_P_IPV6) &&
	    packet->protocol != bpf_htons(ETH_P_8021Q) && packet->protocol != bpf_htons(ETH_P_8021AD))
		return 0;
	return find_echo(packet, packet->network, echo) && echo->is_request;
}

#endif
