//! Nonces that vouch for what a reply says of its probe.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use instamp_trailer::RunKey;
use siphasher::sip::SipHasher24;

/// What makes and checks the nonces of a run: its [`RunKey`], and 40 bits of SipHash-2-4 under a secret key over the target, the
/// number and the time of sending of a probe.
///
/// A reply brings all of these back. If they fit together it is the answer to a probe of this run, whoever has sent it: a forged
/// one, or one whose number or time was altered, fits in one of 2^40 cases.
///
/// ```
/// use instamp::{stateless::Cookie, trailer::RunKey};
/// let run = RunKey::new(7).expect("24 bits, not 0");
/// let cookie = Cookie::new([1, 2], run); // at random: who knows it can forge replies
/// let target = std::net::Ipv4Addr::LOCALHOST.into();
/// let nonce = cookie.nonce(target, 0, 1_000);
/// assert!(cookie.verify(nonce, target, 0, 1_000));
/// assert!(!cookie.verify(nonce, target, 0, 1_001));
/// ```
#[derive(Clone, Copy)]
pub struct Cookie {
    hasher: SipHasher24,
    run: RunKey,
}

impl Cookie {
    /// `key` is the secret, which has to be random and of this run alone.
    pub fn new(key: [u64; 2], run: RunKey) -> Self {
        let [first, second] = key;
        Self { hasher: SipHasher24::new_with_keys(first, second), run }
    }

    /// The nonce of a probe: to whom it goes, its number in the run, and when it leaves, in nanoseconds of the caller's clock.
    pub fn nonce(&self, target: IpAddr, index: u64, sent_ns: u64) -> u64 {
        let address: Ipv6Addr = match target {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&address.octets());
        bytes[16..24].copy_from_slice(&index.to_le_bytes());
        bytes[24..].copy_from_slice(&sent_ns.to_le_bytes());
        self.run.nonce(self.hasher.hash(&bytes))
    }

    /// Whether the nonce is that of this probe.
    pub fn verify(&self, nonce: u64, target: IpAddr, index: u64, sent_ns: u64) -> bool {
        nonce == self.nonce(target, index, sent_ns)
    }
}

impl fmt::Debug for Cookie {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie").field("run", &self.run).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn run(number: u32) -> RunKey {
        RunKey::new(number).expect("24 bits")
    }

    #[test]
    fn run_keys_have_24_bits_and_are_not_0() {
        assert_eq!(RunKey::new(0), None);
        assert_eq!(RunKey::new(1 << 24), None);
        assert_eq!(run(0xab_cdef).nonce(u64::MAX), 0xabcd_efff_ffff_ffff);
    }

    /// A vector of the reference implementation: the bytes 0 to 31 under the key of bytes 0 to 15.
    #[test]
    fn it_is_siphash() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let address = Ipv6Addr::from(std::array::from_fn(|index| u8::try_from(index).expect("short")));
        let cookie = Cookie::new(key, run(1));
        let nonce = cookie.nonce(address.into(), 0x1716_1514_1312_1110, 0x1f1e_1d1c_1b1a_1918);
        assert_eq!(nonce, 1 << 40 | 0x7127_512f_72f2_7cce & 0xff_ffff_ffff);
    }

    #[test]
    fn an_ipv4_address_is_its_mapped_one() {
        let cookie = Cookie::new([1, 2], run(3));
        let address = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(cookie.nonce(address.into(), 4, 5), cookie.nonce(address.to_ipv6_mapped().into(), 4, 5));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", Cookie::new([0x1234, 0x5678], run(9)));
        assert_eq!(shown, "Cookie { run: RunKey(9), .. }");
    }

    proptest! {
        #[test]
        fn nothing_can_be_altered(key: [u64; 2], number in 1_u32..1 << 24, address: u128, index: u64, sent_ns: u64, bit in 0_u32..64) {
            let cookie = Cookie::new(key, run(number));
            let target = IpAddr::V6(Ipv6Addr::from_bits(address));
            let nonce = cookie.nonce(target, index, sent_ns);
            prop_assert!(cookie.verify(nonce, target, index, sent_ns));
            prop_assert_eq!(nonce >> 40, u64::from(number));
            let flip = 1_u64 << bit;
            let other = IpAddr::V6(Ipv6Addr::from_bits(address ^ 1 << (2 * bit)));
            prop_assert!(!cookie.verify(nonce ^ flip, target, index, sent_ns));
            prop_assert!(!cookie.verify(nonce, other, index, sent_ns));
            prop_assert!(!cookie.verify(nonce, target, index ^ flip, sent_ns));
            prop_assert!(!cookie.verify(nonce, target, index, sent_ns ^ flip));
        }
    }
}
