//! The stamping routine: whom a host stamps, where there is room, and what is written.

use zerocopy::network_endian::U16;

use crate::{
    Bound, Clock, Footer, Hook, Host, Packet, Phase, Probe, Record, Refusal, Sent, SentKey, Site, Standing,
    checksum::sum,
    locate,
    wire::{RECORD_LENGTH, State},
};

/// How a packet comes to a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passage {
    /// The hook whose stamp it gets.
    pub hook: Hook,
    /// When it was there, in [`Clock::MONOTONIC`]; `None` is now.
    pub passed_ns: Option<u64>,
    /// When the card received it, by the card's clock; 0 where it has not told. `None` at hooks that do not ask.
    pub nic_rx_ns: Option<u64>,
}

impl From<Hook> for Passage {
    /// At this hook, now.
    #[inline(always)]
    fn from(hook: Hook) -> Self {
        Self { hook, passed_ns: None, nic_rx_ns: None }
    }
}

/// Whose probe it is, seen from the stamping host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Local,
    Remote,
}

/// Stamps `packet` if it is a probe that `host` allows and that has room. The sum of its ICMP message stays what it was.
///
/// A reply to the host's own probe also gets, as far as there is room, what became known of the request only after it had left,
/// and the card's own receive time. The host [counts](Host::count) these.
///
/// # Errors
///
/// Why not. The packet is then unchanged but for [`Refusal::Full`], which sets the footer's flag.
#[inline(always)]
pub fn stamp<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    passage: impl Into<Passage>,
) -> Result<(), Refusal> {
    let probe = locate(packet)?;
    stamp_located(packet, host, &probe, passage)
}

/// Likewise, for who has [located](locate()) the probe in `packet`.
///
/// # Errors
///
/// As [`stamp()`].
#[inline(always)]
pub fn stamp_located<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    probe: &Probe,
    passage: impl Into<Passage>,
) -> Result<(), Refusal> {
    let passage = passage.into();
    Allowed::by(packet, host, probe, passage.hook)?.stamp(packet, host, passage)
}

/// A probe that a host's policy allows to stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowed {
    probe: Probe,
    site: Site,
    owner: Owner,
}

impl Allowed {
    /// The probe that was [located](locate()) in `packet`, where the policy of `host` allows to stamp it at `hook`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Policy`].
    #[inline(always)]
    pub fn by<P: Packet + ?Sized, H: Host>(packet: &P, host: &H, probe: &Probe, hook: Hook) -> Result<Self, Refusal> {
        let site = host.site().ok_or(Refusal::Policy)?;
        let owner = owner(packet, host, probe, &site, hook).ok_or(Refusal::Policy)?;
        Ok(Self { probe: *probe, site, owner })
    }

    /// Whether it is one of the host's own, not one that the host responds to.
    #[inline(always)]
    pub fn is_own(&self) -> bool {
        self.owner == Owner::Local
    }

    /// Stamps the probe in the packet in which it was located.
    ///
    /// # Errors
    ///
    /// As [`stamp()`].
    #[inline(always)]
    pub fn stamp<P: Packet + ?Sized, H: Host>(
        &self,
        packet: &mut P,
        host: &H,
        passage: impl Into<Passage>,
    ) -> Result<(), Refusal> {
        self.stamp_and_steer(packet, host, passage, |_| false).0
    }

    /// Likewise, and says whether it goes past the stack: a reply of the host's own that was stamped, or had no room for that, and of
    /// which `is_steered` says so. Its request has gone past the stack too: nothing is looked for that the kernel knows of it.
    #[inline(always)]
    pub fn stamp_and_steer<P: Packet + ?Sized, H: Host>(
        &self,
        packet: &mut P,
        host: &H,
        passage: impl Into<Passage>,
        is_steered: impl FnOnce(&P) -> bool,
    ) -> (Result<(), Refusal>, bool) {
        let Self { probe, site, owner } = self;
        let passage = passage.into();
        let records = self.stamp_passage(packet, host, passage);
        // A reply that goes out is on its way to a container: its request has come in here.
        let is_arrival = passage.hook != Hook::TC_EGRESS;
        if !is_arrival || probe.phase != Phase::Reply || *owner != Owner::Local {
            return (records.map(drop), false);
        }
        let mut records = match records {
            Ok(records) => records,
            Err(refusal) => return (Err(refusal), refusal == Refusal::Full && is_steered(packet)),
        };
        if is_steered(packet) {
            return (Ok(()), true);
        }
        if site.keeps_sent != 0 {
            add_sent(packet, host, site, probe, &mut records);
        }
        if let Some(nic_rx_ns) = passage.nic_rx_ns {
            add_nic_rx(packet, host, site, &mut records, nic_rx_ns);
        }
        (Ok(()), false)
    }

    /// Writes the stamp of the passage itself.
    #[inline(always)]
    fn stamp_passage<P: Packet + ?Sized, H: Host>(
        &self,
        packet: &mut P,
        host: &H,
        passage: Passage,
    ) -> Result<Records, Refusal> {
        let Self { probe, site, owner } = self;
        let mut records = Records::of(packet, probe, *owner)?;
        records.require_room(packet)?;
        let clock = Clock::from_number(match owner {
            Owner::Local => site.own_clock,
            Owner::Remote => site.respond_clock,
        });
        let time_ns = passed_ns(host, clock, passage.passed_ns).ok_or(Refusal::Policy)?;
        let bound = Bound::from_exponent(site.bound);
        records.append(packet, Record::new(probe.phase, site.point, passage.hook, site.node, clock, bound, time_ns))?;
        Ok(records)
    }
}

/// Adds the card's own receive time to a reply to one of the host's own probes: for a hook behind the one that stamps.
///
/// # Errors
///
/// Why not, as [`stamp()`].
#[inline(always)]
pub fn stamp_nic_rx<P: Packet + ?Sized, H: Host>(packet: &mut P, host: &H, nic_rx_ns: u64) -> Result<(), Refusal> {
    let probe = locate(packet)?;
    let Allowed { site, owner, .. } = Allowed::by(packet, host, &probe, Hook::NIC_RX)?;
    if probe.phase != Phase::Reply || owner != Owner::Local {
        return Err(Refusal::Policy);
    }
    let mut records = Records::of(packet, &probe, owner)?;
    append_nic_rx(packet, host, &site, &mut records, nic_rx_ns)
}

/// The time by `clock` at which it was `passed_ns` in [`Clock::MONOTONIC`], not long ago.
#[inline(always)]
fn passed_ns<H: Host>(host: &H, clock: Clock, passed_ns: Option<u64>) -> Option<u64> {
    match passed_ns {
        None => host.now_ns(clock),
        Some(passed_ns) if clock == Clock::MONOTONIC => Some(passed_ns),
        Some(passed_ns) => {
            let age_ns = host.now_ns(Clock::MONOTONIC)?.saturating_sub(passed_ns);
            Some(host.now_ns(clock)?.saturating_sub(age_ns))
        }
    }
}

/// Adds what became known of the request only after it had left.
///
/// A function of its own, so that most packets do not share its stack, of which programs have little.
#[inline(never)]
fn add_sent<P: Packet + ?Sized, H: Host>(packet: &mut P, host: &H, site: &Site, probe: &Probe, records: &mut Records) {
    let sent = match take_sent(packet, host, site, probe) {
        Ok(sent) => sent,
        Err(refusal) => return host.count(Hook::DRIVER_TX, Err(refusal)),
    };
    let bound = Bound::from_exponent(site.bound);
    let record =
        Record::new(Phase::Request, site.point, Hook::DRIVER_TX, site.node, Clock::MONOTONIC, bound, sent.driver_tx_ns);
    host.count(Hook::DRIVER_TX, records.append(packet, record));
    if sent.nic_tx_asked != 0 {
        host.count(Hook::NIC_TX, append_nic_tx(packet, host, site, &sent, records));
    }
}

/// What is known of the request to this reply.
#[inline(always)]
fn take_sent<P: Packet + ?Sized, H: Host>(packet: &P, host: &H, site: &Site, probe: &Probe) -> Result<Sent, Refusal> {
    let nonce = *packet.view::<[u8; 8]>(probe.footer_offset).ok_or(Refusal::Truncated)?;
    let echo = *packet.view::<[u8; 4]>(probe.message_offset + ECHO_OFFSET).ok_or(Refusal::Truncated)?;
    host.take_sent(&SentKey { nonce, namespace: site.namespace, point: u32::from(site.point) }, echo)
}

/// Adds the time at which the card sent the request, if it is the card of this attachment: replies may come in by another.
#[inline(always)]
fn append_nic_tx<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    site: &Site,
    sent: &Sent,
    records: &mut Records,
) -> Result<(), Refusal> {
    if sent.nic_tx_ns == 0 {
        return Err(Refusal::Absent);
    }
    if sent.phc != site.phc {
        return Err(Refusal::Mismatch);
    }
    records.append(packet, nic_record(host, site, Phase::Request, Hook::NIC_TX, sent.nic_tx_ns))
}

#[inline(never)]
fn add_nic_rx<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    site: &Site,
    records: &mut Records,
    nic_rx_ns: u64,
) {
    host.count(Hook::NIC_RX, append_nic_rx(packet, host, site, records, nic_rx_ns));
}

#[inline(always)]
fn append_nic_rx<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    site: &Site,
    records: &mut Records,
    nic_rx_ns: u64,
) -> Result<(), Refusal> {
    if nic_rx_ns == 0 {
        return Err(Refusal::Absent);
    }
    records.append(packet, nic_record(host, site, Phase::Reply, Hook::NIC_RX, nic_rx_ns))
}

/// A time of the card: in the host's clock where that is known, else as the card reads.
#[inline(always)]
fn nic_record<H: Host>(host: &H, site: &Site, phase: Phase, hook: Hook, device_ns: u64) -> Record {
    let (clock, bound, time_ns) = match host.convert(device_ns) {
        Some((time_ns, bound)) => (Clock::MONOTONIC, bound, time_ns),
        None => (Clock::PHC, Bound::UNKNOWN, device_ns),
    };
    Record::new(phase, site.point, hook, site.node, clock, bound, time_ns)
}

/// The records of a probe, for a host to write to.
pub(crate) struct Records {
    footer_offset: u32,
    state: State,
    /// How many free records are left alone.
    kept: u8,
}

impl Records {
    #[inline(always)]
    pub(crate) fn of<P: Packet + ?Sized>(packet: &P, probe: &Probe, owner: Owner) -> Result<Self, Refusal> {
        let footer_offset = probe.footer_offset;
        let state = *packet.view::<State>(footer_offset + STATE_OFFSET).ok_or(Refusal::Truncated)?;
        // The last free record belongs to the local ingress, without which there is no network time.
        let kept = match (probe.phase, owner) {
            (Phase::Reply, Owner::Local) => 0,
            (Phase::Request, _) | (Phase::Reply, Owner::Remote) => 1,
        };
        Ok(Self { footer_offset, state, kept })
    }

    #[inline(always)]
    fn free(&self) -> u8 {
        self.state.cap().saturating_sub(self.state.used())
    }

    #[inline(always)]
    pub(crate) fn has_room_for(&self, records: u8) -> bool {
        self.free() >= self.kept + records
    }

    #[inline(always)]
    fn require_room<P: Packet + ?Sized>(&mut self, packet: &mut P) -> Result<(), Refusal> {
        if self.has_room_for(1) {
            return Ok(());
        }
        self.say_full(packet)?;
        Err(Refusal::Full)
    }

    /// Has the footer say from now on that there was no room.
    #[inline(always)]
    pub(crate) fn say_full<P: Packet + ?Sized>(&mut self, packet: &mut P) -> Result<(), Refusal> {
        if let Some(full) = self.state.into_full() {
            packet.write(self.footer_offset + STATE_OFFSET, full.with_end()).ok_or(Refusal::Unwritable)?;
            self.state = full;
        }
        Ok(())
    }

    /// Writes `new` to the first free record.
    #[inline(always)]
    pub(crate) fn append<P: Packet + ?Sized>(&mut self, packet: &mut P, new: Record) -> Result<(), Refusal> {
        self.require_room(packet)?;
        let state_offset = self.footer_offset + STATE_OFFSET;
        let record_offset = self.footer_offset - u32::from(self.free()) * RECORD;
        let old = packet.view::<[U16; 6]>(record_offset).ok_or(Refusal::Truncated)?.map(U16::get);
        let state = self.state.with_record(sum(old), &new);

        // The footer first, to its end: a kernel helper which has made that writable has made all before it writable too, and one
        // piece. So the second write does not fail after the first, and who looks at the packet behind this hook finds it whole.
        packet.write(state_offset, state.with_end()).ok_or(Refusal::Unwritable)?;
        if packet.write(record_offset, new).is_none() {
            packet.write(state_offset, self.state.with_end()).ok_or(Refusal::Unwritable)?;
            return Err(Refusal::Unwritable);
        }
        self.state = state;
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "12")]
const RECORD: u32 = RECORD_LENGTH as u32;
#[expect(clippy::cast_possible_truncation, reason = "8")]
const STATE_OFFSET: u32 = Footer::STATE_OFFSET as u32;
/// Where identifier and sequence number lie in an echo message.
const ECHO_OFFSET: u32 = 4;

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
