//! The Python package: its wheel, and an interpreter that has it installed, with what its tests run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process::{root, run, target};

/// Debian's, of which `setup` sees to it that it can make environments; elsewhere the one that is found first.
const DEBIAN: &str = "/usr/bin/python3";

/// The interpreter of an environment in the target folder, in which the package is installed as it is now, built with a profile of cargo's.
///
/// # Errors
///
/// The environment cannot be made, or the package not be built.
pub(crate) fn environment(profile: &str) -> Result<PathBuf> {
    let wheel = wheel(profile)?;
    run(pip().args(["install", "--no-index", "--no-deps", "--force-reinstall"]).arg(wheel))?;
    Ok(interpreter())
}

/// Builds the package with a profile of cargo's, and returns the path of the wheel.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn wheel(profile: &str) -> Result<PathBuf> {
    fetch()?;
    let wheels = folder().join(profile);
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))?;
    }
    run(Command::new(interpreter())
        .args(["-m", "maturin", "build", "--quiet", "--locked", "--profile", profile, "--out"])
        .arg(&wheels)
        .arg("--manifest-path")
        .arg(package().join("Cargo.toml"))
        .arg("--interpreter")
        .arg(interpreter())
        // For an interpreter of its own: in one folder with what is built without, each would have the other built again.
        .arg("--target-dir")
        .arg(folder().join("build")))?;
    let mut built = fs::read_dir(&wheels).with_context(|| wheels.display().to_string())?;
    match built.next() {
        Some(wheel) => Ok(wheel?.path()),
        None => bail!("maturin has left no wheel in {}", wheels.display()),
    }
}

/// Makes the environment, and installs the tools and what the tests compare with. Quick where they are there.
///
/// # Errors
///
/// No environment can be made, or a package is neither here nor on the network.
pub(crate) fn fetch() -> Result<()> {
    let requirements = package().join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).with_context(|| requirements.display().to_string())?;
    let note = folder().join("installed.txt");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("setup: installing what the Python package is built and tested with into {}", folder().display());
    let python = if Path::new(DEBIAN).exists() { DEBIAN } else { "python3" };
    run(Command::new(python).args(["-m", "venv", "--clear"]).arg(folder().join("venv")))
        .context("install python3-venv, which `cargo xtask setup` does on Debian")?;
    run(pip().args(["install", "--requirement"]).arg(&requirements))?;
    fs::write(&note, wanted).with_context(|| note.display().to_string())
}

/// pip, which keeps nothing outside of the environment.
fn pip() -> Command {
    let mut command = Command::new(interpreter());
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]);
    command
}

fn folder() -> PathBuf {
    target().join("python")
}

fn interpreter() -> PathBuf {
    folder().join("venv/bin/python")
}

/// The package's sources.
fn package() -> PathBuf {
    root().join("userlib/python")
}
