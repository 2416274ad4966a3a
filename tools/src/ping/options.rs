//! The options of `instamp ping`: ping's letters, with ping's meaning.

use std::{net::IpAddr, time::Duration};

use clap::ValueEnum;
use instamp::{
    DEFAULT_PAYLOAD_LENGTH,
    prober::{Config, SocketKind},
    trailer::wire::{DEFAULT_CAP, trailer_length},
};

use super::text::Style;
use crate::choices::ComparedClock;
use crate::resolve::Family;
use crate::source::Source;
use crate::units::{parse_duration, parse_positive_duration};

/// Pings a host and says, for every reply, how much of the round trip was network and how much this host.
///
/// The requests carry a trailer into which the hooks of `instamp attach`, active on the device through which they leave, write the
/// time. Without stamps it is an ordinary ping that says why it is not more. It needs no privilege but an ICMP socket, and runs in
/// containers.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The host to ping: a name or an address, maybe with an interface: `fe80::1%eth0`
    #[arg(value_name = "DEST")]
    pub(super) destination: String,

    /// Stop after COUNT requests [default: never]
    #[arg(short = 'c', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// From one request to the next; 0 is a flood: each request follows the reply to the one before, or 10 ms
    /// without one
    #[arg(allow_negative_numbers = true, short = 'i', long, value_name = "TIME", default_value = "1", value_parser = parse_duration)]
    pub(super) interval: Duration,

    /// How long to wait for each reply; what comes later counts as received and as late
    #[arg(short = 'W', long, value_name = "TIME", default_value = "1", value_parser = parse_positive_duration)]
    timeout: Duration,

    /// Stop after this time, whatever is still outstanding [default: never]
    #[arg(short = 'w', long, value_name = "TIME", value_parser = parse_positive_duration)]
    deadline: Option<Duration>,

    /// The ICMP payload in bytes, an even number, the trailer inside. Below 64 fewer stamps fit, below 40 none [default: 64; 88
    /// with --hw]
    #[arg(short = 's', long, value_name = "BYTES")]
    size: Option<usize>,

    /// How many stamps the trailer has room for, 2 to 15: each takes 12 bytes of the payload, and the trailer 16 more
    /// [default: 4, 6 with --hw, or what fits]
    #[arg(long, value_name = "RECORDS")]
    cap: Option<u8>,

    /// Send through this interface, or from this address, maybe with its interface: `fe80::2%eth0`. DEST is then of the address's
    /// IP version
    #[arg(short = 'I', value_name = "INTERFACE|ADDRESS")]
    source: Option<Source>,

    /// Numbers only: names are never looked up for addresses, so this changes nothing
    #[arg(short = 'n')]
    numeric: bool,

    /// Print the first and the last lines only
    #[arg(short = 'q', long)]
    pub(super) quiet: bool,

    /// Print the time before each line: seconds since 1970-01-01 UTC
    #[arg(short = 'D')]
    timestamps: bool,

    /// Tell when a request is sent before the reply to the one before has come
    #[arg(short = 'O')]
    outstanding: bool,

    /// Use IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,

    /// Use IPv6 only
    #[arg(short = '6')]
    ipv6: bool,

    /// The kind of ICMP socket; auto prefers dgram, which `net.ipv4.ping_group_range` allows, to raw, which
    /// needs `CAP_NET_RAW`
    #[arg(long, value_name = "KIND", default_value = "auto")]
    socket: Socket,

    /// The way of requests and replies: the kernel's, by a socket; or past its stack, by AF_XDP through the device of -I, or of
    /// the route to DEST, as `instamp probe` goes. That needs root, and puts an XDP program on a device that `instamp attach` does not
    /// stamp by XDP. ICMP errors and truncated replies do not come back then, and there is no --socket
    #[cfg(feature = "afxdp")]
    #[arg(long, value_enum, value_name = "WAY", default_value_t)]
    pub(super) transport: Transport,

    /// Ask the network card for the times at which requests leave it. It tells them where `instamp attach --hw` has set it. The
    /// payload is larger, to have room for the stamps of all stages: some far ends truncate it, and then -s 64 helps
    #[arg(long)]
    pub(super) hw: bool,

    /// Tell how long each probe took there and back, where the far end stamps in `CLOCK_TAI` (`instamp reflect`, or `instamp attach
    /// --respond`): for hosts whose `CLOCK_TAI` agree, since what these differ by goes into both
    #[arg(long, value_enum, value_name = "CLOCK")]
    clock: Option<ComparedClock>,

    /// JSON Lines on standard output: start, reply, timeout, error and summary; times are integers in ns, and null where not measured
    #[arg(long)]
    pub(super) json: bool,

    /// At the end, draw where the time went, stage by stage
    #[arg(long, conflicts_with = "json")]
    pub(super) stages: bool,
}

/// Room for tc-egress, driver-tx, nic-tx, nic-rx, xdp-ingress, and another device of this host.
const HARDWARE_CAP: u8 = 6;

const HELP: &str = "\
Times are seconds (0.2), or have a suffix: ns, us, ms, s (200ms).

A line of a reply ends in
  net=  outside of this host: between the last stamp on the way out and the first on the way in,
        less what a far end that stamps has spent, which is then told as remote=
  tx=   from the application's send call to the last stamp on the way out
  rx=   from the first stamp on the way in to the application's receive call
so that time = net + tx + rx (+ remote); or in uncorrected= and the reason: no-stamps,
no-request-stamp, no-reply-stamp, truncated, clock-mismatch, node-conflict, foreign-nonce.
Where the network card has told both of its times, nic= follows: the network's time by the card alone.
With --clock tai there= and back= follow, and how wrong reading the clocks can have made them (+-):
what the clocks of the two hosts differ by is not known, and not in it.

With --hw the summary counts the transmit times that the card was asked for, and those received in
time for the reply, late, and missing. No reply waits for them.

A request that this host itself cannot send is an error and does not count as sent. Loss is of those
that were sent: where none was, the summary tells no loss (--json: \"sent\":0, \"loss\":null).

Interrupting (SIGINT, SIGTERM) stops sending, awaits what is outstanding and prints the summary; a
second time does not await.
SIGQUIT (Ctrl-\\) prints a line on standard error: how it stands.

Examples:
  instamp ping -c 20 --stages 192.0.2.1
  instamp ping -i 10ms -w 60 -q 2001:db8::1
  instamp ping --hw --stages 192.0.2.1
  instamp ping --json example.net | jq 'select(.type == \"reply\") | .net_ns'

Exit status: 0 where at least one reply came, 1 where none came, 2 on an error.";

#[cfg(feature = "afxdp")]
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Transport {
    #[default]
    Socket,
    Afxdp,
}

#[derive(ValueEnum, Clone, Copy)]
enum Socket {
    Auto,
    Raw,
    Dgram,
}

impl Options {
    /// Whether the ways of probes are told.
    pub(super) fn one_way(&self) -> bool {
        matches!(self.clock, Some(ComparedClock::Tai))
    }

    /// Refuses what contradicts itself.
    #[cfg(feature = "afxdp")]
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let has_socket = self.transport == Transport::Socket || matches!(self.socket, Socket::Auto);
        anyhow::ensure!(has_socket, "--transport afxdp has no ICMP socket: leave out --socket");
        Ok(())
    }

    pub(super) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            (false, false) => self.source.as_ref().map_or(Family::Any, Source::family),
        }
    }

    /// The length of the payload in bytes.
    pub(super) fn size(&self) -> usize {
        self.size.unwrap_or_else(|| match self.cap {
            _ if !self.hw => DEFAULT_PAYLOAD_LENGTH,
            cap => trailer_length(cap.unwrap_or(HARDWARE_CAP).max(HARDWARE_CAP)),
        })
    }

    fn cap(&self) -> Option<u8> {
        let fits = |cap: &u8| trailer_length(*cap) <= self.size();
        self.cap.or_else(|| (DEFAULT_CAP..=HARDWARE_CAP).rev().find(fits).filter(|_| self.hw))
    }

    pub(super) fn style(&self) -> Style {
        Style { quiet: self.quiet, timestamps: self.timestamps, outstanding: self.outstanding }
    }

    /// What the library is to do. `interface` is the one that came with the target's address.
    pub(super) fn config(&self, target: IpAddr, interface: Option<String>) -> Config {
        let mut config = Config::new(target);
        config.interface = interface;
        if let Some(source) = &self.source {
            source.apply(&mut config);
        }
        config.socket = match self.socket {
            Socket::Auto => SocketKind::Auto,
            Socket::Raw => SocketKind::Raw,
            Socket::Dgram => SocketKind::Datagram,
        };
        config.payload_bytes = self.size();
        config.cap = self.cap();
        config.count = self.count;
        config.interval = self.interval;
        config.timeout = self.timeout;
        config.deadline = self.deadline;
        config.nic_tx = self.hw;
        config.one_way = self.one_way();
        config
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Command::try_parse_from([&["ping"], arguments].concat()).expect("options").options
    }

    #[test]
    fn the_source_decides_the_ip_version_of_a_name() {
        let family = |arguments| options(arguments).family();
        assert_eq!(family(&["example.net"]), Family::Any);
        assert_eq!(family(&["-I", "eth0", "example.net"]), Family::Any);
        assert_eq!(family(&["-I", "192.0.2.1", "example.net"]), Family::V4);
        assert_eq!(family(&["-I", "fe80::2%eth0", "example.net"]), Family::V6);
        assert_eq!(family(&["-4", "-I", "eth0", "example.net"]), Family::V4);
    }

    #[test]
    fn hardware_stamps_get_room_unless_told_otherwise() {
        let room = |arguments: &[&str]| {
            let config = options(arguments).config("192.0.2.1".parse().expect("an address"), None);
            (config.payload_bytes, config.cap)
        };
        for (arguments, expected) in [
            (&["192.0.2.1"][..], (64, None)),
            (&["--hw", "192.0.2.1"], (88, Some(6))),
            (&["--hw", "-s", "64", "192.0.2.1"], (64, Some(4))),
            (&["--hw", "-s", "80", "192.0.2.1"], (80, Some(5))),
            (&["--hw", "-s", "40", "192.0.2.1"], (40, None)),
            (&["--hw", "-s", "1000", "192.0.2.1"], (1000, Some(6))),
            (&["--hw", "--cap", "8", "192.0.2.1"], (112, Some(8))),
            (&["--hw", "--cap", "3", "192.0.2.1"], (88, Some(3))),
        ] {
            assert_eq!(room(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn a_scoped_source_names_address_and_interface() {
        let target: IpAddr = "fe80::1".parse().expect("an address");
        let from = |source| {
            let config = options(&["-I", source, "fe80::1%eth1"]).config(target, Some("eth1".to_owned()));
            (config.source.map(|address| address.to_string()), config.interface)
        };
        assert_eq!(from("fe80::2%eth0"), (Some("fe80::2".into()), Some("eth0".into())));
        assert_eq!(from("fe80::2"), (Some("fe80::2".into()), Some("eth1".into())));
        assert_eq!(from("eth0"), (None, Some("eth0".into())));
    }
}
