//! Models and steers the hardware clock of a network card (PHC) against the system's clock.
//!
//! Pure logic: no input or output, and no clock is read here. Readings come in, models and adjustments go out.
//!
//! | subject | items |
//! |---|---|
//! | what comes in | [`Cycle`], [`CrossTimestamp`], [`Bridge`] from `CLOCK_REALTIME` to `CLOCK_MONOTONIC` |
//! | the model and its bound | [`Tracker`], [`Config`], [`Update`], [`State`], [`Event`] |
//! | steering | [`Clock`], [`servo`] |
//!
//! `docs/clocks.md` derives the bound.

mod bridge;
mod choice;
mod config;
mod cycle;
mod line;
mod published;
mod regression;
mod resolution;
pub mod servo;
mod shortest;
mod tracker;
mod update;
mod window;

pub use bridge::{Bridge, Sandwich};
pub use config::{Config, PRECISE_ERROR};
pub use cycle::{Clock, CrossTimestamp, Cycle, READINGS};
pub use instamp_clockmap::Model;
pub use tracker::Tracker;
pub use update::{Event, Reason, Sample, State, Update};
