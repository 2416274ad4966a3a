//! `instamp detach`.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::ensure;
use instamp_hooks::{Container, Hooks};

use crate::{attach::open_namespace, engines};

/// Stops stamping, and leaves devices as they were.
///
/// Acts in the network namespace that it runs in. For a container it detaches from the host's end of the container's veth; and from
/// the uplink, if that was attached to for containers, and this was the last of them.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Options {
    /// The device.
    #[arg(long, value_name = "IF")]
    dev: Option<String>,

    /// The container with this name or identifier, or the beginning of one, as `instamp status` shows them.
    #[arg(long, value_name = "NAME|ID")]
    container: Option<String>,

    /// The container with this network namespace.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,

    /// The container with this process.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// All devices of this network namespace. To find none is no error.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let hooks = crate::hooks()?;
    let detached = if let Some(device) = options.dev {
        hooks.detach(&device)?;
        vec![device]
    } else if let Some(name) = options.container {
        detach_container(&hooks, &name)?
    } else if let Some(path) = options.netns {
        hooks.detach_namespace(&open_namespace(&path)?)?
    } else if let Some(pid) = options.pid {
        hooks.detach_namespace(&engines::of_process(pid)?)?
    } else {
        hooks.detach_all()?
    };
    let mut out = io::stdout().lock();
    for device in detached {
        writeln!(out, "{device}: detached")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of the container that was attached for by this name; else what is attached for the container that an engine knows by it.
fn detach_container(hooks: &Hooks, name: &str) -> anyhow::Result<Vec<String>> {
    let attached = hooks.status()?.into_iter().filter_map(|attachment| attachment.container);
    let containers: Vec<_> = attached.map(|of| of.container).collect();
    let is_exact = |container: &&Container| container.id == name || container.name == name;
    let exact: BTreeSet<_> = containers.iter().filter(is_exact).map(|container| &container.id).collect();
    let begins = |container: &&Container| container.id.starts_with(name);
    let chosen = match exact.is_empty() {
        true => containers.iter().filter(begins).map(|container| &container.id).collect(),
        false => exact,
    };
    ensure!(chosen.len() <= 1, "several containers are called `{name}`: name one by its identifier");
    match chosen.first() {
        Some(id) => Ok(hooks.detach_containers(|container| container.id == **id)?),
        None => Ok(hooks.detach_namespace(&engines::find(name)?.1)?),
    }
}
