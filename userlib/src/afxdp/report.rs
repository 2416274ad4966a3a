//! What a stateless run reports.

use std::{
    net::IpAddr,
    ops::{Add, AddAssign},
};

use super::network::NoHop;
use crate::{Correction, OneWay, Uncorrected, prober::Stamps};

/// What a genuine reply is to its probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verdict {
    /// The first answer, in time.
    Answer,
    /// The probe has been answered before.
    Duplicate,
    /// It came after the timeout: whether it is the first is not known any more.
    Late,
}

/// A genuine reply: one with a nonce that this run has made for this target, probe and time.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The number of the probe in the run, counted from 0.
    pub index: u64,
    /// The round, counted from 0.
    pub round: u64,
    /// Whom the probe was sent to.
    pub target: IpAddr,
    /// Who answered: mostly the target.
    pub from: IpAddr,
    /// What it is to its probe.
    pub verdict: Verdict,
    /// The length of the ICMP message in bytes.
    pub bytes: usize,
    /// The time to live or hop limit with which it arrived.
    pub ttl: u8,
    /// The host's monotonic time in nanoseconds when the probe was written: its `app-tx` stamp, which the nonce vouches for.
    pub sent_ns: u64,
    /// The host's monotonic time in nanoseconds when the reply was taken from the queue.
    pub received_ns: u64,
    /// The difference, in nanoseconds.
    pub rtt_ns: i64,
    /// Where the time went, or why that is not known.
    pub correction: Result<Correction, Uncorrected>,
    /// How long it took there and back, where that was asked for and the far end tells.
    pub one_way: Option<OneWay>,
    /// The stamps in the order in which they were written; behind them the network card's transmit time, if it has told it to this
    /// process.
    pub stamps: Stamps,
    /// A hook found no free record in the probe.
    pub full: bool,
}

impl Reply {
    /// Whether somebody other than the target has answered.
    pub fn is_from_another(&self) -> bool {
        self.from != self.target
    }
}

/// Takes what happens at a queue, on a thread that does nothing else: what takes long here delays neither probes nor the times of
/// replies, until it is thousands of replies behind. Then the queue waits.
pub trait Sink {
    /// A probe was written to the device's queue.
    fn sent(&mut self, target: IpAddr) {
        let _ = target;
    }

    /// A probe was left out.
    fn unsent(&mut self, target: IpAddr, reason: NoHop) {
        let _ = (target, reason);
    }

    /// A genuine reply has come.
    fn reply(&mut self, reply: &Reply);

    /// Called now and then, with the counts so far.
    fn tick(&mut self, counts: &Counts) {
        let _ = counts;
    }
}

/// What was counted at a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Probes written to the device's queue.
    pub sent: u64,
    /// Of these, those that the device has dropped, as far as the kernel tells: its queue was full.
    pub tx_dropped: u64,
    /// First answers in time.
    pub received: u64,
    /// Of the answers, those with a network time.
    pub corrected: u64,
    /// Replies to probes that had been answered.
    pub duplicates: u64,
    /// Genuine replies after the timeout.
    pub late: u64,
    /// Genuine replies, of whichever kind, of another address than the target's.
    pub from_others: u64,
    /// Frames with this run's key that are no genuine reply: altered, replayed from another run, or made up.
    pub forged: u64,
    /// Probes left out: no route by this device, or the target is this host itself or no unicast address.
    pub unroutable: u64,
    /// Probes left out: the next hop's link-layer address was not found, or not before the run was stopped.
    pub unresolved: u64,
    /// Places of the schedule in which no probe was sent, as the rate could not be kept: the probes took later ones.
    pub left_out: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.tx_dropped += other.tx_dropped;
        self.received += other.received;
        self.corrected += other.corrected;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.from_others += other.from_others;
        self.forged += other.forged;
        self.unroutable += other.unroutable;
        self.unresolved += other.unresolved;
        self.left_out += other.left_out;
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}
