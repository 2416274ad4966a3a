//! Round trips a second, by one sender at full speed, and what each takes of the processors: runs of all ways take turns.

use std::{process::Stdio, time::Duration};

use instamp_tests::{lab::Lab, quantiles::median};
use serde_json::{Value, json};

use super::{
    bare,
    load::{Took, measured},
    wire::{Reflector, Wire},
};
use crate::run::of_type;

const ROUNDS: usize = 21;
const DURATION: Duration = Duration::from_secs(1);
/// Addresses that the remote answers for, more than zmap probes in the duration.
const MANY: &str = "10.200.0.0/13";
/// Until when `instamp probe` waits for replies.
const TIMEOUT: Duration = Duration::from_millis(100);
/// Enough for the duration at any rate that is possible here.
const ENDLESS: &str = "100000000";

/// A way of probing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The bare loop.
    Bare,
    /// `instamp probe` with a program of its own.
    Probe,
    /// `instamp probe` on a device that is stamped.
    ProbeAttached,
    /// `ping -f`.
    Ping,
    Fping,
    Zmap,
}

impl Way {
    const ALL: [Self; 6] = [Self::Bare, Self::Probe, Self::ProbeAttached, Self::Ping, Self::Fping, Self::Zmap];

    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare AF_XDP loop",
            Self::Probe => "instamp probe",
            Self::ProbeAttached => "instamp probe, attached",
            Self::Ping => "ping -f",
            Self::Fping => "fping",
            Self::Zmap => "zmap",
        }
    }
}

/// Prints a line for each way.
pub(super) fn measure() {
    let lab = Lab::up(&[]);
    let wire = Wire::of(&lab);
    lab.run("remote", "ip", &["route", "add", "local", MANY, "dev", "lo"]);
    lab.run("host", "ip", &["route", "add", MANY, "via", Lab::REMOTE]);
    let _reflector = Reflector::start(&lab);
    let mut rates: [Vec<u64>; Way::ALL.len()] = Default::default();
    let mut costs: [Vec<u64>; Way::ALL.len()] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..Way::ALL.len() {
            let number = (round + turn) % Way::ALL.len();
            let way = Way::ALL[number];
            if way == Way::ProbeAttached {
                lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
            }
            let ((received, lasted), Took { elapsed, busy }) = measured(|| run(&lab, &wire, way));
            let lasted = lasted.unwrap_or(elapsed);
            if way == Way::ProbeAttached {
                lab.detach("host", Lab::NIC);
            }
            rates[number].push(per_second(received, lasted));
            costs[number].push(u64::try_from(busy.as_nanos()).expect("short") / received.max(1));
        }
    }
    let bare = median(&rates[0]);
    for (way, (rates, costs)) in Way::ALL.iter().zip(rates.iter().zip(&costs)) {
        let rate = median(rates);
        println!(
            "{}",
            json!({
                "type": "throughput", "by": way.name(), "rounds": ROUNDS, "seconds": DURATION.as_secs(),
                "round_trips_per_second": rate, "of_bare": share(rate, bare), "cpu_ns_per_round_trip": median(costs),
                "runs": rates,
            })
        );
    }
}

/// How many replies came, and were taken for what they are; and how long probes were sent, without what starting and waiting for the
/// last replies takes, where that is known.
fn run(lab: &Lab, wire: &Wire, way: Way) -> (u64, Option<Duration>) {
    let seconds = DURATION.as_secs().to_string();
    match way {
        Way::Bare => (bare::round_trips(lab, wire, DURATION), Some(DURATION)),
        Way::Probe | Way::ProbeAttached => {
            let options = ["--rate", "0", "-c", ENDLESS, "-w", &seconds, "-W", "100ms", "--special", "--json", "-q"];
            let records = probe(lab, &options);
            let summary = of_type(&records, "summary")[0];
            let elapsed = Duration::from_nanos(summary["elapsed_ns"].as_u64().expect("a time"));
            (summary["corrected"].as_u64().expect("a count"), Some(elapsed - TIMEOUT))
        }
        Way::Ping => {
            let text = output(lab, "ping", &["-f", "-q", "-w", &seconds, "-s", "64", Lab::REMOTE]);
            (counted(&text, " received"), Some(DURATION))
        }
        Way::Fping => {
            // It has 65,535 numbers for ten seconds.
            let options = ["-q", "-c", "60000", "-i", "0.001", "-p", "0.01", "-b", "64", Lab::REMOTE];
            let text = output(lab, "fping", &options);
            // xmt/rcv/%loss = 20000/20000/0%
            let counts = text.split("xmt/rcv/%loss = ").nth(1).expect("counts");
            (counts.split('/').nth(1).expect("a count").parse().expect("a number"), None)
        }
        Way::Zmap => (zmap(lab, wire), Some(DURATION)),
    }
}

/// It sends one probe to each of many addresses, all of which the remote has.
fn zmap(lab: &Lab, wire: &Wire) -> u64 {
    let gateway = wire.remote_mac.map(|byte| format!("{byte:02x}")).join(":");
    let seconds = DURATION.as_secs().to_string();
    let found = tempfile::NamedTempFile::new().expect("a file for what it finds");
    let file = found.path().to_str().expect("text");
    let options = [
        &["--probe-module", "icmp_echoscan", "--interface", Lab::NIC, "--gateway-mac", &gateway][..],
        &[
            "--rate",
            "0",
            "--max-sendto-failures",
            "1000000",
            "--max-runtime",
            &seconds,
            "--cooldown-time",
            "1",
            "--sender-threads",
            "1",
        ],
        &["--blacklist-file", "/dev/null", "--verbosity", "0", "--quiet", "--output-file", file, MANY],
    ];
    let _ = output(lab, "zmap", &options.concat());
    std::fs::read_to_string(file).expect("what it has found").lines().count() as u64
}

/// The records of a run of `instamp probe` in the host.
pub(super) fn probe(lab: &Lab, options: &[&str]) -> Vec<Value> {
    let mut command = lab.instamp("host");
    command.args(["probe", "--dev", Lab::NIC, Lab::REMOTE]).args(options);
    let output = command.stderr(Stdio::inherit()).output().expect("instamp probe");
    assert!(output.status.success(), "instamp probe: {output:?}");
    let text = String::from_utf8(output.stdout).expect("JSON Lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What a tool prints, on either stream.
fn output(lab: &Lab, program: &str, options: &[&str]) -> String {
    let output = lab.command("host", program).args(options).output().expect("a tool");
    // fping exits with 1 where a reply is missing.
    assert!(output.status.code().is_some_and(|code| code <= 1), "{program}: {output:?}");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

/// The number before these words.
fn counted(text: &str, words: &str) -> u64 {
    let before = text.split(words).next().expect("a part");
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a count")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rate")]
fn per_second(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64()) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 1000.0).round() / 1000.0
}
