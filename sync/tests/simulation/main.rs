//! A simulator of clocks: the tracker against oscillators that wander, readings that are late and uneven, and everybody who
//! sets and steers clocks. Each scenario has its own limits; all have in common that no conversion may be off by more than
//! its bound.
//!
//! `cargo test -p instamp-sync --test simulation -- --nocapture` prints the table.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "the simulated times stay far below 2^53 ns"
)]

mod clocks;
mod device;
mod run;
mod scenarios;
mod steering;

use std::{num::NonZero, thread};

use run::Seen;
use scenarios::{Scenario, scenarios};

/// Conversions that have to be checked in all.
const INSTANTS: usize = 1_000_000;

#[test]
fn no_conversion_is_off_by_more_than_its_bound() {
    println!(
        "{:32} {:>8} {:>7} {:>7} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "scenario",
        "checked",
        "rms",
        "max",
        "bound p50",
        "p50/max",
        "rate",
        "withdrawn",
        "available",
        "confirmed",
        "lock s",
        "exposed"
    );
    let (mut failures, mut live, mut late, mut confirmed, mut exposed) = (Vec::new(), 0, 0, 0, 0);
    for scenario in scenarios() {
        let mut seen = run_all(&scenario);
        print(&scenario, &mut seen);
        failures.extend(judge(&scenario, &mut seen));
        live += seen.live;
        late += seen.late;
        confirmed += seen.confirmed;
        exposed += seen.exposed;
    }
    println!("{live} live conversions ({confirmed} confirmed by a later reading), {late} late ones");
    println!(
        "{exposed} live conversions were exposed: after a disruption, before the first reading that could show it"
    );
    for failure in failures.iter().take(60) {
        println!("FAILED {failure}");
    }
    assert!(failures.is_empty(), "{} failures", failures.len());
    assert!(live >= INSTANTS && confirmed >= INSTANTS, "too few conversions were checked");
}

#[test]
fn no_software_sees_a_latch_further_from_the_middle_than_assumed() {
    let scenario = Scenario {
        // A tenth of the way instead of half: four fifths of half the reading, where one tenth is assumed.
        delay: device::Delay { before: 0.1, ..device::Delay::CHRONY },
        ..scenarios().swap_remove(0)
    };
    let seen = run::run(&scenario, 0);
    assert_eq!(seen.withdrawals, 0, "nothing contradicts the model");
    assert!(seen.violations.len() > 1_000, "and yet it is wrong");
    assert!((seen.max_error - 400.0).abs() < 50.0, "by what the latch is off the middle: {}", seen.max_error);
}

/// All runs of a scenario, shared among the processors.
fn run_all(scenario: &Scenario) -> Seen {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let sum = |mut sum: Seen, seen: Seen| {
        sum.add(seen);
        sum
    };
    let share = |worker: usize| {
        (0..scenario.seeds)
            .skip(worker)
            .step_by(workers)
            .map(|seed| run::run(scenario, seed))
            .fold(Seen::default(), sum)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || share(worker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run ends")).fold(Seen::default(), sum)
    })
}

fn print(scenario: &Scenario, seen: &mut Seen) {
    let bound = seen.median_bound();
    println!(
        "{:32} {:8} {:7.1} {:7.1} {:9} {:9.2} {:7.1e} {:9.2} {:9.4} {:9.3} {:8.3} {:8}",
        scenario.name,
        seen.live + seen.late,
        seen.rms(),
        seen.max_error,
        bound,
        bound as f64 / seen.max_error,
        seen.rate_error,
        seen.withdrawals as f64 / scenario.seeds as f64,
        seen.available(),
        seen.confirmed_share(),
        seen.lock / clocks::S,
        seen.exposed
    );
}

/// What the scenario did not keep to.
fn judge(scenario: &Scenario, seen: &mut Seen) -> Vec<String> {
    let limits = &scenario.limits;
    let bound = seen.median_bound();
    let runs = scenario.seeds as usize;
    let (fewest, most) = (limits.withdrawals.0 * runs, limits.withdrawals.1 * runs);
    let interval = scenario.config.interval.as_ns() as f64;
    let mut failures: Vec<_> = seen.violations.drain(..).take(5).collect();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            failures.push(format!("{}: {what}", scenario.name));
        }
    };
    demand(seen.rms() <= limits.rms, "rms error");
    demand(seen.rate_error <= limits.rate_error, "rate error");
    demand(bound <= limits.median_bound, "median bound");
    demand(
        !limits.is_quiet || bound as f64 <= 4.0 * seen.max_error,
        "median bound more than four times the largest error",
    );
    demand((fewest..=most).contains(&seen.withdrawals), "withdrawals");
    demand(seen.lock <= limits.lock, "time to lock");
    demand(seen.available() >= limits.available, "time with a model");
    demand(seen.confirmed_share() >= limits.confirmed, "conversions confirmed");
    demand(seen.exposed_for <= limits.exposed * interval, "time until a disruption was seen");
    failures
}
