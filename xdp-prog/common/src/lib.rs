//! What the instamp programs share: the host that they run on, and checked access to packets.
#![no_std]
#![feature(asm_experimental_arch)]

mod copy;
mod host;
pub mod linear;

pub use copy::{Copied, Stored};
pub use host::{Kernel, count};
