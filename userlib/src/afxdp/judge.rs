//! From a frame to a reply: whose it is, whether it is genuine, and what its stamps say.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use instamp_trailer::Trailer;

use super::{
    frame::{EchoReply, parse},
    handed::Stamper,
    handover::{Batch, Inbox},
    report::{Counts, Reply, Sink, Verdict},
    shared::Shared,
};
use crate::{
    Stripped, TaiOffset, correct,
    host_clock::HostClock,
    one_way,
    prober::{Stamps, card::Card, nic_tx::NicTx},
    stateless::{Noted, Wire},
    strip,
};

/// The offset of `CLOCK_TAI`, which others may move, is measured as often.
const TAI_INTERVAL_NS: u64 = 100_000_000;
/// The counts are told as often.
const TICK: Duration = Duration::from_millis(100);
/// The length of an echo message's header in bytes.
const ECHO_HEADER: usize = 8;

/// Judges the frames of one queue, on a thread of its own.
pub(super) struct Judge {
    shared: Arc<Shared>,
    clock: HostClock,
    counts: Counts,
    /// What the worker had counted when it last told.
    told: Counts,
    /// The card's transmit times, where they were asked for.
    nic_tx: Option<(NicTx, Card)>,
    /// Where the program on the device does not stamp replies.
    stamper: Option<Stamper>,
    /// Where one-way delays were asked for: when the offset was measured, and what it was.
    tai: Option<(u64, Option<TaiOffset>)>,
}

/// A reply that belongs to a probe of this run.
struct Genuine<'a> {
    index: u64,
    round: u64,
    target: IpAddr,
    sent_ns: u64,
    stripped: Stripped<'a>,
}

impl Judge {
    pub(super) fn new(
        shared: Arc<Shared>,
        clock: HostClock,
        nic_tx: Option<(NicTx, Card)>,
        stamper: Option<Stamper>,
        one_way: bool,
    ) -> Self {
        let [counts, told] = [Counts::default(); 2];
        Self { shared, clock, counts, told, nic_tx, stamper, tai: one_way.then_some((0, None)) }
    }

    /// Runs until the worker has told the last of it. Returns what was counted here alone.
    pub(super) fn run<S: Sink>(mut self, inbox: &Inbox, mut sink: S) -> (S, Counts) {
        let mut ticked = Instant::now();
        while inbox.take(TICK, |batch| self.judge(batch, &mut sink)).is_some() {
            if ticked.elapsed() >= TICK {
                sink.tick(&(self.told + self.counts));
                ticked = Instant::now();
            }
        }
        sink.tick(&(self.told + self.counts));
        (sink, self.counts)
    }

    fn judge(&mut self, batch: &mut Batch, sink: &mut impl Sink) {
        for sent in &batch.sent {
            sink.sent(sent.target);
        }
        for (target, reason) in &batch.unsent {
            sink.unsent(*target, *reason);
        }
        if let Some((times, card)) = &mut self.nic_tx {
            for sent in &batch.sent {
                times.sent(sent.index + 1);
            }
            for transmitted in &batch.transmitted {
                times.stamped(transmitted.index + 1, card.time(transmitted.phc_ns, transmitted.known_ns));
            }
        }
        batch.each(|frame, received_ns, handed| {
            if let Some((stamper, handed)) = self.stamper.as_mut().zip(handed) {
                stamper.stamp(frame, handed, received_ns);
            }
            self.take(frame, received_ns, sink);
        });
        self.told = batch.counts;
    }

    /// Takes a frame that was received at `received_ns`.
    fn take(&mut self, frame: &[u8], received_ns: u64, sink: &mut impl Sink) {
        let judged = parse(frame).and_then(|echo| Some((genuine(&self.shared, &echo)?, echo)));
        let Some((genuine, echo)) = judged else {
            self.counts.forged += 1;
            return;
        };
        let verdict = self.verdict(&genuine, received_ns);
        let reply = self.reply(&genuine, &echo, verdict, received_ns);
        self.count(&reply);
        sink.reply(&reply);
    }

    fn verdict(&self, genuine: &Genuine<'_>, received_ns: u64) -> Verdict {
        let shared = &*self.shared;
        if received_ns.saturating_sub(genuine.sent_ns) > shared.timeout_ns {
            return Verdict::Late;
        }
        match shared.answered.note(genuine.index, shared.next()) {
            Noted::First => Verdict::Answer,
            Noted::Again => Verdict::Duplicate,
            Noted::TooOld => Verdict::Late,
        }
    }

    fn reply(&mut self, genuine: &Genuine<'_>, echo: &EchoReply<'_>, verdict: Verdict, received_ns: u64) -> Reply {
        let Genuine { index, round, target, sent_ns, stripped } = *genuine;
        let mut stamps = Stamps::from(stripped.records);
        if verdict == Verdict::Answer
            && let Some((times, _)) = &mut self.nic_tx
            && let Some(record) = times.replied(index + 1, stripped.records)
        {
            stamps.push(record);
        }
        let correction = correct(&stamps, sent_ns, received_ns);
        let offset = if correction.is_ok() { self.tai_offset(received_ns) } else { None };
        Reply {
            index,
            round,
            target,
            from: echo.source,
            verdict,
            bytes: ECHO_HEADER + echo.payload.len(),
            ttl: echo.ttl,
            sent_ns,
            received_ns,
            rtt_ns: received_ns.wrapping_sub(sent_ns).cast_signed(),
            correction,
            one_way: offset.and_then(|offset| one_way(&stamps, offset)),
            stamps,
            full: stripped.full,
        }
    }

    fn tai_offset(&mut self, now_ns: u64) -> Option<TaiOffset> {
        let (measured_ns, offset) = self.tai.as_mut()?;
        if now_ns.saturating_sub(*measured_ns) >= TAI_INTERVAL_NS {
            (*measured_ns, *offset) = (now_ns, self.clock.tai_offset());
        }
        *offset
    }

    fn count(&mut self, reply: &Reply) {
        let counts = &mut self.counts;
        match reply.verdict {
            Verdict::Answer => {
                counts.received += 1;
                counts.corrected += u64::from(reply.correction.is_ok());
            }
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Late => counts.late += 1,
        }
        counts.from_others += u64::from(reply.is_from_another());
    }
}

/// The probe that this is the reply to, if this run has sent it: its nonce is the code over target, number and time, all three of
/// which the reply tells.
fn genuine<'a>(shared: &Shared, echo: &EchoReply<'a>) -> Option<Genuine<'a>> {
    let first = Trailer::parse(echo.payload).ok()?.records.first()?;
    let sent_ns = first.time_ns();
    if *first != shared.app_tx(sent_ns) {
        return None;
    }
    let wire = Wire { identifier: echo.identifier, sequence: echo.sequence };
    let index = wire.index(shared.identifier, shared.next())?;
    let probe = shared.plan.at(index);
    let stripped = strip(echo.payload, shared.cookie.nonce(probe.target, index, sent_ns)).ok()?;
    Some(Genuine { index, round: probe.round, target: probe.target, sent_ns, stripped })
}
