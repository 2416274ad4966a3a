//! Which probes have been answered, of the latest ones.

use std::sync::atomic::{AtomicU64, Ordering};

/// The answers to the latest probes of a run, one bit each, for several threads at once. The memory is allocated once.
///
/// ```
/// use instamp::stateless::{Noted, Window};
/// let window = Window::new(1_000);
/// assert_eq!(window.note(7, 8), Noted::First);
/// assert_eq!(window.note(7, 900), Noted::Again);
/// assert_eq!(window.note(7, 1_000_000), Noted::TooOld);
/// ```
#[derive(Debug)]
pub struct Window {
    words: Box<[AtomicU64]>,
    /// The number of words is 2 to the power of this.
    order: u32,
}

/// What an answer is to its probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noted {
    /// The first that was noted.
    First,
    /// Not the first.
    Again,
    /// That is not known any more.
    TooOld,
}

/// A word holds the bits of so many probes, and above them its turn.
const BITS: u64 = 32;

// Each word serves the probes whose numbers divided by BITS leave the word's index, one turn after another: in its upper half is
// the turn that its bits are of. Whoever comes first in a new turn puts that and its own bit in place of the old turn and all of
// its bits, in one exchange. So there is nothing to be cleared, and no moment at which a bit is of another turn than it says.
// Turns wrap after 2^32, and one that is less than 2^31 ahead is taken for later: no answer would have to come to any of 2^36
// probes, with the smallest window, before that were wrong.
//
// All that one thread tells another by a word is in that word, and exchanges of one word are in one order for all threads. So
// Relaxed is enough: no other memory has to be seen in any order.

impl Window {
    /// Knows of at least the latest `probes`, in 4 to 8 bytes for 16 of them.
    ///
    /// # Panics
    ///
    /// Where that is more than the memory's addresses.
    pub fn new(probes: u64) -> Self {
        let words = probes.saturating_add(BITS - 1).div_ceil(BITS).next_power_of_two();
        let words = usize::try_from(words).expect("a window smaller than the address space");
        Self { words: (0..words).map(|_| AtomicU64::new(0)).collect(), order: words.ilog2() }
    }

    /// How many probes it knows of: one that has so many or more behind it is too old.
    pub fn length(&self) -> u64 {
        // All bits but those of the word that is in use and may be of the next turn, except for its last.
        self.words.len() as u64 * BITS - (BITS - 1)
    }

    /// Notes an answer to the probe `index`. `next` is above the number of every probe that was answered or may be, as far as the
    /// caller knows: threads may differ in it, and one that knows of later probes may make an earlier one too old for others.
    pub fn note(&self, index: u64, next: u64) -> Noted {
        if next.saturating_sub(index) > self.length() {
            return Noted::TooOld;
        }
        let word = (index / BITS) & (self.words.len() as u64 - 1);
        match usize::try_from(word).ok().and_then(|word| self.words.get(word)) {
            Some(word) => note(word, self.turn(index), 1 << (index % BITS)),
            None => Noted::TooOld,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "turns wrap")]
    fn turn(&self, index: u64) -> u32 {
        ((index / BITS) >> self.order) as u32
    }
}

/// Sets a bit of a word in this turn of it.
fn note(word: &impl Word, turn: u32, bit: u64) -> Noted {
    let mut held = word.load();
    loop {
        let (held_turn, held_bits) = ((held >> BITS) as u32, held & ((1 << BITS) - 1));
        let bits = match turn.wrapping_sub(held_turn).cast_signed() {
            0 => held_bits,
            1.. => 0,
            _ => return Noted::TooOld,
        };
        if bits & bit != 0 {
            return Noted::Again;
        }
        match word.exchange(held, u64::from(turn) << BITS | bits | bit) {
            Ok(()) => return Noted::First,
            Err(now) => held = now,
        }
    }
}

/// An atomic number, also the one of the model of threads.
trait Word {
    fn load(&self) -> u64;

    /// Replaces `held`. It may fail without a reason; then, as where something else is held, that is returned.
    fn exchange(&self, held: u64, new: u64) -> Result<(), u64>;
}

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn exchange(&self, held: u64, new: u64) -> Result<(), u64> {
        self.compare_exchange_weak(held, new, Ordering::Relaxed, Ordering::Relaxed).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_knows_of_what_was_asked_for() {
        for (probes, words) in [(0, 1), (1, 1), (2, 2), (33, 2), (34, 4), (1 << 22, 1 << 18)] {
            let window = Window::new(probes);
            assert_eq!(window.words.len(), words, "{probes}");
            assert!(window.length() >= probes, "{probes}");
        }
    }

    #[test]
    fn the_oldest_that_is_known_and_the_first_that_is_not() {
        let window = Window::new(33);
        assert_eq!(window.length(), 33);
        assert_eq!(window.note(0, 33), Noted::First);
        assert_eq!(window.note(0, 33), Noted::Again);
        assert_eq!(window.note(0, 34), Noted::TooOld);
        assert_eq!(window.note(32, 33), Noted::First);
        assert_eq!(window.note(1, 34), Noted::First);
        assert_eq!(window.note(64, 65), Noted::First, "in the place of 0 to 31");
        assert_eq!(window.note(1, 33), Noted::TooOld, "though its caller does not know yet");
        assert_eq!(window.note(32, 65), Noted::Again);
    }

    /// As a run leaves it that comes to probe `index`.
    fn in_use(probes: u64, index: u64) -> Window {
        let window = Window::new(probes);
        let before = u64::from(window.turn(index).wrapping_sub(1)) << BITS;
        window.words.iter().for_each(|word| word.store(before | 0xffff_ffff, Ordering::Relaxed));
        window
    }

    #[test]
    fn turns_wrap() {
        for index in [(1 << 36) - 1, 1 << 36, (1 << 37) - 1, 1 << 37, u64::MAX - 1] {
            let window = in_use(1, index);
            assert_eq!(window.note(index, index + 1), Noted::First, "{index}");
            assert_eq!(window.note(index, index + 1), Noted::Again, "{index}");
            assert_eq!(window.note(index - 32, index - 31), Noted::TooOld, "{index}");
        }
    }

    /// What is noted, by a set of all that ever was.
    struct Model(HashSet<u64>);

    impl Model {
        fn note(&mut self, window: &Window, index: u64, next: u64) -> Noted {
            if next - index > window.length() {
                return Noted::TooOld;
            }
            if self.0.insert(index) { Noted::First } else { Noted::Again }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_answered(
            probes in 0_u64..300,
            from in prop_oneof![Just(0), Just((1 << 37) - 300), 0_u64..1 << 48],
            steps in proptest::collection::vec((0_u64..40, 0_u64..400), 1..400),
        ) {
            let window = in_use(probes, from);
            let mut model = Model(HashSet::new());
            let mut next = from;
            for (sent, back) in steps {
                next += sent;
                if let Some(index) = next.checked_sub(1 + back).filter(|index| *index >= from) {
                    prop_assert_eq!(window.note(index, next), model.note(&window, index, next), "{} of {}", index, next);
                }
            }
        }
    }

    /// Threads that see the end of the run at different times, on a window that is much shorter than what they note: no answer is
    /// ever the first twice, and with one turn none is lost.
    #[test]
    fn threads_agree_on_who_was_first() {
        const THREADS: u64 = 4;
        for (probes, count) in [(100, 40_000_u64), (40_000, 40_000)] {
            let window = Window::new(probes);
            let firsts: Vec<u64> = thread::scope(|scope| {
                let note_all = |seed: u64| {
                    let window = &window;
                    move || {
                        let noted = (0..count).map(move |step| step ^ ((step / 7 + seed) % 16));
                        noted.filter(|index| window.note(*index, index + 1) == Noted::First).collect::<Vec<_>>()
                    }
                };
                let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(note_all(seed))).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
            });
            let distinct: HashSet<u64> = firsts.iter().copied().collect();
            assert_eq!(distinct.len(), firsts.len(), "some answer was the first twice");
            if probes >= count {
                assert_eq!(distinct.len() as u64, count);
            }
        }
    }

    impl Word for loom::sync::atomic::AtomicU64 {
        fn load(&self) -> u64 {
            self.load(Ordering::Relaxed)
        }

        fn exchange(&self, held: u64, new: u64) -> Result<(), u64> {
            self.compare_exchange_weak(held, new, Ordering::Relaxed, Ordering::Relaxed).map(drop)
        }
    }

    /// What threads find that each note these one after another, in every order in which they can meet at the word.
    fn in_every_order(notes: &'static [&'static [(u32, u64)]], check: impl Fn(&[Vec<Noted>]) + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        // Enough for each to come between the load and the exchange of the other, twice.
        model.preemption_bound = Some(4);
        model.check(move || {
            let word = loom::sync::Arc::new(loom::sync::atomic::AtomicU64::new(0));
            let threads: Vec<_> = notes
                .iter()
                .map(|notes| {
                    let word = loom::sync::Arc::clone(&word);
                    loom::thread::spawn(move || notes.iter().map(|(turn, bit)| note(&*word, *turn, *bit)).collect())
                })
                .collect();
            let found: Vec<Vec<Noted>> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
            check(&found);
        });
    }

    #[test]
    fn one_of_two_is_the_first() {
        in_every_order(&[&[(0, 1), (0, 2)], &[(0, 2), (0, 1)]], |found| {
            for (one, other) in [(found[0][0], found[1][1]), (found[0][1], found[1][0])] {
                assert!(
                    matches!((one, other), (Noted::First, Noted::Again) | (Noted::Again, Noted::First)),
                    "{found:?}"
                );
            }
        });
    }

    #[test]
    fn a_new_turn_clears_and_takes_nothing_away() {
        in_every_order(&[&[(0, 1), (1, 2)], &[(1, 1), (0, 1)]], |found| {
            let (old, other_old) = (found[0][0], found[1][1]);
            assert_eq!((found[0][1], found[1][0]), (Noted::First, Noted::First), "{found:?}");
            assert_eq!(other_old, Noted::TooOld, "{found:?}");
            assert_ne!(old, Noted::Again, "{found:?}");
        });
        in_every_order(&[&[(0, 1)], &[(1, 1)], &[(1, 1)]], |found| {
            let (new, other_new) = (found[1][0], found[2][0]);
            assert!(
                matches!((new, other_new), (Noted::First, Noted::Again) | (Noted::Again, Noted::First)),
                "{found:?}"
            );
        });
    }
}
