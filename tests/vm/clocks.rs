//! Two network cards, each with a hardware clock of its own.

use std::{fs, path::Path};

use instamp_tests::lab::instamp;
use serde_json::Value;

/// `instamp caps` finds the clock of each card.
pub(crate) fn check() {
    let output = instamp().args(["caps", "--json"]).output().expect("start instamp");
    let text = String::from_utf8(output.stdout).expect("text");
    let devices = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut clocks: Vec<_> = devices.filter_map(|device| device["phc_index"].as_u64()).collect();
    clocks.sort_unstable();
    assert_eq!(clocks, [0, 1], "{text}");
    for clock in clocks {
        let name = fs::read_to_string(format!("/sys/class/ptp/ptp{clock}/clock_name")).expect("its name");
        assert!(Path::new(&format!("/dev/ptp{clock}")).exists(), "no device file of {name}");
        println!("guest: ptp{clock}: {}", name.trim_end());
    }
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource").expect("sysfs");
    println!("guest: the system's clocks count by {}", source.trim_end());
}
