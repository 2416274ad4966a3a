//! `cargo xtask dist`: everything that users install, in one folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    capi::{self, Layout},
    deb,
    process::{cargo, output, root, run, target},
    python, setup,
};

/// The profile whose builds are meant for users.
const RELEASE: &str = "release";
/// The version of all that is made.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How it is built.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The profile of cargo: another than release puts what is made beside target/dist, in target/dist-PROFILE
    #[arg(long, default_value = RELEASE)]
    profile: String,
}

/// Makes packages, a wheel, an archive and their checksums, and says where.
///
/// # Errors
///
/// A tool is missing and cannot be installed, or something cannot be built.
pub(crate) fn run_task(options: &Options) -> Result<()> {
    setup::distributing()?;
    let folder = dist(&options.profile)?;
    eprintln!("dist: {}", folder.display());
    Ok(())
}

/// Makes it all with a profile, and returns the folder: packages, a wheel, an archive, and their SHA256SUMS.
///
/// # Errors
///
/// Something cannot be built or written.
pub(crate) fn dist(profile: &str) -> Result<PathBuf> {
    let folder = target().join(if profile == RELEASE { "dist".to_owned() } else { format!("dist-{profile}") });
    empty(&folder)?;
    let staged = Staged::make(profile, &folder)?;
    deb::build(profile, staged.epoch, &folder)?;
    archive(&staged, &folder)?;
    let names = files(&folder)?;
    let names = names.iter().filter_map(|path| path.file_name());
    let sums = output(Command::new("sha256sum").args(names).current_dir(&folder))?;
    write(&folder.join("SHA256SUMS"), &(sums + "\n"))?;
    Ok(folder)
}

/// What is built, and what is made for packages of it, before it is packed.
struct Staged {
    /// Beside what cargo has built, where the packages' descriptions look for it.
    folder: PathBuf,
    /// The time of all files, in seconds since 1970: two builds of one commit are to be the same.
    epoch: u64,
}

impl Staged {
    fn make(profile: &str, folder: &Path) -> Result<Self> {
        let built = target().join(if profile == "dev" { "debug" } else { profile });
        let staged = Self { folder: built.join("dist"), epoch: epoch()? };
        empty(&staged.folder)?;
        staged.programs(&built, profile)?;
        staged.library(profile)?;
        staged.python(profile, folder)?;
        let changelog = staged.folder.join("changelog.Debian");
        write(&changelog, &staged.changelog()?)?;
        gzip(&[changelog])?;
        Ok(staged)
    }

    /// The commands, and what is made of the definition of the command line.
    fn programs(&self, built: &Path, profile: &str) -> Result<()> {
        run(cargo()
            .args(["build", "--quiet", "--locked", "--profile", profile, "--package", "instamp-tools"])
            .args(["--package", "instamp-cni", "--bins", "--example", "manual"]))?;
        let programs = self.folder.join("bin");
        create(&programs)?;
        for name in ["instamp", "instamp-cni"] {
            run(Command::new("strip").arg("-o").args([&programs.join(name), &built.join(name)]))?;
        }
        run(Command::new(built.join("examples/manual")).arg(&self.folder).arg(self.date("%Y-%m-%d")?))?;
        gzip(&files(&self.folder.join("man"))?)
    }

    /// The library for programs in C, as packages have it.
    fn library(&self, profile: &str) -> Result<()> {
        let root = self.folder.join("capi");
        let libraries = Path::new("lib").join(output(Command::new("dpkg-architecture").arg("-qDEB_HOST_MULTIARCH"))?);
        capi::install(&Layout { root: &root, prefix: Path::new("/usr"), libdir: &libraries }, profile)?;
        let (named, libraries) = (root.join("usr").join(libraries), root.join("usr/lib/architecture"));
        fs::rename(&named, &libraries).with_context(|| format!("rename {}", named.display()))?;
        run(Command::new("strip").arg("--strip-unneeded").arg(libraries.join(capi::SONAME)))?;
        run(Command::new("strip")
            .args(["--strip-debug", "--enable-deterministic-archives"])
            .arg(libraries.join("libinstamp.a")))?;
        gzip(&files(&root.join("usr/share/man/man3"))?)
    }

    /// The Python package: its wheel, which is for users, too, and what is in it.
    fn python(&self, profile: &str, folder: &Path) -> Result<()> {
        let wheel = python::wheel(profile)?;
        let name = wheel.file_name().context("a wheel without a name")?;
        fs::copy(&wheel, folder.join(name)).with_context(|| format!("copy {}", wheel.display()))?;
        let modules = self.folder.join("python");
        create(&modules)?;
        run(Command::new(python::system()).args(["-m", "zipfile", "--extract"]).args([&wheel, &modules]))?;
        let extensions = files(&modules.join("instamp"))?;
        let extensions = extensions.iter().filter(|path| path.extension().is_some_and(|extension| extension == "so"));
        run(Command::new("strip").arg("--strip-unneeded").args(extensions))
    }

    /// The time in a format of date(1), in UTC.
    fn date(&self, format: &str) -> Result<String> {
        output(Command::new("date").env("LC_ALL", "C").args([
            "--utc",
            &format!("--date=@{}", self.epoch),
            &format!("+{format}"),
        ]))
    }

    /// Debian's changelog of the packages: what is new is told in the other one.
    fn changelog(&self) -> Result<String> {
        let date = self.date("%a, %d %b %Y %H:%M:%S +0000")?;
        Ok(format!(
            "instamp ({VERSION}-1) unstable; urgency=medium\n\n  * Version {VERSION}.\n\n -- {}  {date}\n",
            deb::MAINTAINER
        ))
    }
}

/// The time of the commit, or the one that reproducible builds are told.
fn epoch() -> Result<u64> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    let text = match env::var(VARIABLE) {
        Ok(text) => text,
        Err(_) => {
            output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root())).with_context(|| {
                format!("outside of a clone of the repository tell the time of the sources in {VARIABLE}")
            })?
        }
    };
    text.parse().with_context(|| format!("{VARIABLE}={text}"))
}

/// What there is for systems without these packages: the commands, and what belongs to them.
fn archive(staged: &Staged, folder: &Path) -> Result<()> {
    let name = format!("instamp-{VERSION}-{}-linux", env::consts::ARCH);
    let file = folder.join(format!("{name}.tar.gz"));
    run(Command::new("tar")
        .args([
            "--create",
            "--use-compress-program=gzip --no-name",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mode=go=rX,u+rw",
        ])
        .arg(format!("--mtime=@{}", staged.epoch))
        .arg(format!("--transform=s,^,{name}/,"))
        .arg("--file")
        .arg(&file)
        .arg("--directory")
        .arg(&staged.folder)
        .args(["bin", "man", "completions", "--directory"])
        .arg(root())
        .args(["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "docs", "deploy"]))
}

/// The files in a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut paths: Vec<_> = entries
        .with_context(|| format!("list {}", folder.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    Ok(paths)
}

/// Replaces files by compressed ones, as Debian has its documents.
fn gzip(files: &[PathBuf]) -> Result<()> {
    run(Command::new("gzip").args(["--best", "--no-name"]).args(files))
}

/// Makes a folder anew.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    create(folder)
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
