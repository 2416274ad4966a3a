//! Runs of `instamp ping --json` in a lab.

use std::process::{Child, Command, Output, Stdio};

use instamp_tests::lab::Lab;
use serde_json::Value;

/// A run that was started.
pub(crate) struct Ping(Child);

impl Ping {
    /// Starts `instamp ping` in a container, with options.
    pub(crate) fn start(lab: &Lab, container: &str, options: &[&str]) -> Self {
        let mut command = lab.instamp(container);
        command.args(["ping", "--json", Lab::REMOTE]).args(options);
        Self(command.stdout(Stdio::piped()).spawn().expect("instamp ping"))
    }

    /// Waits for its end.
    pub(crate) fn records(self) -> Vec<Value> {
        parse(self.0.wait_with_output().expect("instamp ping"))
    }
}

/// Runs a command that ends in `instamp ping --json` and its options.
pub(crate) fn records(command: &mut Command) -> Vec<Value> {
    parse(command.output().expect("instamp ping"))
}

fn parse(output: Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout).expect("JSON Lines");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The records of this type.
pub(crate) fn of_type<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["type"] == kind).collect()
}

/// Attaches to the lab's card.
pub(crate) fn attach(lab: &Lab, ingress: &str) {
    let status =
        lab.instamp("host").args(["attach", "--dev", Lab::NIC, "--ingress", ingress]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "attach to {}", Lab::NIC);
}

/// Detaches from it.
pub(crate) fn detach(lab: &Lab) {
    let status = lab.instamp("host").args(["detach", "--dev", Lab::NIC]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "detach from {}", Lab::NIC);
}
