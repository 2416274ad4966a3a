//! End-to-end tests.

pub mod lab;
pub mod packets;
pub mod privilege;
pub mod programs;
