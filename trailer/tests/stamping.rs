//! What is stamped, and what must pass untouched.

use std::{
    cell::RefCell,
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use instamp_trailer::{
    Address, Allowed, Bound, Clock, Hook, Host, Passage, Phase, Record, Refusal, Sent, SentKey, Site, Standing,
    Trailer, locate, stamp, stamp_nic_rx,
};

/// A host with a table of addresses, on which time stands still.
struct Desk {
    site: Option<Site>,
    policy: HashMap<Address, Standing>,
    sent: RefCell<HashMap<SentKey, Sent>>,
    has_model: bool,
    counts: RefCell<Vec<(Hook, Result<(), Refusal>)>>,
}

const MONOTONIC_NS: u64 = 0x1122_3344_5566_7788;
const TAI_NS: u64 = 0x2122_2324_2526_2728;
/// How far the card's clock is ahead of the monotonic one.
const CARD_AHEAD_NS: u64 = 1_000_000;

impl Host for Desk {
    fn site(&self) -> Option<Site> {
        self.site
    }

    fn standing(&self, address: Address) -> Standing {
        self.policy.get(&address).copied().unwrap_or(Standing::STRANGER)
    }

    fn now_ns(&self, clock: Clock) -> Option<u64> {
        match clock {
            Clock::MONOTONIC => Some(MONOTONIC_NS),
            Clock::TAI => Some(TAI_NS),
            _ => None,
        }
    }

    fn take_sent(&self, key: &SentKey, echo: [u8; 4]) -> Result<Sent, Refusal> {
        match self.sent.borrow_mut().entry(*key) {
            Entry::Occupied(entry) if entry.get().echo == echo => Ok(entry.remove()),
            Entry::Occupied(_) => Err(Refusal::Mismatch),
            Entry::Vacant(_) => Err(Refusal::Absent),
        }
    }

    fn convert(&self, device_ns: u64) -> Option<(u64, Bound)> {
        self.has_model.then(|| (device_ns - CARD_AHEAD_NS, Bound::at_least(100)))
    }

    fn count(&self, hook: Hook, outcome: Result<(), Refusal>) {
        self.counts.borrow_mut().push((hook, outcome));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const OWN: &str = "192.0.2.1";
const RESPONDED: &str = "203.0.113.9";
const STRANGER: &str = "198.51.100.2";
const OWN6: &str = "2001:db8::1";
const STRANGER6: &str = "2001:db8:1::2";

fn desk() -> Desk {
    let own_clock = Clock::MONOTONIC.number();
    let respond_clock = Clock::TAI.number();
    let site = Site {
        node: 0xbeef,
        point: 2,
        bound: 6,
        own_clock,
        respond_clock,
        keeps_sent: 0,
        nic_rx: 0,
        namespace: 0,
        phc: 0,
    };
    let policy = [(OWN, Standing::OWN), (OWN6, Standing::OWN), (RESPONDED, Standing::RESPOND)];
    Desk {
        site: Some(site),
        policy: policy.map(|(address, standing)| (ip(address).into(), standing)).into(),
        sent: RefCell::default(),
        has_model: false,
        counts: RefCell::default(),
    }
}

/// A frame by its parts; what a test changes is a field.
#[derive(Clone)]
struct Frame {
    tags: Vec<u16>,
    source: &'static str,
    destination: &'static str,
    options: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    kind: u8,
    code: u8,
    fragment: u16,
    application: usize,
    records: usize,
    counts: u8,
    flags: u8,
    magic: [u8; 4],
    padding: usize,
}

/// A request of four free records, from `source` to `destination`.
fn request(source: &'static str, destination: &'static str) -> Frame {
    Frame {
        tags: vec![],
        source,
        destination,
        options: vec![],
        extensions: vec![],
        kind: if ip(source).is_ipv4() { 8 } else { 128 },
        code: 0,
        fragment: 0,
        application: 0,
        records: 4,
        counts: 0x04,
        flags: 0,
        magic: *b"IST\x01",
        padding: 0,
    }
}

/// The reply to it, two records used.
fn reply(source: &'static str, destination: &'static str) -> Frame {
    let kind = if ip(source).is_ipv4() { 0 } else { 129 };
    Frame { kind, counts: 0x24, ..request(source, destination) }
}

impl Frame {
    fn message(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0x13, 0x57, 0, 1, 0, 2];
        message.resize(message.len() + self.application, 0x77);
        message.resize(message.len() + self.records * 12, 0);
        message.extend(0x0102_0304_0506_0708_u64.to_be_bytes());
        message.extend([0x12, 0x34, self.counts, self.flags]);
        message.extend(self.magic);
        message
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x02; 12];
        for tag in &self.tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0x00, 0x07]);
        }
        let message = self.message();
        match (ip(self.source), ip(self.destination)) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.options.len();
                bytes.extend([0x08, 0x00, 0x40 | u8::try_from(header / 4).expect("a length"), 0]);
                bytes.extend(u16::try_from(header + message.len()).expect("a length").to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(self.fragment.to_be_bytes());
                bytes.extend([64, 1, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                bytes.extend(&self.options);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extensions = self.extensions.concat();
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                bytes.extend(u16::try_from(extensions.len() + message.len()).expect("a length").to_be_bytes());
                // Each extension names its own kind in a byte of its body, for the header before it.
                let kinds: Vec<u8> = self.extensions.iter().map(|extension| extension[2]).chain([58]).collect();
                bytes.extend([kinds[0], 64]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
                for (extension, next) in self.extensions.iter().zip(&kinds[1..]) {
                    bytes.push(*next);
                    bytes.extend(&extension[1..]);
                }
            }
            _ => panic!("addresses of one version"),
        }
        bytes.extend(message);
        bytes.resize(bytes.len() + self.padding, 0xee);
        bytes
    }
}

/// An extension header of this kind and length.
fn extension(kind: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; 8 + 8 * usize::from(units)];
    header[1] = units;
    header[2] = kind;
    header
}

/// Stamps the frame, and returns its records if it was.
fn stamped(frame: &Frame, hook: Hook) -> Result<Vec<Record>, Refusal> {
    stamped_by(&desk(), frame, hook)
}

/// Likewise, by this host.
fn stamped_by(desk: &Desk, frame: &Frame, passage: impl Into<Passage>) -> Result<Vec<Record>, Refusal> {
    let before = frame.bytes();
    let mut after = before.clone();
    let outcome = stamp(after.as_mut_slice(), desk, passage);
    let message = before.len() - frame.padding - frame.message().len()..before.len() - frame.padding;
    assert_eq!(sum(&before[message.clone()]), sum(&after[message.clone()]), "the sum of the message changed");
    assert_eq!(before[..message.start], after[..message.start], "headers changed");
    assert_eq!(before[message.end..], after[message.end..], "padding changed");
    match outcome {
        Ok(()) => Ok(Trailer::parse(&after[message.start + 8..message.end]).expect("a trailer").records.to_vec()),
        Err(Refusal::Full) => {
            assert_eq!(after[message.end - 5] & 1, 1, "the flag");
            let mut without = after.clone();
            without[message.end - 8..message.end - 4].copy_from_slice(&before[message.end - 8..message.end - 4]);
            assert_eq!(before, without, "more than the flag and the complement changed");
            Err(Refusal::Full)
        }
        Err(refusal) => {
            assert_eq!(before, after, "{refusal} changed the packet");
            Err(refusal)
        }
    }
}

/// A plain sum, not the crate's.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum::<u32>()
        % 0xffff
}

#[test]
fn a_request_of_its_own_gets_a_record() {
    let records = stamped(&request(OWN, STRANGER), Hook::TC_EGRESS).expect("stamped");
    let bound = Bound::from_exponent(6);
    assert_eq!(
        records,
        [Record::new(Phase::Request, 2, Hook::TC_EGRESS, 0xbeef, Clock::MONOTONIC, bound, MONOTONIC_NS)]
    );
}

#[test]
fn whole_probes_are_stamped() {
    let own = request(OWN, STRANGER);
    let own6 = request(OWN6, STRANGER6);
    let cases = [
        ("plain", own.clone()),
        ("one tag", Frame { tags: vec![0x8100], ..own.clone() }),
        ("two tags", Frame { tags: vec![0x88a8, 0x8100], ..own.clone() }),
        ("options", Frame { options: vec![1; 40], ..own.clone() }),
        ("do not fragment", Frame { fragment: 0x4000, ..own.clone() }),
        ("padded", Frame { padding: 18, ..own.clone() }),
        ("shortest", Frame { records: 2, counts: 0x02, ..own.clone() }),
        ("longest trailer", Frame { records: 15, counts: 0x0f, ..own.clone() }),
        ("jumbo", Frame { application: 8902, ..own.clone() }),
        ("the reply", reply(STRANGER, OWN)),
        ("IPv6", own6.clone()),
        ("IPv6, tagged", Frame { tags: vec![0x8100], ..own6.clone() }),
        ("IPv6, the reply", reply(STRANGER6, OWN6)),
        ("hop by hop", Frame { extensions: vec![extension(0, 0)], ..own6.clone() }),
        (
            "several extensions",
            Frame { extensions: vec![extension(0, 1), extension(60, 3), extension(43, 2), extension(60, 0)], ..own6 },
        ),
        ("other flags", Frame { flags: 0xfe, ..own }),
    ];
    for (name, frame) in cases {
        assert!(stamped(&frame, Hook::XDP_INGRESS).is_ok(), "{name}");
    }
}

#[test]
fn everything_else_passes_untouched() {
    let own = request(OWN, STRANGER);
    let own6 = request(OWN6, STRANGER6);
    let many = vec![extension(60, 0); 7];
    let cases = [
        ("another protocol", Frame { tags: vec![0x0806], ..own.clone() }, Refusal::NotEcho),
        ("three tags", Frame { tags: vec![0x8100; 3], ..own.clone() }, Refusal::NotEcho),
        ("another ICMP message", Frame { kind: 3, ..own.clone() }, Refusal::NotEcho),
        ("another code", Frame { code: 1, ..own.clone() }, Refusal::NotEcho),
        ("ICMPv6's type in ICMP", Frame { kind: 128, ..own.clone() }, Refusal::NotEcho),
        ("first fragment", Frame { fragment: 0x2000, ..own.clone() }, Refusal::Fragment),
        ("later fragment", Frame { fragment: 0x0001, ..own.clone() }, Refusal::Fragment),
        ("IPv6 fragment", Frame { extensions: vec![extension(44, 0)], ..own6.clone() }, Refusal::Fragment),
        ("authenticated", Frame { extensions: vec![extension(51, 0)], ..own6.clone() }, Refusal::NotEcho),
        ("too many extensions", Frame { extensions: many, ..own6 }, Refusal::NotEcho),
        ("odd length", Frame { application: 1, ..own.clone() }, Refusal::OddLength),
        ("wrong magic", Frame { magic: *b"ISU\x01", ..own.clone() }, Refusal::NoTrailer),
        ("wrong magic and odd", Frame { magic: *b"ISU\x01", application: 1, ..own.clone() }, Refusal::NoTrailer),
        ("another version", Frame { magic: *b"IST\x02", ..own.clone() }, Refusal::Version),
        ("cap of none", Frame { counts: 0x00, ..own.clone() }, Refusal::Counts),
        ("cap of one", Frame { counts: 0x01, ..own.clone() }, Refusal::Counts),
        ("more used than there are", Frame { counts: 0x54, ..own.clone() }, Refusal::Counts),
        ("more than fit", Frame { counts: 0x05, ..own.clone() }, Refusal::Counts),
        ("one record left", Frame { counts: 0x34, ..own.clone() }, Refusal::Full),
        ("no record left", Frame { counts: 0x44, ..own.clone() }, Refusal::Full),
        ("full, flag set already", Frame { counts: 0x44, flags: 1, ..own }, Refusal::Full),
        ("no record left for the reply", Frame { counts: 0x44, ..reply(STRANGER, OWN) }, Refusal::Full),
        ("a stranger's request to us", request(STRANGER, OWN), Refusal::Policy),
        ("a stranger's request in transit", request(STRANGER, "198.51.100.3"), Refusal::Policy),
        ("our reply to a stranger", reply(OWN, STRANGER), Refusal::Policy),
        ("responded to, but not to us", request(RESPONDED, STRANGER), Refusal::Policy),
    ];
    for (name, frame, refusal) in cases {
        assert_eq!(stamped(&frame, Hook::XDP_INGRESS), Err(refusal), "{name}");
    }
}

#[test]
fn own_replies_are_steered_and_look_for_no_request() {
    let mut desk = desk();
    desk.site = desk.site.map(|site| Site { keeps_sent: 1, ..site });
    let steer = |frame: &Frame, hook| {
        let mut bytes = frame.bytes();
        let probe = locate(bytes.as_slice()).expect("a probe");
        let allowed = Allowed::by(bytes.as_slice(), &desk, &probe, hook).expect("allowed");
        allowed.stamp_and_steer(bytes.as_mut_slice(), &desk, hook, |_| true)
    };
    let own = reply(STRANGER, OWN);
    let full = Frame { counts: 0x44, ..own.clone() };
    assert_eq!(steer(&own, Hook::XDP_INGRESS), (Ok(()), true));
    assert_eq!(steer(&full, Hook::XDP_INGRESS), (Err(Refusal::Full), true));
    assert_eq!(steer(&request(OWN, STRANGER), Hook::XDP_INGRESS), (Ok(()), false));
    assert_eq!(steer(&reply(OWN, RESPONDED), Hook::XDP_INGRESS), (Ok(()), false), "another's");
    assert_eq!(steer(&own, Hook::TC_EGRESS), (Ok(()), false), "on its way to a container");
    assert_eq!(desk.counts.take(), []);
    stamped_by(&desk, &own, Hook::XDP_INGRESS).expect("stamped");
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Err(Refusal::Absent))]);
}

#[test]
fn the_last_record_belongs_to_the_local_ingress() {
    let last = Frame { counts: 0x34, ..reply(STRANGER, OWN) };
    assert_eq!(stamped(&last, Hook::XDP_INGRESS).expect("stamped").len(), 4);
    let ours_to_others = Frame { counts: 0x34, ..reply(OWN, RESPONDED) };
    assert_eq!(stamped(&ours_to_others, Hook::TC_EGRESS), Err(Refusal::Full));
}

#[test]
fn the_probes_of_others_are_stamped_by_the_clock_for_others() {
    for frame in [request(RESPONDED, OWN), reply(OWN, RESPONDED)] {
        let records = stamped(&frame, Hook::XDP_INGRESS).expect("stamped");
        let record = records.last().expect("a record");
        assert_eq!((record.clock(), record.time_ns()), (Clock::TAI, TAI_NS));
    }
}

#[test]
fn a_request_with_an_address_of_its_own_does_not_come_in_at_the_uplink() {
    let mut uplink = desk();
    uplink.site.as_mut().expect("a site").point = 0;
    for frame in [request(OWN, STRANGER), request(OWN6, STRANGER6), request(OWN, OWN)] {
        for (hook, outcome) in [
            (Hook::XDP_INGRESS, Err(Refusal::Policy)),
            (Hook::TC_INGRESS, Err(Refusal::Policy)),
            (Hook::TC_EGRESS, Ok(())),
        ] {
            let before = frame.bytes();
            let mut after = before.clone();
            assert_eq!(stamp(after.as_mut_slice(), &uplink, hook), outcome, "{hook}");
            assert_eq!(before != after, outcome.is_ok());
        }
    }
    // A container's does, at the device that leads to it.
    assert!(stamped(&request(OWN, STRANGER), Hook::TC_INGRESS).is_ok());
}

#[test]
fn a_mapped_address_in_an_ipv6_packet_is_nobodys() {
    let mapped = "::ffff:192.0.2.1";
    assert_eq!(stamped(&request(mapped, STRANGER6), Hook::TC_EGRESS), Err(Refusal::Policy));
    assert_eq!(stamped(&reply(STRANGER6, mapped), Hook::XDP_INGRESS), Err(Refusal::Policy));
}

/// The key of the probes here, at the point of the desk.
const KEY: SentKey = SentKey { nonce: [1, 2, 3, 4, 5, 6, 7, 8], namespace: 4_026_531_840, point: 2 };
const SENT: Sent = Sent {
    driver_tx_ns: MONOTONIC_NS - 900,
    nic_tx_ns: MONOTONIC_NS - 800 + CARD_AHEAD_NS,
    echo: [0, 1, 0, 2],
    phc: 4,
    nic_tx_asked: 1,
    device: 0,
};

/// A desk that keeps what became known of requests.
fn keeping(sent: Sent) -> Desk {
    let desk = desk();
    let site = desk.site.map(|site| Site { keeps_sent: 1, namespace: KEY.namespace, phc: SENT.phc, ..site });
    Desk { site, sent: RefCell::new([(KEY, sent)].into()), ..desk }
}

/// A stamp of the desk.
fn record(phase: Phase, hook: Hook, time_ns: u64) -> Record {
    Record::new(phase, 2, hook, 0xbeef, Clock::MONOTONIC, Bound::from_exponent(6), time_ns)
}

/// A reply with room for as many records.
fn reply_with_room(records: u8) -> Frame {
    let counts = 0x20 | (2 + records);
    Frame { records: usize::from(2 + records), counts, ..reply(STRANGER, OWN) }
}

/// What the desk has added to the two records that were there.
fn added(desk: &Desk, room: u8, passage: impl Into<Passage>) -> Vec<Record> {
    stamped_by(desk, &reply_with_room(room), passage).expect("stamped").split_off(2)
}

#[test]
fn a_reply_gets_what_became_known_of_its_request() {
    let desk = keeping(SENT);
    let own = record(Phase::Reply, Hook::XDP_INGRESS, MONOTONIC_NS);
    let driver = record(Phase::Request, Hook::DRIVER_TX, SENT.driver_tx_ns);
    let card = Record::new(Phase::Request, 2, Hook::NIC_TX, 0xbeef, Clock::PHC, Bound::UNKNOWN, SENT.nic_tx_ns);
    assert_eq!(added(&desk, 3, Hook::XDP_INGRESS), [own, driver, card]);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Ok(())), (Hook::NIC_TX, Ok(()))]);
    // Once.
    assert_eq!(added(&desk, 3, Hook::XDP_INGRESS), [own]);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Err(Refusal::Absent))]);
}

#[test]
fn times_of_the_card_are_converted_where_its_clock_is_known() {
    let desk = Desk { has_model: true, ..keeping(SENT) };
    let converted = |phase, hook, time_ns| {
        Record::new(phase, 2, hook, 0xbeef, Clock::MONOTONIC, Bound::from_exponent(7), time_ns - CARD_AHEAD_NS)
    };
    let nic_rx_ns = MONOTONIC_NS - 5 + CARD_AHEAD_NS;
    let passage = Passage { nic_rx_ns: Some(nic_rx_ns), ..Hook::TC_INGRESS.into() };
    assert_eq!(
        added(&desk, 4, passage)[2..],
        [converted(Phase::Request, Hook::NIC_TX, SENT.nic_tx_ns), converted(Phase::Reply, Hook::NIC_RX, nic_rx_ns),]
    );
    assert_eq!(desk.counts.take().last(), Some(&(Hook::NIC_RX, Ok(()))));
}

#[test]
fn the_card_may_not_have_told_its_time_yet() {
    let desk = keeping(Sent { nic_tx_ns: 0, ..SENT });
    assert_eq!(added(&desk, 4, Hook::XDP_INGRESS).len(), 2);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Ok(())), (Hook::NIC_TX, Err(Refusal::Absent))]);
    let desk = keeping(Sent { nic_tx_asked: 0, ..SENT });
    assert_eq!(added(&desk, 4, Hook::XDP_INGRESS).len(), 2);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Ok(()))]);
    let passage = Passage { nic_rx_ns: Some(0), ..Hook::TC_INGRESS.into() };
    assert_eq!(added(&desk, 4, passage).len(), 1);
    assert_eq!(desk.counts.take()[1..], [(Hook::NIC_RX, Err(Refusal::Absent))]);
}

#[test]
fn the_time_of_another_card_is_of_no_use() {
    let desk = keeping(SENT);
    let site = desk.site.map(|site| Site { phc: 5, ..site });
    let desk = Desk { site, ..desk };
    assert_eq!(added(&desk, 4, Hook::XDP_INGRESS).len(), 2);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Ok(())), (Hook::NIC_TX, Err(Refusal::Mismatch))]);
}

#[test]
fn what_is_of_another_message_is_of_no_use() {
    let desk = keeping(Sent { echo: [0, 1, 0, 3], ..SENT });
    assert_eq!(added(&desk, 4, Hook::XDP_INGRESS).len(), 1);
    assert_eq!(desk.counts.take(), [(Hook::DRIVER_TX, Err(Refusal::Mismatch))]);
    let elsewhere = SentKey { point: 0, ..KEY };
    let desk = Desk { sent: RefCell::new([(elsewhere, SENT)].into()), ..keeping(SENT) };
    assert_eq!(added(&desk, 4, Hook::XDP_INGRESS).len(), 1);
}

#[test]
fn late_stamps_take_what_room_there_is() {
    let hooks = |room| {
        let desk = keeping(SENT);
        let passage = Passage { nic_rx_ns: Some(1), ..Hook::XDP_INGRESS.into() };
        let hooks: Vec<_> = added(&desk, room, passage).iter().map(Record::hook).collect();
        let full: Vec<_> = desk.counts.take().into_iter().filter(|(_, outcome)| outcome.is_err()).collect();
        assert!(full.iter().all(|(_, outcome)| *outcome == Err(Refusal::Full)), "{full:?}");
        assert!(desk.sent.take().is_empty(), "it is forgotten, room or not");
        (hooks, full.len())
    };
    assert_eq!(hooks(1), (vec![Hook::XDP_INGRESS], 3));
    assert_eq!(hooks(2), (vec![Hook::XDP_INGRESS, Hook::DRIVER_TX], 2));
    assert_eq!(hooks(3), (vec![Hook::XDP_INGRESS, Hook::DRIVER_TX, Hook::NIC_TX], 1));
    assert_eq!(hooks(4), (vec![Hook::XDP_INGRESS, Hook::DRIVER_TX, Hook::NIC_TX, Hook::NIC_RX], 0));
}

#[test]
fn only_replies_to_its_own_probes_that_come_in_get_more_than_one_stamp() {
    let ingress = Passage { nic_rx_ns: Some(1), ..Hook::TC_INGRESS.into() };
    let egress = Passage { nic_rx_ns: Some(1), ..Hook::TC_EGRESS.into() };
    for (frame, passage) in [
        (request(OWN, STRANGER), ingress),
        (reply(OWN, RESPONDED), ingress),
        (request(RESPONDED, OWN), ingress),
        (reply(STRANGER, OWN), egress),
    ] {
        let desk = keeping(SENT);
        let frame = Frame { records: 8, counts: 0x08, ..frame };
        assert_eq!(stamped_by(&desk, &frame, passage).expect("stamped").len(), 1);
        assert_eq!((desk.sent.take().len(), desk.counts.take().len()), (1, 0));
    }
}

#[test]
fn a_stamp_may_be_of_a_place_that_the_packet_has_passed() {
    let passage = Passage { passed_ns: Some(MONOTONIC_NS - 70), ..Hook::XDP_INGRESS.into() };
    let own = stamped_by(&desk(), &reply(STRANGER, OWN), passage).expect("stamped");
    assert_eq!(own.last(), Some(&record(Phase::Reply, Hook::XDP_INGRESS, MONOTONIC_NS - 70)));
    let others = stamped_by(&desk(), &request(RESPONDED, OWN), passage).expect("stamped");
    assert_eq!(others.last().map(|record| (record.clock(), record.time_ns())), Some((Clock::TAI, TAI_NS - 70)));
}

#[test]
fn the_time_of_the_card_can_be_added_later() {
    let desk = desk();
    let stamped = |frame: &Frame| {
        let mut bytes = frame.bytes();
        let outcome = stamp_nic_rx(bytes.as_mut_slice(), &desk, 77);
        assert_eq!(bytes != frame.bytes(), outcome.is_ok());
        outcome
    };
    assert_eq!(stamped(&reply(STRANGER, OWN)), Ok(()));
    let mut untold = reply(STRANGER, OWN).bytes();
    assert_eq!(stamp_nic_rx(untold.as_mut_slice(), &desk, 0), Err(Refusal::Absent));
    for frame in [request(OWN, STRANGER), request(RESPONDED, OWN), reply(OWN, RESPONDED), reply(OWN, STRANGER)] {
        assert_eq!(stamped(&frame), Err(Refusal::Policy));
    }
}

#[test]
fn an_unconfigured_host_stamps_nothing() {
    let mut frame = request(OWN, STRANGER).bytes();
    let desk = Desk { site: None, ..desk() };
    assert_eq!(stamp(frame.as_mut_slice(), &desk, Hook::TC_EGRESS), Err(Refusal::Policy));
}

#[test]
fn a_frame_cut_anywhere_is_refused_untouched() {
    for frame in [request(OWN, STRANGER), Frame { extensions: vec![extension(0, 1)], ..request(OWN6, STRANGER6) }] {
        let whole = frame.bytes();
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            assert_eq!(stamp(cut.as_mut_slice(), &desk(), Hook::XDP_INGRESS), Err(Refusal::Truncated), "{length}");
            assert_eq!(cut, whole[..length]);
        }
    }
}

#[test]
fn an_ip_length_below_the_headers_is_refused() {
    let mut frame = request(OWN, STRANGER).bytes();
    for length in 0..20_u8 {
        frame[17] = length;
        assert_eq!(stamp(frame.as_mut_slice(), &desk(), Hook::XDP_INGRESS), Err(Refusal::Truncated), "{length}");
    }
}
