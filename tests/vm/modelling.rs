//! Models that `instamp sync` publishes of two cards' clocks.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use hwtstamp::{Access, Monotonic, Phc, PhcDevice, Span, SystemClock as _, Time, system};
use instamp_clockmap::{Device, Directory, Reader, Refusal};
use instamp_tests::{lab::instamp, vm::figure};
use serde_json::Value;

use crate::{bound, phc::is_old, phc2sys::Phc2sys, sync::Sync};

/// Two cards at once, with the cost of it; each way of reading; and beside a daemon that steers.
pub(crate) fn check() {
    two_cards();
    methods_agree();
    beside_phc2sys();
    beside_steps_of_the_system();
    beside_a_step_of_the_card();
}

fn two_cards() {
    let directory = Directory::new(Directory::DEFAULT);
    let mut sync = Sync::start(&["--dev", "eth0", "--dev", "eth1"]);
    let start = sync.next().expect("the first line");
    for phc in ["/dev/ptp0", "/dev/ptp1"] {
        sync.reaches(|line| line["clock"] == phc && line["state"] == "locked");
    }
    println!("guest: sync: {}", start["clocks"]);

    let (began, busy) = (Instant::now(), busy(sync.pid()));
    for index in [0, 1] {
        bound::holds(index, "two cards");
    }
    assert_eq!(shown(), (Some(0), ["valid", "valid"].map(str::to_owned).to_vec()));
    let (elapsed, busy) = (began.elapsed(), self::busy(sync.pid()) - busy);
    figure(format_args!(
        "sync: {:.2} % of a processor at 10 Hz with two cards",
        100.0 * busy.as_secs_f64() / elapsed.as_secs_f64()
    ));

    let summaries: Vec<_> = sync.end().into_iter().filter(|line| line["type"] == "summary").collect();
    assert_eq!(summaries.len(), 2, "{summaries:?}");
    for summary in summaries {
        assert_eq!((summary["withdrawn"].as_u64(), summary["missed"].as_u64()), (Some(0), Some(0)), "{summary}");
        println!("guest: sync: {summary}");
    }
    let (device, mut reader) = opened(&directory);
    assert_eq!(reader.convert(device(), Monotonic::now()), Err(Refusal::Withdrawn));
    assert_eq!(shown(), (Some(1), ["withdrawn", "withdrawn"].map(str::to_owned).to_vec()));
}

/// What `instamp clock` exits with, and the states of the clocks that it shows.
fn shown() -> (Option<i32>, Vec<String>) {
    let output = instamp().args(["clock", "--json"]).output().expect("start instamp");
    let text = String::from_utf8(output.stdout).expect("text");
    let clocks = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    (output.status.code(), clocks.map(|clock| clock["state"].as_str().expect("a state").to_owned()).collect())
}

/// Whether it is read next to `CLOCK_MONOTONIC` or `CLOCK_REALTIME`, and in whatever way: the models say the same, within
/// bounds that assume nothing of where in a reading the card was read.
fn methods_agree() {
    const CONVERSIONS: usize = 200;
    let methods = ["extended", "extended-realtime", "basic"];
    let methods = if is_old() { &methods[1..] } else { &methods };
    let mut models: Vec<_> = methods
        .iter()
        .map(|method| {
            let directory = format!("/run/{method}");
            let options = ["--phc", "/dev/ptp0", "--method", method, "--asymmetry", "1", "--publish", &directory];
            let mut sync = Sync::start(&options);
            sync.locked();
            let (device, reader) = opened(&Directory::new(directory));
            (sync, device, reader)
        })
        .collect();
    let mut farthest = Span::ZERO;
    let [mut conversions, mut refused] = [0, 0];
    while conversions < CONVERSIONS || bound::are_most(refused, conversions) {
        thread::sleep(bound::PAUSE);
        let device = models[0].1();
        let converted: Option<Vec<_>> = models.iter_mut().map(|(.., reader)| bound::convert(reader, device)).collect();
        let Some(converted) = converted else {
            refused += 1;
            continue;
        };
        conversions += 1;
        for (one, method) in converted.iter().zip(methods) {
            for (other, other_method) in converted.iter().zip(methods) {
                let apart = (one.time - other.time).abs();
                assert!(apart <= one.bound + other.bound, "{method}: {one:?}, {other_method}: {other:?}");
                farthest = farthest.max(apart);
            }
        }
    }
    figure(format_args!(
        "sync: models by {methods:?} were at most {farthest} apart, {refused} times there were not all"
    ));
    for (sync, ..) in models {
        sync.end();
    }
}

/// Somebody else changes the rate of the system's clock ten times a second.
fn beside_phc2sys() {
    let mut phc2sys = Phc2sys::start("/dev/ptp0", 10, 5);
    phc2sys.find(|update| update.locked).expect("it locks");
    let mut sync = Sync::start(&["--phc", "/dev/ptp0"]);
    sync.locked();
    bound::holds(0, "beside phc2sys");
    sync.end();
}

/// `CLOCK_REALTIME` is stepped, which the card is read next to: the model is of `CLOCK_MONOTONIC`, and goes on.
fn beside_steps_of_the_system() {
    let mut sync = Sync::start(&["--phc", "/dev/ptp0", "--method", "extended-realtime"]);
    sync.locked();
    for step in [Span::from_ms(-1500), Span::from_ms(1500)] {
        system::step(step).expect("this may");
        bound::holds(0, "after a step of the system's clock");
    }
    let lines = sync.end();
    assert!(lines.iter().all(|line| line["type"] != "withdrawn"), "{lines:#?}");
}

/// The card's clock is stepped: the model is withdrawn, and the next one is right.
fn beside_a_step_of_the_card() {
    let phc = PhcDevice::open_index(0, Access::Write).expect("open");
    let mut sync = Sync::start(&["--phc", "/dev/ptp0"]);
    sync.locked();
    phc.step(Span::from_ms(1)).expect("opened for writing");
    sync.reaches(|line| line["type"] == "withdrawn" && line["reason"] == "stepped");
    sync.locked();
    bound::holds(0, "after a step of the card's clock");
    sync.end();
}

/// The first card's clock, and its model.
fn opened(directory: &Directory) -> (impl Fn() -> Time<Phc> + use<>, Reader) {
    let phc = PhcDevice::open_index(0, Access::Read).expect("open");
    (move || phc.read().expect("readable"), Reader::open(directory, Device::Phc(0)).expect("a model"))
}

/// How long a process has had a processor.
fn busy(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let times = threads.map(|thread| {
        let path = thread.expect("readable").path().join("schedstat");
        let statistics = fs::read_to_string(path).expect("the kernel counts");
        statistics.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).expect("nanoseconds")
    });
    Duration::from_nanos(times.sum())
}
