//! Strip and correct are the same in every language: on the whole corpus, line by line.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use instamp_tests::{
    corpus::driver::Exam,
    privilege::{skip, tool},
};
use tempfile::TempDir;

/// Another exit than any that a driver has.
const FOUND_BY_VALGRIND: &str = "--error-exitcode=99";

/// A file of the source tree.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the tree").join(path)
}

/// What `cargo xtask test` has built and tells by this variable.
fn built(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        skip(&format!("needs {variable}, which `cargo xtask test` builds and sets"));
    }
    path
}

/// The C library, as it is installed below a folder.
struct Installed {
    prefix: PathBuf,
    folder: TempDir,
}

impl Installed {
    fn find() -> Option<Self> {
        tool("cc")?;
        tool("pkg-config")?;
        Some(Self { prefix: built("INSTAMP_CAPI")?, folder: tempfile::tempdir().expect("a folder") })
    }

    /// Options of the compiler, as the pkg-config file tells them.
    fn options(&self, which: &[&str]) -> Vec<String> {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig")).args(which).arg("instamp");
        let output = command.output().expect("pkg-config");
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").split_whitespace().map(str::to_owned).collect()
    }

    /// The driver, with the shared library or, where `which` says so, the static one inside.
    fn driver(&self, which: &[&str]) -> Command {
        let program = self.folder.path().join(format!("driver{}", which.concat()));
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
        compiler.arg(source("userlib/capi/tests/driver.c")).arg("-o").arg(&program);
        compiler.args(self.options(&["--cflags"]));
        let libraries = self.options(&[which, &["--libs"]].concat());
        // The compiler prefers the shared one.
        let of_kind =
            |library: String| if which.is_empty() { library } else { library.replace("-linstamp", "-l:libinstamp.a") };
        compiler.args(libraries.into_iter().map(of_kind));
        assert!(compiler.status().expect("cc").success(), "{compiler:?}");
        let mut driver = Command::new(program);
        driver.env("LD_LIBRARY_PATH", if which.is_empty() { self.prefix.join("lib") } else { PathBuf::new() });
        driver
    }
}

#[test]
fn a_decoder_from_the_specification_agrees() {
    let Some(()) = tool("python3") else { return };
    Exam::new().examine(Command::new("python3").arg(source("tests/decoder/decode.py")));
}

#[test]
fn the_c_libraries_agree() {
    let Some(installed) = Installed::find() else { return };
    let exam = Exam::new();
    for which in [&[][..], &["--static"]] {
        exam.examine(&mut installed.driver(which));
    }
}

#[test]
fn valgrind_finds_nothing_in_the_c_library() {
    let (Some(()), Some(installed)) = (tool("valgrind"), Installed::find()) else { return };
    let driver = installed.driver(&[]);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", FOUND_BY_VALGRIND, "--leak-check=full", "--show-leak-kinds=all"]);
    valgrind.args(["--errors-for-leak-kinds=all", "--"]).arg(driver.get_program());
    valgrind.env("LD_LIBRARY_PATH", installed.prefix.join("lib"));
    Exam::new().examine(&mut valgrind);
}

#[test]
fn the_python_package_agrees_in_both_forms() {
    let Some(python) = built("INSTAMP_PYTHON") else { return };
    let exam = Exam::new();
    for form in ["scalar", "vectorized"] {
        exam.examine(Command::new(&python).arg(source("userlib/python/tests/driver.py")).arg(form));
    }
}
