//! A container runtime's side of the CNI plugin: containers that are network namespaces, and calls of the plugin for them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::{commands::plugin, lab::Lab};

/// The network that the plugin is called for.
pub const NETWORK: &str = "pods";

/// A network namespace behind a veth of the lab's host. Dropping it removes it.
#[derive(Debug)]
pub struct Sandbox<'a> {
    lab: &'a Lab,
    /// Its name, which is also the container's identifier.
    pub id: String,
    veth: String,
}

impl<'a> Sandbox<'a> {
    /// The device inside.
    pub const INTERFACE: &'static str = "eth0";

    /// Makes one, of a number that no other of the lab has.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn new(lab: &'a Lab, number: u8) -> Self {
        let sandbox = Self { lab, id: format!("{}-s{number}", lab.name()), veth: format!("veth-s{number}") };
        let Self { id, veth, .. } = &sandbox;
        run("ip", &["netns", "add", id]);
        lab.run("host", "ip", &["link", "add", veth, "type", "veth", "peer", "name", Self::INTERFACE, "netns", id]);
        lab.run("host", "ip", &["link", "set", veth, "up"]);
        lab.run("host", "ip", &["addr", "add", &format!("10.66.{number}.1/24"), "dev", veth]);
        run("ip", &["-n", id, "addr", "add", &format!("10.66.{number}.2/24"), "dev", Self::INTERFACE]);
        run("ip", &["-n", id, "link", "set", Self::INTERFACE, "up"]);
        run("ip", &["-n", id, "route", "add", "default", "via", &format!("10.66.{number}.1")]);
        sandbox
    }

    /// The path of the network namespace.
    pub fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.id)
    }

    /// What the plugin before has done, as far as that counts.
    pub fn result(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": self.veth },
                { "name": Self::INTERFACE, "sandbox": self.namespace() },
            ],
            "ips": [], "dns": {},
        })
    }

    /// Calls the plugin for it, with this besides the network's name and the result before.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn call(&self, command: &str, options: &Value) -> Output {
        let namespace = self.namespace().display().to_string();
        let environment = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", &self.id),
            ("CNI_IFNAME", Self::INTERFACE),
            ("CNI_NETNS", &namespace),
            ("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
        ];
        let mut configuration = json!({ "cniVersion": "1.0.0", "name": NETWORK, "prevResult": self.result() });
        for (key, value) in options.as_object().into_iter().flatten() {
            configuration[key] = value.clone();
        }
        call(self.lab, &environment, &configuration)
    }

    /// Removes the device, as the end of the container does.
    ///
    /// # Panics
    ///
    /// It cannot be removed.
    pub fn unplug(&self) {
        self.lab.run("host", "ip", &["link", "delete", &self.veth]);
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        // A test may have removed either.
        let _ = self.lab.command("host", "ip").args(["link", "delete", &self.veth]).output();
        let _ = Command::new("ip").args(["netns", "delete", &self.id]).output();
    }
}

/// Calls the plugin on the lab's host.
///
/// # Panics
///
/// It cannot be started.
pub fn call(lab: &Lab, environment: &[(&str, &str)], configuration: &Value) -> Output {
    let mut command = lab.command("host", plugin());
    let command = command.envs(environment.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the plugin");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(configuration.to_string().as_bytes()).expect("the plugin reads");
    drop(input);
    child.wait_with_output().expect("the plugin")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
