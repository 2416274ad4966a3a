//! The reflecting routine: an echo request with a trailer becomes its reply where it arrives, with a stamp of the arrival and one of
//! the departure.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, network_endian::U16};

use crate::{
    Address, Bound, Clock, End, Hook, Host, Packet, Phase, Probe, Record, Standing,
    checksum::replace,
    stamp::{Owner, Records},
};

/// What became of a request to this host, by the number of its counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Reflection {
    /// Turned round, with both stamps.
    Stamped = 0,
    /// Turned round, without room for both stamps: none was written, and the footer's flag says so.
    Full,
    /// Left to the stack: nobody has allowed its sender.
    NotAllowed,
    /// Left to the stack: its sender has sent more than it may.
    Limited,
    /// Left to the stack, which does more than to swap addresses: IPv4 options, IPv6 extension headers, addresses of many, sources
    /// that no reply can go to, or of the host itself, and packets in several buffers.
    Unfit,
}

impl Reflection {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Stamped, Self::Full, Self::NotAllowed, Self::Limited, Self::Unfit];

    /// The name under which it is counted and printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stamped => "stamped",
            Self::Full => "full",
            Self::NotAllowed => "not-allowed",
            Self::Limited => "limited",
            Self::Unfit => "unfit",
        }
    }

    /// Whether the packet is the reply now.
    #[inline(always)]
    pub const fn is_turned(self) -> bool {
        matches!(self, Self::Stamped | Self::Full)
    }
}

/// Who reflects: this is also the layout of the programs' map.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C)]
pub struct Reflect {
    /// Until when requests are reflected, in nanoseconds of [`Clock::MONOTONIC`].
    pub until_ns: u64,
    /// How far apart the requests of one source may be on average, in nanoseconds.
    pub interval_ns: u64,
    /// How much earlier than that a request may come, in nanoseconds.
    pub burst_ns: u64,
    /// The number of the process that reflects, as it sees itself. For people: hooks do not look at it.
    pub process: u32,
    /// The number of the [`Clock`] of the stamps.
    pub clock: u8,
    /// Whether the program is that of an attachment, and stamps what it does not reflect: 1, else 0.
    pub stamps: u8,
    /// The Ethernet address of the device: frames to others are not for this host.
    pub address: [u8; 6],
    /// Zero: the layout has no padding.
    pub reserved: [u8; 4],
}

impl Reflect {
    /// Until when a source has used up what it may send, once a request of it has come at `now_ns`; `None` where it has sent more.
    /// `used_until_ns` is what this was before; 0 for new sources. All in nanoseconds of one clock.
    ///
    /// The generic cell rate algorithm of ITU-T I.371, as virtual scheduling.
    #[inline(always)]
    pub fn admit(&self, used_until_ns: u64, now_ns: u64) -> Option<u64> {
        let used_until_ns = used_until_ns.max(now_ns);
        (used_until_ns - now_ns <= self.burst_ns).then(|| used_until_ns.saturating_add(self.interval_ns))
    }
}

/// Whom the host reflects for, and by which clock it stamps then.
pub trait Mirror {
    /// The clock of the stamps.
    fn clock(&self) -> Clock;

    /// The Ethernet address of the device.
    fn address(&self) -> [u8; 6];

    /// Whether a request of `source` may be reflected now, which counts as one that was.
    ///
    /// # Errors
    ///
    /// [`Reflection::NotAllowed`], [`Reflection::Limited`].
    fn admit(&self, source: Address) -> Result<(), Reflection>;
}

/// Turns the request that was [located](crate::locate()) in an Ethernet frame round, if it is one to this host, and `is_whole`: not in several
/// buffers. `None` if it, or its frame, is not to this host, or the host has no time to stamp with. What is not turned round stays what it is.
#[inline(always)]
pub fn reflect<P: Packet + ?Sized, H: Host, M: Mirror>(
    packet: &mut P,
    host: &H,
    mirror: &M,
    probe: &Probe,
    is_whole: impl FnOnce() -> bool,
) -> Option<Reflection> {
    if probe.phase != Phase::Request {
        return None;
    }
    let arrived_ns = host.now_ns(mirror.clock())?;
    let refused = refusal(packet, host, mirror, probe, is_whole)?;
    if refused.is_some() {
        return refused;
    }
    turn(packet, probe)?;
    stamp(packet, host, mirror.clock(), probe, arrived_ns)
}

/// Why a request is not reflected, if there is a reason; `None` if it, or its frame, is not to this host.
///
/// A function of its own, as those below: programs have little stack, and these take it one after the other.
#[inline(never)]
fn refusal<P: Packet + ?Sized, H: Host, M: Mirror>(
    packet: &P,
    host: &H,
    mirror: &M,
    probe: &Probe,
    is_whole: impl FnOnce() -> bool,
) -> Option<Option<Reflection>> {
    let destination = probe.address(packet, End::Destination)?;
    let ethernet = *packet.view::<Ethernet>(0)?;
    // Devices that look at all frames, and those with several addresses, get some that the stack does not answer.
    if !host.answers_for(destination) || !(is_group(ethernet.destination) || ethernet.destination == mirror.address()) {
        return None;
    }
    let Some(source) = probe.address(packet, End::Source) else { return Some(Some(Reflection::Unfit)) };
    let is_fit = is_one(source) && is_one(destination) && is_plain(&ethernet, probe) && is_whole();
    if !is_fit || host.standing(source).is(Standing::OWN) {
        return Some(Some(Reflection::Unfit));
    }
    Some(mirror.admit(source).err())
}

/// The addresses of a frame.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Ethernet {
    destination: [u8; 6],
    source: [u8; 6],
}

/// The end of an IPv4 header without options.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Ipv4End {
    time_to_live: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

/// The end of an IPv6 header.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Ipv6End {
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// The beginning of an ICMP or ICMPv6 message.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Icmp {
    kind: u8,
    code: u8,
    checksum: U16,
}

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const IPV4_END: u32 = IPV4_HEADER - 12;
const IPV6_END: u32 = IPV6_HEADER - 33;

/// For how many routers the reply is good: what the Internet's assigned numbers recommend, and most systems use.
const TIME_TO_LIVE: u8 = 64;

/// Whether this is the address of one host, to which a packet can be sent.
#[inline(always)]
fn is_one(address: Address) -> bool {
    let [a, b, c, d] = address.words().map(u32::from_be);
    match (a, b, c) {
        // 0/8 is this network, 127/8 the host itself, 224/4 are groups, and 240/4 is reserved and has the broadcast address.
        (0, 0, 0xffff) => !matches!(d >> 24, 0 | 127 | 224..),
        // The unspecified address, and the host itself.
        (0, 0, 0) => d > 1,
        _ => a >> 24 != 0xff,
    }
}

#[inline(always)]
const fn is_group([first, ..]: [u8; 6]) -> bool {
    first & 1 != 0
}

/// Whether to swap addresses is all that there is to do: nothing between the headers, and a frame from one device to another.
#[inline(always)]
fn is_plain(ethernet: &Ethernet, probe: &Probe) -> bool {
    let header = if probe.ip_version == 4 { IPV4_HEADER } else { IPV6_HEADER };
    probe.message_offset == probe.ip_offset + header && !is_group(ethernet.destination) && !is_group(ethernet.source)
}

/// Makes a reply of the request. The addresses keep their sum in the other order, and with it that of the pseudo header.
#[inline(never)]
fn turn<P: Packet + ?Sized>(packet: &mut P, probe: &Probe) -> Option<()> {
    let Ethernet { destination, source } = *packet.view::<Ethernet>(0)?;
    let icmp = *packet.view::<Icmp>(probe.message_offset)?;
    let kind = if probe.ip_version == 4 {
        let offset = probe.ip_offset + IPV4_END;
        let Ipv4End { time_to_live, protocol, checksum, source, destination } = *packet.view::<Ipv4End>(offset)?;
        let [old, new] = [time_to_live, TIME_TO_LIVE].map(|first| u16::from_be_bytes([first, protocol]));
        let checksum = U16::new(replace(checksum.get(), old, new));
        let end = Ipv4End { time_to_live: TIME_TO_LIVE, protocol, checksum, source: destination, destination: source };
        packet.write(offset, end)?;
        0
    } else {
        let offset = probe.ip_offset + IPV6_END;
        let Ipv6End { source, destination, .. } = *packet.view::<Ipv6End>(offset)?;
        packet.write(offset, Ipv6End { hop_limit: TIME_TO_LIVE, source: destination, destination: source })?;
        129
    };
    let [old, new] = [icmp.kind, kind].map(|first| u16::from_be_bytes([first, icmp.code]));
    let checksum = U16::new(replace(icmp.checksum.get(), old, new));
    packet.write(probe.message_offset, Icmp { kind, code: icmp.code, checksum })?;
    packet.write(0, Ethernet { destination: source, source: destination })
}

/// Writes both stamps, if there is room for both and for the one of the prober's ingress.
#[inline(never)]
fn stamp<P: Packet + ?Sized, H: Host>(
    packet: &mut P,
    host: &H,
    clock: Clock,
    probe: &Probe,
    arrived_ns: u64,
) -> Option<Reflection> {
    let site = host.site()?;
    let mut records = Records::of(packet, probe, Owner::Remote).ok()?;
    if !records.has_room_for(2) {
        records.say_full(packet).ok()?;
        return Some(Reflection::Full);
    }
    let bound = Bound::from_exponent(site.bound);
    let record = |phase, hook, time_ns| Record::new(phase, site.point, hook, site.node, clock, bound, time_ns);
    append(packet, &mut records, &record(Phase::Request, Hook::XDP_INGRESS, arrived_ns))?;
    append(packet, &mut records, &record(Phase::Reply, Hook::XDP_TX, host.now_ns(clock)?))?;
    Some(Reflection::Stamped)
}

/// A function of its own, as above.
#[inline(never)]
fn append<P: Packet + ?Sized>(packet: &mut P, records: &mut Records, new: &Record) -> Option<()> {
    records.append(packet, *new).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies_go_to_single_hosts_alone() {
        let table = [
            ("192.0.2.1", true),
            ("1.0.0.0", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", true),
            ("fe80::1", true),
            ("::", false),
            ("::1", false),
            ("ff02::1", false),
        ];
        for (address, expected) in table {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(is_one(address.into()), expected, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_source_gets_its_rate_and_its_burst_and_no_more(
            interval_ns in 1_u64..1_000_000,
            burst in 0_u64..20,
            gaps in prop::collection::vec(0_u64..3_000_000, 1..200),
        ) {
            let reflect = Reflect { interval_ns, burst_ns: burst * interval_ns, ..Reflect::default() };
            let (mut now_ns, mut used_until_ns, mut admitted) = (1 << 40, 0, 0_u64);
            let start_ns = now_ns;
            for gap in gaps {
                now_ns += gap;
                if let Some(used) = reflect.admit(used_until_ns, now_ns) {
                    used_until_ns = used;
                    admitted += 1;
                }
            }
            prop_assert!(admitted >= 1);
            prop_assert!(admitted <= (now_ns - start_ns) / interval_ns + burst + 1);
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(interval_ns in 1_u64..1_000_000, more in prop::collection::vec(0_u64..1000, 1..100)) {
            let reflect = Reflect { interval_ns, ..Reflect::default() };
            let (mut now_ns, mut used_until_ns) = (5, 0);
            for more in more {
                used_until_ns = reflect.admit(used_until_ns, now_ns).unwrap();
                now_ns += interval_ns + more;
            }
        }
    }
}
