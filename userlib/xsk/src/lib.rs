//! `AF_XDP` sockets: frames to and from one queue of a network device, past the network stack.
//!
//! A [`Channel`] is one socket with memory of its own, on one queue. Frames are written into that memory and read where the
//! kernel, or the card itself, put them. Which received frames come here is decided by an XDP program on the device, which redirects
//! them to the socket by a map of the kind `XSKMAP`: loading one, and putting the socket ([`AsFd`](std::os::fd::AsFd)) into
//! its map, is the caller's.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use instamp_xsk::{Channel, Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (ifindex, queue) = (2, 0);
//! let mut channel = Channel::open(ifindex, queue, &Config::default())?;
//!
//! let broadcast = [0xff; 60];
//! assert!(channel.write(broadcast.len(), |frame| frame.copy_from_slice(&broadcast)));
//! channel.submit()?;
//!
//! while channel.wait(Duration::from_secs(1))? {
//!     channel.receive(64, |received| println!("{} bytes", received.frame.len()));
//! }
//! # Ok(())
//! # }
//! ```
#![cfg(target_os = "linux")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("instamp-xsk is for 64-bit Linux: offsets of the kernel's rings do not fit into those of others");

mod channel;
mod config;
mod error;
mod layout;
mod open;
mod queues;
mod ring;
mod statistics;
mod sys;
mod wait;

pub use channel::{Channel, Received};
pub use config::{BusyPoll, Config, FrameSize, Mode};
pub use error::Error;
pub use queues::queues;
pub use statistics::Statistics;
pub use wait::{raise_timer_precision, wait_any};

/// A channel belongs to one thread at a time.
///
/// ```
/// fn sent<T: Send>() {}
/// sent::<instamp_xsk::Channel>();
/// ```
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<instamp_xsk::Channel>();
/// ```
#[cfg(doctest)]
struct Threads;
