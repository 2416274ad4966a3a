//! The memory of a model as a BPF map, which programs in the kernel convert with.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::maps::{Array, MapData, MapType};

use crate::{
    Device, Error, Writer,
    error::Context as _,
    files::first_epoch,
    layout::{self, SIZE, WORDS},
    memory::Owned,
};

/// The flag of a map that user space can map (`BPF_F_MMAPABLE` in linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

/// The BPF map of one model: an array of one entry that user space can map, pinned to a BPF file system.
///
/// # Minimum kernel version
///
/// Linux 5.5.
pub struct ClockMap {
    device: Device,
    path: PathBuf,
    /// It keeps the map.
    memory: Owned,
}

impl ClockMap {
    /// Makes a map that holds no model yet, and pins it.
    ///
    /// # Errors
    ///
    /// The kernel makes none, or there is a pin at the path.
    pub fn create(path: &Path, device: Device) -> Result<Self, Error> {
        let map = Array::<MapData, [u64; WORDS]>::create(1, MMAPABLE);
        let map = map.map_err(io::Error::other).context("create a BPF map for", path)?;
        map.pin(path).map_err(io::Error::other).context("pin a BPF map to", path)?;
        Self::open(path, device)
    }

    /// Opens the map that is pinned at a path.
    ///
    /// # Errors
    ///
    /// There is none; or it is not for a model, holds that of another device or version, or cannot be mapped.
    pub fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let map = MapData::from_pin(path).map_err(io::Error::other).context("open the BPF map at", path)?;
        Self::of(map, path.to_owned(), device)
    }

    /// Takes the map that a loader has made for its programs.
    ///
    /// # Errors
    ///
    /// It is not for a model, holds that of another device or version, or cannot be mapped.
    pub fn adopt(map: MapData, device: Device) -> Result<Self, Error> {
        Self::of(map, format!("the BPF map of {device}, which is not pinned").into(), device)
    }

    fn of(map: MapData, path: PathBuf, device: Device) -> Result<Self, Error> {
        let info = map.info().map_err(io::Error::other).context("look at", &path)?;
        let fits = info.map_type().is_ok_and(|kind| kind == MapType::Array)
            && info.map_flags() & MMAPABLE != 0
            && info.value_size() as usize == SIZE
            && info.max_entries() == 1;
        if !fits {
            return Err(Error::Foreign { device, path });
        }
        let memory = Owned::map(map.fd().as_fd()).context("map", &path)?;
        if !layout::is_blank(&memory) && !layout::is_of(&memory, device) {
            return Err(Error::Foreign { device, path });
        }
        Ok(Self { device, path, memory })
    }

    /// Becomes the publisher of the clock's model to the map, as [`Writer::create`] does for a file. Only the holder of the
    /// lock may do so.
    pub fn writer(self, lock: File) -> Writer {
        if layout::is_blank(&self.memory) {
            layout::claim(&self.memory, self.device, first_epoch());
        }
        Writer::begin(self.device, self.path, self.memory, lock)
    }
}
