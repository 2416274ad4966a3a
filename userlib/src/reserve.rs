//! Before sending: the payload of a probe.

use instamp_trailer::{
    Record,
    checksum::{absorb, add, sum, sum_bytes},
    wire::{DEFAULT_CAP, FOOTER_LENGTH, Footer, MAX_CAP, MIN_CAP, RECORD_LENGTH, State, trailer_length},
};
use thiserror::Error;
use zerocopy::{IntoBytes, transmute};

/// The length of an echo payload that holds a trailer of the default cap and nothing else.
pub const DEFAULT_PAYLOAD_LENGTH: usize = trailer_length(DEFAULT_CAP);

/// The shortest echo payload that holds a trailer. Shorter ones are sent without, and their replies stay uncorrected.
pub const MIN_PAYLOAD_LENGTH: usize = trailer_length(MIN_CAP);

/// Of sequence number and payload, where it was not chosen through the checksum.
const DEFAULT_SUM: u16 = 0x1257;

/// Why a payload cannot be reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReserveError {
    /// Records lie on the 16-bit words over which checksums are made.
    #[error("a payload of {0} bytes is odd, and stamps need an even length: use {below} or {above} bytes", below = .0 - 1, above = .0 + 1)]
    OddLength(usize),
    /// A trailer has 2 to 15 records.
    #[error("a trailer has {MIN_CAP} to {MAX_CAP} records, not {0}")]
    Cap(u8),
    /// The trailer is longer than the payload.
    #[error("{cap} records need a payload of {needed} bytes, not {length}: use a larger payload or fewer records", needed = trailer_length(*.cap))]
    Room {
        /// The records asked for.
        cap: u8,
        /// The length of the payload in bytes.
        length: usize,
    },
    /// The buffer has another length than the run.
    #[error("the buffer is {found} bytes long, the payloads of this run {expected}")]
    Length {
        /// The payload length of the run in bytes.
        expected: usize,
        /// The length of the buffer in bytes.
        found: usize,
    },
    /// 0 and 0xffff are the same number in one's complement: which of the two is written depends on who computes.
    #[error("0x{0:04x} cannot be the checksum of a run: choose one from 0x0001 to 0xfffe")]
    Checksum(u16),
}

/// A run of probes, whose payloads have one length and, together with the sequence number, one sum: so all of its
/// requests have the same ICMP checksum, whoever computes it, and load balancers that hash it keep them on one path.
///
/// ```
/// use instamp::{DEFAULT_PAYLOAD_LENGTH, Run};
/// # fn main() -> Result<(), instamp::ReserveError> {
/// // A socket that wants whole messages, type 8 (echo request), code 0: the checksum may be chosen, and stays.
/// let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?.with_checksum(8, 0, 0x1234, 0xbeef)?;
/// let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
/// run.reserve(&mut payload, 1, 0x0123_4567_89ab_cdef)?;
/// assert!(payload.ends_with(b"IST\x01"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    length: usize,
    /// 0 where the payload cannot hold a trailer.
    cap: u8,
    /// Of sequence number and payload.
    sum: u16,
}

impl Run {
    /// Probes with payloads of `length` bytes. From 64 bytes on the trailer has 4 records; below it has fewer, and
    /// below [`MIN_PAYLOAD_LENGTH`] there is none.
    ///
    /// # Errors
    ///
    /// [`ReserveError::OddLength`].
    pub const fn new(length: usize) -> Result<Self, ReserveError> {
        if !length.is_multiple_of(2) {
            return Err(ReserveError::OddLength(length));
        }
        let mut cap = DEFAULT_CAP;
        while cap > 0 && trailer_length(cap) > length {
            cap -= 1;
        }
        if cap < MIN_CAP {
            cap = 0;
        }
        Ok(Self { length, cap, sum: DEFAULT_SUM })
    }

    /// The same with room for `cap` records, 2 to 15.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Cap`], or [`ReserveError::Room`] where the payload is too short.
    pub const fn with_cap(self, cap: u8) -> Result<Self, ReserveError> {
        if cap < MIN_CAP || cap > MAX_CAP {
            return Err(ReserveError::Cap(cap));
        }
        if trailer_length(cap) > self.length {
            return Err(ReserveError::Room { cap, length: self.length });
        }
        Ok(Self { cap, ..self })
    }

    /// The same with the sum that gives echo messages of this type, code and identifier this checksum.
    ///
    /// For ICMP. The checksum of an ICMPv6 message also covers addresses and is the kernel's business: there the
    /// checksum of a run is constant too, but not chosen.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Checksum`] for 0 and 0xffff.
    pub fn with_checksum(self, kind: u8, code: u8, identifier: u16, checksum: u16) -> Result<Self, ReserveError> {
        if checksum == 0 || checksum == 0xffff {
            return Err(ReserveError::Checksum(checksum));
        }
        Ok(Self { sum: absorb(!checksum, 0, header_sum(kind, code, identifier)), ..self })
    }

    /// The length of the payloads in bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The number of records of the trailer, or `None` where the payloads are too short for one.
    pub const fn cap(&self) -> Option<u8> {
        if self.cap == 0 { None } else { Some(self.cap) }
    }

    /// The checksum of the run's ICMP messages of this type, code and identifier, or `None` where there is no trailer
    /// to keep it constant.
    pub fn checksum(&self, kind: u8, code: u8, identifier: u16) -> Option<u16> {
        self.cap()?;
        Some(!add(self.sum, header_sum(kind, code, identifier)))
    }

    /// Writes an empty trailer to the end of `payload`: what follows the sequence number in an echo request. The bytes
    /// before it are the application's and stay as they are; they must not change afterwards. Where the run's payloads
    /// are too short for a trailer nothing is written.
    ///
    /// `sequence` is the message's sequence number. `nonce` identifies the probe: nobody else should be able to guess
    /// it.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Length`].
    pub fn reserve(&self, payload: &mut [u8], sequence: u16, nonce: u64) -> Result<(), ReserveError> {
        self.write(payload, sequence, nonce, None)
    }

    /// The same with one record written already, on transports that pass no hook on the way out: the application's own
    /// stamp, of hook [`APP_TX`](instamp_trailer::Hook::APP_TX). The sum stays that of the run.
    ///
    /// ```
    /// use instamp::{Bound, Clock, DEFAULT_PAYLOAD_LENGTH, Hook, Phase, Record, Run, strip};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (node, sent_ns) = (7, 1_020); // of this host, and CLOCK_MONOTONIC
    /// let record = Record::new(Phase::Request, 0, Hook::APP_TX, node, Clock::MONOTONIC, Bound::UNKNOWN, sent_ns);
    /// let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
    /// Run::new(DEFAULT_PAYLOAD_LENGTH)?.reserve_sent(&mut payload, 1, 0x0123_4567_89ab_cdef, &record)?;
    /// assert_eq!(strip(&payload, 0x0123_4567_89ab_cdef)?.records, [record]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReserveError::Length`].
    pub fn reserve_sent(
        &self,
        payload: &mut [u8],
        sequence: u16,
        nonce: u64,
        record: &Record,
    ) -> Result<(), ReserveError> {
        self.write(payload, sequence, nonce, Some(record))
    }

    fn write(
        &self,
        payload: &mut [u8],
        sequence: u16,
        nonce: u64,
        record: Option<&Record>,
    ) -> Result<(), ReserveError> {
        if payload.len() != self.length {
            return Err(ReserveError::Length { expected: self.length, found: payload.len() });
        }
        let Some(cap) = self.cap() else { return Ok(()) };
        let (before, footer) = payload.split_at_mut(self.length - FOOTER_LENGTH);
        let (_, records) = before.split_at_mut(self.length - trailer_length(cap));
        records.fill(0);
        if let Some((record, first)) = record.zip(records.first_chunk_mut::<RECORD_LENGTH>()) {
            *first = transmute!(*record);
        }
        let state = |complement: u16| -> State {
            let [high, low] = complement.to_be_bytes();
            transmute!([high, low, u8::from(record.is_some()) << 4 | cap, 0])
        };
        footer.copy_from_slice(Footer::new(nonce, state(0)).as_bytes());

        let rest = add(sequence, sum_bytes(payload));
        let (_, footer) = payload.split_at_mut(self.length - FOOTER_LENGTH);
        footer.copy_from_slice(Footer::new(nonce, state(absorb(self.sum, 0, rest))).as_bytes());
        Ok(())
    }
}

/// The sum of an echo message's header without checksum and sequence number.
fn header_sum(kind: u8, code: u8, identifier: u16) -> u16 {
    sum([u16::from_be_bytes([kind, code]), identifier])
}
