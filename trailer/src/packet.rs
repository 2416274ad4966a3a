//! Access to the bytes of a packet.

use core::ops::Deref;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A packet whose bytes are read and written by their offset, each access checked against the packet's end.
///
/// Offsets count from the first byte of the link-layer header.
pub trait Packet {
    /// A value in the packet: a reference where the bytes can be read in place, a copy where they cannot.
    type View<'a, T: View + 'a>: Deref<Target = T>
    where
        Self: 'a;

    /// The value at `offset`, or `None` where not all of it lies inside the packet.
    fn view<T: View>(&self, offset: u32) -> Option<Self::View<'_, T>>;

    /// Writes `value` at `offset`, all of it or, with `None`, nothing of it.
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()>;
}

/// What can be read from any bytes at any address.
pub trait View: FromBytes + Immutable + KnownLayout + Unaligned {}

impl<T: FromBytes + Immutable + KnownLayout + Unaligned> View for T {}

impl Packet for [u8] {
    type View<'a, T: View + 'a> = &'a T;

    fn view<T: View>(&self, offset: u32) -> Option<&T> {
        let bytes = self.get(usize::try_from(offset).ok()?..)?;
        T::ref_from_prefix(bytes).ok().map(|(value, _)| value)
    }

    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        let bytes = self.get_mut(usize::try_from(offset).ok()?..)?;
        value.write_to_prefix(bytes).ok()
    }
}
