//! The published model of a network card's clock.

use std::{
    ffi::{OsStr, c_char},
    io,
    os::unix::ffi::OsStrExt as _,
};

use hwtstamp::Time;
use instamp_clockmap::{Conversion as Converted, Device, Directory, Error as OpenError, Reader};
use nix::errno::Errno;

use crate::{
    Error,
    boundary::{change, guarded, place, read, text},
};

/// A view of the model that `instamp sync` publishes of a clock. It is the library's: `instamp_clock_model_open` makes it, and
/// `instamp_clock_model_close` ends it.
pub struct ClockModel(Reader);

/// A time of a network card's clock in the system's time, with what it takes to confirm it later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Conversion {
    /// In nanoseconds of `CLOCK_MONOTONIC`, in the initial time namespace.
    pub time_ns: u64,
    /// The true time is at most this far from it, to either side.
    pub bound_ns: u64,
    /// The epoch of the model: only models of the same one confirm the conversion.
    pub epoch: u64,
    /// What was converted.
    pub device_ns: u64,
    /// When, as the caller has told.
    pub now_ns: u64,
    /// Zeros.
    pub reserved: [u64; 3],
}

/// Opens the model of a clock: `ptp0` for that of `/dev/ptp0` and so on, or `monotonic_raw`.
///
/// `directory` is where models are published. Null is the one that the environment variable `INSTAMP_CLOCK_DIR` names, else
/// `/run/instamp/clock`. A program that runs with more rights than who started it, set-user-ID or with file capabilities, takes the
/// latter, whatever the variable says. The environment is read by each call: no thread may change it meanwhile.
///
/// It opens a file, maps 144 bytes of it, and allocates memory for the view, which `*model` points to then. Nobody needs to be
/// publishing.
///
/// Fails with `INSTAMP_ERROR_CLOCK_NAME`, `INSTAMP_ERROR_CLOCK_FOREIGN`, or `INSTAMP_ERROR_SYSTEM` and `errno`: `ENOENT` where
/// nobody has published this clock's model since the machine started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_clock_model_open(
    directory: *const c_char,
    clock: *const c_char,
    model: *mut *mut ClockModel,
) -> i32 {
    guarded(|| {
        let place = place(model)?;
        // SAFETY: as the header says.
        let device = unsafe { text(clock)? }.to_str().map_err(|_| Error::ClockName)?;
        let device: Device = device.parse().map_err(|_| Error::ClockName)?;
        let directory = if directory.is_null() {
            default_directory()
        } else {
            // SAFETY: as the header says.
            let directory = unsafe { text(directory)? };
            Directory::new(OsStr::from_bytes(directory.to_bytes()))
        };
        let reader = Reader::open(&directory, device).map_err(|error| match error {
            OpenError::System { source, .. } => system(&source),
            OpenError::Foreign { .. } => Error::ClockForeign,
            // What publishing can fail with.
            OpenError::Held { .. }
            | OpenError::Open { .. }
            | OpenError::NotADevice { .. }
            | OpenError::Malformed { .. }
            | _ => Error::Internal,
        })?;
        // SAFETY: what is not null is memory for a pointer, as the header says.
        unsafe { place.write(Box::into_raw(Box::new(ClockModel(reader)))) };
        Ok(())
    })
}

/// Converts a time of the clock to the system's, by the model as it is now.
///
/// `now_ns` is the system's time, `CLOCK_MONOTONIC` in the initial time namespace: in another one take off
/// `instamp_time_namespace_offset_ns`.
///
/// It makes no system call as long as the model is valid. Otherwise it looks whether there is another file by now, and goes on
/// with that.
///
/// Fails with `INSTAMP_ERROR_CLOCK_FOREIGN` to `INSTAMP_ERROR_CLOCK_MALFORMED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_clock_model_convert(
    model: *mut ClockModel,
    device_ns: u64,
    now_ns: u64,
    conversion: *mut Conversion,
) -> i32 {
    guarded(|| {
        let place = place(conversion)?;
        // SAFETY: as the header says.
        let ClockModel(reader) = unsafe { change(model)? };
        let device = Time::from_ns(i64::try_from(device_ns).map_err(|_| Error::ClockOutOfRange)?);
        let now = Time::from_ns(i64::try_from(now_ns).map_err(|_| Error::ClockOutOfRange)?);
        let Converted { time, bound, epoch, .. } = reader.convert(device, now)?;
        let conversion = Conversion {
            // Neither is negative.
            time_ns: time.as_ns().cast_unsigned(),
            bound_ns: bound.as_ns().cast_unsigned(),
            epoch,
            device_ns,
            now_ns,
            reserved: [0; 3],
        };
        // SAFETY: what is not null is memory for it, as the header says.
        unsafe { place.write(conversion) };
        Ok(())
    })
}

/// Tells whether the model as it is now confirms a conversion that was made right after its time was taken: readings of the clock
/// before and after it agree, so nobody has disturbed the clock meanwhile. `INSTAMP_OK` says that it does.
///
/// Fails with `INSTAMP_ERROR_CLOCK_UNCONFIRMED` where it does not: a later model may, after the publisher's next reading, as
/// long as it is of the conversion's epoch. With `INSTAMP_ERROR_CLOCK_FOREIGN` or `INSTAMP_ERROR_CLOCK_UNFINISHED` where
/// there is none to be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_clock_model_confirm(model: *mut ClockModel, conversion: *const Conversion) -> i32 {
    guarded(|| {
        // SAFETY: as the header says.
        let ClockModel(reader) = unsafe { change(model)? };
        // SAFETY: as the header says.
        let Conversion { epoch, device_ns, now_ns, .. } = *unsafe { read(conversion)? };
        let is_confirmed = reader.model()?.confirms(epoch, device_ns, now_ns);
        if is_confirmed { Ok(()) } else { Err(Error::ClockUnconfirmed) }
    })
}

/// Ends a view: unmaps and frees its memory. Null is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn instamp_clock_model_close(model: *mut ClockModel) {
    if !model.is_null() {
        // SAFETY: it comes from `instamp_clock_model_open` and is not used any more, as the header says.
        drop(unsafe { Box::from_raw(model) });
    }
}

/// Where models are published. Who starts a program that has more rights than himself does not say what it opens.
fn default_directory() -> Directory {
    // SAFETY: it reads what the kernel has told the process at its start.
    let has_more_rights = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if has_more_rights { Directory::new(Directory::DEFAULT) } else { Directory::from_environment() }
}

/// Leaves the reason in `errno`: `EIO` where it is not the kernel's.
pub(crate) fn system(error: &io::Error) -> Error {
    Errno::set_raw(error.raw_os_error().unwrap_or(libc::EIO));
    Error::System
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, fs, path::Path, ptr::null_mut};

    use instamp_clockmap::{Model, State, Writer};

    use super::*;
    use crate::INSTAMP_OK;

    /// Opens the model of a clock below a directory.
    fn open(directory: &Path, clock: &str) -> Result<*mut ClockModel, i32> {
        let directory = CString::new(directory.as_os_str().as_bytes()).expect("a path");
        let clock = CString::new(clock).expect("a name");
        let mut model = null_mut();
        // SAFETY: strings and a pointer of this function.
        let code = unsafe { instamp_clock_model_open(directory.as_ptr(), clock.as_ptr(), &raw mut model) };
        if code == INSTAMP_OK { Ok(model) } else { Err(code) }
    }

    #[test]
    fn a_published_model_converts_with_its_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = Writer::create(&Directory::new(folder.path()), Device::Phc(3)).expect("a writer");
        let model = open(folder.path(), "ptp3").expect("its model");
        let mut conversion = Conversion::default();
        // SAFETY: an open model, and a structure of this function.
        let mut convert =
            |device_ns, now_ns| unsafe { instamp_clock_model_convert(model, device_ns, now_ns, &raw mut conversion) };
        assert_eq!(convert(1_000, 5_000), Error::ClockWithdrawn.code());

        let published = Model {
            state: State::LOCKED,
            device_ref_ns: 1_000,
            system_ref_ns: 4_000,
            error_ns: 150,
            valid_until_ns: 3_000,
            void_after_ns: 6_000,
            as_of_ns: 1_000,
            ..Model::NONE
        };
        writer.publish(&published).expect("a model");
        assert_eq!(convert(3_001, 5_000), Error::ClockOutOfRange.code());
        assert_eq!(convert(u64::MAX, 5_000), Error::ClockOutOfRange.code());
        assert_eq!(convert(2_500, 5_000), Error::ClockFuture.code());
        assert_eq!(convert(1_500, 6_001), Error::ClockStale.code());
        assert_eq!(convert(1_500, 5_000), INSTAMP_OK);
        assert_eq!((conversion.time_ns, conversion.bound_ns), (4_500, 151));
        assert_eq!((conversion.device_ns, conversion.now_ns), (1_500, 5_000));

        // SAFETY: an open model, and a structure of this function.
        let confirm = || unsafe { instamp_clock_model_confirm(model, &raw const conversion) };
        assert_eq!(confirm(), Error::ClockUnconfirmed.code());
        writer.publish(&Model { as_of_ns: 2_500, ..published }).expect("a model");
        assert_eq!(confirm(), INSTAMP_OK);
        // SAFETY: an open model.
        unsafe { instamp_clock_model_close(model) };
    }

    #[test]
    fn errors_of_the_system_always_have_a_reason() {
        for (error, reason) in [
            (io::Error::from_raw_os_error(libc::EACCES), Errno::EACCES),
            (io::Error::from(io::ErrorKind::UnexpectedEof), Errno::EIO),
        ] {
            assert_eq!(system(&error), Error::System);
            assert_eq!(Errno::last(), reason);
        }
    }

    #[test]
    fn what_is_no_model_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["", "eth0", "ptp", "ptp01", "../ptp0"] {
            assert_eq!(open(folder.path(), name), Err(Error::ClockName.code()), "{name}");
        }
        assert_eq!(open(folder.path(), "ptp0"), Err(Error::System.code()));
        assert_eq!(Errno::last(), Errno::ENOENT);
        fs::write(folder.path().join("ptp0"), [0; 144]).expect("a file");
        assert_eq!(open(folder.path(), "ptp0"), Err(Error::ClockForeign.code()));
    }
}
