//! `instamp attach`.

use std::process::ExitCode;

/// Stamps this host's probes at a network device.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp attach` is not part of this build")
}
