/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What an XDP program puts in front of a probe for who stamps it: the TC program, or the prober to whose socket it goes.
 */
#ifndef INSTAMP_HANDED_H
#define INSTAMP_HANDED_H

#include <linux/types.h>

/* `Handed` of trailer/src/handed.rs. */
struct handed {
	__u64 magic;
	__u64 xdp_ns;		/* CLOCK_MONOTONIC */
	__u64 nic_rx_ns;	/* the card's clock; 0 where it does not tell */
};

_Static_assert(sizeof(struct handed) == 24 && __builtin_offsetof(struct handed, xdp_ns) == 8 &&
	       __builtin_offsetof(struct handed, nic_rx_ns) == 16, "trailer/src/handed.rs");

#define HANDED_MAGIC 0x696e7374616d7052 /* instampR */

#endif
