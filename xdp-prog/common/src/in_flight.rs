//! Takes requests out of the table of those that have left, which `trace-prog/` fills.

use core::arch::asm;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, PerCpuArray},
    macros::btf_map,
};
use instamp_trailer::{
    Refusal, Sent, SentKey,
    in_flight::{DEVICES, Entry, SETS, SentCounters, Set, WAYS},
};

/// The requests, of all attachments.
#[btf_map]
static IN_FLIGHT: Array<Set, { SETS as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What became of them, by the device that has sent them.
#[btf_map]
static SENT_COUNTERS: PerCpuArray<SentCounters, { DEVICES as usize }> = PerCpuArray::new();

/// Takes out a request, if it had this identifier and sequence number.
///
/// # Errors
///
/// [`Refusal::Absent`], [`Refusal::Mismatch`].
#[inline(always)]
pub(crate) fn take(key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
    let hash = key.hash();
    let tag = SentKey::tag(hash);
    let set = IN_FLIGHT.get_ptr_mut(SentKey::set(hash)).ok_or(Refusal::Absent)?;
    let way = way_of(set, tag).ok_or(Refusal::Absent)?;
    // The verifier sees no more of it than this.
    let way = way & (WAYS - 1);
    // SAFETY: an entry of the map, which lives as long as the program; only its address is taken.
    let entry = unsafe { &raw mut (*set).entries[way] };
    // SAFETY: likewise.
    let tag_in_set = unsafe { &raw mut (*set).tags[way] };
    // SAFETY: likewise.
    let lock = unsafe { &raw mut (*entry).lock };
    // Who holds it adds the card's time, or gives its room to another. Nobody waits for that.
    // SAFETY: an aligned number of the map, which is changed by atomic instructions alone.
    if unsafe { exchange(lock, 1) } != 0 {
        return Err(Refusal::Absent);
    }
    // SAFETY: the lock is ours, and with it the entry and its tag.
    let taken = unsafe { take_locked(entry, tag_in_set, tag, key, echo) };
    // SAFETY: as above.
    unsafe { exchange(lock, 0) };
    if let Ok(sent) = &taken {
        count_taken(sent);
    }
    taken
}

/// Counts a request that was taken by its reply, if the device that has sent it is still that one.
#[inline(always)]
fn count_taken(sent: &Sent) {
    let (number, generation) = sent.device();
    let Some(counters) = SENT_COUNTERS.get_ptr_mut(number) else { return };
    // SAFETY: the entry is this CPU's own, and ingress hooks run with softirqs off.
    let counters = unsafe { &mut *counters };
    if counters.generation == generation {
        counters.taken += 1;
    }
}

/// The place of an entry with this tag. It may be another's.
#[inline(always)]
fn way_of(set: *const Set, tag: u32) -> Option<usize> {
    let mut way = 0;
    while way < WAYS {
        // SAFETY: inside the set, aligned; others write it meanwhile.
        let found = unsafe { (&raw const (*set).tags[way]).read_volatile() };
        if found == tag {
            return Some(way);
        }
        way += 1;
    }
    None
}

/// Exchanges a number, and returns what it was. All memory is accessed before or after, in the order of the program.
///
/// Rust has no atomic exchange for this target, whose first versions had none; version 3 of the instruction set has (RFC 9669
/// section 5.3).
///
/// # Safety
///
/// The number is valid and aligned.
#[inline(always)]
unsafe fn exchange(number: *mut u64, value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the instruction changes the number and the register that it names.
    unsafe { asm!("{value} = xchg_64({number} + 0, {value})", number = in(reg) number, value = inout(reg) value) };
    value
}

/// # Safety
///
/// Both are valid, and nobody else writes them meanwhile.
#[inline(always)]
unsafe fn take_locked(
    entry: *mut Entry,
    tag_in_set: *mut u32,
    tag: u32,
    key: &SentKey,
    echo: [u8; 4],
) -> Result<Sent, Refusal> {
    // SAFETY: as above.
    if unsafe { tag_in_set.read_volatile() } != tag {
        return Err(Refusal::Absent);
    }
    // SAFETY: as above.
    if unsafe { (&raw const (*entry).key).read_volatile() } != *key {
        return Err(Refusal::Absent);
    }
    // SAFETY: as above.
    let sent = unsafe { (&raw const (*entry).sent).read_volatile() };
    if sent.echo != echo {
        return Err(Refusal::Mismatch);
    }
    // SAFETY: as above.
    unsafe { tag_in_set.write_volatile(0) };
    Ok(sent)
}
