//! What the tests in virtual machines take: an emulator, kernels and linuxptp.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    apt::{Apt, NEW, OLD, unpack},
    process::target,
};

/// What is unpacked with the packages that it needs: the folder, the package, and the suite that it is taken from.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("qemu", "qemu-system-x86", NEW),
    // Its phc2sys is what the tests compare the clock model with.
    ("linuxptp", "linuxptp", OLD),
];

/// Fetches what is missing. Quick where nothing is.
///
/// # Errors
///
/// It cannot be had: this is not Debian on x86-64, say, or there is no network.
pub(crate) fn fetch() -> Result<()> {
    let programs = PROGRAMS.map(|(name, package, suite)| (folder().join(name), package, suite));
    let kernels = [OLD, NEW].map(|suite| (folder().join(format!("linux-{suite}")), suite));
    let paths = || programs.iter().map(|(path, ..)| path).chain(kernels.iter().map(|(path, _)| path));
    if paths().all(|path| path.exists()) {
        return Ok(());
    }
    eprintln!("setup: fetching for the tests in virtual machines, 200 MB in all if nothing is there, into:");
    for path in paths().filter(|path| !path.exists()) {
        eprintln!("setup:   {}", path.display());
    }
    let apt = Apt::update(folder().join("apt"))?;
    for (path, package, suite) in programs.iter().filter(|(path, ..)| !path.exists()) {
        unpack(&apt.packages_with_dependencies(package, suite)?, path)?;
    }
    for (path, suite) in kernels.iter().filter(|(path, _)| !path.exists()) {
        let package = apt.kernel(suite)?;
        unpack(&[apt.package(&package)?], path)?;
    }
    apt.remove()
}

fn folder() -> PathBuf {
    target().join("vm")
}
