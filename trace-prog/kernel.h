/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The parts of the kernel's structures that are read here. Where they lie is found out when a program is loaded (CO-RE), so
 * that one object serves all kernels.
 */
#ifndef INSTAMP_KERNEL_H
#define INSTAMP_KERNEL_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
};

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	/* 0 until somebody asks for it. */
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};

struct task_struct {
	/* Of its process: what user space calls its number. */
	int tgid;
};

struct sk_buff {
	struct net_device *dev;
	__be16 protocol;
	__u16 network_header;
	/* Offsets from the head, as on all machines of 64 bits. */
	unsigned int tail;
	unsigned int end;
	unsigned char *head;
};

/* What some read of it besides: the loader ignores what follows the three underscores. */
struct sk_buff___more {
	struct sock *sk;
	int skb_iif;
	unsigned long _nfct;
	unsigned char *data;
};

struct skb_shared_info {
	__u8 tx_flags;
};

struct skb_shared_hwtstamps {
	__s64 hwtstamp;
};

union nf_inet_addr {
	__u32 all[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

/* Also a module's. */
struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
};

#pragma clang attribute pop

/* Of skb_shared_info.tx_flags, in include/linux/skbuff.h: the sender has asked for the card's time. */
#define SKBTX_HW_TSTAMP 1

#endif
