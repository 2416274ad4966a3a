//! Probes that pass the kernel's stack by: what it does for a socket has to be done here.

mod endpoint;
mod error;
pub mod frame;
mod handed;
mod handover;
mod judge;
pub mod network;
mod report;
mod run;
mod shared;
mod transport;
mod worker;

pub(crate) use endpoint::AfXdpEndpoint;
pub use error::AfXdpError;
pub use instamp_hooks::{Hooks, Notice, XdpMode};
pub use instamp_xsk::{BusyPoll, Mode, Statistics};
pub use report::{Counts, Reply, Sink, Verdict};
pub use run::{Facts, Outcome, RunOptions, StatelessRun};
pub(crate) use transport::run_key;
pub use transport::{Transport, TransportOptions};
