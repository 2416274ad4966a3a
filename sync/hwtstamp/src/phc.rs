//! The hardware clock of a network card.

use std::{
    fs::{File, OpenOptions},
    marker::PhantomData,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{errno::Errno, sys::stat::minor};

use crate::{
    Cause, CrossClock, Error, Frequency, Method, Operation, Phc, PreciseReading, Reading, Realtime, Span,
    SystemClock as _, Time, Timescale, cross, error::Context as _, sys,
};

/// What a PHC is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading its time. The frequency can be read as well from Linux 6.15 on.
    Read,
    /// Reading and adjusting.
    Write,
}

/// What a PHC can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhcCapabilities {
    /// The largest frequency adjustment, of either sign.
    pub max_frequency: Frequency,
    /// Whether [`Method::Precise`] is there.
    pub precise: bool,
    /// Whether it gives a pulse per second to the kernel.
    pub pps: bool,
    /// How many external events it can stamp at a time.
    pub external_timestamps: u32,
    /// How many periodic signals it can give.
    pub periodic_outputs: u32,
}

/// An open PHC, whose times are marked with `C`.
///
/// ```no_run
/// use hwtstamp::{Access, Method, Monotonic, PhcDevice};
///
/// # fn main() -> Result<(), hwtstamp::Error> {
/// let phc = PhcDevice::open_index(0, Access::Read)?;
/// let readings = phc.cross_read::<Monotonic>(Method::Extended, 10)?;
/// let shortest = readings.iter().min_by_key(|reading| reading.window());
/// println!("{shortest:?}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PhcDevice<C = Phc> {
    file: File,
    path: PathBuf,
    index: u32,
    clock: PhantomData<fn() -> C>,
}

impl PhcDevice {
    /// Opens `/dev/ptpN`.
    ///
    /// # Errors
    ///
    /// As [`PhcDevice::open`].
    pub fn open_index(index: u32, access: Access) -> Result<Self, Error> {
        Self::open(format!("/dev/ptp{index}"), access)
    }

    /// Opens the PHC at `path`.
    ///
    /// # Errors
    ///
    /// Where there is none, it is something else, or the caller may not.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |cause: Cause| Error::new(Operation::Open, path.display(), cause);
        // A path that names something else, such as a pipe, must not hold the caller up.
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Write)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| failed(error.into()))?;
        let metadata = file.metadata().map_err(|error| failed(error.into()))?;
        if !metadata.file_type().is_char_device() {
            return Err(failed(Errno::ENOTTY.into()));
        }
        sys::ptp::capabilities(file.as_fd()).map_err(|errno| failed(errno.into()))?;
        let index = u32::try_from(minor(metadata.rdev())).map_err(|_| failed(Errno::ENOTTY.into()))?;
        Ok(Self { file, path: path.to_owned(), index, clock: PhantomData })
    }
}

impl<C: Timescale> PhcDevice<C> {
    /// The same device, with its times marked by `D` from now on: so times of two PHCs do not mix.
    ///
    /// ```compile_fail,E0277
    /// use hwtstamp::{PhcDevice, Timescale};
    ///
    /// enum Left {}
    /// impl Timescale for Left {
    ///     const NAME: &'static str = "left PHC";
    /// }
    /// enum Right {}
    /// impl Timescale for Right {
    ///     const NAME: &'static str = "right PHC";
    /// }
    ///
    /// fn offset(left: PhcDevice, right: PhcDevice) -> Result<hwtstamp::Span, hwtstamp::Error> {
    ///     let (left, right) = (left.marked::<Left>(), right.marked::<Right>());
    ///     Ok(left.read()? - right.read()?)
    /// }
    /// ```
    #[must_use]
    pub fn marked<D: Timescale>(self) -> PhcDevice<D> {
        let Self { file, path, index, clock: _ } = self;
        PhcDevice { file, path, index, clock: PhantomData }
    }

    /// The path by which it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The N of `/dev/ptpN`.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// What it can do.
    ///
    /// # Errors
    ///
    /// Where the device is gone.
    pub fn capabilities(&self) -> Result<PhcCapabilities, Error> {
        let found = sys::ptp::capabilities(self.as_fd()).context(Operation::Capabilities, self.name())?;
        let count = |number: libc::c_int| u32::try_from(number).unwrap_or(0);
        Ok(PhcCapabilities {
            max_frequency: max_frequency(found.max_adj),
            precise: found.cross_timestamping != 0,
            pps: found.pps != 0,
            external_timestamps: count(found.n_ext_ts),
            periodic_outputs: count(found.n_per_out),
        })
    }

    /// What it shows now. The reading takes a microsecond or more: see [`PhcDevice::cross_read`] for when it was taken.
    ///
    /// # Errors
    ///
    /// Where the device is gone.
    pub fn read(&self) -> Result<Time<C>, Error> {
        let time = self.clock().read().context(Operation::Read, self.name())?;
        Time::from_parts(time.tv_sec(), time.tv_nsec()).ok_or_else(|| self.senseless(Operation::Read))
    }

    /// As many readings next to the clock `S` as are asked for, 1 to 25, in the order in which they were taken.
    ///
    /// [`Method::Precise`] knows `CLOCK_REALTIME` and `CLOCK_MONOTONIC_RAW`; [`Method::Extended`] knows `CLOCK_REALTIME`, and
    /// from Linux 6.12 on the monotonic clocks; [`Method::Basic`] knows `CLOCK_REALTIME`.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] where the kernel, the driver or the method cannot; where `samples` is 0 or above 25; where
    /// the device is gone.
    pub fn cross_read<S: CrossClock>(&self, method: Method, samples: u32) -> Result<Vec<Reading<S, C>>, Error> {
        let failed = |cause: Cause| Error::new(Operation::CrossRead, self.name(), cause);
        if samples == 0 || samples as usize > sys::ptp::MOST {
            return Err(failed(Errno::EINVAL.into()));
        }
        match method {
            Method::Precise => {
                let reading = |_| {
                    let found = self.precise()?;
                    let system = S::of_precise(&found)
                        .ok_or_else(|| failed(Cause::Unsupported("the precise method does not know this clock")))?;
                    Ok(Reading { before: system, device: found.device, after: system })
                };
                (0..samples).map(reading).collect()
            }
            Method::Extended => self.extended(samples),
            Method::Basic if S::ID == Realtime::ID => self.basic(samples),
            Method::Basic => Err(failed(Cause::Unsupported("the basic method knows CLOCK_REALTIME alone"))),
        }
    }

    /// One reading by [`Method::Precise`], against both clocks that it knows.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] on most cards; where the device is gone.
    pub fn precise(&self) -> Result<PreciseReading<C>, Error> {
        let cause = |errno: Errno| {
            // The kernel says so of a device that is gone, too: but that one has no capabilities any more.
            if errno == Errno::ENODEV && self.capabilities().is_ok() {
                Cause::Unsupported("the card is compared with a clock source that the system does not run on")
            } else {
                errno.into()
            }
        };
        let found = sys::ptp::precise(self.as_fd()).map_err(cause).context(Operation::CrossRead, self.name())?;
        PreciseReading::parse(&found).ok_or_else(|| self.senseless(Operation::CrossRead))
    }

    fn extended<S: CrossClock>(&self, samples: u32) -> Result<Vec<Reading<S, C>>, Error> {
        let cause = |errno: Errno| {
            // Before the kernel took a reserved field for the number of the clock, it demanded zero there.
            if errno == Errno::EINVAL && S::ID != Realtime::ID {
                Cause::Unsupported("before Linux 6.12 the extended method knows CLOCK_REALTIME alone")
            } else {
                errno.into()
            }
        };
        let triples = sys::ptp::extended(self.as_fd(), S::ID, samples)
            .map_err(cause)
            .context(Operation::CrossRead, self.name())?;
        self.readings(triples.into_iter(), samples)
    }

    fn basic<S: CrossClock>(&self, samples: u32) -> Result<Vec<Reading<S, C>>, Error> {
        let times = sys::ptp::basic(self.as_fd(), samples).context(Operation::CrossRead, self.name())?;
        self.readings(cross::triples(&times), samples)
    }

    fn readings<S>(
        &self,
        triples: impl Iterator<Item = [libc::ptp_clock_time; 3]>,
        samples: u32,
    ) -> Result<Vec<Reading<S, C>>, Error> {
        let readings = triples.take(samples as usize).map(cross::reading).collect::<Option<_>>();
        readings.ok_or_else(|| self.senseless(Operation::CrossRead))
    }

    /// The best method that reads it next to the clock `S`, found by trying; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where the device is gone.
    pub fn best_method<S: CrossClock>(&self) -> Result<Option<Method>, Error> {
        for method in [Method::Precise, Method::Extended, Method::Basic] {
            match self.cross_read::<S>(method, 1) {
                Ok(_) => return Ok(Some(method)),
                Err(error) if error.is_unsupported() => {}
                // Some cards take part only now and then; what else is wrong, the next method tells.
                Err(_) if method == Method::Precise => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The largest frequency adjustment, of either sign.
    ///
    /// # Errors
    ///
    /// Where the device is gone.
    pub fn max_frequency(&self) -> Result<Frequency, Error> {
        self.capabilities().map(|capabilities| capabilities.max_frequency)
    }

    /// The frequency adjustment that was last made by anybody through the kernel: zero when there was none, and
    /// whatever the hardware may have been set to before.
    ///
    /// # Errors
    ///
    /// Before Linux 6.15 (and kernels that have its change), unless it was opened for [`Access::Write`]; where the device is
    /// gone.
    pub fn frequency(&self) -> Result<Frequency, Error> {
        let now = self.clock().adjust(sys::clock::no_change()).context(Operation::GetFrequency, self.name())?;
        Ok(Frequency::from_scaled_ppm(now.freq))
    }

    /// Makes it run faster than its oscillator, or slower. It needs [`Access::Write`].
    ///
    /// # Errors
    ///
    /// Beyond [`PhcDevice::max_frequency`]; without write access; while virtual clocks follow it.
    pub fn set_frequency(&self, frequency: Frequency) -> Result<(), Error> {
        self.clock().adjust(sys::clock::frequency(frequency)).context(Operation::SetFrequency, self.name())?;
        Ok(())
    }

    /// Moves it forward, or back where `span` is negative, at once. It needs [`Access::Write`].
    ///
    /// # Errors
    ///
    /// Without write access; while virtual clocks follow it.
    pub fn step(&self, span: Span) -> Result<(), Error> {
        self.clock().adjust(sys::clock::step(span)).context(Operation::Step, self.name())?;
        Ok(())
    }

    /// Sets it. Late by the time that setting takes: [`PhcDevice::step`] is exact. It needs [`Access::Write`].
    ///
    /// # Errors
    ///
    /// Without write access; while virtual clocks follow it; where the driver does not know the time.
    pub fn set(&self, time: Time<C>) -> Result<(), Error> {
        let (seconds, nanoseconds) = time.parts();
        self.clock().set(seconds, nanoseconds).context(Operation::Set, self.name())
    }

    fn clock(&self) -> sys::clock::Clock<'_> {
        sys::clock::Clock::of_device(&self.file)
    }

    fn name(&self) -> impl ToString {
        self.path.display()
    }

    fn senseless(&self, operation: Operation) -> Error {
        Error::new(operation, self.name(), Cause::Malformed("a time beyond the year 2262, or no time at all"))
    }
}

impl<C> AsFd for PhcDevice<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The kernel gives the limit in whole parts per billion.
fn max_frequency(ppb: libc::c_int) -> Frequency {
    // Rounded down: the kernel compares after its own conversion, and refuses what exceeds the limit.
    Frequency::from_scaled_ppm(i64::from(ppb) * 65_536 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own conversion, which it compares with its limit.
    fn kernel_ppb(frequency: Frequency) -> i64 {
        ((1 + frequency.scaled_ppm()) * 125) >> 13
    }

    #[test]
    fn the_kernel_takes_what_is_said_to_be_the_largest() {
        for ppb in [1, 999, 500_000, 999_999_881, 1_000_000_000, i32::MAX] {
            let largest = max_frequency(ppb);
            assert!(kernel_ppb(largest) <= i64::from(ppb) && kernel_ppb(-largest) >= -i64::from(ppb), "{ppb}");
            assert!(largest.ppb() > f64::from(ppb) - 0.016, "{ppb}");
        }
    }
}
