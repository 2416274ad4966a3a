//! How many queues a device has.

use std::io;

use nix::errno::Errno;

use crate::sys::ethtool;

/// How many receive queues `device`, of this network namespace, has in use: a channel on each of 0 to one less sees all its frames. 1
/// where the driver does not tell. No privilege is needed.
///
/// # Errors
///
/// Where there is no such device.
pub fn queues(device: &str) -> io::Result<u32> {
    match ethtool::channels(device) {
        Ok(channels) => Ok(channels.combined.saturating_add(channels.receive).max(1)),
        Err(Errno::EOPNOTSUPP) => Ok(1),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_does_not_tell() {
        assert_eq!(queues("lo").expect("every namespace has it"), 1);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for name in ["nosuch", "a-name-that-is-too-long", ""] {
            assert!(queues(name).is_err(), "{name}");
        }
    }
}
