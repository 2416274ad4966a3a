//! For probers: how much of a ping's RTT was the network, and how much was the own host?
//!
//! A probe carries a *trailer* at the end of its echo payload. The hooks of `instamp attach` write the time into it when
//! the probe leaves the host and when its reply arrives; a far end may add when it received the request and sent the
//! reply. This crate prepares the trailer, takes it off the reply, and does the arithmetic:
//!
//! ```text
//! send                                                                   receive
//!  |-- tx stack --|------ net ------|-- remote --|------ net ------|-- rx stack --|
//!            tc-egress          (far end,    (far end,       xdp-ingress
//!                              on request)   on reply)
//! ```
//!
//! `rtt = tx stack + net + remote + rx stack`, to the nanosecond, for every single reply, or the reason why not.
//!
//! # A prober of your own
//!
//! Three functions fit into any event loop. They need no socket, read no clock and allocate nothing:
//!
//! | before sending | [`Run::reserve`] | writes an empty trailer, and keeps the checksum constant for the run |
//! |---|---|---|
//! | after receiving | [`strip`] | takes the payload apart: the application's part and the stamps |
//! | then | [`correct`] | splits the RTT by the stamps |
//!
//! ```
//! use instamp::{DEFAULT_PAYLOAD_LENGTH, Run, Uncorrected, correct, strip};
//! # fn exchange(_: u16, payload: &[u8]) -> Vec<u8> { payload.to_vec() }
//! # fn now_ns() -> u64 { 0 }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?;
//! let (sequence, nonce) = (1, 0x0123_4567_89ab_cdef); // the nonce at random: who knows it can forge the reply
//! let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
//! run.reserve(&mut payload, sequence, nonce)?;
//!
//! let sent_ns = now_ns(); // CLOCK_MONOTONIC, right before the send call
//! let reply = exchange(sequence, &payload);
//! let received_ns = now_ns(); // and right after the receive call
//!
//! let stripped = strip(&reply, nonce)?;
//! match correct(stripped.records, sent_ns, received_ns) {
//!     Ok(correction) => println!("net {} ns", correction.net_ns),
//!     Err(reason) => println!("uncorrected: {reason}"),
//! }
//! # assert_eq!(correct(stripped.records, sent_ns, received_ns), Err(Uncorrected::NoStamps));
//! # Ok(())
//! # }
//! ```
//!
//! With many probes under way, [`in_flight`] keeps the book: which reply answers which request, late ones, repeated ones,
//! sequence numbers that wrap. In a container with its own time namespace, [`time_namespace`] turns the application's clock
//! readings into the host's.
//!
//! # A prober that is there
//!
#![cfg_attr(feature = "prober", doc = "[`prober::Prober`]")]
#![cfg_attr(not(feature = "prober"), doc = "`prober::Prober`")]
//! does all of this over raw or datagram ICMP sockets, IPv4 and IPv6, on tokio. It is behind the feature `prober`, which is
//! on by default; `default-features = false` leaves the pure part and its two small dependencies.
//!
//! # What to trust
//!
//! Bytes from the network are hostile: every length is checked and all arithmetic on them too. A reply is corrected only
//! with its probe's nonce, and only if all local stamps lie between send and receive. The stamps are not authenticated,
//! though. A far end that wants to can move the stamp of the request within the RTT. It also reads this host's node
//! number in that stamp, and so can add a reply-phase stamp in this host's name, earlier than the true one, which makes
//! `net` smaller and `rx stack` larger by as much; or stamps in the name of its network card, at any time within the RTT and the
//! bound that they claim, which is told; or claim any residence, which is told as `remote`. Such a reply cannot be told from an
//! honest one: what others cannot misstate is the RTT. Nothing is clamped or guessed. What is negative is reported as negative,
//! and flagged.
#![forbid(unsafe_code)]

/// Its examples in Rust are tested here.
#[cfg(doctest)]
#[doc = include_str!("../../docs/integrate.md")]
struct Integrate;

#[cfg(feature = "afxdp")]
pub mod afxdp;
mod correct;
#[cfg(feature = "prober")]
mod host_clock;
pub mod in_flight;
mod known;
mod one_way;
#[cfg(feature = "prober")]
pub mod prober;
mod reserve;
#[cfg(feature = "afxdp")]
pub mod stateless;
mod strip;
pub mod time_namespace;

pub use correct::{Correction, NetSource, Uncorrected, correct};
pub use instamp_trailer as trailer;
pub use instamp_trailer::{Bound, Clock, Hook, Phase, Record};
pub use known::local_node;
pub use one_way::{OneWay, TaiOffset, one_way};
pub use reserve::{DEFAULT_PAYLOAD_LENGTH, MIN_PAYLOAD_LENGTH, ReserveError, Run};
pub use strip::{StripError, Stripped, strip};
