//! Floods of probes: the load beside which others measure.

use std::process::Command;

use crate::{dialogue::Dialogue, ping::Run};

/// What `instamp` is given for a flood, before the destination. It ends by itself where the process that has started it was killed.
pub const OPTIONS: &[&str] = &["ping", "--json", "-q", "-i", "0", "-w", "600"];

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
}

/// Ends them all, and then returns what each has counted.
///
/// # Panics
///
/// One has ended before, or by a signal.
#[track_caller]
pub fn stop(floods: impl IntoIterator<Item = Flood>) -> Vec<Run> {
    let mut floods: Vec<Flood> = floods.into_iter().collect();
    floods.iter_mut().for_each(|flood| flood.0.interrupt());
    floods.into_iter().map(|flood| Run::from(flood.0.wait())).collect()
}
