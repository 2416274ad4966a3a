//! What the figures depend on.

use std::fs;

use serde_json::json;

/// Prints the machine on which the figures are taken.
pub(crate) fn print() {
    let processor = read("/proc/cpuinfo").lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let result = json!({
        "type": "machine",
        "kernel": read("/proc/sys/kernel/osrelease"),
        "processor": processor,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        // Where the kernel chooses frequencies and idle states, wake-ups take 3 us or 50.
        "governor": fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok().map(trimmed),
        "idle_driver": fs::read_to_string("/sys/devices/system/cpu/cpuidle/current_driver").ok().map(trimmed),
        "clock_source": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    });
    println!("{result}");
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(trimmed).unwrap_or_default()
}

#[expect(clippy::needless_pass_by_value, reason = "takes what reading gives")]
fn trimmed(text: String) -> String {
    text.trim().to_owned()
}
