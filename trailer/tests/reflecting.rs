//! Requests that are turned round, and what is left to the stack.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use instamp_trailer::{
    Address, Clock, Hook, Host, Mirror, Phase, Record, Reflection, Site, Standing, Trailer,
    checksum::{add, sum_bytes},
    locate, reflect,
    wire::{Footer, State},
};
use proptest::prelude::*;
use zerocopy::IntoBytes as _;

const OWN4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OWN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// An address for which the host measures, and for which another answers.
const CONTAINER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const ALLOWED4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const ALLOWED6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
/// Allowed, but it has sent too much.
const EAGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

/// A host that reflects, on which 100 ns pass between two looks at the clock.
struct Desk(Cell<u64>);

const FIRST_NS: u64 = 0x1122_3344_5566_7788;
const STEP_NS: u64 = 100;
const NODE: u16 = 0xbeef;
const ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn desk() -> Desk {
    Desk(Cell::new(FIRST_NS))
}

impl Host for Desk {
    fn site(&self) -> Option<Site> {
        Some(Site {
            node: NODE,
            point: 2,
            bound: 6,
            own_clock: Clock::MONOTONIC.number(),
            respond_clock: Clock::MONOTONIC.number(),
            keeps_sent: 0,
            nic_rx: 0,
            namespace: 0,
            phc: 0,
        })
    }

    fn standing(&self, address: Address) -> Standing {
        let address = IpAddr::from(address);
        if [OWN4, OWN6, CONTAINER].contains(&address) { Standing::OWN } else { Standing::STRANGER }
    }

    fn answers_for(&self, address: Address) -> bool {
        self.standing(address) == Standing::OWN && IpAddr::from(address) != CONTAINER
    }

    fn now_ns(&self, clock: Clock) -> Option<u64> {
        assert_eq!(clock, Clock::TAI);
        let now_ns = self.0.get();
        self.0.set(now_ns + STEP_NS);
        Some(now_ns)
    }
}

impl Mirror for Desk {
    fn clock(&self) -> Clock {
        Clock::TAI
    }

    fn address(&self) -> [u8; 6] {
        ADDRESS
    }

    fn admit(&self, source: Address) -> Result<(), Reflection> {
        let source = IpAddr::from(source);
        if source == EAGER {
            return Err(Reflection::Limited);
        }
        if [ALLOWED4, ALLOWED6].contains(&source) { Ok(()) } else { Err(Reflection::NotAllowed) }
    }
}

/// An echo request with right checksums.
#[derive(Clone, Debug)]
struct Frame {
    ethernet: [u8; 12],
    tags: Vec<u16>,
    source: IpAddr,
    destination: IpAddr,
    between: Vec<u8>,
    time_to_live: u8,
    kind: Option<u8>,
    identifier: u32,
    application: Vec<u8>,
    records: Vec<Record>,
    used: u8,
    padding: usize,
}

fn request(source: IpAddr, destination: IpAddr) -> Frame {
    Frame {
        ethernet: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
        tags: Vec::new(),
        source,
        destination,
        between: Vec::new(),
        time_to_live: 57,
        kind: None,
        identifier: 0x0001_0002,
        application: Vec::new(),
        records: vec![Record::EMPTY; 4],
        used: 1,
        padding: 0,
    }
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.ethernet.to_vec();
        for tag in &self.tags {
            bytes.extend(tag.to_be_bytes());
            bytes.extend([0, 7]);
        }
        let (kind, protocol) = if self.source.is_ipv4() { (8, 1) } else { (128, 58) };
        let mut message = vec![self.kind.unwrap_or(kind), 0, 0, 0];
        message.extend(self.identifier.to_be_bytes());
        message.extend(&self.application);
        message.extend(self.records.as_bytes());
        let cap = u8::try_from(self.records.len()).expect("a cap");
        message.extend(Footer::new(0x0102_0304_0506_0708, State::new(0x1234, cap)).as_bytes());
        let counts = message.len() - 6;
        message[counts] |= self.used << 4;
        let length = u16::try_from(message.len()).expect("a length");
        let all = length + u16::try_from(self.between.len()).expect("a length");
        let header = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend([0x08, 0x00]);
                let words = u8::try_from(5 + self.between.len() / 4).expect("a header");
                let mut header = vec![0x40 | words, 0];
                header.extend((all + 20).to_be_bytes());
                header.extend([0x12, 0x34, 0x40, 0x00, self.time_to_live, protocol, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(&self.between);
                let checksum = !sum_bytes(&header);
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend([0x86, 0xdd]);
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(all.to_be_bytes());
                header.extend([if self.between.is_empty() { protocol } else { 60 }, self.time_to_live]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(&self.between);
                header
            }
            _ => panic!("addresses of one version"),
        };
        let checksum = !add(sum_bytes(&message), pseudo_header(self.source, self.destination, length));
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(header);
        bytes.extend(message);
        bytes.resize(bytes.len() + self.padding, 0xee);
        bytes
    }
}

/// What the checksum of a message covers besides it.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: u16) -> u16 {
    match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            add(add(sum_bytes(&source.octets()), sum_bytes(&destination.octets())), add(length, 58))
        }
        _ => 0,
    }
}

/// What becomes of the frame. What is not turned round stays as it is.
fn reflected(frame: &Frame, is_whole: bool) -> (Option<Reflection>, Vec<u8>) {
    let before = frame.bytes();
    let mut after = before.clone();
    let probe = locate(after.as_slice()).expect("a probe");
    let desk = desk();
    let reflection = reflect(after.as_mut_slice(), &desk, &desk, &probe, || is_whole);
    if !reflection.is_some_and(Reflection::is_turned) {
        assert_eq!(before, after, "{reflection:?} must leave the frame as it is");
    }
    (reflection, after)
}

#[test]
fn what_needs_more_than_swapped_addresses_is_left_to_the_stack() {
    let plain = request(ALLOWED4, OWN4);
    let plain6 = request(ALLOWED6, OWN6);
    let extension = vec![58, 0, 1, 4, 0, 0, 0, 0];
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let from = |source| Frame { source, ..plain.clone() };
    let from6 = |source| Frame { source, ..plain6.clone() };
    let mut to_group = plain.clone();
    to_group.ethernet[0] = 0xff;
    let mut to_another = plain.clone();
    to_another.ethernet[5] = 9;
    let mut from_group = plain.clone();
    from_group.ethernet[6] = 0x03;
    let table = [
        ("plain", plain.clone(), Some(Reflection::Stamped)),
        ("plain IPv6", plain6.clone(), Some(Reflection::Stamped)),
        ("tagged", Frame { tags: vec![0x88a8, 0x8100], ..plain.clone() }, Some(Reflection::Stamped)),
        ("full", Frame { used: 2, ..plain.clone() }, Some(Reflection::Full)),
        ("options", Frame { between: vec![1; 4], ..plain.clone() }, Some(Reflection::Unfit)),
        ("extension", Frame { between: extension, ..plain6.clone() }, Some(Reflection::Unfit)),
        ("Ethernet group", to_group, Some(Reflection::Unfit)),
        ("to another device", to_another, None),
        ("from an Ethernet group", from_group, Some(Reflection::Unfit)),
        ("from ourselves", from(OWN4), Some(Reflection::Unfit)),
        ("from a container of ours", from(CONTAINER), Some(Reflection::Unfit)),
        ("from nobody", from(ip("0.0.0.0")), Some(Reflection::Unfit)),
        ("from loopback", from(ip("127.0.0.1")), Some(Reflection::Unfit)),
        ("from a group", from(ip("224.0.0.1")), Some(Reflection::Unfit)),
        ("from everybody", from(ip("255.255.255.255")), Some(Reflection::Unfit)),
        ("from nobody in IPv6", from6(ip("::")), Some(Reflection::Unfit)),
        ("from a group of IPv6", from6(ip("ff02::1")), Some(Reflection::Unfit)),
        ("from a mapped address", from6(ip("::ffff:203.0.113.9")), Some(Reflection::Unfit)),
        ("not allowed", from(STRANGER), Some(Reflection::NotAllowed)),
        ("too often", from(EAGER), Some(Reflection::Limited)),
        ("to another", request(ALLOWED4, STRANGER), None),
        ("to a container of ours", request(ALLOWED4, CONTAINER), None),
        ("to everybody", request(ALLOWED4, ip("255.255.255.255")), None),
        ("to a group", request(ALLOWED6, ip("ff02::1")), None),
        ("a reply", Frame { kind: Some(0), ..plain.clone() }, None),
    ];
    for (name, frame, expected) in table {
        assert_eq!(reflected(&frame, true).0, expected, "{name}");
    }
    assert_eq!(reflected(&plain, false).0, Some(Reflection::Unfit), "in several buffers");
}

fn frames() -> impl Strategy<Value = Frame> {
    let addresses = prop_oneof![Just((ALLOWED4, OWN4)), Just((ALLOWED6, OWN6))];
    let bytes = prop::collection::vec(any::<[u8; 2]>(), 0..50);
    let records = prop::collection::vec(any::<[u8; 12]>(), 2..=15);
    let tags = prop::collection::vec(prop_oneof![Just(0x8100_u16), Just(0x88a8)], 0..=2);
    (addresses, bytes, records, any::<u8>(), any::<u8>(), tags, any::<[u8; 12]>(), any::<u32>(), 0_usize..20).prop_map(
        |((source, destination), bytes, records, used, time_to_live, tags, mut ethernet, identifier, padding)| {
            ethernet[..6].copy_from_slice(&ADDRESS);
            ethernet[6] &= !1;
            let used = used % (u8::try_from(records.len()).expect("a cap") + 1);
            let records = records.into_iter().map(|bytes| zerocopy::transmute!(bytes)).collect();
            let application = bytes.as_flattened().to_vec();
            let plain = request(source, destination);
            Frame { ethernet, tags, time_to_live, identifier, application, records, used, padding, ..plain }
        },
    )
}

proptest! {
    #[test]
    fn a_request_becomes_its_reply_and_nothing_else_changes(frame in frames()) {
        let before = frame.bytes();
        let (reflection, after) = reflected(&frame, true);
        let free = frame.records.len() - usize::from(frame.used);
        prop_assert_eq!(reflection, Some(if free >= 3 { Reflection::Stamped } else { Reflection::Full }));

        // The headers are those of the reply, as its sender would have written it.
        let [a, b, c, d, e, f, g, h, i, j, k, l] = frame.ethernet;
        let reply = Frame {
            ethernet: [g, h, i, j, k, l, a, b, c, d, e, f],
            source: frame.destination,
            destination: frame.source,
            time_to_live: 64,
            kind: Some(if frame.source.is_ipv4() { 0 } else { 129 }),
            ..frame.clone()
        };
        let expected = reply.bytes();
        let probe = locate(after.as_slice()).unwrap();
        let message = usize::try_from(probe.message_offset).unwrap();
        let footer = usize::try_from(probe.footer_offset).unwrap();
        prop_assert_eq!(probe.phase, Phase::Reply);
        // But for the two forms of zero, which a checksum may have.
        let is_same_checksum = |at: usize| {
            let [a, b] = [&after, &expected].map(|bytes| u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            a % 0xffff == b % 0xffff
        };
        let ip = usize::try_from(probe.ip_offset).unwrap();
        let mut headers = [&after[..message + 4], &expected[..message + 4]].map(<[u8]>::to_vec);
        for checksum in [Some(message + 2), (probe.ip_version == 4).then_some(ip + 10)].into_iter().flatten() {
            prop_assert!(is_same_checksum(checksum));
            headers.iter_mut().for_each(|bytes| bytes[checksum..checksum + 2].fill(0));
        }
        prop_assert_eq!(&headers[0], &headers[1]);

        // The checksums are right.
        let length = u16::try_from(footer + 16 - message).unwrap();
        let sum = add(sum_bytes(&after[message..footer + 16]), pseudo_header(frame.source, frame.destination, length));
        prop_assert_eq!(sum, 0xffff);
        if probe.ip_version == 4 {
            prop_assert_eq!(sum_bytes(&after[ip..message]), 0xffff);
        }

        // Behind the first words of the message, only the two records and the state of the footer have changed.
        let records = footer - free * 12;
        let written = if free >= 3 { 24 } else { 0 };
        prop_assert_eq!(&after[message + 4..records], &before[message + 4..records]);
        prop_assert_eq!(&after[records + written..footer + 8], &before[records + written..footer + 8]);
        prop_assert_eq!(&after[footer + 12..], &before[footer + 12..]);

        let trailer = Trailer::parse(&after[message + 8..footer + 16]).unwrap();
        if free < 3 {
            prop_assert!(trailer.footer.state().is_full());
            prop_assert_eq!(trailer.records.len(), usize::from(frame.used));
            return Ok(());
        }
        let [.., arrival, departure] = trailer.records else { panic!("two records") };
        for (record, phase, hook, time_ns) in [
            (arrival, Phase::Request, Hook::XDP_INGRESS, FIRST_NS),
            (departure, Phase::Reply, Hook::XDP_TX, FIRST_NS + STEP_NS),
        ] {
            prop_assert_eq!((record.phase(), record.hook(), record.time_ns()), (phase, hook, time_ns));
            prop_assert_eq!((record.node(), record.point(), record.clock()), (NODE, 2, Clock::TAI));
        }
        prop_assert_eq!(trailer.footer.state().flags(), 0);
    }
}
