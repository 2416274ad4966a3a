//! `cargo xtask setup`: what the other tasks need.

use anyhow::Result;

use crate::{
    bpf_toolchain,
    packages::{self, Package},
};

/// What the lab, the demo and the tests run.
pub(crate) fn runtime() -> Result<()> {
    packages::install(&[
        Package::new("nftables", "the lab's address translation"),
        Package::new("ethtool", "the lab's receive offload"),
    ])?;
    packages::mount_bpffs()
}

/// All that any task needs.
pub(crate) fn everything() -> Result<()> {
    runtime()?;
    packages::install(&[
        Package::new("iputils-ping", "the tests' independent prober"),
        Package::new("tcpdump", "the tests' independent witness"),
    ])?;
    bpf_toolchain::bpf_toolchain()?;
    Ok(())
}
