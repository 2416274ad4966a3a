/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Requests that have left, and what became known of them only then. The ingress hooks write it into the reply (Host::take_sent in
 * trailer/src/host.rs). The names, keys and values of the maps are the interface to them and to the loader.
 */
#ifndef INSTAMP_IN_FLIGHT_H
#define INSTAMP_IN_FLIGHT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "sets.h"

/* The layouts are those of trailer/src/in_flight.rs. */

/* A device that is attached, and what its tc-egress hook writes. Its number in DEVICES is that in SENT_COUNTERS, too. */
struct device {
	__u32 namespace;	/* the inode of its network namespace; 0 where there is no device of this number */
	__u32 ifindex;
	__u16 node;
	__u8 point;
	__u8 reserved;
	__u32 phc;	/* its card's clock: the N of /dev/ptpN, plus 1; 0 where the card's times are not taken */
	__u32 generation;	/* how many devices have had this number before */
	__u32 reserved_too;
};

enum {
	DEVICE_BITS = 10,
	DEVICES_MAX = 1 << DEVICE_BITS,
	/* So far from the place that its hash gives it a device may be. */
	DEVICE_PLACES = 8,
};

enum {
	SET_BITS = 13,
	SETS = 1 << SET_BITS,
};

struct sent_key {
	__u8 nonce[8];
	__u32 namespace;
	__u32 point;
};

struct sent {
	__u64 driver_tx_ns;	/* CLOCK_MONOTONIC */
	__u64 nic_tx_ns;	/* the card's clock; 0 where it is not known */
	__u8 echo[4];
	__u32 phc;	/* which clock: as in struct device */
	__u32 nic_tx_asked;
	__u32 device;	/* its number, and above that its generation */
};

struct entry {
	__u64 lock;
	struct sent_key key;
	struct sent sent;
	__u64 reserved;
};

struct set {
	__u32 tags[WAYS];
	__u64 next;
	__u64 reserved[3];
	struct entry entries[WAYS];
};

/* What became of the requests that a device has sent. */
struct sent_counters {
	__u64 generation;	/* of the device that is counted */
	__u64 kept;
	__u64 repeated;	/* not kept: there is one of the same key, as of a nonce that is used again */
	__u64 refused;	/* not kept: somebody else was at that place */
	__u64 taken;	/* by their replies; counted by the ingress hooks */
	__u64 evicted;	/* by newer ones */
	__u64 asked;	/* of those that were kept, whose sender asked for the card's time */
	__u64 nic_kept;	/* of these, for which it came */
	__u64 nic_late;	/* for which it came when they were not kept, or not any more */
};

_Static_assert(sizeof(struct device) == 24 && sizeof(struct entry) == 64 && sizeof(struct set) == 64 + 64 * WAYS &&
	       sizeof(struct sent_counters) == 72, "trailer/src/in_flight.rs");

/* An array, which programs read in place: a hash table's lookup takes as long as all that is read of a packet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DEVICES_MAX);
	__type(key, __u32);
	__type(value, struct device);
} DEVICES SEC(".maps");

/* The kernel aligns to cache lines only what can be mapped: to pages. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SETS);
	__type(key, __u32);
	__type(value, struct set);
} IN_FLIGHT SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DEVICES_MAX);
	__type(key, __u32);
	__type(value, struct sent_counters);
} SENT_COUNTERS SEC(".maps");

/* The number of a device, or DEVICES_MAX. */
static __always_inline __u32 device_number(__u32 namespace, __u32 ifindex)
{
	__u32 first = (namespace * 0x85ebca6b ^ ifindex) * 0x9e3779b1 >> 16;

	for (__u32 place = 0; place < DEVICE_PLACES; place++) {
		__u32 number = (first + place) % DEVICES_MAX;
		struct device *device = bpf_map_lookup_elem(&DEVICES, &number);

		if (device && device->namespace == namespace && device->ifindex == ifindex)
			return number;
	}
	return DEVICES_MAX;
}

static __always_inline __u64 hash_of(const struct sent_key *key)
{
	__u64 nonce;

	__builtin_memcpy(&nonce, key->nonce, sizeof(nonce));
	return mix(nonce ^ mix((__u64)key->namespace << 32 | key->point));
}

static __always_inline struct set *set_of(__u64 hash)
{
	__u32 number = hash >> (64 - SET_BITS);

	return bpf_map_lookup_elem(&IN_FLIGHT, &number);
}

/* The place of an entry with this tag, or WAYS. It may be another's. */
static __always_inline __u32 way_of(const struct set *set, __u32 tag)
{
	return way_of_tag(set->tags, tag);
}

/* Where a device is counted, if it is still that one. */
static __always_inline struct sent_counters *counters_of(__u32 device)
{
	__u32 number = device % DEVICES_MAX;
	struct sent_counters *counters = bpf_map_lookup_elem(&SENT_COUNTERS, &number);

	return counters && counters->generation == device >> DEVICE_BITS ? counters : 0;
}

/* Of an entry that is locked. */
static __always_inline int is_of(const struct entry *entry, const struct sent_key *key)
{
	return !__builtin_memcmp(&entry->key, key, sizeof(*key));
}

static __always_inline int try_lock(struct entry *entry)
{
	return try_lock_word(&entry->lock);
}

static __always_inline void unlock(struct entry *entry)
{
	unlock_word(&entry->lock);
}

#endif
