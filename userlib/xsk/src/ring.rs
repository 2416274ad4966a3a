//! The two ends of a ring that is shared with the kernel.
//!
//! Both counters run freely through all values of 32 bits. An entry is written before its number is published, and read after
//! that number was seen; likewise is its place given back after it was read.

use std::sync::atomic::{Ordering::SeqCst, fence};

/// The memory of a ring: two counters, flags, and entries.
pub(crate) trait Shared {
    /// What the ring holds.
    type Entry: Copy;

    /// How many entries it holds: a power of two.
    fn size(&self) -> u32;
    /// How many entries were ever published. What was written before is seen.
    fn published(&self) -> u32;
    /// Lets the consumer see all entries before this number, and what was written before.
    fn publish(&mut self, number: u32);
    /// How many entries were ever given back. What was read before is no longer needed.
    fn released(&self) -> u32;
    /// Lets the producer have the places of all entries before this number.
    fn release(&mut self, number: u32);
    /// Whether the kernel asks to be woken.
    fn needs_wakeup(&self) -> bool;
    /// The entry with this number, modulo the size.
    fn read(&self, number: u32) -> Self::Entry;
    /// Writes the entry with this number, modulo the size.
    fn write(&mut self, number: u32, entry: Self::Entry);
}

/// The end that writes entries.
pub(crate) struct Producer<S> {
    shared: S,
    /// The number of the next entry.
    next: u32,
    /// What the consumer may see.
    published: u32,
    /// What the consumer had given back when it was last asked.
    released: u32,
}

impl<S: Shared> Producer<S> {
    pub(crate) fn new(shared: S) -> Self {
        let (next, released) = (shared.published(), shared.released());
        Self { shared, next, published: next, released }
    }

    /// How many entries can be written: asks the consumer only where it is fewer than `wanted` by what it had given back before.
    pub(crate) fn room(&mut self, wanted: u32) -> u32 {
        let room = self.room_by(self.released);
        if room >= wanted {
            return room;
        }
        self.released = self.shared.released();
        self.room_by(self.released)
    }

    fn room_by(&self, released: u32) -> u32 {
        self.shared.size().saturating_sub(self.next.wrapping_sub(released))
    }

    /// Writes an entry, which the consumer does not see yet; `false` where there is no room.
    pub(crate) fn push(&mut self, entry: S::Entry) -> bool {
        if self.room(1) == 0 {
            return false;
        }
        self.shared.write(self.next, entry);
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Lets the consumer see what was written.
    pub(crate) fn publish(&mut self) {
        // The consumer's processor has the counter in its cache: leave it there.
        if self.published != self.next {
            self.shared.publish(self.next);
            self.published = self.next;
        }
    }

    /// How many entries the consumer has not given back.
    pub(crate) fn outstanding(&mut self) -> u32 {
        self.released = self.shared.released();
        self.next.wrapping_sub(self.released)
    }

    /// Whether the kernel, as the consumer, asks to be woken for what was published before.
    pub(crate) fn needs_wakeup(&self) -> bool {
        // It asks, then looks once more for entries: so must we, the other way around, or both could miss each other.
        fence(SeqCst);
        self.shared.needs_wakeup()
    }
}

/// The end that reads entries.
pub(crate) struct Consumer<S> {
    shared: S,
    /// The number of the next entry.
    next: u32,
    /// What the producer may overwrite.
    released: u32,
    /// What the producer had published when it was last asked.
    published: u32,
}

impl<S: Shared> Consumer<S> {
    pub(crate) fn new(shared: S) -> Self {
        let (next, published) = (shared.released(), shared.published());
        Self { shared, next, released: next, published }
    }

    /// The next entry, whose place the producer gets with the next [`release`](Self::release).
    pub(crate) fn pop(&mut self) -> Option<S::Entry> {
        if self.is_empty() {
            return None;
        }
        let entry = self.shared.read(self.next);
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Whether there is no entry: asks the producer only where all are read that were published before.
    pub(crate) fn is_empty(&mut self) -> bool {
        if self.published == self.next {
            self.published = self.shared.published();
        }
        self.published == self.next
    }

    /// How many entries there are: asks the producer only where none is known.
    pub(crate) fn available(&mut self) -> u32 {
        if self.is_empty() { 0 } else { self.published.wrapping_sub(self.next) }
    }

    /// Gives the places of all entries back that were read.
    pub(crate) fn release(&mut self) {
        if self.released != self.next {
            self.shared.release(self.next);
            self.released = self.next;
        }
    }
}

#[cfg(test)]
mod tests;
