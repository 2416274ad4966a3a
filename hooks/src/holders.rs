//! The processes that have `AF_XDP` sockets: the kernel refuses a second socket of a queue, and does not tell whose the first is.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use crate::kernel::network_namespace;

/// A process that is in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// What it runs, as the kernel tells it; empty where that is not known.
    pub command: String,
}

/// `XDP_UMEM_PGOFF_FILL_RING` of `include/uapi/linux/if_xdp.h`: whoever receives by an `AF_XDP` socket has mapped it from there.
const FILL_RING: u64 = 0x1_0000_0000;

/// The other processes that have `AF_XDP` sockets in the network namespace of this thread, as far as this process may look at them.
pub fn afxdp_holders() -> Vec<Holder> {
    let Ok(namespace) = network_namespace() else { return Vec::new() };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |&number: &u32| number != process::id() && is_in(number, namespace) && has_fill_ring(number);
    numbers.filter(holds).map(holder).collect()
}

/// A process by its number.
pub(crate) fn holder(process: u32) -> Holder {
    let command = fs::read_to_string(folder(process).join("comm")).unwrap_or_default();
    Holder { process, command: command.trim_end().to_owned() }
}

fn folder(process: u32) -> PathBuf {
    Path::new("/proc").join(process.to_string())
}

/// Whether one of its threads is in the network namespace.
fn is_in(process: u32, namespace: u64) -> bool {
    let threads = fs::read_dir(folder(process).join("task")).into_iter().flatten().flatten();
    threads
        .map(|thread| thread.path().join("ns/net"))
        .any(|path| fs::metadata(path).is_ok_and(|it| it.ino() == namespace))
}

/// Whether it receives by an `AF_XDP` socket; no where it may not be looked at.
pub(crate) fn has_fill_ring(process: u32) -> bool {
    fs::read_to_string(folder(process).join("maps")).is_ok_and(|maps| maps.lines().any(is_fill_ring))
}

/// Of the lines of `/proc/<process>/maps`: range, permissions, offset, device, inode, name.
fn is_fill_ring(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace().skip(2);
    let offset = words.next().and_then(|word| u64::from_str_radix(word, 16).ok());
    offset == Some(FILL_RING) && words.nth(2).is_some_and(|name| name.starts_with("socket:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fill_ring_of_a_socket_is_told_from_other_mappings() {
        let lines = [
            ("7f1f2c000000-7f1f2c009000 rw-s 100000000 00:08 40960     socket:[40960]", true),
            ("7f1f2c000000-7f1f2c009000 rw-s 00000000 00:08 40960     socket:[40960]", false),
            ("7f1f2c000000-7f1f2c009000 rw-s 180000000 00:08 40960     socket:[40960]", false),
            ("7f1f2c000000-7f1f2c009000 r--p 100000000 fe:00 4096      /var/large", false),
            ("7f1f2c000000-7f1f2c009000 rw-p 00000000 00:00 0", false),
            ("", false),
        ];
        for (line, expected) in lines {
            assert_eq!(is_fill_ring(line), expected, "{line}");
        }
    }
}
