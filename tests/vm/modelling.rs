//! Models that `instamp sync` publishes of two cards' clocks.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use hwtstamp::{Access, Monotonic, PhcDevice, SystemClock as _};
use instamp_clockmap::{Device, Directory, Reader, Refusal};

use crate::{
    bound::{self, ns},
    phc::is_old,
    phc2sys::Phc2sys,
    sync::Sync,
};

/// Two cards at once, with the cost of it; each way of reading; and beside a daemon that steers.
pub(crate) fn check() {
    two_cards();
    methods_agree();
    beside_phc2sys();
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
        bound::holds(&directory, index);
    }
    let (elapsed, busy) = (began.elapsed(), self::busy(sync.pid()) - busy);
    println!(
        "guest: sync: {:.2} % of a processor at 10 Hz with two cards (under emulation)",
        100.0 * busy.as_secs_f64() / elapsed.as_secs_f64()
    );

    let summaries: Vec<_> = sync.end().into_iter().filter(|line| line["type"] == "summary").collect();
    assert_eq!(summaries.len(), 2, "{summaries:?}");
    for summary in summaries {
        assert_eq!((summary["withdrawn"].as_u64(), summary["missed"].as_u64()), (Some(0), Some(0)), "{summary}");
        println!("guest: sync: {summary}");
    }
    let (device_ns, mut reader) = opened(&directory);
    assert_eq!(reader.convert(device_ns(), ns(Monotonic::now())), Err(Refusal::Withdrawn));
}

/// Whether it is read next to `CLOCK_MONOTONIC` or `CLOCK_REALTIME`, and in whatever way: the model says the same.
fn methods_agree() {
    const CONVERSIONS: usize = 200;
    let methods = ["extended", "extended-realtime", "basic"];
    let methods = if is_old() { &methods[1..] } else { &methods };
    let mut models: Vec<_> = methods
        .iter()
        .map(|method| {
            let directory = format!("/run/{method}");
            let mut sync = Sync::start(&["--phc", "/dev/ptp0", "--method", method, "--publish", &directory]);
            sync.locked();
            let (device_ns, reader) = opened(&Directory::new(directory));
            (sync, device_ns, reader)
        })
        .collect();
    let mut farthest = 0;
    for _ in 0..CONVERSIONS {
        let device_ns = models[0].1();
        let now = ns(Monotonic::now());
        let converted: Vec<_> =
            models.iter_mut().map(|(.., reader)| reader.convert(device_ns, now).expect("a valid model")).collect();
        for (one, method) in converted.iter().zip(methods) {
            for (other, other_method) in converted.iter().zip(methods) {
                let apart = one.time_ns.abs_diff(other.time_ns);
                assert!(apart <= one.bound_ns + other.bound_ns, "{method}: {one:?}, {other_method}: {other:?}");
                farthest = farthest.max(apart);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    println!("guest: sync: models by {methods:?} were at most {farthest} ns apart (under emulation)");
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
    bound::holds(&Directory::new(Directory::DEFAULT), 0);
    sync.end();
}

/// The first card's clock, and its model.
fn opened(directory: &Directory) -> (impl Fn() -> u64 + use<>, Reader) {
    let phc = PhcDevice::open_index(0, Access::Read).expect("open");
    (move || ns(phc.read().expect("readable")), Reader::open(directory, Device::Phc(0)).expect("a model"))
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
