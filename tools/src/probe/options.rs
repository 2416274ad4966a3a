//! The options of `instamp probe`.

use std::{net::IpAddr, num::NonZeroU64, path::PathBuf, time::Duration};

use instamp::{
    afxdp::{BusyPoll, Mode, RunOptions, TransportOptions},
    trailer::wire::{DEFAULT_CAP, MAX_CAP},
};

use super::{collector::Lines, groups::Lengths};
use crate::{
    choices::{ComparedClock, XdpModeChoice},
    resolve::Family,
    units::{parse_duration, parse_positive_duration},
};

/// Probes many hosts past the kernel's stack, and says of every reply how much of the round trip was network.
///
/// Requests and replies go by AF_XDP sockets, one for each receive queue of a device. Nothing is remembered of a probe: when it was
/// sent is in it, and a code over that, its target and its number tells a genuine reply from a forged or stray one. Targets are
/// probed in a random order.
#[derive(clap::Args)]
#[command(after_help = HELP)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
pub(crate) struct Options {
    /// Whom to probe: addresses, prefixes (192.0.2.0/24), or names.
    #[arg(value_name = "TARGET", required_unless_present = "file")]
    pub(super) targets: Vec<String>,

    /// Read targets from a file, one a line; `-` is standard input. May be repeated.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(super) file: Vec<PathBuf>,

    /// Leave these addresses out. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub(super) exclude: Vec<String>,

    /// Leave out the addresses and prefixes of a file. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub(super) exclude_file: Vec<PathBuf>,

    /// Probe special-purpose addresses too: private, link-local, documentation and others (RFC 6890), which are left out otherwise.
    #[arg(long)]
    pub(super) special: bool,

    /// Take the IPv4 addresses of names.
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,

    /// Take the IPv6 addresses of names.
    #[arg(short = '6')]
    ipv6: bool,

    /// The device through which probes leave [default: that of the route to one of the targets].
    #[arg(long, value_name = "IF")]
    pub(super) dev: Option<String>,

    /// The address from which they leave [default: the one that the kernel would take].
    #[arg(short = 'I', long, value_name = "ADDRESS")]
    source: Option<IpAddr>,

    /// How many times to probe every target.
    #[arg(short = 'c', long, value_name = "ROUNDS", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: u64,

    /// Probes a second, over all targets; 0 is as fast as the device takes them.
    #[arg(short = 'r', long, value_name = "N", default_value = "100")]
    pub(super) rate: u64,

    /// Until when replies are in time, counted from their probes; later ones are counted as late.
    #[arg(short = 'W', long, value_name = "TIME", default_value = "1", value_parser = parse_positive_duration)]
    pub(super) timeout: Duration,

    /// Stop sending after this time [default: never].
    #[arg(short = 'w', long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub(super) deadline: Option<Duration>,

    /// How many stamps the trailer has room for: the payload has 12 bytes for each, and 16 more.
    #[arg(long, value_name = "RECORDS", default_value_t = DEFAULT_CAP, value_parser = clap::value_parser!(u8).range(2..=i64::from(MAX_CAP)))]
    cap: u8,

    /// The time to live, or hop limit, of the requests.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: u8,

    /// Tell how long each probe took there and back, where the far end stamps in CLOCK_TAI (`instamp reflect`): for hosts whose
    /// CLOCK_TAI agree, since what these differ by goes into both.
    #[arg(long, value_enum, value_name = "CLOCK")]
    clock: Option<ComparedClock>,

    /// Ask the network card for the times at which probes leave it.
    #[arg(long)]
    hw: bool,

    /// Print every reply, and the summary, as JSON Lines on standard output.
    #[arg(long, conflicts_with = "csv")]
    pub(super) json: bool,

    /// Print every reply as a line of comma-separated values on standard output, and the summary on standard error.
    #[arg(long)]
    pub(super) csv: bool,

    /// Print no replies, and no progress: the summary only.
    #[arg(short = 'q', long)]
    pub(super) quiet: bool,

    /// Print the stamps of every reply.
    #[arg(long, requires = "json")]
    stamps: bool,

    /// Summarize by prefixes of this length: of IPv4 addresses, or of both, as in 24,48.
    #[arg(long, value_name = "LENGTH[,LENGTH]")]
    pub(super) group: Option<Lengths>,

    /// Write the distributions to a file, as an HDR histogram log.
    #[arg(long, value_name = "FILE")]
    pub(super) hdr: Option<PathBuf>,

    /// Who runs the XDP program where the device has none of `instamp attach`: the driver, or the kernel, which is slower and later.
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    xdp_mode: XdpModeChoice,

    /// Have the kernel copy frames even where the driver can do without.
    #[arg(long)]
    copy: bool,

    /// Look for packets for so long in every system call, instead of awaiting interrupts.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    busy_poll: Option<Duration>,
}

const HELP: &str = "\
Times are seconds (0.2), or have a suffix: ns, us, ms, s (200ms).

On a device that `instamp attach` stamps by XDP, replies are stamped and steered by the program that
is there, which stamps everybody else's as before; where it was attached with --hw and the driver
tells XDP programs when the card received a packet, replies have that time too. On any other device
a program is put there for the run, which touches nothing but the run's own replies, and which the
kernel takes off when this process ends, however it ends; on some network cards that interrupts the
link for seconds. A device with somebody else's XDP program is refused. One AF_XDP process at a time
has a queue.

Probes leave past the stack: no firewall rule, NAT or queueing discipline of this host sees them, nor
does a packet capture. They are stamped (app-tx) when they are written to the device's queue.
net= is from there to the first stamp of the reply.

A reply counts as
  received    in time, and the first to its probe
  duplicates  in time, and not the first
  late        after --timeout, whether or not it is the first
  forged      not genuine: altered, made up, or of another run
A genuine reply that not the target has sent counts as one of the first three, and once more as
from-others. Replies that have lost their trailer do not come here. Nothing waits for a slow reader of
standard output: the replies that are left out there are counted, and once more as unwritten.

Needs root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN and a BPF file system, as `instamp attach`.

Interrupting (SIGINT, SIGTERM) stops sending, awaits what is outstanding and prints the summary; a
second time does not await.

Examples:
  instamp probe -c 10 192.0.2.1 198.51.100.7 example.net
  instamp probe -r 10000 -f targets --exclude-file never --csv > replies.csv
  instamp probe --rate 0 -c 100000 -q --special --dev eth1 10.0.0.2

Exit status: 0 where at least one reply came, 1 where none came, 2 on an error.";

/// As many frames as the kernel's own polls take.
const BUDGET: u16 = 64;

fn busy_poll(duration: Duration) -> BusyPoll {
    BusyPoll { microseconds: u32::try_from(duration.as_micros()).unwrap_or(u32::MAX), budget: BUDGET }
}

impl Options {
    pub(super) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            (false, false) => Family::Any,
        }
    }

    /// In which form replies are printed.
    pub(super) fn lines(&self) -> Lines {
        match (self.quiet, self.json, self.csv) {
            (false, true, _) => Lines::Json { stamps: self.stamps, one_way: self.one_way() },
            (false, _, true) => Lines::Csv,
            _ => Lines::None,
        }
    }

    /// Whether the card is asked for its times.
    pub(super) fn asks_card(&self) -> bool {
        self.hw
    }

    /// Whether one-way delays are told.
    pub(super) fn one_way(&self) -> bool {
        matches!(self.clock, Some(ComparedClock::Tai))
    }

    /// What the library is to do, through this device.
    pub(super) fn run(&self, device: &str) -> RunOptions {
        let mut transport = TransportOptions::new(device);
        transport.xdp_mode = self.xdp_mode.into();
        if self.copy {
            transport.mode = Mode::Copy;
        }
        transport.busy_poll = self.busy_poll.map(busy_poll);
        transport.nic_tx = self.hw;
        RunOptions {
            transport,
            source: self.source,
            rate: NonZeroU64::new(self.rate),
            timeout: self.timeout,
            cap: self.cap,
            ttl: self.ttl,
            one_way: self.one_way(),
        }
    }
}
