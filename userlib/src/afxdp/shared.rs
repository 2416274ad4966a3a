//! What all workers of a run have in common: all of it is fixed, but for what atomics count.

use std::{
    ops::Range,
    sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use instamp_trailer::{Bound, Clock, Hook, Phase, Record, Site};

use crate::stateless::{Cookie, Plan, Window};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) cookie: Cookie,
    /// To which the upper half of a probe's number on the wire is added.
    pub(super) identifier: u16,
    pub(super) timeout_ns: u64,
    pub(super) site: Site,
    /// The numbers of the probes that were answered in time.
    pub(super) answered: Window,
    /// The number of the next probe that no worker has: workers take them as they send, so that none of them is far behind the others
    /// in numbers, by which replies are told from repeated ones.
    next: AtomicU64,
    /// How many of them a worker takes at once.
    share: u64,
    /// How many workers have probes to send.
    sending: AtomicUsize,
    /// When the last probe was sent.
    last_ns: AtomicU64,
    wish: AtomicU8,
}

/// What the run is to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Wish {
    Go,
    /// Send no more, and await what is under way.
    Stop,
    /// Await nothing.
    Abort,
}

impl Shared {
    pub(super) fn new(
        plan: Plan,
        cookie: Cookie,
        identifier: u16,
        timeout_ns: u64,
        site: Site,
        answered: Window,
        (workers, share): (usize, u64),
    ) -> Self {
        Self {
            plan,
            cookie,
            identifier,
            timeout_ns,
            site,
            answered,
            next: AtomicU64::new(0),
            share,
            sending: AtomicUsize::new(workers),
            last_ns: AtomicU64::new(0),
            wish: AtomicU8::new(Wish::Go as u8),
        }
    }

    /// The stamp of a probe that is written at this time.
    pub(super) fn app_tx(&self, sent_ns: u64) -> Record {
        let bound = Bound::from_exponent(self.site.bound);
        Record::new(Phase::Request, 0, Hook::APP_TX, self.site.node, Clock::MONOTONIC, bound, sent_ns)
    }

    /// The numbers of the next probes, for one worker: none where the run has no more.
    pub(super) fn take(&self) -> Range<u64> {
        let total = self.plan.total();
        if self.next() >= total {
            return total..total;
        }
        let first = self.next.fetch_add(self.share, Ordering::Relaxed);
        first.min(total)..first.saturating_add(self.share).min(total)
    }

    /// No probe has had this number yet, nor any above it: at most as many as the run has.
    pub(super) fn next(&self) -> u64 {
        // What workers take at once can reach beyond the last probe.
        self.next.load(Ordering::Relaxed).min(self.plan.total())
    }

    /// Says that the last probe was sent by then.
    pub(super) fn sent_by(&self, now_ns: u64) {
        self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
    }

    /// Says, once for each worker, that it has no more to send.
    pub(super) fn has_sent_all(&self) {
        self.sending.fetch_sub(1, Ordering::AcqRel);
    }

    /// When nothing can be in time any more, or `None` while some worker sends.
    pub(super) fn end_ns(&self) -> Option<u64> {
        (self.sending.load(Ordering::Acquire) == 0)
            .then(|| self.last_ns.load(Ordering::Relaxed).saturating_add(self.timeout_ns))
    }

    pub(super) fn wish(&self, wish: Wish) {
        self.wish.fetch_max(wish as u8, Ordering::Relaxed);
    }

    pub(super) fn is_wished(&self, wish: Wish) -> bool {
        self.wish.load(Ordering::Relaxed) >= wish as u8
    }
}

#[cfg(test)]
mod tests {
    use instamp_trailer::{RunKey, Site};
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::stateless::{Targets, parse_prefix};

    #[test]
    fn there_is_no_probe_behind_the_last() {
        let targets = Targets::new(&[parse_prefix("192.0.2.0/29").expect("a prefix")], &[]).expect("few");
        let plan = Plan::new(targets, 5, [1, 2]).expect("few");
        let cookie = Cookie::new([1, 2], RunKey::new(1).expect("24 bits"));
        let shared = Shared::new(plan, cookie, 0, 0, Site::new_zeroed(), Window::new(64), (2, 32));
        assert_eq!(shared.next(), 0);
        assert_eq!([(); 4].map(|()| shared.take()), [0..32, 32..40, 40..40, 40..40]);
        assert_eq!(shared.next(), 40, "a reply that claims to be another's is of no probe");
    }
}
