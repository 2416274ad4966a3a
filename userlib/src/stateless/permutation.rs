//! An order that looks random, without a table of it.

use super::mix::{STEP, mixed, spread};

/// With so many, and were [`mixed`] random, the order could not be told from a random one (Luby and Rackoff).
const ROUNDS: usize = 4;

/// The numbers below a length in an order that a key gives: what is where is computed, both ways, and nothing is kept.
///
/// A number is taken as two digits, the lower one of half as many bits as the largest number has, and both change in turn by what the
/// other comes to under a key of the turn (a Feistel network). What is not below the length then goes through once more: that is
/// fewer than one of as many numbers as the lower digit has values.
///
/// The order spreads the load and keeps neighbours apart. It is no secret: who sees some of it may find the key.
///
/// ```
/// use instamp::stateless::Permutation;
/// let order = Permutation::new(1_000, [1, 2]);
/// let mut seen: Vec<u64> = (0..1_000).map(|index| order.at(index)).collect();
/// assert_eq!(order.index_of(seen[7]), 7);
/// seen.sort_unstable();
/// assert!(seen.into_iter().eq(0..1_000));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    length: u64,
    low_bits: u32,
    low_mask: u64,
    /// How many values the upper digit has: at most 2^32.
    highs: u64,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// Of the numbers from 0 to `length - 1`.
    pub const fn new(length: u64, key: [u64; 2]) -> Self {
        let last = length.saturating_sub(1);
        let low_bits = (u64::BITS - last.leading_zeros()) / 2;
        Self { length, low_bits, low_mask: (1 << low_bits) - 1, highs: (last >> low_bits) + 1, keys: keys(key) }
    }

    /// How many numbers there are.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The number at `index`.
    ///
    /// # Panics
    ///
    /// Where `index` is not below the length.
    pub fn at(&self, index: u64) -> u64 {
        self.walk(index, Self::forward)
    }

    /// Where a number is: the inverse of [`at`](Self::at).
    ///
    /// # Panics
    ///
    /// Where `number` is not below the length.
    pub fn index_of(&self, number: u64) -> u64 {
        self.walk(number, Self::backward)
    }

    /// Steps on until it is among the numbers again, at the latest where it began.
    fn walk(&self, from: u64, step: impl Fn(&Self, u64) -> u64) -> u64 {
        assert!(from < self.length, "{from} is not below {}", self.length);
        let mut number = step(self, from);
        while number >= self.length {
            number = step(self, number);
        }
        number
    }

    fn forward(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        for [first, second] in self.keys.as_chunks().0 {
            let sum = high + self.below_highs(low, *first);
            // The one of the two that has not wrapped.
            high = sum.min(sum.wrapping_sub(self.highs));
            low ^= mixed(high, *second) & self.low_mask;
        }
        high << self.low_bits | low
    }

    fn backward(&self, number: u64) -> u64 {
        let (mut high, mut low) = (number >> self.low_bits, number & self.low_mask);
        for [first, second] in self.keys.as_chunks().0.iter().rev() {
            low ^= mixed(high, *second) & self.low_mask;
            let difference = high.wrapping_sub(self.below_highs(low, *first));
            high = difference.min(difference.wrapping_add(self.highs));
        }
        high << self.low_bits | low
    }

    /// A value of the upper digit.
    fn below_highs(&self, low: u64, key: u64) -> u64 {
        (mixed(low, key) * self.highs) >> 32
    }
}

const fn keys([first, second]: [u64; 2]) -> [u64; ROUNDS] {
    let mut keys = [0; ROUNDS];
    let mut state = first;
    let mut round = 0;
    while round < ROUNDS {
        state = state.wrapping_add(STEP);
        keys[round] = spread(state) ^ second;
        round += 1;
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn order(length: u64, key: [u64; 2]) -> Vec<u64> {
        let permutation = Permutation::new(length, key);
        (0..length).map(|index| permutation.at(index)).collect()
    }

    #[test]
    fn the_shortest() {
        assert_eq!(order(0, [1, 2]), []);
        assert_eq!(order(1, [1, 2]), [0]);
        for (length, orders) in [(2, 2), (3, 6), (4, 24)] {
            let found: HashSet<Vec<u64>> = (0..2_000).map(|key| order(length, [key, !key])).collect();
            assert_eq!(found.len(), orders, "all orders of {length} numbers are found");
        }
    }

    #[test]
    fn each_number_comes_once() {
        for length in [5, 7, 8, 9, 31, 32, 33, 127, 251, 256, 257, 1_021, 65_535, 65_536, 65_537, 100_003] {
            let mut all = order(length, [length, 7]);
            all.sort_unstable();
            assert!(all.into_iter().eq(0..length), "{length}");
        }
    }

    #[test]
    fn the_longest() {
        for length in [(1 << 48) - 1, 1 << 48, (1 << 48) + 1, 1 << 63, (1 << 63) + 1, u64::MAX] {
            let permutation = Permutation::new(length, [3, 4]);
            for index in [0, 1, length / 2, length - 1] {
                let number = permutation.at(index);
                assert!(number < length);
                assert_eq!(permutation.index_of(number), index);
            }
        }
    }

    #[test]
    #[should_panic(expected = "7 is not below 7")]
    fn beyond_the_end_is_nothing() {
        Permutation::new(7, [1, 2]).at(7);
    }

    /// The chi-squared statistic of counts that should be equal, less its mean, in standard deviations.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn deviation(counts: &[u64]) -> f64 {
        let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        let statistic: f64 = counts.iter().map(|count| (*count as f64 - mean).powi(2) / mean).sum();
        let freedom = (counts.len() - 1) as f64;
        (statistic - freedom) / (2.0 * freedom).sqrt()
    }

    #[test]
    fn a_number_is_anywhere_with_equal_chances() {
        for length in [3_usize, 16, 100, 257] {
            for index in [0, 1, length / 2, length - 1] {
                let mut counts = vec![0; length];
                for key in 0..200 * length as u64 {
                    let number = Permutation::new(length as u64, [key, 5]).at(index as u64);
                    counts[usize::try_from(number).expect("short")] += 1;
                }
                assert!(deviation(&counts) < 5.0, "{length} {index}: {}", deviation(&counts));
            }
        }
    }

    /// What follows a number is anywhere, too: neighbours do not stay together, nor at one distance.
    #[test]
    fn successors_are_anywhere() {
        const LENGTH: u64 = 1_000_003;
        for key in 0..8 {
            let permutation = Permutation::new(LENGTH, [key, key]);
            let mut distances = [0; 256];
            for index in 0..100_000 {
                let distance = (permutation.at(index + 1) + LENGTH - permutation.at(index)) % LENGTH;
                distances[usize::try_from(distance * 256 / LENGTH).expect("short")] += 1;
            }
            assert!(deviation(&distances).abs() < 5.0, "{key}: {}", deviation(&distances));
        }
    }

    proptest! {
        #[test]
        fn it_goes_both_ways(length in 1_u64.., place: u64, key: [u64; 2]) {
            let permutation = Permutation::new(length, key);
            let index = place % length;
            prop_assert_eq!(permutation.index_of(permutation.at(index)), index);
            prop_assert_eq!(permutation.at(permutation.index_of(index)), index);
        }

        #[test]
        fn it_is_one_of_few_numbers_too(length in 1_u64..600, key: [u64; 2]) {
            let distinct: HashSet<u64> = order(length, key).into_iter().collect();
            prop_assert_eq!(distinct.len() as u64, length);
        }

        #[test]
        fn keys_give_orders_of_their_own(length in 64_u64..1 << 48, key: [u64; 2], bit in 0_u32..128) {
            let mut other = key;
            other[usize::from(bit >= 64)] ^= 1 << (bit % 64);
            let [one, other] = [key, other].map(|key| Permutation::new(length, key));
            let same = (0..64).filter(|index| one.at(*index) == other.at(*index)).count();
            prop_assert!(same < 16, "{} of 64", same);
        }
    }
}
