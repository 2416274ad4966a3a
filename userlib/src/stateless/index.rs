//! Where the number of a probe is in its message.

/// The two numbers of an echo message: together the lower 32 bits of the probe's number in the run.
///
/// Consecutive probes differ in their sequence numbers and share an identifier, as those of a ping do. A run adds a random number
/// to its identifiers, so that two runs rarely use the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Bits 16 to 31 of the number, and the run's random number added.
    pub identifier: u16,
    /// Bits 0 to 15.
    pub sequence: u16,
}

/// How many probes the two tell apart.
const NUMBERS: u64 = 1 << 32;

impl Wire {
    /// Of the probe of this number. `base` is the run's.
    #[expect(clippy::cast_possible_truncation, reason = "16 bits of it, and 16 others")]
    pub const fn of(index: u64, base: u16) -> Self {
        Self { identifier: ((index >> 16) as u16).wrapping_add(base), sequence: index as u16 }
    }

    /// The number of the latest probe that has these, of those below `next`; `None` if none has.
    pub fn index(self, base: u16, next: u64) -> Option<u64> {
        let number = u64::from(self.identifier.wrapping_sub(base)) << 16 | u64::from(self.sequence);
        let latest = next.checked_sub(1)?;
        // How many probes back.
        let distance = latest.wrapping_sub(number) % NUMBERS;
        latest.checked_sub(distance)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_wrap_and_are_the_latest() {
        let wire = |identifier, sequence| Wire { identifier, sequence };
        assert_eq!(Wire::of(0x9_1234_5678, 0xff00), wire(0x1134, 0x5678));
        for (wire, next, index) in [
            (wire(0, 0), 0, None),
            (wire(0, 0), 1, Some(0)),
            (wire(0, 1), 1, None),
            (wire(0, 1), 2, Some(1)),
            (wire(1, 0), 1 << 16, None),
            (wire(1, 0), (1 << 16) + 1, Some(1 << 16)),
            (wire(0, 0), 1 << 32, Some(0)),
            (wire(0, 0), (1 << 32) + 1, Some(1 << 32)),
            (wire(0xffff, 0xffff), 1 << 32, Some((1 << 32) - 1)),
            (wire(0xffff, 0xffff), (2 << 32) - 1, Some((1 << 32) - 1)),
            (wire(0, 7), u64::MAX, Some(0xffff_ffff_0000_0007)),
        ] {
            assert_eq!(wire.index(0, next), index, "{wire:?} {next}");
        }
    }

    proptest! {
        #[test]
        fn the_last_four_thousand_million_are_told_apart(next in 1_u64.., back in 1_u64..=NUMBERS, base: u16) {
            if let Some(index) = next.checked_sub(back) {
                prop_assert_eq!(Wire::of(index, base).index(base, next), Some(index));
            }
        }

        #[test]
        fn what_is_found_has_these_numbers(identifier: u16, sequence: u16, base: u16, next: u64) {
            let wire = Wire { identifier, sequence };
            if let Some(index) = wire.index(base, next) {
                prop_assert!(index < next && next - index <= NUMBERS);
                prop_assert_eq!(Wire::of(index, base), wire);
            }
        }
    }
}
