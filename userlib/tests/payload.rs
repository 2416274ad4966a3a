//! What `reserve` writes, hooks stamp and `strip` reads.

use instamp::{
    Bound, Clock, DEFAULT_PAYLOAD_LENGTH, Hook, MIN_PAYLOAD_LENGTH, Phase, Record, ReserveError, Run, StripError,
    correct, strip,
    trailer::{
        Address, Host, Refusal, Site, Standing, stamp,
        wire::{FOOTER_LENGTH, RECORD_LENGTH, Trailer, trailer_length},
    },
};
use proptest::prelude::*;

/// The checksum field of an echo request with this payload, by RFC 1071 in the plainest way.
fn checksum(identifier: u16, sequence: u16, payload: &[u8]) -> u16 {
    let header = [[8, 0], [0, 0], identifier.to_be_bytes(), sequence.to_be_bytes()];
    let words = header.into_iter().chain(payload.chunks(2).map(|word| [word[0], word.get(1).copied().unwrap_or(0)]));
    let mut sum: u64 = words.map(|word| u64::from(u16::from_be_bytes(word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

#[test]
fn the_cap_shrinks_with_the_payload() {
    let cap = |length| Run::new(length).map(|run| run.cap());
    for (length, expected) in [(0, None), (38, None), (40, Some(2)), (50, Some(2)), (52, Some(3)), (62, Some(3))] {
        assert_eq!(cap(length), Ok(expected), "{length}");
    }
    for length in [64, 66, 1_472, 65_506] {
        assert_eq!(cap(length), Ok(Some(4)), "{length}");
    }
    assert_eq!((MIN_PAYLOAD_LENGTH, DEFAULT_PAYLOAD_LENGTH), (40, 64));
}

#[test]
fn refusals_name_the_remedy() {
    assert_eq!(Run::new(65), Err(ReserveError::OddLength(65)));
    assert_eq!(
        ReserveError::OddLength(65).to_string(),
        "a payload of 65 bytes is odd, and stamps need an even length: use 64 or 66 bytes"
    );
    let run = Run::new(64).expect("even");
    assert_eq!(run.with_cap(1), Err(ReserveError::Cap(1)));
    assert_eq!(run.with_cap(16), Err(ReserveError::Cap(16)));
    assert_eq!(run.with_cap(5), Err(ReserveError::Room { cap: 5, length: 64 }));
    assert_eq!(
        ReserveError::Room { cap: 5, length: 64 }.to_string(),
        "5 records need a payload of 76 bytes, not 64: use a larger payload or fewer records"
    );
    assert_eq!(run.with_cap(2).map(|run| run.cap()), Ok(Some(2)));
    assert_eq!(run.with_checksum(8, 0, 1, 0), Err(ReserveError::Checksum(0)));
    assert_eq!(run.with_checksum(8, 0, 1, 0xffff), Err(ReserveError::Checksum(0xffff)));
    assert_eq!(run.reserve(&mut [0; 66], 1, 1), Err(ReserveError::Length { expected: 64, found: 66 }));
}

#[test]
fn a_short_payload_is_left_alone() {
    let run = Run::new(38).expect("even");
    let mut payload = [0xa5; 38];
    run.reserve(&mut payload, 1, 2).expect("the right length");
    run.reserve_sent(&mut payload, 1, 2, &Record::EMPTY).expect("the right length");
    assert_eq!(payload, [0xa5; 38]);
    assert_eq!(run.checksum(8, 0, 7), None);
    assert_eq!(strip(&payload, 2).expect_err("no trailer"), StripError::NoTrailer);
}

/// A payload length, and a cap that fits.
fn lengths() -> impl Strategy<Value = (usize, u8)> {
    (2_u8..=15).prop_flat_map(|cap| (0_usize..700).prop_map(move |words| (trailer_length(cap) + 2 * words, cap)))
}

proptest! {
    #[test]
    fn a_run_has_one_checksum(
        (length, cap) in lengths(), identifier: u16, chosen in 1_u16..0xffff,
        probes in prop::collection::vec((any::<u16>(), any::<u64>(), any::<u8>()), 1..8),
    ) {
        let run = Run::new(length).and_then(|run| run.with_cap(cap)).expect("fits");
        let constant = run.checksum(8, 0, identifier);
        let chosen_run = run.with_checksum(8, 0, identifier, chosen).expect("neither form of zero");
        prop_assert_eq!(chosen_run.checksum(8, 0, identifier), Some(chosen));
        for (sequence, nonce, filling) in probes {
            let mut payload = vec![filling; length];
            run.reserve(&mut payload, sequence, nonce).expect("the right length");
            prop_assert_eq!(Some(checksum(identifier, sequence, &payload)), constant);

            chosen_run.reserve(&mut payload, sequence, nonce).expect("the right length");
            prop_assert_eq!(checksum(identifier, sequence, &payload), chosen);

            let trailer = Trailer::parse(&payload).expect("a trailer");
            prop_assert!(trailer.records.is_empty());
            prop_assert_eq!((trailer.footer.nonce(), trailer.footer.state().cap()), (nonce, cap));
            prop_assert!(trailer.application.iter().all(|byte| *byte == filling));
            prop_assert!(payload[length - trailer_length(cap)..length - FOOTER_LENGTH].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_record_of_the_senders_is_as_if_a_hook_had_written_it(
        (length, cap) in lengths(), identifier: u16, sequence: u16, nonce: u64, filling: u8, time_ns: u64, node: u16,
    ) {
        let run = Run::new(length).and_then(|run| run.with_cap(cap)).expect("fits");
        let record = Record::new(Phase::Request, 0, Hook::APP_TX, node, Clock::MONOTONIC, Bound::at_least(64), time_ns);
        let mut sent = vec![filling; length];
        run.reserve_sent(&mut sent, sequence, nonce, &record).expect("the right length");
        prop_assert_eq!(Some(checksum(identifier, sequence, &sent)), run.checksum(8, 0, identifier));

        let mut empty = vec![filling; length];
        run.reserve(&mut empty, sequence, nonce).expect("the right length");
        let mut request = frame(8, &empty);
        stamp(&mut request[..], &At(node, time_ns), Hook::APP_TX).expect("room");
        prop_assert_eq!(&request[BEFORE_PAYLOAD..], sent);
    }

    #[test]
    fn hostile_payloads_do_not_panic(mut payload in prop::collection::vec(any::<u8>(), 0..300), magic: bool, nonce: u64) {
        if magic && let Some(end) = payload.last_chunk_mut() {
            *end = *b"IST\x01";
        }
        if let Ok(stripped) = strip(&payload, nonce) {
            let _ = correct(stripped.records, 0, u64::MAX);
        }
    }
}

#[test]
fn strip_refuses_what_is_not_this_probes() {
    let mut payload = [0; 66];
    Run::new(66).and_then(|run| run.reserve(&mut payload, 1, 0x1122)).expect("the right length");
    assert_eq!(strip(&payload, 0x1122).expect("intact").application, &[0; 2]);
    assert_eq!(strip(&payload, 0x1123).expect_err("foreign"), StripError::ForeignNonce);
    assert_eq!(strip(&payload[..64], 0x1122).expect_err("cut"), StripError::NoTrailer);
    assert_eq!(strip(&payload[1..], 0x1122).expect_err("odd"), StripError::OddLength);
    assert_eq!(strip(&payload[50..], 0x1122).expect_err("no room for its cap"), StripError::Counts);
    payload[65] = 2;
    assert_eq!(strip(&payload, 0x1122).expect_err("version 2"), StripError::Version);
}

/// A host that stamps its own probes, at 10, 20, 30 ...
struct Stamping(std::cell::Cell<u64>);

impl Host for Stamping {
    fn site(&self) -> Option<Site> {
        let (own_clock, respond_clock) = (Clock::MONOTONIC.number(), Clock::TAI.number());
        Some(Site {
            node: 7,
            point: 3,
            bound: 6,
            own_clock,
            respond_clock,
            keeps_sent: 0,
            nic_rx: 0,
            namespace: 0,
            phc: 0,
        })
    }

    fn standing(&self, _: Address) -> Standing {
        Standing::OWN
    }

    fn now_ns(&self, _: Clock) -> Option<u64> {
        self.0.set(self.0.get() + 10);
        Some(self.0.get())
    }
}

/// An Ethernet frame around an echo message of this type.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let message = 8 + payload.len();
    let length = u16::try_from(20 + message).expect("short").to_be_bytes();
    let ethernet = [&[0; 12][..], &[8, 0]].concat();
    let ip = [&[0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 1, 0, 0][..], &[10, 0, 0, 1, 10, 0, 0, 2]].concat();
    [&ethernet[..], &ip, &[kind, 0, 0, 0, 0, 0, 0, 1], payload].concat()
}

const BEFORE_PAYLOAD: usize = 14 + 20 + 8;

/// A host of this node at this time.
struct At(u16, u64);

impl Host for At {
    fn site(&self) -> Option<Site> {
        Stamping(0.into()).site().map(|site| Site { node: self.0, point: 0, ..site })
    }

    fn standing(&self, _: Address) -> Standing {
        Standing::OWN
    }

    fn now_ns(&self, _: Clock) -> Option<u64> {
        Some(self.1)
    }
}

#[test]
fn stamps_come_through() {
    let mut payload = *b"application, before the trailer                                                 ";
    let run = Run::new(payload.len()).expect("even");
    run.reserve(&mut payload, 1, 0xfeed).expect("the right length");

    let host = Stamping(0.into());
    let mut request = frame(8, &payload);
    let stamped: Vec<_> = (0..4).map(|_| stamp(&mut request[..], &host, Hook::TC_EGRESS)).collect();
    assert_eq!(stamped, [Ok(()), Ok(()), Ok(()), Err(Refusal::Full)]);
    let mut reply = frame(0, &request[BEFORE_PAYLOAD..]);
    stamp(&mut reply[..], &host, Hook::XDP_INGRESS).expect("the last record is the reply's");

    let stripped = strip(&reply[BEFORE_PAYLOAD..], 0xfeed).expect("this probe's");
    assert!(stripped.application.starts_with(b"application") && stripped.full);
    let expected =
        |phase, hook, time_ns| Record::new(phase, 3, hook, 7, Clock::MONOTONIC, Bound::at_least(64), time_ns);
    let requests = [10, 20, 30].map(|time_ns| expected(Phase::Request, Hook::TC_EGRESS, time_ns));
    assert_eq!(stripped.records, [&requests[..], &[expected(Phase::Reply, Hook::XDP_INGRESS, 40)]].concat());
    assert_eq!(stripped.records.len() * RECORD_LENGTH, 48);
    // The kernel's or the sender's checksum still holds.
    assert_eq!(Some(checksum(0, 1, &request[BEFORE_PAYLOAD..])), run.checksum(8, 0, 0));

    let correction = correct(stripped.records, 5, 100).expect("corrected");
    assert_eq!((correction.tx_stack_ns, correction.net_ns, correction.rx_stack_ns), (25, 10, 60));
}
