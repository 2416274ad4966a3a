//! Values on the stack, for the helpers that copy from and to packets. The verifier wants every access to it aligned.

use core::{ffi::c_void, mem::MaybeUninit, ops::Deref};

use zerocopy::FromBytes;

/// A value that a helper copied out of a packet. Its fields are read two bytes at a time, or lie at multiples of their size.
#[repr(C, align(8))]
pub struct Copied<T>(T);

impl<T: FromBytes> Copied<T> {
    /// The value that `load` fills, of the given address and size in bytes, or `None` where it says that it did not.
    #[inline(always)]
    pub fn load(load: impl FnOnce(*mut c_void, u32) -> bool) -> Option<Self> {
        let mut value = MaybeUninit::<Self>::uninit();
        if !load(value.as_mut_ptr().cast(), size_of::<T>() as u32) {
            return None;
        }
        // SAFETY: all bytes of the value are filled, any bytes are a T, and what follows it is padding.
        Some(unsafe { value.assume_init() })
    }
}

impl<T> Deref for Copied<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A value that a helper copies into a packet. A record's time lies four bytes behind its start, and is written at once.
#[repr(C, align(8))]
pub struct Stored<T> {
    _gap: u32,
    value: T,
}

impl<T> Stored<T> {
    #[inline(always)]
    pub fn new(value: T) -> Self {
        Self { _gap: 0, value }
    }

    #[inline(always)]
    pub fn as_ptr(&self) -> *const T {
        &raw const self.value
    }
}
