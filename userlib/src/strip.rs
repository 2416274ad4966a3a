//! After receiving: from the payload of a reply to its stamps.

use instamp_trailer::{Record, Refusal, Trailer};
use thiserror::Error;

/// The parts of a reply's payload.
#[derive(Clone, Copy, Debug)]
pub struct Stripped<'a> {
    /// What the application sent before the trailer.
    pub application: &'a [u8],
    /// The stamps in the order in which they were written, which need not be the order of their times.
    pub records: &'a [Record],
    /// A hook found no free record: there are more hooks on the way than the probe had records.
    pub full: bool,
}

/// Why a payload has no stamps that could be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum StripError {
    /// The payload does not end in a trailer.
    #[error("the payload does not end in a trailer")]
    NoTrailer,
    /// The trailer is of another version.
    #[error("the trailer is of a version that this library does not know")]
    Version,
    /// The payload's length is odd.
    #[error("the payload ends in a trailer, but its length is odd")]
    OddLength,
    /// The footer counts more records than there are, or than fit.
    #[error("the trailer's record counts are impossible")]
    Counts,
    /// The trailer belongs to another probe.
    #[error("the trailer does not have the nonce of this probe")]
    ForeignNonce,
}

impl StripError {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoTrailer, Self::Version, Self::OddLength, Self::Counts, Self::ForeignNonce];

    /// The name for machines: lower case, words joined by hyphens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTrailer => "no-trailer",
            Self::Version => "version",
            Self::OddLength => "odd-length",
            Self::Counts => "counts",
            Self::ForeignNonce => "foreign-nonce",
        }
    }
}

/// Takes the payload of an echo reply apart, if it has the trailer that was sent with `nonce`.
///
/// The payload must be as long as it was when it was sent: a shorter one has lost its trailer.
///
/// # Errors
///
/// Why there are no stamps of this probe.
pub fn strip(payload: &[u8], nonce: u64) -> Result<Stripped<'_>, StripError> {
    let Trailer { application, records, footer } = Trailer::parse(payload).map_err(StripError::from)?;
    if footer.nonce() != nonce {
        return Err(StripError::ForeignNonce);
    }
    Ok(Stripped { application, records, full: footer.state().is_full() })
}

impl From<Refusal> for StripError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Version => Self::Version,
            Refusal::OddLength => Self::OddLength,
            Refusal::Counts => Self::Counts,
            Refusal::NoTrailer
            | Refusal::NotEcho
            | Refusal::Fragment
            | Refusal::Truncated
            | Refusal::Policy
            | Refusal::Full
            | Refusal::Unwritable
            | Refusal::Absent
            | Refusal::Mismatch => Self::NoTrailer,
        }
    }
}
