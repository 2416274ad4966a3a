//! What the kernel offers without a safe interface: the only unsafe code of this crate.
//!
//! These functions know the kernel's structures and nothing else; what the numbers mean is told by their callers.

pub(crate) mod clock;
pub(crate) mod interface;
pub(crate) mod ptp;
pub(crate) mod socket;
