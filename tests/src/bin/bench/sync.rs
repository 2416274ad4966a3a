//! What `instamp sync` takes of a processor, on the clock that stands in for a card's.

use std::{
    hint::black_box,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_sync::{Config, CrossTimestamp as _, READINGS, Tracker};
use instamp_tests::lab::instamp;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde_json::json;

use instamp_tests::quantiles::median;

/// Updates until the daemon runs as it goes on from there: its model is made of as many readings as ever.
const BEFORE: u32 = 80;

/// Rates, readings of an update, and updates that are measured.
const CASES: [(u32, u32, u32); 3] = [(10, 20, 200), (100, 20, 1_000), (100, 1, 1_000)];

/// Prints a line for each.
pub(crate) fn measure() {
    cycles();
    for (rate, readings, updates) in CASES {
        // What the start takes is in both.
        let before = cpu_ns(rate, readings, BEFORE);
        let per_update = (cpu_ns(rate, readings, BEFORE + updates) - before) / i64::from(updates);
        let share = per_update * i64::from(rate) / 1_000;
        println!(
            "{}",
            json!({
                "type": "sync", "operation": "daemon", "rate_hz": rate, "readings": readings, "updates": updates,
                "cpu_ns_per_update": per_update, "cpu_share_ppm": share,
            })
        );
    }
}

/// What one update consists of, by the daemon's own code and at its pace: the readings of a cycle, with the bridge and the settings
/// in force, and the tracker's update by them. What a card takes for its part is the virtual machine's to measure; what the daemon
/// takes in all is below.
fn cycles() {
    const RUNS: u32 = 200;
    let config = Config::default();
    let interval = Duration::from_nanos(config.interval.unsigned_ns());
    let mut source = instamp_tools::stand_in(READINGS);
    let mut tracker = Tracker::new(config);
    let mut cycle = || {
        thread::sleep(interval);
        let start = Monotonic::now();
        let cycle = source.cross_timestamp().expect("clocks of the kernel");
        let read = Monotonic::now();
        black_box(tracker.update(&cycle));
        let updated = Monotonic::now();
        ((read - start).as_ns(), (updated - read).as_ns())
    };
    for _ in 0..BEFORE {
        cycle();
    }
    let (reading, updating): (Vec<_>, Vec<_>) = (0..RUNS).map(|_| cycle()).unzip();
    for (operation, times) in [("reading-cycle", reading), ("tracker-update", updating)] {
        println!(
            "{}",
            json!({
                "type": "sync", "operation": operation, "readings": READINGS, "time_ns": median(&times), "runs": RUNS,
            })
        );
    }
}

/// What a run takes, in the program and in the kernel for it.
fn cpu_ns(rate: u32, readings: u32, updates: u32) -> i64 {
    let folder = tempfile::tempdir().expect("a directory");
    let before = of_children_ns();
    let status = Command::new(instamp().get_program())
        .args(["sync", "--quiet", "--phc", "CLOCK_MONOTONIC_RAW"])
        .args(["--rate", &rate.to_string(), "--readings", &readings.to_string(), "--count", &updates.to_string()])
        .arg("--publish")
        .arg(folder.path().join("clock"))
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "instamp sync");
    of_children_ns() - before
}

fn of_children_ns() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every process has children's usage");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) * 1_000
}
