//! What an XDP program puts in front of a probe for who stamps it behind.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Hook, Passage};

/// The times of a probe's passage that an XDP program has put in front of its frame: `struct handed` of `xdp-prog/hw/handed.h`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Handed {
    /// [`Self::MAGIC`].
    pub magic: u64,
    /// When the frame was at the XDP program, in [`Clock::MONOTONIC`](crate::Clock::MONOTONIC).
    pub xdp_ns: u64,
    /// When the card received it, by the card's clock; 0 where it does not tell.
    pub nic_rx_ns: u64,
}

impl Handed {
    /// The bytes `instampR`, by which these times are told from what other programs put there.
    pub const MAGIC: u64 = u64::from_be_bytes(*b"instampR");

    /// The times at the end of what lies in front of a frame, if they are there.
    pub fn in_front(before: &[u8]) -> Option<Self> {
        let (_, handed) = Self::read_from_suffix(before).ok()?;
        handed.is_ours().then_some(handed)
    }

    /// Whether it is what it seems.
    #[inline(always)]
    pub const fn is_ours(&self) -> bool {
        self.magic == Self::MAGIC
    }
}

impl From<Handed> for Passage {
    /// The stamp is that of the XDP program's place and time, whoever writes it.
    #[inline(always)]
    fn from(Handed { xdp_ns, nic_rx_ns, .. }: Handed) -> Self {
        Self { passed_ns: Some(xdp_ns), nic_rx_ns: Some(nic_rx_ns), ..Hook::XDP_INGRESS.into() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn times_are_those_right_in_front(mut before in vec(any::<u8>(), 0..41), xdp_ns: u64, nic_rx_ns: u64) {
            let handed = Handed { magic: Handed::MAGIC, xdp_ns, nic_rx_ns };
            before.extend_from_slice(handed.as_bytes());
            prop_assert_eq!(Handed::in_front(&before), Some(handed));
            let passage = Passage { hook: Hook::XDP_INGRESS, passed_ns: Some(xdp_ns), nic_rx_ns: Some(nic_rx_ns) };
            prop_assert_eq!(Passage::from(handed), passage);
            // Not whole, and not right in front.
            prop_assert_eq!(Handed::in_front(&before[before.len() - size_of::<Handed>() + 1..]), None);
            before.push(0);
            prop_assert_eq!(Handed::in_front(&before), None);
        }

        #[test]
        fn whatever_else_lies_in_front_is_none(before in vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Handed::in_front(&before), None);
        }
    }

    #[test]
    fn the_layout_is_three_words_in_this_order() {
        // As the header asserts of its own.
        let handed = Handed { magic: Handed::MAGIC, xdp_ns: 1, nic_rx_ns: 2 };
        let expected: Vec<u8> = [0x696e_7374_616d_7052_u64, 1, 2].into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(handed.as_bytes(), expected);
        assert_eq!(Handed::read_from_bytes(&expected).unwrap(), handed);
    }
}
