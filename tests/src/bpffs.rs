//! A BPF file system for one test: what is pinned to it is shared with no other.

use std::path::Path;

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
