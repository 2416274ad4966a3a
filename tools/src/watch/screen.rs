//! A part of the terminal that is written anew.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::table::Room;

/// As many lines there are, where the terminal does not tell its size.
const ROWS: usize = 20;

#[derive(Default)]
pub(super) struct Screen {
    shown: Option<Instant>,
    lines: usize,
}

impl Screen {
    /// How much room there is for a table now, besides its head, its end, and the line of the cursor.
    pub(super) fn room() -> Room {
        let size = terminal_size::terminal_size_of(io::stdout());
        let (columns, rows) = size.map_or((usize::MAX, ROWS), |(columns, rows)| (columns.0.into(), rows.0.into()));
        Room { columns, rows: rows.saturating_sub(4).max(1) }
    }

    pub(super) fn is_due(&self, interval: Duration) -> bool {
        self.shown.is_none_or(|shown| shown.elapsed() >= interval)
    }

    /// Shows these lines in the place of those before.
    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        self.clear()?;
        let mut out = io::stdout().lock();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        (self.shown, self.lines) = (Some(Instant::now()), lines.len());
        out.flush()
    }

    /// Takes them away: up, and clear to the end (ECMA-48: CUU, ED).
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        if lines > 0 {
            write!(io::stdout().lock(), "\x1b[{lines}A\r\x1b[J")?;
        }
        Ok(())
    }
}
