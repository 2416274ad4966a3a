//! The commands of this build: those that the environment names, else built where these tests were built.

use std::{
    env::{self, consts::ARCH},
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The `instamp` command.
///
/// It is the one that the environment variable `INSTAMP_BIN` names.
///
/// # Panics
///
/// It cannot be built.
pub fn instamp() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PATH.get_or_init(|| {
        env::var_os("INSTAMP_BIN").map_or_else(|| build("instamp-tools", None).join("instamp"), PathBuf::from)
    }))
}

/// The plugin `instamp-cni`, by its path.
///
/// It is the one beside `INSTAMP_BIN`.
///
/// # Panics
///
/// It cannot be built.
pub fn plugin() -> &'static Path {
    const NAME: &str = "instamp-cni";
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let beside = env::var_os("INSTAMP_BIN").map(|path| Path::new(&path).with_file_name(NAME));
        beside.filter(|path| path.exists()).unwrap_or_else(|| build(NAME, None).join(NAME))
    })
}

/// An `instamp` command that needs nothing of the system that it runs on, by its path.
///
/// It is the one that the environment variable `INSTAMP_STATIC_BIN` names.
///
/// # Panics
///
/// It cannot be built.
pub fn static_instamp() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let target = format!("{ARCH}-unknown-linux-gnu");
        let build = || build("instamp-tools", Some(&target)).join("instamp");
        env::var_os("INSTAMP_STATIC_BIN").map_or_else(build, PathBuf::from)
    })
}

/// An example of the crate `instamp`, by its path.
///
/// # Panics
///
/// It cannot be built.
pub fn example(name: &str) -> PathBuf {
    // With the features that a test of the workspace gives the crate: those are built already.
    run(cargo().args(["--workspace", "--example", name]));
    folder().join("examples").join(name)
}

/// Builds a package, for a named target statically, and returns the folder of what was built.
fn build(package: &str, target: Option<&str>) -> PathBuf {
    let mut cargo = cargo();
    cargo.args(["--package", package]);
    let Some(target) = target else {
        run(&mut cargo);
        return folder();
    };
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    run(cargo.args(["--target", target]).env(flags, "-C target-feature=+crt-static"));
    let folder = folder();
    let targets = folder.parent().expect("the target folder");
    targets.join(target).join(folder.file_name().expect("a name"))
}

/// Where this test's profile is built.
fn folder() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    // <target>/<profile>/deps/<test>
    test.ancestors().nth(2).expect("the folder of the profile").to_owned()
}

/// A build into the folders that these tests are in.
fn cargo() -> Command {
    let folder = folder();
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("no profile in {}", folder.display()),
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("the target folder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

fn run(cargo: &mut Command) {
    let status = cargo.status().expect("cargo");
    assert!(status.success(), "{cargo:?}: {status}");
}

/// What a command writes.
///
/// # Panics
///
/// It fails.
#[track_caller]
pub fn text(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("a command");
    let text = String::from_utf8(stdout).expect("text");
    assert!(status.success(), "{command:?}: {status}: {text}{}", String::from_utf8_lossy(&stderr));
    text
}
