//! How far the offsets that are measured on a card's clock scatter: those of phc2sys.

use std::{fmt, path::Path};

use crate::phc2sys;

/// Both read as often, and as many times for one offset.
const RATE: u32 = 10;
const READINGS: u32 = 5;
/// Offsets of a round that count, after those in which the servo settles.
const OFFSETS: usize = 60;
const SETTLING: usize = 20;

/// Offsets around zero, in ns.
pub(crate) struct Spread {
    deviation: f64,
    p95: u64,
}

impl Spread {
    /// The standard deviation about their mean, and what 95 % of their distances to zero do not exceed.
    fn of(offsets: &[i64]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a clock that is steered")]
        let [count, sum, squares] = [
            offsets.len() as f64,
            offsets.iter().sum::<i64>() as f64,
            offsets.iter().map(|offset| offset * offset).sum::<i64>() as f64,
        ];
        let mut distances: Vec<_> = offsets.iter().map(|offset| offset.unsigned_abs()).collect();
        distances.sort_unstable();
        let mean = sum / count;
        Self { deviation: (squares / count - mean * mean).sqrt(), p95: distances[distances.len() * 95 / 100] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deviation {:.1} ns, p95 {} ns", self.deviation, self.p95)
    }
}

/// phc2sys locks.
pub(crate) fn check() {
    let updates = phc2sys::steer_system(Path::new("/dev/ptp0"), RATE, READINGS, SETTLING + OFFSETS);
    let settled = &updates[SETTLING..];
    assert!(settled.iter().all(|update| update.locked), "phc2sys does not lock: {updates:?}");
    let spread = Spread::of(&settled.iter().map(|update| update.offset).collect::<Vec<_>>());
    println!("guest: phc2sys spread: {spread}");
}
