//! What cards are set to stamp.

use std::process::{self, Command};

use hwtstamp::{Access, Cause, Change, ConfigGuard, Interface, PhcDevice, RxFilter, Setting, TxMode};
use instamp_tests::lab::instamp;
use nix::errno::Errno;
use serde_json::{Value, json};

/// What PTP daemons want.
pub(crate) const PTP_EVENTS: Setting = Setting { tx: TxMode::ON, rx: RxFilter::PTP_V2_EVENT };

const CARD: &str = "eth0";

/// A card is set, others' settings are refused and left, and what was found is put back.
pub(crate) fn check() {
    let card = Interface::open(CARD).expect("a card");
    let found = card.discover().expect("an answer");
    assert_eq!((found.driver.as_deref(), found.is_owned()), (Some("igb"), false));
    assert!(matches!(found.setting, Ok(Some(Setting::OFF))), "{:?}", found.setting);
    let phc = found.timestamping.and_then(|timestamping| timestamping.phc).expect("a clock");
    let names: Vec<_> = Interface::of_phc(phc).expect("an answer").iter().map(|card| card.name().to_owned()).collect();
    assert_eq!(names, [CARD]);

    let error = Change::make(&card, Setting { rx: RxFilter::ALL, ..PTP_EVENTS }).expect_err("made for PTP alone");
    assert_eq!(error.raw_os_error(), Some(Errno::ERANGE as i32), "{error}");
    println!("guest: refused: {error}");
    assert_eq!(card.setting().expect("an answer"), Setting::OFF);

    let guard = ConfigGuard::set(&card, PTP_EVENTS).expect("it can");
    let made = guard.change().made;
    assert!(made.covers(PTP_EVENTS) && card.setting().expect("an answer") == made, "{made}");
    drop(ConfigGuard::set(&card, PTP_EVENTS).expect("set already"));
    assert_eq!(card.setting().expect("an answer"), made, "what another has set is left");
    let open = PhcDevice::open_index(phc, Access::Read).expect("open");
    let caps = instamp().args(["caps", "--json", "--dev", CARD]).output().expect("start instamp").stdout;
    let caps: Value = serde_json::from_slice(&caps).expect("JSON");
    assert_eq!((&caps["hardware_tx_type"], &caps["hardware_rx_filter"]), (&json!("on"), &json!(made.rx.to_string())));
    let holders = caps["phc_holders"].as_array().expect("a list");
    assert!(holders.iter().any(|holder| holder["pid"] == process::id()), "{caps}");
    let error = Change::make(&card, Setting { tx: TxMode::ONESTEP_SYNC, ..PTP_EVENTS }).expect_err("set by another");
    assert!(matches!(error.cause(), Cause::Owned(_)), "{error}");
    assert!(error.to_string().contains(&format!("(pid {})", process::id())), "who has its clock open: {error}");
    drop(open);
    println!("guest: refused: {error}");
    guard.restore().expect("put back");
    assert_eq!(card.setting().expect("an answer"), Setting::OFF);

    drop(ConfigGuard::set(&card, PTP_EVENTS).expect("it can"));
    assert_eq!(card.setting().expect("an answer"), Setting::OFF);

    let guard = ConfigGuard::set(&card, PTP_EVENTS).expect("it can");
    hwstamp_ctl(["-t", "0", "-r", "12"]);
    let changed = card.setting().expect("an answer");
    assert!(changed != made && changed != Setting::OFF, "{changed}");
    let error = guard.restore().expect_err("changed by another");
    assert!(matches!(error.cause(), Cause::Owned(_)) && card.setting().expect("an answer") == changed, "{error}");
    println!("guest: refused: {error}");
    hwstamp_ctl(["-t", "0", "-r", "0"]);
}

/// linuxptp's way to set a card.
fn hwstamp_ctl(options: [&str; 4]) {
    let output = Command::new("hwstamp_ctl").args(["-i", CARD]).args(options).output().expect("start hwstamp_ctl");
    assert!(output.status.success(), "hwstamp_ctl {options:?}: {output:?}");
}
