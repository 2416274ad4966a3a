//! `instamp watch`, as it runs beside what is watched.

use std::{
    collections::{HashMap, HashSet},
    process::Command,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{capture::Echo, dialogue::Dialogue, lab::Lab, ping::number, quantiles::median};

/// A watcher of the lab's card that is running. Dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    process: Dialogue,
    /// What it has told so far, as far as it was read.
    lines: Vec<Value>,
}

/// What it has told.
#[derive(Debug)]
pub struct Watched {
    lines: Vec<Value>,
}

impl Watching {
    /// Watches from now on, with these options.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(lab: &Lab, options: &[&str]) -> Self {
        Self::of(lab.instamp("host"), options)
    }

    /// Likewise, at another device of the lab's host.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn at(lab: &Lab, device: &str, options: &[&str]) -> Self {
        Self::by(lab.instamp("host"), device, options)
    }

    /// Likewise, where the `instamp` command would be run.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn of(command: Command, options: &[&str]) -> Self {
        Self::by(command, Lab::NIC, options)
    }

    fn by(mut command: Command, device: &str, options: &[&str]) -> Self {
        let mut process = Dialogue::start(command.args(["watch", "--json", "--dev", device]).args(options));
        let first = process.wait_for("\n");
        assert!(first.contains(r#""type":"start""#), "{first}");
        Self { process, lines: Vec::new() }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// It is not there any more.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Awaits so many more replies.
    ///
    /// # Panics
    ///
    /// It ends before, or there are none for a minute.
    pub fn await_replies(&mut self, count: usize) -> &[Value] {
        let (mut awaited, known) = (count, self.lines.len());
        while awaited > 0 {
            let line = parsed(&self.process.wait_for("\n"));
            awaited -= usize::from(line["type"] == "reply");
            self.lines.push(line);
        }
        &self.lines[known..]
    }

    /// Ends it, and returns what it has told.
    ///
    /// # Panics
    ///
    /// It has failed.
    pub fn stop(mut self) -> Watched {
        self.process.interrupt();
        self.wait()
    }

    /// Awaits its end, and returns what it has told.
    ///
    /// # Panics
    ///
    /// It has failed.
    pub fn wait(self) -> Watched {
        let Self { process, mut lines } = self;
        let output = process.wait();
        assert!(matches!(output.status.code(), Some(0 | 1)), "instamp watch: {}", output.status);
        lines.extend(String::from_utf8(output.stdout).expect("text").lines().map(parsed));
        Watched { lines }
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

impl Watched {
    /// The replies, in the order in which they came.
    pub fn replies(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == "reply").collect()
    }

    /// Those of a sender, by the name of its network namespace.
    pub fn of(&self, sender: &str) -> Vec<&Value> {
        self.replies().into_iter().filter(|reply| reply["sender"] == sender).collect()
    }

    /// What was told of the senders at the end.
    pub fn senders(&self) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["type"] == "sender").collect()
    }

    /// The last line.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn summary(&self) -> &Value {
        self.lines.last().filter(|line| line["type"] == "summary").unwrap_or_else(|| panic!("no summary: {self:?}"))
    }
}

/// What was told of a sender.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The identifier that it has sent under.
    pub identifier: i64,
    /// What it was on the network.
    pub network_identifier: i64,
}

/// What was told of several senders, and how near to a capture.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Each sender.
    pub told: Vec<Told>,
    /// Of each reply, in nanoseconds: how far the time between request and reply at the place of the capture is from what that saw.
    pub differences: Vec<i64>,
    /// Of each reply, in nanoseconds: the time from its sender's device and back to it.
    pub totals: Vec<i64>,
}

impl Agreement {
    /// Asserts that it is much nearer to the capture than the round trips are long.
    ///
    /// # Panics
    ///
    /// It is not.
    #[track_caller]
    pub fn is_near(&self) {
        let [difference, total] = [&self.differences, &self.totals].map(|of| median(of));
        println!("median of the differences from the capture {difference} ns, of the round trips {total} ns");
        assert!(
            difference * 5 <= total,
            "net differs from the capture by {difference} ns, the round trip is {total} ns"
        );
    }
}

impl Watched {
    /// Asserts that each reply is told once, of the sender whose it is, and compares its times with those of a capture of the card. The capture
    /// knows whose a message is by the length of its payload: `senders` are names, each with a length that no other has, and have sent so
    /// many `probes` under one identifier.
    ///
    /// # Panics
    ///
    /// It is not so.
    pub fn each_is_its_sender_s(&self, senders: &[(&str, usize)], probes: u16, echoes: &[Echo]) -> Agreement {
        let [requests, replies] = by_number(echoes);
        let (mut differences, mut totals) = (Vec::new(), Vec::new());
        let told = senders.iter().map(|(sender, length)| {
            let of = self.of(sender);
            let sequences: HashSet<i64> = of.iter().map(|reply| number(reply, "seq")).collect();
            assert_eq!(
                (of.len(), sequences.len()),
                (probes.into(), probes.into()),
                "{sender}: each once: {}",
                self.summary()
            );
            let mut told = HashSet::new();
            for reply in of {
                adds_up(reply);
                assert_eq!(reply["ambiguous"], false, "{reply}");
                let (request, echo) = (requests[&network_number(reply)], replies[&network_number(reply)]);
                assert_eq!(request.payload.len(), *length, "the message of another: {reply}");
                assert_eq!(text(reply, "network_source"), request.source.to_string(), "{reply}");
                assert_eq!(text(reply, "destination"), request.destination.to_string(), "{reply}");
                told.insert(["identifier", "network_identifier"].map(|name| number(reply, name)));
                let seen = i64::try_from(echo.time_ns - request.time_ns).expect("an order");
                differences.push((net_at_capture(reply) - seen).abs());
                totals.push(number(reply, "total_ns"));
            }
            assert_eq!(told.len(), 1, "{sender} under one identifier: {told:?}");
            told.into_iter().map(|[identifier, network_identifier]| Told { identifier, network_identifier })
        });
        let told = told.flatten().collect();
        assert_eq!(self.replies().len(), senders.len() * usize::from(probes), "and none of anybody else");
        assert_eq!(self.summary()["loss"], 0.0, "{}", self.summary());
        Agreement { told, differences, totals }
    }
}

/// A member of a line.
///
/// # Panics
///
/// It has no text of this name.
#[track_caller]
pub fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}"))
}

/// A message of the network, by identifier and sequence number.
pub type Number = (u16, u16);

/// The requests and the replies of a capture.
///
/// # Panics
///
/// Several have the same number.
pub fn by_number(echoes: &[Echo]) -> [HashMap<Number, &Echo>; 2] {
    [false, true].map(|is_reply| {
        let those = echoes.iter().filter(|echo| echo.is_reply == is_reply);
        let mut found = HashMap::new();
        for echo in those {
            let number = (echo.identifier, echo.sequence);
            assert!(found.insert(number, echo).is_none(), "one message of a number: {number:?}");
        }
        found
    })
}

/// The number that a probe has on the network.
///
/// # Panics
///
/// The line has none.
#[track_caller]
pub fn network_number(reply: &Value) -> Number {
    let [identifier, sequence] = ["network_identifier", "seq"].map(|name| u16::try_from(number(reply, name)));
    (identifier.expect("16 bits"), sequence.expect("16 bits"))
}

/// The time between request and reply at the place of the capture: where the uplink gets the request, since the capture's own work lies
/// between there and the driver.
#[track_caller]
pub fn net_at_capture(reply: &Value) -> i64 {
    number(reply, "uplink_rx_ns") - number(reply, "uplink_queue_ns")
}

/// Asserts that the parts of a reply of a container add up, and are none of them negative.
///
/// # Panics
///
/// They do not.
#[track_caller]
pub fn adds_up(reply: &Value) {
    let parts = ["tx_host_ns", "net_ns", "rx_host_ns"].map(|name| number(reply, name));
    assert_eq!(parts.iter().sum::<i64>(), number(reply, "total_ns"), "{reply}");
    assert!(parts.iter().all(|part| *part >= 0), "{reply}");
    assert!((0..=number(reply, "tx_host_ns")).contains(&number(reply, "queue_ns")), "{reply}");
}
