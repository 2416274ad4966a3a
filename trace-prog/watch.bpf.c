/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Follows echo requests of any program from its network namespace through this host to the uplink, and their replies back. These are
 * tracing programs: the kernel lets them read packets, and refuses those that would change one.
 */
#include "kernel.h"
#include "packet.h"
#include "passing.h"

#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

enum {
	UPLINKS_MAX = 8,
	/* Without the bits that say what the entry is to the packet: NFCT_PTRMASK of include/linux/skbuff.h. */
	CONNTRACK_STATE_BITS = 7,
	VLAN_TAG_LENGTH = 4,
	/* Of sockets whose users write the IP header: IPPROTO_RAW. */
	PROTOCOL_RAW = 255,
};

/* Set before loading. The namespace of the uplinks, and these; 0 behind the last one. */
const volatile __u32 UPLINK_NAMESPACE = 0;
const volatile __u32 UPLINKS[UPLINKS_MAX] = {};
/* Whether only the namespaces in SELECTED are told of. */
const volatile __u32 IS_SELECTIVE = 0;

struct net___more {
	/* Of no other namespace since the machine was started, unlike the inode. */
	__u64 net_cookie;
} __attribute__((preserve_access_index));

static __always_inline const struct sk_buff___more *more(const struct sk_buff *skb)
{
	return (const void *)skb;
}

/* Where a packet is. */
struct place {
	__u64 cookie;	/* of the namespace */
	__u32 namespace;
	__u32 ifindex;
};

static __always_inline struct place place_of(const struct net_device *dev)
{
	const struct net *net = dev->nd_net.net;

	return (struct place){
		.cookie = ((const struct net___more *)net)->net_cookie,
		.namespace = net->ns.inum,
		.ifindex = dev->ifindex,
	};
}

static __always_inline int is_uplink(struct place place)
{
	if (place.namespace != UPLINK_NAMESPACE)
		return 0;
#pragma clang loop unroll(full)
	for (__u32 number = 0; number < UPLINKS_MAX; number++)
		if (UPLINKS[number] == place.ifindex)
			return 1;
	return 0;
}

/* The addresses of an IP packet, that of a request: of a reply the other way round. */
static __always_inline int find_flow(const struct packet *packet, const struct echo *echo, struct flow *flow)
{
	__u8 *first = echo->is_request ? flow->source : flow->destination;
	__u8 *second = echo->is_request ? flow->destination : flow->source;
	__u8 version;

	__builtin_memcpy(flow->number, echo->number, sizeof(flow->number));
	if (!load(packet, packet->network, &version, sizeof(version)))
		return 0;
	if (version >> 4 == 6)
		return load(packet, packet->network + 8, first, 16) && load(packet, packet->network + 24, second, 16);
	first[10] = first[11] = second[10] = second[11] = 0xff;
	return load(packet, packet->network + 12, first + 12, 4) && load(packet, packet->network + 16, second + 12, 4);
}

/*
 * A hash of the beginning of the payload: so much as far ends that shorten it leave, and as programs put a time or a number into. 0
 * where there is too little to tell.
 */
static __always_inline __u32 payload_of(const struct packet *packet, const struct echo *echo)
{
	__u32 offset = echo->start + sizeof(struct echo_header);
	__u64 words[4], hash = 1;

	if (echo->end < offset + sizeof(words) || !load(packet, offset, words, sizeof(words)))
		return 0;
#pragma clang loop unroll(full)
	for (int word = 0; word < 4; word++)
		hash = mix(hash ^ words[word]);
	return (__u32)hash | 1;
}

/* The flow that a request had before this host has translated it, by the kernel's record of connections. */
static __always_inline void translate_back(const struct sk_buff *skb, struct flow *flow)
{
	const struct nf_conn *connection;
	const struct nf_conntrack_tuple *tuple;
	int is_ipv4 = flow->source[10] == 0xff && flow->source[11] == 0xff && !flow->source[0];
	__u8 address[16];

	if (!bpf_core_field_exists(struct sk_buff___more, _nfct) || !bpf_core_field_exists(struct nf_conn, tuplehash))
		return;
	connection = (const void *)(more(skb)->_nfct & ~(unsigned long)CONNTRACK_STATE_BITS);
	if (!connection)
		return;
	/* IP_CT_DIR_ORIGINAL is 0. */
	tuple = &connection->tuplehash[0].tuple;
	if (bpf_core_read(address, sizeof(address), &tuple->src.u3.all))
		return;
	if (is_ipv4)
		__builtin_memcpy(flow->source + 12, address, 4);
	else
		__builtin_memcpy(flow->source, address, 16);
	if (bpf_core_read(address, sizeof(address), &tuple->dst.u3.all))
		return;
	if (is_ipv4)
		__builtin_memcpy(flow->destination + 12, address, 4);
	else
		__builtin_memcpy(flow->destination, address, 16);
	bpf_core_read(flow->number, 2, &tuple->src.u.all);
}

static __always_inline __u32 running(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* Whose a request is. One that waited for the address of its next hop leaves while another process runs. */
static __always_inline __u32 process_of(const struct sk_buff *skb)
{
	const struct sock *sk = more(skb)->sk;
	__u64 cookie = sk ? sk->__sk_common.skc_cookie.counter : 0;
	const __u32 *process = cookie ? bpf_map_lookup_elem(&PROCESSES, &cookie) : 0;

	return process ? *process : running();
}

/* A request that its sender's namespace hands to its device. */
static __always_inline void sent(const struct sk_buff *skb, const struct passing_key *key, struct place place,
				 __u32 payload, __u64 now_ns)
{
	struct passing_key before = {.flow = key->flow, .stage = SENT};
	struct passing passing = {};

	/* It may be another's, as of a container in a container, or have come from another device of this namespace. */
	translate_back(skb, &before.flow);
	if (!take(&before, (__u64)skb, payload, SAME_PACKET, &passing)) {
		passing.observed.sender = key->flow;
		passing.observed.cookie = place.cookie;
		passing.observed.namespace = place.namespace;
		passing.observed.sender_ifindex = place.ifindex;
		passing.observed.process = process_of(skb);
	}
	passing.packet = (__u64)skb;
	passing.payload = payload;
	keep(key, &passing, now_ns);
}

/* A request that gets to the uplink. */
static __always_inline void left(const struct sk_buff *skb, struct passing_key *key, struct place place, __u32 payload,
				 __u64 now_ns)
{
	struct observed *observed;
	struct passing_key before = {.flow = key->flow, .stage = SENT};
	struct passing passing = {};
	struct counts *counts;

	observed = &passing.observed;
	translate_back(skb, &before.flow);
	if (!take(&before, (__u64)skb, payload, ANY, &passing)) {
		observed->sender = before.flow;
		/* This host's own has come by no device. */
		observed->sender_ifindex = more(skb)->skb_iif;
		if (!observed->sender_ifindex) {
			observed->cookie = place.cookie;
			observed->namespace = place.namespace;
			observed->process = process_of(skb);
		}
	}
	if (IS_SELECTIVE && !bpf_map_lookup_elem(&SELECTED, &observed->namespace))
		return;
	observed->network = key->flow;
	observed->uplink_tx_ifindex = place.ifindex;
	passing.packet = (__u64)skb;
	passing.payload = payload;
	counts = counts_of(observed);
	if (counts)
		__sync_fetch_and_add(&counts->left, 1);
	key->stage = LEFT;
	keep(key, &passing, now_ns);
}

/* What is behind the link layer of a packet on its way out. */
static __always_inline struct packet outgoing(const struct sk_buff *skb)
{
	return (struct packet){
		.head = skb->head,
		.network = skb->network_header,
		.tail = skb->tail,
		.protocol = skb->protocol,
	};
}

/* TP_PROTO of include/trace/events/net.h. Behind TC, and before the queueing discipline. */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(watch_queue, const struct sk_buff *skb)
{
	struct packet packet = outgoing(skb);
	struct passing_key key = {.stage = SENT};
	struct echo echo = {};
	struct place place;
	__u32 payload;
	__u64 now_ns;

	if (!find_request(&packet, &echo))
		return 0;
	now_ns = bpf_ktime_get_ns();
	place = place_of(skb->dev);
	if ((place.namespace == UPLINK_NAMESPACE && !is_uplink(place)) || !find_flow(&packet, &echo, &key.flow))
		return 0;
	payload = payload_of(&packet, &echo);
	if (place.namespace == UPLINK_NAMESPACE)
		left(skb, &key, place, payload, now_ns);
	else
		sent(skb, &key, place, payload, now_ns);
	return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(watch_driver, const struct sk_buff *skb, const struct net_device *dev)
{
	struct packet packet = outgoing(skb);
	struct passing_key key = {.stage = LEFT};
	struct echo echo = {};

	if (find_request(&packet, &echo) && is_uplink(place_of(dev)) && find_flow(&packet, &echo, &key.flow))
		add_uplink_tx(&key, (__u64)skb);
	return 0;
}

/* A reply that the uplink has received. */
static __always_inline void came_back(struct passing_key *key, struct place place, __u32 payload, __u64 now_ns)
{
	struct passing passing = {};

	key->stage = LEFT;
	if (!take(key, 0, payload, ANY, &passing))
		return;
	passing.observed.uplink_rx_ns = now_ns;
	passing.observed.uplink_rx_ifindex = place.ifindex;
	if (!passing.observed.sender_tx_ns) {
		tell(&passing.observed);
		return;
	}
	key->flow = passing.observed.sender;
	key->stage = CAME_BACK;
	key->namespace = passing.observed.cookie;
	passing.payload = payload;
	passing.packet = 0;
	keep(key, &passing, now_ns);
}

/* A reply that a device of the sender's namespace has received. */
static __always_inline void received(struct passing_key *key, struct place place, __u32 payload, __u64 now_ns)
{
	struct passing passing = {};

	key->stage = CAME_BACK;
	key->namespace = place.cookie;
	if (!take(key, 0, payload, ANY, &passing))
		return;
	passing.observed.sender_rx_ns = now_ns;
	tell(&passing.observed);
}

/* Behind the link layer, which drivers have taken off. The header of what comes next is not found yet. */
static __always_inline int incoming(const struct sk_buff *skb)
{
	struct packet packet = {
		.head = skb->head,
		.network = more(skb)->data - skb->head,
		.tail = skb->tail,
		.protocol = skb->protocol,
	};
	struct passing_key key = {};
	struct echo echo = {};
	struct place place;
	__u32 payload;
	__u64 now_ns;

	if (packet.protocol == bpf_htons(ETH_P_8021Q) || packet.protocol == bpf_htons(ETH_P_8021AD))
		packet.network += VLAN_TAG_LENGTH;
	else if (packet.protocol != bpf_htons(ETH_P_IP) && packet.protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	if (!find_echo(&packet, packet.network, &echo) || echo.is_request)
		return 0;
	now_ns = bpf_ktime_get_ns();
	place = place_of(skb->dev);
	if ((place.namespace == UPLINK_NAMESPACE && !is_uplink(place)) || !find_flow(&packet, &echo, &key.flow))
		return 0;
	payload = payload_of(&packet, &echo);
	if (place.namespace == UPLINK_NAMESPACE)
		came_back(&key, place, payload, now_ns);
	else
		received(&key, place, payload, now_ns);
	return 0;
}

/*
 * The earliest places of a packet in the stack, by how its driver hands it over; and the one that all come to, for drivers that do it
 * otherwise. The first one that sees a reply takes its request out of the table; or, if it is that to an older one of the flow, notes that this
 * one is answered.
 */
SEC("tp_btf/netif_rx")
int BPF_PROG(watch_backlog, const struct sk_buff *skb)
{
	return incoming(skb);
}

SEC("tp_btf/napi_gro_receive_entry")
int BPF_PROG(watch_gro, const struct sk_buff *skb)
{
	return incoming(skb);
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(watch_receive, const struct sk_buff *skb)
{
	return incoming(skb);
}

/*
 * TP_PROTO of include/trace/events/sock.h, from Linux 6.3 on: a process has sent something by a socket. It may have left by then; what
 * waits has not.
 */
SEC("tp_btf/sock_send_length")
int BPF_PROG(watch_sockets, struct sock *sk)
{
	__u32 process = running();
	const __u32 *known;
	__u64 cookie;

	if (sk->sk_protocol != PROTOCOL_ICMP && sk->sk_protocol != PROTOCOL_ICMPV6 && sk->sk_protocol != PROTOCOL_RAW)
		return 0;
	cookie = bpf_get_socket_cookie(sk);
	known = bpf_map_lookup_elem(&PROCESSES, &cookie);
	if (!known || *known != process)
		bpf_map_update_elem(&PROCESSES, &cookie, &process, BPF_ANY);
	return 0;
}

/* TP_PROTO of include/trace/events/sched.h. Before the child runs. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(watch_forks, const struct task_struct *parent, const struct task_struct *child)
{
	__u32 from = parent->tgid, process = child->tgid, one = 1;

	/* A thread: it has its process' number. */
	if (process == from)
		return 0;
	if (bpf_map_lookup_elem(&DESCENDANTS, &from))
		bpf_map_update_elem(&DESCENDANTS, &process, &one, BPF_ANY);
	else
		/* A descendant had the number, and has ended. */
		bpf_map_delete_elem(&DESCENDANTS, &process);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
