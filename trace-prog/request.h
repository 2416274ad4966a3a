/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Recognizes the requests that this host has stamped.
 */
#ifndef INSTAMP_REQUEST_H
#define INSTAMP_REQUEST_H

#include "packet.h"
#include "in_flight.h"

/* The end of a trailer. */
struct trailer {
	struct trailer_footer footer;
	struct trailer_record last;	/* the one that was written last */
};

/* Whether a request's trailer ends in a stamp of tc-egress, in the clock for own probes. */
static __always_inline int find_stamped(const struct packet *packet, const struct echo *echo, struct trailer *trailer)
{
	struct trailer_footer *footer = &trailer->footer;
	struct trailer_record *last = &trailer->last;
	__u32 free;

	if (!find_footer(packet, echo, footer) || trailer_used(footer) == 0)
		return 0;
	free = trailer_cap(footer) - trailer_used(footer);
	return load(packet, echo->end - sizeof(*footer) - (free + 1) * sizeof(*last), last, sizeof(*last)) &&
	       (last->place & TRAILER_HOOK) == TRAILER_TC_EGRESS && last->quality >> 5 == TRAILER_MONOTONIC;
}

/*
 * The key of a request, if that stamp is the device's: so the host's policy allows it, and it is none that is passing through. That
 * hook has also made the packet one piece.
 */
static __always_inline int key_of(const struct trailer *trailer, const struct device *device, struct sent_key *key)
{
	const struct trailer_record *last = &trailer->last;

	if (last->place != (device->point << 4 | TRAILER_TC_EGRESS) || last->node != bpf_htons(device->node))
		return 0;
	__builtin_memcpy(key->nonce, trailer->footer.nonce, sizeof(key->nonce));
	key->namespace = device->namespace;
	key->point = device->point;
	return 1;
}

#endif
