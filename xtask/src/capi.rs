//! The library for programs in C, laid out as `/usr` has such libraries.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::process::{cargo, root, run, target};

/// The version of the package, and of the library in it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is installed where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The folder to install into, which is made
    #[arg(long, default_value_os_t = target().join("capi"))]
    prefix: PathBuf,
    /// The folder of the libraries, below the prefix unless it is absolute
    #[arg(long, default_value = "lib")]
    libdir: PathBuf,
    /// The profile that the library is built with
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the library and installs it.
pub(crate) fn run_task(options: &Options) -> Result<()> {
    let prefix = std::path::absolute(&options.prefix).context("--prefix")?;
    install(&Layout { root: Path::new("/"), prefix: &prefix, libdir: &options.libdir }, &options.profile)
}

/// Installs the library as tests and benchmarks take it, built with a profile of cargo's, and tells where.
///
/// # Errors
///
/// It cannot be built or installed.
pub(crate) fn installed(profile: &str) -> Result<PathBuf> {
    let prefix = target().join(format!("capi-{profile}"));
    install(&Layout { root: Path::new("/"), prefix: &prefix, libdir: Path::new("lib") }, profile)?;
    Ok(prefix)
}

/// Where the library goes.
pub(crate) struct Layout<'a> {
    /// What becomes `/` where the library is used: another folder where a package is made.
    pub(crate) root: &'a Path,
    /// Where it is in there: `/usr`.
    pub(crate) prefix: &'a Path,
    /// Where libraries are: `lib` or `lib/x86_64-linux-gnu` below the prefix, or an absolute path in `root`, as autotools have it.
    pub(crate) libdir: &'a Path,
}

impl Layout<'_> {
    /// A folder below the prefix, or one with an absolute path, which is made.
    fn folder(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let used = self.prefix.join(path);
        let folder = self.root.join(used.strip_prefix("/").unwrap_or(&used));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(folder)
    }
}

/// The name by which programs find the shared library at run time: by the workspace's major version, as its build.rs has it.
pub(crate) const SONAME: &str = concat!("libinstamp.so.", env!("CARGO_PKG_VERSION_MAJOR"));

/// Builds the library with a profile of cargo, and installs it: below `libdir` `libinstamp.so` (which links to `libinstamp.so.0`, which
/// links to `libinstamp.so.0.1.0`), `libinstamp.a` and `pkgconfig/instamp.pc`; and `include/instamp.h` and `share/man/man3/*`.
///
/// # Errors
///
/// It cannot be built, or a file cannot be written.
pub(crate) fn install(layout: &Layout<'_>, profile: &str) -> Result<()> {
    let build = ["--quiet", "--locked", "--package", "instamp-capi", "--profile", profile];
    run(cargo().arg("build").args(build))?;
    let built = target().join(if profile == "dev" { "debug" } else { profile });
    let source = root().join("userlib/capi");

    let libraries = layout.folder(layout.libdir)?;
    let file = format!("libinstamp.so.{VERSION}");
    copy(&built.join("libinstamp_capi.so"), &libraries.join(&file))?;
    link(&file, &libraries.join(SONAME))?;
    link(SONAME, &libraries.join("libinstamp.so"))?;
    copy(&built.join("libinstamp_capi.a"), &libraries.join("libinstamp.a"))?;
    copy(&source.join("include/instamp.h"), &layout.folder("include")?.join("instamp.h"))?;
    let description = layout.folder(layout.libdir.join("pkgconfig"))?.join("instamp.pc");
    write(&description, &pkg_config(layout, &source)?)?;

    let manual = layout.folder("share/man/man3")?;
    let pages = source.join("man");
    for page in fs::read_dir(&pages).with_context(|| format!("read {}", pages.display()))? {
        let page = page.with_context(|| format!("read {}", pages.display()))?;
        copy(&page.path(), &manual.join(page.file_name()))?;
    }
    Ok(())
}

/// `instamp.pc` for this place.
fn pkg_config(layout: &Layout<'_>, source: &Path) -> Result<String> {
    let template = source.join("instamp.pc.in");
    let template = fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
    Ok(template
        .replace("@prefix@", &layout.prefix.display().to_string())
        .replace("@libdir@", &Path::new("${prefix}").join(layout.libdir).display().to_string())
        .replace("@version@", VERSION))
}

/// With the rights that installed files have.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o644)).with_context(|| format!("chmod {}", to.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn link(to: &str, path: &Path) -> Result<()> {
    let _ = fs::remove_file(path);
    symlink(to, path).with_context(|| format!("link {} to {to}", path.display()))
}
