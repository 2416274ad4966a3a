//! What `instamp sync` takes of a processor, on the clock that stands in for a card's.

use std::process::{Command, Stdio};

use instamp_tests::lab::instamp;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde_json::json;

/// Updates until the daemon runs as it goes on from there: its model is made of as many readings as ever.
const BEFORE: u32 = 80;

/// Rates, readings of an update, and updates that are measured.
const CASES: [(u32, u32, u32); 4] = [(10, 10, 200), (100, 10, 1_000), (100, 1, 1_000), (100, 25, 1_000)];

/// Prints a line for each.
pub(crate) fn measure() {
    for (rate, readings, updates) in CASES {
        // What the start takes is in both.
        let before = cpu_ns(rate, readings, BEFORE);
        let per_update = (cpu_ns(rate, readings, BEFORE + updates) - before) / i64::from(updates);
        let share = per_update * i64::from(rate) / 1_000;
        println!(
            "{}",
            json!({
                "type": "sync", "rate_hz": rate, "readings": readings, "updates": updates,
                "cpu_ns_per_update": per_update, "cpu_share_ppm": share,
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
