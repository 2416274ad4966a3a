//! What a tracker finds out, in words.

use std::fmt;

use instamp_sync::{Event, Reason, State};

/// The output's word for a state.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::Acquiring => "acquiring",
        State::Locked => "locked",
        State::Holdover => "holdover",
    }
}

/// The output's word for an event.
pub(super) const fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Acquired => "acquired",
        Event::Stepped { .. } => "stepped",
        Event::Reset { .. } => "reset",
        Event::RateChanged { .. } => "rate-changed",
        Event::FrequencySet { .. } => "frequency-set",
        Event::Inconsistent => "inconsistent",
        Event::Withdrawn(Reason::HoldoverLimit) => "holdover-limit",
        Event::Withdrawn(Reason::ErrorLimit) => "error-limit",
        Event::Withdrawn(Reason::Unmodellable) => "unmodellable",
    }
}

/// An event for people.
pub(super) struct Told<'a>(pub(super) &'a Event);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Acquired => f.write_str("the model is valid"),
            Event::Stepped { by } => {
                write!(f, "one of the clocks was stepped: the system's less the card's time changed by {by}")
            }
            Event::Reset { by } => {
                write!(f, "the card's clock was reset or set: the system's less the card's time changed by {by}")
            }
            Event::RateChanged { by_ppb } => {
                write!(f, "one of the clocks runs at another rate, {by_ppb:+.0} ppb at least")
            }
            Event::FrequencySet { system_ppb, device_ppb } => {
                write!(
                    f,
                    "frequencies were set: the system's by {system_ppb:+.3} ppb, the card's by {device_ppb:+.3} ppb"
                )
            }
            Event::Inconsistent => f.write_str("the readings contradict one another"),
            Event::Withdrawn(Reason::HoldoverLimit) => f.write_str("no readings for too long"),
            Event::Withdrawn(Reason::ErrorLimit) => f.write_str("it became too inexact"),
            Event::Withdrawn(Reason::Unmodellable) => {
                f.write_str("the clocks' rates differ by more than 976 ppm, or the card's time is out of range")
            }
        }
    }
}
