//! What `instamp sync` takes of a processor, on the clock that stands in for a card's.

use std::{
    hint::black_box,
    process::{Command, Stdio},
};

use hwtstamp::{Monotonic, MonotonicRaw, Realtime, SystemClock as _, system};
use instamp_tests::lab::instamp;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde_json::json;

use crate::quantiles::median;

/// Updates until the daemon runs as it goes on from there: its model is made of as many readings as ever.
const BEFORE: u32 = 80;

/// Rates, readings of an update, and updates that are measured.
const CASES: [(u32, u32, u32); 3] = [(10, 20, 200), (100, 20, 1_000), (100, 1, 1_000)];

/// Prints a line for each.
pub(crate) fn measure() {
    clock_reads();
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

/// The system calls and clock reads that a cycle of the daemon's consists of, made here as it makes them: the clock that stands
/// in for a card's between two readings of the system's, the two of the system's ten times for the bridge, and the settings in
/// force. What a card takes for its part is the virtual machine's to measure; what the daemon takes in all is below.
fn clock_reads() {
    const RUNS: usize = 1_001;
    const READINGS: usize = 20;
    const SANDWICHES: usize = 10;
    let read = || {
        black_box([(); READINGS].map(|()| (Monotonic::now(), MonotonicRaw::now(), Monotonic::now())));
        black_box([(); SANDWICHES].map(|()| (Monotonic::now(), Realtime::now(), Monotonic::now())));
        black_box(system::discipline()).expect("anybody may read it");
    };
    let times: Vec<_> = (0..RUNS)
        .map(|_| {
            let before = Monotonic::now();
            read();
            (Monotonic::now() - before).as_ns()
        })
        .collect();
    println!(
        "{}",
        json!({
            "type": "sync", "operation": "clock-reads-of-a-cycle", "readings": READINGS, "sandwiches": SANDWICHES,
            "time_ns": median(&times), "runs": RUNS,
        })
    );
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
