//! The application's clock against the host's, in a real time namespace.

mod common;

use std::process::Command;

use instamp::time_namespace::MonotonicOffset;
use nix::time::{ClockId, clock_gettime};

/// The monotonic clock as this process reads it, in nanoseconds.
fn application_ns() -> u64 {
    let reading = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock exists");
    reading.tv_sec().unsigned_abs() * 1_000_000_000 + reading.tv_nsec().unsigned_abs()
}

/// The other half of the test below, which runs it inside of a time namespace.
#[test]
#[ignore = "prints the clocks of the namespace that it runs in"]
fn print_clocks() {
    let reading_ns = application_ns();
    let offset = MonotonicOffset::of_this_process().expect("the namespace's offset");
    println!("clocks: {} {}", offset.nanoseconds(), offset.host_ns(reading_ns).expect("after the host's boot"));
}

#[test]
fn readings_in_a_time_namespace_become_the_hosts() {
    for seconds in ["1000000", "-5"] {
        let before_ns = host_ns();
        let child = Command::new("unshare")
            .args(["--time", "--monotonic", seconds, "--fork"])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--exact", "print_clocks", "--ignored", "--nocapture"])
            .output();
        let after_ns = host_ns();

        let output = match child {
            Ok(child) if child.status.success() => String::from_utf8(child.stdout).expect("text"),
            refused => {
                return common::skip(&format!("cannot make a time namespace: {refused:?}"));
            }
        };
        let numbers = output.lines().find_map(|line| line.split_once("clocks: ")).expect("the clocks").1;
        let (offset_ns, reading_ns) = numbers.split_once(' ').expect("two numbers");
        assert_eq!(offset_ns, format!("{seconds}000000000"));
        let reading_ns = reading_ns.parse().expect("a number");
        assert!((before_ns..=after_ns).contains(&reading_ns), "{before_ns} <= {reading_ns} <= {after_ns}");
    }
}

/// Also where the tests themselves run in a time namespace.
fn host_ns() -> u64 {
    let offset = MonotonicOffset::of_this_process().expect("the namespace's offset");
    offset.host_ns(application_ns()).expect("after the host's boot")
}
