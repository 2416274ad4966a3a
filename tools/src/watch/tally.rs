//! What became of the probes of each sender.

use std::collections::BTreeMap;

use instamp_hooks::{Observed, Origin, WatchCounts};

use crate::distribution::Distribution;

/// Times of the replies that were observed.
pub(crate) struct Tally {
    /// Replies.
    pub(crate) answered: u64,
    /// Those of them that cannot be told to be of one request.
    pub(crate) ambiguous: u64,
    /// From the sender's device and back.
    pub(crate) total: Distribution,
    pub(crate) net: Distribution,
    pub(crate) tx_host: Distribution,
    pub(crate) rx_host: Distribution,
    /// What the queueing discipline took, which is also in `tx_host`.
    pub(crate) queue: Distribution,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let [total, net, tx_host, rx_host, queue] = [(); 5].map(|()| Distribution::coarse());
        Self { answered: 0, ambiguous: 0, total, net, tx_host, rx_host, queue }
    }

    pub(crate) fn count(&mut self, observed: &Observed) {
        self.answered += 1;
        self.ambiguous += u64::from(observed.is_ambiguous);
        let times = [
            (&mut self.total, observed.total_ns()),
            (&mut self.net, observed.net_ns()),
            (&mut self.tx_host, observed.tx_host_ns()),
            (&mut self.rx_host, observed.rx_host_ns()),
            (&mut self.queue, observed.queue_ns()),
        ];
        for (distribution, time) in times {
            if let Some(time) = time {
                distribution.record(time);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.ambiguous += other.ambiguous;
        self.total.merge(&other.total);
        self.net.merge(&other.net);
        self.tx_host.merge(&other.tx_host);
        self.rx_host.merge(&other.rx_host);
        self.queue.merge(&other.queue);
    }

    /// All of them, by the names that they have in the outputs for programs.
    pub(crate) fn named(&self) -> [(&'static str, &Distribution); 5] {
        [
            ("net", &self.net),
            ("tx_host", &self.tx_host),
            ("rx_host", &self.rx_host),
            ("queue", &self.queue),
            ("total", &self.total),
        ]
    }
}

/// Whose probes are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Group {
    /// Those of a network namespace.
    Namespace {
        /// What it is known by.
        inode: u32,
        /// What no later one has.
        cookie: u64,
    },
    /// Those that others have handed on.
    Forwarded,
}

impl From<Origin> for Group {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Namespace { cookie, inode, .. } => Self::Namespace { cookie, inode },
            Origin::Forwarded { .. } => Self::Forwarded,
        }
    }
}

/// Every group that has sent something: how many requests, and what came of them.
#[derive(Default)]
pub(crate) struct Groups(BTreeMap<Group, (u64, Option<Tally>)>);

impl Groups {
    pub(crate) fn count(&mut self, observed: &Observed) {
        let (_, tally) = self.0.entry(observed.origin.into()).or_default();
        tally.get_or_insert_with(Tally::new).count(observed);
    }

    /// Takes over how many requests there were.
    pub(crate) fn set_counts(&mut self, counts: Vec<WatchCounts>) {
        for WatchCounts { cookie, inode, sent } in counts {
            let group = if cookie == 0 { Group::Forwarded } else { Group::Namespace { cookie, inode } };
            self.0.entry(group).or_default().0 = sent;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Group, u64, Option<&Tally>)> {
        self.0.iter().map(|(group, (sent, tally))| (*group, *sent, tally.as_ref()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them together: requests, and times.
    pub(crate) fn total(&self) -> (u64, Tally) {
        let mut all = Tally::new();
        self.0.values().filter_map(|(_, tally)| tally.as_ref()).for_each(|tally| all.merge(tally));
        (self.0.values().map(|(sent, _)| sent).sum(), all)
    }
}

/// The share of requests that were not answered; `None` where there were none. Those on their way are among them.
pub(crate) fn loss(sent: u64, answered: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
    let share = |part: u64, whole: u64| part as f64 / whole as f64;
    (sent > 0).then(|| share(sent.saturating_sub(answered), sent))
}
