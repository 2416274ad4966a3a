//! Which clock a model is of.

use core::fmt;

/// A clock that models are published of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Device {
    /// The clock of a network card, `/dev/ptpN`, by its number.
    Phc(u32),
    /// `CLOCK_MONOTONIC_RAW`, which stands in for a card on machines that have none.
    MonotonicRaw,
}

impl Device {
    /// The number that the clock has in [`layout`](crate::layout).
    pub const fn number(self) -> u64 {
        match self {
            Self::Phc(index) => index as u64,
            Self::MonotonicRaw => u64::MAX,
        }
    }
}

/// The name of its file and of its BPF map: `ptp0`, `monotonic_raw`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phc(index) => write!(f, "ptp{index}"),
            Self::MonotonicRaw => f.pad("monotonic_raw"),
        }
    }
}

/// The device whose file has the name, if one has.
#[cfg(feature = "std")]
impl std::str::FromStr for Device {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let device = match name.strip_prefix("ptp") {
            Some(index) => index.parse().ok().map(Self::Phc),
            None => Some(Self::MonotonicRaw),
        };
        // Names have one form: no sign, no leading zeros.
        device.filter(|device| device.to_string() == name).ok_or_else(|| crate::Error::NotADevice { name: name.into() })
    }
}
