//! A lab for one test, made by the command itself.

use std::{
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{self, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// The `instamp` command of this build.
///
/// It is the one that the environment variable `INSTAMP_BIN` names; else it is built, where these tests were built.
///
/// # Panics
///
/// It cannot be built.
pub fn instamp() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PATH.get_or_init(|| env::var_os("INSTAMP_BIN").map_or_else(build, PathBuf::from)))
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    // <target>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("the folder of the profile");
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("no profile in {}", test.display()),
    };
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "instamp-tools", "--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("the target folder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo");
    assert!(status.success(), "cannot build the instamp command: {status}");
    folder.join("instamp")
}

/// A lab of its own name. Dropping it removes it.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

impl Lab {
    /// The address of the remote.
    pub const REMOTE: &str = "10.99.0.2";
    /// The IPv6 address of the remote.
    pub const REMOTE6: &str = "fd10:99::2";
    /// The network card of the host.
    pub const NIC: &str = "nic0";

    /// A name that no other test has.
    pub fn unique_name() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a lab, with options of `lab up`.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn up(options: &[&str]) -> Self {
        let lab = Self { name: Self::unique_name() };
        let output = instamp().args(["lab", "up", "--name", &lab.name]).args(options).output().expect("instamp");
        assert!(output.status.success(), "lab up: {output:?}");
        lab
    }

    /// The lab of this name, whatever there is of it: to be removed when it is dropped.
    pub fn of_name(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name, for `--name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the network namespace of `host`, `remote` or `c1` and so on.
    pub fn namespace(&self, role: &str) -> String {
        format!("instamp-{}-{role}", self.name)
    }

    /// `program`, to be run in the namespace of `host`, `remote` or `c1` and so on, without standard input.
    pub fn command(&self, role: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = instamp();
        command.args(["lab", "exec", "--name", &self.name, role, "--"]).arg(program).stdin(Stdio::null());
        command
    }

    /// The `instamp` command, to be run in a namespace.
    pub fn instamp(&self, role: &str) -> Command {
        self.command(role, instamp().get_program())
    }

    /// Removes the lab, as dropping it does.
    pub fn down(&self) -> Output {
        instamp().args(["lab", "down", "--name", &self.name]).output().expect("instamp")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = self.down();
        if !output.status.success() {
            eprintln!("lab down: {output:?}");
        }
    }
}
