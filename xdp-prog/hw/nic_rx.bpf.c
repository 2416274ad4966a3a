/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * nic-rx: hands the time at which the card received a probe, and the time at which this program saw it, to the TC program that
 * stamps (tc_ingress_handed in tc-prog/). Bound to its device, whose driver alone can tell the card's time.
 *
 * Probes only: packets with different metadata are not merged by GRO.
 */
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

/* Linux 6.3, Documentation/networking/xdp-rx-metadata.rst. */
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;

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

static __always_inline int is_probe(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct packet packet = {.ctx = ctx};
	__u32 offset = sizeof(struct ethhdr);
	struct trailer_footer footer;
	struct echo echo = {};
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
	return find_echo(&packet, offset, &echo) && find_footer(&packet, &echo, &footer);
}

SEC("xdp.frags")
int nic_rx(struct xdp_md *ctx)
{
	struct handed handed = {.magic = HANDED_MAGIC}, *metadata;

	if (!is_probe(ctx))
		return XDP_PASS;
	handed.xdp_ns = bpf_ktime_get_ns();
	/* A driver may also succeed without a time, as veth does. */
	if (bpf_xdp_metadata_rx_timestamp(ctx, &handed.nic_rx_ns))
		handed.nic_rx_ns = 0;
	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(handed)))
		return XDP_PASS;
	metadata = (void *)(long)ctx->data_meta;
	if ((void *)(metadata + 1) <= (void *)(long)ctx->data)
		*metadata = handed;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
