//! The options of `instamp watch`.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use crate::{namespaces::Namespace, units::parse_positive_duration};

/// Says of any program's pings how much of the time was network, without changing a packet.
///
/// Follows echo requests from the network namespaces of their senders through this host to its uplink, and the replies back, and tells
/// of each how long the network took, and how long this host did on either side. Address translation in between is followed.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(super) uplinks: Uplinks,

    /// Tell of the probes of this container alone, of podman or docker: a name or an identifier. May be repeated.
    #[arg(long, value_name = "NAME|ID")]
    container: Vec<String>,

    /// Tell of the probes of this network namespace alone: a file such as /run/netns/NAME. May be repeated.
    #[arg(long, value_name = "PATH")]
    netns: Vec<PathBuf>,

    /// Tell of the probes of this process' network namespace alone. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Stop after so many replies.
    #[arg(short = 'c', long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,

    /// Stop after this time.
    #[arg(short = 'w', long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub(super) duration: Option<Duration>,

    /// Print every reply, and the summary, as JSON Lines.
    #[arg(long)]
    pub(super) json: bool,

    /// Print no replies, and no table: the summary only.
    #[arg(short = 'q', long)]
    pub(super) quiet: bool,

    /// Write the distributions to a file, as an HDR histogram log.
    #[arg(long, value_name = "FILE")]
    pub(super) hdr: Option<PathBuf>,
}

/// By which devices probes leave.
#[derive(clap::Args)]
pub(crate) struct Uplinks {
    /// The device by which probes leave this host, in this network namespace [default: those of the default routes]. May be repeated.
    #[arg(long, value_name = "IF")]
    pub(crate) dev: Vec<String>,
}

const HELP: &str = "\
A line of a reply has
  net=  from the driver of the uplink and back to it
  tx=   from the device in the sender's network namespace to that driver: this host's share
  rx=   from there back to that device
  as    where this host has translated it: address and identifier on the network
Senders in the uplink's own network namespace have net= alone. What other hosts or virtual machines
send through this host is told of as forwarded.

On a terminal there is a table of the senders instead, once a second. `(ambiguous)` are replies of
which nobody can tell to which of several requests they are, as these had the same addresses,
identifier, sequence number and payload; their times are left out.

The kernel keeps requests until their replies come: 65,536 at most, of which the newest stay.
  evicted  requests that had to make room within ten seconds
  refused  requests, or replies, that found their place taken at that moment
  untold   replies that were not read fast enough

Packets are read, and never changed, copied out or delayed. Nothing is attached to a device and
nothing is pinned: all of it goes with this process, however that ends. Fragments are not followed,
nor what passes the stack by: AF_XDP, hardware switching.

Needs root, or CAP_SYS_ADMIN.

Examples:
  instamp watch                              all pings through the default routes
  instamp watch --container web --json       those of one container, for a program
  instamp watch --dev eth0 --pid 4711        those of the container with this process

Exit status: 0 where a reply was seen, 1 where none was, 2 on an error.";

impl Options {
    /// The network namespaces that were asked for.
    pub(super) fn namespaces(&self) -> anyhow::Result<Vec<Namespace>> {
        let of_containers = self.container.iter().map(|name| Namespace::of_container(name));
        let at_paths = self.netns.iter().map(|path| Namespace::at(path));
        of_containers.chain(at_paths).chain(self.pid.iter().map(|pid| Namespace::of_process(*pid))).collect()
    }
}
