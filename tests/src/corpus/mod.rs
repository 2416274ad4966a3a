//! Replies on which every implementation of strip and correct has to give the same answer.
//!
//! A *driver* of one reads replies on standard input, a line each, and prints an answer to each on a line:
//!
//! ```text
//! reply    nonce (16 hex digits) TAB sent_ns TAB received_ns TAB payload (hex)
//! answer   the name of the error of strip
//!          LEN FULL RECORDS the name of the reason of correct
//!          LEN FULL RECORDS rtt net remote tx_stack rx_stack bound source_request source_request_point
//!                           source_reply source_reply_point nic_net nic_net_bound nic_left_out negative
//! ```
//!
//! LEN is the length of the application's part, RECORDS are `phase:point:hook:node:clock:bound:time` in numbers as on the wire, joined
//! by commas. What there is not is `-`, booleans are 0 and 1, times are in ns.

pub mod driver;
mod generate;
pub mod recording;
mod reference;

use std::{fmt, fs, io, path::Path, str::FromStr};

pub use generate::generated;
pub use reference::answer;

/// Replies of the kernel, stamped by hooks, as [`recording`] has taken them in a lab.
const RECORDED: &str = include_str!("../../corpus/recorded.tsv");

/// A reply, and what its prober knows of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The prober's number for the probe.
    pub nonce: u64,
    /// When the prober sent the request, in nanoseconds of its clock.
    pub sent_ns: u64,
    /// When it received the reply.
    pub received_ns: u64,
    /// The echo payload.
    pub payload: Vec<u8>,
}

/// All replies: those of the generator, and the recorded ones.
pub fn replies() -> Vec<Reply> {
    let mut replies = generated();
    replies.extend(recorded());
    replies
}

/// The recorded ones.
///
/// # Panics
///
/// The file in the tree is not of these lines.
pub fn recorded() -> Vec<Reply> {
    RECORDED.lines().map(|line| line.parse().unwrap_or_else(|()| panic!("no reply: {line}"))).collect()
}

/// Writes replies into a file that drivers read.
///
/// # Errors
///
/// The file's.
pub fn write(path: &Path, replies: &[Reply]) -> io::Result<()> {
    fs::write(path, replies.iter().map(|reply| format!("{reply}\n")).collect::<String>())
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nonce, sent_ns, received_ns, payload } = self;
        write!(f, "{nonce:016x}\t{sent_ns}\t{received_ns}\t")?;
        payload.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Reply {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let [nonce, sent, received, payload] = *line.split('\t').collect::<Vec<_>>() else { return Err(()) };
        let byte = |at| u8::from_str_radix(payload.get(at..at + 2)?, 16).ok();
        Ok(Self {
            nonce: u64::from_str_radix(nonce, 16).map_err(drop)?,
            sent_ns: sent.parse().map_err(drop)?,
            received_ns: received.parse().map_err(drop)?,
            payload: (0..payload.len()).step_by(2).map(byte).collect::<Option<_>>().ok_or(())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        for reply in replies() {
            assert_eq!(reply.to_string().parse(), Ok(reply));
        }
        assert_eq!("1\t2\t3\t4".parse::<Reply>(), Err(()));
    }

    #[test]
    fn the_corpus_is_the_same_each_time() {
        assert_eq!(generated(), generated());
    }

    /// What there is of each kind of answer, so that agreement says something.
    #[test]
    fn the_corpus_is_broad() {
        let mut counts = BTreeMap::<String, usize>::new();
        let mut count = |what: String| *counts.entry(what).or_default() += 1;
        let replies = replies();
        for reply in &replies {
            let answer = answer(reply);
            let fields: Vec<&str> = answer.split(' ').collect();
            match *fields {
                [error] => count(error.into()),
                [length, full, records, ref outcome @ ..] => {
                    count(format!("application {}", length != "0"));
                    count(format!("full {full}"));
                    count(format!("records {}", if records == "-" { 0 } else { records.split(',').count() }));
                    if let [reason] = *outcome {
                        count(reason.into());
                    } else {
                        count("corrected".into());
                        kinds_of(outcome).for_each(&mut count);
                    }
                }
                _ => panic!("no answer: {answer}"),
            }
        }
        assert!(replies.len() >= 10_000 && recorded().len() >= 300, "{} {}", replies.len(), recorded().len());
        let at_least = |least: usize, kinds: &[&str]| {
            for kind in kinds {
                let found = counts.get(*kind).copied().unwrap_or(0);
                assert!(found >= least, "{found} of {kind}: {counts:#?}");
            }
        };
        at_least(100, &["no-trailer", "version", "odd-length", "counts", "foreign-nonce"]);
        at_least(200, &["no-stamps", "no-request-stamp", "no-reply-stamp", "clock-mismatch", "node-conflict"]);
        at_least(3_000, &["corrected"]);
        at_least(100, &["application true", "application false", "full 0", "full 1"]);
        at_least(20, &(0..=15).map(|used| format!("records {used}")).collect::<Vec<_>>().each_str());
        at_least(50, &NAMES.map(|name| format!("{name} some")).to_vec().each_str());
        at_least(
            50,
            &["remote -", "remote 0", "bound -", "nic_net -", "nic_net_bound -", "nic_left_out 0", "negative 0"],
        );
        at_least(50, &["net -1", "tx_stack -1", "rx_stack -1", "remote -1", "nic_net -1"]);
        at_least(20, &["hook 1", "hook 2", "hook 3", "hook 4", "hook 5", "hook 6", "hook 7", "hook 8", "point 7"]);
        // Of the reasons that the crate has, two are not for strip and correct to find.
        let elsewhere = ["truncated", "foreign-nonce"];
        let reasons = instamp::Uncorrected::ALL.map(instamp::Uncorrected::name);
        assert!(reasons.iter().all(|reason| elsewhere.contains(reason) || counts.contains_key(*reason)));
    }

    const NAMES: [&str; 14] = [
        "rtt",
        "net",
        "remote",
        "tx_stack",
        "rx_stack",
        "bound",
        "source_request",
        "source_request_point",
        "source_reply",
        "source_reply_point",
        "nic_net",
        "nic_net_bound",
        "nic_left_out",
        "negative",
    ];

    /// Of the fields of a correction: what is `-` or 0, what is more, what is negative, and which hooks and points.
    fn kinds_of(fields: &[&str]) -> impl Iterator<Item = String> {
        assert_eq!(fields.len(), NAMES.len());
        NAMES.into_iter().zip(fields).flat_map(|(name, field)| {
            let value = match *field {
                "-" | "0" => field,
                _ if field.starts_with('-') => "-1",
                _ => "some",
            };
            let place = name
                .starts_with("source")
                .then(|| format!("{} {field}", if name.ends_with("point") { "point" } else { "hook" }));
            [Some(format!("{name} {value}")), place].into_iter().flatten()
        })
    }

    trait EachStr {
        fn each_str(&self) -> Vec<&str>;
    }

    impl EachStr for Vec<String> {
        fn each_str(&self) -> Vec<&str> {
            self.iter().map(String::as_str).collect()
        }
    }
}
