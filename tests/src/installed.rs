//! Programs of this machine, to be put elsewhere with what they are linked with.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Where a program is.
///
/// # Panics
///
/// There is none of this name.
pub fn path(name: &str) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let path = env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("no {name}, which `cargo xtask setup` installs"))
}

/// The libraries that a program is linked with, and what loads them.
///
/// # Panics
///
/// One is missing.
pub fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).env_remove("LD_LIBRARY_PATH").output().expect("ldd");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && !text.contains("not found"), "ldd {}: {text}", program.display());
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the path of the loader alone.
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
