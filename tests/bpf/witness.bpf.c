/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Witnesses of driver-tx: one that runs before it in the same tracepoint, and one that runs behind it. They note the time of each
 * request that has been stamped once, and has a nonce of theirs, under its number.
 */
#include "../../trace-prog/kernel.h"
#include "../../trace-prog/packet.h"

#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/* The upper half of the nonces of one test: others may run at the same time. The lower one is the number. */
const volatile __be32 witnessed;

struct seen {
	__u64 before_ns;
	__u64 behind_ns;
	__u32 processor;
	__u32 requests;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seen);
} SEEN SEC(".maps");

struct nonce {
	__be32 witnessed;
	__be32 number;
};

static __always_inline struct seen *find(const struct sk_buff *skb)
{
	struct packet packet = {
		.head = skb->head,
		.network = skb->network_header,
		.tail = skb->tail,
		.protocol = skb->protocol,
	};
	struct trailer_footer footer;
	struct echo echo = {};
	struct nonce nonce;
	__u32 number;

	if (!find_request(&packet, &echo) || !find_footer(&packet, &echo, &footer) || trailer_used(&footer) != 1)
		return NULL;
	__builtin_memcpy(&nonce, footer.nonce, sizeof(nonce));
	if (nonce.witnessed != witnessed)
		return NULL;
	number = bpf_ntohl(nonce.number);
	return bpf_map_lookup_elem(&SEEN, &number);
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(before, const struct sk_buff *skb, const struct net_device *dev)
{
	struct seen *seen = find(skb);

	if (seen) {
		seen->processor = bpf_get_smp_processor_id();
		seen->requests++;
		seen->before_ns = bpf_ktime_get_ns();
	}
	return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(behind, const struct sk_buff *skb, const struct net_device *dev)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct seen *seen = find(skb);

	if (seen)
		seen->behind_ns = now_ns;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
