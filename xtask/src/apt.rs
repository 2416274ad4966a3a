//! Debian's packages, downloaded and unpacked into the target folder. Nothing of them is installed, and apt's configuration stays as
//! it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process::{output, run};

/// The suite with Linux 6.1, the oldest kernel that the programs load on.
pub(crate) const OLD: &str = "bookworm";
/// The suite with a longterm kernel that has TCX (6.6), and with an emulator (8.0) that has a network card with a hardware clock.
pub(crate) const NEW: &str = "bookworm-backports";
/// The keys of Debian's archive.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The package that depends on the kernel of its suite.
const KERNEL: &str = "linux-image-amd64";

/// apt with sources, lists and downloads of its own, on the mirror that this machine uses.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the lists into a folder of its own, which [`remove`](Self::remove) removes.
    pub(crate) fn update(folder: PathBuf) -> Result<Self> {
        for name in ["lists/partial", "archives/partial"] {
            let name = folder.join(name);
            fs::create_dir_all(&name).with_context(|| format!("create {}", name.display()))?;
        }
        let mirror = mirror()?;
        let sources = [OLD, NEW].map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")).concat();
        let apt = Self { folder };
        fs::write(apt.sources(), sources).with_context(|| format!("write {}", apt.sources().display()))?;
        run(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    fn archives(&self) -> PathBuf {
        self.folder.join("archives")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            ("Dir::Etc::SourceList", self.sources()),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::State::Lists", self.folder.join("lists")),
            ("Dir::Cache", self.folder.clone()),
            ("Dir::Cache::Archives", self.archives()),
        ];
        for (name, path) in options {
            command.arg("--option").arg(format!("{name}={}", path.display()));
        }
        // Nothing of the machine's changes: no rights are needed, nor its locks.
        command.args(["--quiet=2", "--option=Debug::NoLocking=1", "--option=Acquire::Languages=none"]);
        // The user of apt's sandbox may not enter these folders, of which apt would warn.
        command.arg("--option=APT::Sandbox::User=root");
        command.current_dir(self.archives()).stdin(Stdio::null());
        command
    }

    /// Downloads the newest version of a package in a suite, and what it depends on and this machine lacks.
    pub(crate) fn packages_with_dependencies(&self, name: &str, suite: &str) -> Result<Vec<PathBuf>> {
        self.remove_packages()?;
        run(self.command("apt-get").arg(format!("--target-release={suite}")).args([
            "install",
            "--download-only",
            "--reinstall",
            "--yes",
            "--no-install-recommends",
            name,
        ]))?;
        self.packages()
    }

    /// Downloads one package.
    pub(crate) fn package(&self, name: &str) -> Result<PathBuf> {
        self.remove_packages()?;
        run(self.command("apt-get").args(["download", name]))?;
        self.packages()?.pop().with_context(|| format!("apt has not downloaded {name}"))
    }

    /// The name of the package with the kernel of a suite.
    pub(crate) fn kernel(&self, suite: &str) -> Result<String> {
        let description = output(self.command("apt-cache").arg(format!("--target-release={suite}")).args([
            "show",
            "--no-all-versions",
            KERNEL,
        ]))?;
        // `Depends: linux-image-6.1.0-50-amd64 (= 6.1.176-1)`
        let dependency = description.lines().find_map(|line| line.strip_prefix("Depends: ")?.split(' ').next());
        dependency
            .map(str::to_owned)
            .with_context(|| format!("{KERNEL} of {suite} depends on no kernel: {description}"))
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        let folder = self.archives();
        let entries = fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut paths: Vec<_> = entries
            .with_context(|| format!("list {}", folder.display()))?
            .into_iter()
            .map(|entry| entry.path())
            .collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
        Ok(paths)
    }

    fn remove_packages(&self) -> Result<()> {
        for package in self.packages()? {
            fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
        }
        Ok(())
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))
    }
}

/// Debian's mirror among the sources of this machine.
///
/// # Errors
///
/// There is none.
pub(crate) fn mirror() -> Result<String> {
    let sources = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
        "Label: Debian",
    ]))?;
    let mirror = sources.lines().next().context("no mirror of Debian is among apt's sources on this machine")?;
    Ok(mirror.to_owned())
}

/// Unpacks packages into a folder, which is there when all is in it.
pub(crate) fn unpack(packages: &[PathBuf], folder: &Path) -> Result<()> {
    ensure!(!packages.is_empty(), "apt has downloaded nothing for {}", folder.display());
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
    }
    for package in packages {
        run(Command::new("dpkg-deb").arg("--extract").args([package, &partial]))?;
    }
    fs::rename(&partial, folder).with_context(|| format!("rename {} to {}", partial.display(), folder.display()))
}
