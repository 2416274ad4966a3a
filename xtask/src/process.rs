//! Running other programs: an error names the program, its arguments and how it ended.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The environment variable that names another target folder to cargo.
const TARGET: &str = "CARGO_TARGET_DIR";

/// The command line, as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

/// Runs `command` with this process' output streams until it ends.
///
/// # Errors
///
/// It could not be started, or did not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    ensure!(status.success(), "`{}` failed: {status}", line(command));
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output, without the last line's end.
///
/// # Errors
///
/// It could not be started, did not end with 0, or wrote something other than UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    ensure!(output.status.success(), "`{}` failed: {}", line(command), output.status);
    let text = String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", line(command)))?;
    Ok(text.trim_end().to_owned())
}

/// Whether `command` can be started and ends with 0. Its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The root of the source tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds: an absolute path, for programs run in many folders.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os(TARGET).map_or_else(|| root().join("target"), PathBuf::from);
    std::path::absolute(&folder).unwrap_or(folder)
}

/// The cargo that runs this task, started in the root of the source tree.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // A relative one is relative to where this task runs.
    if std::env::var_os(TARGET).is_some() {
        command.env(TARGET, target());
    }
    command
}
