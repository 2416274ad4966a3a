//! One process of these at a time steers the system's clock.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process,
};

use anyhow::{Context as _, bail};

/// Beside the models, whose locks are `ptp0_lock` and so on.
const NAME: &str = "system_lock";
/// Whoever can open a file can lock it, also without the right to write to it.
const MODE: u32 = 0o600;

/// The right to steer the system's clock. The kernel gives it back when its holder ends.
pub(super) struct SystemLock(File);

impl SystemLock {
    /// Takes it in the directory where models are published. That has to be there, and to be closed to others' writing.
    ///
    /// # Errors
    ///
    /// Another process has it.
    pub(super) fn take(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(NAME);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(&path);
        let mut file = open.with_context(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // A number that cannot be read is only one that is not told.
                let _: io::Result<usize> = file.read_to_string(&mut holder);
                let holder =
                    holder.trim().parse().map_or("another process".into(), |pid: u32| format!("process {pid}"));
                bail!(
                    "{holder}, another `instamp sync`, steers the system's clock and holds {}: stop it, or leave out --steer",
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(Self(file))
    }
}

impl Drop for SystemLock {
    fn drop(&mut self) {
        // To close it is not enough: a process that another thread has just forked has a copy until it executes its program.
        // Where this fails, that is when it is given back.
        let _: io::Result<()> = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = SystemLock::take(folder.path()).expect("nobody has it");
        let refused = SystemLock::take(folder.path()).err().expect("the first has it");
        assert_eq!(
            refused.to_string(),
            format!(
                "process {}, another `instamp sync`, steers the system's clock and holds {}: stop it, or leave out --steer",
                process::id(),
                folder.path().join("system_lock").display()
            )
        );
        drop(first);
        SystemLock::take(folder.path()).expect("it was given back");
    }
}
