//! What a test needs and may not have: it is skipped loudly at home, and fails where `CI=true`.

use std::io::{self, Write as _};

/// `Some` where the test runs as root.
pub fn root() -> Option<()> {
    if nix::unistd::geteuid().is_root() {
        return Some(());
    }
    skip("needs root");
    None
}

/// Says that a test is skipped and why.
///
/// # Panics
///
/// Where `CI=true`: there everything must run.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "cannot be skipped where CI=true: {reason}");
    // Past the harness, which shows what a test prints only where it fails.
    let _ = writeln!(io::stderr(), "SKIP: {reason}");
}

/// `Some` where the program `name` can be started.
pub fn tool(name: &str) -> Option<()> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&folders).any(|folder| folder.join(name).is_file()) {
        return Some(());
    }
    skip(&format!("needs {name}, which `cargo xtask setup` installs"));
    None
}
