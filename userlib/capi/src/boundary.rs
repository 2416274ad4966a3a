//! Between C and Rust: pointers become references, results become codes, and panics stay here.

use std::{
    ffi::{CStr, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    slice,
};

use crate::{Error, INSTAMP_OK};

/// Does what a function is there for. What `task` has written of results before it fails is not looked at by anybody.
#[inline]
pub(crate) fn guarded(task: impl FnOnce() -> Result<(), Error>) -> i32 {
    match catch_unwind(AssertUnwindSafe(task)) {
        Ok(Ok(())) => INSTAMP_OK,
        Ok(Err(error)) => error.code(),
        Err(_) => Error::Internal.code(),
    }
}

/// What is behind a pointer.
///
/// # Safety
///
/// It is null, or what is behind it is a `T`, aligned and initialized, that nobody changes as long as the reference is used.
pub(crate) unsafe fn read<'a, T>(pointer: *const T) -> Result<&'a T, Error> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or(Error::NullPointer)
}

/// The same, to be changed.
///
/// # Safety
///
/// It is null, or what is behind it is a `T`, aligned and initialized, that nobody else looks at as long as the reference is used.
pub(crate) unsafe fn change<'a, T>(pointer: *mut T) -> Result<&'a mut T, Error> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_mut() }.ok_or(Error::NullPointer)
}

/// Where a result goes. What is there may be anything.
pub(crate) fn place<T>(pointer: *mut T) -> Result<NonNull<T>, Error> {
    NonNull::new(pointer).ok_or(Error::NullPointer)
}

/// So many values from a pointer on. No values may be anywhere, also at null.
///
/// # Safety
///
/// It is null, or there are as many values of type `T`, aligned and initialized, which nobody changes as long as the reference is
/// used.
pub(crate) unsafe fn read_all<'a, T>(pointer: *const T, count: usize) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Error::NullPointer)?;
    check_size::<T>(count)?;
    // SAFETY: as the caller promises, and no object is larger than what was checked.
    Ok(unsafe { slice::from_raw_parts(pointer.as_ptr(), count) })
}

/// Bytes to be changed, the last of which, `to_write`, may be anything and are set to zeros. No bytes may be anywhere, also at null.
///
/// # Safety
///
/// It is null, or there are as many bytes, which nobody else looks at as long as the reference is used. Those before the last
/// `to_write` are initialized.
pub(crate) unsafe fn change_bytes<'a>(
    pointer: *mut c_void,
    length: usize,
    to_write: usize,
) -> Result<&'a mut [u8], Error> {
    if length == 0 {
        return Ok(&mut []);
    }
    let pointer: NonNull<u8> = NonNull::new(pointer.cast()).ok_or(Error::NullPointer)?;
    check_size::<u8>(length)?;
    let to_keep = length.saturating_sub(to_write);
    // SAFETY: it is within the bytes of the caller, who promises as many.
    let rest = unsafe { pointer.add(to_keep) };
    // SAFETY: the same.
    unsafe { rest.write_bytes(0, length - to_keep) };
    // SAFETY: as the caller promises, no object is larger than what was checked, and all bytes are initialized by now.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.as_ptr(), length) })
}

/// Text that ends with a zero.
///
/// # Safety
///
/// It is null, or text that ends with a zero and that nobody changes as long as the reference is used.
pub(crate) unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a CStr, Error> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Error::NullPointer)?;
    // SAFETY: as the caller promises.
    Ok(unsafe { CStr::from_ptr(pointer.as_ptr()) })
}

fn check_size<T>(count: usize) -> Result<(), Error> {
    let fits = count.checked_mul(size_of::<T>()).is_some_and(|size| isize::try_from(size).is_ok());
    if fits { Ok(()) } else { Err(Error::BufferLength) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_code() {
        assert_eq!(guarded(|| panic!("a bug, for a test")), Error::Internal.code());
    }
}
