//! A ring in memory that is shared with the kernel.

#![expect(unsafe_code, reason = "rings are parts of mapped memory that the kernel writes to")]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use memmap2::{MmapOptions, MmapRaw};

use crate::ring::Shared;

/// An entry of a ring.
///
/// # Safety
///
/// Any bytes are a value.
pub(crate) unsafe trait Entry: Copy {}
// SAFETY: an integer.
unsafe impl Entry for u64 {}
// SAFETY: a structure of integers.
unsafe impl Entry for libc::xdp_desc {}

/// A ring as the kernel has mapped it. Its offsets are aligned and inside the mapping.
pub(crate) struct Mapped<E> {
    mapping: MmapRaw,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    size: u32,
    entry: PhantomData<E>,
}

impl<E: Entry> Mapped<E> {
    /// Maps the ring of a socket that lies at `page_offset`, and has `size` entries: a power of two.
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        page_offset: u64,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's offsets make no sense");
        let place = |offset: u64, alignment: usize| {
            usize::try_from(offset).ok().filter(|offset| offset.is_multiple_of(alignment)).ok_or_else(nonsense)
        };
        let counter = |offset| place(offset, align_of::<AtomicU32>());
        let (producer, consumer, flags) =
            (counter(offsets.producer)?, counter(offsets.consumer)?, counter(offsets.flags)?);
        let entries = place(offsets.desc, align_of::<E>())?;
        let length = (size as usize).checked_mul(size_of::<E>()).and_then(|length| length.checked_add(entries));
        let length = length.ok_or_else(nonsense)?;
        if [producer, consumer, flags].iter().any(|offset| offset.saturating_add(size_of::<AtomicU32>()) > length) {
            return Err(nonsense());
        }
        assert!(size.is_power_of_two(), "a ring has a power of two entries");
        let mapping = MmapOptions::new().offset(page_offset).len(length).populate().map_raw(socket.as_raw_fd())?;
        Ok(Self { mapping, producer, consumer, flags, entries, size, entry: PhantomData })
    }

    #[inline]
    fn counter(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the only callers give one of the three offsets of counters, all inside the mapping.
        let counter = unsafe { self.mapping.as_ptr().add(offset) };
        // SAFETY: aligned and inside the mapping, which lives as long as the reference; the kernel and we access it as a whole.
        unsafe { &*counter.cast() }
    }

    #[inline]
    fn slot(&self, number: u32) -> *mut E {
        let index = (number & (self.size - 1)) as usize;
        // SAFETY: the entries begin inside the mapping.
        let entries = unsafe { self.mapping.as_mut_ptr().add(self.entries) };
        // SAFETY: the mapping has `size` entries there, and the index is below.
        unsafe { entries.cast::<E>().add(index) }
    }
}

impl<E: Entry> Shared for Mapped<E> {
    type Entry = E;

    #[inline]
    fn size(&self) -> u32 {
        self.size
    }

    #[inline]
    fn published(&self) -> u32 {
        self.counter(self.producer).load(Acquire)
    }

    #[inline]
    fn publish(&mut self, number: u32) {
        self.counter(self.producer).store(number, Release);
    }

    #[inline]
    fn released(&self) -> u32 {
        self.counter(self.consumer).load(Acquire)
    }

    #[inline]
    fn release(&mut self, number: u32) {
        self.counter(self.consumer).store(number, Release);
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        self.counter(self.flags).load(Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn read(&self, number: u32) -> E {
        // SAFETY: inside the mapping, aligned, and any bytes are a value; volatile, as the kernel might change it meanwhile.
        unsafe { self.slot(number).read_volatile() }
    }

    #[inline]
    fn write(&mut self, number: u32, entry: E) {
        // SAFETY: inside the mapping and aligned; the exclusive reference stands for our only end of the ring.
        unsafe { self.slot(number).write_volatile(entry) };
    }
}
