//! Runs of stateless probers: which one a probe is of, and which replies go past the stack to the prober's socket.

use core::num::NonZeroU32;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, network_endian::U32};

use crate::{
    Footer, Hook, Packet, Phase, Probe,
    wire::{RECORD_LENGTH, State},
};

/// The number of a run of a stateless prober: 24 bits, not 0. It is the upper part of the nonce of each of its probes, whose lower
/// 40 bits are the prober's to verify the reply by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct RunKey(NonZeroU32);

impl RunKey {
    /// How many bits of a nonce are below the key.
    const SHIFT: u32 = 40;
    const MAC: u64 = (1 << Self::SHIFT) - 1;
    const BITS: u32 = u64::BITS - Self::SHIFT;

    /// The key of this number; `None` for 0 and for numbers of more than 24 bits.
    #[inline(always)]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() >> Self::BITS == 0 => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// The number in the place of a key in `nonce`.
    #[inline(always)]
    pub const fn of(nonce: u64) -> u32 {
        (nonce >> Self::SHIFT) as u32
    }

    /// The nonce of a probe of this run, of whose `mac` the lower 40 bits count.
    #[inline(always)]
    pub const fn nonce(self, mac: u64) -> u64 {
        (self.number() as u64) << Self::SHIFT | mac & Self::MAC
    }

    /// Whether a probe of this nonce is of this run.
    #[inline(always)]
    pub const fn matches(self, nonce: u64) -> bool {
        Self::of(nonce) == self.number()
    }
}

/// A run whose replies go past the stack: what the programs' map holds for a receive queue.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Run {
    /// The number of its [`RunKey`]; 0 where there is no run.
    pub key: u32,
    /// The number of the process whose run it is, as that process sees it. For people: hooks do not look at it.
    pub process: u32,
}

/// Whether a probe is a reply of this run that goes past the stack: its request has not come from the stack either, and says so by
/// its first record, which is of the application.
#[inline(always)]
pub fn is_steered<P: Packet + ?Sized>(packet: &P, probe: &Probe, run: RunKey) -> bool {
    probe.phase == Phase::Reply && is_of_run(packet, probe.footer_offset, run) == Some(true)
}

/// `None` where the packet ends before.
///
/// A function of its own, so that other replies do not share its stack.
#[inline(never)]
fn is_of_run<P: Packet + ?Sized>(packet: &P, footer_offset: u32, run: RunKey) -> Option<bool> {
    // The key, and the first byte of what is below it.
    let upper = packet.view::<U32>(footer_offset)?.get();
    if upper >> (u32::BITS - RunKey::BITS) != run.number() {
        return Some(false);
    }
    let state = *packet.view::<State>(footer_offset + STATE_OFFSET)?;
    let records = u32::from(state.cap()) * RECORD;
    let place = *packet.view::<u8>(footer_offset.checked_sub(records)?)?;
    Some(state.used() != 0 && place & Hook::BITS == Hook::APP_TX.number())
}

#[expect(clippy::cast_possible_truncation, reason = "12")]
const RECORD: u32 = RECORD_LENGTH as u32;
#[expect(clippy::cast_possible_truncation, reason = "8")]
const STATE_OFFSET: u32 = Footer::STATE_OFFSET as u32;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_24_bits_and_are_not_0() {
        assert_eq!(RunKey::new(0), None);
        assert_eq!(RunKey::new(1 << 24), None);
        assert_eq!(RunKey::new(1).map(RunKey::number), Some(1));
        assert_eq!(RunKey::new(0x00ff_ffff).map(RunKey::number), Some(0x00ff_ffff));
    }

    proptest! {
        #[test]
        fn a_nonce_holds_key_and_mac(number in 1_u32..1 << 24, other in 1_u32..1 << 24, mac: u64) {
            let nonce = RunKey::new(number).unwrap().nonce(mac);
            prop_assert_eq!(RunKey::of(nonce), number);
            prop_assert_eq!(nonce & RunKey::MAC, mac & RunKey::MAC);
            prop_assert_eq!(RunKey::new(other).unwrap().matches(nonce), other == number);
        }
    }
}
