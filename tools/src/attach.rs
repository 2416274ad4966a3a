//! `instamp attach`.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{ArgGroup, ValueEnum};
use instamp_hooks::{
    Attachment, Clock, Container, ContainerHooks, ContainerRequest, IngressChoice, Objects, Prefix, Request, Settings,
    TcChoice,
};

use crate::{
    choices::{ClockChoice, XdpModeChoice},
    engines,
};

/// Stamps probes at a network device, or at both devices of a container.
///
/// Acts in the network namespace that it runs in, and returns: the kernel stamps until `instamp detach`, the end of the
/// device, or of the system. Attaches all hooks or none. Stamped are requests from, and replies to, the addresses that
/// this network namespace has now, and those of --source.
///
/// For a container it attaches to the host's end of the container's veth, and to the uplink, the device by which the container's
/// probes leave this host: that one as it is where it is attached already, else for as long as there is such a container.
/// Nothing enters the container. When it ends its attachments are of no effect, and the next command removes them.
///
/// Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN; Linux 6.1; and a BPF file system at /sys/fs/bpf, or where the environment
/// variable INSTAMP_BPFFS says.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("where").required(true).args(["dev", "container", "netns", "pid"]))]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
pub(crate) struct Options {
    /// The device.
    #[arg(long, value_name = "IF")]
    dev: Option<String>,

    /// The container of this name or identifier, of podman or docker. They are asked at their sockets (CONTAINER_HOST and
    /// DOCKER_HOST name others), podman without one by its command.
    #[arg(long, value_name = "NAME|ID", conflicts_with = "update")]
    container: Option<String>,

    /// The container with this network namespace, as in /run/netns: of any runtime.
    #[arg(long, value_name = "PATH", conflicts_with = "update")]
    netns: Option<PathBuf>,

    /// The container with this process.
    #[arg(long, value_name = "PID", conflicts_with = "update")]
    pid: Option<u32>,

    /// The device by which the container's probes leave this host [default: that of the route to the outside which this host has for
    /// the container's address]. --ingress, --xdp-mode, --hw, --respond and --clock are about this one.
    #[arg(long, value_name = "IF", conflicts_with = "dev")]
    uplink: Option<String>,

    /// The hook on the way in: auto is XDP on network cards, TC on veths and other software devices.
    #[arg(long, value_enum, value_name = "HOOK", default_value_t, conflicts_with = "update")]
    ingress: IngressOption,

    /// Who runs the XDP program: the driver (native), or the kernel (generic), which is slower and stamps later.
    #[arg(long, value_enum, value_name = "MODE", default_value_t, conflicts_with = "update")]
    xdp_mode: XdpModeChoice,

    /// How TC programs are attached: auto is TCX where the kernel has it (Linux 6.6), else clsact.
    #[arg(long, value_enum, value_name = "MODE", default_value_t, conflicts_with = "update")]
    tc: TcOption,

    /// Have the network card stamp what it can, and take its times: sent probes that ask for it (`instamp ping --hw`) and received
    /// ones. What it stamped before is put back at detaching; a setting of somebody else, as ptp4l's, is left alone. `instamp sync`
    /// brings the times into those of the host.
    #[arg(long, conflicts_with = "update")]
    hw: bool,

    /// Which attachment of this host it is: 0 is the uplink, 1 to 7 are others, such as the host's end of a container's veth.
    /// At those, and at 0 not, the addresses at the other end of a veth count as this host's own [default: 0; for a container's
    /// veth the first that no device has which is not a container's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=7))]
    point: Option<u8>,

    /// The number of this host in its stamps [default: a hash of its boot, the same in all its namespaces]. Of two numbers
    /// the reader makes two hosts: where a namespace plays another host, as the remote of `instamp lab`, give it its own.
    #[arg(long, value_name = "N")]
    node: Option<u16>,

    /// Stamp probes of these addresses as this host's own: those of containers that are routed and not translated, or of the
    /// containers on a bridge that is attached to. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    source: Vec<Prefix>,

    /// Stamp requests that these addresses send to this host, and the replies to them. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    respond: Vec<Prefix>,

    /// The clock of the stamps that --respond allows [default: tai]. This host's own probes are always stamped in
    /// CLOCK_MONOTONIC.
    #[arg(long, value_enum, value_name = "CLOCK")]
    clock: Option<ClockChoice>,

    /// Change an existing attachment, which goes on stamping: each of --point, --node, --source, --respond and --clock
    /// replaces what it was, and is kept where it is not given. This host's addresses are read anew. To have no --source
    /// or --respond any more, detach and attach.
    #[arg(long)]
    update: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum IngressOption {
    #[default]
    Auto,
    Xdp,
    Tc,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum TcOption {
    #[default]
    Auto,
    Tcx,
    Clsact,
}

impl Options {
    /// The container to attach to, if it is one.
    fn container(&self) -> anyhow::Result<Option<(Container, File)>> {
        if let Some(name) = &self.container {
            return engines::find(name).map(Some);
        }
        if let Some(path) = &self.netns {
            let container = named("netns", path.display().to_string());
            return Ok(Some((container, open_namespace(path)?)));
        }
        self.pid.map(|pid| Ok((named("pid", pid.to_string()), engines::of_process(pid)?))).transpose()
    }

    fn ingress(&self) -> IngressChoice {
        match self.ingress {
            IngressOption::Auto => IngressChoice::Auto,
            IngressOption::Xdp => IngressChoice::Xdp,
            IngressOption::Tc => IngressChoice::Tc,
        }
    }

    fn tc(&self) -> TcChoice {
        match self.tc {
            TcOption::Auto => TcChoice::Auto,
            TcOption::Tcx => TcChoice::Tcx,
            TcOption::Clsact => TcChoice::Clsact,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            point: self.point,
            node: self.node,
            sources: given(&self.source),
            respond: given(&self.respond),
            respond_clock: self.clock.map(Clock::from),
        }
    }
}

/// A container that only its namespace tells.
fn named(engine: &str, id: String) -> Container {
    Container { engine: engine.to_owned(), id, ..Container::default() }
}

/// Opens the network namespace at a path.
pub(crate) fn open_namespace(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot open the network namespace {}", path.display()))
}

/// An option that was never given says nothing.
fn given(prefixes: &[Prefix]) -> Option<Vec<Prefix>> {
    (!prefixes.is_empty()).then(|| prefixes.to_vec())
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let hooks = crate::hooks()?;
    let (ingress, tc, settings) = (options.ingress(), options.tc(), options.settings());
    let (xdp_mode, hardware) = (options.xdp_mode.into(), options.hw);
    let mut out = io::stdout().lock();
    if let Some((container, namespace)) = options.container()? {
        let uplink = options.uplink;
        let request = ContainerRequest { container, namespace, uplink, ingress, xdp_mode, tc, hardware, settings };
        let ContainerHooks { veth, uplink, uplink_was_attached, .. } =
            hooks.attach_container(&Objects::built_in(), &request)?;
        let of = veth.container.as_ref().map(|of| &of.container);
        let of = of.map_or_else(String::new, |of| format!(", for {} of {of}", of.interface));
        writeln!(out, "{}{of}", line(&veth))?;
        writeln!(out, "{}, the uplink{}", line(&uplink), if uplink_was_attached { ", attached already" } else { "" })?;
        return Ok(ExitCode::SUCCESS);
    }
    let device = options.dev.context("no device")?;
    let attachment = if options.update {
        hooks.update(&device, &settings)?
    } else {
        hooks.attach(&Objects::built_in(), &Request { device, ingress, xdp_mode, tc, hardware, settings })?
    };
    writeln!(out, "{}", line(&attachment))?;
    Ok(ExitCode::SUCCESS)
}

fn line(attachment: &Attachment) -> String {
    format!("{}: {attachment}, node {}", attachment.device, attachment.site.node)
}
