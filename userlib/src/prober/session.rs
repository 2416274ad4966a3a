//! A run of probes: what is sent, and what becomes of it.

use std::{collections::VecDeque, time::Duration};

use instamp_trailer::checksum::sum_bytes;
use nix::errno::Errno;
use rand::{Rng, rngs::StdRng};

use super::{
    Config, ErrorKind, Event, NicTxCounts, Reply, Stamps,
    card::Card,
    endpoint::Endpoint,
    error_queue::{Queued, ReceivedError},
    looped::Looped,
    message::{HEADER_LENGTH, Version, request_header},
    nic_tx::NicTx,
    pace::Pace,
    socket::{Buffer, EchoSocket, ReceivedReply, SocketEndpoint},
};
use crate::{
    Correction, ReserveError, Run, Uncorrected, correct,
    host_clock::HostClock,
    in_flight::{Answer, InFlight, SentProbe, wire_sequence},
    one_way, strip,
};

/// The ICMP checksum of all IPv4 requests. One for all runs, so that a target is reached on the same path tomorrow.
const CHECKSUM: u16 = 0x1257;
/// As many messages are taken from the socket before anything else gets its turn.
const BATCH: usize = 64;
/// Late replies are recognized among at least this many probes.
const MIN_TABLE: u64 = 64;
/// A send call also reports errors of earlier requests: it is repeated when those have been taken note of.
const SEND_TRIES: usize = 3;

/// Everything but the waiting: what is due is done, what has arrived is taken, and `events` tells of it.
pub(super) struct Session {
    pub(super) events: VecDeque<Event>,
    pub(super) clock: HostClock,
    run: Run,
    identifier: u16,
    version: Version,
    nonces: StdRng,
    /// The message that is sent next: header and payload.
    request: Box<[u8]>,
    pace: Pace,
    in_flight: InFlight,
    /// Something was sent, and the socket has not been emptied since.
    unread: bool,
    /// The error queue has not been emptied.
    pub(super) errors_left: bool,
    /// The card's transmit times, where they were asked for.
    nic_tx: Option<(NicTx, Card)>,
    one_way: bool,
    deadline_ns: Option<u64>,
    /// When everything ends: known when the first request is sent.
    end_ns: Option<u64>,
}

impl Session {
    /// Of probes with this identifier.
    pub(super) fn new(
        config: &Config,
        identifier: u16,
        clock: HostClock,
        nonces: StdRng,
    ) -> Result<Self, ReserveError> {
        let version = Version::of(config.target);
        let run = run_with(config, identifier)?;
        let (interval_ns, timeout_ns) = (nanoseconds(config.interval), nanoseconds(config.timeout));
        // Twice as many as are under way at the same time.
        let probes = timeout_ns.saturating_mul(2).checked_div(interval_ns).unwrap_or(u64::MAX).max(MIN_TABLE);
        Ok(Self {
            events: VecDeque::with_capacity(BATCH),
            clock,
            run,
            identifier,
            version,
            nonces,
            request: (0..=u8::MAX).cycle().take(HEADER_LENGTH + config.payload_bytes).collect(),
            pace: Pace::new(interval_ns, config.count),
            in_flight: InFlight::new(timeout_ns, usize::try_from(probes).unwrap_or(usize::MAX)),
            unread: false,
            errors_left: false,
            nic_tx: None,
            one_way: config.one_way,
            deadline_ns: config.deadline.map(nanoseconds),
            end_ns: None,
        })
    }

    /// Expects the transmit times of a card through the error queue or in the replies. Whether it does: without a trailer
    /// none would find its request.
    pub(super) fn expect_nic_tx(&mut self, card: Card) -> bool {
        if self.run.cap().is_some() {
            self.nic_tx = Some((NicTx::new(self.in_flight.capacity()), card));
        }
        self.nic_tx.is_some()
    }

    /// What became of the transmit times, if they are expected.
    pub(super) fn nic_tx(&self) -> Option<NicTxCounts> {
        self.nic_tx.as_ref().map(|(times, _)| times.counts())
    }

    /// Does what is due.
    pub(super) fn act(&mut self, endpoint: &mut Endpoint) {
        let now_ns = self.clock.now_ns();
        self.end_ns = self.end_ns.or_else(|| Some(now_ns.saturating_add(self.deadline_ns?)));
        let due = |due_ns: Option<u64>| due_ns.is_some_and(|due_ns| due_ns <= now_ns);
        let (ended, sending) = (due(self.end_ns), due(self.pace.due_ns()));

        // What has arrived in time is not given up because nobody looked, and a fast sender does not forget to receive.
        if ended || due(self.in_flight.expires_ns()) || sending && self.unread {
            let emptied = self.receive(endpoint);
            while emptied && let Some(seq) = self.in_flight.expire(now_ns) {
                self.events.push_back(Event::Timeout { seq });
            }
        }
        if ended {
            self.stop();
            while let Some(seq) = self.in_flight.give_up() {
                self.events.push_back(Event::Timeout { seq });
            }
        } else if sending {
            self.send(endpoint);
        }
    }

    /// When something will be due, or `None` if nothing will.
    pub(super) fn wake_ns(&mut self) -> Option<u64> {
        let due_ns = [self.pace.due_ns(), self.in_flight.expires_ns()].into_iter().flatten().min()?;
        Some(self.end_ns.map_or(due_ns, |end_ns| end_ns.min(due_ns)))
    }

    pub(super) const fn stop(&mut self) {
        self.pace.stop();
    }

    /// Takes replies. Whether there are no more.
    pub(super) fn receive(&mut self, endpoint: &mut Endpoint) -> bool {
        match endpoint {
            Endpoint::Socket(endpoint) => self.receive_from_socket(endpoint),
            #[cfg(feature = "afxdp")]
            Endpoint::AfXdp(endpoint) => {
                endpoint.take_sent(|request, phc_ns| self.take_nic_tx(request, phc_ns));
                let clock = self.clock;
                let emptied = endpoint.receive(
                    || clock.now_ns(),
                    |received_ns, reply| {
                        let echo = super::message::Echo {
                            identifier: reply.identifier,
                            sequence: reply.sequence,
                            payload: reply.payload,
                        };
                        self.take_reply(received_ns, &ReceivedReply { echo, from: reply.source, ttl: Some(reply.ttl) });
                    },
                );
                self.unread &= !emptied;
                emptied
            }
        }
    }

    fn receive_from_socket(&mut self, SocketEndpoint { socket, replies, errors }: &mut SocketEndpoint) -> bool {
        let clock = self.clock;
        for _ in 0..BATCH {
            match socket.receive(replies, || clock.now_ns()) {
                Ok(Some((received_ns, reply))) => {
                    // A transmit time that is there is not missed because nobody looked.
                    if self.nic_tx.is_some() {
                        self.take_queued(socket, errors);
                    }
                    self.take_reply(received_ns, &reply);
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.unread = false;
                    return true;
                }
                // An error about one of the requests; the queue has the details.
                Err(_) => _ = self.take_queued(socket, errors),
            }
        }
        false
    }

    /// Takes the messages of the socket's error queue. Whether there were any but transmit times.
    pub(super) fn receive_errors(&mut self, endpoint: &mut Endpoint) -> bool {
        match endpoint {
            Endpoint::Socket(SocketEndpoint { socket, errors, .. }) => self.take_queued(socket, errors),
            #[cfg(feature = "afxdp")]
            Endpoint::AfXdp(endpoint) => {
                endpoint.take_sent(|request, phc_ns| self.take_nic_tx(request, phc_ns));
                false
            }
        }
    }

    fn take_queued(&mut self, socket: &EchoSocket, buffer: &mut Buffer) -> bool {
        let mut news = false;
        for _ in 0..BATCH {
            match socket.receive_queued(buffer) {
                Ok(Queued::Error(error)) => {
                    self.take_error(&error);
                    news = true;
                }
                Ok(Queued::Sent { request, phc_ns }) => self.take_nic_tx(request, phc_ns),
                Ok(Queued::Other) | Err(Errno::EINTR) => news = true,
                Err(_) => {
                    self.errors_left = false;
                    return news;
                }
            }
        }
        self.errors_left = true;
        news
    }

    fn take_nic_tx(&mut self, request: Looped, phc_ns: u64) {
        let Some((times, card)) = &mut self.nic_tx else { return };
        let probe = self.in_flight.find(request.sequence).filter(|probe| probe.nonce == request.nonce);
        if let Some(probe) = probe {
            times.stamped(probe.seq, card.time(phc_ns, self.clock.now_ns()));
        }
    }

    fn take_reply(&mut self, received_ns: u64, ReceivedReply { echo, from, ttl }: &ReceivedReply<'_>) {
        let Some(probe) = self.in_flight.find(echo.sequence) else { return };
        let nic_tx = self.nic_tx.as_mut().map(|(times, _)| times);
        let Judged { correction, stamps, full } = judge(&self.run, &probe, received_ns, echo.payload, nic_tx);
        // The probe of that nonce is another one, perhaps one from 65,536 requests ago: this one still waits.
        let answer = match correction {
            Err(Uncorrected::ForeignNonce) => None,
            Err(Uncorrected::Truncated) => self.in_flight.answered_truncated(probe.seq),
            _ => self.in_flight.answered(probe.seq),
        };
        let no_answer = Answer { duplicate: false, supersedes: false, late: probe.timed_out };
        let Answer { duplicate, supersedes, late } = answer.unwrap_or(no_answer);
        if answer.is_some() && !duplicate && !supersedes {
            self.pace.answered(received_ns);
        }
        let offset = if self.one_way && correction.is_ok() { self.clock.tai_offset() } else { None };
        self.events.push_back(Event::Reply(Reply {
            seq: probe.seq,
            from: *from,
            bytes: HEADER_LENGTH + echo.payload.len(),
            ttl: *ttl,
            rtt_ns: received_ns.wrapping_sub(probe.sent_ns).cast_signed(),
            sent_ns: probe.sent_ns,
            received_ns,
            correction,
            one_way: offset.and_then(|offset| one_way(&stamps, offset)),
            stamps,
            full,
            duplicate,
            supersedes,
            late,
        }));
    }

    fn take_error(&mut self, &ReceivedError { sequence, from, error }: &ReceivedError) {
        let seq = sequence.and_then(|sequence| self.in_flight.find(sequence)).map(|probe| probe.seq);
        if seq.is_none_or(|seq| self.in_flight.failed(seq)) {
            self.events.push_back(Event::Error { seq, from, error });
        }
    }

    fn send(&mut self, endpoint: &mut Endpoint) {
        if let Some(seq) = self.in_flight.make_room() {
            self.events.push_back(Event::Timeout { seq });
        }
        let (sequence, nonce) = (wire_sequence(self.in_flight.next_seq()), endpoint.nonce(self.nonces.random()));
        self.prepare(sequence, nonce);
        for tries_left in (0..SEND_TRIES).rev() {
            let sent_ns = self.clock.now_ns();
            let sent = match endpoint {
                Endpoint::Socket(endpoint) => endpoint.socket.send(&self.request),
                #[cfg(feature = "afxdp")]
                Endpoint::AfXdp(endpoint) => endpoint.send(sequence, nonce, sent_ns),
            };
            match sent {
                Ok(()) => {
                    let seq = self.in_flight.sent(sent_ns, nonce);
                    if let Some((times, _)) = &mut self.nic_tx {
                        times.sent(seq);
                    }
                    self.pace.sent(sent_ns);
                    self.unread = true;
                    return self.events.push_back(Event::Sent { seq, sent_ns });
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => return self.pace.no_room(sent_ns),
                Err(_) if self.receive_errors(endpoint) && tries_left > 0 => {}
                Err(errno) => {
                    let seq = self.in_flight.sent(sent_ns, nonce);
                    self.in_flight.failed(seq);
                    self.pace.sent(sent_ns);
                    let error = ErrorKind::from_errno(errno);
                    return self.events.push_back(Event::Error { seq: Some(seq), from: None, error });
                }
            }
        }
    }

    /// Makes the next request.
    fn prepare(&mut self, sequence: u16, nonce: u64) {
        let kind = self.version.request();
        let (header, payload) = self.request.split_at_mut(HEADER_LENGTH);
        let reserved = self.run.reserve(payload, sequence, nonce);
        debug_assert_eq!(reserved, Ok(()), "the payload has the run's length");
        let checksum = self.run.checksum(kind, 0, self.identifier);
        header.copy_from_slice(&request_header(self.version, checksum.unwrap_or(0), self.identifier, sequence));
        if checksum.is_none() {
            let checksum = !sum_bytes(&self.request);
            if let Some(field) = self.request.get_mut(2..4) {
                field.copy_from_slice(&checksum.to_be_bytes());
            }
        }
    }
}

/// The run that `config` asks for, its checksum still open.
pub(super) fn run(config: &Config) -> Result<Run, ReserveError> {
    let run = Run::new(config.payload_bytes)?;
    config.cap.map_or(Ok(run), |cap| run.with_cap(cap))
}

/// The same, with the checksum of requests with this identifier.
pub(super) fn run_with(config: &Config, identifier: u16) -> Result<Run, ReserveError> {
    let (version, run) = (Version::of(config.target), run(config)?);
    match version {
        Version::V4 => run.with_checksum(version.request(), 0, identifier, CHECKSUM),
        Version::V6 => Ok(run),
    }
}

/// What a reply's payload says.
struct Judged {
    correction: Result<Correction, Uncorrected>,
    stamps: Stamps,
    full: bool,
}

fn judge(run: &Run, probe: &SentProbe, received_ns: u64, payload: &[u8], nic_tx: Option<&mut NicTx>) -> Judged {
    let without = |reason| Judged { correction: Err(reason), stamps: Stamps::NONE, full: false };
    if payload.len() < run.length() {
        return without(Uncorrected::Truncated);
    }
    if run.cap().is_none() {
        return without(Uncorrected::NoStamps);
    }
    match strip(payload, probe.nonce) {
        Ok(stripped) => {
            let mut stamps = Stamps::from(stripped.records);
            if let Some(record) = nic_tx.and_then(|times| times.replied(probe.seq, stripped.records)) {
                stamps.push(record);
            }
            let correction = correct(&stamps, probe.sent_ns, received_ns);
            Judged { correction, stamps, full: stripped.full }
        }
        Err(error) => without(error.into()),
    }
}

/// Of a duration of the configuration: 584 years are without end.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use instamp_trailer::{Bound, Clock, Hook, Phase, Record, wire::trailer_length};
    use rand::SeedableRng;
    use zerocopy::IntoBytes as _;

    use super::*;
    use crate::{prober::message::Echo, time_namespace::MonotonicOffset};

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn session(payload_bytes: usize) -> Session {
        let config = Config { payload_bytes, timeout: Duration::from_nanos(1_000), ..Config::new(FROM) };
        let clock = HostClock::new(MonotonicOffset::default());
        Session::new(&config, 7, clock, StdRng::seed_from_u64(1)).expect("a payload")
    }

    /// Sends as `Session::send` does, and returns the payload that is on the wire.
    fn send(session: &mut Session, sent_ns: u64, nonce: u64) -> Vec<u8> {
        session.prepare(wire_sequence(session.in_flight.next_seq()), nonce);
        session.in_flight.sent(sent_ns, nonce);
        session.request[HEADER_LENGTH..].to_vec()
    }

    fn receive(session: &mut Session, received_ns: u64, sequence: u16, payload: &[u8]) -> Option<Reply> {
        let echo = Echo { identifier: 7, sequence, payload };
        session.take_reply(received_ns, &ReceivedReply { echo, from: FROM, ttl: Some(63) });
        match session.events.pop_front() {
            Some(Event::Reply(reply)) => Some(reply),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_tells_what_was_measured() {
        let mut session = session(64);
        let payload = send(&mut session, 100, 11);
        let reply = receive(&mut session, 130, 1, &payload).expect("a reply");
        assert_eq!((reply.seq, reply.rtt_ns, reply.sent_ns, reply.received_ns), (1, 30, 100, 130));
        assert_eq!((reply.bytes, reply.ttl, reply.from), (72, Some(63), FROM));
        assert_eq!(reply.correction, Err(Uncorrected::NoStamps));
        assert!(reply.is_first_answer());
    }

    #[test]
    fn reordered_and_repeated_replies_find_their_probes() {
        let mut session = session(64);
        let payloads: Vec<_> = (0..3).map(|nonce| send(&mut session, nonce, nonce)).collect();
        for (sequence, duplicate) in [(3, false), (1, false), (3, true), (2, false), (1, true)] {
            let reply = receive(&mut session, 10, sequence, &payloads[usize::from(sequence) - 1]).expect("a reply");
            assert_eq!((reply.seq, reply.duplicate, reply.late), (sequence.into(), duplicate, false));
            assert_eq!(reply.correction, Err(Uncorrected::NoStamps));
        }
        assert!(receive(&mut session, 10, 4, &payloads[0]).is_none(), "not sent yet");
    }

    #[test]
    fn another_nonce_is_foreign_and_the_probe_still_waits() {
        let mut session = session(64);
        let mut old = send(&mut session, 100, 11);
        let payload = send(&mut session, 200, 12);
        let reply = receive(&mut session, 210, 2, &old).expect("a reply");
        assert_eq!(reply.correction, Err(Uncorrected::ForeignNonce));
        assert!(!reply.duplicate && !reply.is_first_answer());
        assert!(receive(&mut session, 220, 2, &payload).expect("a reply").is_first_answer());

        // Damaged on the way: the trailer that was sent is not there.
        old[63] = 0;
        assert_eq!(receive(&mut session, 230, 1, &old).expect("a reply").correction, Err(Uncorrected::ForeignNonce));
    }

    #[test]
    fn a_cut_reply_is_an_answer_but_not_corrected() {
        let mut session = session(128);
        let payload = send(&mut session, 100, 11);
        let reply = receive(&mut session, 110, 1, &payload[..68]).expect("a reply");
        assert_eq!((reply.correction, reply.bytes), (Err(Uncorrected::Truncated), 76));
        assert!(reply.is_first_answer());
    }

    /// A truncated reply needs no nonce: whoever guesses identifier and sequence number can send it.
    #[test]
    fn a_forged_cut_reply_does_not_take_the_place_of_the_true_one() {
        let mut session = session(64);
        let payload = send(&mut session, 100, 11);
        let mut flags = |length: usize| {
            let reply = receive(&mut session, 130, 1, &payload[..length]).expect("a reply");
            (reply.correction, reply.duplicate, reply.supersedes, reply.is_first_answer())
        };
        assert_eq!(flags(10), (Err(Uncorrected::Truncated), false, false, true));
        assert_eq!(flags(10), (Err(Uncorrected::Truncated), true, false, false));
        assert_eq!(flags(64), (Err(Uncorrected::NoStamps), false, true, true));
        assert_eq!(flags(64), (Err(Uncorrected::NoStamps), true, false, false));
        assert_eq!(flags(10), (Err(Uncorrected::Truncated), true, false, false));
    }

    #[test]
    fn late_replies_follow_the_timeout() {
        let mut session = session(64);
        let payload = send(&mut session, 100, 11);
        assert_eq!(session.in_flight.expire(1_099), None);
        assert_eq!(session.in_flight.expire(1_100), Some(1));
        let [first, second] = [(); 2].map(|()| receive(&mut session, 1_200, 1, &payload).expect("a reply"));
        assert!(first.late && !first.duplicate && first.is_first_answer());
        assert!(second.late && second.duplicate && !second.is_first_answer());
    }

    #[test]
    fn after_the_sequence_number_wraps_an_old_reply_is_foreign() {
        let mut session = session(64);
        session.in_flight = InFlight::new(1_000, 1 << 16);
        let first = send(&mut session, 0, u64::MAX);
        for time_ns in 1..=u64::from(u16::MAX) {
            assert_eq!(session.in_flight.make_room(), None);
            send(&mut session, time_ns, time_ns);
        }
        // The table is full, and the next probe has the first one's number on the wire.
        assert_eq!(session.in_flight.make_room(), Some(1));
        let wrapped = send(&mut session, 70_000, 70_000);
        let reply = receive(&mut session, 70_001, 1, &first).expect("a reply");
        assert_eq!((reply.seq, reply.correction), (65_537, Err(Uncorrected::ForeignNonce)));
        let reply = receive(&mut session, 70_002, 1, &wrapped).expect("a reply");
        assert_eq!((reply.seq, reply.rtt_ns, reply.is_first_answer()), (65_537, 2, true));
    }

    #[test]
    fn errors_are_told_once() {
        let mut session = session(64);
        send(&mut session, 100, 11);
        let error = |sequence| ReceivedError { sequence, from: Some(FROM), error: ErrorKind::TtlExceeded };
        session.take_error(&error(Some(1)));
        session.take_error(&error(Some(1)));
        session.take_error(&error(Some(9)));
        let seqs: Vec<_> = session
            .events
            .drain(..)
            .map(|event| if let Event::Error { seq, .. } = event { seq } else { panic!() })
            .collect();
        assert_eq!(seqs, [Some(1), None]);
        assert_eq!(session.in_flight.expire(u64::MAX), None, "failed, so not waiting");
    }

    #[test]
    fn a_transmit_time_finds_its_request_by_the_nonce() {
        let counts = |session: &Session| session.nic_tx().expect("expected");
        let mut session = session(64);
        assert!(session.expect_nic_tx(Card::of(None, None)));
        let payload = send(&mut session, 100, 11);
        session.nic_tx.as_mut().expect("expected").0.sent(1);
        session.take_nic_tx(Looped { sequence: 1, nonce: 12 }, 77);
        session.take_nic_tx(Looped { sequence: 2, nonce: 11 }, 77);
        assert_eq!(counts(&session).received, 0);
        session.take_nic_tx(Looped { sequence: 1, nonce: 11 }, 77);
        assert_eq!(counts(&session), NicTxCounts { asked: 1, received: 1, late: 0, missing: 0 });
        // Without a stamp beside which it belongs it is not in the reply.
        assert!(receive(&mut session, 130, 1, &payload).expect("a reply").stamps.is_empty());
    }

    #[test]
    fn a_transmit_time_of_the_socket_is_a_stamp_of_the_reply() {
        let mut session = session(64);
        session.expect_nic_tx(Card::of(None, None));
        let mut payload = send(&mut session, 100, 11);
        session.nic_tx.as_mut().expect("expected").0.sent(1);
        session.take_nic_tx(Looped { sequence: 1, nonce: 11 }, 77);
        // As the hooks of this host write them.
        let stamp =
            |phase, hook, time_ns| Record::new(phase, 0, hook, 7, Clock::MONOTONIC, Bound::at_least(64), time_ns);
        let records = [stamp(Phase::Request, Hook::TC_EGRESS, 105), stamp(Phase::Reply, Hook::XDP_INGRESS, 120)];
        for (free, record) in payload.chunks_exact_mut(12).zip(records) {
            free.copy_from_slice(record.as_bytes());
        }
        payload[58] = 0x24;
        let forged_cut = receive(&mut session, 110, 1, &payload[..10]).expect("a reply");
        assert_eq!(forged_cut.correction, Err(Uncorrected::Truncated));
        let reply = receive(&mut session, 130, 1, &payload).expect("a reply");
        let phc = Record::new(Phase::Request, 0, Hook::NIC_TX, 7, Clock::PHC, Bound::UNKNOWN, 77);
        assert_eq!(*reply.stamps, [records[0], records[1], phc]);
        let correction = reply.correction.expect("corrected");
        assert_eq!((correction.net_ns, correction.nic_left_out), (15, true));
    }

    #[test]
    fn requests_of_a_run_have_one_checksum() {
        for payload_bytes in [0, 38, 40, 64, 1_472] {
            let mut session = session(payload_bytes);
            for sequence in [1, 2, 0xffff] {
                session.prepare(sequence, sequence.into());
                assert_eq!(sum_bytes(&session.request), 0xffff, "a valid message");
                if payload_bytes >= trailer_length(2) {
                    assert_eq!(session.request[2..4], CHECKSUM.to_be_bytes());
                }
            }
        }
    }
}
