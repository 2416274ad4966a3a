//! The kernel and the network namespace that this runs in.

use std::{fs, os::unix::fs::MetadataExt as _};

use aya::util::KernelVersion;
use nix::sys::utsname::uname;

use crate::{Error, error::Context as _};

/// The first release with everything that the programs and their loader use, `bpf_ktime_get_tai_ns` last.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// Refuses kernels that are too old for the programs.
pub(crate) fn check_version() -> Result<(), Error> {
    let current =
        KernelVersion::current().map_err(|error| error.to_string()).context("read the version of", "the kernel")?;
    if is_too_old(current) {
        let release = uname().context("read the version of", "the kernel")?.release().to_string_lossy().into_owned();
        return Err(Error::KernelTooOld { release });
    }
    Ok(())
}

fn is_too_old(version: KernelVersion) -> bool {
    version < OLDEST
}

/// The number of the network namespace of this thread: the inode of its file in `/proc`. The kernel uses a number again
/// when its namespace is gone.
pub(crate) fn network_namespace() -> Result<u64, Error> {
    // `/proc/self` is the process, whose main thread may be in another namespace.
    let path = "/proc/thread-self/ns/net";
    Ok(fs::metadata(path).context("look at", path)?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_from_6_1_on_are_taken() {
        for (major, minor, patch, expected) in
            [(5, 15, 200, true), (6, 0, 19, true), (6, 1, 0, false), (7, 0, 0, false)]
        {
            assert_eq!(is_too_old(KernelVersion::new(major, minor, patch)), expected);
        }
    }
}
