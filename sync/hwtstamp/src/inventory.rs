//! The PHCs of this machine and who uses them, from sysfs and procfs.
//!
//! `/sys/class/ptp` is the same in all network namespaces: a PHC belongs to the machine.

use std::{
    fmt, fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use nix::{fcntl::OFlag, sys::stat::makedev};

const CLASS: &str = "/sys/class/ptp";

/// The numbers N of all `/dev/ptpN` of this machine, rising; none without sysfs.
#[must_use]
pub fn phcs() -> Vec<u32> {
    let Ok(entries) = fs::read_dir(CLASS) else { return Vec::new() };
    let mut numbers: Vec<_> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("ptp")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// What the driver calls the clock of `/dev/ptpN`: often the driver's own name, or the card's address.
#[must_use]
pub fn phc_name(phc: u32) -> Option<String> {
    let name = fs::read_to_string(Path::new(CLASS).join(format!("ptp{phc}/clock_name"))).ok()?;
    Some(name.trim_end().to_owned())
}

/// A process that has a PHC open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// Its process id, in the PID namespace of the caller's `/proc`.
    pub pid: u32,
    /// The name of its program, as far as the kernel keeps it: 15 bytes.
    pub command: String,
    /// Whether it has it open for writing, without which nobody steers it.
    pub may_steer: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (pid {})", self.command, self.pid)
    }
}

/// The processes that have a PHC open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// Those that were seen, by their process ids.
    pub seen: Vec<Holder>,
    /// How many processes do not let the caller see what they have open. With `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` none
    /// hides it.
    pub hidden: usize,
}

impl fmt::Display for Holders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen: Vec<_> = self.seen.iter().map(ToString::to_string).collect();
        formatter.write_str(if seen.is_empty() { "no process" } else { "" })?;
        formatter.write_str(&seen.join(", "))?;
        if self.hidden > 0 {
            write!(formatter, ", as far as one may see ({} hide it)", self.hidden)?;
        }
        Ok(())
    }
}

/// The processes that have `/dev/ptpN` open, by whatever name below `/dev`.
///
/// Having it open does not mean steering it: monitoring reads it, too.
#[must_use]
pub fn holders(phc: u32) -> Holders {
    let device = fs::read_to_string(Path::new(CLASS).join(format!("ptp{phc}/dev")));
    device.ok().and_then(|device| parse_device(&device)).map(holders_of).unwrap_or_default()
}

/// The number of a device from sysfs's `major:minor`.
fn parse_device(text: &str) -> Option<u64> {
    let (major, minor) = text.trim_end().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn holders_of(device: u64) -> Holders {
    let mut holders = Holders::default();
    for process in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let path = process.path();
        match access(&path, device) {
            Ok(None) => {}
            Ok(Some(may_steer)) => holders.seen.push(Holder { pid, command: command(&path), may_steer }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holders.hidden += 1,
            // It has ended meanwhile.
            Err(_) => {}
        }
    }
    holders.seen.sort_unstable();
    holders
}

/// Whether a process has a device open for writing; `None` where it has it not open at all.
fn access(process: &Path, device: u64) -> io::Result<Option<bool>> {
    let mut found = None;
    for descriptor in fs::read_dir(process.join("fd"))?.filter_map(Result::ok) {
        let path = descriptor.path();
        // What lies elsewhere is not even looked at: a file on a dead server would hold the caller up.
        let holds = fs::read_link(&path).is_ok_and(|target| target.starts_with("/dev"))
            && fs::metadata(path).is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == device);
        if holds {
            let info = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name()));
            found = Some(found == Some(true) || info.is_ok_and(|info| is_for_writing(&info)));
        }
    }
    Ok(found)
}

/// Whether a file was opened for writing, by `/proc/PID/fdinfo/N`.
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| OFlag::from_bits_retain(flags) & OFlag::O_ACCMODE != OFlag::O_RDONLY)
}

fn command(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn sysfs_tells_numbers_of_devices() {
        assert_eq!(parse_device("1:3\n"), Some(makedev(1, 3)));
        assert_eq!(parse_device("1"), None);
        assert_eq!(parse_device("a:b"), None);
    }

    #[test]
    fn who_has_a_device_open_is_found() {
        // Any character device shows it; tests have no other that is sure to be there.
        let number = fs::metadata("/dev/full").unwrap().rdev();
        let ourselves = || holders_of(number).seen.into_iter().find(|holder| holder.pid == std::process::id());
        assert_eq!(ourselves(), None);
        let reader = File::open("/dev/full").unwrap();
        let found = ourselves().expect("this process has it open");
        assert!(!found.command.is_empty() && !found.may_steer, "{found:?}");
        let writer = File::options().write(true).open("/dev/full").unwrap();
        assert!(ourselves().is_some_and(|holder| holder.may_steer));
        drop((reader, writer));
        assert_eq!(ourselves(), None);
    }

    #[test]
    fn a_clock_that_is_not_there_has_neither_name_nor_holders() {
        assert_eq!(phc_name(u32::MAX), None);
        assert_eq!(holders(u32::MAX), Holders::default());
        assert!(phcs().is_sorted());
    }
}
