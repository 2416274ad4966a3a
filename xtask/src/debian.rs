//! A folder with a clean Debian, in which the tests install and remove the packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    apt::{KEYRING, OLD, mirror},
    packages::as_root,
    process::{run, target},
};

/// Besides the least that there is: what runs units, and what shows manual pages.
const INCLUDED: &str = "systemd-sysv,man-db";
/// What the packages depend on, and what is wanted of a library's user: downloaded, and for apt to install in the tests.
const DOWNLOADED: [&str; 1] = ["python3"];

/// Where it is, once it is made.
pub(crate) fn folder() -> PathBuf {
    target().join("debian").join(OLD)
}

/// Makes it where it is not there yet: nobody changes it, the tests copy it.
///
/// # Errors
///
/// It cannot be made: this is not Debian, say, or there is no network.
pub(crate) fn make() -> Result<()> {
    let folder = folder();
    if folder.exists() {
        return Ok(());
    }
    eprintln!("setup: making a clean Debian for the tests of packages in {}: a minute", folder.display());
    let partial = folder.with_extension("partial");
    run(as_root("rm").args(["--recursive", "--force"]).arg(&partial))?;
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    let mirror = mirror()?;
    // What it mounts goes with it, even where it is killed: nobody is to remove such a folder with the kernel's files in it.
    run(as_root("unshare")
        .args(["--mount", "debootstrap"])
        .args(["--variant=minbase", &format!("--include={INCLUDED}"), &format!("--keyring={KEYRING}"), OLD])
        .arg(&partial)
        .arg(&mirror)
        .stdout(Stdio::null()))?;
    download(&partial)?;
    run(as_root("mv").args([&partial, &folder]))
}

/// Lists and packages for the apt in the folder, which has no network.
fn download(folder: &Path) -> Result<()> {
    run(apt(folder)?.arg("clean"))?;
    run(apt(folder)?.arg("update"))?;
    run(apt(folder)?.args(["install", "--download-only", "--yes", "--no-install-recommends"]).args(DOWNLOADED))
}

/// This machine's apt, which knows its way to the mirror, at work on the folder.
fn apt(folder: &Path) -> Result<Command> {
    let folder = std::path::absolute(folder).with_context(|| folder.display().to_string())?;
    let mut command = as_root("apt-get");
    let options = [
        ("Dir::Etc::SourceList", "etc/apt/sources.list"),
        ("Dir::Etc::SourceParts", "etc/apt/sources.list.d"),
        ("Dir::State", "var/lib/apt"),
        ("Dir::State::Status", "var/lib/dpkg/status"),
        ("Dir::Cache", "var/cache/apt"),
    ];
    for (name, path) in options {
        command.arg("--option").arg(format!("{name}={}", folder.join(path).display()));
    }
    command.args(["--quiet=2", "--option=Acquire::Languages=none", "--option=APT::Sandbox::User=root"]);
    Ok(command)
}
