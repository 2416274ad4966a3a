//! Mapped memory as the words of a model: all `unsafe` of the crate.
#![expect(unsafe_code, reason = "mapped memory is reached through a pointer")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed, fence},
};

use memmap2::{MmapOptions, MmapRaw};

use crate::layout::{SIZE, WORDS, Words, WordsMut};

/// Memory that others write to.
pub(crate) struct Shared(Mapping);

/// Memory that this process writes to.
pub(crate) struct Owned(Mapping);

/// The first [`SIZE`] bytes behind a descriptor, which has at least as many.
struct Mapping(MmapRaw);

impl Shared {
    /// Maps what is behind a descriptor that has at least [`SIZE`] bytes.
    pub(crate) fn map(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        MmapOptions::new().len(SIZE).map_raw_read_only(descriptor.as_raw_fd()).map(Mapping).map(Self)
    }
}

impl Owned {
    /// Maps what is behind a descriptor that has at least [`SIZE`] bytes and can be written to.
    pub(crate) fn map(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        MmapOptions::new().len(SIZE).map_raw(descriptor.as_raw_fd()).map(Mapping).map(Self)
    }
}

impl Mapping {
    #[inline]
    fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: the mapping is that long, begins at a page, and lives as long as the reference. All who know of the memory,
        // in other processes too, access it by whole words. Memory that cannot be written to is loaded from only, with the
        // ordering and size for which atomic loads do not write.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

impl Words for Mapping {
    #[inline]
    fn load(&self, index: usize) -> u64 {
        self.words()[index].load(Relaxed)
    }

    #[inline]
    fn fence(&self) {
        fence(AcqRel);
    }
}

// Readers are compiled with the programs that name their clocks.
impl Words for Shared {
    #[inline]
    fn load(&self, index: usize) -> u64 {
        self.0.load(index)
    }

    #[inline]
    fn fence(&self) {
        self.0.fence();
    }
}

impl Words for Owned {
    fn load(&self, index: usize) -> u64 {
        self.0.load(index)
    }

    fn fence(&self) {
        self.0.fence();
    }
}

impl WordsMut for Owned {
    fn store(&self, index: usize, value: u64) {
        self.0.words()[index].store(value, Relaxed);
    }
}
