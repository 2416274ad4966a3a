//! Direct access to the linear part of a packet: the bytes between a context's `data` and `data_end`.

use core::{arch::asm, ptr};

use aya_ebpf::programs::{TcContext, XdpContext};
use instamp_trailer::View;
use zerocopy::{Immutable, IntoBytes};

/// A context that gives direct access to its packet.
pub trait Linear {
    /// The address of the first byte.
    fn data(&self) -> usize;
    /// The address behind the last byte.
    fn data_end(&self) -> usize;
}

impl Linear for XdpContext {
    #[inline(always)]
    fn data(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.data_end()
    }
}

impl Linear for TcContext {
    #[inline(always)]
    fn data(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn data_end(&self) -> usize {
        self.data_end()
    }
}

/// The value at `offset`, or `None` where not all of it is in the linear part.
#[inline(always)]
pub fn view<T: View>(context: &impl Linear, offset: u32) -> Option<&T> {
    let start = checked(context, offset, size_of::<T>())?;
    // SAFETY: the bytes lie inside the packet, which is the program's alone while it runs; any bytes are a T, aligned
    // anywhere. The kernel's verifier refuses a program that reads through the reference after the packet may have moved.
    Some(unsafe { &*(start as *const T) })
}

/// Writes `value` at `offset`, or nothing where not all of it is in the linear part.
#[inline(always)]
pub fn write<T: IntoBytes + Immutable>(context: &impl Linear, offset: u32, value: T) -> Option<()> {
    let start = checked(context, offset, size_of::<T>())?;
    // SAFETY: the bytes lie inside the packet, and no reference into it outlives the caller's `&mut`.
    unsafe { ptr::write_unaligned(start as *mut T, value) };
    Some(())
}

/// The verifier takes a variable offset into a packet only up to a bound that it can see. No Ethernet frame that holds a
/// whole message is longer.
const MAX_OFFSET: u32 = 0x7fff;

/// The address of `length` bytes at `offset`, or `None` where not all of them are in the linear part.
///
/// The bound on the offset is an instruction of its own, behind which the optimizer moves no arithmetic: the verifier
/// must see it in the very register that is added to `data`. It is no empty `asm!`, since that would leave two line
/// records on one instruction, which the kernel refuses in the program's BTF.
#[inline(always)]
fn checked(context: &impl Linear, offset: u32, length: usize) -> Option<usize> {
    if offset > MAX_OFFSET {
        return None;
    }
    let mut offset = offset as u64;
    // SAFETY: the instruction changes the register that it names and nothing else; the value stays what it is.
    unsafe { asm!("{0} &= 0x7fff", inout(reg) offset) };
    let start = context.data() + offset as usize;
    if start + length > context.data_end() { None } else { Some(start) }
}
