//! Lines for people, in the shape of ping's, so that what reads ping's lines reads these.

use std::{
    fmt,
    io::{self, Write},
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use instamp::{
    Correction, OneWay,
    prober::{ErrorKind, Event, NicTxCounts, Reply},
};

use super::tally::Tally;
use crate::{
    distribution::Distribution,
    units::{Milliseconds, Nanoseconds, Percent},
};

/// Lengths of the headers in front of the payload.
const ICMP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;

/// Which lines are wanted.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    /// Neither replies nor errors.
    pub(super) quiet: bool,
    /// Each line begins with the time.
    pub(super) timestamps: bool,
    /// A line when the next request is sent before the reply has come.
    pub(super) outstanding: bool,
}

/// Prints events as they happen.
pub(super) struct Lines {
    style: Style,
    /// The last request, as long as nothing is known of it.
    unanswered: Option<u64>,
}

impl Lines {
    pub(super) fn new(style: Style) -> Self {
        Self { style, unanswered: None }
    }

    pub(super) fn event(&mut self, out: &mut impl Write, event: &Event) -> io::Result<()> {
        match event {
            Event::Sent { seq, .. } => {
                if let Some(previous) = self.unanswered.replace(*seq).filter(|_| self.style.outstanding) {
                    self.line(out, format_args!("no answer yet for icmp_seq={previous}"))?;
                }
                Ok(())
            }
            Event::Timeout { .. } => Ok(()),
            Event::Reply(reply) => {
                self.answered(Some(reply.seq));
                self.line(out, format_args!("{}", ReplyLine(reply)))
            }
            Event::Error { seq, from, error } => {
                self.answered(*seq);
                self.line(out, format_args!("{}", ErrorLine { seq: *seq, from: *from, error: *error }))
            }
        }
    }

    fn answered(&mut self, seq: Option<u64>) {
        self.unanswered.take_if(|unanswered| Some(*unanswered) == seq);
    }

    fn line(&self, out: &mut impl Write, line: fmt::Arguments<'_>) -> io::Result<()> {
        if self.style.quiet {
            return Ok(());
        }
        if self.style.timestamps {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            write!(out, "[{}.{:06}] ", now.as_secs(), now.subsec_micros())?;
        }
        writeln!(out, "{line}")
    }
}

pub(super) fn header(out: &mut impl Write, target: &str, address: IpAddr, payload: usize) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => {
            let packet = payload + ICMP_HEADER + IPV4_HEADER;
            writeln!(out, "PING {target} ({address}) {payload}({packet}) bytes of data.")
        }
        IpAddr::V6(_) => writeln!(out, "PING {target} ({address}) {payload} data bytes"),
    }
}

struct ReplyLine<'a>(&'a Reply);

impl fmt::Display for ReplyLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reply = self.0;
        write!(f, "{} bytes from {}: icmp_seq={}", reply.bytes, reply.from, reply.seq)?;
        if let Some(ttl) = reply.ttl {
            write!(f, " ttl={ttl}")?;
        }
        write!(f, " time={} ms", Milliseconds(reply.rtt_ns))?;
        match &reply.correction {
            Ok(correction) => write!(f, "{}", Components(correction))?,
            Err(reason) => write!(f, " uncorrected={}", reason.name())?,
        }
        if let Some(OneWay { forward_ns, backward_ns, bound_ns }) = reply.one_way {
            write!(f, " there={} back={}", Nanoseconds(forward_ns), Nanoseconds(backward_ns))?;
            match bound_ns.and_then(|bound| i64::try_from(bound).ok()) {
                Some(bound) => write!(f, " +-{}", Nanoseconds(bound))?,
                None => f.write_str(" +-?")?,
            }
        }
        if reply.duplicate {
            f.write_str(" (DUP!)")?;
        }
        if reply.late {
            f.write_str(" (late)")?;
        }
        Ok(())
    }
}

struct Components<'a>(&'a Correction);

impl fmt::Display for Components<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Correction { net_ns, tx_stack_ns, rx_stack_ns, remote_ns, nic_net_ns, negative, .. } = *self.0;
        write!(f, " net={} tx={} rx={}", Nanoseconds(net_ns), Nanoseconds(tx_stack_ns), Nanoseconds(rx_stack_ns))?;
        match remote_ns {
            Some(0) => {}
            Some(remote) => write!(f, " remote={}", Nanoseconds(remote))?,
            None => f.write_str(" remote=?")?,
        }
        if let Some(nic_net) = nic_net_ns {
            write!(f, " nic={}", Nanoseconds(nic_net))?;
        }
        if negative {
            f.write_str(" (negative!)")?;
        }
        Ok(())
    }
}

struct ErrorLine {
    seq: Option<u64>,
    from: Option<IpAddr>,
    error: ErrorKind,
}

impl fmt::Display for ErrorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "From {from}")?,
            None => f.write_str("From this host")?,
        }
        if let Some(seq) = self.seq {
            write!(f, " icmp_seq={seq}")?;
        }
        match words(self.error) {
            Some(words) => write!(f, " {words}"),
            None => write!(f, " {}", self.error),
        }
    }
}

/// As ping says it.
#[expect(clippy::wildcard_enum_match_arm, reason = "kinds that ping has no words for, and those to come")]
fn words(error: ErrorKind) -> Option<&'static str> {
    Some(match error {
        ErrorKind::NetUnreachable => "Destination Net Unreachable",
        ErrorKind::HostUnreachable => "Destination Host Unreachable",
        ErrorKind::ProtocolUnreachable => "Destination Protocol Unreachable",
        ErrorKind::PortUnreachable => "Destination Port Unreachable",
        ErrorKind::PacketTooBig => "Packet too big",
        ErrorKind::TtlExceeded => "Time to live exceeded",
        ErrorKind::ReassemblyTimeout => "Frag reassembly time exceeded",
        ErrorKind::ParameterProblem => "Parameter problem",
        ErrorKind::Prohibited => "Administratively prohibited",
        ErrorKind::InterfaceDown => "Interface is down",
        _ => return None,
    })
}

pub(super) fn summary(
    out: &mut impl Write,
    target: &str,
    tally: &Tally,
    elapsed: Duration,
    nic_tx: Option<NicTxCounts>,
) -> io::Result<()> {
    writeln!(out, "\n--- {target} ping statistics ---")?;
    write!(out, "{} packets transmitted, {} received", tally.sent, tally.received)?;
    for (count, name) in [(tally.duplicates, "duplicates"), (tally.late, "late"), (tally.errors, "errors")] {
        if count > 0 {
            write!(out, ", +{count} {name}")?;
        }
    }
    if let Some(loss) = tally.loss() {
        write!(out, ", {} packet loss", Percent(loss))?;
    }
    writeln!(out, ", time {}ms", elapsed.as_millis())?;
    if let Some(NicTxCounts { asked, received, late, missing }) = nic_tx {
        writeln!(out, "nic-tx asked/received/late/missing = {asked}/{received}/{late}/{missing}")?;
    }
    let Some(rtt) = tally.rtt.statistics() else { return Ok(()) };
    let [min, mean, max, stddev] = [rtt.min, rtt.mean, rtt.max, rtt.stddev].map(Milliseconds);
    writeln!(out, "rtt min/avg/max/mdev = {min}/{mean}/{max}/{stddev} ms")?;
    let components = [
        ("net", &tally.net),
        ("tx", &tally.tx_stack),
        ("rx", &tally.rx_stack),
        ("remote", &tally.remote),
        ("nic", &tally.nic_net),
        ("there", &tally.forward),
        ("back", &tally.backward),
    ];
    for (name, component) in components {
        if let Some(statistics) = component.statistics() {
            let [p50, p90, p99] = [statistics.p50, statistics.p90, statistics.p99].map(Nanoseconds);
            writeln!(out, "{name} p50/p90/p99 = {p50}/{p90}/{p99}")?;
        }
    }
    writeln!(out, "{}", Corrected(tally))
}

/// One line: how it stands at the moment.
pub(super) fn status(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    write!(out, "{}/{} packets", tally.received, tally.sent)?;
    if let Some(loss) = tally.loss() {
        write!(out, ", {} loss", Percent(loss))?;
    }
    if let Some(rtt) = tally.rtt.statistics() {
        let [min, mean, max] = [rtt.min, rtt.mean, rtt.max].map(Milliseconds);
        write!(out, ", rtt min/avg/max = {min}/{mean}/{max} ms, {}", Corrected(tally))?;
    }
    if let Some(net) = Distribution::statistics(&tally.net) {
        write!(out, ", net p50 = {}", Nanoseconds(net.p50))?;
    }
    writeln!(out)
}

struct Corrected<'a>(&'a Tally);

impl fmt::Display for Corrected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { corrected, received, .. } = self.0;
        write!(f, "corrected {corrected} of {received}")
    }
}

#[cfg(test)]
mod tests {
    use instamp::{Clock, Hook, OneWay, Phase, Uncorrected};

    use super::*;
    use crate::ping::samples::{self, text};

    fn lines(style: Style, events: &[Event]) -> String {
        let mut lines = Lines::new(style);
        text(|out| events.iter().try_for_each(|event| lines.event(out, event)))
    }

    #[test]
    fn ways_follow_with_their_bound() {
        let line = |bound_ns| {
            let one_way = Some(OneWay { forward_ns: 5_400, backward_ns: 5_942, bound_ns });
            ReplyLine(&Reply { one_way, ..samples::reply(1) }).to_string()
        };
        assert!(line(Some(160)).ends_with(" there=5.400us back=5.942us +-0.160us"), "{}", line(Some(160)));
        assert!(line(None).ends_with(" back=5.942us +-?"), "{}", line(None));
    }

    #[test]
    fn headers_are_ping_s() {
        let of = |address: &str| {
            let address = address.parse().expect("an address");
            text(|out| header(out, "example.net", address, 64))
        };
        assert_eq!(of("10.99.0.2"), "PING example.net (10.99.0.2) 64(92) bytes of data.\n");
        assert_eq!(of("fd00:99::2"), "PING example.net (fd00:99::2) 64 data bytes\n");
    }

    #[test]
    fn reply_lines() {
        let from_remote = [
            samples::stamp(Phase::Request, 0, Hook::TC_EGRESS, 40_000),
            samples::stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 41_000),
        ];
        let events = [
            samples::reply(1),
            Reply { ttl: None, duplicate: true, ..samples::uncorrected(2, Uncorrected::NoStamps) },
            Reply { late: true, ..samples::stamped(65_537, 20_000_000, &from_remote) },
        ];
        insta::assert_snapshot!(lines(Style::default(), &events.map(Event::Reply)), @"
        72 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=0.042 ms net=11.342us tx=20.100us rx=10.707us
        72 bytes from 10.99.0.2: icmp_seq=2 time=0.042 ms uncorrected=no-stamps (DUP!)
        72 bytes from 10.99.0.2: icmp_seq=65537 ttl=63 time=20.000 ms net=1.000us tx=40.000us rx=19.959ms (late)
        ");
        assert_eq!(lines(Style { quiet: true, ..Style::default() }, &events.map(Event::Reply)), "");
    }

    #[test]
    fn a_remote_share_and_negative_components_are_told() {
        let mut reply = samples::reply(1);
        let correction = reply.correction.as_mut().expect("corrected");
        (correction.net_ns, correction.remote_ns, correction.negative) = (-658, Some(12_000), true);
        let line = ReplyLine(&reply).to_string();
        assert!(line.ends_with(" net=-0.658us tx=20.100us rx=10.707us remote=12.000us (negative!)"), "{line}");
    }

    #[test]
    fn the_card_s_own_time_of_the_network_comes_last() {
        let line = ReplyLine(&samples::with_card(1, Clock::PHC)).to_string();
        assert!(line.ends_with(" net=13.000us tx=17.000us rx=12.000us nic=9.000us"), "{line}");
        let line = ReplyLine(&samples::with_card(1, Clock::MONOTONIC)).to_string();
        assert!(line.ends_with(" net=9.000us tx=18.500us rx=14.500us nic=9.000us"), "{line}");
    }

    #[test]
    fn error_lines_are_ping_s() {
        let router = Some("10.99.0.9".parse().expect("an address"));
        let events = [
            Event::Error { seq: Some(3), from: router, error: ErrorKind::HostUnreachable },
            Event::Error { seq: None, from: router, error: ErrorKind::Icmp { kind: 4, code: 0 } },
            Event::Error { seq: Some(4), from: None, error: ErrorKind::NetUnreachable },
        ];
        insta::assert_snapshot!(lines(Style::default(), &events), @"
        From 10.99.0.9 icmp_seq=3 Destination Host Unreachable
        From 10.99.0.9 icmp-error (type 4, code 0)
        From this host icmp_seq=4 Destination Net Unreachable
        ");
    }

    #[test]
    fn outstanding_requests_are_told_where_asked_for() {
        let sent = |seq| Event::Sent { seq, sent_ns: samples::SENT_NS };
        let events = [sent(1), sent(2), Event::Reply(samples::reply(2)), sent(3), Event::Timeout { seq: 3 }, sent(4)];
        assert!(!lines(Style::default(), &events).contains("no answer"));
        let style = Style { outstanding: true, ..Style::default() };
        let told: Vec<String> =
            lines(style, &events).lines().filter(|line| line.starts_with("no answer")).map(String::from).collect();
        assert_eq!(told, ["no answer yet for icmp_seq=1", "no answer yet for icmp_seq=3"]);
    }

    #[test]
    fn timestamps_lead_the_line() {
        let style = Style { timestamps: true, ..Style::default() };
        let line = lines(style, &[Event::Reply(samples::reply(1))]);
        let (time, rest) = line.strip_prefix('[').and_then(|line| line.split_once("] ")).expect("a time in brackets");
        assert!(time.parse::<f64>().is_ok() && rest.starts_with("72 bytes from"), "{line}");
    }

    #[test]
    fn summary_lines() {
        let of = |tally: &Tally| text(|out| summary(out, "10.99.0.2", tally, Duration::from_millis(2004), None));
        insta::assert_snapshot!(of(&samples::tally()), @"

        --- 10.99.0.2 ping statistics ---
        3 packets transmitted, 1 received, +1 errors, 66.6667% packet loss, time 2004ms
        rtt min/avg/max/mdev = 0.042/0.042/0.042/0.000 ms
        net p50/p90/p99 = 11.342us/11.342us/11.342us
        tx p50/p90/p99 = 20.100us/20.100us/20.100us
        rx p50/p90/p99 = 10.707us/10.707us/10.707us
        corrected 1 of 1
        ");
        insta::assert_snapshot!(of(&Tally::new()), @"

        --- 10.99.0.2 ping statistics ---
        0 packets transmitted, 0 received, time 2004ms
        ");
        let counts = NicTxCounts { asked: 1, received: 1, late: 0, missing: 0 };
        let mut tally = Tally::new();
        tally.count(&Event::Sent { seq: 1, sent_ns: samples::SENT_NS });
        tally.count(&Event::Reply(samples::with_card(1, Clock::PHC)));
        insta::assert_snapshot!(text(|out| summary(out, "10.99.0.2", &tally, Duration::ZERO, Some(counts))), @"

        --- 10.99.0.2 ping statistics ---
        1 packets transmitted, 1 received, 0% packet loss, time 0ms
        nic-tx asked/received/late/missing = 1/1/0/0
        rtt min/avg/max/mdev = 0.042/0.042/0.042/0.000 ms
        net p50/p90/p99 = 13.000us/13.000us/13.000us
        tx p50/p90/p99 = 17.000us/17.000us/17.000us
        rx p50/p90/p99 = 12.000us/12.000us/12.000us
        nic p50/p90/p99 = 9.000us/9.000us/9.000us
        corrected 1 of 1
        ");
        let line = text(|out| status(out, &samples::tally()));
        insta::assert_snapshot!(line, @"1/3 packets, 66.6667% loss, rtt min/avg/max = 0.042/0.042/0.042 ms, corrected 1 of 1, net p50 = 11.342us");
    }
}
