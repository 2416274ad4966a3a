//! The loaded programs and the native routine do the same to the same packets, byte for byte.

mod late;
mod reflecting;
mod twin;

use std::{collections::HashMap, net::IpAddr, ops::RangeInclusive};

pub use late::{LateProgram, compare_late};
pub use reflecting::compare_reflecting;

use instamp_hooks::Objects;
use instamp_trailer::{Hook, Record, Refusal, Site, Standing, locate, stamp, wire::RECORD_LENGTH};
use rand::{SeedableRng, rngs::SmallRng};
use zerocopy::FromBytes;

use self::twin::Twin;
use crate::{
    packets::{Frame, Generator, PROBER4, PROBER6, TARGET4, TARGET6, message_sum},
    programs::{Loaded, Run, site},
};

const XDP_PASS: i32 = 2;
const TC_ACT_UNSPEC: i32 = -1;

/// Own addresses, one of them also responded to, those of a prober that is responded to, and strangers.
fn policy() -> Vec<(IpAddr, Standing)> {
    vec![
        (PROBER4, Standing::OWN),
        (PROBER6, Standing::OWN.and(Standing::RESPOND)),
        (address("203.0.113.9"), Standing::RESPOND),
        (address("2001:db8:9::9"), Standing::RESPOND),
    ]
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The program with a policy to compare under.
fn with_policy(mut program: Loaded) -> Loaded {
    for (address, standing) in policy() {
        program.set_standing(address, standing);
    }
    program
}

/// Runs both at `site` on `frame`, compares them, and returns what came of it.
fn both(program: &Loaded, site: Site, frame: &[u8]) -> (Result<(), Refusal>, Vec<u8>) {
    let behind = passed(program, frame, 0);
    let twin = Twin::new(site);
    twin.time_ns.set(next_record(frame, &behind).map_or(0, |record| record.time_ns()));
    let mut native = frame.to_vec();
    let outcome = stamp(native.as_mut_slice(), &twin, program.hook());
    assert_eq!(native, behind, "{} on {frame:02x?}: {outcome:?}", program.hook());
    if !matches!(outcome, Ok(()) | Err(Refusal::Full)) {
        assert_eq!(frame, behind, "{outcome:?} must leave the packet as it is");
    }
    keeps_sum(frame, &behind);
    (outcome, behind)
}

/// What the program makes of `frame`, which the card received at `nic_rx_ns`. It lets it pass.
fn passed(program: &Loaded, frame: &[u8], nic_rx_ns: u64) -> Vec<u8> {
    let Run { frame: behind, verdict } = program.run_received(frame, nic_rx_ns);
    assert_eq!(verdict, if program.hook() == Hook::XDP_INGRESS { XDP_PASS } else { TC_ACT_UNSPEC });
    behind
}

fn keeps_sum(frame: &[u8], behind: &[u8]) {
    if let Some(sum) = message_sum(frame) {
        assert_eq!(Some(sum), message_sum(behind), "the sum of the message changed: {frame:02x?}");
    }
}

/// The record of `behind` that was the first free one in `before`.
fn next_record(before: &[u8], behind: &[u8]) -> Option<Record> {
    let probe = locate(before).ok()?;
    let footer = usize::try_from(probe.footer_offset).ok()?;
    let (used, cap) = (usize::from(before[footer + 10] >> 4), usize::from(before[footer + 10] & 0xf));
    let start = footer.checked_sub((cap.checked_sub(used)?) * RECORD_LENGTH)?;
    Record::read_from_prefix(behind.get(start..)?).ok().map(|(record, _)| record)
}

/// Test runs take whole Ethernet headers, those of TC programs whole IP headers, and one page at most.
fn lengths(hook: Hook) -> RangeInclusive<usize> {
    if hook == Hook::XDP_INGRESS { 14..=3000 } else { 54..=3000 }
}

/// Compares the program for `hook` with the native routine on as many generated packets, which `seed` decides, and its
/// counters with what became of them.
///
/// # Panics
///
/// They differ, or something that can become of a packet became of none.
pub fn compare(origin: &str, objects: &Objects, hook: Hook, packets: usize, seed: u64) {
    let mut program = with_policy(Loaded::new(objects, hook));
    let mut addresses: Vec<_> = policy().into_iter().map(|(address, _)| address).collect();
    addresses.extend([TARGET4, TARGET6]);
    let random = SmallRng::seed_from_u64(seed);
    let mut generator = Generator { random, addresses, lengths: lengths(hook), run: None };
    let mut outcomes = HashMap::new();
    // The uplink has a rule of its own.
    for site in [site(), Site { point: 0, ..site() }] {
        program.set_site(site);
        for _ in 0..packets / 2 {
            let (outcome, _) = both(&program, site, &generator.frame());
            *outcomes.entry(outcome).or_insert(0_u64) += 1;
        }
    }
    for (outcome, count) in program.counts() {
        assert_eq!(outcomes.get(&outcome).copied().unwrap_or(0), count, "{origin}, {hook}: {outcome:?}");
        // A packet here can be written to, and the others happen to late stamps alone.
        let is_possible = !matches!(outcome, Err(Refusal::Unwritable | Refusal::Absent | Refusal::Mismatch));
        assert_eq!(count > 0, is_possible, "{origin}, {hook}: {count} packets were {outcome:?}");
    }
}

/// Compares the XDP program with the native routine on probes with as many bytes before the trailer, which lie in several
/// buffers where they are longer than a page.
///
/// # Panics
///
/// They differ, or a probe is not stamped.
pub fn compare_large(objects: &Objects, lengths: impl Iterator<Item = usize>) {
    let mut program = with_policy(Loaded::new(objects, Hook::XDP_INGRESS));
    program.set_site(site());
    for length in lengths {
        let mut frame = Frame::request(PROBER4, TARGET4);
        frame.application = vec![0x55; length];
        let (outcome, behind) = both(&program, site(), &frame.bytes());
        assert_eq!(outcome, Ok(()), "{length} bytes before the trailer");
        assert_ne!(frame.bytes(), behind);
    }
}
