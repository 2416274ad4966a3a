//! What is stamped, and what must pass untouched.

use std::{collections::HashMap, net::IpAddr};

use instamp_trailer::{Address, Bound, Clock, Hook, Host, Phase, Record, Refusal, Site, Standing, Trailer, stamp};

/// A host with a table of addresses, on which time stands still.
struct Desk {
    site: Option<Site>,
    policy: HashMap<Address, Standing>,
}

const MONOTONIC_NS: u64 = 0x1122_3344_5566_7788;
const TAI_NS: u64 = 0x2122_2324_2526_2728;

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
    let site = Site { node: 0xbeef, point: 2, bound: 6, own_clock, respond_clock, reserved: [0; 2] };
    let policy = [(OWN, Standing::OWN), (OWN6, Standing::OWN), (RESPONDED, Standing::RESPOND)];
    Desk { site: Some(site), policy: policy.map(|(address, standing)| (ip(address).into(), standing)).into() }
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
    let before = frame.bytes();
    let mut after = before.clone();
    let outcome = stamp(after.as_mut_slice(), &desk(), hook);
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
