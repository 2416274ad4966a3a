//! Which probes are under way: a table that is told what was sent and received, and when, and does nothing itself.

/// How many probes the 16-bit sequence number of an echo message tells apart.
const SEQUENCE_NUMBERS: usize = 1 << 16;

/// The probes of a run that may still be answered, the latest few of those that were answered or given up, and what became
/// of each. The memory is allocated once.
///
/// Probes are numbered from 1 without wrapping; a message carries the lower 16 bits.
///
/// ```
/// use instamp::in_flight::{Answer, InFlight};
/// let mut table = InFlight::new(1_000_000, 64);
/// let seq = table.sent(10, 0xfeed);
/// let probe = table.find(1).expect("it was sent");
/// assert_eq!((probe.seq, probe.sent_ns, probe.nonce), (seq, 10, 0xfeed));
/// assert_eq!(table.answered(seq), Some(Answer { duplicate: false, late: false }));
/// assert_eq!(table.answered(seq), Some(Answer { duplicate: true, late: false }));
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
    answered: bool,
    failed: bool,
    timed_out: bool,
}

impl Slot {
    const fn is_waiting(&self) -> bool {
        !self.answered && !self.failed && !self.timed_out
    }
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
    /// It had been answered before.
    pub duplicate: bool,
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

    /// Notes an answer; `None` where the table does not know the probe.
    pub fn answered(&mut self, seq: u64) -> Option<Answer> {
        if !self.knows(seq) {
            return None;
        }
        let slot = self.slot_mut(seq);
        let answer = Answer { duplicate: slot.answered, late: slot.timed_out };
        slot.answered = true;
        Some(answer)
    }

    /// Notes that a probe has failed. Whether that is news: it was neither answered nor known to have failed.
    pub fn failed(&mut self, seq: u64) -> bool {
        if !self.knows(seq) {
            return false;
        }
        let slot = self.slot_mut(seq);
        let news = !slot.answered && !slot.failed;
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

    fn capacity(&self) -> u64 {
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
