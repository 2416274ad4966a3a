//! What `instamp ping --json` and `instamp probe --json` say.

use std::process::{Command, Output};

use serde_json::Value;

use crate::lab::Lab;

/// The output of one run.
#[derive(Debug)]
pub struct Run {
    lines: Vec<Value>,
    /// What it exited with.
    pub code: i32,
    /// What it said besides.
    pub messages: String,
}

impl Run {
    /// Pings from the namespace of `role` with these options, the destination among them.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn new(lab: &Lab, role: &str, options: &[&str]) -> Self {
        Self::of(lab.instamp(role).args(["ping", "--json"]).args(options))
    }

    /// Probes from the namespace of the host through the lab's card with these options, the targets among them.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn probe(lab: &Lab, options: &[&str]) -> Self {
        Self::of(lab.instamp("host").args(["probe", "--json", "--special", "--dev", Lab::NIC]).args(options))
    }

    /// Runs a command that ends in `instamp ping --json` and its options.
    ///
    /// # Panics
    ///
    /// It cannot be started, or ends by a signal.
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("instamp"))
    }

    /// The replies, first ones and others, in the order of their arrival.
    pub fn replies(&self) -> Vec<&Value> {
        self.of_type("reply")
    }

    /// The lines of a type: `timeout`, say.
    pub fn of_type(&self, name: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == name).collect()
    }

    /// The last line.
    ///
    /// # Panics
    ///
    /// There is none.
    #[track_caller]
    pub fn summary(&self) -> &Value {
        self.lines.last().filter(|line| line["type"] == "summary").unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    /// A number of the summary.
    ///
    /// # Panics
    ///
    /// It has no such number.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        self.summary()[name].as_u64().unwrap_or_else(|| panic!("no {name}: {}", self.summary()))
    }

    /// Asserts that `count` probes were sent, and that every one was answered once, in time, and corrected.
    ///
    /// # Panics
    ///
    /// It is not so.
    #[track_caller]
    pub fn all_probed(&self, count: u64) {
        let names = [
            "sent",
            "received",
            "corrected",
            "duplicates",
            "late",
            "forged",
            "from_others",
            "unroutable",
            "unresolved",
        ];
        let expected = [count, count, count, 0, 0, 0, 0, 0, 0];
        assert_eq!(names.map(|name| self.count(name)), expected, "{names:?}: {}", self.messages);
    }

    /// Asserts that `count` requests were sent, and that every one was answered once, in time, and corrected.
    ///
    /// # Panics
    ///
    /// It is not so.
    #[track_caller]
    pub fn all_corrected(&self, count: u64) {
        for (name, expected) in
            [("sent", count), ("received", count), ("corrected", count), ("duplicates", 0), ("late", 0), ("errors", 0)]
        {
            assert_eq!(self.count(name), expected, "{name}: {} {}", self.summary(), self.messages);
        }
        let replies = self.replies();
        assert_eq!(replies.len() as u64, count);
        replies.into_iter().for_each(adds_up);
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
        Self {
            lines: lines.collect(),
            code: output.status.code().unwrap_or_else(|| panic!("instamp ping: {}", output.status)),
            messages: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A number of a line, in nanoseconds where its name says so.
///
/// # Panics
///
/// It is not there, or `null`.
#[track_caller]
pub fn number(line: &Value, name: &str) -> i64 {
    line[name].as_i64().unwrap_or_else(|| panic!("no {name}: {line}"))
}

/// The time from the stamp of one hook to that of another, if a reply has both.
pub fn between(reply: &Value, from: &str, to: &str) -> Option<i64> {
    let stamps = reply["stamps"].as_array()?;
    let time = |hook| stamps.iter().find(|stamp| stamp["hook"] == hook)?["time_ns"].as_i64();
    Some(time(to)? - time(from)?)
}

/// `net` between the hooks that are next to a capture on the same device: what comes behind the capture is left out.
///
/// A capture takes the time of a request, then copies it, and then the driver gets it: its own work lies between its time and
/// driver-tx.
pub fn net_at_capture(reply: &Value) -> Option<i64> {
    between(reply, "tc-egress", "xdp-ingress").or_else(|| between(reply, "tc-egress", "tc-ingress"))
}

/// Asserts that a corrected reply's components sum up to its RTT, to the nanosecond.
#[track_caller]
fn adds_up(reply: &Value) {
    let components = ["tx_stack_ns", "net_ns", "remote_ns", "rx_stack_ns"].map(|name| number(reply, name));
    assert_eq!(components.iter().sum::<i64>(), number(reply, "rtt_ns"), "{reply}");
    assert!(components.iter().all(|component| *component >= 0), "{reply}");
}
