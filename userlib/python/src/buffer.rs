//! The bytes of Python objects, where they are: bytes, bytearray, memoryview, mmap, arrays of NumPy.
//!
//! Python's buffer protocol is part of its stable interface since 3.11 only, and so pyo3 does not offer it to a module for 3.9. The
//! two functions and the structure that it takes are the same in 3.9 and 3.10, though, and are declared here.
//!
//! Others may write to the memory meanwhile: threads while the interpreter is not held, or where Python has no such lock, and
//! processes that share it. So it is read and written by atomics alone, byte for byte, and never referred to as plain bytes.
#![expect(unsafe_code, reason = "calls the buffer protocol, and refers to memory that belongs to Python")]

use std::{
    ffi::{c_char, c_int, c_void},
    io::{self, Read},
    marker::PhantomData,
    ptr, slice,
    sync::atomic::{AtomicU8, Ordering},
};

use pyo3::{PyErr, ffi, prelude::*};

/// `Py_buffer` of [`object.h`](https://github.com/python/cpython/blob/v3.9.0/Include/cpython/object.h), in 3.11 moved to
/// `pybuffer.h`.
#[repr(C)]
struct View {
    buf: *mut c_void,
    obj: *mut ffi::PyObject,
    len: ffi::Py_ssize_t,
    itemsize: ffi::Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut ffi::Py_ssize_t,
    strides: *mut ffi::Py_ssize_t,
    suboffsets: *mut ffi::Py_ssize_t,
    internal: *mut c_void,
}

/// One run of bytes, whatever the items.
const SIMPLE: c_int = 0;
const WRITABLE: c_int = 1;

unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut ffi::PyObject, view: *mut View, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut View);
}

/// The contiguous bytes of an object, which neither moves nor frees them meanwhile.
pub(crate) struct Buffer<'py> {
    // Objects may point into the view, so it stays where it is.
    view: Box<View>,
    // Taken and released by a thread that holds the interpreter.
    python: PhantomData<Python<'py>>,
}

impl<'py> Buffer<'py> {
    /// To read from.
    ///
    /// # Errors
    ///
    /// `TypeError` where the object has no buffer, `BufferError` where it is not contiguous.
    pub(crate) fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::get(object, SIMPLE)
    }

    /// To write to.
    ///
    /// # Errors
    ///
    /// `TypeError` where the object has no buffer, `BufferError` where it is not contiguous, or cannot be written to.
    pub(crate) fn writable(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::get(object, WRITABLE)
    }

    fn get(object: &Bound<'py, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(View {
            buf: ptr::null_mut(),
            obj: ptr::null_mut(),
            len: 0,
            itemsize: 0,
            readonly: 0,
            ndim: 0,
            format: ptr::null_mut(),
            shape: ptr::null_mut(),
            strides: ptr::null_mut(),
            suboffsets: ptr::null_mut(),
            internal: ptr::null_mut(),
        });
        // SAFETY: the object is alive, the interpreter is held, as `'py` says, and the view is one, for this function to fill in.
        let result = unsafe { PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) };
        if result == 0 { Ok(Self { view, python: PhantomData }) } else { Err(PyErr::fetch(object.py())) }
    }

    /// The bytes for reading, also while the interpreter is not held.
    pub(crate) fn bytes(&self) -> Bytes<'_> {
        Bytes(self.atomics())
    }

    /// Writes all of `source` to the bytes from `offset` on, or returns `None` where there are not so many, or the buffer cannot be
    /// written to.
    pub(crate) fn write(&mut self, offset: usize, source: &[u8]) -> Option<()> {
        if self.view.readonly != 0 {
            return None;
        }
        let target = self.atomics().get(offset..offset.checked_add(source.len())?)?;
        for (to, from) in target.iter().zip(source) {
            to.store(*from, Ordering::Relaxed);
        }
        Some(())
    }

    fn atomics(&self) -> &[AtomicU8] {
        let len = usize::try_from(self.view.len).unwrap_or(0);
        if len == 0 || self.view.buf.is_null() {
            return &[];
        }
        // SAFETY: the view has as many bytes at this place, and they stay there until it is released, which takes the view. Any byte is an
        // `AtomicU8`, which may change while it is referred to; memory that cannot be written to is only loaded from, which relaxed
        // loads of a byte may. All accesses from here are atomic. Those of others need not be: what they write at the same time is
        // then as undefined as it is to Python itself, which copies such memory plainly; the processor gives the old byte or the new.
        unsafe { slice::from_raw_parts(self.view.buf.cast_const().cast(), len) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the view was filled in by `PyObject_GetBuffer` and is released once. The interpreter is held, as `'py` says.
        unsafe { PyBuffer_Release(&raw mut *self.view) };
    }
}

/// Bytes that belong to Python. They are copied out, a few at a time.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a>(&'a [AtomicU8]);

impl Bytes<'_> {
    pub(crate) const fn len(self) -> usize {
        self.0.len()
    }

    /// Copies the bytes from `offset` on into all of `target`, or returns `None` where there are not so many.
    pub(crate) fn copy(self, offset: usize, target: &mut [u8]) -> Option<()> {
        let source = self.0.get(offset..offset.checked_add(target.len())?)?;
        for (to, from) in target.iter_mut().zip(source) {
            *to = from.load(Ordering::Relaxed);
        }
        Some(())
    }

    /// The number of this index, of an array in the machine's byte order.
    pub(crate) fn number(self, index: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        self.copy(index.checked_mul(8)?, &mut bytes)?;
        Some(u64::from_ne_bytes(bytes))
    }
}

/// The bytes from the first on.
pub(crate) struct Reader<'a> {
    rest: Bytes<'a>,
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: Bytes<'a>) -> Self {
        Self { rest: bytes, position: 0 }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = target.len().min(self.rest.len() - self.position);
        let Some(part) = target.get_mut(..count) else { return Ok(0) };
        self.rest.copy(self.position, part);
        self.position += count;
        Ok(count)
    }
}
