//! Strip and correct are the same in every language: on the whole corpus, line by line.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use instamp_tests::{
    capi::{Library, Linkage},
    corpus::driver::Exam,
    privilege::tool,
    python,
};

/// The driver in C.
const DRIVER: &str = "tests/driver.c";
/// Another exit than any that a driver has.
const FOUND_BY_VALGRIND: &str = "--error-exitcode=99";

/// A file of the source tree.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

#[test]
fn a_decoder_from_the_specification_agrees() {
    let Some(python) = python::system() else { return };
    Exam::new().examine(Command::new(python).arg(source("tests/decoder/decode.py")));
}

#[test]
fn the_c_libraries_agree() {
    let Some(library) = Library::find() else { return };
    let exam = Exam::new();
    for linkage in [Linkage::Shared, Linkage::Static] {
        exam.examine(&mut Command::new(library.compile(DRIVER, linkage)));
    }
}

#[test]
fn valgrind_finds_nothing_in_the_c_library() {
    let (Some(()), Some(library)) = (tool("valgrind"), Library::find()) else { return };
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", FOUND_BY_VALGRIND, "--leak-check=full", "--show-leak-kinds=all"]);
    valgrind.args(["--errors-for-leak-kinds=all", "--"]).arg(library.compile(DRIVER, Linkage::Shared));
    Exam::new().examine(&mut valgrind);
}

#[test]
fn the_python_package_agrees_in_both_forms() {
    let Some(python) = python::interpreter() else { return };
    let exam = Exam::new();
    for form in ["--scalar", "--vectorized"] {
        exam.examine(Command::new(&python).arg(source("userlib/python/tests/driver.py")).arg(form));
    }
}
