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

    /// What is in it, by its path, in order, but for the two files that the kernel keeps there.
    ///
    /// # Panics
    ///
    /// It cannot be read.
    pub fn pins(&self) -> Vec<String> {
        let mut pins = Vec::new();
        self.add_pins(self.path(), &mut pins);
        pins.sort_unstable();
        pins
    }

    fn add_pins(&self, folder: &Path, pins: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.add_pins(&path, pins);
            }
            let name = path.strip_prefix(self.path()).expect("a path in it").to_string_lossy().into_owned();
            if !name.ends_with(".debug") {
                pins.push(name);
            }
        }
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
