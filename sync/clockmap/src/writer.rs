//! Publishing a model.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{Device, Directory, Error, Model, State, files, layout, memory::Owned};

/// The one publisher of a clock's model. It withdraws the model when it is dropped, as of what it published last: it reads no
/// clock.
///
/// A write is a fixed number of stores to memory: no reader can make it wait.
pub struct Writer {
    device: Device,
    path: PathBuf,
    memory: Owned,
    /// What the epochs that are published here are counted from.
    first_epoch: u64,
    last: Model,
    lock: File,
}

impl Writer {
    /// Becomes the publisher of a clock's model to a file, which begins as withdrawn. Makes the directory and the file where
    /// there are none, and finishes what a predecessor left half written.
    ///
    /// # Errors
    ///
    /// Another process publishes there, the directory is open to others' writing, or the file cannot be made.
    pub fn create(directory: &Directory, device: Device) -> Result<Self, Error> {
        let folder = files::open_directory(directory.path())?;
        let lock = files::lock(&folder, directory, device)?;
        let memory = files::open_model(&folder, directory, device)?;
        Ok(Self::begin(device, directory.file(device), memory, lock))
    }

    /// Goes on in memory that has its header, and that only the holder of the lock writes to.
    pub(crate) fn begin(device: Device, path: PathBuf, memory: Owned, lock: File) -> Self {
        let first_epoch = layout::epoch(&memory).wrapping_add(1);
        let mut writer = Self { device, path, memory, first_epoch, last: Model::NONE, lock };
        writer.write(Model::NONE);
        writer
    }

    /// The clock.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Its file, or the pin of its BPF map.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The epoch that readers see now.
    pub fn epoch(&self) -> u64 {
        self.first_epoch.wrapping_add(self.last.epoch)
    }

    /// Publishes a model. Its epoch is counted on from that of the predecessor, and changes with every withdrawal in any case.
    ///
    /// # Errors
    ///
    /// The numbers of the model are out of range; what was published before stays.
    pub fn publish(&mut self, model: &Model) -> Result<(), Error> {
        if !model.is_well_formed() {
            return Err(Error::Malformed { path: self.path.clone(), model: Box::new(*model) });
        }
        self.write(*model);
        Ok(())
    }

    /// Says that there is no valid model any more, since `now_ns` of the system's time. Where there is none already, it is so
    /// since when it was said first.
    pub fn withdraw(&mut self, now_ns: u64) {
        if self.last.state != State::WITHDRAWN {
            self.write(Model { state: State::WITHDRAWN, published_ns: now_ns, ..self.last });
        }
    }

    fn write(&mut self, model: Model) {
        if model.state == State::WITHDRAWN && self.last.state != State::WITHDRAWN {
            self.first_epoch = self.first_epoch.wrapping_add(1);
        }
        layout::write(&self.memory, &Model { epoch: self.first_epoch.wrapping_add(model.epoch), ..model });
        self.last = model;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.withdraw(self.last.published_ns);
        // To close it is not enough: a process that another thread has just forked has a copy until it executes its program.
        // Where this fails, that is when it is given back.
        let _: io::Result<()> = self.lock.unlock();
    }
}
