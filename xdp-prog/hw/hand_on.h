/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Puts times in front of a probe: for the TC program that stamps (tc_ingress_handed in tc-prog/), or for the stateless prober whose
 * reply it is, and to whose socket it goes.
 *
 * Probes only: packets with different metadata are not merged by GRO.
 *
 * Who includes this has defined
 *
 *	static __always_inline __u64 card_ns(const struct xdp_md *ctx);
 *
 * which is when the card received the frame, by its clock; 0 where it does not tell.
 */
#ifndef INSTAMP_HAND_ON_H
#define INSTAMP_HAND_ON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

struct packet {
	struct xdp_md *ctx;
};

/* Of frames of several buffers, too. */
static __always_inline int load(const struct packet *packet, __u32 offset, void *to, __u32 length)
{
	return !bpf_xdp_load_bytes(packet->ctx, offset, to, length);
}

#include "../../trailer/probe.h"
#include "handed.h"
#include "steer.h"

#define MAX_VLAN_TAGS 2

/* Whether a packet without a tag is neither ICMP nor, perhaps behind extensions, ICMPv6: to look in place takes less than a call. */
static __always_inline int is_other(const __u8 *ip, const void *data_end, __be16 protocol)
{
	if ((const void *)(ip + sizeof(((struct ip_start *)0)->ip)) > data_end)
		return 0;
	if (protocol == bpf_htons(ETH_P_IP))
		return ip[9] != PROTOCOL_ICMP;
	return protocol == bpf_htons(ETH_P_IPV6) && ip[6] != PROTOCOL_ICMPV6 && !is_ipv6_extension(ip[6]);
}

static __always_inline int find_probe(struct xdp_md *ctx, struct probe *probe)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct packet packet = {.ctx = ctx};
	__u32 offset = sizeof(struct ethhdr);
	__be16 protocol;
	__u8 tag[4];

	if (data + sizeof(struct ethhdr) > data_end)
		return 0;
	protocol = ((struct ethhdr *)data)->h_proto;
	if (is_other(data + offset, data_end, protocol))
		return 0;
	for (int tags = 0; tags < MAX_VLAN_TAGS; tags++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (!load(&packet, offset, tag, sizeof(tag)))
			return 0;
		protocol = bpf_htons(network_u16(&tag[2]));
		offset += sizeof(tag);
	}
	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	*probe = (struct probe){.ip = offset, .is_ipv4 = protocol == bpf_htons(ETH_P_IP)};
	return find_echo(&packet, offset, &probe->echo) && find_footer(&packet, &probe->echo, &probe->footer);
}

static __always_inline int hand_on(struct xdp_md *ctx)
{
	struct handed handed = {.magic = HANDED_MAGIC}, *metadata;
	struct probe probe;
	int steered;

	if (!find_probe(ctx, &probe))
		return XDP_PASS;
	handed.xdp_ns = bpf_ktime_get_ns();
	handed.nic_rx_ns = card_ns(ctx);
	steered = is_steered(ctx, &probe);
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(handed)))
		return XDP_PASS;
	metadata = (void *)(long)ctx->data_meta;
	/* A frame that goes to a socket has its times: what lies in front of it else is of the frame that was there before. */
	if ((void *)(metadata + 1) > (void *)(long)ctx->data)
		return XDP_PASS;
	*metadata = handed;
	return steered ? redirect(ctx) : XDP_PASS;
}

#endif
