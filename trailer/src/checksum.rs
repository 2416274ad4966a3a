//! One's-complement sums over 16-bit words ([RFC 1071]).
//!
//! [RFC 1071]: https://www.rfc-editor.org/rfc/rfc1071

/// The one's-complement sum of a few words.
#[inline(always)]
pub fn sum<const N: usize>(words: [u16; N]) -> u16 {
    const { assert!(N <= 0x1_0000, "a 32-bit accumulator holds 65,536 words") };
    let mut total = 0_u32;
    let mut index = 0;
    while index < N {
        total += u32::from(words[index]);
        index += 1;
    }
    fold(total)
}

/// The one's-complement sum of `bytes`, an odd last byte padded with a zero.
#[expect(clippy::cast_possible_truncation, reason = "four folds leave at most 0xffff")]
pub fn sum_bytes(bytes: &[u8]) -> u16 {
    let (words, odd) = bytes.as_chunks::<2>();
    // No slice is long enough for an overflow.
    let total = words.iter().fold(0_u64, |total, word| total.wrapping_add(u16::from_be_bytes(*word).into()));
    let last = odd.first().map_or(0, |last| u64::from(*last) << 8);
    let total = total.wrapping_add(last);
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

/// `a + b`.
#[inline(always)]
pub fn add(a: u16, b: u16) -> u16 {
    fold(u32::from(a) + u32::from(b))
}

/// The word that takes the place of `complement` when other words of the same message change from the sum `old` to the
/// sum `new`, so that the sum of all stays what it was: `complement + old - new`, and 0 written as 0xffff.
///
/// [RFC 7820](https://www.rfc-editor.org/rfc/rfc7820) has the idea, for UDP. Of the two forms of zero the second is
/// fixed here, so that every implementation writes the same bytes.
#[inline(always)]
pub fn absorb(complement: u16, old: u16, new: u16) -> u16 {
    match fold(u32::from(complement) + u32::from(old) + u32::from(!new)) {
        0 => 0xffff,
        word => word,
    }
}

/// The checksum that takes the place of `checksum` when a word that it covers changes from `old` to `new`
/// ([RFC 1624](https://www.rfc-editor.org/rfc/rfc1624), equation 3).
#[inline(always)]
pub fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// Folds the carries of up to 65,536 words back in.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two folds leave at most 0xffff")]
fn fold(total: u32) -> u16 {
    let total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum_bytes(&bytes).to_be_bytes(), [0xdd, 0xf2]);
        assert_eq!(sum_bytes(&bytes[..7]).to_be_bytes(), [0xdc, 0xfb]);
    }

    proptest! {
        #[test]
        fn absorbing_keeps_the_sum(complement: u16, old: [u16; 6], new: [u16; 6], rest: u16) {
            let before = add(add(sum(old), complement), rest);
            let after = add(add(sum(new), absorb(complement, sum(old), sum(new))), rest);
            // 0 and 0xffff are the same number; only a message of nothing but zeros sums to the first.
            prop_assert_eq!(before % 0xffff, after % 0xffff);
        }

        #[test]
        fn absorbing_never_writes_zero(complement: u16, old: u16, new: u16) {
            prop_assert_ne!(absorb(complement, old, new), 0);
        }

        #[test]

        fn bytes_sum_as_their_words_one_by_one(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..3_000)) {
            let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            prop_assert_eq!(sum_bytes(&bytes), bytes.chunks(2).fold(0, |total, pair| add(total, word(pair))));
        }

        #[test]
        fn a_checksum_stays_right_when_a_word_changes(words: [u16; 6], new: u16) {
            let checksum = !sum(words);
            let mut changed = words;
            changed[3] = new;
            let replaced = replace(checksum, words[3], new);
            // 0 and 0xffff are the same number.
            prop_assert_eq!(add(sum(changed), replaced) % 0xffff, 0);
        }

        #[test]
        fn both_sums_agree(words: [u16; 6]) {
            let bytes = words.map(u16::to_be_bytes);
            prop_assert_eq!(sum(words), sum_bytes(bytes.as_flattened()));
        }
    }
}
