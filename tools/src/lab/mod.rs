//! `instamp lab`: network namespaces to measure in.
//!
//! | module | subject |
//! |---|---|
//! | `namespace` | one network namespace with a name: made, entered, removed |
//! | `netlink` | devices, addresses and routes of one namespace, and when they are usable |
//! | `topology` | what a lab looks like |

mod namespace;
mod netlink;
mod topology;

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};

use namespace::Namespace;
use topology::{MAX_CONTAINERS, Topology};

use crate::json_lines;

/// The name of the one lab that most machines need.
const DEFAULT_NAME: &str = "lab";

/// Makes and removes network namespaces to measure in.
///
/// A lab is a `host` with a network card `nic0`, containers `c1`, `c2` and so on behind its bridge and its address
/// translation, and a `remote` at the other end of the card's wire. It touches nothing else on the machine.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(clap::Subcommand)]
enum LabCommand {
    /// Makes a lab, and returns when all of its addresses are usable.
    Up(UpOptions),
    /// Runs a command in a namespace of a lab; this process becomes the command.
    #[command(after_help = "Exit status: the command's, or 2 where it could not be started.")]
    Exec(ExecOptions),
    /// Removes a lab with what is attached in it, also one that was left half made.
    Down(LabName),
}

#[derive(clap::Args)]
struct LabName {
    /// The lab's name, where one is not enough: letters, digits, `-` and `_`.
    #[arg(long = "name", value_name = "NAME", default_value = DEFAULT_NAME, value_parser = parse_lab_name)]
    lab: String,
}

#[derive(clap::Args)]
struct UpOptions {
    #[command(flatten)]
    name: LabName,
    /// How many containers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=MAX_CONTAINERS.into()))]
    containers: u8,
    /// The largest packet that every device of the lab takes, in bytes; IPv6 needs 1280.
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: u16,
    /// Prints what was made as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ExecOptions {
    #[command(flatten)]
    name: LabName,
    /// `host`, `remote`, `c1` and so on, or the whole name of a namespace as `lab up` prints it.
    #[arg(value_name = "NAME")]
    role: String,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

fn parse_lab_name(name: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err("1 to 64 letters, digits, `-` and `_` are allowed");
    }
    Ok(name.to_owned())
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "`instamp lab` makes and enters network namespaces, which only root may do: try again with sudo"
    );
    match options.command {
        LabCommand::Up(options) => up(&options),
        LabCommand::Exec(options) => exec(&options),
        LabCommand::Down(name) => down(&name.lab),
    }
}

fn up(options: &UpOptions) -> Result<ExitCode> {
    let lab = &options.name.lab;
    if let Some(namespace) = namespaces(lab)?.first() {
        bail!(
            "namespace `{}` exists: the lab is up, or was left half made; `{}` removes it",
            namespace.name(),
            command("down", lab)
        );
    }
    let description = Topology::new(lab, options.containers, options.mtu).build()?;
    let mut out = io::stdout().lock();
    if options.json {
        json_lines::write(&mut out, &description)?;
    } else {
        writeln!(out, "lab `{lab}` is up; run a command in it with `{} NAME -- COMMAND`", command("exec", lab))?;
        write!(out, "{description}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn exec(options: &ExecOptions) -> Result<ExitCode> {
    let lab = &options.name.lab;
    let name = match options.role.starts_with(namespace::PREFIX) {
        true => options.role.clone(),
        false => namespace::name(lab, &options.role),
    };
    let Some(namespace) = Namespace::find(&name) else {
        let known = namespaces(lab)?;
        if known.is_empty() {
            bail!("no namespace `{name}`: lab `{lab}` is not up; `{}` makes it", command("up", lab));
        }
        let known: Vec<_> = known.iter().map(Namespace::role).collect();
        bail!("no namespace `{name}`; lab `{lab}` has {}", known.join(", "));
    };
    namespace.enter_for_good()?;
    let [program, arguments @ ..] = options.command.as_slice() else {
        bail!("no command");
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start `{}`", program.display()))
}

fn down(lab: &str) -> Result<ExitCode> {
    let mut errors = Vec::new();
    for namespace in namespaces(lab)? {
        if namespace.is_whole() {
            errors.extend(namespace.enter(detach_all).err());
        }
        for (pid, command) in namespace.inhabitants() {
            eprintln!(
                "instamp: process {pid} ({command}) still runs in `{}`: its devices are gone when it has ended",
                namespace.name()
            );
        }
        errors.extend(namespace.remove().err());
    }
    // Of several errors the first tells most: the others follow from it.
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Detaches what was attached in the calling thread's namespace: pins outlive it.
fn detach_all() -> Result<()> {
    match crate::hooks().and_then(|hooks| hooks.detach_all()) {
        // Where no pin can be, none is left.
        Ok(_) | Err(instamp_hooks::Error::NoBpffs { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The namespaces of the lab, as far as they exist.
fn namespaces(lab: &str) -> Result<Vec<Namespace>> {
    let mut namespaces = Namespace::list()?;
    namespaces.retain(|namespace| namespace.lab() == lab);
    Ok(namespaces)
}

/// The command that does this with the lab.
fn command(verb: &str, lab: &str) -> String {
    match lab {
        DEFAULT_NAME => format!("instamp lab {verb}"),
        lab => format!("instamp lab {verb} --name {lab}"),
    }
}
