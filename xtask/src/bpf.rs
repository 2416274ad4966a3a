//! `cargo xtask bpf`.

/// What `cargo xtask bpf` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Builds the objects.
pub(crate) fn run(_options: Options) -> anyhow::Result<()> {
    anyhow::bail!("`cargo xtask bpf` is not part of this build")
}
