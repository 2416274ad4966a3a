//! The application's clock in the host's time.

use instamp::time_namespace::{MonotonicOffset, TimeNamespaceError};

use crate::{
    Error,
    boundary::{guarded, place},
    clock_model::system,
};

/// Tells how far `CLOCK_MONOTONIC` of the calling process is ahead of the host's, in nanoseconds: 0 in the initial time namespace,
/// and on kernels without them. It is constant during the life of a process: ask once, and subtract it from each reading.
///
/// Hooks stamp in the host's time. In a time namespace, which some container engines make, readings are shifted.
///
/// It reads files below /proc, and allocates memory meanwhile.
///
/// Fails with `INSTAMP_ERROR_SYSTEM` and `errno`, `INSTAMP_ERROR_TIME_NAMESPACE_UNSHARED` or
/// `INSTAMP_ERROR_TIME_NAMESPACE_FORMAT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_time_namespace_offset_ns(offset_ns: *mut i64) -> i32 {
    guarded(|| {
        let place = place(offset_ns)?;
        let offset = MonotonicOffset::of_this_process().map_err(|error| match error {
            TimeNamespaceError::Read { source, .. } => system(&source),
            TimeNamespaceError::Unshared => Error::TimeNamespaceUnshared,
            TimeNamespaceError::Format => Error::TimeNamespaceFormat,
            _ => Error::Internal,
        })?;
        // SAFETY: what is not null is a number's memory, as the header says.
        unsafe { place.write(offset.nanoseconds()) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::INSTAMP_OK;

    #[test]
    fn the_offset_of_the_time_namespace_is_that_of_the_crate() {
        let mut offset_ns = i64::MIN;
        // SAFETY: a number of this function.
        assert_eq!(unsafe { instamp_time_namespace_offset_ns(&raw mut offset_ns) }, INSTAMP_OK);
        let offset = MonotonicOffset::of_this_process().expect("/proc");
        assert_eq!(offset_ns, offset.nanoseconds());
    }
}
