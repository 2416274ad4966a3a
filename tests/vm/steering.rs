//! `instamp sync --steer system`: the system's clock follows a card's.

use hwtstamp::{Access, Method, PhcDevice, Realtime, Span, system};
use instamp_tests::{lab::instamp, vm::figure};

use crate::{phc::median, phc2sys::Phc2sys, sync::Sync};

const PHC: &str = "/dev/ptp0";
/// By how much the system's clock is off when it begins: more than what is only slewed.
const OFF: Span = Span::from_ms(5);
/// Updates in which the servo settles, and then those that count.
const SETTLING: usize = 30;
const UPDATES: usize = 30;
/// Much less than [`OFF`], and much more than what remains under emulation where nothing else takes the processors.
const NEAR: Span = Span::from_us(2);

/// It locks, as it says itself, as readings of this program say, and as phc2sys finds it afterwards. While phc2sys runs, it
/// is refused.
pub(crate) fn check() {
    system::step(OFF).expect("step the system's clock");
    let mut sync = Sync::start(&["--phc", PHC, "--steer", "system", "-O", "0"]);
    let is_locked = |line: &serde_json::Value| line["steered"]["servo"] == "locked";
    sync.reaches(is_locked);
    let updates: Vec<_> = sync.by_ref().filter(|line| line["type"] == "update").take(SETTLING + UPDATES).collect();
    let mut offsets: Vec<_> = updates[SETTLING..]
        .iter()
        .map(|update| {
            assert!(is_locked(update), "{update}");
            update["steered"]["offset_ns"].as_i64().expect("an offset").unsigned_abs()
        })
        .collect();
    let own = ahead(PHC).abs();
    sync.end();
    let later = Phc2sys::start(PHC, 10, 5).next().expect("a line").offset;

    let said = Span::from_ns(median(&mut offsets).cast_signed());
    let found = Span::from_ns(later).abs();
    figure(format_args!(
        "sync --steer system: {said} off by itself, {own} as read, {found} as phc2sys finds it afterwards"
    ));
    for off in [said, own, found] {
        assert!(off < NEAR, "{off} off");
    }
    refused();
}

/// By how much the system's clock is ahead of a card's: the shortest of some readings.
pub(crate) fn ahead(phc: &str) -> Span {
    let phc = PhcDevice::open(phc, Access::Read).expect("open");
    let readings = phc.cross_read::<Realtime>(Method::Extended, 25).expect("readable");
    let shortest = readings.iter().min_by_key(|reading| reading.window()).expect("25");
    Span::from_ns(shortest.midpoint().as_ns() - shortest.device.as_ns())
}

fn refused() {
    let mut phc2sys = Phc2sys::start(PHC, 10, 5);
    phc2sys.next().expect("it runs");
    let output =
        instamp().args(["sync", "--phc", PHC, "--steer", "system", "-O", "0"]).output().expect("start instamp");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && message.contains("phc2sys"), "{}: {message}", output.status);
    println!("guest: refused: {}", message.trim_end());
}
