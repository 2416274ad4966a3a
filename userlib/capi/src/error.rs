//! What can go wrong, by numbers that stay.

use std::{
    ffi::{CStr, c_char},
    fmt,
};

use instamp::{ReserveError, StripError, Uncorrected};
use instamp_clockmap::Refusal;

/// What functions return where all went well.
pub const INSTAMP_OK: i32 = 0;

/// What functions return where it did not. The numbers are stable; later versions may return further ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub enum Error {
    /// A pointer is null where something has to be.
    NullPointer = 1,
    /// The buffer is not as long as the payloads of the run, or longer than any memory.
    BufferLength = 2,
    /// A call of the operating system failed; `errno` tells how.
    System = 3,
    /// The library has a bug. The results are as they were.
    Internal = 4,

    /// The payload's length is odd: stamps lie on 16-bit words. Also of a reply that ends in a trailer.
    OddLength = 16,
    /// A trailer has 2 to 15 records.
    Cap = 17,
    /// The payload is too short for that trailer.
    Room = 18,
    /// 0x0000 and 0xffff cannot be the checksum of a run.
    Checksum = 19,

    /// The payload does not end in a trailer. One that is shorter than it was when it was sent has lost it.
    NoTrailer = 32,
    /// The trailer is of a version that this library does not know.
    Version = 33,
    /// The trailer's record counts are impossible.
    Counts = 34,
    /// The trailer belongs to another probe.
    ForeignNonce = 35,

    /// No hook has stamped the probe.
    NoStamps = 48,
    /// No local stamp on the way out that could be compared with the application's clock.
    NoRequestStamp = 49,
    /// No local stamp on the way back that could be compared with the application's clock.
    NoReplyStamp = 50,
    /// A local stamp lies outside of send and receive, or is in a clock that the application cannot read.
    ClockMismatch = 51,
    /// The number of the local node is in places or clocks of two hosts.
    NodeConflict = 52,
    /// A record that was passed has a number that no trailer can hold, or there are more than 15 of them.
    Record = 53,

    /// The name is that of no clock: those are `ptp0`, `ptp1` and so on, and `monotonic_raw`.
    ClockName = 64,
    /// What the file holds is no model, or one of another version or clock.
    ClockForeign = 65,
    /// The model is half written: its publisher has stopped in the middle of it.
    ClockUnfinished = 66,
    /// There is no valid model: not yet, or it was withdrawn.
    ClockWithdrawn = 67,
    /// The model's publisher has not renewed it in time.
    ClockStale = 68,
    /// The time lies outside of the range in which the model holds.
    ClockOutOfRange = 69,
    /// The time, even with its error, has not come yet.
    ClockFuture = 70,
    /// The model's numbers are not ones that are published.
    ClockMalformed = 71,
    /// No model of the conversion's epoch has confirmed it yet.
    ClockUnconfirmed = 72,

    /// The process has left its children another time namespace than its own, of which /proc does not tell the offset.
    TimeNamespaceUnshared = 80,
    /// `/proc/self/timens_offsets` does not tell the offset of the monotonic clock.
    TimeNamespaceFormat = 81,
}

impl Error {
    /// All of them.
    const ALL: [Self; 29] = [
        Self::NullPointer,
        Self::BufferLength,
        Self::System,
        Self::Internal,
        Self::OddLength,
        Self::Cap,
        Self::Room,
        Self::Checksum,
        Self::NoTrailer,
        Self::Version,
        Self::Counts,
        Self::ForeignNonce,
        Self::NoStamps,
        Self::NoRequestStamp,
        Self::NoReplyStamp,
        Self::ClockMismatch,
        Self::NodeConflict,
        Self::Record,
        Self::ClockName,
        Self::ClockForeign,
        Self::ClockUnfinished,
        Self::ClockWithdrawn,
        Self::ClockStale,
        Self::ClockOutOfRange,
        Self::ClockFuture,
        Self::ClockMalformed,
        Self::ClockUnconfirmed,
        Self::TimeNamespaceUnshared,
        Self::TimeNamespaceFormat,
    ];

    /// The number that C sees.
    pub const fn code(self) -> i32 {
        self as i32
    }

    fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.code() == code)
    }

    const fn name(self) -> &'static CStr {
        match self {
            Self::NullPointer => c"null-pointer",
            Self::BufferLength => c"buffer-length",
            Self::System => c"system",
            Self::Internal => c"internal",
            Self::OddLength => c"odd-length",
            Self::Cap => c"cap",
            Self::Room => c"room",
            Self::Checksum => c"checksum",
            Self::NoTrailer => c"no-trailer",
            Self::Version => c"version",
            Self::Counts => c"counts",
            Self::ForeignNonce => c"foreign-nonce",
            Self::NoStamps => c"no-stamps",
            Self::NoRequestStamp => c"no-request-stamp",
            Self::NoReplyStamp => c"no-reply-stamp",
            Self::ClockMismatch => c"clock-mismatch",
            Self::NodeConflict => c"node-conflict",
            Self::Record => c"record",
            Self::ClockName => c"clock-name",
            Self::ClockForeign => c"clock-foreign",
            Self::ClockUnfinished => c"clock-unfinished",
            Self::ClockWithdrawn => c"clock-withdrawn",
            Self::ClockStale => c"clock-stale",
            Self::ClockOutOfRange => c"clock-out-of-range",
            Self::ClockFuture => c"clock-future",
            Self::ClockMalformed => c"clock-malformed",
            Self::ClockUnconfirmed => c"clock-unconfirmed",
            Self::TimeNamespaceUnshared => c"time-namespace-unshared",
            Self::TimeNamespaceFormat => c"time-namespace-format",
        }
    }

    /// Where the crates below say it without numbers, in their words: a test compares.
    const fn text(self) -> &'static CStr {
        match self {
            Self::NullPointer => c"a pointer is null where something has to be",
            Self::BufferLength => c"the buffer is not as long as the payloads of the run",
            Self::System => c"a call of the operating system failed, and errno tells how",
            Self::Internal => c"the library has a bug: please report it, with what it wrote to standard error",
            Self::OddLength => c"the payload's length is odd, and stamps need an even one: use a byte more or less",
            Self::Cap => c"a trailer has 2 to 15 records",
            Self::Room => c"the payload is too short for that trailer: use a larger payload or fewer records",
            Self::Checksum => {
                c"0x0000 and 0xffff cannot be the checksum of a run: choose one from 0x0001 to 0xfffe"
            }
            Self::NoTrailer => c"the payload does not end in a trailer",
            Self::Version => c"the trailer is of a version that this library does not know",
            Self::Counts => c"the trailer's record counts are impossible",
            Self::ForeignNonce => c"the trailer does not have the nonce of this probe",
            Self::NoStamps => c"no stamps; is `instamp attach` active on the egress device?",
            Self::NoRequestStamp => c"no stamp on the request; is the egress of this host stamped?",
            Self::NoReplyStamp => c"no stamp on the reply; is the ingress of this host stamped?",
            Self::ClockMismatch => {
                c"a stamp lies outside of send and receive; is `instamp attach` active on this host, or only on the far end?"
            }
            Self::NodeConflict => {
                c"one node number is in places or clocks of two hosts; either two hosts share it \
                (`instamp attach --node` sets another), or this host also stamps for the echoing end, \
                as `instamp attach --respond` has it do for its containers"
            }
            Self::Record => c"a record, or the number of them, is none that a trailer can hold",
            Self::ClockName => {
                c"the name is no clock that models are published of: those are `ptp0`, `ptp1` ..., and `monotonic_raw`"
            }
            Self::ClockForeign => c"the memory holds no model of this version and device",
            Self::ClockUnfinished => c"the model is half written",
            Self::ClockWithdrawn => c"there is no valid model: none has been published yet, or it was withdrawn",
            Self::ClockStale => c"the model is stale: its publisher has not renewed it in time",
            Self::ClockOutOfRange => c"the time lies outside of the range in which the model holds",
            Self::ClockFuture => c"the time lies in the future",
            Self::ClockMalformed => c"the model's numbers are not ones that are published",
            Self::ClockUnconfirmed => c"no model of the same epoch has confirmed the conversion yet",
            Self::TimeNamespaceUnshared => {
                c"the offset of this process's time namespace is not told by /proc, only that of its children's: \
                run the prober in a child process"
            }
            Self::TimeNamespaceFormat => {
                c"/proc/self/timens_offsets does not tell the offset of the monotonic clock"
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().to_string_lossy())
    }
}

impl From<ReserveError> for Error {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::OddLength(_) => Self::OddLength,
            ReserveError::Cap(_) => Self::Cap,
            ReserveError::Room { .. } => Self::Room,
            ReserveError::Length { .. } => Self::BufferLength,
            ReserveError::Checksum(_) => Self::Checksum,
        }
    }
}

impl From<StripError> for Error {
    fn from(error: StripError) -> Self {
        match error {
            StripError::NoTrailer => Self::NoTrailer,
            StripError::Version => Self::Version,
            StripError::OddLength => Self::OddLength,
            StripError::Counts => Self::Counts,
            StripError::ForeignNonce => Self::ForeignNonce,
        }
    }
}

impl From<Uncorrected> for Error {
    fn from(reason: Uncorrected) -> Self {
        match reason {
            Uncorrected::NoStamps => Self::NoStamps,
            Uncorrected::NoRequestStamp => Self::NoRequestStamp,
            Uncorrected::NoReplyStamp => Self::NoReplyStamp,
            Uncorrected::ClockMismatch => Self::ClockMismatch,
            Uncorrected::NodeConflict => Self::NodeConflict,
            // Of replies, and not of stamps: who strips is told these.
            Uncorrected::Truncated => Self::NoTrailer,
            Uncorrected::ForeignNonce => Self::ForeignNonce,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Foreign => Self::ClockForeign,
            Refusal::Unfinished => Self::ClockUnfinished,
            Refusal::Withdrawn => Self::ClockWithdrawn,
            Refusal::Stale => Self::ClockStale,
            Refusal::OutOfRange => Self::ClockOutOfRange,
            Refusal::Future => Self::ClockFuture,
            Refusal::Malformed => Self::ClockMalformed,
        }
    }
}

/// What an error code means, in English, without a full stop. Valid for ever, and never null: what is no code has a text, too.
#[unsafe(no_mangle)]
pub extern "C" fn instamp_error_text(error: i32) -> *const c_char {
    let text = match Error::of_code(error) {
        Some(error) => error.text(),
        None if error == INSTAMP_OK => c"no error",
        None => c"an error that this version of the library does not know",
    };
    text.as_ptr()
}

/// An error code's name for machines: that of the constant behind `INSTAMP_ERROR_`, in lower case, words joined by hyphens:
/// `no-stamps`. Why a reply is not corrected, `instamp ping --json` tells by the same names. Valid for ever, and never null: `ok`
/// for `INSTAMP_OK`, `unknown` for what is no code.
#[unsafe(no_mangle)]
pub extern "C" fn instamp_error_name(error: i32) -> *const c_char {
    let name = match Error::of_code(error) {
        Some(error) => error.name(),
        None if error == INSTAMP_OK => c"ok",
        None => c"unknown",
    };
    name.as_ptr()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn text(error: i32) -> String {
        // SAFETY: it is static text.
        unsafe { CStr::from_ptr(instamp_error_text(error)) }.to_str().expect("UTF-8").to_owned()
    }

    fn name(error: i32) -> String {
        // SAFETY: it is static text.
        unsafe { CStr::from_ptr(instamp_error_name(error)) }.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn every_code_of_the_header_has_a_text_and_its_name() {
        let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/instamp.h");
        let header = fs::read_to_string(header).expect("the header");
        let constants = header.lines().filter_map(|line| line.trim().strip_prefix("INSTAMP_ERROR_"));
        let constants: Vec<_> = constants.filter_map(|line| line.trim_end_matches(',').split_once(" = ")).collect();
        assert_eq!(constants.len(), Error::ALL.len());
        for (constant, code) in &constants {
            let code = code.parse().expect("a number");
            assert_eq!(name(code), constant.to_lowercase().replace('_', "-"));
            assert!(!text(code).is_empty() && text(code) != text(-1), "{constant}");
        }
        let different: BTreeSet<_> = Error::ALL.map(|error| text(error.code())).into();
        assert_eq!(different.len(), Error::ALL.len());
    }

    #[test]
    fn what_is_no_code_is_told_so() {
        assert_eq!([text(INSTAMP_OK), name(INSTAMP_OK)], ["no error", "ok"]);
        for code in [-1, 5, 1000, i32::MIN, i32::MAX] {
            assert_eq!(name(code), "unknown");
            assert!(text(code).contains("does not know"));
        }
    }

    #[test]
    fn texts_and_names_are_those_of_the_crates_below() {
        for reason in Uncorrected::ALL {
            if !matches!(reason, Uncorrected::Truncated | Uncorrected::ForeignNonce) {
                let code = Error::from(reason).code();
                assert_eq!([name(code), text(code)], [reason.name().to_owned(), reason.to_string()]);
            }
        }
        for error in [StripError::NoTrailer, StripError::Version, StripError::Counts, StripError::ForeignNonce] {
            assert_eq!(text(Error::from(error).code()), error.to_string());
        }
        for refusal in [
            Refusal::Foreign,
            Refusal::Unfinished,
            Refusal::Withdrawn,
            Refusal::Stale,
            Refusal::OutOfRange,
            Refusal::Future,
            Refusal::Malformed,
        ] {
            let code = Error::from(refusal).code();
            assert_eq!([name(code), text(code)], [format!("clock-{}", refusal.name()), refusal.to_string()]);
        }
    }
}
