//! What a model is made from, and what a servo acts on.

use hwtstamp::{Monotonic, Reading, Span};

/// How many readings a cycle should have: twice as many gain little, and half as many cost a tenth of the bound.
pub const READINGS: u32 = 20;

/// Readings of the device that were taken in one go, and the settings of both clocks at that time.
#[derive(Clone, Debug, Default)]
pub struct Cycle {
    /// In the order in which they were taken.
    pub readings: Vec<Reading<Monotonic>>,
    /// The adjustment of the system's frequency that is in force, in parts per billion, positive where it runs faster.
    /// `None` where it is not known: then a change of it counts as a disruption.
    pub system_frequency: Option<f64>,
    /// The same for the device.
    pub device_frequency: Option<f64>,
}

/// Something that reads the device against `CLOCK_MONOTONIC`.
pub trait CrossTimestamp {
    /// Why it could not.
    type Error;

    /// Takes the readings of one cycle.
    ///
    /// # Errors
    ///
    /// The device or the system's clock could not be read.
    fn cross_timestamp(&mut self) -> Result<Cycle, Self::Error>;
}

/// A clock that can be steered.
pub trait Clock {
    /// Why it could not.
    type Error;

    /// The adjustment of its frequency that is in force, in parts per billion.
    ///
    /// # Errors
    ///
    /// The setting could not be read.
    fn frequency(&self) -> Result<f64, Self::Error>;

    /// Adjusts its frequency, in parts per billion, positive for faster.
    ///
    /// # Errors
    ///
    /// The clock refused.
    fn set_frequency(&mut self, ppb: f64) -> Result<(), Self::Error>;

    /// Adds to its time at once.
    ///
    /// # Errors
    ///
    /// The clock refused.
    fn step(&mut self, by: Span) -> Result<(), Self::Error>;

    /// The largest adjustment of its frequency, in parts per billion.
    fn max_frequency(&self) -> f64;
}
