//! What a user may signal to a running command.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the signals ask for.
pub(crate) enum Wish {
    /// An end: SIGINT or SIGTERM.
    End,
    /// How it stands: SIGQUIT.
    Status,
}

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The next wish. Cancel safe.
    pub(crate) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::End,
            _ = self.terminate.recv() => Wish::End,
            _ = self.quit.recv() => Wish::Status,
        }
    }
}
