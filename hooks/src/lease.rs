//! Until when a reflector reflects: as long as its process renews that.

use std::{fs, io::ErrorKind, time::Duration};

use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
};

use crate::{
    Error,
    error::{Context as _, failed},
};

/// How long requests are reflected after the last renewal.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Of the process in its time namespace. The kernel without such namespaces has no file.
const OFFSETS: &str = "/proc/self/timens_offsets";

/// `CLOCK_MONOTONIC` as programs read it, in nanoseconds: that of the initial time namespace.
pub(crate) fn now_ns() -> Result<u64, Error> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).context("read", "CLOCK_MONOTONIC")?;
    let offset_ns = match fs::read_to_string(OFFSETS) {
        Ok(text) => offset_ns(&text).ok_or_else(|| failed("understand", OFFSETS, Errno::EINVAL))?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(failed("read", OFFSETS, error)),
    };
    let here_ns = i64::try_from(Duration::from(now).as_nanos()).context("read", "CLOCK_MONOTONIC")?;
    u64::try_from(here_ns - offset_ns).context("read", "CLOCK_MONOTONIC")
}

/// When a lease ends that begins now.
pub(crate) fn end_ns() -> Result<u64, Error> {
    let lease_ns = u64::try_from(LEASE.as_nanos()).unwrap_or(u64::MAX);
    Ok(now_ns()?.saturating_add(lease_ns))
}

/// By how much the monotonic clock here is ahead of that of the initial time namespace: `monotonic <seconds> <nanoseconds>`.
fn offset_ns(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_the_monotonic_clock() {
        let offset = |text| offset_ns(text);
        assert_eq!(offset("monotonic           0         0\nboottime            0         0\n"), Some(0));
        assert_eq!(offset("monotonic      -10 500000000\nboottime 7 0\n"), Some(-9_500_000_000));
        assert_eq!(offset("boottime 7 0\n"), None);
        assert_eq!(offset("monotonic 7\n"), None);
    }
}
