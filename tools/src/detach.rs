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

    /// The container with this name or identifier, or the beginning of an identifier, as `instamp status` shows them.
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
    // An empty variable of a shell: containers without a name would have this one.
    ensure!(!name.is_empty(), "--container has no name");
    let attached = hooks.status()?.into_iter().filter_map(|attachment| attachment.container);
    let containers: Vec<_> = attached.map(|of| of.container).collect();
    let chosen = called(&containers, name);
    ensure!(chosen.len() <= 1, "several containers are called `{name}`: name one by its identifier");
    match chosen.first() {
        Some(id) => Ok(hooks.detach_containers(|container| container.id == **id)?),
        None => Ok(hooks.detach_namespace(&engines::find(name)?.1)?),
    }
}

/// The identifiers of the containers with this name or identifier; where there is none, of those whose identifiers begin so.
fn called<'a>(containers: &'a [Container], name: &str) -> BTreeSet<&'a String> {
    let is_exact = |container: &&Container| container.id == name || container.name == name;
    let exact: BTreeSet<_> = containers.iter().filter(is_exact).map(|container| &container.id).collect();
    if !exact.is_empty() {
        return exact;
    }
    let begins = |container: &&Container| container.id.starts_with(name);
    containers.iter().filter(begins).map(|container| &container.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_identifiers_may_be_begun() {
        let container = |id: &str, name: &str| {
            let (id, name) = (id.to_owned(), name.to_owned());
            Container { id, name, ..Container::default() }
        };
        let containers = [container("0a1b", "web"), container("0a2c", "website"), container("web", "")];
        for (name, ids) in [
            ("0a", &["0a1b", "0a2c"][..]),
            ("0a1", &["0a1b"]),
            ("web", &["0a1b", "web"]),
            ("websit", &[]),
            ("website", &["0a2c"]),
        ] {
            assert_eq!(
                called(&containers, name),
                ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>().iter().collect(),
                "{name}"
            );
        }
    }
}
