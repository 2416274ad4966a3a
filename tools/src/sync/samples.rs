//! What is told, for tests.

use std::io;

use super::told::{Clock, Servo, Spread, Steered, Tally, Update};

pub(super) fn clock() -> Clock {
    Clock {
        name: "/dev/ptp0".into(),
        devices: vec!["eth0".into(), "eth1".into()],
        method: "extended",
        file: "/run/instamp/clock/ptp0".into(),
        map: Ok("/sys/fs/bpf/instamp/clock/ptp0".into()),
    }
}

pub(super) fn stand_in() -> Clock {
    Clock {
        name: "CLOCK_MONOTONIC_RAW".into(),
        devices: Vec::new(),
        method: "sandwich",
        file: "/run/instamp/clock/monotonic_raw".into(),
        map: Err("no bpffs is mounted".into()),
    }
}

pub(super) fn update() -> Update<'static> {
    Update {
        clock: "/dev/ptp0",
        time_ns: 2_146_667_417_031,
        state: "locked",
        epoch: 3,
        event: None,
        offset_ns: Some(-12),
        delay_ns: 1120,
        rate_ppb: Some(-1_234.567_8),
        bound_ns: Some(345),
        unassumed_ns: Some(550),
        steered: None,
    }
}

pub(super) fn first_update() -> Update<'static> {
    Update { state: "acquiring", offset_ns: None, rate_ppb: None, bound_ns: None, unassumed_ns: None, ..update() }
}

pub(super) fn steered_update() -> Update<'static> {
    let steered =
        Steered { sink: "CLOCK_REALTIME", source: "phc", offset_ns: -123, servo: Servo::Locked, frequency_ppb: 456.4 };
    Update { steered: Some(steered), ..update() }
}

/// Two updates, and one that failed.
pub(super) fn tally() -> Tally {
    let mut spread = Spread::default();
    spread.count(&first_update());
    spread.count(&update());
    Tally { updates: 2, missed: 1, acquired: 1, withdrawn: 0, spread }
}

/// What `write` writes.
pub(super) fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a vector");
    String::from_utf8(out).expect("text")
}
