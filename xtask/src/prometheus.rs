//! Prometheus and its promtool, the tests' witnesses of what `instamp exporter` serves. Nothing of it is installed: no service starts.

use anyhow::Result;

use crate::{
    apt::{Apt, unpack},
    process::target,
};

/// Fetches it, unless it is there.
///
/// # Errors
///
/// It cannot be had: this is not Debian, say, or there is no network.
pub(crate) fn fetch() -> Result<()> {
    let folder = target().join("prometheus");
    if folder.exists() {
        return Ok(());
    }
    eprintln!("setup: fetching Prometheus, 19 MB, into {}", folder.display());
    let apt = Apt::update(folder.with_extension("apt"))?;
    unpack(&[apt.package("prometheus")?], &folder)?;
    apt.remove()
}
