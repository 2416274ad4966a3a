//! The `instamp` command as containers get it: with everything that it needs inside.

use std::{env::consts::ARCH, path::PathBuf};

use anyhow::Result;

use crate::process::{cargo, run, target};

/// Builds it with these options, of which `folder` is the profile's, and returns its path.
///
/// For a named target, so that only what is built for it is linked so, and not what runs while building.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn build(options: &[&str], folder: &str) -> Result<PathBuf> {
    let triple = format!("{ARCH}-unknown-linux-gnu");
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
    run(cargo()
        .args(["build", "--quiet", "--package", "instamp-tools", "--target", &triple])
        .args(options)
        .env(flags, "-C target-feature=+crt-static"))?;
    Ok(target().join(triple).join(folder).join("instamp"))
}
