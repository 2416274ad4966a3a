//! A lab whose host reaches its remote through two network cards on a wire.

use std::process::Command;

use hwtstamp::{Interface, Numbered as _, Setting};
use instamp_tests::{lab::Lab, ping::Run};
use serde_json::Value;

/// The card of the host, through which its containers' probes leave.
pub(crate) const CARD: &str = "eth0";
/// The address at the other end of the wire, and the one of IPv6.
pub(crate) const REMOTE: &str = "192.0.2.2";
pub(crate) const REMOTE6: &str = "2001:db8::2";

/// How far away the other end is. Under emulation the wire takes no time, and the driver asks the card for its time later than a reply
/// would come.
const DELAY: &str = "20ms";
/// Pings that ask for the card's times, with room for all stamps, so often that one is under way.
pub(crate) const OPTIONS: [&str; 7] = ["--hw", "--cap", "6", "-s", "88", "-i", "40ms"];
/// How many seconds the link may take to come back. The driver takes it down for three.
const LINK_SECONDS: usize = 30;

pub(crate) struct Uplink(Lab);

impl Uplink {
    pub(crate) fn up() -> Self {
        let lab = Lab::up(&[]);
        for (role, card, number) in [("host", CARD, 1), ("remote", "eth1", 2)] {
            // While it is here.
            let moved = Command::new("ip").args(["link", "set", card, "netns", &lab.namespace(role)]).status();
            assert!(moved.expect("start ip").success(), "{card}");
            for command in [
                &format!("address add 192.0.2.{number}/24 dev {card}"),
                &format!("address add 2001:db8::{number}/64 dev {card} nodad"),
                &format!("link set {card} up"),
            ] {
                lab.run(role, "ip", &command.split(' ').collect::<Vec<_>>());
            }
        }
        lab.run("remote", "tc", &["qdisc", "add", "dev", "eth1", "root", "netem", "delay", DELAY]);
        Self(lab)
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.0
    }

    /// Attaches to the card with more `options`: what the command says besides.
    pub(crate) fn attach(&self, options: &[&str]) -> String {
        let output = self.0.instamp("host").args(["attach", "--dev", CARD]).args(options).output().expect("instamp");
        let notices = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "attach {options:?}: {notices}");
        let text = String::from_utf8(output.stdout).expect("text");
        println!("guest: attach {options:?}: {}", [&text, notices.as_str()].concat().trim_end());
        notices
    }

    pub(crate) fn detach(&self) {
        self.0.detach("host", CARD);
    }

    pub(crate) fn await_link(&self) {
        let is_up = (0..LINK_SECONDS).any(|_| self.ping("c1", REMOTE, 1).code == 0);
        assert!(is_up, "{CARD} has no link after {LINK_SECONDS} s");
    }

    /// Pings from the namespace of `role`.
    pub(crate) fn ping(&self, role: &str, destination: &str, count: u64) -> Run {
        Run::new(&self.0, role, &[&OPTIONS[..], &["-c", &count.to_string(), destination]].concat())
    }

    /// What is attached to the card; `null` if nothing is.
    pub(crate) fn status(&self) -> Value {
        let status = self.0.run("host", "instamp", &["status", "--json"]);
        let mut devices = status.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        devices.find(|device| device["device"] == CARD).unwrap_or_default()
    }

    /// By what a hook is attached.
    pub(crate) fn mechanism(&self, hook: &str) -> Option<String> {
        let status = self.status();
        let state = status["hooks"].as_array()?.iter().find(|state| state["hook"] == hook)?;
        state["mechanism"].as_str().map(str::to_owned)
    }

    /// What became of the requests that were sent so far.
    pub(crate) fn sent(&self) -> Sent {
        let status = self.status();
        let count = |name: &str| status["sent"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {status}"));
        Sent { asked: count("nic_asked"), late: count("nic_late"), skipped: count("nic_skipped") }
    }

    pub(crate) fn caps(&self) -> Value {
        serde_json::from_str(&self.0.run("host", "instamp", &["caps", "--json", "--dev", CARD])).expect("JSON")
    }

    /// What the card stamps.
    pub(crate) fn setting(&self) -> Setting {
        self.0.enter("host", || Interface::open(CARD).and_then(|card| card.setting()).expect("an answer"))
    }

    /// Sets what the card stamps, as somebody else.
    pub(crate) fn set(&self, setting: Setting) {
        let [tx, rx] = [setting.tx.number(), setting.rx.number()].map(|number| number.to_string());
        self.0.run("host", "hwstamp_ctl", &["-i", CARD, "-t", &tx, "-r", &rx]);
    }
}

/// The card's times of requests that asked for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) asked: u64,
    pub(crate) late: u64,
    pub(crate) skipped: u64,
}

impl Sent {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { asked: self.asked - before.asked, late: self.late - before.late, skipped: self.skipped - before.skipped }
    }
}
