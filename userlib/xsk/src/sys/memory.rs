//! The memory of frames, which the kernel and the card read and write as well.

#![expect(unsafe_code, reason = "frames are parts of mapped memory that others write to")]

use std::{io, slice};

use memmap2::{MmapMut, MmapRaw};

/// Chunks of equal size. Each is ours or the kernel's, and only ours can be looked at.
pub(crate) struct Memory {
    mapping: MmapRaw,
    chunk_size: usize,
    /// Which chunks are the kernel's.
    away: Box<[bool]>,
}

impl Memory {
    /// All zero, and ours.
    pub(crate) fn new(chunks: u32, chunk_size: u32) -> io::Result<Self> {
        let (chunks, chunk_size) = (chunks as usize, chunk_size as usize);
        let length = chunks.checked_mul(chunk_size).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = MmapMut::map_anon(length)?.into();
        Ok(Self { mapping, chunk_size, away: vec![false; chunks].into() })
    }

    /// Where the memory begins, at a page, and how long it is.
    pub(crate) fn extent(&self) -> (u64, u64) {
        (self.mapping.as_ptr() as u64, self.mapping.len() as u64)
    }

    /// A chunk becomes the kernel's, before the ring lets it know.
    #[inline]
    pub(crate) fn give(&mut self, chunk: u32) {
        self.away[chunk as usize] = true;
    }

    /// A chunk that the kernel has given back, by one of its rings, becomes ours; `false` where it was already.
    #[inline]
    pub(crate) fn take_back(&mut self, chunk: u32) -> bool {
        self.away.get_mut(chunk as usize).is_some_and(std::mem::take)
    }

    /// The bytes of a chunk.
    ///
    /// # Panics
    ///
    /// Where it is the kernel's.
    #[inline]
    pub(crate) fn chunk(&self, chunk: u32) -> &[u8] {
        let start = self.start(chunk);
        // SAFETY: the mapping has as many chunks as `away` has entries, so that this one lies inside, and lives as long as the
        // reference. The chunk is not the kernel's, and we change chunks through exclusive references to this alone.
        unsafe { slice::from_raw_parts(start, self.chunk_size) }
    }

    /// The bytes of a chunk.
    ///
    /// # Panics
    ///
    /// Where it is the kernel's.
    #[inline]
    pub(crate) fn chunk_mut(&mut self, chunk: u32) -> &mut [u8] {
        let start = self.start(chunk);
        // SAFETY: as above; the exclusive reference to this stands for the only one to the chunk.
        unsafe { slice::from_raw_parts_mut(start, self.chunk_size) }
    }

    #[inline]
    fn start(&self, chunk: u32) -> *mut u8 {
        let chunk = chunk as usize;
        assert!(!self.away[chunk], "chunk {chunk} is the kernel's");
        // SAFETY: the mapping has as many chunks as `away` has entries, and that index was in bounds.
        unsafe { self.mapping.as_mut_ptr().add(chunk * self.chunk_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_apart() {
        let mut memory = Memory::new(4, 2048).expect("a little memory");
        for chunk in 0..4_u8 {
            memory.chunk_mut(chunk.into()).fill(chunk + 1);
        }
        for chunk in 0..4_u8 {
            assert_eq!(memory.chunk(chunk.into()), [chunk + 1; 2048]);
        }
        assert_eq!(memory.extent().1, 4 * 2048);
        assert_eq!(memory.extent().0 % 4096, 0);
    }

    #[test]
    fn what_was_never_given_does_not_come_back() {
        let mut memory = Memory::new(2, 2048).expect("a little memory");
        memory.give(1);
        assert!(!memory.take_back(0) && !memory.take_back(2) && !memory.take_back(u32::MAX));
        assert!(memory.take_back(1) && !memory.take_back(1));
        assert_eq!(memory.chunk(1).len(), 2048);
    }

    #[test]
    #[should_panic(expected = "chunk 1 is the kernel's")]
    fn what_is_the_kernels_cannot_be_looked_at() {
        let mut memory = Memory::new(2, 2048).expect("a little memory");
        memory.give(1);
        memory.chunk(1);
    }
}
