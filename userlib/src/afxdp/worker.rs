//! One queue's share of a run: sends its part of the plan, and takes what comes in by its queue.

use std::{collections::VecDeque, io, net::IpAddr, ops::Range, sync::Arc, time::Duration};

use instamp_trailer::Handed;
use instamp_xsk::{Channel, Statistics};

use super::{
    frame::{FrameError, Probe, Template, Version, wire_of},
    handover::{Gone, Outbox, Sent, Transmitted},
    network::{Network, NoHop},
    report::Counts,
    shared::{Shared, Wish},
};
use crate::{
    Run,
    host_clock::HostClock,
    stateless::{Pacer, Wire},
};

/// As many probes are written before the kernel is told of them, where there is no rate to keep: as many as it takes at once in
/// copy mode (`TX_BATCH_SIZE` of [`xsk.c`](https://github.com/torvalds/linux/blob/v6.12/net/xdp/xsk.c)).
const BATCH: usize = 32;
/// As many frames are taken from the queue before anything else gets its turn.
const RECEIVED_AT_ONCE: usize = 64;
/// The kernel's news of routes and neighbours are read as often.
const NEWS_INTERVAL_NS: u64 = 2_000_000;
/// Where the device drops a probe, its queue is full: nothing more is sent for so long, in which it takes some tens of packets on.
const PAUSE_NS: u64 = 100_000;
/// The worker sleeps until so long before the next probe is due, and does not from then on: to wake up takes less, mostly.
const AWAKE_NS: u64 = 60_000;
/// The longest sleep: nobody waits longer for a worker to stop.
const NAP_NS: u64 = 20_000_000;
/// So many probes wait for the link-layer address of their next hop, so that the others need not; then those do, too.
const WAITING: usize = 1024;
/// Each is tried again as often, ...
const RETRY_NS: u64 = 20_000_000;
/// ... and for so long: the kernel asks three times, once a second.
const GIVE_UP_NS: u64 = 3_500_000_000;

/// What a worker leaves.
pub(super) struct Ended {
    /// Of sending: what was received is counted by the judge.
    pub(super) counts: Counts,
    pub(super) socket: Statistics,
    /// When nothing could be in time any more, or it was told to end.
    pub(super) ended_ns: u64,
    pub(super) failed: Option<io::Error>,
    /// To be closed when nothing is steered to it any more: else the next to have the queue would find the key of this run there.
    _channel: Channel,
}

/// The frames of a run, in both versions of IP.
pub(super) struct Templates {
    ipv4: Template,
    ipv6: Template,
    ttl: u8,
}

impl Templates {
    pub(super) fn new(run: Run, ttl: u8) -> Result<Self, FrameError> {
        Ok(Self { ipv4: Template::new(Version::V4, run)?, ipv6: Template::new(Version::V6, run)?, ttl })
    }

    /// Those of the frames, in bytes.
    pub(super) fn lengths(&self) -> [usize; 2] {
        [self.ipv4.length(), self.ipv6.length()]
    }

    fn of(&self, target: IpAddr) -> &Template {
        match target {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => &self.ipv6,
        }
    }
}

pub(super) struct Worker {
    pub(super) channel: Channel,
    pub(super) network: Network,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: HostClock,
    pub(super) templates: Templates,
    /// Whether the program on the device hands on times with replies, and does not stamp them.
    pub(super) hands_on: bool,
    pub(super) pacer: Pacer,
    pub(super) counts: Counts,
    /// To the judge of what is received.
    pub(super) outbox: Outbox,
    /// Nothing is sent before.
    pub(super) resume_ns: u64,
    /// The numbers of probes that were taken and not tried.
    pub(super) share: Range<u64>,
    /// Sorted by when they are tried again.
    pub(super) waiting: VecDeque<Waiting>,
}

/// A probe whose next hop is being looked for.
pub(super) struct Waiting {
    index: u64,
    target: IpAddr,
    since_ns: u64,
    retry_ns: u64,
}

/// What became of the attempt to send a probe.
enum Attempt {
    Sent,
    /// The device's queue is full: it is to be tried again.
    Full,
    NoHop(NoHop),
}

impl Worker {
    /// Runs until all probes of the share have been sent and nothing can be in time any more, or the run is stopped.
    pub(super) fn run(mut self) -> Ended {
        let failed = self.work().err();
        let ended_ns = self.clock.now_ns();
        let told = self.outbox.hand_over(self.counts);
        if failed.is_some() || told == Err(Gone) {
            // The others need not wait for it.
            self.shared.wish(Wish::Abort);
        }
        let socket = self.channel.statistics().unwrap_or_default();
        Ended { counts: self.counts, socket, ended_ns, failed, _channel: self.channel }
    }

    fn work(&mut self) -> io::Result<()> {
        let mut news_ns = 0;
        let mut is_sending = true;
        while !self.shared.is_wished(Wish::Abort) {
            let now_ns = self.clock.now_ns();
            if now_ns >= news_ns {
                self.network.poll()?;
                news_ns = now_ns + NEWS_INTERVAL_NS;
            }
            self.collect_sent();
            let sent = if now_ns < self.resume_ns { 0 } else { self.send(now_ns, is_sending)? };
            let received = self.receive();
            if self.outbox.flush(now_ns, sent + received == 0, &self.counts) == Err(Gone) {
                break;
            }
            let due_ns = self.due_ns();
            if is_sending && due_ns.is_none() {
                is_sending = false;
                self.give_up_waiting();
                self.shared.has_sent_all();
            }
            let wake_ns = match (due_ns, self.shared.end_ns()) {
                (None, Some(end_ns)) if now_ns > end_ns && received < RECEIVED_AT_ONCE => break,
                (due_ns, end_ns) => [due_ns, end_ns].into_iter().flatten().min(),
            };
            if sent + received == 0 {
                self.rest(wake_ns.unwrap_or(u64::MAX))?;
            }
        }
        Ok(())
    }

    /// When the next probe is to be sent, or `None` if there is none.
    fn due_ns(&mut self) -> Option<u64> {
        if self.shared.is_wished(Wish::Stop) {
            return None;
        }
        let retry_ns = self.waiting.front().map(|waiting| waiting.retry_ns);
        let next_ns = if self.has_next() { Some(0) } else { retry_ns };
        Some(next_ns?.max(self.pacer.due_ns()).max(self.resume_ns))
    }

    /// Sleeps until shortly before `wake_ns`, or until something comes in.
    fn rest(&mut self, wake_ns: u64) -> io::Result<()> {
        let rest_ns = wake_ns.saturating_sub(self.clock.now_ns()).saturating_sub(AWAKE_NS).min(NAP_NS);
        if rest_ns > 0 {
            self.channel.wait(Duration::from_nanos(rest_ns))?;
        }
        Ok(())
    }

    /// Sends what was kept and what is due. Returns how many probes were written.
    fn send(&mut self, now_ns: u64, is_sending: bool) -> io::Result<usize> {
        let written = if is_sending { self.write(now_ns) } else { 0 };
        if !self.channel.submit()? {
            self.counts.tx_dropped += 1;
            self.resume_ns = self.clock.now_ns() + PAUSE_NS;
        }
        Ok(written)
    }

    /// Writes what is due, those first that had to wait.
    fn write(&mut self, now_ns: u64) -> usize {
        let mut written = 0;
        for _ in 0..BATCH {
            // Where no rate is kept, and so nothing is ever early, the clock is read for the stamp alone.
            let due_ns = self.pacer.due_ns();
            if due_ns > 0 && due_ns > self.clock.now_ns() {
                break;
            }
            let waiting = self.waiting.pop_front_if(|waiting| waiting.retry_ns <= now_ns);
            let Some(probe) = waiting.or_else(|| self.next(now_ns)) else { break };
            let is_new = probe.retry_ns > now_ns;
            match self.attempt(probe.index, probe.target) {
                Attempt::Full => {
                    self.waiting.push_front(Waiting { retry_ns: now_ns, ..probe });
                    break;
                }
                Attempt::Sent => {
                    written += 1;
                    self.outbox.batch.sent.push(Sent { index: probe.index, target: probe.target });
                }
                Attempt::NoHop(NoHop::Unresolved { .. }) if now_ns - probe.since_ns < GIVE_UP_NS => {
                    self.waiting.push_back(Waiting { retry_ns: now_ns + RETRY_NS, ..probe });
                    // To ask for a next hop is a packet, too; to look whether it has answered is none.
                    if !is_new {
                        continue;
                    }
                }
                Attempt::NoHop(reason) => self.leave_out(probe.target, reason),
            }
            if due_ns > 0 {
                self.pacer.sent(self.clock.now_ns());
                self.counts.left_out = self.pacer.left_out();
            }
        }
        if written > 0 {
            self.shared.sent_by(self.clock.now_ns());
        }
        written
    }

    /// The next probe that has not been tried; none while too many wait.
    fn next(&mut self, now_ns: u64) -> Option<Waiting> {
        if !self.has_next() {
            return None;
        }
        let index = self.share.next()?;
        let target = self.shared.plan.at(index).target;
        Some(Waiting { index, target, since_ns: now_ns, retry_ns: now_ns + RETRY_NS })
    }

    fn has_next(&mut self) -> bool {
        if self.share.is_empty() {
            self.share = self.shared.take();
        }
        !self.share.is_empty() && self.waiting.len() < WAITING
    }

    fn attempt(&mut self, index: u64, target: IpAddr) -> Attempt {
        let Self { channel, network, shared, clock, templates, .. } = self;
        let hop = match network.resolve(target) {
            Ok(hop) => hop,
            Err(reason) => return Attempt::NoHop(reason),
        };
        let Wire { identifier, sequence } = Wire::of(index, shared.identifier);
        let template = templates.of(target);
        let sent_ns = clock.now_ns();
        let nonce = shared.cookie.nonce(target, index, sent_ns);
        let record = shared.app_tx(sent_ns);
        let probe = Probe { hop: &hop, target, ttl: templates.ttl, identifier, sequence, nonce, record: &record };
        let is_written = channel.write(template.length(), |frame| {
            let written = template.write(frame, &probe);
            debug_assert_eq!(written, Ok(frame.len()), "source and target are of one version of IP");
        });
        if !is_written {
            return Attempt::Full;
        }
        self.counts.sent += 1;
        Attempt::Sent
    }

    /// What still waits when a run is stopped is not sent any more.
    fn give_up_waiting(&mut self) {
        while let Some(Waiting { target, .. }) = self.waiting.pop_front() {
            self.leave_out(target, NoHop::Unresolved { next_hop: target });
        }
    }

    fn leave_out(&mut self, target: IpAddr, reason: NoHop) {
        match reason {
            NoHop::Unresolved { .. } | NoHop::Failed { .. } => self.counts.unresolved += 1,
            NoHop::Down | NoHop::NoRoute | NoHop::NoSource | NoHop::Local | NoHop::Broadcast | NoHop::Multicast => {
                self.counts.unroutable += 1;
            }
        }
        self.outbox.batch.unsent.push((target, reason));
    }

    /// Takes the card's transmit times, where it tells them.
    fn collect_sent(&mut self) {
        let Self { channel, outbox, shared, clock, .. } = self;
        channel.completed(|frame, time| {
            if let Some(phc_ns) = time
                && let Some(index) = wire_of(frame).and_then(|wire| wire.index(shared.identifier, shared.next()))
            {
                outbox.batch.transmitted.push(Transmitted { index, phc_ns, known_ns: clock.now_ns() });
            }
        });
    }

    fn receive(&mut self) -> usize {
        let Self { channel, hands_on, outbox, clock, .. } = self;
        // All frames were there when the first of them was looked at.
        let mut received_ns = None;
        channel.receive(RECEIVED_AT_ONCE, |received| {
            let received_ns = *received_ns.get_or_insert_with(|| clock.now_ns());
            let handed = if *hands_on { Handed::in_front(received.before) } else { None };
            outbox.batch.push(received.frame, received_ns, handed);
        })
    }
}
