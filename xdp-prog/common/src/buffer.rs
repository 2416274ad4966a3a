//! A packet as the kernel gives it to a program.

use core::ffi::c_void;

/// A packet whose first part lies in one piece between two addresses, and the rest, if any, in fragments that helpers reach.
pub trait Buffer {
    /// Whether the program may write to the first part directly.
    const WRITES_IN_PLACE: bool;

    /// The address of the first byte.
    fn data(&self) -> usize;

    /// The address behind the last byte of the first part.
    fn data_end(&self) -> usize;

    /// The length of all parts in bytes.
    fn length(&self) -> u32;

    /// Copies `length` bytes at `offset` to `to`, all or none, and says whether it did.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of `length` bytes.
    unsafe fn load(&self, offset: u32, to: *mut c_void, length: u32) -> bool;

    /// Copies `length` bytes from `from` to `offset`, all or none, and says whether it did.
    ///
    /// # Safety
    ///
    /// `from` is valid for reads of `length` bytes.
    unsafe fn store(&self, offset: u32, from: *const c_void, length: u32) -> bool;

    /// Whether there are bytes outside of the first part.
    #[inline(always)]
    fn is_fragmented(&self) -> bool {
        self.length() as usize > self.data_end() - self.data()
    }
}
