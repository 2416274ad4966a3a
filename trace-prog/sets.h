/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tables of sets. A set is a ring of entries with a tag each: a new one takes the room of the oldest. Each entry has a lock, for which
 * nobody waits.
 */
#ifndef INSTAMP_SETS_H
#define INSTAMP_SETS_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum {
	WAYS = 8,	/* entries of a set */
};

static __always_inline __u64 mix(__u64 number)
{
	number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
	number = (number ^ number >> 27) * 0x94d049bb133111eb;
	return number ^ number >> 31;
}

/* 0 is the tag of no entry. */
static __always_inline __u32 tag_of(__u64 hash)
{
	return (__u32)hash | 1;
}

/* The place of an entry with this tag, or WAYS. It may be another's. */
static __always_inline __u32 way_of_tag(const __u32 *tags, __u32 tag)
{
#pragma clang loop unroll(full)
	for (__u32 way = 0; way < WAYS; way++)
		if (tags[way] == tag)
			return way;
	return WAYS;
}

/* Nobody waits: who holds an entry reads or writes it, and may have been interrupted meanwhile. */
static __always_inline int try_lock_word(__u64 *lock)
{
	return __sync_val_compare_and_swap(lock, 0, 1) == 0;
}

static __always_inline void unlock_word(__u64 *lock)
{
	/* A read-modify-write that returns a value orders all before it. */
	__sync_val_compare_and_swap(lock, 1, 0);
}

/*
 * The time, behind all that was written into an entry that is locked. To release a lock waits until that has got to the cache, and where no cache
 * has the entry's lines it takes longer than all else: of a clock that is read before, the wait would be in the figure of what comes next.
 * (Exactness alone depends on it: where locked instructions only order writes, as on arm64, it may do less.)
 */
static __always_inline __u64 time_behind_writes(__u64 *lock)
{
	__sync_val_compare_and_swap(lock, 1, 1);
	return bpf_ktime_get_ns();
}

#endif
