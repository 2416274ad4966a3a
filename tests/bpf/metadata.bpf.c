/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Both ends of the metadata area: nic_rx.bpf.c but for the driver, of a card that tells its times; and a TC program that notes what
 * comes with a frame.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* By how much the card's clock is ahead. */
#define CARD_AHEAD_NS (1ULL << 60)

static __always_inline __u64 card_ns(const struct xdp_md *ctx)
{
	return bpf_ktime_get_ns() + CARD_AHEAD_NS;
}

#include "../../xdp-prog/hw/hand_on.h"

SEC("xdp.frags")
int hand_times(struct xdp_md *ctx)
{
	return hand_on(ctx);
}

/* The source address of the frames that are noted: this, and their number. */
#define NOTED 0x0269

struct noted {
	__u32 passed;
	__u32 length;	/* of the metadata */
	struct handed handed;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct noted);
} NOTED_FRAMES SEC(".maps");

struct source {
	__be16 noted;
	__be32 number;
} __attribute__((packed));

SEC("classifier")
int note_metadata(struct __sk_buff *skb)
{
	struct handed *metadata = (void *)(long)skb->data_meta;
	struct source source;
	struct noted *noted;
	__u32 number;

	if (bpf_skb_load_bytes(skb, 6, &source, sizeof(source)) || source.noted != bpf_htons(NOTED))
		return TC_ACT_UNSPEC;
	number = bpf_ntohl(source.number);
	noted = bpf_map_lookup_elem(&NOTED_FRAMES, &number);
	if (!noted)
		return TC_ACT_UNSPEC;
	noted->passed++;
	noted->length = skb->data - skb->data_meta;
	if ((void *)(metadata + 1) <= (void *)(long)skb->data)
		noted->handed = *metadata;
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
