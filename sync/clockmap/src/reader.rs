//! Reading a model that another process publishes.

use std::{
    fs::{self, Metadata, OpenOptions},
    marker::PhantomData,
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use hwtstamp::{Monotonic, Phc, Span, Time, Timescale};
use nix::fcntl::OFlag;

use crate::{
    Device, Directory, Error, Model, Refusal, State,
    error::Context as _,
    layout::{self, SIZE},
    memory::Shared,
};

/// A write takes some tens of nanoseconds, an attempt about ten. A writer that has lost its processor in the middle of one is
/// not waited for.
const ATTEMPTS: u32 = 1000;

/// A view of the model that another process publishes. Any number of them, in any number of processes without privilege.
///
/// It waits for nobody, and makes no system call as long as the model is valid. Otherwise it looks whether there is another
/// file by now, and goes on with that.
///
/// ```no_run
/// use hwtstamp::{Monotonic, Phc, SystemClock as _, Time};
/// use instamp_clockmap::{Device, Directory, Reader};
///
/// # fn convert(stamp: Time<Phc>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut reader = Reader::open(&Directory::from_environment(), Device::Phc(0))?;
/// let conversion = reader.convert(stamp, Monotonic::now())?;
/// println!("{:?}, give or take {}", conversion.time, conversion.bound);
/// // ... after the publisher's next reading:
/// let is_confirmed = reader.confirms(&conversion)?;
/// # Ok(())
/// # }
/// ```
///
/// Only times of the device are converted:
///
/// ```compile_fail,E0308
/// # use hwtstamp::{Monotonic, Phc, Time};
/// fn convert(reader: &mut instamp_clockmap::Reader, stamp: Time<Phc>, now: Time<Monotonic>) {
///     let _ = reader.convert(now, stamp);
/// }
/// ```
pub struct Reader<C = Phc> {
    device: Device,
    path: PathBuf,
    view: View,
    clock: PhantomData<fn() -> C>,
}

/// A time of the device in the system's time, with what it takes to confirm it later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conversion {
    /// System time, in the initial time namespace.
    pub time: Time<Monotonic>,
    /// The true time is at most this far from it, to either side.
    pub bound: Span,
    /// The epoch of the model: only models of the same one confirm it.
    pub epoch: u64,
    device_ns: u64,
    now_ns: u64,
}

/// One file, which its name may not lead to any more.
struct View {
    memory: Shared,
    file: (u64, u64),
}

impl Reader {
    /// Opens the model of a clock.
    ///
    /// # Errors
    ///
    /// There is no file, it cannot be read, or it is none of a model of this clock.
    pub fn open(directory: &Directory, device: Device) -> Result<Self, Error> {
        let path = directory.file(device);
        let view = View::open(&path, device)?;
        Ok(Self { device, path, view, clock: PhantomData })
    }
}

impl<C: Timescale> Reader<C> {
    /// The same reader, for times that are marked by `D`: those of a device that was
    /// [marked](hwtstamp::PhcDevice::marked), or of the clock that stands in for one.
    #[must_use]
    pub fn marked<D: Timescale>(self) -> Reader<D> {
        let Self { device, path, view, clock: _ } = self;
        Reader { device, path, view, clock: PhantomData }
    }

    /// The clock.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The model as it is now, also a withdrawn or stale one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Foreign`] or [`Refusal::Unfinished`].
    pub fn model(&mut self) -> Result<Model, Refusal> {
        match self.read() {
            Ok(model) if model.state != State::WITHDRAWN => Ok(model),
            _ if self.follow() => self.read(),
            other => other,
        }
    }

    /// Converts a time of the device to the system's, as [`Model::convert`] does.
    ///
    /// `now` is the system's time in the initial time namespace. In another one, what `/proc/self/timens_offsets` adds to
    /// `CLOCK_MONOTONIC` must be taken off.
    ///
    /// # Errors
    ///
    /// Why the time cannot be converted. Times from before a clock's beginning are out of range.
    #[inline]
    pub fn convert(&mut self, device: Time<C>, now: Time<Monotonic>) -> Result<Conversion, Refusal> {
        let (device_ns, now_ns) = (unsigned(device)?, unsigned(now)?);
        // Without a copy of the model, which takes longer than the conversion.
        let attempt = |reader: &Self| reader.read().and_then(|model| convert(&model, device_ns, now_ns));
        match attempt(self) {
            Err(Refusal::Foreign | Refusal::Unfinished | Refusal::Withdrawn | Refusal::Stale) if self.follow() => {
                attempt(self)
            }
            result => result,
        }
    }

    /// Whether the model as it is now [confirms](Model::confirms) a conversion that was made right after the stamp was taken. If
    /// not, a later one may, as long as it is of the conversion's epoch.
    ///
    /// # Errors
    ///
    /// [`Refusal::Foreign`] or [`Refusal::Unfinished`].
    pub fn confirms(&mut self, conversion: &Conversion) -> Result<bool, Refusal> {
        let Conversion { epoch, device_ns, now_ns, .. } = *conversion;
        Ok(self.model()?.confirms(epoch, device_ns, now_ns))
    }

    fn read(&self) -> Result<Model, Refusal> {
        layout::read(&self.view.memory, ATTEMPTS)
    }

    /// Goes on with the file that the name leads to now, if that is another one and a model of this clock.
    #[cold]
    fn follow(&mut self) -> bool {
        let is_same = fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.view.file);
        if is_same {
            return false;
        }
        let Ok(view) = View::open(&self.path, self.device) else { return false };
        self.view = view;
        true
    }
}

impl View {
    fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let foreign = || Error::Foreign { device, path: path.to_owned() };
        // To open what is no file must not wait for anything.
        let file =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).context("open", path)?;
        let metadata = file.metadata().context("look at", path)?;
        if !holds_model(&metadata) {
            return Err(foreign());
        }
        let memory = Shared::map(file.as_fd()).context("map", path)?;
        if !layout::is_of(&memory, device) {
            return Err(foreign());
        }
        Ok(Self { memory, file: identity(&metadata) })
    }
}

fn unsigned<C>(time: Time<C>) -> Result<u64, Refusal> {
    u64::try_from(time.as_ns()).map_err(|_| Refusal::OutOfRange)
}

fn convert(model: &Model, device_ns: u64, now_ns: u64) -> Result<Conversion, Refusal> {
    let converted = model.convert(device_ns, now_ns)?;
    Ok(Conversion {
        // Models convert to times below 2^63.
        time: Time::from_ns(converted.time_ns.cast_signed()),
        bound: Span::from_ns(converted.bound_ns.cast_signed()),
        epoch: model.epoch,
        device_ns,
        now_ns,
    })
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether it is a file with room for a model. No writer makes a file shorter.
pub(crate) fn holds_model(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() == SIZE as u64
}
