/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Requests that have left, and what became known of them only then. The ingress hooks write it into the reply (Host::sent in
 * trailer/src/host.rs). The names, keys and values of the maps are the interface to them and to the loader.
 */
#ifndef INSTAMP_IN_FLIGHT_H
#define INSTAMP_IN_FLIGHT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* A device that is attached. */
struct device_key {
	__u32 namespace;	/* the inode of its network namespace */
	__u32 ifindex;
};

/* What its tc-egress hook writes, and where its packets are counted. */
struct device {
	__u16 node;
	__u8 point;
	__u8 reserved;
	__u32 slot;	/* in SENT_COUNTERS */
	__u32 phc;	/* its card's clock: the N of /dev/ptpN, plus 1; 0 where the card's times are not taken */
};

/* `SentKey` of trailer/src/host.rs. */
struct sent_key {
	__u8 nonce[8];
	__u32 namespace;
	__u32 point;
};

/* `Sent` of trailer/src/host.rs. */
struct sent {
	__u64 driver_tx_ns;	/* CLOCK_MONOTONIC */
	__u8 echo[4];
	__u8 nic_tx_asked;
	__u8 reserved[3];
};

/* What became of the requests that a device has sent. */
struct sent_counters {
	__u64 kept;
	__u64 repeated;	/* not kept: there is one of the same key, as of a nonce that is used again */
	__u64 refused;	/* not kept: there was no room */
	__u64 asked;	/* of those that were kept, whose sender asked for the card's time */
	__u64 nic_kept;	/* of these, for which it came */
	__u64 nic_late;	/* for which it came when they were not kept any more */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct device_key);
	__type(value, struct device);
} DEVICES SEC(".maps");

/*
 * New entries take the room of the oldest, and none is ever exchanged for another of the same key: what a reader has copied was of
 * that key if the key is still there afterwards. One list for all processors: lists of their own (BPF_F_NO_COMMON_LRU) would divide the table by the
 * processors that there might be, which are hundreds on some virtual machines of two.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct sent_key);
	__type(value, struct sent);
} IN_FLIGHT SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sent_counters);
} SENT_COUNTERS SEC(".maps");

#endif
