//! The stamping routine's view of a packet.

use core::{arch::asm, mem::MaybeUninit, ops::Deref};

use instamp_trailer::{Packet, View};
use zerocopy::{Immutable, IntoBytes};

use crate::Buffer;

/// Reads the first part of a packet in place, and does not see the rest.
pub(crate) struct InPlace<'a, B>(pub(crate) &'a B);

impl<B: Buffer> Packet for InPlace<'_, B> {
    type View<'b, T: View + 'b>
        = &'b T
    where
        Self: 'b;

    #[inline(always)]
    fn view<T: View>(&self, offset: u32) -> Option<&T> {
        let start = checked(self.0, offset, size_of::<T>())?;
        // SAFETY: the bytes lie inside the packet, which is the program's alone while it runs; any bytes are a T,
        // aligned anywhere. The verifier refuses a program that reads through the reference after the packet may have moved.
        Some(unsafe { &*(start as *const T) })
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        if !B::WRITES_IN_PLACE {
            return store(self.0, offset, value);
        }
        let start = checked(self.0, offset, size_of::<T>())?;
        // SAFETY: the bytes lie inside the packet, and no reference into it outlives the caller's `&mut`.
        unsafe { (start as *mut T).write_unaligned(value) };
        Some(())
    }
}

/// Copies what it reads out of a packet of several parts.
pub(crate) struct Copying<'a, B>(pub(crate) &'a B);

impl<B: Buffer> Packet for Copying<'_, B> {
    type View<'b, T: View + 'b>
        = Copied<T>
    where
        Self: 'b;

    #[inline(always)]
    fn view<T: View>(&self, offset: u32) -> Option<Copied<T>> {
        let mut value = MaybeUninit::<Copied<T>>::uninit();
        // SAFETY: the value has room for a T at its start.
        let is_loaded = unsafe { self.0.load(offset, value.as_mut_ptr().cast(), size_of::<T>() as u32) };
        // SAFETY: all bytes of the T are loaded, any bytes are one, and what follows it is padding.
        is_loaded.then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn write<T: IntoBytes + Immutable>(&mut self, offset: u32, value: T) -> Option<()> {
        store(self.0, offset, value)
    }
}

/// The verifier takes a variable offset into a packet only up to a bound that it can see. What lies behind it is read by
/// copying where the packet has several parts, as the kernel makes packets of that size.
const MAX_OFFSET: u32 = 0x7fff;

/// The address of `length` bytes at `offset`, or `None` where not all of them are in the first part.
///
/// The bound on the offset is an instruction of its own, behind which the optimizer moves no arithmetic: the verifier
/// must see it in the very register that is added to `data`. It is no empty `asm!`, since that would leave two line
/// records on one instruction, which the kernel refuses in the program's BTF.
#[inline(always)]
fn checked(buffer: &impl Buffer, offset: u32, length: usize) -> Option<usize> {
    if offset > MAX_OFFSET {
        return None;
    }
    let mut offset = offset as u64;
    // SAFETY: the instruction changes the register that it names and nothing else; the value stays what it is.
    unsafe { asm!("{0} &= 0x7fff", inout(reg) offset) };
    let start = buffer.data() + offset as usize;
    if start + length > buffer.data_end() { None } else { Some(start) }
}

#[inline(always)]
fn store<T: IntoBytes + Immutable>(buffer: &impl Buffer, offset: u32, value: T) -> Option<()> {
    // SAFETY: a T is valid for reads of its size.
    unsafe { buffer.store(offset, (&raw const value).cast(), size_of::<T>() as u32) }.then_some(())
}

/// A value that a helper copied out of a packet.
pub(crate) struct Copied<T>(T);

impl<T> Deref for Copied<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
