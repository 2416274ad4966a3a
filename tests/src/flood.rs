//! Floods of probes: the load beside which others measure.

use std::process::Command;

use crate::{dialogue::Dialogue, ping::Run};

/// What `instamp` is given for a flood, before the destination. It ends by itself where the process that has started it was killed.
pub const OPTIONS: &[&str] = &["ping", "--json", "-q", "-i", "0", "-w", "120"];

/// A flood that was started. Dropping it kills its process: where that is an engine's client, the flood ends with its container.
#[derive(Debug)]
pub struct Flood(Dialogue);

impl Flood {
    /// Starts `instamp` with [`OPTIONS`].
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self(Dialogue::start(command))
    }

    /// One in a process that has waited until now.
    ///
    /// # Panics
    ///
    /// It does not wait any more.
    #[track_caller]
    pub fn go(mut process: Dialogue) -> Self {
        process.go();
        Self(process)
    }

    /// Returns when it has begun to ping.
    ///
    /// # Panics
    ///
    /// It does not.
    #[track_caller]
    pub fn wait(&mut self) {
        self.0.wait_for(r#""type":"start""#);
    }

    /// Ends it, and returns what it has counted.
    ///
    /// # Panics
    ///
    /// It has ended before, or failed.
    #[track_caller]
    pub fn stop(mut self) -> Run {
        self.0.interrupt();
        Run::from(self.0.wait())
    }
}
