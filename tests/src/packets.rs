//! Echo messages with trailers, from whole to garbage, as frames.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use instamp_trailer::{
    Bound, Clock, Hook, Phase, Record, RunKey,
    checksum::{add, sum_bytes},
    wire::{Footer, State},
};
use rand::{Rng, seq::IndexedRandom};
use zerocopy::IntoBytes;

/// A frame that holds an echo message, by its parts.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The EtherTypes of the VLAN tags, the outer first.
    pub tags: Vec<u16>,
    /// The address that the packet comes from, of the same version as the destination's.
    pub source: IpAddr,
    /// The address that the packet goes to.
    pub destination: IpAddr,
    /// The IPv4 options (a multiple of 4 bytes, at most 40), or the IPv6 extension headers: their kind and their length
    /// in units of 8 bytes, the first not counted.
    pub extras: Extras,
    /// Request or reply.
    pub phase: Phase,
    /// The payload before the trailer.
    pub application: Vec<u8>,
    /// The records of the trailer, used or not.
    pub records: Vec<Record>,
    /// How many of them the footer calls used.
    pub used: u8,
    /// The prober's number.
    pub nonce: u64,
    /// Bytes behind the end of the IP packet.
    pub padding: usize,
}

/// What stands between the IP header and the message.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// 32-bit words of options.
    pub ipv4_option_words: u8,
    /// Kinds and lengths of extension headers.
    pub ipv6_extensions: Vec<(u8, u8)>,
}

/// The device that all frames go to.
pub const ETHERNET: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// A prober, by one of the addresses that are kept for documentation.
pub const PROBER4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Whom it probes.
pub const TARGET4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
/// A prober of IPv6.
pub const PROBER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Whom it probes.
pub const TARGET6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2));

impl Frame {
    /// A request with four free records and no payload before them.
    pub fn request(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            tags: Vec::new(),
            source,
            destination,
            extras: Extras::default(),
            phase: Phase::Request,
            application: Vec::new(),
            records: vec![Record::EMPTY; 4],
            used: 0,
            nonce: 0x0123_4567_89ab_cdef,
            padding: 0,
        }
    }

    /// The reply to it.
    #[must_use]
    pub fn reply(self) -> Self {
        Self { source: self.destination, destination: self.source, phase: Phase::Reply, ..self }
    }

    /// The bytes, with right checksums.
    ///
    /// # Panics
    ///
    /// The addresses are not of one version, or the packet is longer than IP can say.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = ETHERNET.to_vec();
        bytes.extend([0x02, 0, 0, 0, 0, 0x02]);
        for tag in &self.tags {
            bytes.extend_from_slice(&tag.to_be_bytes());
            bytes.extend_from_slice(&[0x00, 0x2a]);
        }
        let ip = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend_from_slice(&[0x08, 0x00]);
                self.ipv4(source, destination)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes.extend_from_slice(&[0x86, 0xdd]);
                self.ipv6(source, destination)
            }
            _ => panic!("{} and {} are of different versions of IP", self.source, self.destination),
        };
        bytes.extend(ip);
        bytes.extend(std::iter::repeat_n(0xa5, self.padding));
        bytes
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let message = self.message([8, 0], 0);
        let header_length = 20 + usize::from(self.extras.ipv4_option_words) * 4;
        let total = u16::try_from(header_length + message.len()).expect("fits IPv4");
        let mut header = vec![0x45 + self.extras.ipv4_option_words, 0];
        header.extend_from_slice(&total.to_be_bytes());
        header.extend_from_slice(&[0x12, 0x34, 0x40, 0x00, 64, 1, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.resize(header_length, 1);
        let checksum = !sum_bytes(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header.extend(message);
        header
    }

    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let mut extensions = Vec::new();
        let kinds: Vec<u8> = self.extras.ipv6_extensions.iter().map(|(kind, _)| *kind).chain([58]).collect();
        for ((_, units), next) in self.extras.ipv6_extensions.iter().zip(&kinds[1..]) {
            extensions.extend_from_slice(&[*next, *units]);
            extensions.resize(extensions.len() + 6 + usize::from(*units) * 8, 0);
        }
        // RFC 8200 section 8.1.
        let length = u16::try_from(8 + self.payload_length()).expect("fits IPv6");
        let pseudo_header = add(sum_bytes(&source.octets()), sum_bytes(&destination.octets()));
        let message = self.message([128, 129], add(pseudo_header, add(length, 58)));
        let payload = u16::try_from(extensions.len() + message.len()).expect("fits IPv6");
        let mut header = vec![0x60, 0, 0, 0];
        header.extend_from_slice(&payload.to_be_bytes());
        header.extend_from_slice(&[kinds[0], 64]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(extensions);
        header.extend(message);
        header
    }

    /// The length of the echo message behind its header of 8 bytes.
    fn payload_length(&self) -> usize {
        self.application.len() + self.records.as_bytes().len() + size_of::<Footer>()
    }

    fn message(&self, [request, reply]: [u8; 2], pseudo_header: u16) -> Vec<u8> {
        let kind = match self.phase {
            Phase::Request => request,
            Phase::Reply => reply,
        };
        let mut message = vec![kind, 0, 0, 0, 0x0b, 0x5e, 0x00, 0x01];
        message.extend_from_slice(&self.application);
        message.extend_from_slice(self.records.as_bytes());
        let cap = u8::try_from(self.records.len()).expect("a cap");
        message.extend_from_slice(Footer::new(self.nonce, State::new(0x5a5a, cap)).as_bytes());
        let counts = message.len() - 6;
        message[counts] |= self.used << 4;
        let checksum = !add(sum_bytes(&message), pseudo_header);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }
}

/// Frames at random: a third whole, a third whole but for a few bytes or their end, a third garbage.
pub struct Generator<R> {
    /// Where the randomness comes from.
    pub random: R,
    /// The addresses that packets come from and go to.
    pub addresses: Vec<IpAddr>,
    /// The shortest and the longest frame, in bytes.
    pub lengths: RangeInclusive<usize>,
    /// The run of a stateless prober that half of the probes are of: these, and half of the others, have a first record of the
    /// application. `None`: no probe is of any.
    pub run: Option<RunKey>,
}

impl<R: Rng> Generator<R> {
    /// The next frame; one that would be too short is padded.
    pub fn frame(&mut self) -> Vec<u8> {
        let mut frame = match self.random.random_range(0..3) {
            0 => self.probe().bytes(),
            1 => {
                let mut frame = self.probe().bytes();
                self.damage(&mut frame);
                frame
            }
            _ => self.garbage(),
        };
        frame.truncate(*self.lengths.end());
        frame.resize(frame.len().max(*self.lengths.start()), 0);
        frame
    }

    /// The next whole reply to a request from one of `probers`, which has free records as often as not.
    ///
    /// # Panics
    ///
    /// There are none, or none of the addresses is of the same version.
    pub fn reply(&mut self, probers: &[IpAddr]) -> Vec<u8> {
        self.whole(probers, Phase::Reply)
    }

    /// The next whole request to one of `targets`, likewise.
    ///
    /// # Panics
    ///
    /// As above.
    pub fn request(&mut self, targets: &[IpAddr]) -> Vec<u8> {
        self.whole(targets, Phase::Request)
    }

    fn whole(&mut self, destinations: &[IpAddr], phase: Phase) -> Vec<u8> {
        let destination = *destinations.choose(&mut self.random).expect("a destination");
        let same: Vec<_> = self.addresses.iter().filter(|address| address.is_ipv4() == destination.is_ipv4()).collect();
        let source = **same.choose(&mut self.random).expect("an address");
        let mut frame = self.probe();
        frame.application.truncate(frame.application.len() / 2 * 2);
        // Those that are no fragments.
        frame.extras.ipv6_extensions.retain(|(kind, _)| matches!(kind, 0 | 43 | 60));
        let mut bytes = Frame { source, destination, phase, ..frame }.bytes();
        bytes.resize(bytes.len().max(*self.lengths.start()), 0);
        bytes
    }

    fn probe(&mut self) -> Frame {
        let random = &mut self.random;
        let source = *self.addresses.choose(random).expect("an address");
        let same: Vec<_> = self.addresses.iter().filter(|address| address.is_ipv4() == source.is_ipv4()).collect();
        let destination = **same.choose(random).expect("an address");
        let cap = random.random_range(2..=15_u8);
        let used = if random.random_bool(0.1) { random.random_range(0..=15) } else { random.random_range(0..=cap) };
        let mut application = vec![0; random.random_range(0..200)];
        random.fill(&mut application[..]);
        if random.random_bool(0.8) && application.len() % 2 == 1 {
            application.pop();
        }
        let mut records: Vec<Record> = (0..cap)
            .map(|_| {
                if random.random_bool(0.5) { Record::EMPTY } else { zerocopy::transmute!(random.random::<[u8; 12]>()) }
            })
            .collect();
        let mut nonce = random.random();
        if let Some(run) = self.run {
            let is_of_run: bool = random.random();
            if is_of_run {
                nonce = run.nonce(nonce);
            }
            if is_of_run || random.random() {
                let time_ns = random.random();
                records[0] = Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, time_ns);
            }
        }
        Frame {
            tags: (0..random.random_range(0..4_usize).saturating_sub(1))
                .map(|_| if random.random() { 0x8100 } else { 0x88a8 })
                .collect(),
            source,
            destination,
            extras: Extras {
                ipv4_option_words: random.random_range(0..20_u8).saturating_sub(9),
                ipv6_extensions: (0..random.random_range(0..10_usize).saturating_sub(4))
                    .map(|_| (*[0, 43, 60, 44, 51].choose(random).expect("a kind"), random.random_range(0..4)))
                    .collect(),
            },
            phase: if random.random() { Phase::Request } else { Phase::Reply },
            application,
            records,
            used,
            nonce,
            padding: random.random_range(0..60_usize).saturating_sub(30),
        }
    }

    fn damage(&mut self, frame: &mut Vec<u8>) {
        let random = &mut self.random;
        for _ in 0..random.random_range(1..4) {
            let last = frame.len() - 1;
            match random.random_range(0..4) {
                0 => frame.truncate(random.random_range(14..=frame.len().max(15))),
                // The headers, or the footer: there a change decides something.
                1 => frame[random.random_range(12..=last.min(80))] = random.random(),
                2 => frame[last.saturating_sub(random.random_range(0..16))] ^= 1 << random.random_range(0..8),
                _ => frame[random.random_range(0..=last)] = random.random(),
            }
            if frame.len() < 15 {
                frame.resize(15, 0);
            }
        }
    }

    fn garbage(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let mut frame = vec![0; random.random_range(14..300)];
        random.fill(&mut frame[..]);
        if random.random_bool(0.7) {
            let ethertype: u16 = *[0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806].choose(random).expect("an EtherType");
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        }
        frame
    }
}

/// The sum of the ICMP message inside `frame`, if it holds a probe: what must not change, modulo 0xffff.
pub fn message_sum(frame: &[u8]) -> Option<u16> {
    let probe = instamp_trailer::locate(frame).ok()?;
    let start = usize::try_from(probe.message_offset).ok()?;
    let end = usize::try_from(probe.footer_offset).ok()? + size_of::<Footer>();
    Some(sum_bytes(frame.get(start..end)?) % 0xffff)
}
