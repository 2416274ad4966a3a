//! Probing many hosts while remembering nothing of any probe: pure parts, which do no I/O, read no clock and allocate nothing per
//! probe.
//!
//! Probes are numbered through the whole run, and everything else follows from the number:
//!
//! | [`Plan`] | whom the probe goes to: the [`Targets`], each round in an order of its own by a keyed [`Permutation`] |
//! |---|---|
//! | [`Pacer`] | when it is due |
//! | [`Wire`] | where its number is in the message |
//! | [`Cookie`] | its nonce, which vouches for the target, the number and the time of sending, all of which the reply brings back |
//! | [`Window`] | whether it has been answered before |
//!
//! Several threads divide a run between them: of `n`, the one of number `k` (from 0) sends the probes `k`, `k + n`, `k + 2n` and so on,
//! and receives whichever replies come to it.

mod cookie;
mod index;
mod mix;
mod pace;
mod permutation;
mod plan;
mod ranges;
mod special;
mod targets;
mod window;

pub use cookie::Cookie;
pub use index::Wire;
pub use ipnet::IpNet;
pub use pace::Pacer;
pub use permutation::Permutation;
pub use plan::{Plan, Probe, TooManyRounds};
pub use special::{Special, special_purpose};
pub use targets::{PrefixError, Targets, TooMany, parse_prefix};
pub use window::{Noted, Window};
