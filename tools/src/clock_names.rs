//! How users name clocks: by device, by network interface, or the one that stands in for a card's.

use std::path::{Path, PathBuf};

use anyhow::bail;
use hwtstamp::Interface;
use instamp_clockmap::Device;

/// The clock that stands in for a card's where there is none.
const STAND_IN: &str = "CLOCK_MONOTONIC_RAW";

/// A clock that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    pub(crate) device: Device,
    /// The interfaces that it was asked for by.
    pub(crate) interfaces: Vec<String>,
}

/// What people call a clock: `/dev/ptp0`, `CLOCK_MONOTONIC_RAW`.
pub(crate) fn name(device: Device) -> String {
    match device {
        Device::Phc(_) => Path::new("/dev").join(device.to_string()).display().to_string(),
        Device::MonotonicRaw => STAND_IN.to_owned(),
    }
}

/// Reads the name of a clock: `/dev/ptp0` or what links there, or `CLOCK_MONOTONIC_RAW`.
///
/// # Errors
///
/// What is wrong with it, for the message of the command line's parser.
pub(crate) fn parse(text: &str) -> Result<Device, String> {
    if text == STAND_IN {
        return Ok(Device::MonotonicRaw);
    }
    // Such as /dev/ptp_kvm, which udev makes for the clock of the machine below a virtual one.
    let path = std::fs::canonicalize(text).unwrap_or_else(|_| PathBuf::from(text));
    let device = path.strip_prefix("/dev").ok().and_then(|name| name.to_str()?.parse().ok());
    device.filter(|device| matches!(device, Device::Phc(_))).ok_or_else(|| format!("expected /dev/ptpN, or {STAND_IN}"))
}

/// The clocks of network interfaces and those named themselves, each once.
///
/// # Errors
///
/// An interface does not exist, or has no clock.
pub(crate) fn choose(interfaces: &[String], clocks: &[Device]) -> anyhow::Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for interface in interfaces {
        let Some(index) = Interface::open(interface)?.timestamping()?.and_then(|stamps| stamps.phc) else {
            bail!("{interface} has no hardware clock: `instamp caps --dev {interface}` shows what it has");
        };
        add(&mut chosen, Device::Phc(index), Some(interface));
    }
    for &clock in clocks {
        add(&mut chosen, clock, None);
    }
    Ok(chosen)
}

fn add(chosen: &mut Vec<Chosen>, device: Device, interface: Option<&String>) {
    let position = chosen.iter().position(|other| other.device == device).unwrap_or_else(|| {
        chosen.push(Chosen { device, interfaces: Vec::new() });
        chosen.len() - 1
    });
    chosen[position].interfaces.extend(interface.cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        for (text, device) in
            [("/dev/ptp0", Device::Phc(0)), ("/dev/ptp17", Device::Phc(17)), (STAND_IN, Device::MonotonicRaw)]
        {
            assert_eq!(parse(text), Ok(device));
            assert_eq!(name(device), text);
        }
        for text in ["ptp0", "eth0", "/dev/ptp", "/dev/null", "/dev/monotonic_raw", "CLOCK_REALTIME", ""] {
            assert_eq!(parse(text), Err("expected /dev/ptpN, or CLOCK_MONOTONIC_RAW".into()), "{text}");
        }
    }

    #[test]
    fn clocks_that_are_named_twice_are_one() {
        let mut chosen = Vec::new();
        for (device, interface) in [
            (Device::Phc(1), Some("eth0")),
            (Device::Phc(0), Some("eth1")),
            (Device::Phc(1), Some("eth2")),
            (Device::Phc(0), None),
        ] {
            add(&mut chosen, device, interface.map(str::to_owned).as_ref());
        }
        let expected = [(Device::Phc(1), vec!["eth0", "eth2"]), (Device::Phc(0), vec!["eth1"])];
        let chosen: Vec<_> = chosen
            .iter()
            .map(|Chosen { device, interfaces }| (*device, interfaces.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(chosen, expected);
    }
}
