//! What goes into the stamps of a host: its number and the bound of its clock readings.

use std::{fs, time::Duration};

use instamp_trailer::Bound;
use nix::time::{ClockId, clock_gettime};

use crate::{Error, error::Context as _};

/// How many readings are compared.
const READINGS: usize = 10_000;
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
/// program asked for it.
///
/// A reading returns a time between its start and its end. The difference of two consecutive readings spans one whole
/// reading and includes the clock's resolution, so it bounds both. Of many differences the 99th percentile counts: those
/// above are interruptions of the loop, not of the clock. It is measured with `CLOCK_MONOTONIC`, which the programs read
/// through the same kernel code.
pub(crate) fn bound() -> u8 {
    let mut previous = now();
    let mut differences: Vec<Duration> = (0..READINGS)
        .map(|_| {
            let next = now();
            let difference = next.saturating_sub(previous);
            previous = next;
            difference
        })
        .collect();
    bound_of(&mut differences)
}

fn bound_of(differences: &mut [Duration]) -> u8 {
    let last = differences.len().saturating_sub(1);
    if differences.is_empty() {
        return Bound::UNKNOWN.exponent();
    }
    let (_, high, _) = differences.select_nth_unstable(last * 99 / 100);
    let nanoseconds = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
    Bound::at_least(nanoseconds).exponent().max(LEAST_EXPONENT)
}

/// Zero where the clock cannot be read, which Linux does not know.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound_of_nanoseconds(nanoseconds: impl IntoIterator<Item = u64>) -> u8 {
        bound_of(&mut nanoseconds.into_iter().map(Duration::from_nanos).collect::<Vec<_>>())
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
