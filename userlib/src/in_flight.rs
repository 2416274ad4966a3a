//! Which probes are under way: a table that is told what was sent and received, and when, and does nothing itself.

/// How many probes the 16-bit sequence number of an echo message tells apart.
const SEQUENCE_NUMBERS: usize = 1 << 16;

/// The probes of a run that may still be answered, the latest few of those that were answered or given up, and what became
/// of each. The memory is allocated once.
///
/// Probes are numbered from 1 without wrapping; a message carries the lower 16 bits.
///
/// An answer is whole or truncated. A truncated one has lost its nonce, so whoever guesses the sequence number can forge it: it
/// ends the wait for its probe, but does not make a duplicate of a whole one that comes behind it.
///
/// ```
/// use instamp::in_flight::{Answer, InFlight};
/// let mut table = InFlight::new(1_000_000, 64);
/// let seq = table.sent(10, 0xfeed);
/// let probe = table.find(1).expect("it was sent");
/// assert_eq!((probe.seq, probe.sent_ns, probe.nonce), (seq, 10, 0xfeed));
/// assert_eq!(table.answered(seq), Some(Answer { duplicate: false, supersedes: false, late: false }));
/// assert_eq!(table.answered(seq), Some(Answer { duplicate: true, supersedes: false, late: false }));
/// assert_eq!(table.expire(2_000_000), None);
/// ```
#[derive(Debug)]
pub struct InFlight {
    /// The probe `seq` is in `slots[seq % slots.len()]`; the length is a power of two.
    slots: Box<[Slot]>,
    /// Of the next probe.
    next: u64,
    /// No probe before this one is waiting.
    oldest: u64,
    timeout_ns: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    sent_ns: u64,
    nonce: u64,
    answered: Answered,
    failed: bool,
    timed_out: bool,
}

impl Slot {
    fn is_waiting(&self) -> bool {
        self.answered == Answered::No && !self.failed && !self.timed_out
    }
}

/// The best answer to a probe so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
enum Answered {
    #[default]
    No,
    Truncated,
    Whole,
}

/// A probe that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentProbe {
    /// Its number.
    pub seq: u64,
    /// When it was sent, by the clock of the caller.
    pub sent_ns: u64,
    /// The nonce in its trailer.
    pub nonce: u64,
    /// It has been given up.
    pub timed_out: bool,
}

/// What the table knew of a probe when its answer arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// It had been answered before, by one that is at least as good.
    pub duplicate: bool,
    /// It had been answered before, but by truncated answers only: this one is whole and takes their place.
    pub supersedes: bool,
    /// It had been given up before.
    pub late: bool,
}

impl InFlight {
    /// A table for probes that are given up `timeout_ns` after they were sent, of which at most `probes` are under way at
    /// the same time: rounded up to a power of two, and down to 65,536, the number that messages can tell apart.
    pub fn new(timeout_ns: u64, probes: usize) -> Self {
        let length = probes.clamp(1, SEQUENCE_NUMBERS).next_power_of_two();
        Self { slots: vec![Slot::default(); length].into(), next: 1, oldest: 1, timeout_ns }
    }

    /// The number of the probe that is sent next.
    pub const fn next_seq(&self) -> u64 {
        self.next
    }

    /// Enters the next probe and returns its number. Call [`make_room`](Self::make_room) before: in a full table
    /// the oldest probe is forgotten without having been given up.
    pub fn sent(&mut self, sent_ns: u64, nonce: u64) -> u64 {
        let seq = self.next;
        *self.slot_mut(seq) = Slot { sent_ns, nonce, ..Slot::default() };
        self.next += 1;
        self.oldest = self.oldest.max(self.first_kept());
        seq
    }

    /// The latest probe with this sequence number on the wire, if the table still knows it.
    pub fn find(&self, sequence: u16) -> Option<SentProbe> {
        let latest = self.next.checked_sub(1)?;
        let back = wire_sequence(latest).wrapping_sub(sequence);
        let seq = latest.checked_sub(u64::from(back)).filter(|seq| self.knows(*seq))?;
        let Slot { sent_ns, nonce, timed_out, .. } = *self.slot(seq);
        Some(SentProbe { seq, sent_ns, nonce, timed_out })
    }

    /// Notes a whole answer; `None` where the table does not know the probe.
    pub fn answered(&mut self, seq: u64) -> Option<Answer> {
        self.note(seq, Answered::Whole)
    }

    /// Notes a truncated answer; `None` where the table does not know the probe.
    pub fn answered_truncated(&mut self, seq: u64) -> Option<Answer> {
        self.note(seq, Answered::Truncated)
    }

    fn note(&mut self, seq: u64, answered: Answered) -> Option<Answer> {
        if !self.knows(seq) {
            return None;
        }
        let slot = self.slot_mut(seq);
        let duplicate = slot.answered >= answered;
        let answer =
            Answer { duplicate, supersedes: !duplicate && slot.answered == Answered::Truncated, late: slot.timed_out };
        slot.answered = slot.answered.max(answered);
        Some(answer)
    }

    /// Notes that a probe has failed. Whether that is news: it was neither answered nor known to have failed.
    pub fn failed(&mut self, seq: u64) -> bool {
        if !self.knows(seq) {
            return false;
        }
        let slot = self.slot_mut(seq);
        let news = slot.answered == Answered::No && !slot.failed;
        slot.failed = true;
        news
    }

    /// When the next waiting probe is given up, or `None` if none is waiting.
    pub fn expires_ns(&mut self) -> Option<u64> {
        while self.oldest < self.next && !self.slot(self.oldest).is_waiting() {
            self.oldest += 1;
        }
        if self.oldest == self.next {
            return None;
        }
        Some(self.slot(self.oldest).sent_ns.saturating_add(self.timeout_ns))
    }

    /// Gives up the oldest waiting probe if its time is over at `now_ns`, and returns its number. Call it until it returns
    /// `None`.
    pub fn expire(&mut self, now_ns: u64) -> Option<u64> {
        self.expires_ns().filter(|expires_ns| *expires_ns <= now_ns)?;
        self.give_up()
    }

    /// Gives up the probe whose place the next one needs, if it is still waiting, and returns its number.
    pub fn make_room(&mut self) -> Option<u64> {
        let in_the_way = self.next.checked_sub(self.capacity())?;
        self.expires_ns()?;
        if self.oldest == in_the_way { self.give_up() } else { None }
    }

    /// Gives up the oldest waiting probe, whatever the time, and returns its number.
    pub fn give_up(&mut self) -> Option<u64> {
        self.expires_ns()?;
        let seq = self.oldest;
        self.slot_mut(seq).timed_out = true;
        self.oldest += 1;
        Some(seq)
    }

    /// How many probes the table remembers.
    pub(crate) fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    fn first_kept(&self) -> u64 {
        self.next.saturating_sub(self.capacity()).max(1)
    }

    fn knows(&self, seq: u64) -> bool {
        (self.first_kept()..self.next).contains(&seq)
    }

    fn slot(&self, seq: u64) -> &Slot {
        &self.slots[self.index(seq)]
    }

    fn slot_mut(&mut self, seq: u64) -> &mut Slot {
        &mut self.slots[self.index(seq)]
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the number of slots")]
    fn index(&self, seq: u64) -> usize {
        (seq % self.capacity()) as usize
    }
}

/// The sequence number of the probe `seq` on the wire.
#[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are what the wire carries")]
pub const fn wire_sequence(seq: u64) -> u16 {
    seq as u16
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn probes_are_given_up_in_order_and_once() {
        let mut table = InFlight::new(100, 8);
        for sent_ns in [10, 20, 30, 40] {
            table.sent(sent_ns, 0);
        }
        table.answered(1);
        assert!(table.failed(3));
        assert_eq!(table.expires_ns(), Some(120));
        assert_eq!(table.expire(119), None);
        assert_eq!(table.expire(500), Some(2));
        assert_eq!(table.expire(500), Some(4));
        assert_eq!((table.expire(500), table.expires_ns()), (None, None));
    }

    #[test]
    fn a_full_table_gives_up_the_oldest() {
        let mut table = InFlight::new(100, 4);
        for sent_ns in 0..4 {
            assert_eq!(table.make_room(), None);
            table.sent(sent_ns, 0);
        }
        table.answered(2);
        assert_eq!(table.make_room(), Some(1));
        assert_eq!(table.make_room(), None);
        table.sent(4, 0);
        assert_eq!(table.make_room(), None, "2 has been answered");
        table.sent(5, 0);
        assert_eq!((table.find(1), table.find(2)), (None, None));
        assert_eq!(table.find(3).map(|probe| probe.seq), Some(3));
        assert_eq!((table.answered(2), table.failed(2)), (None, false));
    }

    #[test]
    fn news_of_failure_is_news_once() {
        let mut table = InFlight::new(100, 8);
        for _ in 0..3 {
            table.sent(0, 0);
        }
        table.answered(1);
        assert_eq!([table.failed(1), table.failed(2), table.failed(2), table.failed(9)], [false, true, false, false]);
        // A late one is: the timeout has not told why.
        assert_eq!(table.expire(100), Some(3));
        assert!(table.failed(3));
    }

    #[test]
    fn a_whole_answer_takes_the_place_of_truncated_ones() {
        let mut table = InFlight::new(100, 8);
        let seq = table.sent(0, 0);
        let answer = |duplicate, supersedes| Some(Answer { duplicate, supersedes, late: false });
        assert_eq!(table.answered_truncated(seq), answer(false, false));
        assert_eq!(table.answered_truncated(seq), answer(true, false));
        assert_eq!(table.expires_ns(), None, "it is an answer");
        assert!(!table.failed(seq));
        assert_eq!(table.answered(seq), answer(false, true));
        assert_eq!(table.answered(seq), answer(true, false));
        assert_eq!(table.answered_truncated(seq), answer(true, false));
        assert_eq!(table.answered_truncated(9), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send,
        Wait(u64),
        /// An answer with the wire's number of the probe that was sent so many probes ago.
        Answer(u64),
        /// A truncated one.
        Truncated(u64),
        Fail(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Send),
            1 => (0_u64..60).prop_map(Step::Wait),
            3 => (0_u64..24).prop_map(Step::Answer),
            1 => (0_u64..24).prop_map(Step::Truncated),
            1 => (0_u64..24).prop_map(Step::Fail),
        ]
    }

    #[derive(Default)]
    struct Fate {
        sent_ns: u64,
        whole: u32,
        truncated: u32,
        failures: u32,
        timeouts: u32,
    }

    impl Fate {
        /// What is known of it beside a timeout.
        fn tidings(&self) -> u32 {
            self.whole + self.truncated + self.failures
        }
    }

    proptest! {
        /// Against a map that forgets nothing. Numbers wrap on the wire in the middle of it.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec(step(), 0..200), start in 65_500_u64..65_540) {
            const TIMEOUT_NS: u64 = 100;
            const CAPACITY: u64 = 16;
            let mut table = InFlight { next: start, oldest: start, ..InFlight::new(TIMEOUT_NS, 16) };
            let mut map = BTreeMap::<u64, Fate>::new();
            let mut now_ns = 0;
            for step in steps {
                match step {
                    Step::Send => {
                        if let Some(seq) = table.make_room() {
                            map.get_mut(&seq).expect("sent").timeouts += 1;
                        }
                        map.insert(table.sent(now_ns, now_ns), Fate { sent_ns: now_ns, ..Fate::default() });
                    }
                    Step::Wait(ns) => {
                        now_ns += ns;
                        while let Some(seq) = table.expire(now_ns) {
                            let fate = map.get_mut(&seq).expect("sent");
                            fate.timeouts += 1;
                            prop_assert!(fate.sent_ns + TIMEOUT_NS <= now_ns && fate.tidings() == 0);
                        }
                    }
                    Step::Answer(ago) | Step::Truncated(ago) | Step::Fail(ago) => {
                        let seq = table.next_seq() - 1 - ago;
                        if seq < start {
                            continue;
                        }
                        let found = table.find(wire_sequence(seq)).filter(|probe| probe.seq == seq);
                        prop_assert_eq!(found.is_some(), ago < CAPACITY);
                        let Some(probe) = found else { continue };
                        let fate = map.get_mut(&seq).expect("sent");
                        prop_assert_eq!((probe.sent_ns, probe.timed_out), (fate.sent_ns, fate.timeouts > 0));
                        let late = fate.timeouts > 0;
                        if matches!(step, Step::Fail(_)) {
                            prop_assert_eq!(table.failed(seq), fate.tidings() == 0);
                            fate.failures += 1;
                        } else if matches!(step, Step::Truncated(_)) {
                            let duplicate = fate.whole + fate.truncated > 0;
                            let expected = Answer { duplicate, supersedes: false, late };
                            prop_assert_eq!(table.answered_truncated(seq), Some(expected));
                            fate.truncated += 1;
                        } else {
                            let duplicate = fate.whole > 0;
                            let expected = Answer { duplicate, supersedes: !duplicate && fate.truncated > 0, late };
                            prop_assert_eq!(table.answered(seq), Some(expected));
                            fate.whole += 1;
                        }
                    }
                }
            }
            while let Some(seq) = table.give_up() {
                map.get_mut(&seq).expect("sent").timeouts += 1;
            }
            // Nothing is told twice, and nothing is left out.
            prop_assert!(map.values().all(|fate| fate.timeouts <= 1 && fate.timeouts + fate.tidings() > 0));
        }
    }
}
