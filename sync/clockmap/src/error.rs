//! What can fail, on what, and what to do.

use std::{io, path::PathBuf};

use crate::Device;

/// What can fail, on what, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call of the operating system.
    #[error("{operation} {path}", path = path.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// Another process publishes the model of this clock.
    #[error("{device} is already published at {path} by {holder}: stop that one first, or publish elsewhere",
        path = path.display(), holder = holder.map_or("another process".into(), |pid| format!("process {pid}")))]
    Held {
        /// The clock.
        device: Device,
        /// The lock.
        path: PathBuf,
        /// Who holds it, if it has said so.
        holder: Option<u32>,
    },
    /// Others could put their files in the place of the model's.
    #[error("{path} belongs to another user or can be written to by others, who could publish there: \
        take another directory, or `chown` and `chmod go-w` this one", path = path.display())]
    Open {
        /// The directory.
        path: PathBuf,
    },
    /// What is at the path is no model, or one of another version or device.
    #[error("{path} holds no model of {device} in version {version} of the format: is it the right file?",
        path = path.display(), version = crate::layout::VERSION)]
    Foreign {
        /// The clock.
        device: Device,
        /// The file or BPF map.
        path: PathBuf,
    },
    /// A file of models has a name that belongs to no clock.
    #[error("`{name}` is no clock that models are published of: those are `ptp0`, `ptp1` ..., and `monotonic_raw`")]
    NotADevice {
        /// The name.
        name: String,
    },
    /// A model that no reader would take.
    #[error("publish to {path}: the numbers of the model are out of range: {model:?}", path = path.display())]
    Malformed {
        /// The file or BPF map.
        path: PathBuf,
        /// The model.
        model: Box<crate::Model>,
    },
}

/// Adds what was tried on what.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|error| Error::System { operation, path: path.to_owned(), source: error.into() })
    }
}
