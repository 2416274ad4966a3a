//! The functions as C calls them, with what C can get wrong.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr::{null, null_mut},
    thread,
};

use instamp::{Bound, Clock, Hook, Phase};
use zerocopy::IntoBytes as _;

use super::*;

pub(crate) const NONCE: u64 = 0x0123_4567_89ab_cdef;

/// Counts what each thread allocates.
struct Counting;

thread_local!(static ALLOCATIONS: Cell<u64> = const { Cell::new(0) });

// SAFETY: it does what the system's does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Not where a thread has ended.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

pub(crate) fn run(payload_length: usize) -> Result<Run, i32> {
    let mut run = Run::default();
    // SAFETY: a run of this function.
    let code = unsafe { instamp_run_init(&raw mut run, payload_length) };
    if code == INSTAMP_OK { Ok(run) } else { Err(code) }
}

pub(crate) fn reserve(run: &Run, payload: &mut [u8]) -> i32 {
    // SAFETY: references.
    unsafe { instamp_reserve(run, payload.as_mut_ptr().cast(), payload.len(), 1, NONCE) }
}

fn stripped(payload: &[u8], nonce: u64) -> Result<Stripped, i32> {
    let mut stripped = Stripped::default();
    // SAFETY: references.
    let code = unsafe { instamp_strip(payload.as_ptr().cast(), payload.len(), nonce, &raw mut stripped) };
    if code == INSTAMP_OK { Ok(stripped) } else { Err(code) }
}

fn corrected(records: &[Record], sent_ns: u64, received_ns: u64) -> Result<Correction, i32> {
    let mut correction = Correction::default();
    let count = u32::try_from(records.len()).expect("few");
    // SAFETY: references.
    let code = unsafe { instamp_correct(records.as_ptr(), count, sent_ns, received_ns, &raw mut correction) };
    if code == INSTAMP_OK { Ok(correction) } else { Err(code) }
}

fn in_one_step(payload: &[u8], nonce: u64, sent_ns: u64, received_ns: u64) -> Result<Correction, i32> {
    let (bytes, length) = (payload.as_ptr().cast(), payload.len());
    let mut correction = Correction::default();
    // SAFETY: references.
    let code = unsafe { instamp_strip_correct(bytes, length, nonce, sent_ns, received_ns, &raw mut correction) };
    if code == INSTAMP_OK { Ok(correction) } else { Err(code) }
}

fn record(phase: u8, hook: u8, time_ns: u64) -> Record {
    Record { time_ns, node: 7, phase, hook, clock: INSTAMP_CLOCK_MONOTONIC, bound_exponent: 6, ..Record::default() }
}

/// A payload with two stamps of one host.
fn stamped() -> [u8; 64] {
    let mut payload = [0; 64];
    assert_eq!(reserve(&run(64).expect("even"), &mut payload), INSTAMP_OK);
    let stamps = [(Phase::Request, Hook::TC_EGRESS, 1_020), (Phase::Reply, Hook::XDP_INGRESS, 1_090)];
    for (index, (phase, hook, time_ns)) in stamps.into_iter().enumerate() {
        let record = instamp::Record::new(phase, 0, hook, 7, Clock::MONOTONIC, Bound::at_least(64), time_ns);
        payload[12 * index..][..12].copy_from_slice(record.as_bytes());
    }
    // Two of four are used.
    payload[58] = 0x24;
    payload
}

#[test]
fn a_probe_comes_back_with_its_stamps() {
    let payload = stamped();
    let parts = stripped(&payload, NONCE).expect("its trailer");
    assert_eq!((parts.application_length, parts.flags, parts.record_count), (0, 0, 2));
    let records = [
        record(INSTAMP_PHASE_REQUEST, INSTAMP_HOOK_TC_EGRESS, 1_020),
        record(INSTAMP_PHASE_REPLY, INSTAMP_HOOK_XDP_INGRESS, 1_090),
    ];
    assert_eq!(parts.records[..2], records);
    assert_eq!(parts.records[2..], [Record::default(); 13]);

    let expected = Correction {
        rtt_ns: 100,
        net_ns: 70,
        tx_stack_ns: 20,
        rx_stack_ns: 10,
        bound_ns: 128,
        flags: INSTAMP_CORRECTION_REMOTE_KNOWN | INSTAMP_CORRECTION_BOUND_KNOWN,
        request_hook: INSTAMP_HOOK_TC_EGRESS,
        reply_hook: INSTAMP_HOOK_XDP_INGRESS,
        ..Correction::default()
    };
    assert_eq!(corrected(&records, 1_000, 1_100), Ok(expected));
    assert_eq!(in_one_step(&payload, NONCE, 1_000, 1_100), Ok(expected));
}

#[test]
fn payloads_without_a_trailer_of_this_probe_say_why() {
    let payload = stamped();
    let both = |payload: &[u8], nonce, error: Error| {
        assert_eq!(stripped(payload, nonce), Err(error.code()));
        assert_eq!(in_one_step(payload, nonce, 1_000, 1_100), Err(error.code()));
    };
    both(&payload, NONCE + 1, Error::ForeignNonce);
    both(&[], NONCE, Error::NoTrailer);
    both(&payload[..63], NONCE, Error::NoTrailer);
    both(&payload[1..], NONCE, Error::OddLength);
    both(&payload[2..], NONCE, Error::Counts);
    let mut version = payload;
    version[63] = 2;
    both(&version, NONCE, Error::Version);
    let mut counts = payload;
    counts[58] = 0x54;
    both(&counts, NONCE, Error::Counts);
}

#[test]
fn a_full_trailer_is_told() {
    let mut payload = stamped();
    payload[59] = 1;
    assert_eq!(stripped(&payload, NONCE).map(|parts| parts.flags), Ok(INSTAMP_STRIPPED_FULL));
}

#[test]
fn what_cannot_be_corrected_says_why() {
    let request = record(INSTAMP_PHASE_REQUEST, INSTAMP_HOOK_TC_EGRESS, 1_020);
    let reply = record(INSTAMP_PHASE_REPLY, INSTAMP_HOOK_XDP_INGRESS, 1_090);
    let why = |records: &[Record]| corrected(records, 1_000, 1_100);
    assert_eq!(why(&[]), Err(Error::NoStamps.code()));
    assert_eq!(why(&[reply]), Err(Error::NoRequestStamp.code()));
    assert_eq!(why(&[request]), Err(Error::NoReplyStamp.code()));
    assert_eq!(why(&[request, Record { time_ns: 1_101, ..reply }]), Err(Error::ClockMismatch.code()));
    assert_eq!(why(&[reply, request]), Err(Error::NodeConflict.code()));
}

#[test]
fn records_that_no_trailer_holds_are_refused() {
    let good = record(INSTAMP_PHASE_REQUEST, INSTAMP_HOOK_TC_EGRESS, 1_020);
    let bad = [
        Record { phase: 2, ..good },
        Record { point: 8, ..good },
        Record { hook: 16, ..good },
        Record { clock: 8, ..good },
        Record { bound_exponent: 32, ..good },
    ];
    for record in bad {
        assert_eq!(corrected(&[good, record], 1_000, 1_100), Err(Error::Record.code()), "{record:?}");
    }
    assert_eq!(corrected(&[good; 16], 1_000, 1_100), Err(Error::Record.code()));
    // A later version may set what is reserved.
    assert_eq!(corrected(&[Record { reserved: 1, ..good }], 1_000, 1_100), Err(Error::NoReplyStamp.code()));
}

#[test]
fn null_is_told_and_nothing_is_written() {
    const NULL: i32 = Error::NullPointer.code();
    let run = run(64).expect("even");
    let mut payload = [0x55_u8; 64];
    let bytes = payload.as_mut_ptr();
    let good = record(INSTAMP_PHASE_REQUEST, INSTAMP_HOOK_TC_EGRESS, 1_020);
    let mut model = null_mut();
    let (mut stripped, mut correction, mut conversion, mut checksum) =
        (Stripped::default(), Correction::default(), Conversion::default(), 0);
    // SAFETY: null, or variables of this function.
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one after another, and for one reason")]
    let codes = unsafe {
        [
            instamp_run_init(null_mut(), 64),
            instamp_run_set_cap(null_mut(), 4),
            instamp_run_set_checksum(null_mut(), 8, 0, 1, 2),
            instamp_run_checksum(&raw const run, 8, 0, 1, null_mut()),
            instamp_run_checksum(null(), 8, 0, 1, &raw mut checksum),
            instamp_reserve(null(), bytes.cast(), 64, 1, NONCE),
            instamp_reserve(&raw const run, null_mut(), 64, 1, NONCE),
            instamp_strip(null(), 64, NONCE, &raw mut stripped),
            instamp_strip(bytes.cast(), 64, NONCE, null_mut()),
            instamp_correct(null(), 1, 0, 1, &raw mut correction),
            instamp_correct(&raw const good, 1, 0, 1, null_mut()),
            instamp_strip_correct(null(), 64, NONCE, 0, 1, &raw mut correction),
            instamp_strip_correct(bytes.cast(), 64, NONCE, 0, 1, null_mut()),
            instamp_clock_model_open(null(), c"ptp0".as_ptr(), null_mut()),
            instamp_clock_model_open(null(), null(), &raw mut model),
            instamp_clock_model_convert(null_mut(), 1, 1, &raw mut conversion),
            instamp_clock_model_confirm(null_mut(), &raw const conversion),
            instamp_time_namespace_offset_ns(null_mut()),
        ]
    };
    assert_eq!(codes, [NULL; 18]);
    assert_eq!(payload, [0x55; 64]);
    assert_eq!((stripped, correction, checksum), (Stripped::default(), Correction::default(), 0));
    // SAFETY: null is no model.
    unsafe { instamp_clock_model_close(null_mut()) };
}

#[test]
fn no_bytes_may_be_at_null_and_too_many_are_refused() {
    let mut parts = Stripped::default();
    for (length, error) in [(0, Error::NoTrailer), (usize::MAX, Error::BufferLength)] {
        let bytes = if length == 0 { null() } else { (&raw const parts).cast() };
        // SAFETY: no bytes, or so many that nobody looks at them.
        assert_eq!(unsafe { instamp_strip(bytes, length, NONCE, &raw mut parts) }, error.code());
    }
    let mut correction = Correction::default();
    // SAFETY: no records.
    let code = unsafe { instamp_correct(null(), 0, 0, 1, &raw mut correction) };
    assert_eq!(code, Error::NoStamps.code());
}

#[test]
fn the_way_of_a_probe_allocates_nothing() {
    let before = ALLOCATIONS.get();
    let payload = stamped();
    let parts = stripped(&payload, NONCE).expect("its trailer");
    let count = parts.record_count as usize;
    corrected(&parts.records[..count], 1_000, 1_100).expect("comparable");
    in_one_step(&payload, NONCE, 1_000, 1_100).expect("comparable");
    in_one_step(&payload, NONCE + 1, 1_000, 1_100).expect_err("another probe's");
    instamp_error_text(Error::ForeignNonce.code());
    assert_eq!(ALLOCATIONS.get(), before);
    // It counts.
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

#[test]
fn threads_share_a_run_and_a_payload() {
    let run = run(64).expect("even");
    let (payload, expected) = (stamped(), in_one_step(&stamped(), NONCE, 1_000, 1_100));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    let mut own = [0; 64];
                    assert_eq!(reserve(&run, &mut own), INSTAMP_OK);
                    assert_eq!(in_one_step(&own, NONCE, 1_000, 1_100), Err(Error::NoStamps.code()));
                    assert_eq!(in_one_step(&payload, NONCE, 1_000, 1_100), expected);
                }
            });
        }
    });
}

#[test]
fn structures_have_no_padding_and_the_sizes_that_programs_are_linked_with() {
    assert_eq!(size_of::<Run>(), 8 + 4 + 2 * 2 + 2 * 8);
    assert_eq!(size_of::<Record>(), 8 + 2 + 6);
    assert_eq!(size_of::<Stripped>(), 8 + 4 + 4 + 15 * size_of::<Record>() + 2 * 8);
    assert_eq!(size_of::<Correction>(), 8 * 8 + 4 + 4 + 7 * 8);
    assert_eq!(size_of::<Conversion>(), 5 * 8 + 3 * 8);
}
