//! What a worker hands to the judge of its queue, in batches that go back and forth between their threads.
//!
//! Sending is one thread's work and never waits for what is made of the replies, unless that is a whole [`MOST`] of batches
//! behind. What the judge needs is copied: frames have to go back to the kernel at once.

use std::{
    mem,
    net::IpAddr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    time::Duration,
};

use super::{network::NoHop, report::Counts};

/// A batch has about so many frames, ...
const FRAMES: usize = 256;
/// ... tells of about so many probes ...
const PROBES: usize = 1024;
/// ... and does not get much older.
const AGE_NS: u64 = 20_000_000;
/// The judge is no more batches behind than this.
const MOST: usize = 32;

/// What happened at one queue.
#[derive(Default)]
pub(super) struct Batch {
    /// The frames, one behind the other.
    bytes: Vec<u8>,
    /// How long each is, and when it was received.
    received: Vec<(usize, u64)>,
    pub(super) sent: Vec<Sent>,
    pub(super) unsent: Vec<(IpAddr, NoHop)>,
    pub(super) left: Vec<Left>,
    /// All that the worker had counted by then.
    pub(super) counts: Counts,
}

/// A probe was written to the device's queue.
pub(super) struct Sent {
    pub(super) index: u64,
    pub(super) target: IpAddr,
}

/// A probe has left the card at a time of its clock, which was known at `known_ns`.
pub(super) struct Left {
    pub(super) index: u64,
    pub(super) phc_ns: u64,
    pub(super) known_ns: u64,
}

impl Batch {
    /// Copies a frame.
    #[inline]
    pub(super) fn push(&mut self, frame: &[u8], received_ns: u64) {
        self.bytes.extend_from_slice(frame);
        self.received.push((frame.len(), received_ns));
    }

    /// The frames, and when each was received.
    pub(super) fn frames(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let mut rest = &*self.bytes;
        self.received.iter().map_while(move |(length, received_ns)| {
            let (frame, behind) = rest.split_at_checked(*length)?;
            rest = behind;
            Some((frame, *received_ns))
        })
    }

    fn is_empty(&self) -> bool {
        self.received.is_empty() && self.sent.is_empty() && self.unsent.is_empty() && self.left.is_empty()
    }

    /// Without what it has told, and with the memory for more of it.
    fn clear(&mut self) {
        self.bytes.clear();
        self.received.clear();
        self.sent.clear();
        self.unsent.clear();
        self.left.clear();
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
    /// Hands the batch over if it is time for it: `is_idle` where nothing else is to be done, and replies should not wait.
    #[inline]
    pub(super) fn flush(&mut self, now_ns: u64, is_idle: bool, counts: &Counts) -> Result<(), Gone> {
        let batch = &self.batch;
        let is_full = batch.received.len() >= FRAMES || batch.sent.len() >= PROBES;
        let is_old = now_ns.saturating_sub(self.since_ns) >= AGE_NS;
        if is_full || (is_old || is_idle && !batch.received.is_empty()) && !batch.is_empty() {
            self.since_ns = now_ns;
            self.hand_over(*counts)
        } else {
            Ok(())
        }
    }

    /// Hands over what there is, and takes a batch that has come back: waits for one if all are with the judge.
    pub(super) fn hand_over(&mut self, counts: Counts) -> Result<(), Gone> {
        self.batch.counts = counts;
        let next = match self.returned.try_recv() {
            Ok(batch) => batch,
            Err(_) if self.made < MOST => {
                self.made += 1;
                Batch::default()
            }
            Err(_) => self.returned.recv().map_err(|_| Gone)?,
        };
        self.told.send(mem::replace(&mut self.batch, next)).map_err(|_| Gone)
    }
}

impl Inbox {
    /// Waits for a batch, shows it, and gives it back: `false` where none came in time, `None` where no more come.
    pub(super) fn take(&self, timeout: Duration, show: impl FnOnce(&Batch)) -> Option<bool> {
        match self.told.recv_timeout(timeout) {
            Ok(mut batch) => {
                show(&batch);
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
        inbox.take(Duration::ZERO, |batch| seen.extend(batch.frames().map(|(frame, ns)| (frame.to_vec(), ns))))?;
        Some(seen)
    }

    #[test]
    fn frames_come_over_as_they_were() {
        let (mut outbox, inbox) = handover();
        outbox.batch.push(b"abc", 1);
        outbox.batch.push(b"", 2);
        outbox.batch.push(b"de", 3);
        assert_eq!(outbox.hand_over(Counts { sent: 7, ..Counts::default() }), Ok(()));
        let mut counts = Counts::default();
        let mut seen = Vec::new();
        inbox.take(Duration::ZERO, |batch| {
            counts = batch.counts;
            seen = batch.frames().map(|(frame, ns)| (frame.to_vec(), ns)).collect();
        });
        assert_eq!(counts.sent, 7);
        assert_eq!(seen, [(b"abc".to_vec(), 1), (Vec::new(), 2), (b"de".to_vec(), 3)]);
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
        outbox.batch.push(b"reply", 3_000);
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
            outbox.batch.push(&number.to_le_bytes(), 0);
            assert_eq!(outbox.flush(0, false, &counts), Ok(()));
        }
        assert_eq!(frames(&inbox).map(|frames| frames.len()), Some(FRAMES));
    }

    #[test]
    fn a_worker_waits_for_a_judge_that_is_behind() {
        let (mut outbox, inbox) = handover();
        let worker = thread::spawn(move || {
            for number in 0..10 * MOST as u64 {
                outbox.batch.push(&number.to_le_bytes(), number);
                outbox.hand_over(Counts::default()).expect("the judge is there");
            }
            outbox.made
        });
        let mut seen = Vec::new();
        while let Some(is_told) = inbox.take(Duration::from_secs(60), |batch| {
            seen.extend(batch.frames().map(|(_, received_ns)| received_ns));
        }) {
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
