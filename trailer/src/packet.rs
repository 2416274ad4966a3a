//! Access to the bytes of a packet.

use zerocopy::{FromBytes, Immutable, IntoBytes, Unaligned};

/// A packet whose bytes are read and written by their offset, each access checked against the packet's end.
///
/// Offsets count from the first byte of the link-layer header. Values are copied out: what a program in the kernel has
/// read stays valid after it has written.
pub trait Packet {
    /// The value at `offset`, or `None` where not all of it lies inside the readable packet.
    fn read<T: FromBytes + Immutable + Unaligned + Copy>(&self, offset: u32) -> Option<T>;

    /// Writes `value` at `offset`, all of it or, with `None`, nothing of it.
    fn write<T: IntoBytes + Immutable + Unaligned>(&mut self, offset: u32, value: &T) -> Option<()>;
}

impl Packet for [u8] {
    fn read<T: FromBytes + Immutable + Unaligned + Copy>(&self, offset: u32) -> Option<T> {
        let bytes = self.get(usize::try_from(offset).ok()?..)?;
        T::read_from_prefix(bytes).ok().map(|(value, _)| value)
    }

    fn write<T: IntoBytes + Immutable + Unaligned>(&mut self, offset: u32, value: &T) -> Option<()> {
        let bytes = self.get_mut(usize::try_from(offset).ok()?..)?;
        value.write_to_prefix(bytes).ok()
    }
}
