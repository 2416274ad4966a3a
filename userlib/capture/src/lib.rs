//! The probes in capture files: pcap and pcapng, of Ethernet devices, of Linux' "cooked" captures and of devices without
//! link-layer header.
//!
//! ```
//! use instamp_capture::{Decoded, Error, decode, read};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file: &[u8] = include_bytes!("../../../fuzz/seeds/decode/probes.pcap");
//! let mut nonces = Vec::new();
//! read(file, |frame| {
//!     if let Decoded::Probe(probe) = decode(frame) {
//!         nonces.push(probe.trailer.footer.nonce());
//!     }
//!     Ok::<_, Error>(())
//! })?;
//! assert!(!nonces.is_empty());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod error;
mod link;
mod packet;
mod read;

pub use error::{Damage, Error};
pub use link::Link;
pub use packet::{Addresses, Decoded, Probe, Refused, decode};
pub use read::{Frame, read};
