//! End-to-end tests.

pub mod packets;
pub mod privilege;
pub mod programs;
