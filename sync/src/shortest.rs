//! How long a reading takes at least.

use std::collections::VecDeque;

use hwtstamp::Span;

use crate::line::to_f64;

/// How many cycles the typical best is taken from.
const CYCLES: usize = 63;

/// After so many cycles the shortest of their readings is about as short as one can be.
const SETTLED: usize = 32;

/// The shortest reading of all that were chosen so far, and by how much the best of a cycle typically exceeds it.
///
/// It is never forgotten: where all readings become longer, as under load, the bound has to grow by the difference, which may
/// lie on one side of the device's time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shortest {
    window: Option<i64>,
    late: VecDeque<i64>,
}

impl Shortest {
    /// Takes the window of a cycle's reading. Returns by how much it is shorter than all before, in nanoseconds.
    pub(crate) fn note(&mut self, window: Span) -> f64 {
        if self.late.len() == CYCLES {
            self.late.pop_front();
        }
        self.late.push_back(window.as_ns());
        let before = self.window.unwrap_or(window.as_ns());
        self.window = Some(before.min(window.as_ns()));
        to_f64((before - window.as_ns()).max(0))
    }

    /// Whether there were enough cycles to tell the typical best from the shortest. Before that the shortest may be far longer
    /// than the shortest possible, and nothing shows it.
    pub(crate) fn is_settled(&self) -> bool {
        self.late.len() >= SETTLED
    }

    /// The shortest one, in nanoseconds.
    pub(crate) fn window_ns(&self) -> f64 {
        self.window.map_or(0.0, to_f64)
    }

    /// Half of what the shortest one may exceed the shortest possible by, in nanoseconds: half of what the best of a cycle
    /// typically exceeds it by, and at first as much.
    pub(crate) fn allowance_ns(&self) -> f64 {
        let mut late: Vec<_> = self.late.iter().copied().collect();
        let middle = late.len() / 2;
        if late.is_empty() {
            return 0.0;
        }
        let (_, median, _) = late.select_nth_unstable(middle);
        (to_f64(*median) - self.window_ns()) / if self.is_settled() { 4.0 } else { 2.0 }
    }
}
