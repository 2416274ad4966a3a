//! The files of a writer: made so that readers see whole ones only, and that nobody else can put others in their place.
//!
//! ```text
//! ptp0          the model, for everybody to read
//! ptp0_lock     the lock of its writer, with the number of its process
//! ptp0_partial  a model that is being made
//! ```

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::Path,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

use crate::{Device, Directory, Error, error::Context as _, layout, memory::Owned, reader::holds_model};

const DIRECTORY_MODE: u32 = 0o755;
const MODEL_MODE: u32 = 0o644;
/// Whoever can open a file can lock it, also without the right to write to it.
const LOCK_MODE: u32 = 0o600;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Opens the directory, and makes it where there is none. Others may look into it, whatever the process's mask of modes says,
/// and may not change it.
pub(crate) fn open_directory(path: &Path) -> Result<File, Error> {
    make_directory(path).context("create", path)?;
    let directory = open_itself(path).context("open", path)?;
    let metadata = directory.metadata().context("look at", path)?;
    if metadata.uid() != geteuid().as_raw() || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Error::Open { path: path.to_owned() });
    }
    Ok(directory)
}

/// Makes a directory, and those above it, for everybody to look into. One that is there stays as it is.
fn make_directory(path: &Path) -> io::Result<()> {
    let make = || DirBuilder::new().mode(DIRECTORY_MODE).create(path);
    let made = match (make(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            make_directory(parent)?;
            make()
        }
        (made, _) => made,
    };
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => open_itself(path)?.set_permissions(Permissions::from_mode(DIRECTORY_MODE)),
    }
}

/// Opens a directory, and nothing that a link leads to.
fn open_itself(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

/// Becomes the one writer. The kernel gives the lock back when its holder dies.
pub(crate) fn lock(folder: &File, directory: &Directory, device: Device) -> Result<File, Error> {
    let name = format!("{device}_lock");
    let path = directory.path().join(&name);
    let mut file = open(folder, &name, OFlag::O_CREAT, LOCK_MODE).context("open", &path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // A number that cannot be read is only one that is not told.
            let _: io::Result<usize> = file.read_to_string(&mut holder);
            return Err(Error::Held { device, path, holder: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(error).context("lock", &path),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", process::id())).context("write", &path)?;
    Ok(file)
}

/// Maps the file of the model: the one that is there, if it is of this version and device, since readers may have mapped it;
/// else a new one in its place. For the holder of the lock.
pub(crate) fn open_model(folder: &File, directory: &Directory, device: Device) -> Result<Owned, Error> {
    let path = directory.file(device);
    let name = device.to_string();
    let found = match open(folder, &name, OFlag::O_NONBLOCK, 0) {
        Ok(file) => usable(file, device).context("map", &path)?,
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => None,
        Err(error) => return Err(error).context("open", &path),
    };
    match found {
        Some(memory) => Ok(memory),
        None => make_model(folder, &name, device).context("create", &path),
    }
}

fn usable(file: File, device: Device) -> io::Result<Option<Owned>> {
    let metadata = file.metadata()?;
    if !holds_model(&metadata) || metadata.uid() != geteuid().as_raw() {
        return Ok(None);
    }
    file.set_permissions(Permissions::from_mode(MODEL_MODE))?;
    let memory = Owned::map(file.as_fd())?;
    Ok(layout::is_of(&memory, device).then_some(memory))
}

/// Makes a file under another name, and gives it its own when it is whole.
fn make_model(folder: &File, name: &str, device: Device) -> io::Result<Owned> {
    let partial = format!("{name}_partial");
    match unlinkat(folder, partial.as_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let file = open(folder, &partial, OFlag::O_CREAT | OFlag::O_EXCL, MODEL_MODE)?;
    file.set_permissions(Permissions::from_mode(MODEL_MODE))?;
    file.write_all_at(&layout::empty(device, first_epoch()).map(u64::to_ne_bytes).concat(), 0)?;
    let memory = Owned::map(file.as_fd())?;
    renameat(folder, partial.as_str(), folder, name)?;
    Ok(memory)
}

/// What the epochs of new memory are counted from: microseconds since 1970. Epochs are rarer than microseconds, so none of
/// memory that is gone comes again, and JSON readers that take all numbers for floating-point ones tell them apart.
pub(crate) fn first_epoch() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or_default()
}

/// Opens a file in a directory for reading and writing, and nothing that a link leads to.
fn open(folder: &File, name: &str, flags: OFlag, mode: u32) -> nix::Result<File> {
    let flags = flags | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(folder, name, flags, Mode::from_bits_truncate(mode)).map(File::from)
}
