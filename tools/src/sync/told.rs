//! What is told of the clocks, before it is text or JSON.

use std::path::PathBuf;

use super::statistics::Statistics;

/// How a clock is read and where its model goes: told once.
pub(super) struct Clock {
    /// `/dev/ptp0`.
    pub(super) name: String,
    /// The interfaces that it was named by.
    pub(super) devices: Vec<String>,
    /// How it is read.
    pub(super) method: &'static str,
    /// The file of the published model.
    pub(super) file: PathBuf,
    /// The BPF map; or why there is none.
    pub(super) map: Result<PathBuf, String>,
}

/// One update of one clock.
pub(super) struct Update<'a> {
    /// The clock's name.
    pub(super) clock: &'a str,
    /// When the reading was made that is used, in `CLOCK_MONOTONIC`.
    pub(super) time_ns: i64,
    /// `acquiring`, `locked`, `holdover`.
    pub(super) state: &'static str,
    /// Of the model.
    pub(super) epoch: u64,
    /// What the model made of the reading, where that is out of the ordinary.
    pub(super) event: Option<&'static str>,
    /// The reading less what the model before it expected; `None` where there was none.
    pub(super) offset_ns: Option<i64>,
    /// The length of that reading.
    pub(super) delay_ns: i64,
    /// How much faster the card's clock runs than the system's; `None` before that is known.
    pub(super) rate_ppb: Option<f64>,
    /// How wrong a conversion can be now; `None` where no model is valid.
    pub(super) bound_ns: Option<u64>,
    /// What to add to the bound for one without any assumption on asymmetry.
    pub(super) unassumed_ns: Option<u64>,
    /// What was done to a clock.
    pub(super) steered: Option<Steered<'a>>,
}

/// What the servo did.
#[derive(Clone, Copy)]
pub(super) struct Steered<'a> {
    /// The clock that follows.
    pub(super) sink: &'a str,
    /// phc2sys's word for the clock that it follows.
    pub(super) source: &'static str,
    /// The sink's time less the source's and what it shall be ahead.
    pub(super) offset_ns: i64,
    pub(super) servo: Servo,
    /// How much faster than the source the sink would run by itself, as the servo believes.
    pub(super) frequency_ppb: f64,
}

/// The servo's state, with phc2sys's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Servo {
    Measuring = 0,
    Stepped = 1,
    Locked = 2,
}

/// Statistics of some updates.
#[derive(Clone, Copy, Default)]
pub(super) struct Spread {
    pub(super) offset: Statistics,
    pub(super) rate: Statistics,
    pub(super) delay: Statistics,
    pub(super) bound: Statistics,
    /// Of what is steered, where something is.
    pub(super) steered_offset: Statistics,
    pub(super) steered_frequency: Statistics,
}

/// A clock's run.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) updates: u64,
    /// Times that the clock could not be read.
    pub(super) missed: u64,
    /// Models that were taken back because a reading contradicted them.
    pub(super) withdrawn: u64,
    /// Times that a model had become valid.
    pub(super) acquired: u64,
    pub(super) spread: Spread,
}

impl Spread {
    pub(super) fn count(&mut self, update: &Update<'_>) {
        #[expect(clippy::cast_precision_loss, reason = "statistics of what is far below 2^53")]
        let float = |ns: i64| ns as f64;
        if let Some(offset) = update.offset_ns {
            self.offset.add(float(offset));
        }
        if let Some(rate) = update.rate_ppb {
            self.rate.add(rate);
        }
        if let Some(steered) = update.steered {
            self.steered_offset.add(float(steered.offset_ns));
            self.steered_frequency.add(steered.frequency_ppb);
        }
        self.delay.add(float(update.delay_ns));
        if let Some(bound) = update.bound_ns {
            self.bound.add(float(bound.cast_signed()));
        }
    }
}
