//! Both ends of the lab's wire, and who turns probes round at the far one.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use instamp_tests::lab::Lab;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// The device of the remote.
pub(super) const REMOTE_DEVICE: &str = "eth0";

/// The addresses of both ends.
pub(super) struct Wire {
    pub(super) host_address: String,
    pub(super) host_mac: [u8; 6],
    pub(super) remote_mac: [u8; 6],
}

impl Wire {
    pub(super) fn of(lab: &Lab) -> Self {
        let host = link(lab, "host", Lab::NIC);
        let remote = link(lab, "remote", REMOTE_DEVICE);
        let addresses = host["addr_info"].as_array().expect("addresses");
        let address = addresses.iter().find(|address| address["family"] == "inet").expect("an IPv4 address");
        Self {
            host_address: address["local"].as_str().expect("text").to_owned(),
            host_mac: mac(&host),
            remote_mac: mac(&remote),
        }
    }
}

fn link(lab: &Lab, role: &str, device: &str) -> Value {
    let text = lab.run(role, "ip", &["-json", "address", "show", "dev", device]);
    let links: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    links.into_iter().next().expect("the device")
}

fn mac(link: &Value) -> [u8; 6] {
    let text = link["address"].as_str().expect("a MAC address");
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("6 bytes")
}

/// `instamp reflect` at the remote. Dropping it ends it.
pub(super) struct Reflector(Child);

impl Reflector {
    pub(super) fn start(lab: &Lab) -> Self {
        let mut command = lab.instamp("remote");
        command.args(["reflect", "--dev", REMOTE_DEVICE, "--allow", "10.99.0.0/24", "--rate", "0", "--node", "9"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("instamp reflect");
        let mut first = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout).read_line(&mut first).expect("a line when it is ready");
        assert!(!first.is_empty(), "instamp reflect has ended");
        Self(child)
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        let process = Pid::from_raw(self.0.id().cast_signed());
        kill(process, Signal::SIGTERM).expect("its own process");
        self.0.wait().expect("its end");
    }
}
