//! For probers: reserve a trailer, strip it from the reply, correct the RTT by the stamps inside it.
#![forbid(unsafe_code)]

mod correct;
pub mod in_flight;
#[cfg(feature = "prober")]
pub mod prober;
mod reserve;
mod strip;
pub mod time_namespace;

pub use correct::{Correction, NetSource, Uncorrected, correct};
pub use instamp_trailer as trailer;
pub use instamp_trailer::{Bound, Clock, Hook, Phase, Record};
pub use reserve::{DEFAULT_PAYLOAD_LENGTH, MIN_PAYLOAD_LENGTH, ReserveError, Run};
pub use strip::{StripError, Stripped, strip};
