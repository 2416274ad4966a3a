//! `instamp attach`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;
use instamp_hooks::{Clock, IngressChoice, Objects, Prefix, Request, Settings, TcChoice};

use crate::choices::{ClockChoice, XdpModeChoice};

/// Stamps probes at a network device.
///
/// Acts in the network namespace that it runs in, and returns: the kernel stamps until `instamp detach`, the end of the
/// device, or of the system. Attaches all hooks or none. Stamped are requests from, and replies to, the addresses that
/// this network namespace has now, and those of --source.
///
/// Needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN; Linux 6.1; and a BPF file system at /sys/fs/bpf, or where the environment
/// variable INSTAMP_BPFFS says.
#[derive(clap::Args)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
pub(crate) struct Options {
    /// The device.
    #[arg(long, value_name = "IF")]
    dev: String,

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
    /// At those, and at 0 not, the addresses at the other end of a veth count as this host's own [default: 0].
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

impl From<Options> for Request {
    fn from(options: Options) -> Self {
        Self {
            device: options.dev,
            ingress: match options.ingress {
                IngressOption::Auto => IngressChoice::Auto,
                IngressOption::Xdp => IngressChoice::Xdp,
                IngressOption::Tc => IngressChoice::Tc,
            },
            xdp_mode: options.xdp_mode.into(),
            tc: match options.tc {
                TcOption::Auto => TcChoice::Auto,
                TcOption::Tcx => TcChoice::Tcx,
                TcOption::Clsact => TcChoice::Clsact,
            },
            hardware: options.hw,
            settings: Settings {
                point: options.point,
                node: options.node,
                sources: given(options.source),
                respond: given(options.respond),
                respond_clock: options.clock.map(Clock::from),
            },
        }
    }
}

/// An option that was never given says nothing.
fn given(prefixes: Vec<Prefix>) -> Option<Vec<Prefix>> {
    (!prefixes.is_empty()).then_some(prefixes)
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let hooks = crate::hooks()?;
    let update = options.update;
    let request = Request::from(options);
    let attachment = if update {
        hooks.update(&request.device, &request.settings)?
    } else {
        hooks.attach(&Objects::built_in(), &request)?
    };
    writeln!(io::stdout(), "{}: {attachment}, node {}", attachment.device, attachment.site.node)?;
    Ok(ExitCode::SUCCESS)
}
