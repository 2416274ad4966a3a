//! What came of a run.

use std::time::Duration;

use instamp::afxdp::{Counts, Outcome};

use super::{
    collector::{Collected, Collector},
    groups::Groups,
    tally::Tally,
};

pub(super) struct Summary {
    pub(super) counts: Counts,
    pub(super) tally: Tally,
    /// Where they were asked for.
    pub(super) groups: Option<Groups>,
    /// Frames that the sockets had no room for, as the kernel counts them: replies are among them.
    pub(super) dropped: u64,
    /// Replies that were not printed, as their reader was too slow.
    pub(super) unwritten: u64,
    /// How long it took, without what is set up before and taken down after.
    pub(super) elapsed: Duration,
}

impl Summary {
    pub(super) fn of(outcomes: Vec<Outcome<Collector>>) -> Self {
        let (counts, tally) = (Counts::default(), Tally::new());
        let mut summary = Self { counts, tally, groups: None, dropped: 0, unwritten: 0, elapsed: Duration::ZERO };
        for Outcome { sink, counts, socket, elapsed } in outcomes {
            summary.counts += counts;
            summary.elapsed = summary.elapsed.max(elapsed);
            summary.dropped += socket.receive_dropped + socket.receive_ring_full;
            let Collected { tally, groups, unwritten } = sink.into_parts();
            summary.unwritten += unwritten;
            summary.tally.merge(&tally);
            summary.groups = match (summary.groups, groups) {
                (Some(mut all), Some(groups)) => {
                    all.merge(&groups);
                    Some(all)
                }
                (all, groups) => all.or(groups),
            };
        }
        summary
    }

    /// The share of probes that were not answered in time, or `None` where none was sent.
    pub(super) fn loss(&self) -> Option<f64> {
        let Counts { sent, received, .. } = self.counts;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        (sent > 0).then(|| share(sent.saturating_sub(received), sent))
    }
}
