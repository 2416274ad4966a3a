//! When to send.

/// In a flood the next request waits this long for a reply.
const FLOOD_WAIT_NS: u64 = 10_000_000;
/// Requests that are this late are sent at once, one after another; older ones are left out.
const CATCH_UP_NS: u64 = 10_000_000;
/// Where the kernel has no room for a request it is tried again after this time.
const RETRY_NS: u64 = 1_000_000;

/// The schedule of a run. Times are those of the caller's clock.
#[derive(Debug)]
pub(crate) struct Pace {
    /// 0 is a flood.
    interval_ns: u64,
    /// `None` is without end.
    left: Option<u64>,
    due_ns: u64,
}

impl Pace {
    /// `count` requests, the first at once.
    pub(crate) const fn new(interval_ns: u64, count: Option<u64>) -> Self {
        Self { interval_ns, left: count, due_ns: 0 }
    }

    /// When the next request is to be sent, or `None` if all have been.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        (self.left != Some(0)).then_some(self.due_ns)
    }

    pub(crate) fn sent(&mut self, now_ns: u64) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.due_ns = match (self.interval_ns, self.due_ns) {
            (0, _) => now_ns.saturating_add(FLOOD_WAIT_NS),
            // Of the first request, whose time is when it is sent.
            (interval_ns, 0) => now_ns.saturating_add(interval_ns),
            // By the schedule and not by the clock, so that delays do not add up.
            (interval_ns, due_ns) => due_ns.saturating_add(interval_ns).max(now_ns.saturating_sub(CATCH_UP_NS)),
        };
    }

    pub(crate) const fn answered(&mut self, now_ns: u64) {
        if self.interval_ns == 0 {
            self.due_ns = now_ns;
        }
    }

    pub(crate) const fn no_room(&mut self, now_ns: u64) {
        self.due_ns = now_ns.saturating_add(RETRY_NS);
    }

    pub(crate) const fn stop(&mut self) {
        self.left = Some(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn delays_do_not_add_up() {
        let mut pace = Pace::new(100, Some(3));
        assert_eq!(pace.due_ns(), Some(0));
        pace.sent(5_000);
        assert_eq!(pace.due_ns(), Some(5_100));
        pace.sent(5_177);
        assert_eq!(pace.due_ns(), Some(5_200));
        pace.sent(5_200);
        assert_eq!(pace.due_ns(), None);
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut pace = Pace::new(MS, None);
        pace.sent(50 * MS);
        // Half a second late: the 10 ms before are sent, the others left out.
        pace.sent(551 * MS);
        assert_eq!(pace.due_ns(), Some(541 * MS));

        let mut pace = Pace::new(1_000 * MS, None);
        pace.sent(50 * MS);
        pace.sent(5_000 * MS);
        pace.sent(5_000 * MS);
        assert_eq!(pace.due_ns(), Some(5_990 * MS));
    }

    #[test]
    fn a_flood_follows_the_replies() {
        let mut pace = Pace::new(0, None);
        pace.sent(100);
        assert_eq!(pace.due_ns(), Some(100 + 10 * MS));
        pace.answered(300);
        assert_eq!(pace.due_ns(), Some(300));

        let mut paced = Pace::new(MS, None);
        paced.sent(100);
        paced.answered(300);
        assert_eq!(paced.due_ns(), Some(100 + MS));
    }

    #[test]
    fn without_room_it_tries_again_and_counts_nothing() {
        let mut pace = Pace::new(10 * MS, Some(1));
        pace.no_room(100);
        assert_eq!(pace.due_ns(), Some(100 + MS));
        pace.sent(200 + MS);
        assert_eq!(pace.due_ns(), None);
    }

    #[test]
    fn stopped_is_stopped() {
        let mut pace = Pace::new(0, None);
        pace.stop();
        pace.answered(1);
        assert_eq!(pace.due_ns(), None);
    }
}
