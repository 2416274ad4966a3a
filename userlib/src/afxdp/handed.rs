//! Replies whose times lie in front of them: stamped here, as the TC program stamps those that pass to the stack.

use instamp_clockmap::{Device, Directory};
use instamp_trailer::{Address, Bound, Clock, Handed, Host, Site, Standing, stamp};

use crate::prober::card::Card;

/// Stamps replies that the XDP program has given to a socket without a stamp.
pub(super) struct Stamper {
    site: Site,
    card: Card,
}

impl Stamper {
    /// With what the attachment of this site stamps with.
    pub(super) fn new(site: Site) -> Self {
        Self::by(site, Card::new(site.phc.checked_sub(1).map(Device::Phc), Directory::from_environment()))
    }

    /// Nothing is looked for that the kernel knows of requests that have left: those to these replies have not gone through it.
    const fn by(site: Site, card: Card) -> Self {
        Self { site: Site { keeps_sent: 0, ..site }, card }
    }

    /// Stamps a frame that was taken from its queue at `now_ns`, with the times that were handed on with it. What is no probe or has
    /// no room stays as it is, but for the flag in its footer.
    pub(super) fn stamp(&mut self, frame: &mut [u8], handed: Handed, now_ns: u64) {
        let converted = match handed.nic_rx_ns {
            0 => None,
            nic_rx_ns => self.card.convert(nic_rx_ns, now_ns).map(|time| (time.time_ns, time.bound)),
        };
        // What became of it is in the frame, which is judged by that.
        let _ = stamp(frame, &Passed { site: self.site, converted }, handed);
    }
}

/// The host that a reply has passed.
struct Passed {
    site: Site,
    /// The card's receive time in the host's clock.
    converted: Option<(u64, Bound)>,
}

impl Host for Passed {
    fn site(&self) -> Option<Site> {
        Some(self.site)
    }

    /// The XDP program has asked the policy: it gives the host's own replies alone to the socket.
    fn standing(&self, _: Address) -> Standing {
        Standing::OWN
    }

    /// The time of the passage is handed on; now is too late.
    fn now_ns(&self, _: Clock) -> Option<u64> {
        None
    }

    fn convert(&self, _: u64) -> Option<(u64, Bound)> {
        self.converted
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use instamp_clockmap::Writer;
    use instamp_trailer::{Hook, Phase, Record, Trailer, checksum::add};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        Run,
        afxdp::{
            frame::{Probe, Template, Version, parse},
            network::Hop,
        },
        prober::card::tests::{MODEL, NOW_NS},
        strip,
    };

    const NONCE: u64 = 0x0102_0304_0506_0708;
    const SITE: Site = Site {
        node: 7,
        point: 3,
        bound: 6,
        own_clock: Clock::MONOTONIC.number(),
        respond_clock: Clock::TAI.number(),
        keeps_sent: 1,
        nic_rx: 1,
        namespace: 0,
        phc: 4,
    };
    const XDP_NS: u64 = 2_000;
    const NIC_RX_NS: u64 = 60_000_000_500;
    const HANDED: Handed = Handed { magic: Handed::MAGIC, xdp_ns: XDP_NS, nic_rx_ns: NIC_RX_NS };

    fn sent() -> Record {
        Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1_000)
    }

    fn passed() -> Record {
        Record::new(Phase::Reply, 3, Hook::XDP_INGRESS, 7, Clock::MONOTONIC, Bound::from_exponent(6), XDP_NS)
    }

    /// The card's time, as its clock reads.
    fn received() -> Record {
        Record::new(Phase::Reply, 3, Hook::NIC_RX, 7, Clock::PHC, Bound::UNKNOWN, NIC_RX_NS)
    }

    /// The reply to a probe with room for so many records.
    fn reply(cap: u8) -> Vec<u8> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let run = Run::new(100).and_then(|run| run.with_cap(cap)).expect("room");
        let template = Template::new(Version::V4, run).expect("a template");
        let hop = Hop { source: address, source_mac: [0; 6], destination_mac: [0; 6] };
        let (target, record) = (address, &sent());
        let probe = Probe { hop: &hop, target, ttl: 64, identifier: 1, sequence: 2, nonce: NONCE, record };
        let mut frame = vec![0; template.length()];
        template.write(&mut frame, &probe).expect("a frame");
        // The type of a reply is less by 8, and so is the sum.
        let [checksum_start, checksum_end] = [frame[36], frame[37]];
        frame[34] = 0;
        frame[36..38].copy_from_slice(&add(u16::from_be_bytes([checksum_start, checksum_end]), 0x0800).to_be_bytes());
        frame
    }

    /// The records of a reply, whose checksum is right, and whether there was none for another.
    fn read(frame: &[u8]) -> (Vec<Record>, bool) {
        let stripped = strip(parse(frame).expect("a reply").payload, NONCE).expect("its trailer");
        (stripped.records.to_vec(), stripped.full)
    }

    /// Of a card whose clock is not modelled.
    fn stamper() -> Stamper {
        Stamper::by(SITE, Card::new(None, Directory::from_environment()))
    }

    fn stamped(cap: u8, handed: Handed) -> (Vec<Record>, bool) {
        let mut frame = reply(cap);
        stamper().stamp(&mut frame, handed, NOW_NS);
        read(&frame)
    }

    #[test]
    fn a_reply_is_stamped_with_the_times_that_were_handed_on() {
        assert_eq!(stamped(4, HANDED), (vec![sent(), passed(), received()], false));
        assert_eq!(stamped(4, Handed { nic_rx_ns: 0, ..HANDED }), (vec![sent(), passed()], false));
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said() {
        assert_eq!(stamped(3, HANDED), (vec![sent(), passed(), received()], false));
        assert_eq!(stamped(2, HANDED), (vec![sent(), passed()], true));
        assert_eq!(stamped(2, Handed { nic_rx_ns: 0, ..HANDED }), (vec![sent(), passed()], false));
        let mut frame = reply(2);
        for _ in 0..2 {
            stamper().stamp(&mut frame, HANDED, NOW_NS);
        }
        assert_eq!(read(&frame), (vec![sent(), passed()], true));
    }

    #[test]
    fn a_time_of_the_card_is_converted_where_its_clock_is_modelled() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(directory.path());
        let mut writer = Writer::create(&directory, Device::Phc(3)).expect("a writer");
        writer.publish(&MODEL).expect("a model");
        let mut stamper = Stamper::by(SITE, Card::new(Some(Device::Phc(3)), directory));
        let mut stamped = |handed, now_ns| {
            let mut frame = reply(4);
            stamper.stamp(&mut frame, handed, now_ns);
            read(&frame).0
        };
        let converted = |time_ns, bound_ns| {
            Record::new(Phase::Reply, 3, Hook::NIC_RX, 7, Clock::MONOTONIC, Bound::at_least(bound_ns), time_ns)
        };
        assert_eq!(stamped(HANDED, NOW_NS + 1_000), [sent(), passed(), converted(NOW_NS + 500, 128)]);
        assert_eq!(stamped(Handed { nic_rx_ns: 0, ..HANDED }, NOW_NS + 1_000), [sent(), passed()]);
        assert_eq!(stamped(HANDED, NOW_NS + 3_000_000_000), [sent(), passed(), received()], "a stale model");
    }

    proptest! {
        #[test]
        fn whatever_comes_does_not_panic(mut frame in vec(any::<u8>(), 0..200), xdp_ns: u64, nic_rx_ns: u64) {
            stamper().stamp(&mut frame, Handed { xdp_ns, nic_rx_ns, ..HANDED }, NOW_NS);
        }

        #[test]
        fn whatever_becomes_of_a_reply_does_not_panic(
            changes in vec((0_usize..142, any::<u8>()), 1..5), length in 0_usize..143, now_ns: u64,
        ) {
            let mut frame = reply(4);
            for (at, byte) in changes {
                frame[at] = byte;
            }
            frame.truncate(length);
            stamper().stamp(&mut frame, HANDED, now_ns);
            if let Some(echo) = parse(&frame) {
                let _ = Trailer::parse(echo.payload);
            }
        }
    }
}
