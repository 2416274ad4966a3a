//! What goes into the stamps of a host: its number and the bound of its clock readings.

use std::{fs, time::Duration};

use instamp_trailer::Bound;
use nix::time::{ClockId, clock_gettime};

use crate::{Error, error::Context as _};

/// How many times the clock is measured.
const ROUNDS: usize = 200;
/// How many readings are compared in a round, which takes some ten microseconds: most rounds end before anything interrupts.
const READINGS: usize = 500;
/// No bound below 2^6 = 64 ns is claimed: a reading in the kernel passes through caches that the loop here keeps warm.
const LEAST_EXPONENT: u8 = 6;

/// Another for each boot of each machine, clones of one included; the same in all namespaces of it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A number for this host: 16 bits of a hash of its boot, not 0.
///
/// It tells stamping hosts apart; it identifies none. Two in a path collide once in 65535.
pub(crate) fn node() -> Result<u16, Error> {
    Ok(node_of(fs::read_to_string(BOOT_ID).context("read", BOOT_ID)?.trim()))
}

fn node_of(boot: &str) -> u16 {
    // FNV-1a of 32 bits, folded: the same in every version of this program.
    let hash = boot.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d]).max(1)
}

/// The exponent of the bound of a software stamp: how far the time in a stamp may lie from the moment at which the
/// program asked for it. An estimate, for a reading that nothing interrupts.
///
/// A reading returns a time between its start and its end. The difference of two consecutive readings spans one whole
/// reading and includes the clock's resolution, so it bounds both. The readings here are those of user space, in the
/// vDSO; the programs' are the kernel's own, which cannot be timed from here, but read the same counter.
///
/// Of the differences of a round the 99th percentile counts, and of the rounds the least: what preemption, interrupts or a
/// hypervisor add is not the clock's, and does not come in every round.
pub(crate) fn bound() -> u8 {
    bound_of((0..ROUNDS).map(|_| round()))
}

/// The differences of consecutive readings.
fn round() -> Vec<Duration> {
    let mut previous = now();
    let mut difference = || {
        let next = now();
        let difference = next.saturating_sub(previous);
        previous = next;
        difference
    };
    (0..READINGS).map(|_| difference()).collect()
}

fn bound_of(rounds: impl Iterator<Item = Vec<Duration>>) -> u8 {
    let Some(least) = rounds.filter_map(high).min() else { return Bound::UNKNOWN.exponent() };
    let nanoseconds = u64::try_from(least.as_nanos()).unwrap_or(u64::MAX);
    Bound::at_least(nanoseconds).exponent().max(LEAST_EXPONENT)
}

/// The 99th percentile; `None` of nothing.
fn high(mut differences: Vec<Duration>) -> Option<Duration> {
    let last = differences.len().checked_sub(1)?;
    Some(*differences.select_nth_unstable(last * 99 / 100).1)
}

/// Zero where the clock cannot be read, which Linux does not know.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanoseconds(nanoseconds: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        nanoseconds.into_iter().map(Duration::from_nanos).collect()
    }

    fn bound_of_nanoseconds(differences: impl IntoIterator<Item = u64>) -> u8 {
        bound_of([nanoseconds(differences)].into_iter())
    }

    #[test]
    fn the_bound_is_the_next_power_of_two() {
        assert_eq!(bound_of_nanoseconds([65; 100]), 7);
        assert_eq!(bound_of_nanoseconds([128; 100]), 7);
        assert_eq!(bound_of_nanoseconds([129; 100]), 8);
    }

    #[test]
    fn the_bound_is_at_least_64_ns() {
        assert_eq!(bound_of_nanoseconds([0; 100]), 6);
        assert_eq!(bound_of_nanoseconds([64; 100]), 6);
    }

    #[test]
    fn one_interruption_in_a_hundred_does_not_count_and_two_do() {
        assert_eq!(bound_of_nanoseconds((0..200).map(|i| if i < 2 { 1_000_000 } else { 30 })), 6);
        assert_eq!(bound_of_nanoseconds((0..200).map(|i| if i < 4 { 1_000_000 } else { 30 })), 20);
    }

    #[test]
    fn of_several_rounds_the_quietest_counts() {
        let rounds = [[30_000; 100], [65; 100], [1_000_000; 100]];
        assert_eq!(bound_of(rounds.into_iter().map(nanoseconds)), 7);
        assert_eq!(bound_of([nanoseconds([]), nanoseconds([200])].into_iter()), 8);
        assert_eq!(bound_of([].into_iter()), Bound::UNKNOWN.exponent());
    }

    #[test]
    fn a_clock_that_is_worse_than_a_second_has_no_bound() {
        assert_eq!(bound_of_nanoseconds([3_000_000_000; 4]), Bound::UNKNOWN.exponent());
        assert_eq!(bound_of_nanoseconds([]), Bound::UNKNOWN.exponent());
    }

    #[test]
    fn nodes_differ_by_boot_and_are_never_zero() {
        let boot = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
        assert_eq!(node_of(boot), node_of(boot));
        assert_ne!(node_of(boot), node_of("1b4e28ba-2fa1-11d2-883f-0016d3cca428"));
        assert!((0..200_000).all(|boot| node_of(&boot.to_string()) != 0));
    }
}
