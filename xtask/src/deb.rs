//! Debian packages. What is in them is told in the manifests of their crates, under `package.metadata.deb`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, output, root, run, succeeds, target};

/// Who is named in packages and in their changelog, as in the manifests. There is no address to write to.
pub(crate) const MAINTAINER: &str = "instamp developers <developers@instamp.invalid>";

/// It warns that packages are made of release builds: those of the tests are not, which a newer one might refuse.
const CARGO_DEB_VERSION: &str = "3.8.0";

/// A package.
struct Deb {
    /// The crate whose manifest describes it.
    package: &'static str,
    /// What cargo-deb is told besides.
    options: &'static [&'static str],
    /// Whether it is what programs depend on that are linked with its library.
    is_shared_library: bool,
}

const ALL: [Deb; 4] = [
    Deb { package: "instamp-tools", options: &[], is_shared_library: false },
    Deb { package: "instamp-capi", options: &["--multiarch=same"], is_shared_library: false },
    Deb { package: "instamp-capi", options: &["--multiarch=same", "--variant=shared"], is_shared_library: true },
    Deb { package: "instamp-python", options: &[], is_shared_library: false },
];

/// Makes all packages in a folder, of what is built with a profile and staged, as of a time in seconds since 1970.
///
/// # Errors
///
/// cargo-deb fails, or cannot be built.
pub(crate) fn build(profile: &str, epoch: u64, folder: &Path) -> Result<()> {
    ALL.iter().try_for_each(|deb| deb.build(profile, epoch, folder))
}

impl Deb {
    fn build(&self, profile: &str, epoch: u64, folder: &Path) -> Result<()> {
        let mut command = Command::new(cargo_deb()?);
        command
            // Stripped it is already.
            .args(["--quiet", "--locked", "--no-build", "--no-strip", "--profile", profile, "--package", self.package])
            .args(self.options)
            .arg("--output")
            .arg(folder)
            .env("SOURCE_DATE_EPOCH", epoch.to_string())
            .current_dir(root());
        if profile == "dev" {
            command.arg("--fast");
        }
        let path = PathBuf::from(output(&mut command)?);
        if self.is_shared_library { add_shlibs(&path, epoch) } else { Ok(()) }
    }
}

/// Adds to the package of a shared library what cargo-deb does not know: what it depends on, and what programs do that are linked with it.
fn add_shlibs(package: &Path, epoch: u64) -> Result<()> {
    /// Of the same major version, and no older than what they were linked with: functions may have been added since.
    const SHLIBS: &str = concat!(
        "libinstamp ",
        env!("CARGO_PKG_VERSION_MAJOR"),
        " libinstamp",
        env!("CARGO_PKG_VERSION_MAJOR"),
        " (>= ",
        env!("CARGO_PKG_VERSION"),
        ")\n"
    );
    let folder = package.with_extension("unpacked");
    run(Command::new("dpkg-deb").arg("--raw-extract").args([package, &folder]))?;
    let shlibs = folder.join("DEBIAN/shlibs");
    fs::write(&shlibs, SHLIBS).with_context(|| format!("write {}", shlibs.display()))?;

    let control = folder.join("DEBIAN/control");
    let text = fs::read_to_string(&control).with_context(|| format!("read {}", control.display()))?;
    ensure!(text.lines().any(|line| line.starts_with("Depends:")), "{} has no line to replace", control.display());
    let depends = format!("Depends: {}", depends(&folder)?);
    let lines = text.lines().map(|line| if line.starts_with("Depends:") { &depends } else { line });
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    fs::write(&control, text).with_context(|| format!("write {}", control.display()))?;

    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&folder, package])
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .stdout(Stdio::null()))?;
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))
}

/// What the libraries in an unpacked package depend on.
fn depends(unpacked: &Path) -> Result<String> {
    // It looks for the file that packages are described in, and takes an empty one.
    let folder = unpacked.with_extension("debian");
    let description = folder.join("debian/control");
    fs::create_dir_all(folder.join("debian")).with_context(|| format!("create {}", folder.display()))?;
    fs::write(&description, "").with_context(|| format!("write {}", description.display()))?;
    let libraries = output(Command::new("find").arg(unpacked).args(["-type", "f", "-name", "*.so.*"]))?;
    let found = output(Command::new("dpkg-shlibdeps").arg("-O").args(libraries.lines()).current_dir(&folder))?;
    fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    let found = found.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    found.map(str::to_owned).with_context(|| format!("dpkg-shlibdeps finds nothing in {}", unpacked.display()))
}

/// cargo-deb, built in the target folder where it is not there yet.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn cargo_deb() -> Result<PathBuf> {
    let folder = target().join(format!("tools/cargo-deb-{CARGO_DEB_VERSION}"));
    let program = folder.join("bin/cargo-deb");
    if !succeeds(Command::new(&program).arg("--version")) {
        eprintln!("setup: building cargo-deb {CARGO_DEB_VERSION} in {}: a minute", folder.display());
        run(cargo()
            .args(["install", "cargo-deb", "--version", CARGO_DEB_VERSION, "--locked", "--quiet", "--debug", "--root"])
            .arg(&folder))?;
    }
    Ok(program)
}
