//! One run, from its lines.

use std::collections::BTreeSet;

use instamp::Uncorrected;

use super::{
    quantity::Quantity,
    record::{Failure, Record, Reply, Start, Summary},
    series::{Point, Series},
    trip,
};
use crate::{
    distribution::{Distribution, Statistics},
    stages::{Stages, Waterfall},
};

/// Points of a distribution function: more than a page has room for.
const CURVE: u64 = 400;

/// Requests that are remembered to have timed out: an error that comes after that is a matter of seconds.
const REMEMBERED: usize = 65_536;

/// The command whose output it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ping,
    Probe,
    Watch,
    /// The start is not there.
    Unknown,
}

/// What a page shows of a run.
pub(super) struct Run {
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) start: Heading,
    pub(super) counts: Counts,
    /// In the order of [`Quantity::ALL`].
    pub(super) rows: Vec<Row>,
    pub(super) points: Vec<Point>,
    pub(super) waterfalls: Vec<Waterfall>,
    /// Corrected replies that are in none of the waterfalls: of other stamps, or of none in their lines.
    pub(super) other_ways: u64,
    pub(super) without_way: u64,
    /// Why replies were not corrected, and how many.
    pub(super) uncorrected: Vec<(String, u64)>,
    pub(super) unknown_records: u64,
    pub(super) is_cut_off: bool,
    pub(super) has_summary: bool,
}

/// What the first line says.
#[derive(Default)]
pub(super) struct Heading {
    pub(super) target: Option<String>,
    pub(super) version: Option<String>,
    pub(super) time_ns: Option<u64>,
    pub(super) payload_bytes: Option<u64>,
    pub(super) interval_ns: Option<u64>,
}

/// `None` is not told.
pub(super) struct Counts {
    pub(super) sent: Option<u64>,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) corrected: Option<u64>,
    pub(super) late: u64,
    pub(super) duplicates: u64,
    pub(super) errors: u64,
    pub(super) elapsed_ns: Option<u64>,
}

/// How a quantity is distributed.
pub(super) struct Row {
    pub(super) quantity: Quantity,
    /// How many replies that is of, unless only the summary tells of it.
    pub(super) count: Option<u64>,
    pub(super) statistics: Statistics,
    /// Times, and how many replies took no longer.
    pub(super) curve: Vec<(i64, u64)>,
}

impl Run {
    pub(super) fn row(&self, quantity: Quantity) -> Option<&Row> {
        self.rows.iter().find(|row| row.quantity == quantity)
    }
}

/// A run whose lines are being read.
pub(super) struct Reading {
    kind: Kind,
    heading: Heading,
    replies: u64,
    received: u64,
    corrected: u64,
    late: u64,
    duplicates: u64,
    timeouts: u64,
    /// The latest of these: some get an error later, and are lost once.
    timed_out: BTreeSet<u64>,
    errors: u64,
    /// Errors of others than this host's kernel.
    refused: u64,
    ambiguous: u64,
    /// In the order of [`Uncorrected::ALL`], and those of which this version does not know.
    uncorrected: [u64; Uncorrected::ALL.len() + 1],
    /// In the order of [`Quantity::ALL`].
    distributions: [Distribution; Quantity::ALL.len()],
    series: Series,
    stages: Stages,
    without_way: u64,
    unknown_records: u64,
    summary: Option<Summary>,
}

impl Reading {
    /// `None` where it is of another command.
    pub(super) fn start(start: Start<'_>) -> Option<Self> {
        let (kind, target) = match (start.target, start.targets, start.devices) {
            (Some(target), ..) => match start.address {
                Some(address) if address != target => (Kind::Ping, format!("{target} ({address})")),
                Some(_) | None => (Kind::Ping, target),
            },
            (None, Some(1), _) => (Kind::Probe, "1 target".into()),
            (None, Some(targets), _) => (Kind::Probe, format!("{targets} targets")),
            (None, None, Some(devices)) => (Kind::Watch, format!("seen at {}", devices.join(", "))),
            (None, None, None) => return None,
        };
        let Start { version, time_ns, payload_bytes, interval_ns, .. } = start;
        let heading = Heading { target: Some(target), version, time_ns, payload_bytes, interval_ns };
        Some(Self { kind, heading, ..Self::headless() })
    }

    /// One whose first line is missing.
    pub(super) fn headless() -> Self {
        Self {
            kind: Kind::Unknown,
            heading: Heading::default(),
            replies: 0,
            received: 0,
            corrected: 0,
            late: 0,
            duplicates: 0,
            timeouts: 0,
            timed_out: BTreeSet::new(),
            errors: 0,
            refused: 0,
            ambiguous: 0,
            uncorrected: [0; Uncorrected::ALL.len() + 1],
            distributions: Quantity::ALL.map(|_| Distribution::new()),
            series: Series::new(1),
            stages: Stages::default(),
            without_way: 0,
            unknown_records: 0,
            summary: None,
        }
    }

    /// Takes a line behind the first into account.
    pub(super) fn record(&mut self, record: Record<'_>) {
        match record {
            Record::Reply(reply) => self.reply(&reply),
            Record::Timeout { seq } => {
                self.timeouts += 1;
                self.series.lose(seq, 1);
                self.timed_out.insert(seq);
                if self.timed_out.len() > REMEMBERED {
                    self.timed_out.pop_first();
                }
            }
            Record::Error(Failure { seq, from }) => {
                self.errors += 1;
                let is_lost_already = seq.is_some_and(|seq| self.timed_out.contains(&seq));
                if from.is_some() && !is_lost_already {
                    self.refused += 1;
                    if let Some(seq) = seq {
                        self.series.lose(seq, 1);
                    }
                }
            }
            Record::Summary(summary) => self.summary = Some(summary),
            Record::Start(_) | Record::Sender | Record::Group => {}
            Record::Unknown => self.unknown_records += 1,
        }
    }

    fn reply(&mut self, reply: &Reply<'_>) {
        self.replies += 1;
        self.duplicates += u64::from(reply.duplicate);
        self.ambiguous += u64::from(reply.ambiguous);
        if let Some(reason) = reply.uncorrected.as_deref().filter(|_| !reply.duplicate) {
            let known = Uncorrected::ALL.iter().position(|known| known.name() == reason);
            self.uncorrected[known.unwrap_or(Uncorrected::ALL.len())] += 1;
        }
        if !reply.is_first_answer() {
            return;
        }
        self.received += 1;
        self.late += u64::from(reply.late);
        self.corrected += u64::from(reply.net_ns.is_some());
        // One that does not stamp has no share.
        let remote = reply.remote_ns.filter(|remote| *remote != 0);
        let times = [reply.rtt_ns, reply.net_ns, reply.tx_stack_ns, reply.rx_stack_ns, remote];
        for (distribution, time) in self.distributions.iter_mut().zip(times) {
            if let Some(time) = time {
                distribution.record(time);
            }
        }
        // The sequence numbers of others than `ping` are not those of the run.
        let number = reply.seq.filter(|_| self.kind != Kind::Watch).unwrap_or(self.received);
        self.series.record(number, reply.rtt_ns, reply.net_ns);
        if reply.late {
            self.series.lose(number, -1);
        }
        if reply.net_ns.is_some() && !trip::record(&mut self.stages, reply) {
            self.without_way += 1;
        }
    }

    /// `is_cut_off` where its last line is not whole.
    pub(super) fn end(self, label: String, is_cut_off: bool) -> Run {
        let has_summary = self.summary.is_some();
        let summary = self.summary.unwrap_or_default();
        let from_lines = Counts {
            sent: None,
            received: self.received,
            lost: (self.timeouts + self.refused).saturating_sub(self.late),
            corrected: Some(self.corrected),
            late: self.late,
            duplicates: self.duplicates,
            errors: self.errors,
            elapsed_ns: None,
        };
        let counts = match (summary.sent, summary.received) {
            (Some(sent), Some(received)) => Counts {
                sent: Some(sent),
                received,
                lost: sent.saturating_sub(received),
                // `watch` does not count them.
                corrected: summary.corrected.or((self.replies > 0).then_some(self.corrected)),
                late: summary.late.unwrap_or(0),
                duplicates: summary.duplicates.unwrap_or(0),
                errors: summary.errors.unwrap_or(0),
                elapsed_ns: summary.elapsed_ns,
            },
            _ => from_lines,
        };
        let of_summary = [summary.rtt_ns, summary.net_ns, summary.tx_stack_ns, summary.rx_stack_ns, summary.remote_ns];
        let rows = Quantity::ALL.into_iter().zip(&self.distributions).zip(of_summary);
        let rows = rows.filter_map(|((quantity, distribution), of_summary)| {
            if self.replies == 0 {
                return Some(Row { quantity, count: None, statistics: of_summary?, curve: Vec::new() });
            }
            let statistics = distribution.statistics()?;
            let count = Some(distribution.count());
            Some(Row { quantity, count, statistics, curve: distribution.cumulative(CURVE) })
        });
        let reasons = Uncorrected::ALL.iter().map(|reason| format!("{}: {reason}", reason.name()));
        let reasons = reasons.chain(["for a reason that this version does not know".into()]).zip(self.uncorrected);
        let ambiguous = "ambiguous: two requests looked the same".to_owned();
        let uncorrected = reasons.chain([(ambiguous, self.ambiguous)]).filter(|(_, count)| *count > 0).collect();
        Run {
            label,
            kind: self.kind,
            start: self.heading,
            counts,
            rows: rows.collect(),
            points: self.series.points(),
            waterfalls: self.stages.waterfalls(),
            other_ways: self.stages.others,
            without_way: self.without_way,
            uncorrected,
            unknown_records: self.unknown_records,
            is_cut_off,
            has_summary,
        }
    }
}
