/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * driver-tx: the time at which the kernel hands a request to the driver, behind the queueing discipline. The packet cannot be
 * changed any more: the time is kept under the probe's nonce, and goes into the reply.
 */
#include "kernel.h"
#include "request.h"

#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

static __always_inline int asks_for_hardware_time(const struct sk_buff *skb)
{
	__u8 tx_flags = 0;
	const void *shared = skb->head + skb->end;

	if (bpf_rdonly_cast) {
		const struct skb_shared_info *info =
			bpf_rdonly_cast(shared, bpf_core_type_id_kernel(struct skb_shared_info));

		return info->tx_flags & SKBTX_HW_TSTAMP;
	}
	bpf_probe_read_kernel(&tx_flags, sizeof(tx_flags),
			      shared + bpf_core_field_offset(struct skb_shared_info, tx_flags));
	return tx_flags & SKBTX_HW_TSTAMP;
}

/*
 * Keeps a request in the place of the oldest of its set, unless it is kept already, with the time. That is taken as late as can be: what
 * this program takes is no part of the network.
 */
static __always_inline void keep(const struct sent_key *key, const struct sent *sent, struct sent_counters *counters)
{
	__u64 hash = hash_of(key);
	struct set *set = set_of(hash);
	__u32 tag = tag_of(hash);
	struct sent_counters *others;
	struct entry *entry;
	__u32 way;

	if (!set)
		return;
	if (way_of(set, tag) != WAYS) {
		counters->repeated++;
		return;
	}
	way = __sync_fetch_and_add(&set->next, 1) % WAYS;
	entry = &set->entries[way];
	if (!try_lock(entry)) {
		counters->refused++;
		return;
	}
	if (set->tags[way]) {
		others = counters_of(entry->sent.device);
		if (others)
			others->evicted++;
	}
	entry->key = *key;
	entry->sent = *sent;
	set->tags[way] = tag;
	counters->kept++;
	counters->asked += sent->nic_tx_asked;
	entry->sent.driver_tx_ns = time_behind_writes(&entry->lock);
	unlock(entry);
}

/* TP_PROTO of include/trace/events/net.h. */
SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(driver_tx, const struct sk_buff *skb, const struct net_device *dev)
{
	struct packet packet = {
		.head = skb->head,
		.network = skb->network_header,
		.tail = skb->tail,
		.protocol = skb->protocol,
	};
	struct sent sent = {};
	struct sent_counters *counters;
	struct echo echo = {};
	struct device *device;
	struct sent_key key = {};
	struct trailer trailer;
	__u32 number;

	if (!find_request(&packet, &echo) || !find_stamped(&packet, &echo, &trailer))
		return 0;
	number = device_number(dev->nd_net.net->ns.inum, dev->ifindex);
	device = bpf_map_lookup_elem(&DEVICES, &number);
	if (!device || !key_of(&trailer, device, &key))
		return 0;
	__builtin_memcpy(sent.echo, echo.number, sizeof(sent.echo));
	sent.nic_tx_asked = asks_for_hardware_time(skb) != 0;
	sent.phc = device->phc;
	sent.device = number | device->generation << DEVICE_BITS;
	counters = counters_of(sent.device);
	if (counters)
		keep(&key, &sent, counters);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
