//! The BPF maps of published clocks: `instamp/clock/<clock>`, for programs to convert with.
//!
//! ```text
//! instamp/clock/ptp0          the map
//! instamp/clock/ptp0_writer   a directory, which the process that publishes to the map has locked
//! ```
//!
//! A map is there for programs, and they keep the one that they were loaded with: it stays, withdrawn, when its publisher
//! ends, and the next one goes on with it. It goes when neither a publisher nor any program is left.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use instamp_clockmap::{ClockMap, Device, Error as ClockError, Writer};

use crate::{
    Error,
    error::Context as _,
    maps::users,
    pins::{gone, names, open_directory, remove_if_empty},
};

const WRITER: &str = "_writer";

/// The maps below one directory, whose user holds the lock on all pins.
pub(crate) struct Clocks(PathBuf);

impl Clocks {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Becomes the publisher of a clock's model, to the map that is there or to a new one.
    pub(crate) fn writer(&self, device: Device) -> Result<Writer, Error> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Error::WeakOrder { device });
        }
        let map = self.0.join(device.to_string());
        // The lock comes before the map and goes after it, so that no map is without.
        let writer = self.0.join(format!("{device}{WRITER}"));
        create(&self.0)?;
        create(&writer)?;
        let lock = lock(&writer)?.ok_or_else(|| Error::AlreadyPublished { device, path: map.clone() })?;
        match open(&map, device).context("publish the clock to", map.display()) {
            Ok(map) => Ok(map.writer(lock)),
            Err(error) => {
                // Where this fails too the next command does it; why there is no publisher says more.
                let _ = self.remove_unless_used(&device.to_string(), lock).and_then(|()| remove_if_empty(&self.0));
                Err(error)
            }
        }
    }

    /// The pin of the map with which programs convert times of a clock: of the one that is there, or of a new one, for
    /// somebody to publish to.
    pub(crate) fn readers(&self, device: Device) -> Result<PathBuf, Error> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Error::WeakOrder { device });
        }
        let map = self.0.join(device.to_string());
        create(&self.0)?;
        create(&self.0.join(format!("{device}{WRITER}")))?;
        open(&map, device).context("make", map.display())?;
        Ok(map)
    }

    /// Removes the maps that nobody publishes to and no program uses.
    pub(crate) fn remove_unused(&self) -> Result<(), Error> {
        for name in names(&self.0)? {
            let Some(device) = name.strip_suffix(WRITER) else { continue };
            if let Some(lock) = lock(&self.0.join(&name))? {
                self.remove_unless_used(device, lock)?;
            }
        }
        remove_if_empty(&self.0)
    }

    /// Removes the map of a clock, and the directory that `lock` is on, unless a program uses the map.
    fn remove_unless_used(&self, device: &str, lock: File) -> Result<(), Error> {
        let (map, writer) = (self.0.join(device), self.0.join(format!("{device}{WRITER}")));
        if is_used(&map)? {
            // Now, and not when a process that another thread has just forked closes its copy.
            return lock.unlock().context("unlock", writer.display());
        }
        gone(fs::remove_file(&map)).context("remove", map.display())?;
        gone(fs::remove_dir(&writer)).context("remove", writer.display())
    }
}

/// Whether a program uses the map, if there is one. Whoever may not ask does not know that none does.
fn is_used(map: &Path) -> Result<bool, Error> {
    if !map.try_exists().context("look at", map.display())? {
        return Ok(false);
    }
    match users(map) {
        Err(Error::Privilege { .. }) => Ok(true),
        users => Ok(!users?.is_empty()),
    }
}

fn create(directory: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result.context("create", directory.display()),
    }
}

/// `None` if another process holds the lock. The kernel gives it back when that one dies.
fn lock(directory: &Path) -> Result<Option<File>, Error> {
    let file = open_directory(directory).context("open", directory.display())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("lock", directory.display()),
    }
}

fn open(map: &Path, device: Device) -> Result<ClockMap, ClockError> {
    if fs::symlink_metadata(map).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return ClockMap::create(map, device);
    }
    match ClockMap::open(map, device) {
        // One of another version: the programs that were loaded with it see the model go stale.
        Err(ClockError::Foreign { .. }) => {
            fs::remove_file(map).map_err(|source| ClockError::System {
                operation: "remove",
                path: map.into(),
                source,
            })?;
            ClockMap::create(map, device)
        }
        opened => opened,
    }
}
