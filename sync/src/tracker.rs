//! From cycles of readings to models.

use hwtstamp::{Monotonic, Time};

use crate::{Config, Cycle, State, Update};

/// Follows a device: makes a model of its time from cycles of readings, and withdraws it when the readings contradict it.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Takes the readings of a cycle.
    pub fn update(&mut self, _cycle: &Cycle) -> Update {
        Update { state: State::Acquiring, model: None, epoch: self.config.first_epoch, sample: None, event: None }
    }

    /// Says that there were no readings this time. `now` is the system's time.
    pub fn missed(&mut self, _now: Time<Monotonic>) -> Update {
        self.update(&Cycle::default())
    }
}
