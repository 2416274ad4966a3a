//! `instamp sync --steer phc`: a card's clock follows the system's. The emulated card's time jumps when its frequency is set: where it is
//! raised by twice what that would have made of the time since the emulator's start, and where it is lowered by 2^41 ns, 37 minutes, as
//! the emulator corrects it with the wrong sign, and unsigned numbers ([`e1000x_set_timinca`]). So this shows what the command does, and
//! not how well.
//!
//! [`e1000x_set_timinca`]: https://github.com/qemu/qemu/blob/v10.0.2/hw/net/e1000x_common.c

use std::{process, thread, time::Duration};

use hwtstamp::{Access, Frequency, PhcDevice, Realtime, Span, SystemClock as _, system};
use instamp_tests::{lab::instamp, vm::figure};
use serde_json::Value;

use crate::{phc2sys::Phc2sys, steering::ahead, sync::Sync};

/// The second card's: the first is the one that others follow.
const PHC: &str = "/dev/ptp1";
/// With constants so small that the servo estimates the frequency over 16 s, and what it sets stays below [`UNIT_PPB`].
const OPTIONS: [&str; 10] = ["--phc", PHC, "--steer", "phc", "-O", "0", "-P", "0.001", "-I", "0.001"];
/// The card's register counts in these, 2^-23, and does not see a frequency that is less.
const UNIT_PPB: f64 = 119.2;
/// By how much it is off when it begins.
const OFF: Span = Span::from_s(5);
/// Much less than [`OFF`].
const NEAR: Span = Span::from_ms(5);
/// Updates that are waited for after the step.
const UPDATES: usize = 20;
/// What the output's thousandths of ppb lose, and then some.
const ROUNDED_PPB: f64 = 0.002;

/// It steps the card, sets its frequency and no other, and lets go of it where somebody else steers.
pub(crate) fn check() {
    tune();
    refused();
    follows();
    ends_where_another_steers();
    open().set_frequency(Frequency::ZERO).expect("opened for writing");
}

fn open() -> PhcDevice {
    PhcDevice::open(PHC, Access::Write).expect("open")
}

/// Has the system's clock run as the card does by itself, so that the servo has next to nothing to set: a guest finds out how fast its
/// processor counts to some hundred ppb.
fn tune() {
    const WHILE: Duration = Duration::from_secs(10);
    open().set_frequency(Frequency::ZERO).expect("opened for writing");
    let look = || (Realtime::now(), ahead(PHC));
    let (begin, before) = look();
    thread::sleep(WHILE);
    let (end, after) = look();
    let gained_ppb = (after - before).as_ns() * 1_000_000_000 / (end - begin).as_ns();
    let gained_ppb = f64::from(i32::try_from(gained_ppb).expect("little"));
    let found = system::discipline().expect("an answer").frequency;
    let tuned = Frequency::from_ppb(found.ppb() - gained_ppb);
    system::set_frequency(tuned).expect("this may");
    println!("guest: the system's clock is set from {} to {} ppb", found.ppb(), tuned.ppb());
}

fn refused() {
    let message = || {
        let output = instamp().arg("sync").args(OPTIONS).output().expect("start instamp");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        println!("guest: refused: {}", message.trim_end());
        message
    };
    let mut phc2sys = Phc2sys::steering(PHC, "CLOCK_REALTIME", 10, 5, &[]);
    phc2sys.next().expect("it runs");
    assert!(message().contains("phc2sys"));
    drop(phc2sys);
    let phc = open();
    assert!(message().contains(&format!("(pid {})", process::id())));
    drop(phc);
}

fn follows() {
    let phc = open();
    // Nobody else's setting.
    phc.set_frequency(Frequency::ZERO).expect("opened for writing");
    phc.step(ahead(PHC) + OFF).expect("opened for writing");
    drop(phc);
    let before = ahead(PHC);
    let mut sync = Sync::start(&OPTIONS);
    sync.reaches(|line| line["steered"]["servo"] == "stepped");
    let is_steered = |line: &Value| line["type"] == "update" && line["steered"].is_object();
    let mut updates: Vec<_> = sync.by_ref().filter(is_steered).take(UPDATES).collect();
    updates.extend(sync.end().into_iter().filter(is_steered));
    // What is told is what the card does by itself.
    let told = |update: &Value| -update["steered"]["frequency_ppb"].as_f64().expect("a frequency");
    assert!(updates.iter().all(|update| told(update).abs() < UNIT_PPB), "the card jumps with these: {updates:#?}");
    assert!(updates.iter().all(|update| update["steered"]["servo"] == "locked"), "{updates:#?}");

    let after = ahead(PHC);
    figure(format_args!("sync --steer phc: {before} off before, {after} afterwards"));
    assert!(before.abs() > OFF.half() && after.abs() < NEAR, "{before} off before, {after} afterwards");

    let (told, found) = (told(updates.last().expect("some")), open().frequency().expect("an answer").ppb());
    assert!((found - told).abs() < ROUNDED_PPB, "{told} ppb was set, and {found} ppb found");
    assert!(found != 0.0, "nothing was set");
    println!("guest: sync --steer phc: {found} ppb set");
}

fn ends_where_another_steers() {
    open().set_frequency(Frequency::ZERO).expect("opened for writing");
    let mut sync = Sync::start(&OPTIONS);
    // After each update, should it adjust the clock at the same moment; at once, so that nobody is seen to have the card open.
    for _ in sync.by_ref().filter(|line| line["steered"]["servo"] == "locked") {
        open().set_frequency(Frequency::from_ppb(1000.0)).expect("opened for writing");
    }
    let message = sync.fails();
    assert!(message.contains("somebody else steers the card's clock: its frequency is +1000.0"), "{message}");
    println!("guest: ended: {}", message.trim_end());
    let found = open().frequency().expect("an answer");
    assert_eq!(found, Frequency::from_ppb(1000.0), "the other one's setting stays");
}
