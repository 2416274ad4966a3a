/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * nic-tx: the time at which the card sent a request, where the driver reports it for the sender's socket. That socket may be
 * out of reach (routing parts a container's packet from it); the time goes into the reply, as that of driver-tx.
 *
 * One of two programs that do the same is attached.
 */
#include "kernel.h"
#include "request.h"

#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

/*
 * Adds the card's time to a request of this device that waits for its reply, and returns whether it does. One of the same key may be
 * another message, or the same one that another device has sent, too.
 */
static __always_inline int add(const struct sent_key *key, const __u8 *echo, __u32 device, __u64 nic_tx_ns)
{
	__u64 hash = hash_of(key);
	struct set *set = set_of(hash);
	__u32 tag = tag_of(hash);
	struct entry *entry;
	int is_known;
	__u32 way;

	if (!set)
		return 0;
	way = way_of(set, tag);
	if (way >= WAYS)
		return 0;
	entry = &set->entries[way];
	if (!try_lock(entry))
		return 0;
	is_known = set->tags[way] == tag && is_of(entry, key) && entry->sent.device == device &&
		   !__builtin_memcmp(entry->sent.echo, echo, sizeof(entry->sent.echo));
	if (is_known)
		entry->sent.nic_tx_ns = nic_tx_ns;
	unlock(entry);
	return is_known;
}

/* Reads a member of a structure of the kernel through any pointer. */
#define READ(to, from, member) bpf_core_read(&(to), sizeof(to), &(from)->member)

/* `hwtstamps` is NULL where the driver reports that it has the packet, by the kernel's clock. */
static __always_inline int take(const struct sk_buff *skb, const struct skb_shared_hwtstamps *hwtstamps)
{
	const struct net_device *dev = NULL;
	const struct net *net = NULL;
	struct sent_counters *counters;
	__u32 namespace = 0, ifindex = 0, number;
	struct packet packet = {};
	__u64 nic_tx_ns = 0;
	__u16 network = 0;
	struct sent_key key = {};
	struct device *device;
	struct echo echo = {};
	struct trailer trailer;

	if (!hwtstamps)
		return 0;
	READ(nic_tx_ns, hwtstamps, hwtstamp);
	READ(packet.head, skb, head);
	READ(network, skb, network_header);
	READ(packet.tail, skb, tail);
	READ(packet.protocol, skb, protocol);
	packet.network = network;
	if (!nic_tx_ns || !find_request(&packet, &echo) || !find_stamped(&packet, &echo, &trailer))
		return 0;
	READ(dev, skb, dev);
	READ(net, dev, nd_net.net);
	READ(namespace, net, ns.inum);
	READ(ifindex, dev, ifindex);
	number = device_number(namespace, ifindex);
	device = bpf_map_lookup_elem(&DEVICES, &number);
	if (!device || !device->phc || !key_of(&trailer, device, &key))
		return 0;
	number |= device->generation << DEVICE_BITS;
	counters = counters_of(number);
	if (!counters)
		return 0;

	if (add(&key, echo.number, number, nic_tx_ns))
		counters->nic_kept++;
	else
		counters->nic_late++;
	return 0;
}

SEC("fentry/skb_tstamp_tx")
int BPF_PROG(nic_tx_fentry, struct sk_buff *skb, struct skb_shared_hwtstamps *hwtstamps)
{
	return take(skb, hwtstamps);
}

/* Where the kernel has no trampolines for fentry. The registers of x86-64: elsewhere it does not load. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs {
	unsigned long di;
	unsigned long si;
};
#pragma clang attribute pop

SEC("kprobe/skb_tstamp_tx")
int nic_tx_kprobe(struct pt_regs *registers)
{
	return take((void *)registers->di, (void *)registers->si);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
