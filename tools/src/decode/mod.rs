//! `instamp decode`.

use std::process::ExitCode;

/// Prints the probes of a capture file.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp decode` is not part of this build")
}
