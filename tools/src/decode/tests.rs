//! Capture files, byte by byte.
#![expect(clippy::cast_possible_truncation, reason = "these captures are short")]

use std::io::Cursor;

use proptest::prelude::*;

use super::{Options, Tally, print};

/// What is printed for a capture, the tally, and the error.
struct Printed {
    text: String,
    tally: String,
    error: Option<String>,
}

fn printed(file: &[u8], json: bool, all: bool) -> Printed {
    let options = Options { file: "-".into(), all, json };
    let (mut out, mut tally) = (Vec::new(), Tally::default());
    let result = print(Box::new(Cursor::new(file.to_vec())), &options, &mut out, &mut tally);
    Printed {
        text: String::from_utf8(out).expect("text"),
        tally: tally.to_string(),
        error: result.err().map(|error| format!("{error:#}")),
    }
}

fn text_of(file: &[u8]) -> String {
    let printed = printed(file, false, false);
    assert_eq!(printed.error, None);
    printed.text
}

/// One's-complement sum, the plain way.
fn checksum(words: &[u8]) -> u16 {
    let mut sum: u32 =
        words.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// Two records (request at tc-egress, reply at xdp-ingress 11,342 ns later) of four, then the footer.
#[rustfmt::skip]
const TRAILER: [u8; 64] = [
    0x01, 0x26, 0x00, 0x07, 0x00, 0x00, 0x01, 0xf3, 0xd0, 0x63, 0xb5, 0x0b,
    0x83, 0x26, 0x00, 0x07, 0x00, 0x00, 0x01, 0xf3, 0xd0, 0x63, 0xe1, 0x59,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
    0xbe, 0xef, 0x24, 0x00, b'I', b'S', b'T', 0x01,
];

/// An echo message of identifier 0x1234 and sequence number 5; `pseudo` is what its checksum covers besides.
fn message(kind: u8, payload: &[u8], pseudo: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0x12, 0x34, 0x00, 0x05], payload].concat();
    let sum = checksum(&[pseudo, &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn ipv4(payload: &[u8]) -> Vec<u8> {
    let message = message(0, payload, &[]);
    let length = u16::try_from(20 + message.len()).expect("short").to_be_bytes();
    [&[0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 63, 1, 0, 0, 10, 99, 0, 2, 10, 88, 0, 5], message.as_slice()]
        .concat()
}

fn ipv6(payload: &[u8]) -> Vec<u8> {
    let addresses = [
        [0xfd, 0, 0, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        [0xfd, 0, 0, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
    ]
    .concat();
    let length = u16::try_from(8 + payload.len()).expect("short").to_be_bytes();
    let message = message(129, payload, &[addresses.as_slice(), &[0, 0], &length, &[0, 0, 0, 58]].concat());
    [&[0x60, 0, 0, 0, length[0], length[1], 58, 63], addresses.as_slice(), &message].concat()
}

fn ethernet(ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], ethertype.as_slice(), packet].concat()
}

/// A pcap file of one byte order; packets are 1 second and 5 units apart, from 1,700,000,000 s.
fn pcap(magic: u32, order: fn(u32) -> [u8; 4], link: u32, snapshot: usize, packets: &[Vec<u8>]) -> Vec<u8> {
    let version = if order(1)[0] == 1 { [2, 0, 4, 0] } else { [0, 2, 0, 4] };
    let mut file = [order(magic), version, [0; 4], [0; 4], order(0x4_0000), order(link)].concat();
    for (second, packet) in (1_700_000_000..).zip(packets) {
        let captured = &packet[..packet.len().min(snapshot)];
        let header = [second, 5, captured.len() as u32, packet.len() as u32].map(order);
        file.extend(header.concat());
        file.extend(captured);
    }
    file
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

fn le_pcap(link: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    pcap(MICROSECONDS, u32::to_le_bytes, link, usize::MAX, packets)
}

/// A pcapng block.
fn block(kind: u32, order: fn(u32) -> [u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = order((12 + body.len() + padding.len()) as u32);
    [&order(kind), &length, body, &padding, &length].concat()
}

/// A section of one interface with the options, and these packets at 1,700,000,000 s of `per_second` units, and 5 units.
fn pcapng(order: fn(u32) -> [u8; 4], link: u16, options: &[u8], per_second: u64, packets: &[Vec<u8>]) -> Vec<u8> {
    let two = |value: u16| if order(1)[0] == 1 { value.to_le_bytes() } else { value.to_be_bytes() };
    let section = [order(0x1a2b_3c4d).as_slice(), &two(1), &two(0), &[0xff; 8]].concat();
    let interface = [&two(link), &two(0), order(0x4_0000).as_slice(), options].concat();
    let mut file = [block(0x0a0d_0d0a, order, &section), block(1, order, &interface)].concat();
    let ticks = 1_700_000_000 * per_second + 5;
    for packet in packets {
        let fields = [0, (ticks >> 32) as u32, ticks as u32, packet.len() as u32, packet.len() as u32].map(order);
        file.extend(block(6, order, &[&fields.concat(), packet.as_slice()].concat()));
    }
    file
}

#[test]
fn prints_a_probe_for_people() {
    insta::assert_snapshot!(text_of(&le_pcap(1, &[ethernet([8, 0], &ipv4(&TRAILER))])), @r"
    1700000000.000005000 10.99.0.2 > 10.88.0.5 echo reply, id 4660, seq 5, checksum 0x0fef (correct), nonce 0x0123456789abcdef, complement 0xbeef, 2 of 4 records
        request  point 0  tc-egress    node 7      monotonic  2146.684876043  +-64ns
        reply    point 0  xdp-ingress  node 7      monotonic  2146.684887385  +-64ns  +11.342us
    ");
}

#[test]
fn prints_a_probe_as_json() {
    let file = le_pcap(1, &[ethernet([0x86, 0xdd], &ipv6(&[&[7, 7], TRAILER.as_slice()].concat()))]);
    insta::assert_snapshot!(printed(&file, true, false).text, @r#"{"type":"probe","packet":1,"time_ns":1700000000000005000,"source":"fd00:99::2","destination":"fd00:88::5","phase":"reply","identifier":4660,"sequence":5,"checksum":35897,"checksum_valid":true,"nonce":"0123456789abcdef","complement":48879,"used":2,"cap":4,"full":false,"application_bytes":2,"stamps":[{"phase":"request","point":0,"hook":"tc-egress","node":7,"clock":"monotonic","time_ns":2146684876043,"bound_ns":64},{"phase":"reply","point":0,"hook":"xdp-ingress","node":7,"clock":"monotonic","time_ns":2146684887385,"bound_ns":64}]}"#);
}

#[test]
fn every_form_of_capture_tells_the_same() {
    let packet = ipv4(&TRAILER);
    let frame = ethernet([8, 0], &packet);
    let tagged = ethernet([0x88, 0xa8], &[&[0, 9, 0x81, 0, 0, 8, 8, 0], packet.as_slice()].concat());
    let cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0], packet.as_slice()].concat();
    let tagged_cooked = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 9, 8, 0], packet.as_slice()].concat();
    let cooked_v2 = [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], packet.as_slice()].concat();
    let expected = text_of(&le_pcap(1, std::slice::from_ref(&frame)));
    for (link, packet) in
        [(1, tagged), (113, cooked), (113, tagged_cooked), (276, cooked_v2), (101, packet.clone()), (228, packet)]
    {
        assert_eq!(text_of(&le_pcap(link, &[packet])), expected, "link type {link}");
    }
    let packets = [frame];
    assert_eq!(text_of(&pcap(MICROSECONDS, u32::to_be_bytes, 1, usize::MAX, &packets)), expected);
    assert_eq!(text_of(&pcapng(u32::to_le_bytes, 1, &[], 1_000_000, &packets)), expected);
    assert_eq!(text_of(&pcapng(u32::to_be_bytes, 1, &[], 1_000_000, &packets)), expected);
    // The upper bits of a pcap file's link type tell the length of a frame check sequence.
    assert_eq!(text_of(&le_pcap(0x1400_0001, &packets)), expected);
}

#[test]
fn times_have_the_capture_s_resolution() {
    let packets = [ipv6(&TRAILER)];
    let time = |file: &[u8]| {
        let printed = printed(file, true, false);
        assert_eq!(printed.error, None);
        let line: serde_json::Value = serde_json::from_str(&printed.text).expect("JSON");
        line["time_ns"].as_i64()
    };
    let second = 1_700_000_000_000_000_000;
    assert_eq!(time(&le_pcap(101, &packets)), Some(second + 5_000));
    assert_eq!(time(&pcap(NANOSECONDS, u32::to_le_bytes, 101, usize::MAX, &packets)), Some(second + 5));
    assert_eq!(time(&pcap(NANOSECONDS, u32::to_be_bytes, 101, usize::MAX, &packets)), Some(second + 5));

    let nanoseconds = [9, 0, 1, 0, 9, 0, 0, 0];
    assert_eq!(time(&pcapng(u32::to_le_bytes, 101, &nanoseconds, 1_000_000_000, &packets)), Some(second + 5));
    let sixteenths = [9, 0, 1, 0, 0x84, 0, 0, 0];
    assert_eq!(time(&pcapng(u32::to_le_bytes, 101, &sixteenths, 16, &packets)), Some(second + 312_500_000));
    let one_second_earlier = [0, 14, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(
        time(&pcapng(u32::to_be_bytes, 101, &one_second_earlier, 1_000_000, &packets)),
        Some(second - 1_000_000_000 + 5_000)
    );
    let finer_than_representable = [9, 0, 1, 0, 127, 0, 0, 0];
    assert_eq!(time(&pcapng(u32::to_le_bytes, 101, &finer_than_representable, 1, &packets)), None);
    let mut simple = pcapng(u32::to_le_bytes, 101, &[], 1, &[]);
    let length = u32::to_le_bytes(packets[0].len() as u32);
    simple.extend(block(3, u32::to_le_bytes, &[&length, packets[0].as_slice()].concat()));
    assert_eq!(time(&simple), None, "a simple packet has no time");
}

#[test]
fn finds_a_wrong_checksum() {
    for mut packet in [ipv4(&TRAILER), ipv6(&TRAILER)] {
        assert!(text_of(&le_pcap(101, &[packet.clone()])).contains("(correct)"));
        let byte = packet.len() - 30;
        packet[byte] ^= 1;
        assert!(text_of(&le_pcap(101, &[packet])).contains("(WRONG)"));
    }
}

#[test]
fn tells_why_an_echo_message_is_no_probe() {
    let mut version = TRAILER;
    version[63] = 9;
    let mut counts = TRAILER;
    counts[58] = 0x54;
    let mut fragment = ipv4(&TRAILER);
    fragment[6] = 0x20;
    let mut other_protocol = ipv4(&TRAILER);
    other_protocol[9] = 17;
    let packets = [
        ipv4(&TRAILER),
        ipv4(&[0; 56]),
        ipv4(&version),
        ipv4(&counts),
        ipv4(&[&[1], TRAILER.as_slice()].concat()),
        fragment,
        other_protocol,
    ];
    let printed = printed(&le_pcap(101, &packets), false, true);
    let reasons: Vec<&str> =
        printed.text.lines().filter_map(|line| line.split_once("no probe: ")).map(|(_, r)| r).collect();
    assert_eq!(reasons, ["no-trailer", "version", "counts", "odd-length", "fragment"]);
    assert_eq!(printed.tally, "7 packets, 1 probes, 1 counts, 1 fragment, 1 no-trailer, 1 odd-length, 1 version");
}

#[test]
fn a_packet_that_was_not_captured_whole_is_told_apart() {
    let file = pcap(MICROSECONDS, u32::to_le_bytes, 101, 68, &[ipv4(&TRAILER)]);
    let printed = printed(&file, false, true);
    assert_eq!(
        printed.text,
        "1700000000.000005000 10.99.0.2 > 10.88.0.5 no probe: truncated (68 of 92 bytes captured)\n"
    );
}

#[test]
fn what_is_no_capture_is_an_error() {
    for (file, error) in [
        (b"".as_slice(), "empty: not a capture file"),
        (b"hello", "not a capture file: neither pcap nor pcapng"),
        (b"\xd4\xc3\xb2\xa1\x02", "ends within its header: not a capture file"),
        (b"hello, this is no capture file at all", "not a capture file: neither pcap nor pcapng"),
        (b"\x0a\x0d\x0d\x0a\xff\xff\xff\xff\x4d\x3c\x2b\x1a............", "damaged: a header of 4294967295 bytes"),
    ] {
        assert_eq!(printed(file, false, false).error.as_deref(), Some(error));
    }
    let printed = printed(&le_pcap(147, &[vec![0; 60]]), false, false);
    assert_eq!(printed.tally, "1 packets, 0 probes, 1 of link type 147, which is not known");
}

#[test]
fn a_file_cut_off_anywhere_shows_the_packets_before() {
    let packets = [ipv4(&TRAILER), ipv4(&TRAILER)];
    for file in [le_pcap(101, &packets), pcapng(u32::to_le_bytes, 101, &[], 1_000_000, &packets)] {
        let whole = printed(&file, false, false);
        assert_eq!((whole.error.as_deref(), whole.tally.as_str()), (None, "2 packets, 2 probes"));
        let mut complete = 0;
        for end in 0..file.len() {
            let cut = printed(&file[..end], false, false);
            assert!(whole.text.starts_with(&cut.text));
            complete += usize::from(cut.error.is_none());
        }
        // Only between blocks: after the header or headers, and after the first packet.
        assert!((2..=3).contains(&complete), "{complete}");
    }
}

#[test]
fn packets_larger_than_the_buffer_are_read() {
    let file = le_pcap(101, &[vec![0; 200_000], ipv4(&TRAILER)]);
    assert_eq!(printed(&file, false, false).tally, "2 packets, 1 probes");
    let mut damaged = file;
    damaged[24 + 8..24 + 12].copy_from_slice(&[0xff; 4]);
    let error = printed(&damaged, false, false).error.expect("an error");
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn interfaces_without_end_are_no_capture() {
    let mut file = pcapng(u32::to_le_bytes, 101, &[], 1_000_000, &[]);
    let interface = block(1, u32::to_le_bytes, &[101, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(interface.repeat((1 << 16) - 1));
    assert_eq!(printed(&file, false, false).error, None);
    file.extend(interface);
    let error = printed(&file, false, false).error.expect("an error");
    assert!(error.contains("more than 65536 interfaces"), "{error}");
}

/// A reader that returns one byte at a time, as a pipe may.
struct Trickle(Cursor<Vec<u8>>);

impl std::io::Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let one = buffer.len().min(1);
        self.0.read(&mut buffer[..one])
    }
}

#[test]
fn a_pipe_may_deliver_in_any_pieces() {
    let packets = [ethernet([8, 0], &ipv4(&TRAILER))];
    for file in [le_pcap(1, &packets), pcapng(u32::to_be_bytes, 1, &[], 1_000_000, &packets)] {
        let expected = text_of(&file);
        let options = Options { file: "-".into(), all: false, json: false };
        let mut out = Vec::new();
        print(Box::new(Trickle(Cursor::new(file))), &options, &mut out, &mut Tally::default()).expect("complete");
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(file: Vec<u8>, json: bool) {
        printed(&file, json, true);
    }

    #[test]
    fn no_damage_makes_it_panic(
        form in 0_u8..6,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        json: bool,
    ) {
        let packets = [ethernet([8, 0], &ipv4(&TRAILER)), ethernet([0x86, 0xdd], &ipv6(&TRAILER))];
        let mut file = match form {
            0 => le_pcap(1, &packets),
            1 => pcap(NANOSECONDS, u32::to_be_bytes, 113, 80, &packets),
            2 => pcap(0xa1b2_cd34, u32::to_le_bytes, 276, 80, &packets),
            3 => pcapng(u32::to_le_bytes, 1, &[9, 0, 1, 0, 9, 0, 0, 0], 1_000_000_000, &packets),
            4 => pcapng(u32::to_be_bytes, 101, &[], 1_000_000, &packets),
            _ => {
                let mut file = pcapng(u32::to_le_bytes, 1, &[], 1, &[]);
                file.extend(block(3, u32::to_le_bytes, &[&[78, 0, 0, 0], packets[0].as_slice()].concat()));
                file.extend(block(2, u32::to_le_bytes, &packets[1]));
                file
            }
        };
        for (index, byte) in damage {
            let index = index.index(file.len());
            file[index] = byte;
        }
        printed(&file, json, true);
    }
}
