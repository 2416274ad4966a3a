//! The reply lines of tools that people ping with.

use std::{fmt, net::IpAddr};

/// How a tool tells of replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// iputils' and busybox' ping: `64 bytes from 192.0.2.1: icmp_seq=1 ttl=63 time=0.042 ms`.
    Ping,
    /// fping with `-c`, `-C`, `-l`: `192.0.2.1 : [0], 64 bytes, 0.042 ms (0.042 avg, 0% loss)`; with `-e`: `192.0.2.1 is alive (0.042 ms)`.
    Fping,
}

impl Format {
    /// That of a command, if it is known.
    pub(super) fn of(command: &[String]) -> Option<Self> {
        let mut words = command.iter().map(|word| word.rsplit('/').next().unwrap_or(word));
        match (words.next()?, words.next()) {
            ("ping" | "ping4" | "ping6", _) | ("busybox", Some("ping" | "ping6")) => Some(Self::Ping),
            ("fping" | "fping4" | "fping6", _) => Some(Self::Fping),
            _ => None,
        }
    }

    /// What a line tells of a reply, if it is one's.
    pub(super) fn read(self, line: &str) -> Option<ReplyLine<'_>> {
        match self {
            Self::Ping => ping(line),
            Self::Fping => fping(line),
        }
    }
}

/// What a line tells of a reply.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct ReplyLine<'a> {
    /// Who has answered: an address or a name.
    pub(super) from: &'a str,
    pub(super) number: Number,
    pub(super) rtt: Rtt,
}

/// What number a line has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    /// The sequence number of the packet.
    Sequence(u16),
    /// How many requests the tool had sent to this target before.
    Before(u32),
    Missing,
}

impl ReplyLine<'_> {
    /// The address, if the line has it.
    pub(super) fn address(&self) -> Option<IpAddr> {
        address(self.from)
    }
}

/// An address, perhaps with a device behind it.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

/// A time, as exactly as it was printed: in units of the last digit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rtt {
    pub(super) ns: i64,
    pub(super) unit_ns: i64,
}

impl Rtt {
    /// Of milliseconds with a fraction.
    fn of_milliseconds(text: &str) -> Option<Self> {
        const DIGITS: usize = 6;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > DIGITS || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let unit_ns = 10_i64.pow(u32::try_from(DIGITS - fraction.len()).ok()?);
        let ns = format!("{whole}{fraction}").parse::<i64>().ok()?.checked_mul(unit_ns)?;
        Some(Self { ns, unit_ns })
    }
}

impl fmt::Display for Rtt {
    /// Milliseconds, with as many digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = (self.ns + self.unit_ns / 2) / self.unit_ns;
        let per_millisecond = 1_000_000 / self.unit_ns;
        let digits = usize::try_from(per_millisecond.ilog10()).unwrap_or_default();
        write!(f, "{}", units / per_millisecond)?;
        if digits > 0 {
            write!(f, ".{:0digits$}", units % per_millisecond)?;
        }
        f.write_str("ms")
    }
}

/// Without the time that `-D` puts in front.
fn without_time(line: &str) -> &str {
    let without = || {
        let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
        time.parse::<f64>().ok().map(|_| rest)
    };
    without().unwrap_or(line)
}

fn ping(line: &str) -> Option<ReplyLine<'_>> {
    let (bytes, rest) = without_time(line).split_once(" bytes from ")?;
    bytes.parse::<u32>().ok()?;
    // IPv6 addresses have colons, too.
    let (host, rest) = rest.split_once(": ")?;
    // A name is followed by its address.
    let from = match host.split_once(" (") {
        Some((_, address)) => address.strip_suffix(')')?,
        None => host,
    };
    let mut words = rest.split(' ');
    let sequence =
        words.clone().find_map(|word| word.strip_prefix("icmp_seq=").or_else(|| word.strip_prefix("seq=")))?;
    let time = words.find_map(|word| word.strip_prefix("time="))?;
    // Nobody can tell of a duplicate from which network it has come: what was known has gone with the first one.
    if rest.ends_with("(DUP!)") {
        return None;
    }
    Some(ReplyLine { from, number: Number::Sequence(sequence.parse().ok()?), rtt: Rtt::of_milliseconds(time)? })
}

fn fping(line: &str) -> Option<ReplyLine<'_>> {
    let line = without_time(line);
    if let Some((from, rest)) = line.split_once(" is alive (") {
        let (time, _) = rest.split_once(" ms")?;
        return Some(ReplyLine { from: from.trim_end(), number: Number::Missing, rtt: Rtt::of_milliseconds(time)? });
    }
    let (from, rest) = line.split_once(" : [")?;
    let mut parts = rest.split(", ");
    let before = parts.next()?.strip_suffix(']')?.parse().ok()?;
    parts.next()?.strip_suffix(" bytes")?.parse::<u32>().ok()?;
    let (time, _) = parts.next()?.split_once(" ms")?;
    Some(ReplyLine { from: from.trim_end(), number: Number::Before(before), rtt: Rtt::of_milliseconds(time)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(from: &str, number: Number, ns: i64, unit_ns: i64) -> Option<ReplyLine<'_>> {
        Some(ReplyLine { from, number, rtt: Rtt { ns, unit_ns } })
    }

    #[test]
    fn lines_of_ping() {
        let expected = line("10.99.0.2", Number::Sequence(1), 123_000, 1_000);
        for text in [
            "64 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=0.123 ms",
            "64 bytes from remote.example (10.99.0.2): icmp_seq=1 ttl=63 time=0.123 ms",
            "[1795739215.398808] 64 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=0.123 ms",
            "64 bytes from 10.99.0.2: icmp_seq=1 ident=77 ttl=63 time=0.123 ms",
            "64 bytes from 10.99.0.2: seq=1 ttl=63 time=0.123 ms",
        ] {
            assert_eq!(Format::Ping.read(text), expected, "{text}");
        }
        let text = "64 bytes from fe80::2%eth0: icmp_seq=65535 ttl=64 time=12.3 ms";
        let read = Format::Ping.read(text);
        assert_eq!(read, line("fe80::2%eth0", Number::Sequence(65_535), 12_300_000, 100_000));
        assert_eq!(read.and_then(|read| read.address()), "fe80::2".parse().ok());
        for text in [
            "",
            "PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.",
            "From 10.99.0.1 icmp_seq=1 Destination Host Unreachable",
            "64 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=0.123 ms (DUP!)",
            "64 bytes from 10.99.0.2: icmp_seq=1 ttl=63",
            "64 bytes from 10.99.0.2: icmp_seq=65536 ttl=63 time=0.123 ms",
            "64 bytes from 10.99.0.2: icmp_seq=1 ttl=63 time=-0.1 ms",
            "64 bytes from 10.99.0.2 (x: icmp_seq=1 ttl=63 time=0.1 ms",
            "rtt min/avg/max/mdev = 0.032/0.036/0.041/0.004 ms",
            "no answer yet for icmp_seq=1",
        ] {
            assert_eq!(Format::Ping.read(text), None, "{text}");
        }
    }

    #[test]
    fn lines_of_fping() {
        for (text, number) in [
            ("10.99.0.2 : [0], 64 bytes, 0.045 ms (0.040 avg, 0% loss)", Number::Before(0)),
            ("10.99.0.2      : [17], 64 bytes, 0.045 ms (0.040 avg, 0% loss)", Number::Before(17)),
            ("[1795739213.97864] 10.99.0.2 : [0], 64 bytes, 0.045 ms (0.034 avg, 0% loss)", Number::Before(0)),
            ("10.99.0.2 is alive (0.045 ms)", Number::Missing),
        ] {
            assert_eq!(Format::Fping.read(text), line("10.99.0.2", number, 45_000, 1_000), "{text}");
        }
        for text in [
            "",
            "10.99.0.2 is alive",
            "10.99.0.2 : duplicate for [0], 64 bytes, 0.05 ms",
            "10.99.0.2 : [0], timed out (NaN avg, 100% loss)",
            "10.99.0.2 : xmt/rcv/%loss = 3/3/0%, min/avg/max = 0.035/0.041/0.045",
        ] {
            assert_eq!(Format::Fping.read(text), None, "{text}");
        }
    }

    #[test]
    fn times_keep_their_digits() {
        for text in ["0.045", "12.3", "123", "1.50", "0.000001"] {
            assert_eq!(Rtt::of_milliseconds(text).expect("a time").to_string(), format!("{text}ms"));
        }
        assert_eq!(Rtt { ns: 48_658, unit_ns: 1_000 }.to_string(), "0.049ms");
        for text in ["", ".5", "1.2345678", "1e3", "-1", "99999999999999"] {
            assert_eq!(Rtt::of_milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn commands_are_known_by_their_names() {
        let of = |words: &[&str]| Format::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        for words in
            [&["ping", "-c", "1"][..], &["/bin/ping6"], &["busybox", "ping"], &["/bin/busybox", "ping6", "::1"]]
        {
            assert_eq!(of(words), Some(Format::Ping), "{words:?}");
        }
        assert_eq!(of(&["/usr/bin/fping", "-e"]), Some(Format::Fping));
        for words in [&[][..], &["traceroute"], &["busybox", "traceroute"], &["sh", "ping"]] {
            assert_eq!(of(words), None, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_trouble(line in ".{0,80}") {
            Format::Ping.read(&line);
            Format::Fping.read(&line);
        }
    }
}
