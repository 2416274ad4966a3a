//! Why there is no answer, as a number: an array cannot hold anything else.

use std::fmt;

use instamp::{StripError, Uncorrected};

/// Why a reply is not corrected, or that it is.
#[derive(Clone, Copy)]
pub(crate) enum Reason {
    None,
    Strip(StripError),
    Correct(Uncorrected),
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let strip = StripError::ALL.map(Self::Strip);
        let correct = Uncorrected::ALL.map(Self::Correct).into_iter().filter(|reason| reason.number() > 5);
        [Self::None].into_iter().chain(strip).chain(correct)
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Strip(reason) => 1 + reason as u8,
            // The same, whoever has compared the nonces.
            Self::Correct(Uncorrected::ForeignNonce) => Self::Strip(StripError::ForeignNonce).number(),
            Self::Correct(reason) => 6 + reason as u8,
        }
    }

    /// The name for machines: lower case, words joined by hyphens.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Strip(reason) => reason.name(),
            Self::Correct(reason) => reason.name(),
        }
    }
}

impl From<StripError> for Reason {
    fn from(reason: StripError) -> Self {
        Self::Strip(reason)
    }
}

impl From<Uncorrected> for Reason {
    fn from(reason: Uncorrected) -> Self {
        Self::Correct(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("corrected"),
            Self::Strip(reason) => reason.fmt(f),
            Self::Correct(reason) => reason.fmt(f),
        }
    }
}
