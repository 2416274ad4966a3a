//! The crate `instamp` for programs in C: `libinstamp`, of which `include/instamp.h` is the interface.
//!
//! The header says what the functions do; the manual's `instamp(3)` how they are used. Here is how they keep what they promise:
//!
//! - Structures are the caller's, of fixed layout. What a caller may have left in one is checked, as what comes from the network is.
//! - `instamp_strip`, `instamp_correct`, `instamp_reserve` and the functions of a run allocate nothing, and there is no state but what
//!   is passed: a test counts allocations, and another runs them on many threads.
//! - They panic on no input, as the crates below them do. A panic that is there nevertheless ends at the boundary
//!   (`src/boundary.rs`) and becomes `INSTAMP_ERROR_INTERNAL`, in a library that is built as this workspace is: `panic = "abort"`
//!   would end the process.
//!
//! It is a crate of its own because these functions are `unsafe`: a caller in C can pass anything.
#![expect(unsafe_code, reason = "functions that C calls, with the pointers that C passes")]
#![expect(
    clippy::missing_safety_doc,
    reason = "what callers have to keep is said once for all functions, in the header"
)]

mod boundary;

// In the order in which the header has them.
mod version;

mod error;

mod reserve;

mod strip;

mod correct;

mod clock_model;

mod time_namespace;

#[cfg(test)]
mod tests;

pub use clock_model::*;
pub use correct::*;
pub use error::*;
pub use reserve::*;
pub use strip::*;
pub use time_namespace::*;
pub use version::*;
