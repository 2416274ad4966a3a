//! The clocks, as types without values: they only mark [times](Time).

use nix::time::ClockId;

use crate::{Time, sys};

/// A clock whose times are told apart from those of others by the compiler.
///
/// Implement it for a type of your own to tell several PHCs apart: see [`PhcDevice::marked`](crate::PhcDevice::marked).
pub trait Timescale {
    /// What people call it.
    const NAME: &'static str;
}

/// A clock of the kernel, which any process can read.
///
/// It cannot be implemented outside of this crate.
pub trait SystemClock: Timescale + Sized + sealed::Sealed {
    /// The kernel's number of the clock, such as `CLOCK_MONOTONIC`.
    const ID: i32;

    /// What the clock shows now: for the monotonic clocks in the time namespace of the process.
    #[must_use]
    fn now() -> Time<Self> {
        sys::clock::now(ClockId::from_raw(Self::ID))
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! system_clocks {
    ($($(#[$attribute:meta])* $marker:ident = $id:ident;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug)]
        pub enum $marker {}

        impl Timescale for $marker {
            const NAME: &'static str = stringify!($id);
        }
        impl sealed::Sealed for $marker {}
        impl SystemClock for $marker {
            const ID: i32 = libc::$id;
        }
    )*};
}

system_clocks! {
    /// `CLOCK_MONOTONIC`: never stepped; NTP daemons change its rate.
    ///
    /// In a time namespace (`unshare -T`) a process reads it shifted, but what the kernel reads next to a PHC is not: the
    /// two are the same only in the initial time namespace. So is it with [`MonotonicRaw`].
    Monotonic = CLOCK_MONOTONIC;
    /// `CLOCK_MONOTONIC_RAW`: the processor's oscillator, which nobody steers.
    MonotonicRaw = CLOCK_MONOTONIC_RAW;
    /// `CLOCK_REALTIME`: UTC, stepped by whoever sets it and by leap seconds.
    Realtime = CLOCK_REALTIME;
    /// `CLOCK_TAI`: [`Realtime`] plus an offset, which is 0 until some daemon has set it.
    Tai = CLOCK_TAI;
}

/// The hardware clock of a network card: a PTP hardware clock, PHC.
///
/// All PHCs share this marker, because which of them a program opens is known only when it runs. A program that holds
/// times of two of them can [mark](crate::PhcDevice::marked) each with a type of its own.
#[derive(Debug)]
pub enum Phc {}

impl Timescale for Phc {
    const NAME: &'static str = "PHC";
}
