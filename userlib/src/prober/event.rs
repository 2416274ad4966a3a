//! What a prober reports.

use std::{fmt, net::IpAddr, ops::Deref};

use instamp_trailer::{Record, wire::MAX_CAP};

use super::ErrorKind;
use crate::{Correction, OneWay, Uncorrected};

/// One thing that happened. Each probe is reported once as [`Sent`](Self::Sent) and, until the prober ends, once as
/// answered in time, as timed out, or as failed. A late reply or error may follow a timeout, and a whole reply a truncated
/// one ([`Reply::supersedes`]).
///
/// A request that the own kernel does not send is reported as failed only. It has a number like the others.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "replies are what it is about, and a box would allocate for each")]
pub enum Event {
    /// A request has been sent.
    Sent {
        /// Which one.
        seq: u64,
        /// The host's monotonic time in nanoseconds, right before the send call.
        sent_ns: u64,
    },
    /// A reply has been received, maybe a late or repeated one.
    Reply(Reply),
    /// No reply to the request in time. A late one may follow.
    Timeout {
        /// To which one.
        seq: u64,
    },
    /// A request could not be sent, or a router or host has answered it with an error.
    Error {
        /// To which one, where that is known.
        seq: Option<u64>,
        /// Who says so, or `None` where it is this host's kernel.
        from: Option<IpAddr>,
        /// What went wrong.
        error: ErrorKind,
    },
}

/// A reply and what its stamps say.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The number of the request, counted from 1 and not wrapped: on the wire are its lower 16 bits. With a foreign nonce
    /// it is that of the latest request with these bits, to which the reply does not belong.
    pub seq: u64,
    /// Who answered.
    pub from: IpAddr,
    /// The length of the ICMP message in bytes, 8 more than its payload.
    pub bytes: usize,
    /// The time to live or hop limit with which the reply arrived.
    pub ttl: Option<u8>,
    /// Receive minus send, by the application's clock, in nanoseconds.
    pub rtt_ns: i64,
    /// The host's monotonic time in nanoseconds, right before the send call.
    pub sent_ns: u64,
    /// The host's monotonic time in nanoseconds, right after the receive call.
    pub received_ns: u64,
    /// Where the time went, or why that is not known.
    pub correction: Result<Correction, Uncorrected>,
    /// How long it took there and back: where [`Config::one_way`](super::Config::one_way) asks for it and the far end tells.
    pub one_way: Option<OneWay>,
    /// The stamps in the order in which they were written; none where the reply has no trailer of this probe. Behind them, where the
    /// reply has none, the network card's transmit time of the request that came from the socket.
    pub stamps: Stamps,
    /// A hook found no free record in the probe.
    pub full: bool,
    /// The probe has been answered before; a whole reply is a duplicate of whole ones only.
    pub duplicate: bool,
    /// The probe has been answered before, but by truncated replies only, which anybody could have forged: this one is whole and
    /// takes their place. Who counts probes has counted this one.
    pub supersedes: bool,
    /// The probe has been reported as timed out before.
    pub late: bool,
}

impl Reply {
    /// Whether this is the first answer to its probe, or the first whole one where truncated ones came before it
    /// ([`supersedes`](Self::supersedes)). A repeated one is not, nor one that has come back with another probe's trailer:
    /// such a probe still waits for its reply.
    pub fn is_first_answer(&self) -> bool {
        !self.duplicate && self.correction != Err(Uncorrected::ForeignNonce)
    }
}

/// The stamps of one reply, up to 15: a slice of [`Record`]s that needs no heap.
#[derive(Clone, Copy)]
pub struct Stamps {
    records: [Record; MAX_CAP as usize],
    length: usize,
}

impl Stamps {
    /// None.
    pub const NONE: Self = Self { records: [Record::EMPTY; MAX_CAP as usize], length: 0 };

    /// Adds one, if there are fewer than 15.
    pub(crate) fn push(&mut self, record: Record) {
        if let Some(free) = self.records.get_mut(self.length) {
            *free = record;
            self.length += 1;
        }
    }
}

impl From<&[Record]> for Stamps {
    /// The first 15 of `records`.
    fn from(records: &[Record]) -> Self {
        let mut stamps = Self::NONE;
        records.iter().for_each(|record| stamps.push(*record));
        stamps
    }
}

impl Deref for Stamps {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        self.records.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
