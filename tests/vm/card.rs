//! A network card with a hardware clock: what is found out about it, and native XDP in its driver.

use std::process::Command;

use instamp_tests::{lab::instamp, ping::Run};
use serde_json::Value;

const NEAR: &str = "eth0";
const FAR: &str = "eth1";
const ADDRESS: &str = "192.0.2.2";
const PROBES: u64 = 20;
/// How many seconds the link may take to come back. The driver takes it down for three.
const LINK_SECONDS: usize = 30;

/// Two cards of igb on one wire: what one sends the other is corrected.
pub(crate) fn check() {
    let caps: Value = serde_json::from_str(&output(instamp().args(["caps", "--json", "--dev", NEAR])).0).expect("JSON");
    assert_eq!(caps["driver"], "igb");
    assert!(caps["kind"].is_null(), "a network card: {caps}");
    assert!(caps["phc_index"].is_u64(), "has a hardware clock: {caps}");
    for (list, name) in [
        ("timestamping_modes", "hardware-transmit"),
        ("timestamping_modes", "hardware-receive"),
        ("hardware_tx_types", "on"),
        ("hardware_rx_filters", "ptpv2-event"),
    ] {
        assert!(caps[list].as_array().is_some_and(|names| names.iter().any(|known| known == name)), "{name}: {caps}");
    }

    for command in [
        "netns add far",
        &format!("link set {FAR} netns far"),
        &format!("-n far address add {ADDRESS}/24 dev {FAR}"),
        &format!("-n far link set {FAR} up"),
        &format!("address add 192.0.2.1/24 dev {NEAR}"),
        &format!("link set {NEAR} up"),
    ] {
        output(Command::new("ip").args(command.split(' ')));
    }
    let (_, notices) = output(instamp().args(["attach", "--dev", NEAR]));
    println!("guest: {}", notices.trim_end());
    assert!(notices.contains("take the link down"), "{notices}");
    let status = output(instamp().args(["status", "--json"])).0;
    assert!(status.contains("native"), "{status}");

    let is_up = (0..LINK_SECONDS).any(|_| ping("1").code == 0);
    assert!(is_up, "{NEAR} has no link {LINK_SECONDS} s after attaching");
    ping(&PROBES.to_string()).all_corrected(PROBES);
    output(instamp().args(["detach", "--dev", NEAR]));
}

fn ping(count: &str) -> Run {
    Run::of(instamp().args(["ping", "--json", "-i", "10ms", "-W", "1", "-c", count, ADDRESS]))
}

/// What a command writes: to standard output, and as messages.
fn output(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [text, messages] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert!(output.status.success(), "{command:?}: {messages}");
    (text, messages)
}
