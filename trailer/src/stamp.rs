//! The stamping routine: whom a host stamps, where there is room, and what is written.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, network_endian::U16};

use crate::{
    Address, Bound, Clock, Footer, Hook, Packet, Phase, Probe, Record, Refusal,
    checksum::sum,
    locate,
    wire::{RECORD_LENGTH, State},
};

/// What a host writes into its stamps, and by which clocks. This is also the layout of the programs' configuration map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Site {
    /// The number of this host.
    pub node: u16,
    /// Which attachment of this host: 0 is the uplink, others up to 7.
    pub point: u8,
    /// The exponent of the bound of a software stamp (see [`Bound`]).
    pub bound: u8,
    /// The number of the [`Clock`] in which the host stamps its own probes.
    pub own_clock: u8,
    /// The number of the [`Clock`] in which it stamps the probes of others.
    pub respond_clock: u8,
    /// Zeros: the layout has no padding.
    pub reserved: [u8; 2],
}

/// What the policy of a host says about an address: bits that may be combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing(u32);

impl Standing {
    /// Nothing is known of it.
    pub const STRANGER: Self = Self(0);
    /// It is one of this host's own, or of those for which this host measures.
    pub const OWN: Self = Self(1);
    /// Its requests to this host, and the replies to them, may be stamped.
    pub const RESPOND: Self = Self(2);

    /// The standing that the programs' policy map holds as this number.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 3)
    }

    /// The number that the programs' policy map holds.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline(always)]
    const fn is(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The host on which a hook runs.
pub trait Host {
    /// What goes into its stamps, or `None` before it was configured.
    fn site(&self) -> Option<Site>;

    /// What its policy says about `address`.
    fn standing(&self, address: Address) -> Standing;

    /// The time by `clock` in nanoseconds, or `None` where the host does not have that clock.
    fn now_ns(&self, clock: Clock) -> Option<u64>;
}

/// Whose probe it is, seen from the stamping host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Local,
    Remote,
}

/// Stamps `packet` if it is a probe that `host` allows and that has room. The sum of its ICMP message stays what it was.
///
/// # Errors
///
/// Why not. The packet is then unchanged but for [`Refusal::Full`], which sets the footer's flag.
#[inline(always)]
pub fn stamp<P: Packet + ?Sized, H: Host>(packet: &mut P, host: &H, hook: Hook) -> Result<(), Refusal> {
    let probe = locate(packet)?;
    let site = host.site().ok_or(Refusal::Policy)?;
    let owner = owner(packet, host, &probe, &site, hook).ok_or(Refusal::Policy)?;
    let state_offset = probe.footer_offset + STATE_OFFSET;
    let state = *packet.view::<State>(state_offset).ok_or(Refusal::Truncated)?;

    // The last free record belongs to the local ingress, without which there is no network time.
    let kept = match (probe.phase, owner) {
        (Phase::Reply, Owner::Local) => 0,
        (Phase::Request, _) | (Phase::Reply, Owner::Remote) => 1,
    };
    let free = state.cap().saturating_sub(state.used());
    if free <= kept {
        if let Some(full) = state.into_full() {
            packet.write(state_offset, full).ok_or(Refusal::Unwritable)?;
        }
        return Err(Refusal::Full);
    }

    let clock = Clock::from_number(match owner {
        Owner::Local => site.own_clock,
        Owner::Remote => site.respond_clock,
    });
    let record_offset = probe.footer_offset - u32::from(free) * RECORD;
    let old = packet.view::<[U16; 6]>(record_offset).ok_or(Refusal::Truncated)?.map(U16::get);
    let time_ns = host.now_ns(clock).ok_or(Refusal::Policy)?;
    let bound = Bound::from_exponent(site.bound);
    let new = Record::new(probe.phase, site.point, hook, site.node, clock, bound, time_ns);

    // The footer first: it lies behind the record, so that a kernel helper which has made it writable has made the
    // record writable too, and the second write does not fail after the first.
    packet.write(state_offset, state.with_record(sum(old), &new)).ok_or(Refusal::Unwritable)?;
    if packet.write(record_offset, new).is_none() {
        packet.write(state_offset, state).ok_or(Refusal::Unwritable)?;
        return Err(Refusal::Unwritable);
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "12")]
const RECORD: u32 = RECORD_LENGTH as u32;
#[expect(clippy::cast_possible_truncation, reason = "8")]
const STATE_OFFSET: u32 = Footer::STATE_OFFSET as u32;

/// A host stamps requests from, and replies to, its own addresses; and, for those that it responds to, requests to and
/// replies from its own addresses.
#[inline(always)]
fn owner<P: Packet + ?Sized, H: Host>(packet: &P, host: &H, probe: &Probe, site: &Site, hook: Hook) -> Option<Owner> {
    let prober = host.standing(probe.address(packet, probe.prober())?);
    if prober.is(Standing::OWN) && !is_forged(probe, site, hook) {
        return Some(Owner::Local);
    }
    if !prober.is(Standing::RESPOND) {
        return None;
    }
    let target = host.standing(probe.address(packet, probe.target())?);
    target.is(Standing::OWN).then_some(Owner::Remote)
}

/// Whether a request from one of the host's own addresses comes in from the network. Nobody but the host has them, and a
/// stamp would tell its time to whom the packet goes on to.
#[inline(always)]
fn is_forged(probe: &Probe, site: &Site, hook: Hook) -> bool {
    let is_ingress = hook == Hook::XDP_INGRESS || hook == Hook::TC_INGRESS;
    is_ingress && site.point == 0 && probe.phase == Phase::Request
}
