//! The MAC addresses of next hops: what is known of them, asked for, and not to be had. A bounded table.

use std::{collections::HashMap, net::IpAddr, time::Duration};

/// A MAC address.
pub(super) type Mac = [u8; 6];

/// The most next hops that are remembered. What is evicted is asked for again when it is needed.
const CAPACITY: usize = 4096;

/// The most questions under way. The kernel's own table has room for 1024 neighbours, unless told otherwise, and says so
/// in its log where that is not enough.
const MAX_ASKED: usize = 256;

/// How often the kernel is made to confirm a next hop that is in use: what bypasses its stack confirms nothing.
const CONFIRM: Duration = Duration::from_secs(5);

/// After which a question counts as lost. The kernel gives up after three seconds, unless told otherwise.
const LOST: Duration = Duration::from_secs(10);

/// What a gateway soon has, and targets that are used once or twice never do.
const MOST_USES: u8 = 7;

/// What is known of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Knowledge {
    Nothing,
    /// The kernel is asking for it.
    Asked,
    /// `fixed` ones are never to be confirmed: the question itself would make the kernel forget that they are.
    Known {
        mac: Mac,
        fixed: bool,
    },
    /// It did not answer.
    Failed,
}

/// A question to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) next_hop: IpAddr,
    /// The kernel has an entry of it, as far as known.
    pub(super) again: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    next_hop: IpAddr,
    knowledge: Knowledge,
    asked_at: Duration,
    /// Since it was last asked for.
    used: bool,
    /// Up to [`MOST_USES`], less one for each time that the search for room passed by.
    uses: u8,
}

impl Entry {
    fn touch(&mut self) {
        self.used = true;
        self.uses = MOST_USES.min(self.uses + 1);
    }
}

/// Next hops by address.
#[derive(Default, Debug)]
pub(super) struct Neighbours {
    entries: Vec<Entry>,
    index: HashMap<IpAddr, usize>,
    /// Where the search for room goes on.
    hand: usize,
    asked: usize,
    /// To be put to the kernel.
    questions: Vec<Question>,
}

impl Neighbours {
    /// What is known of a next hop that is about to be used, and its place, for [`use_again`](Self::use_again). What is not
    /// known is asked for at `now`.
    pub(super) fn find(&mut self, next_hop: IpAddr, now: Duration) -> (Knowledge, usize) {
        let place = match self.index.get(&next_hop) {
            Some(place) => *place,
            None => self.make_room(next_hop),
        };
        let Some(entry) = self.entries.get_mut(place) else { return (Knowledge::Nothing, place) };
        entry.touch();
        // That it did not answer when another has asked says little of now.
        let failed_others = entry.knowledge == Knowledge::Failed && entry.asked_at.is_zero();
        if (entry.knowledge == Knowledge::Nothing || failed_others) && self.asked < MAX_ASKED {
            entry.knowledge = Knowledge::Asked;
            entry.asked_at = now;
            self.asked += 1;
            self.questions.push(Question { next_hop, again: failed_others });
        }
        (entry.knowledge, place)
    }

    /// The next hop that was found at `place` is used again: whether it is still there.
    pub(super) fn use_again(&mut self, next_hop: IpAddr, place: usize) -> bool {
        match self.entries.get_mut(place) {
            Some(entry) if entry.next_hop == next_hop => {
                entry.touch();
                true
            }
            _ => false,
        }
    }

    /// The kernel tells of a neighbour. Whether that changes anything.
    pub(super) fn tell(&mut self, next_hop: IpAddr, knowledge: Knowledge) -> bool {
        let place = match self.index.get(&next_hop) {
            Some(place) => *place,
            None if knowledge == Knowledge::Nothing || self.entries.len() >= CAPACITY => return false,
            None => self.make_room(next_hop),
        };
        let Some(entry) = self.entries.get_mut(place) else { return false };
        let knowledge = match (entry.knowledge, knowledge) {
            // Asked for once more.
            (Knowledge::Failed, Knowledge::Asked) => Knowledge::Failed,
            (_, told) => told,
        };
        let before = std::mem::replace(&mut entry.knowledge, knowledge);
        self.asked -= usize::from(before == Knowledge::Asked);
        self.asked += usize::from(knowledge == Knowledge::Asked);
        before != knowledge
    }

    /// Everything is about to be told again.
    pub(super) fn forget_all(&mut self) {
        for entry in &mut self.entries {
            entry.knowledge = Knowledge::Nothing;
        }
        self.asked = 0;
    }

    /// Asks at `now` for those in use of which the last confirmation is old, and for failed ones that are still wanted.
    pub(super) fn refresh(&mut self, now: Duration) {
        for entry in &mut self.entries {
            let age = now.saturating_sub(entry.asked_at);
            match entry.knowledge {
                Knowledge::Known { fixed: false, .. } | Knowledge::Failed if entry.used && age >= CONFIRM => {
                    entry.used = false;
                    entry.asked_at = now;
                    self.questions.push(Question { next_hop: entry.next_hop, again: true });
                }
                Knowledge::Asked if age >= LOST => {
                    entry.knowledge = Knowledge::Nothing;
                    self.asked -= 1;
                }
                Knowledge::Nothing | Knowledge::Asked | Knowledge::Known { .. } | Knowledge::Failed => {}
            }
        }
    }

    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    pub(super) fn next_question(&mut self) -> Option<Question> {
        self.questions.pop()
    }

    /// A place for a next hop that has none: a new one, or that of one that has not been used for long.
    fn make_room(&mut self, next_hop: IpAddr) -> usize {
        let entry = Entry { next_hop, knowledge: Knowledge::Nothing, asked_at: Duration::ZERO, used: false, uses: 0 };
        let place = if self.entries.len() < CAPACITY {
            self.entries.push(entry);
            self.entries.len() - 1
        } else {
            self.evict(entry)
        };
        self.index.insert(next_hop, place);
        place
    }

    fn evict(&mut self, newcomer: Entry) -> usize {
        let place = self.least_missed();
        if let Some(entry) = self.entries.get_mut(place) {
            let evicted = std::mem::replace(entry, newcomer);
            self.asked -= usize::from(evicted.knowledge == Knowledge::Asked);
            self.index.remove(&evicted.next_hop);
        }
        place
    }

    /// One that is little used, and not being asked for.
    fn least_missed(&mut self) -> usize {
        for _ in 0..(usize::from(MOST_USES) + 1) * self.entries.len() {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            if let Some(entry) = self.entries.get_mut(place)
                && entry.knowledge != Knowledge::Asked
            {
                match entry.uses.checked_sub(1) {
                    Some(uses) => entry.uses = uses,
                    None => return place,
                }
            }
        }
        self.hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const NOW: Duration = Duration::from_secs(100);
    const KNOWN: Knowledge = Knowledge::Known { mac: [2; 6], fixed: false };

    fn hop(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).expect("a small number")).into()
    }

    fn questions(neighbours: &mut Neighbours) -> Vec<Question> {
        std::iter::from_fn(|| neighbours.next_question()).collect()
    }

    #[test]
    fn asks_once_and_learns() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.find(hop(1), NOW).0, Knowledge::Asked);
        assert_eq!(neighbours.find(hop(1), NOW).0, Knowledge::Asked);
        assert_eq!(questions(&mut neighbours), [Question { next_hop: hop(1), again: false }]);
        assert!(neighbours.tell(hop(1), KNOWN));
        assert!(!neighbours.tell(hop(1), KNOWN));
        assert_eq!(neighbours.find(hop(1), NOW).0, KNOWN);
        assert!(neighbours.tell(hop(1), Knowledge::Failed));
        assert_eq!(neighbours.find(hop(1), NOW).0, Knowledge::Failed);
        assert!(neighbours.tell(hop(1), Knowledge::Nothing));
        assert_eq!(neighbours.find(hop(1), NOW).0, Knowledge::Asked);
        assert_eq!(questions(&mut neighbours).len(), 1);
    }

    #[test]
    fn confirms_what_is_used_and_not_fixed() {
        let mut neighbours = Neighbours::default();
        let fixed = Knowledge::Known { mac: [4; 6], fixed: true };
        for (number, knowledge) in [(1, KNOWN), (2, KNOWN), (3, fixed), (4, Knowledge::Failed)] {
            neighbours.tell(hop(number), knowledge);
        }
        for number in [1, 3, 4] {
            neighbours.find(hop(number), NOW);
        }
        neighbours.refresh(NOW);
        let mut asked = questions(&mut neighbours);
        asked.sort_by_key(|question| question.next_hop);
        assert_eq!(asked, [1, 4].map(|number| Question { next_hop: hop(number), again: true }));
        // Neither in use since, nor long enough ago.
        neighbours.refresh(NOW + CONFIRM);
        assert_eq!(questions(&mut neighbours), []);
        let (_, place) = neighbours.find(hop(1), NOW + CONFIRM);
        assert!(neighbours.use_again(hop(1), place));
        assert!(!neighbours.use_again(hop(2), place));
        neighbours.refresh(NOW + CONFIRM / 2);
        assert_eq!(questions(&mut neighbours), []);
        neighbours.refresh(NOW + CONFIRM);
        assert_eq!(questions(&mut neighbours).len(), 1);
    }

    #[test]
    fn few_questions_are_under_way_and_lost_ones_are_asked_again() {
        let mut neighbours = Neighbours::default();
        for number in 0..2 * MAX_ASKED {
            neighbours.find(hop(number), NOW);
        }
        assert_eq!(questions(&mut neighbours).len(), MAX_ASKED);
        neighbours.refresh(NOW + LOST);
        for number in 0..2 * MAX_ASKED {
            neighbours.find(hop(number), NOW + LOST);
        }
        assert_eq!(questions(&mut neighbours).len(), MAX_ASKED);
    }

    #[test]
    fn is_bounded_and_keeps_what_is_used() {
        let mut neighbours = Neighbours::default();
        neighbours.tell(hop(0), KNOWN);
        for number in 1..3 * CAPACITY {
            neighbours.find(hop(0), NOW);
            neighbours.find(hop(number), NOW);
            neighbours.tell(hop(number), KNOWN);
        }
        assert_eq!(neighbours.entries.len(), CAPACITY);
        assert_eq!(neighbours.index.len(), CAPACITY);
        assert_eq!(neighbours.find(hop(0), NOW).0, KNOWN);
        for (next_hop, place) in &neighbours.index {
            assert_eq!(neighbours.entries[*place].next_hop, *next_hop);
        }
        // The kernel's news of strangers evict nobody.
        assert!(!neighbours.tell(hop(9 * CAPACITY), KNOWN));
    }
}
