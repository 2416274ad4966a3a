/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes the requests that this host has stamped, in socket buffers on their way out.
 */
#ifndef INSTAMP_REQUEST_H
#define INSTAMP_REQUEST_H

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
#include "in_flight.h"

/* Whether this is an echo request, with a trailer or without. */
static __always_inline int find_request(const struct packet *packet, struct echo *echo)
{
	/* Behind a VLAN tag that is part of the packet comes the IP header too. */
	if (packet->protocol != bpf_htons(ETH_P_IP) && packet->protocol != bpf_htons(ETH_P_IPV6) &&
	    packet->protocol != bpf_htons(ETH_P_8021Q) && packet->protocol != bpf_htons(ETH_P_8021AD))
		return 0;
	return find_echo(packet, packet->network, echo) && echo->is_request;
}

/*
 * The key of a request, if what was written last into its trailer is the stamp of the device's tc-egress hook, in the clock for
 * own probes: so the host's policy allows it, and it is none that is passing through. That hook has also made the packet one
 * piece.
 */
static __always_inline int key_of(const struct packet *packet, const struct echo *echo, const struct device_key *where,
				  const struct device *device, struct sent_key *key)
{
	struct trailer_footer footer;
	struct trailer_record record;
	__u32 free;

	if (!find_footer(packet, echo, &footer) || trailer_used(&footer) == 0)
		return 0;
	free = trailer_cap(&footer) - trailer_used(&footer);
	if (!load(packet, echo->end - sizeof(footer) - (free + 1) * sizeof(record), &record, sizeof(record)))
		return 0;
	if (record.place != (device->point << 4 | TRAILER_TC_EGRESS) || record.quality >> 5 != TRAILER_MONOTONIC ||
	    record.node != bpf_htons(device->node))
		return 0;
	__builtin_memcpy(key->nonce, footer.nonce, sizeof(key->nonce));
	key->namespace = where->namespace;
	key->point = device->point;
	return 1;
}

#endif
