//! Hardware timestamps of network cards on Linux.
//!
//! | subject | items |
//! |---|---|
//! | times that carry their clock in the type | [`Time`], [`Span`], [`Reading`], [`Timescale`] |
//! | the system's clocks | [`SystemClock`], [`system`], [`StepWatch`] |
//! | the card's clock, a PHC | [`PhcDevice`], [`Method`], [`Frequency`] |
//! | what a card can stamp, and what it is set to | [`Interface`], [`Setting`], [`ConfigGuard`] |
//! | stamps of a socket's packets | [`socket`] |
//!
//! Every [`Error`] names the operation and the device, and says what to do where that is known.
#![cfg(target_os = "linux")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("hwtstamp is for 64-bit Linux: the structures of others have seconds that end in the year 2038");

mod clock;
mod cross;
mod error;
mod frequency;
mod interface;
mod inventory;
mod numbered;
mod phc;
mod reading;
mod setting;
pub mod socket;
mod sys;
pub mod system;
mod time;
mod watch;

pub use clock::{Monotonic, MonotonicRaw, Phc, Realtime, SystemClock, Tai, Timescale};
pub use cross::{CrossClock, Method, PreciseReading};
pub use error::{Cause, Error, Operation};
pub use frequency::Frequency;
pub use interface::{Discovery, Interface, Timestamping};
pub use inventory::{Holder, Holders, holders, phc_name, phcs};
pub use numbered::{Numbered, Set};
pub use phc::{Access, PhcCapabilities, PhcDevice};
pub use reading::Reading;
pub use setting::{Change, ConfigGuard, RxFilter, Setting, TxMode};
pub use socket::flags::StampFlag;
pub use time::{Span, Time};
pub use watch::StepWatch;

/// Its examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
