//! Publishing a model.

use crate::{Device, Directory, Error, Model};

/// The one publisher of a clock's model. It withdraws the model when it is dropped.
pub struct Writer {
    device: Device,
}

impl Writer {
    /// Becomes the publisher of a clock's model to a file, which begins as withdrawn. Makes the directory and the file where
    /// there are none, and finishes what a predecessor left half written.
    ///
    /// # Errors
    ///
    /// Another process publishes there, or the file cannot be made.
    pub fn create(directory: &Directory, device: Device) -> Result<Self, Error> {
        let _ = directory;
        Ok(Self { device })
    }

    /// The clock.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Publishes a model. Its epoch, counted from 0, is counted on from that of the predecessor.
    ///
    /// # Errors
    ///
    /// The numbers of the model are out of range; what was published before stays.
    pub fn publish(&mut self, model: &Model) -> Result<(), Error> {
        let _ = model;
        Ok(())
    }

    /// Says that there is no valid model any more. `now_ns` is the system's time.
    pub fn withdraw(&mut self, now_ns: u64) {
        let _ = now_ns;
    }
}
