//! The options of `instamp exporter`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::config::Interval;
use crate::{source::Source, units::parse_positive_duration};

/// Pings targets for ever and serves what the replies tell to Prometheus, with the counters of this host's hooks and the published
/// models of clocks.
///
/// Of each target the times are histograms, classic and native: RTT, network, this host on the way out and in, and the far end's share.
/// It needs no more privilege than `ping`; only the counters of hooks take root.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The hosts to ping, by name or address: `192.0.2.1`, `gateway=192.0.2.1`, `fe80::1%eth0`. Those of --config come before
    #[arg(value_name = "[NAME=]DEST")]
    pub(super) targets: Vec<String>,

    /// Read targets and settings from this TOML file; options given here take the place of its settings
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Where to serve: an address of this host and a port [default: 127.0.0.1:10430]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<SocketAddr>,

    /// From one request to a target to the next, 100 ms or more [default: 1]
    #[arg(short = 'i', long, value_name = "TIME")]
    pub(super) interval: Option<Interval>,

    /// How long to wait for each reply; what comes later counts as received and as late [default: 1]
    #[arg(short = 'W', long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub(super) timeout: Option<Duration>,

    /// The ICMP payload in bytes, an even number, the trailer inside [default: 64]
    #[arg(short = 's', long, value_name = "BYTES")]
    pub(super) size: Option<usize>,

    /// Send through this interface, or from this address, maybe with its interface: `fe80::2%eth0`
    #[arg(short = 'I', value_name = "INTERFACE|ADDRESS")]
    pub(super) source: Option<Source>,
}

const HELP: &str = "\
Times are seconds (0.2), or have a suffix: ns, us, ms, s (200ms).

The file:
    listen = \"127.0.0.1:10430\"    # like all but the hosts, it can be left out

    [defaults]
    interval = \"1s\"
    timeout = \"1s\"
    payload_bytes = 64
    source = \"eth0\"

    [[target]]
    host = \"192.0.2.1\"
    name = \"gateway\"              # the label `target`; the host where there is none
    interval = \"5s\"               # as above, for this target
    timeout = \"2s\"
    payload_bytes = 68
    source = \"192.0.2.7\"

At http://ADDR:PORT/metrics there are OpenMetrics, Prometheus' text, and its protobuf, which alone
has native histograms: whoever asks gets what it prefers. Whoever can connect can read, without
TLS: put a proxy in front where that is not this host alone.

Names are looked up when it starts, then every minute. A socket that has brought no reply from one
such look to the next is made anew.

Counters of hooks are those of this network namespace, and take root, or CAP_NET_ADMIN,
CAP_SYS_ADMIN and access to the BPF file system: `instamp_hooks_readable` is 0 without. Models of
clocks are read where INSTAMP_CLOCK_DIR names, by default /run/instamp/clock.

SIGINT and SIGTERM end it. It reads its file only once.

Examples:
  instamp exporter gateway=192.0.2.1 example.net
  instamp exporter --config /etc/instamp/exporter.toml
  curl http://127.0.0.1:10430/metrics

Exit status: 0 when told to end, 2 on an error.";
