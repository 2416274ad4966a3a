//! A BPF file system for one test: what is pinned to it is shared with no other.

use std::{fs, path::Path};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A mount. Dropping it lets go what is pinned to it.
#[derive(Debug)]
pub struct Bpffs(TempDir);

impl Bpffs {
    /// Mounts one.
    ///
    /// # Panics
    ///
    /// The process may not.
    pub fn mount() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        mount(Some("bpf"), folder.path(), Some("bpf"), MsFlags::empty(), Some("mode=700")).expect("mount");
        Self(folder)
    }

    /// What is pinned at its top, but for the two files that the kernel keeps there.
    ///
    /// # Panics
    ///
    /// It cannot be read.
    pub fn pins(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).filter(|name| !name.ends_with(".debug")).collect()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.path(), MntFlags::MNT_DETACH) {
            eprintln!("unmount {}: {error}", self.path().display());
        }
    }
}
