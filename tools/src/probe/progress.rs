//! How it stands: one line on a terminal, written anew.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::collector::Progress;

/// As often.
const INTERVAL: Duration = Duration::from_secs(1);
/// Back to the start of the line, and clear it (ECMA-48: CR, EL).
const ANEW: &str = "\r\x1b[K";

pub(super) struct ProgressLine {
    total: u64,
    shown: Option<(Instant, u64)>,
}

impl ProgressLine {
    /// `None` where standard error is no terminal.
    pub(super) fn of_stderr(total: u64) -> Option<Self> {
        io::stderr().is_terminal().then_some(Self { total, shown: None })
    }

    /// Shows how it stands, if it is time to.
    pub(super) fn show(&mut self, progress: &Progress) -> io::Result<()> {
        let now = Instant::now();
        let (last, before) = self.shown.unwrap_or((now, 0));
        let passed = now - last;
        if self.shown.is_some() && passed < INTERVAL {
            return Ok(());
        }
        let sent = progress.sent.load(Ordering::Relaxed);
        self.shown = Some((now, sent));
        let line = status(progress, self.total, sent - before, passed);
        let mut out = io::stderr().lock();
        write!(out, "{ANEW}{line}")?;
        out.flush()
    }

    /// Takes it away.
    pub(super) fn clear(&self) -> io::Result<()> {
        write!(io::stderr(), "{ANEW}")
    }
}

/// How it stands, with the rate at which `recent` probes were sent in `passed`.
pub(super) fn status(progress: &Progress, total: u64, recent: u64, passed: Duration) -> String {
    let (sent, received) = (progress.sent.load(Ordering::Relaxed), progress.received.load(Ordering::Relaxed));
    let mut line = format!("{sent} of {total} sent, {received} received");
    let per_second = u128::from(recent) * 1_000_000_000 / passed.as_nanos().max(1);
    if recent > 0 && per_second > 0 {
        let left = u128::from(total.saturating_sub(sent)) / per_second;
        line += &format!(", {per_second}/s, {}:{:02}:{:02} left", left / 3600, left / 60 % 60, left % 60);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_what_is_left() {
        let progress = Progress::default();
        progress.sent.store(1_500, Ordering::Relaxed);
        progress.received.store(1_490, Ordering::Relaxed);
        assert_eq!(
            status(&progress, 100_000, 200, Duration::from_secs(1)),
            "1500 of 100000 sent, 1490 received, 200/s, 0:08:12 left"
        );
        assert_eq!(status(&progress, 100_000, 0, Duration::ZERO), "1500 of 100000 sent, 1490 received");
    }
}
