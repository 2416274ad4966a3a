//! The PHCs of this machine and who uses them, from sysfs and procfs.
//!
//! `/sys/class/ptp` is the same in all network namespaces: a PHC belongs to the machine.

use std::{
    fmt, fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use nix::sys::stat::makedev;

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
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (pid {})", self.command, self.pid)
    }
}

/// The processes that have `/dev/ptpN` open, by whatever name below `/dev`: other users' only with `CAP_SYS_PTRACE`.
///
/// Having it open does not mean steering it: monitoring reads it, too.
#[must_use]
pub fn holders(phc: u32) -> Vec<Holder> {
    let device = fs::read_to_string(Path::new(CLASS).join(format!("ptp{phc}/dev")));
    device.ok().and_then(|device| parse_device(&device)).map(holders_of).unwrap_or_default()
}

/// The number of a device from sysfs's `major:minor`.
fn parse_device(text: &str) -> Option<u64> {
    let (major, minor) = text.trim_end().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn holders_of(device: u64) -> Vec<Holder> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut holders: Vec<_> = processes
        .filter_map(|process| {
            let process = process.ok()?;
            let pid = process.file_name().to_str()?.parse().ok()?;
            holds(&process.path(), device).then(|| Holder { pid, command: command(&process.path()) })
        })
        .collect();
    holders.sort_unstable();
    holders
}

fn holds(process: &Path, device: u64) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.filter_map(Result::ok).any(|descriptor| {
        let path = descriptor.path();
        // What lies elsewhere is not even looked at: a file on a dead server would hold the caller up.
        fs::read_link(&path).is_ok_and(|target| target.starts_with("/dev"))
            && fs::metadata(path).is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == device)
    })
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
        let device = File::open("/dev/full").unwrap();
        let held = holders_of(device.metadata().unwrap().rdev());
        let ourselves = held.iter().find(|holder| holder.pid == std::process::id()).expect("this process has it open");
        assert!(!ourselves.command.is_empty());
        drop(device);
        let held = holders_of(fs::metadata("/dev/full").unwrap().rdev());
        assert!(!held.iter().any(|holder| holder.pid == std::process::id()));
    }

    #[test]
    fn a_clock_that_is_not_there_has_neither_name_nor_holders() {
        assert_eq!(phc_name(u32::MAX), None);
        assert!(holders(u32::MAX).is_empty());
        assert!(phcs().is_sorted());
    }
}
