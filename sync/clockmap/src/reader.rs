//! Reading a model that another process publishes.

use std::{
    fs::{self, Metadata, OpenOptions},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use crate::{
    Converted, Device, Directory, Error, Model, Refusal, State,
    error::Context as _,
    layout::{self, SIZE},
    memory::Shared,
};

/// A write takes some tens of nanoseconds, an attempt about ten. A writer that has lost its processor in the middle of one is
/// not waited for.
const ATTEMPTS: u32 = 1000;

/// A view of the model that another process publishes. Any number of them, in any number of processes without privilege.
///
/// It waits for nobody, and makes no system call as long as the model is valid. Otherwise it looks whether there is another
/// file by now, and goes on with that.
pub struct Reader {
    device: Device,
    path: PathBuf,
    view: View,
}

/// One file, which its name may not lead to any more.
struct View {
    memory: Shared,
    file: (u64, u64),
}

impl Reader {
    /// Opens the model of a clock.
    ///
    /// # Errors
    ///
    /// There is no file, it cannot be read, or it is none of a model of this clock.
    pub fn open(directory: &Directory, device: Device) -> Result<Self, Error> {
        let path = directory.file(device);
        let view = View::open(&path, device)?;
        Ok(Self { device, path, view })
    }

    /// The clock.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The model as it is now, also a withdrawn or stale one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Foreign`] or [`Refusal::Unfinished`].
    pub fn model(&mut self) -> Result<Model, Refusal> {
        match self.read() {
            Ok(model) if model.state != State::WITHDRAWN => Ok(model),
            _ if self.follow() => self.read(),
            other => other,
        }
    }

    /// Converts a time of the device to the system's, as [`Model::convert`] does.
    ///
    /// `now_ns` is the system's time in the initial time namespace. In another one, what `/proc/self/timens_offsets` adds to
    /// `CLOCK_MONOTONIC` must be taken off.
    ///
    /// # Errors
    ///
    /// Why the time cannot be converted.
    pub fn convert(&mut self, device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
        match self.model()?.convert(device_ns, now_ns) {
            Err(Refusal::Stale) if self.follow() => self.model()?.convert(device_ns, now_ns),
            result => result,
        }
    }

    fn read(&self) -> Result<Model, Refusal> {
        layout::read(&self.view.memory, ATTEMPTS)
    }

    /// Goes on with the file that the name leads to now, if that is another one and a model of this clock.
    fn follow(&mut self) -> bool {
        let is_same = fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.view.file);
        if is_same {
            return false;
        }
        let Ok(view) = View::open(&self.path, self.device) else { return false };
        self.view = view;
        true
    }
}

impl View {
    fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let foreign = || Error::Foreign { device, path: path.to_owned() };
        // To open what is no file must not wait for anything.
        let file =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).context("open", path)?;
        let metadata = file.metadata().context("look at", path)?;
        if !holds_model(&metadata) {
            return Err(foreign());
        }
        let memory = Shared::map(file.as_fd()).context("map", path)?;
        if !layout::is_of(&memory, device) {
            return Err(foreign());
        }
        Ok(Self { memory, file: identity(&metadata) })
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether it is a file with room for a model. No writer makes a file shorter.
pub(crate) fn holds_model(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() == SIZE as u64
}
