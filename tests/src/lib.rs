//! End-to-end tests.

pub mod agreement;
pub mod bpffs;
pub mod built;
pub mod capture;
pub mod conversion;
pub mod lab;
pub mod packets;
pub mod ping;
pub mod privilege;
pub mod prober;
pub mod programs;
pub mod responder;
pub mod vm;
pub mod watching;
pub mod wire;
