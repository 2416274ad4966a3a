//! Where the files of models are.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::{Device, Error, error::Context as _};

/// A directory with a file for each clock that is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Where models are published unless somebody says otherwise.
    pub const DEFAULT: &str = "/run/instamp/clock";
    /// The environment variable that says otherwise.
    pub const VARIABLE: &str = "INSTAMP_CLOCK_DIR";

    /// The directory at a path. It need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory that `INSTAMP_CLOCK_DIR` names, else `/run/instamp/clock`.
    pub fn from_environment() -> Self {
        Self(env::var_os(Self::VARIABLE).filter(|path| !path.is_empty()).unwrap_or(Self::DEFAULT.into()).into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a clock.
    pub fn file(&self, device: Device) -> PathBuf {
        self.0.join(device.to_string())
    }

    /// The clocks that have files, in order. Where there is no directory, there are none.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("list", &self.0)?,
        };
        let mut devices = Vec::new();
        for entry in entries {
            // What has another name is not a model: the locks of the writers.
            devices.extend(
                entry.context("list", &self.0)?.file_name().to_str().and_then(|name| name.parse::<Device>().ok()),
            );
        }
        devices.sort();
        Ok(devices)
    }
}
