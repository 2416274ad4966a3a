/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * nic-rx: hands on the time at which the card received a probe, and the time at which this program saw it. Bound to its device,
 * whose driver alone can tell the card's time.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Linux 6.3, Documentation/networking/xdp-rx-metadata.rst. */
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;

static __always_inline __u64 card_ns(const struct xdp_md *ctx)
{
	__u64 timestamp = 0;

	/* A driver may also succeed without a time, as veth does. */
	return bpf_xdp_metadata_rx_timestamp(ctx, &timestamp) ? 0 : timestamp;
}

#include "hand_on.h"

SEC("xdp.frags")
int nic_rx(struct xdp_md *ctx)
{
	return hand_on(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
