//! A stateless run: many targets, nothing remembered of any.

use std::{
    collections::VecDeque,
    io, mem,
    net::IpAddr,
    num::NonZeroU64,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use instamp_hooks::{Hooks, Steering};
use instamp_trailer::wire::{DEFAULT_CAP, trailer_length};
use instamp_xsk::Statistics;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    AfXdpError, Transport, TransportOptions,
    handover::handover,
    judge::Judge,
    report::{Counts, Sink},
    shared::{Shared, Wish},
    transport::{network, run_key},
    worker::{Ended, Templates, Worker},
};
use crate::{
    Run,
    host_clock::HostClock,
    prober::{card::Card, nic_tx::NicTx},
    stateless::{Cookie, Pacer, Plan, Window},
    time_namespace::MonotonicOffset,
};

/// Answers are known of the last 4 million probes at least, in 2 MB, ...
const LEAST_WINDOW: u64 = 1 << 22;
/// ... and of no more than 500 million, in 256 MB.
const MOST_WINDOW: u64 = 1 << 29;
/// The card's transmit times wait for the replies of so many probes of a queue.
const NIC_TX_TIMES: u64 = 1 << 16;

/// Where no rate is asked for, a card takes no more probes a second than this.
const MOST_RATE: u64 = 4_000_000;

/// How many probes may be under way in time: of fewer, replies in time would be too old to be told from repeated ones.
fn window(rate: Option<NonZeroU64>, timeout: Duration) -> u64 {
    let rate = rate.map_or(MOST_RATE, NonZeroU64::get);
    let under_way = u128::from(rate).saturating_mul(timeout.as_millis()) / 1_000;
    u64::try_from(under_way).unwrap_or(u64::MAX).clamp(LEAST_WINDOW, MOST_WINDOW)
}

/// How many numbers a worker takes at once. Where a rate is kept, a number that one worker has is one that the others do not send when it
/// is their turn; without a rate, a batch of them.
fn share(rate: Option<NonZeroU64>) -> u64 {
    if rate.is_some() { 1 } else { 32 }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The device, and how it is used.
    pub transport: TransportOptions,
    /// The address from which probes leave; by default the one that the kernel would take for each target.
    pub source: Option<IpAddr>,
    /// Probes a second, over all targets; `None` is as many as the device takes.
    pub rate: Option<NonZeroU64>,
    /// A reply that comes later is counted as late.
    pub timeout: Duration,
    /// The number of records in the trailer: 4, or others where more hosts or hooks stamp.
    pub cap: u8,
    /// The time to live or hop limit.
    pub ttl: u8,
    /// Tell one-way delays where the far end stamps in `CLOCK_TAI`, which is then known to agree with this host's.
    pub one_way: bool,
}

impl RunOptions {
    /// 100 probes a second by this transport, each reply awaited for a second.
    pub fn new(transport: TransportOptions) -> Self {
        Self {
            transport,
            source: None,
            rate: NonZeroU64::new(100),
            timeout: Duration::from_secs(1),
            cap: DEFAULT_CAP,
            ttl: 64,
            one_way: false,
        }
    }
}

/// What the device turned out to offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The receive queues, each with a socket, a thread that sends and receives, and one that judges what was received.
    pub queues: usize,
    /// Whether the device reads and writes the frames where they are.
    pub zero_copy: bool,
    /// Whether the card tells when probes leave it.
    pub nic_tx: bool,
    /// Whether replies are steered by the program of an attachment; else by one that goes with the run.
    pub joins: bool,
}

/// What a queue leaves.
#[derive(Debug)]
pub struct Outcome<S> {
    /// What took its reports.
    pub sink: S,
    /// What was counted.
    pub counts: Counts,
    /// What its socket has lost, by the kernel's count.
    pub socket: Statistics,
    /// How long it took, from the first moment that a probe could be sent until nothing was awaited any more.
    pub elapsed: Duration,
}

/// A run under way: two threads for each queue, of which one sends and receives, and the other judges what was received.
#[derive(Debug)]
pub struct StatelessRun<S> {
    device: String,
    facts: Facts,
    shared: Arc<Shared>,
    /// When probes could first be sent.
    start_ns: u64,
    queues: Vec<Threads<S>>,
    /// Given up when no worker receives any more, and before their sockets are closed.
    steering: Option<Steering>,
}

/// Those of a queue.
#[derive(Debug)]
struct Threads<S> {
    worker: JoinHandle<Ended>,
    /// It ends when the worker has.
    judge: JoinHandle<(S, Counts)>,
}

impl<S: Sink + Send + 'static> StatelessRun<S> {
    /// Opens the device in the network namespace of the calling thread, and starts. `sink` makes what takes the reports of a queue.
    ///
    /// # Errors
    ///
    /// [`AfXdpError`] names the cause and the remedy.
    pub fn start(
        hooks: &Hooks,
        options: &RunOptions,
        plan: Plan,
        mut sink: impl FnMut(u32) -> S,
    ) -> Result<Self, AfXdpError> {
        let device = &options.transport.device;
        let mut random = StdRng::from_os_rng();
        let run = run_key(&mut random);
        let probes = Run::new(trailer_length(options.cap))?.with_cap(options.cap)?;
        let clock = HostClock::new(MonotonicOffset::of_this_process()?);
        let transport = Transport::open(hooks, &options.transport, run)?;
        transport.check_source(options.source, device)?;
        let facts = transport.facts();
        let shared = Arc::new(Shared::new(
            plan,
            Cookie::new(random.random(), run),
            random.random(),
            u64::try_from(options.timeout.as_nanos()).unwrap_or(u64::MAX),
            transport.site(),
            Window::new(window(options.rate, options.timeout)),
            (facts.queues, share(options.rate)),
        ));
        let stampers: Vec<_> = (0..facts.queues).map(|_| transport.stamper()).collect();
        let (steering, channels) = transport.into_parts();
        let mut this = Self {
            device: device.clone(),
            facts,
            shared: Arc::clone(&shared),
            start_ns: clock.now_ns(),
            queues: Vec::new(),
            steering: Some(steering),
        };
        for (channel, stamper) in channels.into_iter().zip(stampers) {
            let queue = channel.queue();
            let templates = Templates::new(probes, options.ttl)?;
            let network = network(device, options.source, templates.lengths())?;
            let nic_tx = facts.nic_tx.then(|| (NicTx::new(NIC_TX_TIMES), Card::of(Some(device), None)));
            let hands_on = stamper.is_some();
            let (outbox, inbox) = handover();
            let judge = Judge::new(Arc::clone(&shared), clock, nic_tx, stamper, options.one_way);
            let worker = Worker {
                channel,
                network,
                shared: Arc::clone(&shared),
                clock,
                templates,
                hands_on,
                pacer: Pacer::new(options.rate, u64::from(queue), facts.queues as u64, this.start_ns),
                counts: Counts::default(),
                outbox,
                resume_ns: 0,
                share: 0..0,
                waiting: VecDeque::new(),
            };
            let sink = sink(queue);
            let failed = |source| AfXdpError::Thread { device: device.clone(), queue, source };
            let judge = spawn(format!("replies {queue}"), move || judge.run(&inbox, sink)).map_err(failed)?;
            let worker = spawn(format!("queue {queue}"), move || worker.run()).map_err(failed)?;
            this.queues.push(Threads { worker, judge });
        }
        Ok(this)
    }

    /// What the device turned out to offer.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Sends no more. What is outstanding is still waited for, at most for the timeout.
    pub fn stop(&self) {
        self.shared.wish(Wish::Stop);
    }

    /// Awaits nothing any more: what was received is still judged.
    pub fn abort(&self) {
        self.shared.wish(Wish::Abort);
    }

    /// Whether nothing is sent or waited for any more.
    pub fn is_over(&self) -> bool {
        self.queues.iter().all(|threads| threads.worker.is_finished() && threads.judge.is_finished())
    }

    /// Waits for the end. What the queues leave, and what has made the run end early: of the first that failed, whose failing has
    /// ended the others.
    ///
    /// # Panics
    ///
    /// Where a sink has.
    pub fn join(mut self) -> (Vec<Outcome<S>>, Option<AfXdpError>) {
        let mut failed = None;
        let mut outcomes = Vec::new();
        let mut ended = Vec::new();
        for Threads { worker, judge } in mem::take(&mut self.queues) {
            let mut worker = worker.join().expect("a worker ends");
            let (sink, counts) = judge.join().expect("a sink does not panic");
            failed = failed.or(worker.failed.take());
            let elapsed = Duration::from_nanos(worker.ended_ns.saturating_sub(self.start_ns));
            outcomes.push(Outcome { sink, counts: worker.counts + counts, socket: worker.socket, elapsed });
            ended.push(worker);
        }
        // Nothing is steered to their sockets any more when these are closed.
        drop(self.steering.take());
        drop(ended);
        (outcomes, failed.map(|source| AfXdpError::Device { device: self.device.clone(), source }))
    }
}

fn spawn<T: Send + 'static>(name: String, run: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name).spawn(run)
}

impl<S> Drop for StatelessRun<S> {
    /// A run that nobody waits for ends.
    fn drop(&mut self) {
        self.shared.wish(Wish::Abort);
        // Their errors have nobody to go to.
        let queues = self.queues.drain(..);
        let ended: Vec<_> = queues.map(|threads| (threads.worker.join(), threads.judge.join())).collect();
        drop(self.steering.take());
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_has_room_for_what_is_under_way() {
        let of = |rate, seconds| window(NonZeroU64::new(rate), Duration::from_secs(seconds));
        assert_eq!(of(0, 1), LEAST_WINDOW);
        assert_eq!(of(0, 10), 40_000_000);
        assert_eq!(of(100_000, 1), LEAST_WINDOW);
        assert_eq!(of(1_000_000, 10), 10_000_000);
        assert_eq!(of(u64::MAX, u64::MAX), MOST_WINDOW);
    }
}
