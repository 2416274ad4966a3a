//! The Python package: its wheel, and an interpreter that has it installed, with what its tests run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::process::{output, root, run, target};

/// Debian's interpreter.
const DEBIAN: &str = "/usr/bin/python3";
/// Files of requirements: what the wheel is built with, and what else its tests take.
const BUILDING: &str = "requirements-build.txt";
const TESTING: &str = "requirements-test.txt";
/// The file in the environment that tells the version of its interpreter.
const MADE_BY: &str = "made-by.txt";

/// The interpreter of an environment in the target folder, in which the package is installed as it is now, built with a profile of cargo's.
///
/// # Errors
///
/// The environment cannot be made, or the package not be built.
pub(crate) fn environment(profile: &str) -> Result<PathBuf> {
    let wheel = wheel(profile)?;
    install(TESTING)?;
    run(pip().args(["install", "--no-index", "--no-deps", "--force-reinstall"]).arg(wheel))?;
    Ok(interpreter())
}

/// Builds the package with a profile of cargo's, and returns the path of the wheel.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn wheel(profile: &str) -> Result<PathBuf> {
    install(BUILDING)?;
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

/// Makes the environment, and installs what the package is built and tested with. Quick where it is there.
///
/// # Errors
///
/// No environment can be made, or a package is neither here nor on the network.
pub(crate) fn fetch() -> Result<()> {
    [BUILDING, TESTING].into_iter().try_for_each(install)
}

/// Whether all that `fetch` installs is there.
pub(crate) fn is_ready() -> bool {
    is_made().unwrap_or(false) && [BUILDING, TESTING].into_iter().all(|file| is_installed(file).unwrap_or(false))
}

/// Installs what a file of requirements lists.
fn install(requirements: &str) -> Result<()> {
    if !is_made()? {
        run(Command::new(system()).args(["-m", "venv", "--clear"]).arg(venv()))
            .context("install python3-venv, which `cargo xtask setup` does on Debian")?;
        write(&venv().join(MADE_BY), &version()?)?;
    }
    if is_installed(requirements)? {
        return Ok(());
    }
    eprintln!("setup: installing what is in userlib/python/{requirements} into {}", folder().display());
    let file = package().join(requirements);
    run(pip().args(["install", "--requirement"]).arg(&file))?;
    write(&venv().join(requirements), &read(&file)?)
}

/// Whether the environment is there, and of the interpreter as it is now.
fn is_made() -> Result<bool> {
    let version = version()?;
    Ok(fs::read_to_string(venv().join(MADE_BY)).is_ok_and(|made_by| made_by == version))
}

/// Whether the environment has what a file of requirements lists: a copy is left where it does.
fn is_installed(requirements: &str) -> Result<bool> {
    let wanted = read(&package().join(requirements))?;
    Ok(fs::read_to_string(venv().join(requirements)).is_ok_and(|installed| installed == wanted))
}

/// The interpreter that environments are made by: Debian's, of which `setup` sees to it that it can; elsewhere the one that is found first.
pub(crate) fn system() -> &'static str {
    if Path::new(DEBIAN).exists() { DEBIAN } else { "python3" }
}

fn version() -> Result<String> {
    output(Command::new(system()).arg("--version"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
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

fn venv() -> PathBuf {
    folder().join("venv")
}

fn interpreter() -> PathBuf {
    venv().join("bin/python")
}

/// The package's sources.
fn package() -> PathBuf {
    root().join("userlib/python")
}
