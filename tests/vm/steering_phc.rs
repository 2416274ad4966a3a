//! `instamp sync --steer phc`: a card's clock follows the system's. The emulated card's time jumps when its frequency is adjusted,
//! by some 90 us for 1 ppm, so this shows what the command does, and not how well.

use std::process;

use hwtstamp::{Access, Frequency, PhcDevice, Span};
use instamp_tests::{lab::instamp, vm::figure};
use serde_json::Value;

use crate::{phc2sys::Phc2sys, steering::ahead, sync::Sync};

/// The second card's: the first is the one that others follow.
const PHC: &str = "/dev/ptp1";
/// With constants so small that the servo settles in spite of the jumps.
const OPTIONS: [&str; 10] = ["--phc", PHC, "--steer", "phc", "-O", "0", "-P", "0.004", "-I", "0.004"];
/// By how much it is off when it begins.
const OFF: Span = Span::from_s(5);
/// Much less than [`OFF`], and much more than the jumps.
const NEAR: Span = Span::from_ms(5);
/// Updates that are waited for after the step.
const UPDATES: usize = 20;
/// Rarely the emulated card's time jumps by more than an hour when its frequency is set, which no servo brings back without a step. The
/// servo tells that by beginning anew.
const ATTEMPTS: usize = 3;
/// What the output's thousandths of ppb lose, and then some.
const ROUNDED_PPB: f64 = 0.002;

/// It steps the card, sets its frequency and no other, and lets go of it where somebody else steers.
pub(crate) fn check() {
    refused();
    follows();
    ends_where_another_steers();
    open().set_frequency(Frequency::ZERO).expect("opened for writing");
}

fn open() -> PhcDevice {
    PhcDevice::open(PHC, Access::Write).expect("open")
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
    for _ in 0..ATTEMPTS {
        if has_followed() {
            return;
        }
        println!("guest: sync --steer phc: ONCE MORE, as the emulated card's time has jumped by itself");
    }
    panic!("the emulated card's time has jumped by itself {ATTEMPTS} times");
}

/// Whether it could be shown: not where the card's time jumped so far that the servo began anew.
fn has_followed() -> bool {
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
    if updates.iter().any(|update| update["steered"]["servo"] == "measuring") {
        return false;
    }
    assert!(updates.iter().all(|update| update["steered"]["servo"] != "stepped"), "stepped again: {updates:#?}");

    let after = ahead(PHC);
    figure(format_args!("sync --steer phc: {before} off before, {after} afterwards"));
    assert!(before.abs() > OFF.half() && after.abs() < NEAR, "{before} off before, {after} afterwards");

    // What is told is what the card does by itself.
    let told = |update: &Value| -update["steered"]["frequency_ppb"].as_f64().expect("a frequency");
    let (told, found) = (told(updates.last().expect("some")), open().frequency().expect("an answer").ppb());
    assert!((found - told).abs() < ROUNDED_PPB, "{told} ppb was set, and {found} ppb found");
    assert!(found != 0.0, "nothing was set");
    println!("guest: sync --steer phc: {found} ppb set");
    true
}

fn ends_where_another_steers() {
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
