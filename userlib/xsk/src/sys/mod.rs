//! What the kernel offers without a safe interface: the only unsafe code of this crate.

pub(crate) mod ethtool;
pub(crate) mod memory;
pub(crate) mod ring;
pub(crate) mod socket;
