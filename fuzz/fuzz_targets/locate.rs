//! Any bytes may come in at a hook: it must not fail on them, and must change nothing but its record, the footer's state
//! and, with them, no sum.
#![no_main]

use instamp_trailer::{
    Address, Bound, Clock, Hook, Host, Passage, Refusal, Sent, SentKey, Site, Standing, checksum::sum_bytes, locate,
    stamp,
};
use libfuzzer_sys::fuzz_target;

/// A host to which each address stands as its last bits say, so that the fuzzer finds every kind.
struct Anyone;

impl Host for Anyone {
    fn site(&self) -> Option<Site> {
        Some(Site {
            node: 1,
            point: 1,
            bound: 6,
            own_clock: 1,
            respond_clock: 2,
            keeps_sent: 1,
            nic_rx: 0,
            namespace: 0,
            phc: 0,
        })
    }

    fn standing(&self, address: Address) -> Standing {
        Standing::from_bits(u32::from(address.bytes()[15]))
    }

    fn now_ns(&self, _: Clock) -> Option<u64> {
        Some(0x1122_3344_5566_7788)
    }

    fn take_sent(&self, key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
        if key.nonce[6] == 0 {
            return Err(Refusal::Absent);
        }
        Ok(Sent { driver_tx_ns: 1, nic_tx_ns: u64::from(key.nonce[7]), echo, phc: 0, nic_tx_asked: 1, device: 0 })
    }

    fn convert(&self, device_ns: u64) -> Option<(u64, Bound)> {
        (device_ns > 9).then_some((device_ns, Bound::UNKNOWN))
    }

    fn count(&self, _: Hook, _: Result<(), Refusal>) {}
}

fuzz_target!(|frame: &[u8]| {
    let before = frame.to_vec();
    let mut after = frame.to_vec();
    // A reply may get one record for each of the hooks that stamp one: here, in the driver and in the card both ways.
    let most = 4 * 12;
    let passage = Passage { nic_rx_ns: Some(7), ..Hook::TC_INGRESS.into() };
    let outcome = stamp(after.as_mut_slice(), &Anyone, passage);
    let Ok(probe) = locate(before.as_slice()) else {
        assert_eq!(before, after);
        return;
    };
    let (message, footer) = (probe.message_offset as usize, probe.footer_offset as usize);
    assert_eq!(sum_bytes(&before[message..footer + 16]) % 0xffff, sum_bytes(&after[message..footer + 16]) % 0xffff);
    let (used, cap) = (usize::from(before[footer + 10] >> 4), usize::from(before[footer + 10] & 0xf));
    let changed = match outcome {
        Ok(()) => footer - (cap - used) * 12..(footer - (cap - used) * 12 + most).min(footer),
        Err(Refusal::Full) => footer..footer,
        Err(_) => {
            assert_eq!(before, after);
            return;
        }
    };
    for (at, (old, new)) in before.iter().zip(&after).enumerate() {
        assert!(old == new || changed.contains(&at) || (footer + 8..footer + 12).contains(&at), "byte {at} changed");
    }
});
