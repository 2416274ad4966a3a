//! Where frames lie in the memory that is shared with the kernel, and what lies in front of one to be sent.

use crate::Config;

/// What is kept in front of a frame to be sent for `struct xsk_tx_metadata`: a multiple of 8 below 256, and a cache line, so
/// that the frame begins one.
pub(crate) const TX_METADATA: u32 = 64;

/// The chunks of the memory: the first half for receiving, the second for sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    frames: u32,
    frame_size: u32,
    /// What is kept in front of frames to be sent.
    tx_headroom: u32,
}

/// A direction of a chunk, with its number among those of this direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Receive(u32),
    Send(u32),
}

impl Layout {
    pub(crate) fn new(config: &Config, has_metadata: bool) -> Self {
        let tx_headroom = if has_metadata { TX_METADATA } else { 0 };
        Self { frames: config.frames, frame_size: config.frame_size.bytes(), tx_headroom }
    }

    /// Frames for each direction.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Where a frame to be sent begins in its chunk.
    pub(crate) fn tx_headroom(&self) -> u32 {
        self.tx_headroom
    }

    /// The longest frame that can be sent.
    pub(crate) fn tx_capacity(&self) -> u32 {
        self.frame_size - self.tx_headroom
    }

    /// The number of the chunk among all.
    pub(crate) fn number(&self, chunk: Chunk) -> u32 {
        match chunk {
            Chunk::Receive(number) => number,
            Chunk::Send(number) => self.frames + number,
        }
    }

    /// Where the chunk begins.
    pub(crate) fn address(&self, chunk: Chunk) -> u64 {
        u64::from(self.number(chunk)) * u64::from(self.frame_size)
    }

    /// The chunk in which an address lies, and how far behind its beginning.
    pub(crate) fn locate(&self, address: u64) -> Option<(Chunk, usize)> {
        let number = u32::try_from(address / u64::from(self.frame_size)).ok()?;
        let offset = usize::try_from(address % u64::from(self.frame_size)).ok()?;
        let chunk = match number.checked_sub(self.frames) {
            None => Chunk::Receive(number),
            Some(number) if number < self.frames => Chunk::Send(number),
            Some(_) => return None,
        };
        Some((chunk, offset))
    }
}

/// `struct xsk_tx_metadata`: the request for a timestamp, and room for the answer.
pub(crate) fn request_timestamp(chunk: &mut [u8]) {
    let flags = u64::from(libc::XDP_TXMD_FLAGS_TIMESTAMP);
    if let Some((flags_bytes, rest)) = chunk.split_first_chunk_mut::<8>()
        && let Some(completion) = rest.first_chunk_mut::<8>()
    {
        *flags_bytes = flags.to_ne_bytes();
        *completion = [0; 8];
    }
}

/// The timestamp that the driver left in the metadata, if it did.
pub(crate) fn timestamp(chunk: &[u8]) -> Option<u64> {
    let metadata = chunk.first_chunk::<16>()?;
    let time = u64::from_ne_bytes(*metadata.last_chunk()?);
    (time != 0).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_where_it_is_looked_for() {
        for has_metadata in [false, true] {
            let layout = Layout::new(&Config { frames: 64, ..Config::default() }, has_metadata);
            for number in 0..64 {
                for chunk in [Chunk::Receive(number), Chunk::Send(number)] {
                    let address = layout.address(chunk);
                    assert_eq!(layout.locate(address), Some((chunk, 0)));
                    assert_eq!(layout.locate(address + 2047), Some((chunk, 2047)));
                }
            }
            assert_eq!(layout.locate(2 * 64 * 2048), None);
            assert_eq!(layout.locate(u64::MAX), None);
            assert_eq!(layout.tx_headroom() + layout.tx_capacity(), 2048);
        }
    }

    #[test]
    fn metadata_is_the_kernels_structure() {
        assert_eq!(size_of::<libc::xsk_tx_metadata>(), 16);
        let mut chunk = [0xff; 64];
        request_timestamp(&mut chunk);
        assert_eq!(chunk[..8], 1_u64.to_ne_bytes());
        assert_eq!(timestamp(&chunk), None);
        chunk[8..16].copy_from_slice(&7_u64.to_ne_bytes());
        assert_eq!(timestamp(&chunk), Some(7));
        assert_eq!(chunk[16..], [0xff; 48]);
    }
}
