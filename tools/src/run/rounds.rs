//! Which request of a target is how manieth: fping prints that, and not the sequence number of the packet.
//!
//! fping sends to its targets in turn, one request each in a round, and numbers all of them from 0 on ([seqmap.c]), also those that
//! get lost. Of `t` targets the request with the sequence number `s` is so of round `s / t`. How many targets there are only fping
//! knows. But the numbers of one target lie whole rounds apart.
//!
//! [seqmap.c]: https://github.com/schweikert/fping/blob/v5.1/src/seqmap.c

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// `SEQMAP_MAXSEQ`: behind so many numbers fping begins anew.
const NUMBERS: u64 = 65_535;

/// As many lines are remembered at most.
const REMEMBERED: usize = 65_536;

/// What sequence numbers tell of the rounds.
#[derive(Default)]
pub(super) struct Rounds {
    /// The rounds of which lines have told, by target.
    told: HashSet<(IpAddr, u32)>,
    /// Targets that fping was given more than once: it has a turn for each time, and counts each for itself.
    repeated: HashSet<IpAddr>,
    /// The greatest number so far, counted on beyond [`NUMBERS`].
    latest: u64,
    /// A number of each target.
    known: HashMap<IpAddr, u64>,
    /// What all distances between numbers of the same target are multiples of; 0 where there is none.
    distance: u64,
}

impl Rounds {
    /// Adds a request that was answered.
    pub(super) fn add(&mut self, target: IpAddr, sequence: u16) {
        let number = self.number(sequence);
        self.latest = self.latest.max(number);
        let known = *self.known.entry(target).or_insert(number);
        self.distance = greatest_common_divisor(self.distance, number.abs_diff(known));
    }

    /// Adds a line, and says whether its target is one of several of the same address: nobody can tell then which of them it is.
    pub(super) fn is_repeated(&mut self, target: IpAddr, round: u32) -> bool {
        if self.told.len() == REMEMBERED {
            // Its next lines tell it again.
            self.told.clear();
        }
        if !self.told.insert((target, round)) {
            self.repeated.insert(target);
        }
        self.repeated.contains(&target)
    }

    /// Whether a request can be of this round, as far as is known how many targets there are.
    pub(super) fn can_be_of(&self, round: u32, sequence: u16) -> bool {
        let (number, round) = (self.number(sequence), u64::from(round));
        // Every target has had its turn in each round: with more of them it would be an earlier one.
        let most = number.checked_div(round).unwrap_or(u64::MAX);
        let least = (number / (round + 1) + 1).max(u64::try_from(self.known.len()).unwrap_or(u64::MAX));
        match self.distance {
            0 => least <= most,
            distance => (least..=most.min(distance)).any(|targets| distance.is_multiple_of(targets)),
        }
    }

    /// A sequence number, counted on: it is one of those around the latest.
    fn number(&self, sequence: u16) -> u64 {
        let (sequence, turn) = (u64::from(sequence), self.latest / NUMBERS);
        let turns = [turn.saturating_sub(1), turn, turn + 1];
        let numbers = turns.map(|turn| turn * NUMBERS + sequence);
        numbers.into_iter().min_by_key(|number| number.abs_diff(self.latest)).unwrap_or(sequence)
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    /// Those of these numbers that can be of a round.
    fn of(rounds: &Rounds, round: u32, sequences: &[u16]) -> Vec<u16> {
        sequences.iter().copied().filter(|sequence| rounds.can_be_of(round, *sequence)).collect()
    }

    #[test]
    fn of_one_target_the_number_is_the_round() {
        let mut rounds = Rounds::default();
        for sequence in [0, 1, 2, 4] {
            rounds.add(target(1), sequence);
        }
        for round in [0, 1, 2, 4] {
            assert_eq!(of(&rounds, round.into(), &[0, 1, 2, 4]), [round]);
        }
        assert_eq!(of(&rounds, 3, &[0, 1, 2, 4]), [0; 0]);
    }

    #[test]
    fn of_several_targets_it_is_a_part_of_it() {
        let mut rounds = Rounds::default();
        // The second of three does not answer.
        for (number, sequence) in [(1, 0), (3, 2), (1, 3), (3, 5), (1, 6), (3, 8)] {
            rounds.add(target(number), sequence);
        }
        assert_eq!(of(&rounds, 0, &[2, 5, 8]), [2]);
        assert_eq!(of(&rounds, 1, &[2, 5, 8]), [5]);
        assert_eq!(of(&rounds, 2, &[2, 5, 8]), [8]);
    }

    #[test]
    fn what_may_be_of_several_rounds_is_not_decided() {
        let mut rounds = Rounds::default();
        // One target of which each second request is lost, or one of two.
        for sequence in [0, 2, 4] {
            rounds.add(target(1), sequence);
        }
        assert_eq!(of(&rounds, 2, &[0, 2, 4]), [2, 4]);
        // Any other, of which the distance says less, has to be one of two.
        rounds.add(target(2), 1);
        assert_eq!(of(&rounds, 2, &[0, 2, 4]), [4]);
    }

    #[test]
    fn a_target_of_which_a_round_is_told_twice_is_given_twice() {
        let mut rounds = Rounds::default();
        assert!(!rounds.is_repeated(target(1), 0));
        assert!(!rounds.is_repeated(target(2), 0));
        assert!(!rounds.is_repeated(target(1), 1));
        assert!(rounds.is_repeated(target(1), 1));
        assert!(rounds.is_repeated(target(1), 2));
        assert!(!rounds.is_repeated(target(2), 2));
    }

    #[test]
    fn numbers_begin_anew() {
        let mut rounds = Rounds::default();
        for sequence in (0..65_535).chain([0, 1]) {
            rounds.add(target(1), sequence);
        }
        assert_eq!(of(&rounds, 65_535, &[0, 1, 65_534]), [0]);
        assert_eq!(of(&rounds, 65_534, &[0, 1, 65_534]), [65_534]);
    }
}
