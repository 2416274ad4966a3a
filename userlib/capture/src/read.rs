//! Capture files, pcap and pcapng, packet by packet in bounded memory.

use std::io::{self, Cursor, Read};

use pcap_parser::{
    Block, IDB_MAGIC, InterfaceDescriptionBlock, Linktype, PcapBlockOwned, PcapError, PcapHeader, create_reader,
    traits::PcapNGPacketBlock as _,
};

use crate::{Damage, Error, Link};

/// Room for the packets of ordinary captures.
const BUFFER: usize = 1 << 16;
/// What a packet or block may take at most, in bytes: more is no capture of packets. It is also the most memory that a length in
/// the capture can claim: the buffer grows to it, once and no further, for the first packet that claims more than [`BUFFER`].
pub(crate) const LARGEST_BLOCK: usize = 1 << 24;
/// How many interfaces a section may describe: they are kept as long as it lasts.
pub(crate) const MOST_INTERFACES: usize = 1 << 16;
/// The type of a pcapng section header, a palindrome: the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The length of a pcap file's header, and less than that of any section header.
const FILE_HEADER: usize = 24;

/// A captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Counted from 1, as other tools do.
    pub number: u64,
    /// Nanoseconds since 1970-01-01 00:00:00 UTC, or `None` where the capture does not say or the time is out of range.
    pub time_ns: Option<i64>,
    /// What it begins with.
    pub link: Link,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// Its length on the wire, in bytes.
    pub length: u32,
}

/// What packets of one interface have in common.
#[derive(Clone, Copy)]
struct Interface {
    link: Link,
    resolution: Option<Resolution>,
    /// Added to the times, in seconds.
    offset: i64,
    snapshot_length: u32,
}

/// The unit of a capture's times, in units per second.
type Resolution = u64;

/// Calls `visit` with each packet of the capture.
///
/// # Errors
///
/// Where `input` cannot be read, is no capture, ends within a packet or contradicts itself, after the packets before it were
/// visited; and what `visit` fails with.
pub fn read<E: From<Error>>(
    mut input: impl Read + Send,
    mut visit: impl FnMut(&Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let head = head(&mut input)?;
    let mut reader = create_reader(BUFFER, Cursor::new(head).chain(input)).map_err(|error| Error::at(0, &error))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut number = 0;
    loop {
        let position = reader.consumed();
        let damaged = |damage| Error::Damaged { position, damage };
        let consumed = match reader.next() {
            Ok((consumed, block)) => {
                if let Some(frame) = frame(&block, &mut interfaces).map_err(damaged)? {
                    number += 1;
                    visit(&Frame { number, ..frame })?;
                }
                consumed
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                let before = reader.data().len();
                reader.refill().map_err(|error| Error::at(position, &error))?;
                if reader.data().len() <= before && !reader.reader_exhausted() {
                    return Err(damaged(Damage::Format).into());
                }
                continue;
            }
            Err(PcapError::BufferTooSmall) => {
                if !reader.grow(LARGEST_BLOCK) {
                    return Err(damaged(Damage::TooLong).into());
                }
                continue;
            }
            Err(PcapError::UnexpectedEof) => return Err(Error::CutOff(position).into()),
            Err(error) => return Err(Error::at(position, &error).into()),
        };
        reader.consume(consumed);
    }
}

/// The file's header, all of it: the parser takes what one read returns, which for a pipe can be any part.
fn head(input: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    input.take(FILE_HEADER as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Err(Error::Empty);
    }
    if let Some([length @ .., m0, m1, m2, m3]) =
        head.strip_prefix(&SECTION_HEADER).and_then(|rest| rest.first_chunk::<8>())
    {
        let length = match [m0, m1, m2, m3] {
            [0x4d, 0x3c, 0x2b, 0x1a] => u32::from_le_bytes(*length),
            _ => u32::from_be_bytes(*length),
        };
        let rest = (length as usize).saturating_sub(head.len());
        if rest >= BUFFER / 2 {
            return Err(Error::LongHeader(length));
        }
        input.take(rest as u64).read_to_end(&mut head)?;
    }
    Ok(head)
}

/// Takes note of what describes the packets to come, or returns the packet.
fn frame<'a>(block: &'a PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>) -> Result<Option<Frame<'a>>, Damage> {
    let (interface, ticks, bytes, length) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            interfaces.push(Interface::of_file(header)?);
            return Ok(None);
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interface(interfaces, 0)?;
            let resolution = interface.resolution.unwrap_or(1);
            let ticks = u64::from(packet.ts_sec).checked_mul(resolution).map(|ticks| ticks + u64::from(packet.ts_usec));
            (interface, ticks, packet.data, packet.origlen)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
            if interfaces.len() >= MOST_INTERFACES {
                return Err(Damage::Interfaces);
            }
            interfaces.push(Interface::of_block(block));
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            (interface(interfaces, packet.if_id)?, Some(ticks), packet.packet_data(), packet.origlen)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            let interface = interface(interfaces, 0)?;
            let bytes = packet.packet_data();
            let captured = match interface.snapshot_length {
                0 => bytes.len(),
                limit => bytes.len().min(limit as usize),
            };
            (interface, None, &bytes[..captured], packet.origlen)
        }
        // Names, statistics, secrets and others' blocks: nothing that a packet needs.
        PcapBlockOwned::NG(_) => return Ok(None),
    };
    let time_ns = ticks.and_then(|ticks| interface.time_ns(ticks));
    Ok(Some(Frame { number: 0, time_ns, link: interface.link, bytes, length }))
}

fn interface(interfaces: &[Interface], index: u32) -> Result<Interface, Damage> {
    interfaces.get(index as usize).copied().ok_or(Damage::Interface(index))
}

impl Interface {
    fn of_file(header: &PcapHeader) -> Result<Self, Damage> {
        if header.version_major != 2 {
            return Err(Damage::Version(header.version_major));
        }
        // The upper bits tell the length of the frame check sequence.
        let link = Link::from_number(header.network.0 & 0xffff);
        let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
        Ok(Self { link, resolution: Some(resolution), offset: 0, snapshot_length: header.snaplen })
    }

    fn of_block(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let Linktype(link) = block.linktype;
        // The parser reads the offset in little-endian order whatever the section's.
        let offset = if block.block_type == IDB_MAGIC { block.if_tsoffset } else { block.if_tsoffset.swap_bytes() };
        Self {
            link: Link::from_number(link),
            resolution: resolution(block.if_tsresol),
            offset,
            snapshot_length: block.snaplen,
        }
    }

    fn time_ns(&self, ticks: u64) -> Option<i64> {
        const SECOND: i128 = 1_000_000_000;
        let resolution = i128::from(self.resolution?);
        let time = i128::from(ticks) * SECOND / resolution + i128::from(self.offset) * SECOND;
        i64::try_from(time).ok()
    }
}

/// What pcapng's `if_tsresol` means: a negative power of 2 where the upper bit is set, else of 10.
fn resolution(if_tsresol: u8) -> Option<Resolution> {
    let exponent = u32::from(if_tsresol & 0x7f);
    match if_tsresol & 0x80 {
        0 => 10_u64.checked_pow(exponent),
        _ => 1_u64.checked_shl(exponent),
    }
}

impl Error {
    /// The parser's error, without the bytes that it quotes.
    fn at(position: usize, error: &PcapError<&[u8]>) -> Self {
        match error {
            PcapError::HeaderNotRecognized => Self::NotACapture,
            PcapError::ReadError => Self::Read(io::Error::other("the reader does not say why")),
            PcapError::Incomplete(_) | PcapError::UnexpectedEof | PcapError::Eof => Self::NoHeader,
            PcapError::BufferTooSmall | PcapError::NomError(..) | PcapError::OwnedNomError(..) => {
                Self::Damaged { position, damage: Damage::Format }
            }
        }
    }
}
