/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes the requests that this host has stamped.
 */
#ifndef INSTAMP_REQUEST_H
#define INSTAMP_REQUEST_H

#include "packet.h"
#include "in_flight.h"

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
