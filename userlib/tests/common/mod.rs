//! What tests share that need something of the machine.

/// Skipping is loud, and a failure where everything has to be there.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "cannot be skipped: {reason}");
    println!("SKIP: {reason}");
}
