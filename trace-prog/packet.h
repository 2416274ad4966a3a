/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes echo requests in socket buffers on their way out.
 */
#ifndef INSTAMP_PACKET_H
#define INSTAMP_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

/* A socket buffer, as far as it is looked at. Offsets are from its head, from which it is in one piece up to its tail. */
struct packet {
	const unsigned char *head;
	__u32 network;
	__u32 tail;
	__be16 protocol;
};

static __always_inline int load(const struct packet *packet, __u32 offset, void *to, __u32 length)
{
	return offset + length <= packet->tail && !bpf_probe_read_kernel(to, length, packet->head + offset);
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
