//! When to send, at a rate.

use std::num::NonZeroU64;

/// What is later than this is left out.
const CATCH_UP_NS: u64 = 10_000_000;
const SECOND_NS: u128 = 1_000_000_000;

/// The schedule of one of several threads that keep a rate together. Times are nanoseconds of the caller's clock.
///
/// The k-th place in the schedule of the run, from 0, is exactly k / rate behind its start, rounded down to a nanosecond: nothing adds
/// up. A thread has every `stride`-th place, from its `first` on. After a pause it catches up, but no two of its probes are closer
/// than half of the time between its places; places that are more than 10 ms late are left out, and the probes take later ones.
///
/// ```
/// use instamp::stateless::Pacer;
/// let mut pacer = Pacer::new(std::num::NonZeroU64::new(1_000), 0, 1, 5_000);
/// assert_eq!(pacer.due_ns(), 5_000);
/// pacer.sent(5_010);
/// assert_eq!(pacer.due_ns(), 1_005_000);
/// ```
#[derive(Clone, Debug)]
pub struct Pacer(Option<Schedule>);

#[derive(Clone, Debug)]
struct Schedule {
    /// Probes a second.
    rate: u64,
    start_ns: u64,
    /// The time of the next place behind the start: nanoseconds, and parts of one by the rate.
    behind_ns: u64,
    parts: u64,
    /// The time between two places, likewise.
    interval_ns: u64,
    interval_parts: u64,
    /// No probe before this time.
    earliest_ns: u64,
    left_out: u64,
}

impl Pacer {
    /// Of `rate` probes a second by all threads together, from `start_ns` on. Without a rate a probe is always due.
    pub fn new(rate: Option<NonZeroU64>, first: u64, stride: u64, start_ns: u64) -> Self {
        Self(rate.map(|rate| Schedule::new(rate.get(), first, stride, start_ns)))
    }

    /// When the next probe is to be sent; it may be past.
    pub fn due_ns(&self) -> u64 {
        self.0.as_ref().map_or(0, Schedule::due_ns)
    }

    /// Goes on to the next place, the probe at this one having been sent, or given up.
    pub fn sent(&mut self, now_ns: u64) {
        if let Some(schedule) = &mut self.0 {
            schedule.advance();
            schedule.leave_out(now_ns.saturating_sub(CATCH_UP_NS));
            schedule.earliest_ns = now_ns.saturating_add(schedule.interval_ns / 2);
        }
    }

    /// How many places were left out so far.
    pub fn left_out(&self) -> u64 {
        self.0.as_ref().map_or(0, |schedule| schedule.left_out)
    }
}

impl Schedule {
    fn new(rate: u64, first: u64, stride: u64, start_ns: u64) -> Self {
        let (behind_ns, parts) = places(first, rate);
        let (interval_ns, interval_parts) = places(stride, rate);
        Self { rate, start_ns, behind_ns, parts, interval_ns, interval_parts, earliest_ns: 0, left_out: 0 }
    }

    fn due_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.behind_ns).max(self.earliest_ns)
    }

    fn advance(&mut self) {
        self.behind_ns = self.behind_ns.saturating_add(self.interval_ns);
        // Both are below the rate.
        match self.parts.overflowing_add(self.interval_parts) {
            (parts, false) if parts < self.rate => self.parts = parts,
            (parts, _) => {
                self.parts = parts.wrapping_sub(self.rate);
                self.behind_ns = self.behind_ns.saturating_add(1);
            }
        }
    }

    /// Leaves out the places before a time.
    fn leave_out(&mut self, before_ns: u64) {
        let Some(late_ns) =
            before_ns.checked_sub(self.start_ns.saturating_add(self.behind_ns)).filter(|late| *late > 0)
        else {
            return;
        };
        let rate = u128::from(self.rate);
        // In parts: of this place, of the time between two, and from this place to the first that is not too late.
        let at = |ns: u64, parts: u64| u128::from(ns) * rate + u128::from(parts);
        let interval = at(self.interval_ns, self.interval_parts);
        let missing = u128::from(late_ns) * rate - u128::from(self.parts);
        if interval == 0 {
            return;
        }
        let count = missing.div_ceil(interval);
        let moved = at(self.behind_ns, self.parts).saturating_add(count.saturating_mul(interval));
        (self.behind_ns, self.parts) = split(moved, self.rate);
        self.left_out = self.left_out.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// The time of so many places, in nanoseconds and parts of one.
fn places(count: u64, rate: u64) -> (u64, u64) {
    split(u128::from(count) * SECOND_NS, rate)
}

/// Nanoseconds, of which each has as many parts as the rate.
fn split(parts: u128, rate: u64) -> (u64, u64) {
    let rate = u128::from(rate);
    let rest = u64::try_from(parts % rate).unwrap_or(u64::MAX);
    (u64::try_from(parts / rate).unwrap_or(u64::MAX), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn pacer(rate: u64) -> Pacer {
        Pacer::new(NonZeroU64::new(rate), 0, 1, 0)
    }

    /// When probes leave by a clock that has stopped during `stalls` (from, to), and on which sending takes `cost_ns`.
    fn run(pacer: &mut Pacer, until_ns: u64, cost_ns: u64, stalls: &[(u64, u64)]) -> Vec<u64> {
        let mut now = 0;
        let mut sent = Vec::new();
        loop {
            now = pacer.due_ns().max(now);
            for (from, to) in stalls {
                if (*from..*to).contains(&now) {
                    now = *to;
                }
            }
            if now >= until_ns {
                return sent;
            }
            sent.push(now);
            pacer.sent(now);
            now += cost_ns;
        }
    }

    #[test]
    fn rates_are_kept_to_the_nanosecond() {
        for rate in [1, 3, 7, 1_000, 10_000, 50_000, 999_983, 3_000_000] {
            let sent = run(&mut pacer(rate), 2 * SECOND, 50, &[]);
            let expected: Vec<u64> = (0..2 * rate)
                .map(|k| u64::try_from(u128::from(k) * 1_000_000_000 / u128::from(rate)).expect("two seconds"))
                .collect();
            assert!(sent == expected, "{rate}: {} probes", sent.len());
        }
    }

    #[test]
    fn after_a_long_time_nothing_has_added_up() {
        let mut pacer = pacer(3);
        for _ in 0..3 * 86_400 {
            let due = pacer.due_ns();
            pacer.sent(due);
        }
        assert_eq!(pacer.due_ns(), 86_400 * SECOND);
    }

    #[test]
    fn a_short_pause_is_made_up_for_without_a_burst() {
        for rate in [1_000, 10_000, 50_000] {
            let interval = SECOND / rate;
            let mut pacer = pacer(rate);
            let sent = run(&mut pacer, SECOND, 0, &[(100 * MS, 109 * MS)]);
            assert_eq!((sent.len() as u64, pacer.left_out()), (rate, 0), "{rate}");
            assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= interval / 2), "{rate}");
            // Twice the rate, until there is nothing to catch up with.
            let behind = sent.iter().filter(|ns| *ns % interval != 0).count() as u64;
            assert!(behind.abs_diff(9 * MS / interval) <= 2, "{rate}: {behind}");
            assert!(sent.iter().filter(|ns| **ns > 119 * MS).all(|ns| ns % interval == 0), "{rate}");
        }
    }

    #[test]
    fn of_a_long_pause_the_last_10_ms_are_made_up_for() {
        for rate in [1_000, 10_000, 50_000] {
            let interval = SECOND / rate;
            let mut pacer = pacer(rate);
            let sent = run(&mut pacer, 2 * SECOND, 0, &[(100 * MS, 600 * MS)]);
            // The probe that was due at the pause's beginning is the first behind it.
            let lost = rate * 490 / 1000 - 1;
            assert_eq!((sent.len() as u64, pacer.left_out()), (2 * rate - lost, lost), "{rate}");
            assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= interval / 2), "{rate}");
            assert!(
                sent.iter().filter(|ns| **ns > 621 * MS).all(|ns| ns % interval == 0),
                "{rate}: in its places again"
            );
        }
    }

    #[test]
    fn a_pause_of_a_slow_rate_is_not_made_up_for() {
        let sent = run(&mut pacer(1), 10 * SECOND, 0, &[(2 * SECOND, 5 * SECOND + 500 * MS)]);
        let expected = [0, SECOND, 5_500 * MS, 6 * SECOND, 7 * SECOND, 8 * SECOND, 9 * SECOND];
        assert_eq!(sent, expected);
    }

    #[test]
    fn threads_divide_the_places() {
        let mut all: Vec<u64> = (0..3)
            .flat_map(|first| run(&mut Pacer::new(NonZeroU64::new(70_000), first, 3, 0), SECOND, 0, &[]))
            .collect();
        all.sort_unstable();
        assert_eq!(all, run(&mut pacer(70_000), SECOND, 0, &[]));
    }

    #[test]
    fn without_a_rate_it_is_always_time() {
        let mut pacer = Pacer::new(None, 3, 4, 1_000);
        assert_eq!(pacer.due_ns(), 0);
        pacer.sent(1_000);
        assert_eq!((pacer.due_ns(), pacer.left_out()), (0, 0));
    }

    proptest! {
        /// Whatever the numbers: the schedule goes on, never closer than half an interval, and never into the past by more than it may.
        #[test]
        fn no_numbers_break_it(rate in 1_u64.., first: u64, stride: u64, start_ns: u64, delays in proptest::collection::vec(0_u64.., 1..20)) {
            let mut pacer = Pacer::new(NonZeroU64::new(rate), first, stride, start_ns);
            let interval = u128::from(stride) * SECOND_NS / u128::from(rate);
            for delay in delays {
                let now = pacer.due_ns().saturating_add(delay);
                pacer.sent(now);
                prop_assert!(u128::from(pacer.due_ns()) >= (u128::from(now) + interval / 2).min(u64::MAX.into()));
            }
        }

        /// After any delays, probes are in places of the schedule as soon as they are in time.
        #[test]
        fn places_stay_where_they_are(rate in 1_u64..5_000_000, delays in proptest::collection::vec(0_u64..100_000_000, 1..50)) {
            let mut pacer = pacer(rate);
            for delay in delays {
                let due = pacer.due_ns();
                pacer.sent(due + delay);
            }
            let places = (0..).map_while(|_| {
                let due = pacer.due_ns();
                pacer.sent(due);
                (due < u64::MAX).then_some(due)
            });
            let in_time = places.skip(usize::try_from(rate / 10 + 2).expect("few")).take(20);
            for due in in_time {
                let place = (u128::from(due) * u128::from(rate)).div_ceil(SECOND_NS);
                prop_assert_eq!(place * SECOND_NS / u128::from(rate), due.into());
            }
        }
    }
}
