//! The published model of a network card's clock (PHC): how its time becomes `CLOCK_MONOTONIC`, and how wrong that can be.
//!
//! One process measures and publishes; any number of processes, and programs in the kernel, convert. `docs/clocks.md`
//! specifies the bytes, so that any language can read them.
//!
//! | item | subject |
//! |---|---|
//! | [`Model`] | the model and the conversion with it, in 64-bit integer arithmetic |
//! | [`layout`] | the model as words in memory, and the odd/even sequence that keeps readers from half of one |
//! | `Writer`, `Reader` | both ends of the shared file, with times that carry their clock in the type (feature `std`) |
//! | `ClockMap` | the same memory as a BPF map (feature `bpf`) |
//!
//! Without features the crate is `no_std` and free of `unsafe`, and is compiled into programs that the kernel verifies: it
//! converts there with the code that converts here. Whatever is in the memory, it panics on no input.
#![cfg_attr(not(feature = "std"), no_std)]

mod device;
pub mod layout;
#[cfg(feature = "bpf")]
mod map;
mod model;
mod refusal;

#[cfg(feature = "std")]
mod directory;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
mod files;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "std")]
mod reader;
#[cfg(feature = "std")]
mod writer;

pub use device::Device;
#[cfg(feature = "std")]
pub use directory::Directory;
#[cfg(feature = "std")]
pub use error::Error;
#[cfg(feature = "bpf")]
pub use map::ClockMap;
pub use model::{Converted, MAX_ERROR_NS, MAX_GROWTH, MAX_RANGE_NS, MAX_RATE, Model, ONE, State};
#[cfg(feature = "std")]
pub use reader::{Conversion, Reader};
pub use refusal::Refusal;
#[cfg(feature = "std")]
pub use writer::Writer;
