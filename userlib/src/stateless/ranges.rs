//! Sets of numbers as ranges.

/// The numbers from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Range {
    pub(super) first: u128,
    pub(super) last: u128,
}

/// Sorted, with a number between each two that is in neither.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// All numbers that are in any of these.
    pub(super) fn merge(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The numbers that are not in `others`.
    pub(super) fn without(&self, others: &Self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len());
        let mut others = others.0.iter().peekable();
        for range in &self.0 {
            // Where what is left of the range begins, if anything is.
            let mut first = Some(range.first);
            while let (Some(from), Some(other)) = (first, others.peek().filter(|other| other.first <= range.last)) {
                if other.first > from {
                    rest.push(Range { first: from, last: other.first - 1 });
                }
                if other.last >= range.last {
                    first = None;
                    // It may reach into the next range.
                    break;
                }
                first = Some(from.max(other.last + 1));
                others.next();
            }
            rest.extend(first.map(|first| Range { first, last: range.last }));
        }
        Self(rest)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Range> {
        self.0.iter().copied()
    }

    /// How many numbers there are; the largest number that there is where there are more.
    pub(super) fn count(&self) -> u128 {
        self.iter().map(|range| (range.last - range.first).saturating_add(1)).fold(0, u128::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some() -> impl Strategy<Value = Vec<Range>> {
        let range = (0..200_u128, 0..12_u128).prop_map(|(first, more)| Range { first, last: first + more });
        proptest::collection::vec(range, 0..24)
    }

    fn set(ranges: impl IntoIterator<Item = Range>) -> BTreeSet<u128> {
        ranges.into_iter().flat_map(|range| range.first..=range.last).collect()
    }

    proptest! {
        #[test]
        fn they_are_the_set_that_they_stand_for(with in some(), without in some()) {
            let expected = &set(with.clone()) - &set(without.clone());
            let found = Ranges::merge(with).without(&Ranges::merge(without));
            prop_assert_eq!(found.count(), expected.len() as u128);
            prop_assert_eq!(set(found.iter()), expected);
            prop_assert!(found.0.windows(2).all(|pair| pair[0].last + 1 < pair[1].first), "{:?}", found);
        }
    }

    #[test]
    fn the_ends_of_all_numbers_are_no_trouble() {
        let all = Ranges::merge(vec![Range { first: 0, last: u128::MAX }, Range { first: 7, last: u128::MAX }]);
        assert_eq!((all.iter().len(), all.count()), (1, u128::MAX));
        assert_eq!(all.without(&all), Ranges::default());
        let ends = Ranges::merge(vec![Range { first: u128::MAX, last: u128::MAX }, Range { first: 0, last: 0 }]);
        let middle = all.without(&ends);
        assert_eq!(middle.iter().collect::<Vec<_>>(), [Range { first: 1, last: u128::MAX - 1 }]);
        assert_eq!(all.without(&middle), ends);
    }
}
