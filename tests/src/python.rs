//! Interpreters of Python.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::privilege::{skip, tool};

/// Debian's, as the environment of the package has it, whatever is first in PATH; elsewhere that.
const DEBIAN: &str = "/usr/bin/python3";

/// The interpreter that has the package installed, of its build by `cargo xtask test` or `cargo xtask bench`.
pub fn interpreter() -> Option<PathBuf> {
    const VARIABLE: &str = "INSTAMP_PYTHON";
    let interpreter = env::var_os(VARIABLE).map(PathBuf::from);
    if interpreter.is_none() {
        skip(&format!("needs {VARIABLE}, which `cargo xtask test` and `cargo xtask bench` install and set"));
    }
    interpreter
}

/// The one of the system, which has no more than Python's own library.
pub fn system() -> Option<&'static str> {
    if Path::new(DEBIAN).exists() {
        return Some(DEBIAN);
    }
    tool("python3").map(|()| "python3")
}
