/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Echo requests of programs that know nothing of trailers, from where their sender's network namespace hands them to its device to where
 * their replies get back there. Names, keys and values of the maps are the interface to the loader: hooks/src/watch.rs has the layouts.
 */
#ifndef INSTAMP_PASSING_H
#define INSTAMP_PASSING_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "sets.h"

/* What tells a request from others, and its reply, with the addresses the other way round. */
struct flow {
	__u8 source[16];	/* IPv4 addresses are mapped into IPv6 ones */
	__u8 destination[16];
	__u8 number[4];		/* identifier and sequence number */
};

/* How far a request has come. */
enum stage {
	SENT = 1,	/* by its sender's device; the flow is the sender's */
	LEFT,		/* by the uplink; the flow is the network's */
	CAME_BACK,	/* its reply, by the uplink; the flow is the sender's */
};

struct passing_key {
	struct flow flow;
	__u32 stage;
	__u64 namespace;	/* of CAME_BACK the sender's cookie, as namespaces may have the same addresses; else 0 */
};

enum {
	CONTESTED = 1,	/* a newer request of the same flow has taken the place of an older one, which may still be answered */
	AMBIGUOUS = 2,	/* nobody can tell which of several requests of this flow the reply is to */
	PAST_CONTEST = 4,	/* the older request was answered: what has its payload is that reply again, in another program or a copy */
};

/* What is told of a probe: times are CLOCK_MONOTONIC, 0 where there is none. */
struct observed {
	__u64 sender_tx_ns;	/* when its sender's namespace had it ready for its device */
	__u64 uplink_queue_ns;	/* when the uplink got it, before its queueing discipline */
	__u64 uplink_tx_ns;	/* when the uplink's driver got it */
	__u64 uplink_rx_ns;	/* when the uplink had received the reply */
	__u64 sender_rx_ns;	/* when the device of the sender's namespace had */
	__u64 cookie;		/* of the sender's namespace, which no later one has; 0 where it was forwarded, and not seen before */
	struct flow sender;	/* as the sender has it */
	struct flow network;	/* as it is on the network: addresses and identifiers may be translated */
	__u32 namespace;	/* the same by its inode */
	__u32 sender_ifindex;	/* its device; of those that were forwarded that by which they came */
	__u32 uplink_tx_ifindex;
	__u32 uplink_rx_ifindex;
	__u32 process;		/* that of its socket, or which was running when the request was sent: the sender, as a rule */
	__u32 flags;
};

struct passing {
	struct observed observed;
	__u64 packet;		/* the address of its socket buffer, to know it again */
	__u32 payload;		/* a hash of its beginning; 0 where there is none */
	__u32 payload_before;	/* of the request whose place it has taken */
};

struct passing_entry {
	__u64 lock;
	struct passing_key key;
	struct passing passing;
};

enum {
	PASSING_SET_BITS = 13,
	PASSING_SETS = 1 << PASSING_SET_BITS,
};

struct passing_set {
	__u32 tags[WAYS];
	__u32 kept[WAYS];	/* when, in KEPT_UNIT_BITS; in the cache line of the tags, as all of them are looked at */
	struct passing_entry entries[WAYS];
};

/* By the cookie of the sender's namespace. */
struct counts {
	__u64 left;		/* requests that got to the uplink */
	__u64 namespace;	/* its inode */
};

struct failures {
	__u64 evicted;	/* requests whose room newer ones took within PATIENCE_NS */
	__u64 refused;	/* requests that were not kept or not found, as somebody else was at that place of the table */
	__u64 untold;	/* replies for which there was no room in the ring buffer */
};

_Static_assert(sizeof(struct observed) == 144 && sizeof(struct counts) == 16 && sizeof(struct failures) == 24,
	       "hooks/src/watch.rs");

enum {
	NAMESPACES_MAX = 4096,
	SOCKETS_MAX = 4096,
	DESCENDANTS_MAX = 65536,
	/* Room for 27,000 replies that nobody has read yet. */
	RESULTS_BYTES = 1 << 22,
};

/* A request that was not answered so long is not expected to be: another one of its flow is no contest. */
#define PATIENCE_NS 10000000000ULL
/* A driver that is busy gets the same packet again, within this time. */
#define REPEAT_NS 10000000ULL
/* About a millisecond. */
#define KEPT_UNIT_BITS 20

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PASSING_SETS);
	__type(key, __u32);
	__type(value, struct passing_set);
} PASSING SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RESULTS_BYTES);
} RESULTS SEC(".maps");

/* Namespaces that are told of, where not all are. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NAMESPACES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} SELECTED SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NAMESPACES_MAX);
	__type(key, __u64);
	__type(value, struct counts);
} COUNTS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct failures);
} FAILURES SEC(".maps");

/* The processes that send, by the cookies of their sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SOCKETS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} PROCESSES SEC(".maps");

/*
 * A process, with 0; and with 1 those that have descended from it since, of which the last ones: also when they have ended, until
 * another has the number.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DESCENDANTS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} DESCENDANTS SEC(".maps");

static __always_inline struct failures *failures(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&FAILURES, &zero);
}

static __always_inline struct counts *counts_of(const struct observed *observed)
{
	__u64 cookie = observed->cookie;
	struct counts *counts = bpf_map_lookup_elem(&COUNTS, &cookie);
	struct counts none = {.namespace = observed->namespace};

	if (counts)
		return counts;
	bpf_map_update_elem(&COUNTS, &cookie, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&COUNTS, &cookie);
}

static __always_inline __u64 hash_of_key(const struct passing_key *key)
{
	__u64 words[sizeof(*key) / 8], hash = 0;

	_Static_assert(sizeof(*key) % 8 == 0, "whole words");
	__builtin_memcpy(words, key, sizeof(words));
#pragma clang loop unroll(full)
	for (__u32 word = 0; word < sizeof(words) / sizeof(words[0]); word++)
		hash = mix(hash ^ words[word]);
	return hash;
}

static __always_inline struct passing_set *passing_set_of(__u64 hash)
{
	__u32 number = hash >> (64 - PASSING_SET_BITS);

	return bpf_map_lookup_elem(&PASSING, &number);
}

/* When an entry was made. */
static __always_inline __u64 since(const struct observed *observed, __u32 stage)
{
	switch (stage) {
	case SENT:
		return observed->sender_tx_ns;
	case LEFT:
		return observed->uplink_queue_ns;
	default:
		return observed->uplink_rx_ns;
	}
}

static __always_inline int is_its(const struct passing_entry *entry, const struct passing_key *key)
{
	return !__builtin_memcmp(&entry->key, key, sizeof(*key));
}

/* Marks a request that takes the place of one of the same flow. */
static __always_inline void contest(struct passing *passing, const struct passing *before, __u64 age_ns)
{
	/* The address alone may be that of one that was freed meanwhile. */
	if (age_ns >= PATIENCE_NS ||
	    (before->packet && before->packet == passing->packet && before->payload == passing->payload && age_ns < REPEAT_NS))
		return;
	passing->observed.flags |= CONTESTED;
	passing->payload_before = before->payload;
	/* Of three, or of two that are the same, nobody can tell. */
	if (before->observed.flags & CONTESTED || !passing->payload || before->payload == passing->payload)
		passing->observed.flags |= AMBIGUOUS;
}

/* The time is taken as late as can be, so that it does not count what these programs take: the rest of them is little. */
static __always_inline void take_time(struct passing_entry *entry, __u32 stage)
{
	struct observed *observed = &entry->passing.observed;

	if (stage == SENT && !observed->sender_tx_ns)
		observed->sender_tx_ns = time_behind_writes(&entry->lock);
	else if (stage == LEFT)
		observed->uplink_queue_ns = time_behind_writes(&entry->lock);
}

/* The place for a new entry: a free one, or that of the oldest. */
static __always_inline __u32 way_to_keep(const struct passing_set *set, __u32 now)
{
	__u32 found = 0, longest = 0;

#pragma clang loop unroll(full)
	for (__u32 way = 0; way < WAYS; way++) {
		/* What another processor has kept meanwhile may be ahead: by much less than this, which changes no order. */
		__u32 age = now + (1 << 10) - set->kept[way];

		if (!set->tags[way])
			return way;
		if (age > longest) {
			longest = age;
			found = way;
		}
	}
	return found;
}

/* Keeps a request in its place, in a free one, or in that of the oldest of its set, with the time. Marks are written into `passing`. */
static __always_inline void keep(const struct passing_key *key, struct passing *passing, __u64 now_ns)
{
	__u64 hash = hash_of_key(key);
	struct passing_set *set = passing_set_of(hash);
	struct failures *counters = failures();
	struct passing_entry *entry;
	__u32 tag = tag_of(hash), now = now_ns >> KEPT_UNIT_BITS;
	__u32 way;

	if (!set || !counters)
		return;
	way = way_of_tag(set->tags, tag);
	if (way == WAYS)
		way = way_to_keep(set, now);
	way %= WAYS;
	entry = &set->entries[way];
	if (!try_lock_word(&entry->lock)) {
		counters->refused++;
		return;
	}
	if (set->tags[way]) {
		__u64 since_ns = since(&entry->passing.observed, entry->key.stage);
		/* What another processor has kept meanwhile is newer. */
		__u64 age_ns = now_ns > since_ns ? now_ns - since_ns : 0;

		if (is_its(entry, key))
			contest(passing, &entry->passing, age_ns);
		else if (age_ns < PATIENCE_NS)
			counters->evicted++;
	}
	entry->key = *key;
	entry->passing = *passing;
	set->tags[way] = tag;
	set->kept[way] = now;
	take_time(entry, key->stage);
	unlock_word(&entry->lock);
}

/*
 * Whether a message is that of the entry, where several have had the same flow, by its socket buffer, or else by the hash of its payload:
 * 1 if it is, 0 if it is that of the one before, and -1 where nobody can tell.
 */
static __always_inline int is_same(const struct passing *passing, __u64 packet, __u32 payload)
{
	if (packet && packet == passing->packet)
		return 1;
	if (passing->observed.flags & AMBIGUOUS)
		return -1;
	if (payload == passing->payload)
		return 1;
	return payload == passing->payload_before ? 0 : -1;
}

/* What a request has to be, besides of this flow, to be taken. */
enum wanted {
	ANY,
	SAME_PACKET,	/* and not a copy, or another one of the same flow */
};

/* Whether it is the reply to a request that has been answered, whose place the entry has taken. */
static __always_inline int is_of_past(const struct passing *passing, __u32 payload)
{
	return passing->observed.flags & PAST_CONTEST && payload == passing->payload_before;
}

/* Takes a request out of the table, if it is there. `packet` is 0 where what is there is not the same packet, but its reply. */
static __always_inline int take(const struct passing_key *key, __u64 packet, __u32 payload, enum wanted wanted,
				struct passing *passing)
{
	struct failures *counters = failures();
	__u64 hash = hash_of_key(key);
	struct passing_set *set = passing_set_of(hash);
	struct passing_entry *entry;
	__u32 tag = tag_of(hash);
	int found, same = 1;
	__u32 way;

	if (!set || !counters)
		return 0;
	way = way_of_tag(set->tags, tag);
	if (way >= WAYS)
		return 0;
	entry = &set->entries[way];
	if (!try_lock_word(&entry->lock)) {
		counters->refused++;
		return 0;
	}
	found = set->tags[way] == tag && is_its(entry, key) && !is_of_past(&entry->passing, payload) &&
		(wanted == ANY || entry->passing.packet == packet);
	if (found) {
		*passing = entry->passing;
		if (passing->observed.flags & CONTESTED) {
			same = is_same(passing, packet, payload);
			passing->observed.flags &= ~CONTESTED;
		}
		passing->observed.flags &= ~PAST_CONTEST;
		if (packet && packet == passing->packet)
			passing->observed.flags &= ~AMBIGUOUS;
		else if (same <= 0)
			passing->observed.flags |= AMBIGUOUS;
		/* Where the one before is answered, whose times are gone, those of the newer one wait on. */
		if (same)
			set->tags[way] = 0;
		else
			entry->passing.observed.flags ^= CONTESTED | PAST_CONTEST;
	}
	unlock_word(&entry->lock);
	return found;
}

/* Adds to a request that has left the time at which the driver got it, if it waits for its reply. */
static __always_inline void add_uplink_tx(const struct passing_key *key, __u64 packet)
{
	__u64 hash = hash_of_key(key);
	struct passing_set *set = passing_set_of(hash);
	struct passing_entry *entry;
	__u32 tag = tag_of(hash);
	__u32 way;

	if (!set)
		return;
	way = way_of_tag(set->tags, tag);
	if (way >= WAYS)
		return;
	entry = &set->entries[way];
	if (!try_lock_word(&entry->lock))
		return;
	if (set->tags[way] == tag && is_its(entry, key) && entry->passing.packet == packet)
		entry->passing.observed.uplink_tx_ns = bpf_ktime_get_ns();
	unlock_word(&entry->lock);
}

/* Tells what was observed. To wake who reads takes longer than all else: he looks by himself. */
static __always_inline void tell(const struct observed *observed)
{
	struct observed *result = bpf_ringbuf_reserve(&RESULTS, sizeof(*result), 0);
	struct failures *counters = failures();

	if (!result) {
		if (counters)
			counters->untold++;
		return;
	}
	*result = *observed;
	bpf_ringbuf_submit(result, BPF_RB_NO_WAKEUP);
}

#endif
