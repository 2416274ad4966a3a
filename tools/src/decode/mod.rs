//! `instamp decode`: the probes of a capture file.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use instamp_capture::{Decoded, Link, decode};

/// Prints the probes of a capture file, with all that they carry.
///
/// Reads pcap and pcapng files of Ethernet devices (with up to two VLAN tags), of Linux' "cooked" captures (tcpdump's `-i any`)
/// and of devices without link-layer header. For each probe: the time of the capture, addresses, request or reply, identifier and
/// sequence number, whether the ICMP checksum is correct, and the trailer: nonce, complement, and each record with its phase, point,
/// hook, node, clock, time and bound. How many packets there were, and of which kind, is told on standard error.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The capture; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Also show echo messages that are no probes, and the reason why: no-trailer, version, odd-length, counts, truncated, fragment
    #[arg(long)]
    all: bool,

    /// JSON Lines: one object for each packet. `time_ns` counts from 1970-01-01 UTC and is null where the capture has no times;
    /// `stamps` are those of `instamp ping --json`
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  instamp decode probes.pcap
  tcpdump -i eth0 -U -w - icmp or icmp6 | instamp decode -

Times are in seconds with nine decimals. A record's last column is the time since the record before it, where both are of
one host and clock.

Exit status: 0 where there was a probe, 1 where there was none, 2 on an error. What precedes the error is printed.";

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut tally = Tally::default();
    let result = options.open().and_then(|input| print(input, &options, &mut out, &mut tally));
    out.flush()?;
    result.with_context(|| options.file.display().to_string())?;
    eprintln!("{tally}");
    Ok(ExitCode::from(u8::from(tally.probes == 0)))
}

/// Prints as text what the capture file in `input` holds, echo messages that are no probes included.
///
/// # Errors
///
/// As of the command: `input` is no capture or is damaged, or `out` fails. What precedes the error is printed.
pub fn decode_to(input: &[u8], out: &mut impl Write) -> anyhow::Result<()> {
    let options = Options { file: PathBuf::new(), all: true, json: false };
    print(input, &options, out, &mut Tally::default())
}

fn print(input: impl Read + Send, options: &Options, out: &mut impl Write, tally: &mut Tally) -> anyhow::Result<()> {
    instamp_capture::read(input, |frame| {
        let decoded = decode(frame);
        tally.count(frame.link, &decoded);
        match (&decoded, options.json) {
            (Decoded::Probe(probe), true) => json::probe(out, frame, probe)?,
            (Decoded::Probe(probe), false) => text::probe(out, frame, probe)?,
            (Decoded::Refused(refused), true) if options.all => json::refused(out, frame, refused)?,
            (Decoded::Refused(refused), false) if options.all => text::refused(out, frame, refused)?,
            (Decoded::Refused(_) | Decoded::Other, _) => return Ok(()),
        }
        // A capture that is going on is shown as it goes on.
        if options.is_stream() { out.flush().map_err(Into::into) } else { Ok(()) }
    })
}

impl Options {
    fn is_stream(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn open(&self) -> anyhow::Result<Box<dyn Read + Send>> {
        if self.is_stream() {
            return Ok(Box::new(io::stdin()));
        }
        Ok(Box::new(File::open(&self.file)?))
    }
}

/// How many packets there were of which kind.
#[derive(Default)]
struct Tally {
    packets: u64,
    probes: u64,
    refused: BTreeMap<&'static str, u64>,
    /// By their link type, which has no decoder here.
    unknown: BTreeMap<i32, u64>,
}

impl Tally {
    fn count(&mut self, link: Link, decoded: &Decoded<'_>) {
        self.packets += 1;
        match (decoded, link) {
            (Decoded::Probe(_), _) => self.probes += 1,
            (Decoded::Refused(refused), _) => *self.refused.entry(refused.refusal.name()).or_default() += 1,
            (Decoded::Other, Link::Other(number)) => *self.unknown.entry(number).or_default() += 1,
            (Decoded::Other, _) => {}
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets, {} probes", self.packets, self.probes)?;
        for (name, count) in &self.refused {
            write!(f, ", {count} {name}")?;
        }
        for (number, count) in &self.unknown {
            write!(f, ", {count} of link type {number}, which is not known")?;
        }
        Ok(())
    }
}
