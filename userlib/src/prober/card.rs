//! The network card through which requests leave, and the published model of its clock.

use std::net::SocketAddr;

use hwtstamp::{Interface, Monotonic, Phc, Time};
use instamp_clockmap::{Device, Directory, Reader};
use instamp_trailer::{Bound, Clock};
use nix::ifaddrs::getifaddrs;

use super::nic_tx::CardTime;

/// Where no model is published, it is looked for again after so long: 1 s.
const RETRY_NS: u64 = 1_000_000_000;

/// A network card's clock.
pub(crate) struct Card {
    /// `None` where the card has none, or is not of this network namespace.
    clock: Option<Device>,
    directory: Directory,
    reader: Option<Reader>,
    /// When to look for a model.
    retry_ns: u64,
}

impl Card {
    /// That of an interface, or else of the one that has an address.
    pub(crate) fn of(interface: Option<&str>, address: Option<SocketAddr>) -> Self {
        let name = interface.map(str::to_owned).or_else(|| interface_of(address?));
        let phc = name.and_then(|name| Interface::open(&name).ok()?.timestamping().ok()??.phc);
        Self::new(phc.map(Device::Phc), Directory::from_environment())
    }

    /// That of a clock whose models are published there.
    pub(crate) const fn new(clock: Option<Device>, directory: Directory) -> Self {
        Self { clock, directory, reader: None, retry_ns: 0 }
    }

    /// A time of the card as it is written into a record: in the host's time if the model says so at `now_ns` of it, else as
    /// the card's clock reads. Call it as soon as the time is there: what waits while a clock is set may be converted wrongly.
    pub(crate) fn time(&mut self, phc_ns: u64, now_ns: u64) -> CardTime {
        let as_it_reads = CardTime { clock: Clock::PHC, bound: Bound::UNKNOWN, time_ns: phc_ns };
        self.convert(phc_ns, now_ns).unwrap_or(as_it_reads)
    }

    /// Likewise, and `None` where the model does not say.
    pub(crate) fn convert(&mut self, phc_ns: u64, now_ns: u64) -> Option<CardTime> {
        if self.reader.is_none() && now_ns >= self.retry_ns {
            self.retry_ns = now_ns.saturating_add(RETRY_NS);
            self.reader = Reader::open(&self.directory, self.clock?).ok();
        }
        let phc = Time::<Phc>::from_ns(i64::try_from(phc_ns).ok()?);
        let now = Time::<Monotonic>::from_ns(i64::try_from(now_ns).ok()?);
        let converted = self.reader.as_mut()?.convert(phc, now).ok()?;
        Some(CardTime {
            clock: Clock::MONOTONIC,
            bound: Bound::at_least(u64::try_from(converted.bound.as_ns()).ok()?),
            time_ns: u64::try_from(converted.time.as_ns()).ok()?,
        })
    }
}

/// The name of the interface that has the address: for a link-local one in its scope.
fn interface_of(address: SocketAddr) -> Option<String> {
    let has_it = |storage: nix::sys::socket::SockaddrStorage| match address {
        SocketAddr::V4(address) => storage.as_sockaddr_in().is_some_and(|found| found.ip() == *address.ip()),
        SocketAddr::V6(address) => storage.as_sockaddr_in6().is_some_and(|found| {
            found.ip() == *address.ip() && (address.scope_id() == 0 || found.scope_id() == address.scope_id())
        }),
    };
    getifaddrs().ok()?.find(|interface| interface.address.is_some_and(has_it)).map(|interface| interface.interface_name)
}

#[cfg(test)]
pub(crate) mod tests {
    use instamp_clockmap::{Model, ONE, State, Writer};

    use super::*;

    pub(crate) const NOW_NS: u64 = 50_000_000_000;

    /// The card is 10 s ahead, and known to 100 ns.
    pub(crate) const MODEL: Model = Model {
        state: State::LOCKED,
        epoch: 1,
        device_ref_ns: 60_000_000_000,
        system_ref_ns: NOW_NS,
        rate: 0,
        error_ns: 100,
        growth: ONE >> 20,
        valid_from_ns: 59_000_000_000,
        valid_until_ns: 70_000_000_000,
        void_after_ns: NOW_NS + 2_000_000_000,
        as_of_ns: 60_000_000_000,
        unassumed_ns: 0,
        published_ns: NOW_NS,
    };

    #[test]
    fn times_are_converted_while_a_model_is_valid() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(directory.path());
        let mut card = Card::new(Some(Device::Phc(3)), directory.clone());
        let as_it_reads = |time_ns| CardTime { clock: Clock::PHC, bound: Bound::UNKNOWN, time_ns };
        assert_eq!(card.time(60_000_000_500, NOW_NS + 1_000), as_it_reads(60_000_000_500));

        let mut writer = Writer::create(&directory, Device::Phc(3)).expect("a writer");
        writer.publish(&MODEL).expect("a model");
        assert_eq!(card.time(60_000_000_500, NOW_NS + 1_000), as_it_reads(60_000_000_500), "not looked for again yet");
        let now_ns = NOW_NS + 1_000 + RETRY_NS;
        let converted = CardTime { clock: Clock::MONOTONIC, bound: Bound::at_least(128), time_ns: NOW_NS + 500 };
        assert_eq!(card.time(60_000_000_500, now_ns), converted);

        // Out of the model's range, of the future, and by a stale model.
        assert_eq!(card.time(58_000_000_000, now_ns), as_it_reads(58_000_000_000));
        assert_eq!(card.time(69_000_000_000, now_ns), as_it_reads(69_000_000_000));
        assert_eq!(card.time(60_000_000_500, NOW_NS + 3_000_000_000), as_it_reads(60_000_000_500));
        assert_eq!(card.time(u64::MAX, now_ns), as_it_reads(u64::MAX));
        assert_eq!(Card::new(None, directory).time(5, now_ns), as_it_reads(5));
    }

    #[test]
    fn the_interface_is_that_of_the_address() {
        let of = |address: &str| interface_of(address.parse().expect("an address"));
        assert_eq!(of("127.0.0.1:0"), Some("lo".to_owned()));
        assert_eq!(of("192.0.2.1:0"), None);
        assert_eq!(of("[2001:db8::1]:0"), None);
    }
}
