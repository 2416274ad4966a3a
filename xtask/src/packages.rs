//! Debian packages: what is missing is installed, and said.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::run;

/// A Debian package and what it is needed for.
pub(crate) struct Package {
    /// Its name, as `apt-get install` takes it.
    pub(crate) name: String,
    /// What of it is used here.
    pub(crate) reason: &'static str,
}

impl Package {
    pub(crate) fn new(name: impl Into<String>, reason: &'static str) -> Self {
        Self { name: name.into(), reason }
    }

    pub(crate) fn is_installed(&self) -> bool {
        let query =
            Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", &self.name]).output();
        query.is_ok_and(|query| query.stdout == b"installed")
    }
}

/// Installs those of `packages` that are missing, and says which and why. Quick where none is.
///
/// # Errors
///
/// A package cannot be installed; nothing installed before is ever removed for it.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !package.is_installed()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("setup: installing {}: {}", package.name, package.reason);
    }
    let names = || missing.iter().map(|package| package.name.as_str());
    let remedy = || {
        let names: Vec<_> = names().collect();
        format!("install by hand what these packages of Debian hold, then try again: {}", names.join(" "))
    };
    run(apt_get().arg("update")).with_context(remedy)?;
    run(apt_get().args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(names()))
        .with_context(remedy)
}

/// `apt-get`, which asks nothing and reports errors alone.
fn apt_get() -> Command {
    let mut command = as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2", "--option=Dpkg::Use-Pty=0"]);
    command.stdout(Stdio::null());
    command
}

/// `program`, to be run with the rights of root: through sudo where this process has none.
pub(crate) fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Mounts the BPF file system where pinned programs live, unless it is there.
///
/// # Errors
///
/// It cannot be mounted.
pub(crate) fn mount_bpffs() -> Result<()> {
    const BPFFS: &str = "/sys/fs/bpf";
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let is_mounted = mounts.lines().any(|mount| {
        let mut fields = mount.split(' ').skip(1);
        fields.next() == Some(BPFFS) && fields.next() == Some("bpf")
    });
    if is_mounted {
        return Ok(());
    }
    eprintln!("setup: mounting the BPF file system on {BPFFS}: attached programs are pinned there");
    // Open to everybody, as it is by default, it would have anybody make names there.
    run(as_root("mount").args(["-t", "bpf", "-o", "mode=700", "bpf", BPFFS]))
}
