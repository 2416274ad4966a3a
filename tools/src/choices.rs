//! Choices that several commands offer.

use clap::ValueEnum;
use instamp_hooks::{Clock, XdpMode};

/// The clock of stamps on behalf of others.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum ClockChoice {
    #[default]
    Tai,
    Monotonic,
}

impl From<ClockChoice> for Clock {
    fn from(choice: ClockChoice) -> Self {
        match choice {
            ClockChoice::Tai => Self::TAI,
            ClockChoice::Monotonic => Self::MONOTONIC,
        }
    }
}

/// The clock that both ends have.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ComparedClock {
    Tai,
}

/// Who runs an XDP program.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum XdpModeChoice {
    #[default]
    Native,
    Generic,
}

impl From<XdpModeChoice> for XdpMode {
    fn from(choice: XdpModeChoice) -> Self {
        match choice {
            XdpModeChoice::Native => Self::Native,
            XdpModeChoice::Generic => Self::Generic,
        }
    }
}
