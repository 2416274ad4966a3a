//! What a tracker says after each cycle.

use hwtstamp::{Monotonic, Reading, Span};
use instamp_clockmap::Model;

/// What is known after a cycle, or after one that is missing.
#[derive(Clone, Debug)]
pub struct Update {
    /// How far the tracker has come.
    pub state: State,
    /// What to publish. `None`: withdraw what is published.
    pub model: Option<Model>,
    /// The epoch of the model, or of the next one. It grows with every withdrawal.
    pub epoch: u64,
    /// The reading that was chosen. `None` where there was none to choose.
    pub sample: Option<Sample>,
    /// What happened, if anything did.
    pub event: Option<Event>,
}

/// How far a tracker has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// There are too few readings for a model (`s0`).
    Acquiring,
    /// Readings come, and none contradicts the model (`s2`).
    Locked,
    /// Readings are missing: the model goes on alone, and its bound grows.
    Holdover,
}

/// The reading that was chosen among those of a cycle.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The reading.
    pub reading: Reading<Monotonic>,
    /// Middle of the reading less what the model before it had said. `None` where there was no model.
    pub residual: Option<Span>,
    /// How much longer the reading took than the shortest one, halved, in nanoseconds: what its middle can be off on that
    /// account.
    pub excess_ns: f64,
}

impl Sample {
    /// How long the reading took.
    pub fn delay(&self) -> Span {
        self.reading.window()
    }
}

/// What happened in an update.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// There is a model now.
    Acquired,
    /// One of the clocks was stepped: the model before is withdrawn.
    Stepped {
        /// By how much the system's time of the device moved.
        by: Span,
    },
    /// The device lost its time or was given another one, a day or more away: the model before is withdrawn.
    Reset {
        /// By how much the system's time of the device moved.
        by: Span,
    },
    /// One of the clocks runs at another rate, and no setting told of it: the model before is withdrawn.
    RateChanged {
        /// By how much at least, in parts per billion.
        by_ppb: f64,
    },
    /// A known setting of the frequency changed: the model was carried over.
    FrequencySet {
        /// Change of the system's adjustment, in parts per billion.
        system_ppb: f64,
        /// Change of the device's adjustment, in parts per billion.
        device_ppb: f64,
    },
    /// The readings contradict one another, those of the cycle or, before there is a model, those of the last cycles: the
    /// device was set meanwhile, or runs too fast or too slowly for any model.
    Inconsistent,
    /// The model was withdrawn.
    Withdrawn(Reason),
}

/// Why a model was withdrawn without a reading against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Readings have been missing for longer than allowed.
    HoldoverLimit,
    /// The error became larger than allowed.
    ErrorLimit,
    /// The clocks' rates differ by more than a model can say (976 ppm), or the device's time does not fit one.
    Unmodellable,
}

impl Event {
    /// Whether the model that was published before does not hold any more.
    pub fn withdraws(&self) -> bool {
        match self {
            Self::Stepped { .. } | Self::Reset { .. } | Self::RateChanged { .. } | Self::Withdrawn(_) => true,
            Self::Acquired | Self::FrequencySet { .. } | Self::Inconsistent => false,
        }
    }
}
