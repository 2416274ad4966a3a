//! The stages of replies that came the same way, one behind the other, as they are drawn.

use super::{Domain, Group, Stage};
use crate::distribution::Distribution;

/// The medians of a group, in nanoseconds.
#[derive(PartialEq, Debug)]
pub(crate) struct Waterfall {
    pub(crate) replies: u64,
    /// Of the round trip. The medians of the stages need not add up to it.
    pub(crate) rtt: i64,
    /// What they add up to, the negative ones left out: at least 1.
    pub(crate) total: i64,
    pub(crate) spans: Vec<Span>,
}

/// A stage, and its time unless that is part of another's.
#[derive(PartialEq, Debug)]
pub(crate) struct Span {
    pub(crate) stage: Stage,
    pub(crate) time: Option<SpanTime>,
}

/// Where a stage lies in the waterfall, and what its time is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct SpanTime {
    /// From 0 to the total, as `to`.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) p50: i64,
    pub(crate) p90: i64,
}

/// What the stages of one domain take together.
pub(crate) struct Share {
    pub(crate) domain: Domain,
    pub(crate) time: i64,
    /// Of the waterfall's total.
    pub(crate) percent: i128,
}

impl Waterfall {
    pub(super) fn of(group: &Group) -> Self {
        let mut from = 0;
        let spans = group.stages.iter().map(|(stage, times)| {
            let time = times.as_ref().and_then(Distribution::statistics).map(|times| {
                let to = from + times.p50.max(0);
                let time = SpanTime { from, to, p50: times.p50, p90: times.p90 };
                from = to;
                time
            });
            Span { stage: *stage, time }
        });
        let spans = spans.collect();
        let rtt = group.rtt.statistics().map_or(0, |rtt| rtt.p50);
        Self { replies: group.rtt.count(), rtt, total: from.max(1), spans }
    }

    /// The domains that there are, in the order of the legend.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let of = |domain| {
            let times = self.spans.iter().filter(|span| span.stage.domain == domain).filter_map(|span| span.time);
            let time = times.map(|time| time.p50).reduce(|sum, time| sum + time)?;
            let percent = (i128::from(time) * 100 + i128::from(self.total / 2)).div_euclid(i128::from(self.total));
            Some(Share { domain, time, percent })
        };
        Domain::ALL.into_iter().filter_map(of).collect()
    }
}
