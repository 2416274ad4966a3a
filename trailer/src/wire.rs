//! The trailer, byte by byte. All integers are in network byte order; `docs/trailer.md` is the specification.
//!
//! Whatever the network delivers is representable: numbers without a meaning in this version stay numbers.

use core::fmt;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    network_endian::{U16, U64},
};

use crate::{Refusal, checksum};

/// `IST`, the first three bytes of the footer's last word.
pub const MAGIC: [u8; 3] = *b"IST";
/// The version of the format, its fourth byte.
pub const VERSION: u8 = 1;
/// The fewest records of a trailer: one for each direction.
pub const MIN_CAP: u8 = 2;
/// The most records of a trailer.
pub const MAX_CAP: u8 = 15;
/// Four records: the trailer is 64 bytes long, and comes back whole from servers that return only 68 bytes of payload.
pub const DEFAULT_CAP: u8 = 4;
/// The length of a record in bytes.
pub const RECORD_LENGTH: usize = size_of::<Record>();
/// The length of the footer in bytes.
pub const FOOTER_LENGTH: usize = size_of::<Footer>();

/// The length in bytes of a trailer of `cap` records.
#[inline(always)]
pub const fn trailer_length(cap: u8) -> usize {
    cap as usize * RECORD_LENGTH + FOOTER_LENGTH
}

/// Of which message a probe was at the moment of stamping, whatever the direction of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// An echo request.
    Request,
    /// An echo reply.
    Reply,
}

impl Phase {
    /// `request` or `reply`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind of place in which a stamp was taken: a number of 4 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hook(u8);

impl Hook {
    /// TC on the way out: after routing and NAT, before the queueing discipline.
    pub const TC_EGRESS: Self = Self(1);
    /// TC on the way in: after the queue of the network softirq and the packet taps.
    pub const TC_INGRESS: Self = Self(2);
    /// XDP on the way in: the earliest software point of a network card.
    pub const XDP_INGRESS: Self = Self(3);
    /// Where the kernel hands the packet to the driver.
    pub const DRIVER_TX: Self = Self(4);
    /// The card's own transmit time.
    pub const NIC_TX: Self = Self(5);
    /// The card's own receive time.
    pub const NIC_RX: Self = Self(6);
    /// XDP on the way out.
    pub const XDP_TX: Self = Self(7);
    /// The application, on transports that pass no hook on the way out.
    pub const APP_TX: Self = Self(8);

    /// Of the place in a record.
    pub(crate) const BITS: u8 = 0xf;

    const NAMES: [&'static str; 9] =
        ["empty", "tc-egress", "tc-ingress", "xdp-ingress", "driver-tx", "nic-tx", "nic-rx", "xdp-tx", "app-tx"];

    /// The hook of this number; only the lower 4 bits count.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        Self(number & Self::BITS)
    }

    /// The number on the wire.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name, or `None` where this version gives the number no meaning.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.get(usize::from(self.0)).copied()
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "hook-{}", self.0),
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The clock in which a stamp was read: a number of 3 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Clock(u8);

impl Clock {
    /// Not told.
    pub const UNKNOWN: Self = Self(0);
    /// `CLOCK_MONOTONIC` of the stamping host, in its initial time namespace.
    pub const MONOTONIC: Self = Self(1);
    /// `CLOCK_TAI` of the stamping host.
    pub const TAI: Self = Self(2);
    /// The clock of the network card, as it reads.
    pub const PHC: Self = Self(3);

    const NAMES: [&'static str; 4] = ["unknown", "monotonic", "tai", "phc"];

    /// The clock of this number; only the lower 3 bits count.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        Self(number & 7)
    }

    /// The number on the wire.
    #[inline(always)]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name, or `None` where this version gives the number no meaning.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.get(usize::from(self.0)).copied()
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "clock-{}", self.0),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The largest error of a stamp, as a power of two of nanoseconds: a number of 5 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Bound(u8);

impl Bound {
    /// The error is not known.
    pub const UNKNOWN: Self = Self(31);

    /// The bound of this number; only the lower 5 bits count.
    #[inline(always)]
    pub const fn from_exponent(exponent: u8) -> Self {
        Self(exponent & 31)
    }

    /// The smallest bound that holds `nanoseconds`; above 2^30 ns (one second) it is unknown.
    pub const fn at_least(nanoseconds: u64) -> Self {
        match nanoseconds.checked_next_power_of_two() {
            Some(power) if power <= 1 << 30 => Self(power.trailing_zeros().to_le_bytes()[0]),
            _ => Self::UNKNOWN,
        }
    }

    /// The number on the wire.
    #[inline(always)]
    pub const fn exponent(self) -> u8 {
        self.0
    }

    /// In nanoseconds, or `None` where it is unknown.
    pub const fn nanoseconds(self) -> Option<u64> {
        match self {
            Self::UNKNOWN => None,
            Self(exponent) => Some(1 << exponent),
        }
    }
}

/// One stamp.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-----+-------+-----+---------+-------------------------------+
/// |P|point| hook  |clock|  bound  |             node              |
/// +-+-----+-------+-----+---------+-------------------------------+
/// |                           time (ns)                           |
/// |                                                               |
/// +---------------------------------------------------------------+
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Record {
    /// Phase, point and hook in the upper byte, clock and bound in the lower.
    place_and_quality: U16,
    node: U16,
    time_ns: U64,
}

impl Record {
    /// A record of all zeros: free.
    pub const EMPTY: Self = Self { place_and_quality: U16::ZERO, node: U16::ZERO, time_ns: U64::ZERO };

    /// A stamp taken at `time_ns` of `clock`; only the lower 3 bits of `point` count.
    #[inline(always)]
    pub fn new(phase: Phase, point: u8, hook: Hook, node: u16, clock: Clock, bound: Bound, time_ns: u64) -> Self {
        let phase = match phase {
            Phase::Request => 0,
            Phase::Reply => 0x80,
        };
        let place = phase | (point & 7) << 4 | hook.0;
        let quality = clock.0 << 5 | bound.0;
        Self {
            place_and_quality: U16::new(u16::from_be_bytes([place, quality])),
            node: U16::new(node),
            time_ns: U64::new(time_ns),
        }
    }

    fn place(&self) -> u8 {
        self.place_and_quality.to_bytes()[0]
    }

    fn quality(&self) -> u8 {
        self.place_and_quality.to_bytes()[1]
    }

    /// Of which message the probe was.
    pub fn phase(&self) -> Phase {
        if self.place() & 0x80 == 0 { Phase::Request } else { Phase::Reply }
    }

    /// Which attachment on the stamping host: 0 is the uplink.
    pub fn point(&self) -> u8 {
        self.place() >> 4 & 7
    }

    /// The kind of place.
    pub fn hook(&self) -> Hook {
        Hook(self.place() & Hook::BITS)
    }

    /// The clock of `time_ns`.
    pub fn clock(&self) -> Clock {
        Clock(self.quality() >> 5)
    }

    /// The largest error of `time_ns`.
    pub fn bound(&self) -> Bound {
        Bound(self.quality() & 31)
    }

    /// The number of the stamping host.
    pub fn node(&self) -> u16 {
        self.node.get()
    }

    /// The time in nanoseconds of [`clock`](Self::clock).
    pub fn time_ns(&self) -> u64 {
        self.time_ns.get()
    }

    /// The one's-complement sum of its six words.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the words of the time, one by one")]
    pub(crate) fn sum(&self) -> u16 {
        let time = self.time_ns.get();
        checksum::sum([
            self.place_and_quality.get(),
            self.node.get(),
            (time >> 48) as u16,
            (time >> 32) as u16,
            (time >> 16) as u16,
            time as u16,
        ])
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("phase", &self.phase())
            .field("point", &self.point())
            .field("hook", &self.hook())
            .field("node", &self.node())
            .field("clock", &self.clock())
            .field("bound", &self.bound())
            .field("time_ns", &self.time_ns())
            .finish()
    }
}

/// The part of the footer that hooks change.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct State {
    complement: U16,
    /// Used and cap in the upper byte, flags in the lower.
    counts_and_flags: U16,
}

/// The end of a footer, from its state on.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct FooterEnd {
    state: State,
    magic: [u8; 3],
    version: u8,
}

impl State {
    /// With what follows it in a footer.
    #[inline(always)]
    pub(crate) fn with_end(self) -> FooterEnd {
        FooterEnd { state: self, magic: MAGIC, version: VERSION }
    }

    const FULL: u16 = 1;
    const ONE_USED: u16 = 1 << 12;

    /// No record used, no flag set.
    pub fn new(complement: u16, cap: u8) -> Self {
        Self { complement: U16::new(complement), counts_and_flags: U16::new(u16::from(cap & 0xf) << 8) }
    }

    /// The word that absorbs what hooks change (see [`checksum`]).
    #[inline(always)]
    pub fn complement(self) -> u16 {
        self.complement.get()
    }

    /// How many records are used.
    #[inline(always)]
    pub fn used(self) -> u8 {
        self.counts_and_flags.to_bytes()[0] >> 4
    }

    /// How many records there are.
    #[inline(always)]
    pub fn cap(self) -> u8 {
        self.counts_and_flags.to_bytes()[0] & 0xf
    }

    /// The flags as they are on the wire.
    pub fn flags(self) -> u8 {
        self.counts_and_flags.to_bytes()[1]
    }

    /// Whether a hook found no free record.
    pub fn is_full(self) -> bool {
        self.counts_and_flags.get() & Self::FULL != 0
    }

    /// The state after the first free record, whose words had the sum `old`, was overwritten by `new`. The caller has
    /// seen that there is a free record.
    #[inline(always)]
    pub(crate) fn with_record(self, old: u16, new: &Record) -> Self {
        self.changed(self.counts_and_flags.get().wrapping_add(Self::ONE_USED), old, new.sum())
    }

    /// The state with the flag for a hook that found no free record, or `None` where it is set already.
    #[inline(always)]
    pub(crate) fn into_full(self) -> Option<Self> {
        let word = self.counts_and_flags.get();
        (word & Self::FULL == 0).then(|| self.changed(word | Self::FULL, 0, 0))
    }

    /// With this word of counts and flags, and a complement that absorbs its change and the one from `old` to `new`.
    #[inline(always)]
    fn changed(self, word: u16, old: u16, new: u16) -> Self {
        let old = checksum::add(old, self.counts_and_flags.get());
        let new = checksum::add(new, word);
        let complement = checksum::absorb(self.complement.get(), old, new);
        Self { complement: U16::new(complement), counts_and_flags: U16::new(word) }
    }
}

/// The last 16 bytes of a trailer, and of the ICMP message.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// |                             nonce                             |
/// |                                                               |
/// +-------------------------------+-------+-------+-------------+-+
/// |          complement           | used  |  cap  |      0      |F|
/// +-------------------------------+-------+-------+-------------+-+
/// |      'I'      |      'S'      |      'T'      |    version    |
/// +---------------+---------------+---------------+---------------+
/// ```
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Footer {
    nonce: U64,
    state: State,
    magic: [u8; 3],
    version: u8,
}

impl Footer {
    /// Where [`State`] lies in the footer.
    pub const STATE_OFFSET: usize = core::mem::offset_of!(Footer, state);

    /// A footer as its sender writes it.
    pub fn new(nonce: u64, state: State) -> Self {
        Self { nonce: U64::new(nonce), state, magic: MAGIC, version: VERSION }
    }

    /// The prober's number for this probe.
    pub fn nonce(&self) -> u64 {
        self.nonce.get()
    }

    /// What hooks change.
    #[inline(always)]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether these bytes end a trailer at all, and one that fits into an echo payload of `payload_length` bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTrailer`], [`Refusal::Version`], [`Refusal::OddLength`] or [`Refusal::Counts`], in this order.
    #[inline(always)]
    pub fn check(&self, payload_length: u32) -> Result<(), Refusal> {
        if self.magic != MAGIC {
            return Err(Refusal::NoTrailer);
        }
        if self.version != VERSION {
            return Err(Refusal::Version);
        }
        if !payload_length.is_multiple_of(2) {
            return Err(Refusal::OddLength);
        }
        let (used, cap) = (self.state.used(), self.state.cap());
        #[expect(clippy::cast_possible_truncation, reason = "a trailer is at most 196 bytes long")]
        if cap < MIN_CAP || used > cap || (trailer_length(cap) as u32) > payload_length {
            return Err(Refusal::Counts);
        }
        Ok(())
    }
}

/// A trailer found at the end of an echo payload.
#[derive(Clone, Copy, Debug)]
pub struct Trailer<'a> {
    /// The payload before the trailer.
    pub application: &'a [u8],
    /// The records in the order in which they were written, free ones left out.
    pub records: &'a [Record],
    /// The footer.
    pub footer: &'a Footer,
}

impl<'a> Trailer<'a> {
    /// Reads the trailer at the end of an echo payload: what follows the message's sequence number.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoTrailer`], [`Refusal::Version`], [`Refusal::OddLength`] or [`Refusal::Counts`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, Refusal> {
        let (before, footer) = Footer::ref_from_suffix(payload).map_err(|_| Refusal::NoTrailer)?;
        footer.check(u32::try_from(payload.len()).map_err(|_| Refusal::NoTrailer)?)?;
        let state = footer.state();
        let (application, records) =
            <[Record]>::ref_from_suffix_with_elems(before, usize::from(state.cap())).map_err(|_| Refusal::Counts)?;
        let records = records.get(..usize::from(state.used())).ok_or(Refusal::Counts)?;
        Ok(Self { application, records, footer })
    }
}

const _: () = assert!(RECORD_LENGTH == 12 && FOOTER_LENGTH == 16 && trailer_length(DEFAULT_CAP) == 64);
