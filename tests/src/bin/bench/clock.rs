//! Hardware time: what it takes to convert a time, and to publish a model.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use hwtstamp::Time;
use instamp_clockmap::{Device, Directory, Model, Reader, State, Writer};
use instamp_tests::{
    built::CLOCK,
    conversion::Program,
    programs::{Loaded, verdict},
};
use instamp_trailer::Hook;
use serde_json::json;

use instamp_tests::quantiles::median;

const RUNS: usize = 31;
const REPEAT: u32 = 100_000;

/// A time that is converted, and the time now.
const DEVICE_NS: u64 = 1_700_000_000_000_000_000;
const NOW_NS: u64 = 86_400_000_000_000;

const MODEL: Model = Model {
    state: State::LOCKED,
    device_ref_ns: DEVICE_NS - 100_000_000,
    system_ref_ns: NOW_NS - 200_000_000,
    rate: 687_195,
    error_ns: 150,
    growth: 687,
    valid_until_ns: u64::MAX,
    void_after_ns: u64::MAX,
    ..Model::NONE
};

/// Prints a line for each.
pub(crate) fn measure() {
    memory();
    kernel();
}

/// A conversion with the shared file, and a write to it.
fn memory() {
    let folder = tempfile::tempdir().expect("a directory");
    let directory = Directory::new(folder.path().join("clock"));
    let mut writer = Writer::create(&directory, Device::Phc(0)).expect("publish");
    let mut reader = Reader::open(&directory, Device::Phc(0)).expect("read");
    print("publish", || timed(|| writer.publish(black_box(&MODEL)).expect("well formed")), None);
    let (device, now) = (Time::from_ns(DEVICE_NS.cast_signed()), Time::from_ns(NOW_NS.cast_signed()));
    print("convert-library", || timed(|| reader.convert(black_box(device), now).expect("in range")), None);
}

/// A conversion with the map, in a program.
fn kernel() {
    let mut program = Program::new(&CLOCK.newest());
    let mut writer = program.writer();
    writer.publish(&MODEL).expect("well formed");
    program.convert(DEVICE_NS, NOW_NS).expect("in range");
    let empty = Loaded::assembled(Hook::TC_EGRESS, &verdict(0));
    let empty = || nanoseconds(empty.time(&[0; 64], REPEAT));
    print("convert-bpf", || nanoseconds(program.time(DEVICE_NS, NOW_NS, REPEAT)), Some(&empty));
}

/// The mean time of a call.
fn timed<T>(mut call: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..REPEAT {
        black_box(call());
    }
    nanoseconds(start.elapsed()) / f64::from(REPEAT)
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// Prints the median of runs, less that of runs of something empty, which take turns with them.
fn print(operation: &str, mut time: impl FnMut() -> f64, empty: Option<&dyn Fn() -> f64>) {
    let (with, without): (Vec<_>, Vec<_>) =
        (0..RUNS).map(|_| (tenths(time()), tenths(empty.map_or(0.0, |empty| empty())))).unzip();
    let (with, without) = (median(&with), median(&without));
    println!(
        "{}",
        json!({ "type": "clock", "operation": operation, "cost_ns": ns(with - without), "empty_ns": ns(without), "runs": RUNS })
    );
}

/// Whole numbers have an order.
#[expect(clippy::cast_possible_truncation, reason = "less than a second")]
fn tenths(ns: f64) -> i64 {
    (ns * 10.0).round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "less than a second")]
fn ns(tenths: i64) -> f64 {
    tenths as f64 / 10.0
}
