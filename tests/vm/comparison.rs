//! How far the offsets scatter that `instamp sync` and phc2sys measure on the same card's clock.

use std::fmt;

use instamp_tests::vm::figure;

use crate::{phc::median, phc2sys::Phc2sys, sync::Sync};

const PHC: &str = "/dev/ptp0";
/// Both read as often, and as many times for one offset.
const RATE: u32 = 20;
const READINGS: u32 = 5;
/// Offsets of a round that count.
const OFFSETS: usize = 40;
/// Those before that do not: phc2sys's servo overshoots for some seconds when it starts.
const SETTLING_MODEL: usize = 40;
const SETTLING_SERVO: usize = 100;
/// The proportional and the integral constant of phc2sys's servo: ptp4l's for this rate. Its own are made for one update a second,
/// and at twenty they damp so little that they would spread the offsets.
const GAINS: [&str; 4] = ["-P", "1.72", "-I", "0.09"];
/// Rounds of each, in turn.
const ROUNDS: usize = 7;
/// Ours may be larger by this part of phc2sys's. Both come down to the noise of the shortest readings, where ours is usually the
/// smaller one by a fifth. A deviation of so few offsets is known to a tenth of it and a 95th percentile to a sixth, medians of the
/// rounds to half of that; and a busy machine disturbs now the one and now the other. Twice our usual spread is too much.
const TOLERANCE: u64 = 2;
/// A difference below this is none: offsets are whole nanoseconds.
const RESOLUTION_PS: u64 = 1000;

/// The offsets of one round around their mean, in ps. The mean says nothing of steadiness: a servo drives its own to zero, while
/// a model keeps to the shortest readings, from which the usual ones differ on the side on which they take longer.
#[derive(Clone, Copy)]
struct Spread {
    deviation: u64,
    p95: u64,
}

impl Spread {
    /// The standard deviation, and what 95 % of the distances to the mean do not exceed, of offsets in ns.
    fn of(offsets: &[i64]) -> Self {
        let count = i64::try_from(offsets.len()).expect("few");
        let mean = offsets.iter().sum::<i64>() * 1000 / count;
        let mut distances: Vec<_> = offsets.iter().map(|offset| (offset * 1000).abs_diff(mean)).collect();
        let variance = distances.iter().map(|distance| distance.pow(2)).sum::<u64>() / count.unsigned_abs();
        distances.sort_unstable();
        Self { deviation: variance.isqrt(), p95: distances[distances.len() * 95 / 100] }
    }

    /// The median of each over some rounds.
    fn median(rounds: &[Self]) -> Self {
        let of = |member: fn(&Self) -> u64| median(&mut rounds.iter().map(member).collect::<Vec<_>>());
        Self { deviation: of(|round| round.deviation), p95: of(|round| round.p95) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |ps: u64| format!("{}.{}", ps / 1000, ps % 1000 / 100);
        write!(f, "deviation {} ns, p95 {} ns", tenths(self.deviation), tenths(self.p95))
    }
}

/// Those of `instamp sync` scatter no more. What the one measures is how far a reading is from what the model before it
/// expected, what the other measures is how far it is from where it has steered the clock: both are errors of the forecast
/// from one reading to the next.
pub(crate) fn check() {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (sync, phc2sys) = (modelled(), steered());
        println!("guest: sync round {round}: {sync}; phc2sys: {phc2sys}");
        ours.push(sync);
        theirs.push(phc2sys);
    }
    let (sync, phc2sys) = (Spread::median(&ours), Spread::median(&theirs));
    figure(format_args!("sync spread: {sync}; phc2sys: {phc2sys} (medians of {ROUNDS} rounds of {OFFSETS} offsets)"));
    let limit = |theirs: u64| theirs + (theirs / TOLERANCE).max(RESOLUTION_PS);
    assert!(sync.deviation <= limit(phc2sys.deviation), "more deviation than phc2sys");
    assert!(sync.p95 <= limit(phc2sys.p95), "a larger p95 than phc2sys");
}

fn modelled() -> Spread {
    let [rate, readings, count] = [RATE.to_string(), READINGS.to_string(), (SETTLING_MODEL + OFFSETS).to_string()];
    let sync = Sync::start(&["--phc", PHC, "-R", &rate, "-N", &readings, "--count", &count]);
    let updates: Vec<_> = sync.rest().into_iter().filter(|line| line["type"] == "update").collect();
    assert_eq!(updates.len(), SETTLING_MODEL + OFFSETS);
    let offset = |update: &serde_json::Value| {
        assert_eq!(update["state"], "locked", "{update}");
        update["offset_ns"].as_i64().expect("an offset")
    };
    Spread::of(&updates[SETTLING_MODEL..].iter().map(offset).collect::<Vec<_>>())
}

fn steered() -> Spread {
    let updates: Vec<_> =
        Phc2sys::steering("CLOCK_REALTIME", PHC, RATE, READINGS, &GAINS).take(SETTLING_SERVO + OFFSETS).collect();
    assert_eq!(updates.len(), SETTLING_SERVO + OFFSETS, "phc2sys has ended");
    let settled = &updates[SETTLING_SERVO..];
    assert!(settled.iter().all(|update| update.locked), "phc2sys does not lock: {updates:?}");
    Spread::of(&settled.iter().map(|update| update.offset).collect::<Vec<_>>())
}
