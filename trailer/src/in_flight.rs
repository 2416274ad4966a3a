//! The table of requests that have left: its layout, which `trace-prog/in_flight.h` has for the programs that write it.
//!
//! A set is a ring of entries: a new one takes the room of the oldest of its set. So the table needs no list of what is oldest, and
//! nothing is allocated. A set's head and each entry fill a cache line, since fetching these takes most of the time.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How many sets there are, a power of two.
pub const SETS: u32 = 1 << 13;
/// How many entries a set has.
pub const WAYS: usize = 8;

/// How many devices there can be, a power of two.
pub const DEVICES: u32 = 1 << DEVICE_BITS;
const DEVICE_BITS: u32 = 10;
/// In how many places a device may be.
const DEVICE_PLACES: u32 = 8;

/// A device whose requests are kept, and what its tc-egress hook writes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Device {
    /// The network namespace, as in [`Site`](crate::Site); 0 where there is no device of this number.
    pub namespace: u32,
    /// Its number there.
    pub ifindex: u32,
    /// The number of the host.
    pub node: u16,
    /// Which attachment it is.
    pub point: u8,
    /// Zero: the layout has no padding.
    pub reserved: u8,
    /// The clock of its card, as in [`Site`](crate::Site); 0 where its times are not taken.
    pub phc: u32,
    /// How many devices have had this number before. Their requests may still be in the table.
    pub generation: u32,
    /// Zero.
    pub reserved_too: u32,
}

/// What became of the requests that a device has sent.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct SentCounters {
    /// The generation of the device that is counted.
    pub generation: u64,
    /// Those that were kept.
    pub kept: u64,
    /// Those that were not, as there was one of the same key.
    pub repeated: u64,
    /// Those that were not, as somebody else was at their place.
    pub refused: u64,
    /// Those of the kept that their replies have taken.
    pub taken: u64,
    /// Those whose room a newer one has taken.
    pub evicted: u64,
    /// Those of the kept whose sender asked for the card's time.
    pub asked: u64,
    /// Those of these for which it came.
    pub nic_kept: u64,
    /// Those for which it came when they were not kept, or not any more.
    pub nic_late: u64,
}

impl Device {
    /// No device.
    pub const NONE: Self =
        Self { namespace: 0, ifindex: 0, node: 0, point: 0, reserved: 0, phc: 0, generation: 0, reserved_too: 0 };

    /// Of generations the lower bits count, as many as [`Sent::device`] has room for.
    pub const GENERATIONS: u64 = 1 << (u32::BITS - DEVICE_BITS);

    /// The numbers that a device may have in the programs' table, to be looked at in this order.
    pub fn numbers(namespace: u32, ifindex: u32) -> impl Iterator<Item = u32> {
        let first = (namespace.wrapping_mul(0x85eb_ca6b) ^ ifindex).wrapping_mul(0x9e37_79b1) >> 16;
        (0..DEVICE_PLACES).map(move |place| (first + place) % DEVICES)
    }
}

/// A request that has left.
///
/// A request may pass several devices that are attached, and its reply may come in by another one than it went out: the
/// network namespace and the point say whose time it is.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct SentKey {
    /// The nonce of the probe, as it is on the wire.
    pub nonce: [u8; 8],
    /// The network namespace of the attachment, as in [`Site`](crate::Site).
    pub namespace: u32,
    /// The point of the attachment.
    pub point: u32,
}

/// What is known of it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Sent {
    /// When the kernel handed it to the driver, in [`Clock::MONOTONIC`](crate::Clock::MONOTONIC).
    pub driver_tx_ns: u64,
    /// When the card sent it, by the card's clock; 0 where that is not known, or not yet.
    pub nic_tx_ns: u64,
    /// Identifier and sequence number, as they were on the wire.
    pub echo: [u8; 4],
    /// The card's clock, as in [`Site`](crate::Site); 0 where its times are not taken.
    pub phc: u32,
    /// Whether its sender asked for the card's time: 1, else 0.
    pub nic_tx_asked: u32,
    /// The device that has sent it: its number, and above that its generation.
    pub device: u32,
}

impl Sent {
    /// The number and the generation of the device.
    #[inline(always)]
    pub const fn device(&self) -> (u32, u64) {
        (self.device % DEVICES, (self.device >> DEVICE_BITS) as u64)
    }
}

/// A place in a set.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// 1 while somebody reads or writes the rest, or its tag, else 0.
    pub lock: u64,
    /// Of which request it is.
    pub key: SentKey,
    /// What is known of it.
    pub sent: Sent,
    /// Zeros, to the end of the line.
    pub reserved: u64,
}

/// The entries of the requests whose keys have the same [`SentKey::set`].
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, Debug)]
#[repr(C)]
pub struct Set {
    /// The tags of the entries, 0 where there is none: to be looked at without a lock, and again with one.
    pub tags: [u32; WAYS],
    /// How many entries there have been: the next one's place is the remainder.
    pub next: u64,
    /// Zeros, to the end of the line.
    pub reserved: [u64; 3],
    /// The entries.
    pub entries: [Entry; WAYS],
}

const _: () = assert!(size_of::<Entry>() == 64 && size_of::<Set>() == 64 + 64 * WAYS);
const _: () = assert!(size_of::<Device>() == 24 && size_of::<SentCounters>() == 72);

impl SentKey {
    /// A hash of the key.
    #[inline(always)]
    pub const fn hash(&self) -> u64 {
        let place = (self.namespace as u64) << 32 | self.point as u64;
        mix(u64::from_ne_bytes(self.nonce) ^ mix(place))
    }

    /// Which set a request of this hash is in.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "13 bits")]
    pub const fn set(hash: u64) -> u32 {
        (hash >> (u64::BITS - SETS.trailing_zeros())) as u32
    }

    /// Its tag, never 0.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub const fn tag(hash: u64) -> u32 {
        hash as u32 | 1
    }
}

/// Spreads the bits of a number: the finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[inline(always)]
const fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
