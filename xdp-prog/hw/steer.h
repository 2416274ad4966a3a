/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which replies go to the AF_XDP socket of a stateless prober: xdp-prog/src/steer.rs, the policy of xdp-prog/common/src/host.rs and
 * `is_steered` of trailer/src/run.rs have the same maps and rules for Rust.
 */
#ifndef INSTAMP_STEER_H
#define INSTAMP_STEER_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "../../trailer/probe.h"

/* A probe, by offsets in its frame. */
struct probe {
	__u32 ip;
	__u32 is_ipv4;
	struct echo echo;
	struct trailer_footer footer;
};

#define QUEUES 256

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} SOCKETS SEC(".maps");

/* `Run` of trailer/src/run.rs. */
struct run {
	__u32 key;
	__u32 process;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, struct run);
} RUNS SEC(".maps");

/* Of IPv6, or of IPv4 mapped into it. */
struct prefix {
	__u32 length;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} POLICY SEC(".maps");

/* `Standing::OWN` of trailer/src/host.rs. */
#define STANDING_OWN 1

/* Whether the nonce has the key of the queue's run, and the first record is of the application. */
static __always_inline int is_of_run(const struct packet *packet, const struct probe *probe, __u32 queue)
{
	const struct run *run = bpf_map_lookup_elem(&RUNS, &queue);
	const __u8 *nonce = probe->footer.nonce;
	__u32 records = trailer_cap(&probe->footer) * sizeof(struct trailer_record);
	__u8 place;

	if (!run || !run->key || run->key != (__u32)(nonce[0] << 16 | network_u16(&nonce[1])))
		return 0;
	return trailer_used(&probe->footer) &&
	       load(packet, probe->echo.end - sizeof(probe->footer) - records, &place, sizeof(place)) &&
	       (place & TRAILER_HOOK) == TRAILER_APP_TX;
}

/* Whether the packet is to one of the host's own addresses, or of those for which it measures. */
static __always_inline int is_to_own(const struct packet *packet, const struct probe *probe)
{
	struct prefix prefix = {.length = 128};
	const __u32 *standing;
	__u8 header[40];

	if (probe->is_ipv4) {
		if (!load(packet, probe->ip, header, 20) || header[0] >> 4 != 4)
			return 0;
		prefix.address[10] = prefix.address[11] = 0xff;
		__builtin_memcpy(&prefix.address[12], &header[16], 4);
	} else {
		if (!load(packet, probe->ip, header, sizeof(header)) || header[0] >> 4 != 6)
			return 0;
		__builtin_memcpy(prefix.address, &header[24], 16);
		/* No packet may have an IPv4 address mapped into an IPv6 one. */
		if (!__builtin_memcmp(prefix.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12))
			return 0;
	}
	standing = bpf_map_lookup_elem(&POLICY, &prefix);
	return standing && *standing & STANDING_OWN;
}

/* Not of several buffers, which such a socket does not take. */
static __always_inline int is_steered(struct xdp_md *ctx, const struct probe *probe)
{
	struct packet packet = {.ctx = ctx};

	return !probe->echo.is_request && is_of_run(&packet, probe, ctx->rx_queue_index) && is_to_own(&packet, probe) &&
	       bpf_xdp_get_buff_len(ctx) == ctx->data_end - ctx->data;
}

/* To the socket of the queue; to the stack where there is none. */
static __always_inline int redirect(struct xdp_md *ctx)
{
	return bpf_redirect_map(&SOCKETS, ctx->rx_queue_index, XDP_PASS);
}

#endif
