//! Timestamps inside ICMP echo payloads: the wire format and the routine that writes it.
//!
//! A *probe* is an ICMP or ICMPv6 echo request, or the reply to one, whose payload ends in a *trailer*: a few free
//! records and a [`Footer`]. Hooks on the hosts that the probe passes fill in the records, each with the time at which
//! it passed. The format is specified in `docs/trailer.md`.
//!
//! The same code runs in the kernel and in user space: [`stamp`] is generic over the [`Packet`] it reads and writes and
//! over the [`Host`] it runs on. It allocates nothing, uses no `unsafe`, and panics on no input.
//!
//! | module | subject |
//! |---|---|
//! | [`wire`] | the records and the footer, byte by byte |
//! | [`locate()`] | from the frame to the trailer, or the reason why there is none |
//! | [`stamp()`] | who may be stamped, where there is room, what is written |
//! | [`reflect()`] | requests that become replies where they arrive, with both stamps |
//! | [`Handed`] | times that an XDP program puts in front of a frame, for who stamps behind it |
//! | [`RunKey`] | of which run of a stateless prober a probe is, and which replies go past the stack |
//! | [`in_flight`] | the table of requests that have left, for what becomes known of them only then |
//! | [`checksum`] | one's-complement sums, and the complement that keeps a message's sum what it was |
#![no_std]
#![forbid(unsafe_code)]

mod address;
pub mod checksum;
mod handed;
mod headers;
mod host;
pub mod in_flight;
mod locate;
mod packet;
mod reflect;
mod refusal;
mod run;
mod stamp;
pub mod wire;

pub use address::Address;
pub use handed::Handed;
pub use host::{Host, Site, Standing};
pub use in_flight::{Sent, SentKey};
pub use locate::{End, Probe, locate, locate_network};
pub use packet::{Packet, View};
pub use reflect::{Mirror, Reflect, Reflection, reflect};
pub use refusal::Refusal;
pub use run::{Run, RunKey, is_steered};
pub use stamp::{Allowed, Passage, stamp, stamp_located, stamp_nic_rx};
pub use wire::{Bound, Clock, Footer, Hook, Phase, Record, Trailer};
