//! What a worker hands to the judge of its queue, in batches that go back and forth between their threads.
//!
//! Sending is one thread's work and does not wait for what is made of the replies, unless that is thousands of them behind. What
//! the judge needs is copied: frames have to go back to the kernel at once.

use std::{
    mem,
    net::IpAddr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    time::Duration,
};

use instamp_trailer::Handed;

use super::{network::NoHop, report::Counts};

/// A batch is full with about so many frames, ...
const FRAMES: usize = 256;
/// ... or with so much that it tells of probes.
const PROBES: usize = 1024;
/// It does not get much older, while there is another.
const AGE_NS: u64 = 20_000_000;
/// The judge is no more batches behind than this.
const MOST: usize = 32;

/// What happened at one queue.
#[derive(Default)]
pub(super) struct Batch {
    /// The frames, one behind the other.
    bytes: Vec<u8>,
    received: Vec<Received>,
    pub(super) sent: Vec<Sent>,
    pub(super) unsent: Vec<(IpAddr, NoHop)>,
    pub(super) transmitted: Vec<Transmitted>,
    /// All that the worker had counted by then.
    pub(super) counts: Counts,
}

/// A frame was received.
struct Received {
    length: usize,
    at_ns: u64,
    handed: Option<Handed>,
}

/// A probe was written to the device's queue.
pub(super) struct Sent {
    pub(super) index: u64,
    pub(super) target: IpAddr,
}

/// The card has sent a probe at a time of its clock, which was known at `known_ns`.
pub(super) struct Transmitted {
    pub(super) index: u64,
    pub(super) phc_ns: u64,
    pub(super) known_ns: u64,
}

impl Batch {
    /// Copies a frame that was received at `at_ns`, with the times that were handed on with it.
    #[inline]
    pub(super) fn push(&mut self, frame: &[u8], at_ns: u64, handed: Option<Handed>) {
        self.bytes.extend_from_slice(frame);
        self.received.push(Received { length: frame.len(), at_ns, handed });
    }

    /// Shows each frame, when it was received, and the times that were handed on with it.
    pub(super) fn each(&mut self, mut show: impl FnMut(&mut [u8], u64, Option<Handed>)) {
        let mut rest = &mut *self.bytes;
        for Received { length, at_ns, handed } in &self.received {
            let Some((frame, behind)) = rest.split_at_mut_checked(*length) else { return };
            show(frame, *at_ns, *handed);
            rest = behind;
        }
    }

    fn is_empty(&self) -> bool {
        self.received.is_empty() && self.told() == 0
    }

    fn is_full(&self) -> bool {
        self.received.len() >= FRAMES || self.told() >= PROBES
    }

    /// What it tells of probes.
    fn told(&self) -> usize {
        self.sent.len() + self.unsent.len() + self.transmitted.len()
    }

    /// Without what it has told, and with the memory for more of it.
    fn clear(&mut self) {
        self.bytes.clear();
        self.received.clear();
        self.sent.clear();
        self.unsent.clear();
        self.transmitted.clear();
    }
}

/// The worker's end.
pub(super) struct Outbox {
    /// What is not handed over yet.
    pub(super) batch: Batch,
    since_ns: u64,
    /// How many batches there are.
    made: usize,
    told: SyncSender<Batch>,
    returned: Receiver<Batch>,
}

/// The judge's end.
pub(super) struct Inbox {
    told: Receiver<Batch>,
    returned: SyncSender<Batch>,
}

/// The judge has ended before the worker, as its sink has panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gone;

/// Both ends.
pub(super) fn handover() -> (Outbox, Inbox) {
    // There is always room for all of them.
    let (told, inbox) = mpsc::sync_channel(MOST);
    let (returned, outbox) = mpsc::sync_channel(MOST);
    let outbox = Outbox { batch: Batch::default(), since_ns: 0, made: 1, told, returned: outbox };
    (outbox, Inbox { told: inbox, returned })
}

impl Outbox {
    /// Hands the batch over if it is time for it: `is_idle` where nothing else is to be done, and replies need not wait for more. Where
    /// all others are with the judge, the batch is filled first: only then this waits.
    #[inline]
    pub(super) fn flush(&mut self, now_ns: u64, is_idle: bool, counts: &Counts) -> Result<(), Gone> {
        let batch = &self.batch;
        if batch.is_full() {
            self.since_ns = now_ns;
            return self.hand_over(*counts);
        }
        let is_old = now_ns.saturating_sub(self.since_ns) >= AGE_NS;
        let is_due = is_old && !batch.is_empty() || is_idle && !batch.received.is_empty();
        match if is_due { self.spare() } else { None } {
            Some(spare) => {
                self.since_ns = now_ns;
                self.exchange(spare, *counts)
            }
            None => Ok(()),
        }
    }

    /// Hands over what there is, and waits for a batch to come back if all are with the judge.
    pub(super) fn hand_over(&mut self, counts: Counts) -> Result<(), Gone> {
        let next = match self.spare() {
            Some(spare) => spare,
            None => self.returned.recv().map_err(|_| Gone)?,
        };
        self.exchange(next, counts)
    }

    /// An empty batch, if there is one or may be one more.
    fn spare(&mut self) -> Option<Batch> {
        if let Ok(batch) = self.returned.try_recv() {
            return Some(batch);
        }
        let is_made = self.made < MOST;
        self.made += usize::from(is_made);
        is_made.then(Batch::default)
    }

    fn exchange(&mut self, next: Batch, counts: Counts) -> Result<(), Gone> {
        self.batch.counts = counts;
        self.told.send(mem::replace(&mut self.batch, next)).map_err(|_| Gone)
    }
}

impl Inbox {
    /// Waits for a batch, shows it, and gives it back: `false` where none came in time, `None` where no more come.
    pub(super) fn take(&self, timeout: Duration, show: impl FnOnce(&mut Batch)) -> Option<bool> {
        match self.told.recv_timeout(timeout) {
            Ok(mut batch) => {
                show(&mut batch);
                batch.clear();
                // The worker may have ended: then nobody needs it.
                let _ = self.returned.send(batch);
                Some(true)
            }
            Err(RecvTimeoutError::Timeout) => Some(false),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, thread};

    use super::*;

    const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn frames(inbox: &Inbox) -> Option<Vec<(Vec<u8>, u64)>> {
        let mut seen = Vec::new();
        inbox.take(Duration::ZERO, |batch| batch.each(|frame, ns, _| seen.push((frame.to_vec(), ns))))?;
        Some(seen)
    }

    #[test]
    fn frames_come_over_as_they_were() {
        const HANDED: Handed = Handed { magic: Handed::MAGIC, xdp_ns: 5, nic_rx_ns: 6 };
        let (mut outbox, inbox) = handover();
        outbox.batch.push(b"abc", 1, None);
        outbox.batch.push(b"", 2, None);
        outbox.batch.push(b"de", 3, Some(HANDED));
        assert_eq!(outbox.hand_over(Counts { sent: 7, ..Counts::default() }), Ok(()));
        let mut counts = Counts::default();
        let mut seen = Vec::new();
        inbox.take(Duration::ZERO, |batch| {
            counts = batch.counts;
            batch.each(|frame, ns, handed| seen.push((frame.to_vec(), ns, handed)));
        });
        assert_eq!(counts.sent, 7);
        assert_eq!(seen, [(b"abc".to_vec(), 1, None), (Vec::new(), 2, None), (b"de".to_vec(), 3, Some(HANDED))]);
        assert_eq!(inbox.take(Duration::ZERO, |_| ()), Some(false));
        drop(outbox);
        assert_eq!(inbox.take(Duration::ZERO, |_| ()), None);
    }

    #[test]
    fn replies_go_over_when_idle_or_enough_and_the_rest_in_time() {
        let (mut outbox, inbox) = handover();
        let counts = Counts::default();
        outbox.since_ns = 1_000;
        outbox.batch.sent.push(Sent { index: 0, target: TARGET });
        assert_eq!(outbox.flush(2_000, true, &counts), Ok(()));
        assert_eq!(inbox.take(Duration::ZERO, |_| ()), Some(false), "that a probe was sent can wait");
        outbox.batch.push(b"reply", 3_000, None);
        assert_eq!(outbox.flush(3_000, false, &counts), Ok(()));
        assert_eq!(inbox.take(Duration::ZERO, |_| ()), Some(false), "there may be more");
        assert_eq!(outbox.flush(3_000, true, &counts), Ok(()));
        assert_eq!(frames(&inbox), Some(vec![(b"reply".to_vec(), 3_000)]));
        outbox.batch.sent.push(Sent { index: 1, target: TARGET });
        assert_eq!(outbox.flush(3_000 + AGE_NS, false, &counts), Ok(()));
        assert_eq!(inbox.take(Duration::ZERO, |batch| assert_eq!(batch.sent.len(), 1)), Some(true));
        assert_eq!(outbox.flush(u64::MAX, true, &counts), Ok(()));
        assert_eq!(inbox.take(Duration::ZERO, |_| ()), Some(false), "nothing happened");
        for number in 0..FRAMES {
            outbox.batch.push(&number.to_le_bytes(), 0, None);
            assert_eq!(outbox.flush(0, false, &counts), Ok(()));
        }
        assert_eq!(frames(&inbox).map(|frames| frames.len()), Some(FRAMES));
        for _ in 0..PROBES {
            outbox.batch.unsent.push((TARGET, NoHop::NoRoute));
            assert_eq!(outbox.flush(0, false, &counts), Ok(()));
        }
        assert_eq!(inbox.take(Duration::ZERO, |batch| assert_eq!(batch.unsent.len(), PROBES)), Some(true));
    }

    #[test]
    fn single_replies_wait_in_a_batch_where_the_judge_is_behind() {
        const REPLIES: usize = MOST + FRAMES / 2;
        let (mut outbox, inbox) = handover();
        for number in 0..REPLIES {
            outbox.batch.push(&number.to_le_bytes(), number as u64, None);
            assert_eq!(outbox.flush(0, true, &Counts::default()), Ok(()));
        }
        let mut seen = Vec::new();
        while inbox.take(Duration::ZERO, |batch| batch.each(|_, ns, _| seen.push(ns))) == Some(true) {}
        assert_eq!(outbox.flush(0, true, &Counts::default()), Ok(()));
        inbox.take(Duration::ZERO, |batch| batch.each(|_, ns, _| seen.push(ns)));
        assert!(seen.into_iter().eq(0..REPLIES as u64));
    }

    #[test]
    fn a_worker_with_full_batches_waits_for_a_judge_that_is_behind() {
        let (mut outbox, inbox) = handover();
        let worker = thread::spawn(move || {
            for number in 0..10 * MOST as u64 {
                outbox.batch.push(&number.to_le_bytes(), number, None);
                outbox.hand_over(Counts::default()).expect("the judge is there");
            }
            outbox.made
        });
        let mut seen = Vec::new();
        while let Some(is_told) = inbox.take(Duration::from_secs(60), |batch| batch.each(|_, ns, _| seen.push(ns))) {
            assert!(is_told);
        }
        assert!(seen.into_iter().eq(0..10 * MOST as u64));
        assert!(worker.join().expect("it ends") <= MOST);
    }

    #[test]
    fn a_worker_whose_judge_is_gone_is_told() {
        let (mut outbox, inbox) = handover();
        drop(inbox);
        assert_eq!(outbox.hand_over(Counts::default()), Err(Gone));
    }
}
