//! `instamp detach`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Stops stamping, and leaves devices as they were.
///
/// Acts in the network namespace that it runs in.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Options {
    /// The device.
    #[arg(long, value_name = "IF")]
    dev: Option<String>,

    /// All devices of this network namespace. To find none is no error.
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let hooks = crate::hooks()?;
    let detached = match options.dev {
        Some(device) => {
            hooks.detach(&device)?;
            vec![device]
        }
        None => hooks.detach_all()?,
    };
    let mut out = io::stdout().lock();
    for device in detached {
        writeln!(out, "{device}: detached")?;
    }
    Ok(ExitCode::SUCCESS)
}
