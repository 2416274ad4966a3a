//! The application's monotonic clock in the host's time.
//!
//! Hooks stamp in `CLOCK_MONOTONIC` of the initial time namespace. In another time namespace (`unshare -T`, some
//! container engines) an application's readings of the same clock are shifted by a fixed offset.

use std::{fs, io, path::Path};

use thiserror::Error;

/// How far the application's `CLOCK_MONOTONIC` is ahead of the host's. Constant during the life of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MonotonicOffset {
    ns: i64,
}

/// Why the offset is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TimeNamespaceError {
    /// A file below /proc could not be read.
    #[error("cannot read {path}; is /proc mounted?")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The process has left its children another time namespace than its own, of which /proc does not tell the offset.
    #[error(
        "the offset of this process's time namespace is not told by /proc, only that of its children's: run the prober in a child process"
    )]
    Unshared,
    /// The kernel's file has another form than the one known.
    #[error("/proc/self/timens_offsets does not tell the offset of the monotonic clock")]
    Format,
}

const NAMESPACES: &str = "/proc/self/ns";
const OWN: &str = "/proc/self/ns/time";
const OF_CHILDREN: &str = "/proc/self/ns/time_for_children";
/// Of the namespace of children, which is the process's own unless it has just unshared it.
const OFFSETS: &str = "/proc/self/timens_offsets";
/// The inode is a constant of the kernel: `PROC_TIME_INIT_INO` in
/// [`proc_ns.h`](https://github.com/torvalds/linux/blob/v6.12/include/linux/proc_ns.h).
const INITIAL: &str = "time:[4026531834]";

impl MonotonicOffset {
    /// Of the calling process. 0 in the initial time namespace, and on kernels without time namespaces (before Linux 5.6).
    ///
    /// # Errors
    ///
    /// [`TimeNamespaceError`].
    pub fn of_this_process() -> Result<Self, TimeNamespaceError> {
        let own = match fs::read_link(OWN) {
            Ok(own) => own,
            // A kernel without time namespaces has the directory, without this file.
            Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(NAMESPACES).is_dir() => {
                return Ok(Self::default());
            }
            Err(source) => return Err(TimeNamespaceError::Read { path: OWN, source }),
        };
        if own == Path::new(INITIAL) {
            return Ok(Self::default());
        }
        let of_children = fs::read_link(OF_CHILDREN);
        if own != of_children.map_err(|source| TimeNamespaceError::Read { path: OF_CHILDREN, source })? {
            return Err(TimeNamespaceError::Unshared);
        }
        let offsets = fs::read_to_string(OFFSETS);
        Self::parse(&offsets.map_err(|source| TimeNamespaceError::Read { path: OFFSETS, source })?)
    }

    /// Reads the line `monotonic <seconds> <nanoseconds>`, where the seconds are signed and the nanoseconds are added.
    fn parse(offsets: &str) -> Result<Self, TimeNamespaceError> {
        let mut lines = offsets.lines().map(str::split_ascii_whitespace);
        let mut line = lines.find_map(|mut words| (words.next() == Some("monotonic")).then_some(words));
        let mut number = || line.as_mut()?.next()?.parse::<i64>().ok();
        let seconds = number().and_then(|seconds| seconds.checked_mul(1_000_000_000));
        let ns = seconds.zip(number()).and_then(|(seconds, nanoseconds)| seconds.checked_add(nanoseconds));
        ns.map(|ns| Self { ns }).ok_or(TimeNamespaceError::Format)
    }

    /// In nanoseconds.
    pub const fn nanoseconds(self) -> i64 {
        self.ns
    }

    /// The host's time at which the application's clock reads `application_ns`, or `None` where it is before the
    /// host's boot.
    pub const fn host_ns(self, application_ns: u64) -> Option<u64> {
        match self.ns {
            0.. => application_ns.checked_sub(self.ns.unsigned_abs()),
            _ => application_ns.checked_add(self.ns.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(offsets: &str) -> Option<i64> {
        MonotonicOffset::parse(offsets).ok().map(MonotonicOffset::nanoseconds)
    }

    #[test]
    fn reads_the_monotonic_line() {
        assert_eq!(parse("monotonic           0         0\nboottime            0         0\n"), Some(0));
        assert_eq!(parse("boottime    7  0\nmonotonic      86400 500000000\n"), Some(86_400_500_000_000));
        // Half a second ahead of one second behind.
        assert_eq!(parse("monotonic         -1 500000000\n"), Some(-500_000_000));
    }

    #[test]
    fn anything_else_is_refused() {
        let strange = [
            "",
            "boottime 1 2\n",
            "monotonic\n",
            "monotonic 1\n",
            "monotonic x 0\n",
            "monotonic 9223372036854775807 0\n",
        ];
        for offsets in strange {
            assert_eq!(parse(offsets), None, "{offsets:?}");
        }
    }

    #[test]
    fn the_host_is_behind_a_namespace_that_is_ahead() {
        let offset = |ns| MonotonicOffset { ns };
        assert_eq!(offset(0).host_ns(5), Some(5));
        assert_eq!(offset(3).host_ns(5), Some(2));
        assert_eq!(offset(-3).host_ns(5), Some(8));
        assert_eq!(offset(6).host_ns(5), None);
        assert_eq!(offset(i64::MIN).host_ns(u64::MAX), None);
    }
}
