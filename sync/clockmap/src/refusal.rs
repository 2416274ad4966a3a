//! Why a time is not converted.

use core::fmt;

/// Why a time is not converted. The numbers are stable: programs in the kernel count them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Refusal {
    /// What the memory holds is no model, or one of another version or device.
    Foreign = 1,
    /// A writer stopped in the middle of the model, or wrote during every attempt to read it.
    Unfinished = 2,
    /// There is none: not yet, or it was withdrawn because one of the clocks was stepped, or the writer has ended.
    Withdrawn = 3,
    /// Nobody has renewed the model for too long.
    Stale = 4,
    /// The time is one of before the model began to hold, or of after its end.
    OutOfRange = 5,
    /// The time, even with its error, has not come yet.
    Future = 6,
    /// The numbers of the model are not ones that a writer publishes.
    Malformed = 7,
}

impl Refusal {
    /// One word for it, for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Unfinished => "unfinished",
            Self::Withdrawn => "withdrawn",
            Self::Stale => "stale",
            Self::OutOfRange => "out-of-range",
            Self::Future => "future",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the memory holds no model of this version and device",
            Self::Unfinished => "the model is half written",
            Self::Withdrawn => "there is no valid model: none has been published yet, or it was withdrawn",
            Self::Stale => "the model is stale: its publisher has not renewed it in time",
            Self::OutOfRange => "the time lies outside of the range in which the model holds",
            Self::Future => "the time lies in the future",
            Self::Malformed => "the model's numbers are not ones that are published",
        })
    }
}

impl core::error::Error for Refusal {}
