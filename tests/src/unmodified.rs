//! Other people's pings in containers of podman, several at once.

use std::{collections::HashSet, process::Stdio};

use crate::{
    capture::{Capture, ECHOES, echoes},
    dialogue::Dialogue,
    lab::Lab,
    podman::{IMAGE, Podman},
    watching::{Agreement, Watching},
};

/// Lengths of payloads, of which each container has its own: a witness knows it by that.
const LENGTHS: [usize; 6] = [40, 42, 44, 46, 48, 50];
/// The number of each container's process, under which busybox and fping send.
const PROCESS: i64 = 40;

/// Six containers, two with each tool, which send the same identifiers behind one address.
#[derive(Debug)]
pub struct Pinging<'a> {
    podman: &'a Podman<'a>,
    containers: Vec<Container>,
    probes: u16,
}

#[derive(Debug)]
struct Container {
    name: String,
    tool: &'static str,
    length: usize,
}

impl<'a> Pinging<'a> {
    /// Makes the containers, each for so many probes with this distance, in a podman whose image has the tools. They are not started.
    ///
    /// # Panics
    ///
    /// They cannot be made.
    pub fn new(podman: &'a Podman<'a>, probes: u16, interval_ms: u16) -> Self {
        let target = Lab::REMOTE;
        let seconds = f64::from(interval_ms) / 1000.0;
        let create = |(length, tool): (usize, &'static str)| {
            let ping = match tool {
                "ping" => format!("/bin/ping -n -q -e 77 -i {seconds} -c {probes} -s {length} {target}"),
                "busybox" => format!("/bin/busybox ping -q -i {seconds} -c {probes} -s {length} {target}"),
                // By itself it sends every 10 ms at most, and takes a reply for lost that comes later than its period.
                _ => format!("/bin/fping -q -i 1 -p {interval_ms} -t 20000 -c {probes} -b {length} {target}"),
            };
            // The runtime has had some numbers before.
            let wait = format!("until [ $(exec /bin/busybox sh -c 'echo $$') -ge {} ]; do :; done", PROCESS - 1);
            // With the beginning and the end of a container podman takes away some of the others' packets, too.
            let script = format!(
                "{wait}; echo ready; read go || exit 1; {ping} 2>&1; echo exit $?; exec /bin/busybox sleep 1000"
            );
            // As Docker's defaults are: with podman's, only iputils' can send, and the kernel has the others' identifiers differ.
            let capability: &[&str] = if tool == "ping" { &[] } else { &["--cap-add", "NET_RAW"] };
            let name = format!("{tool}{length}");
            let words = [IMAGE, "/bin/busybox", "sh", "-c", &script];
            podman.run(&[&["create", "--interactive", "--name", &name], capability, &words].concat());
            Container { name, tool, length }
        };
        let tools = ["ping", "busybox", "fping"].repeat(2);
        Self { podman, containers: LENGTHS.into_iter().zip(tools).map(create).collect(), probes }
    }

    /// Has them all ping beside `instamp watch` and a capture of the card, and asserts what
    /// [`each_is_its_sender_s`](crate::watching::Watched::each_is_its_sender_s) does. Then they are removed.
    ///
    /// # Panics
    ///
    /// It is not so, or one fails.
    pub fn watched(self, lab: &Lab) -> Agreement {
        let start = |container: &Container| {
            let mut command = self.podman.command(&["start", "--attach", "--interactive", &container.name]);
            let mut process = Dialogue::start(command.stderr(Stdio::null()));
            process.wait_for("ready");
            process
        };
        let mut running: Vec<Dialogue> = self.containers.iter().map(start).collect();
        let watching = Watching::of(self.podman.instamp(), &[]);
        let capture = Capture::start(lab, "host", Lab::NIC, ECHOES);
        for process in &mut running {
            process.go();
        }
        for (Container { name, .. }, process) in self.containers.iter().zip(&mut running) {
            let said = process.wait_for("exit ");
            assert!(said.ends_with("exit 0\n"), "{name}: {said}");
            // In the words of iputils and busybox, and of fping.
            assert!([" 0% packet loss", "/0%"].iter().any(|loss| said.contains(loss)), "{name}: {said}");
        }
        let frames = capture.stop();
        let watched = watching.stop();

        // Nobody has named a container to it: they are known by the short forms of their numbers.
        let id = |container: &Container| self.podman.inspect(&container.name, "{{.Id}}")[..12].to_owned();
        let ids: Vec<String> = self.containers.iter().map(id).collect();
        let lengths = self.containers.iter().map(|container| container.length);
        let senders: Vec<(&str, usize)> = ids.iter().map(String::as_str).zip(lengths).collect();
        let agreement = watched.each_is_its_sender_s(&senders, self.probes, &echoes(&frames));
        for (Container { name, tool, .. }, told) in self.containers.iter().zip(&agreement.told) {
            assert_eq!(told.identifier, if *tool == "ping" { 77 } else { PROCESS }, "{name}: {told:?}");
        }
        let translated: HashSet<i64> = agreement.told.iter().map(|told| told.network_identifier).collect();
        assert_eq!(translated.len(), self.containers.len(), "each container under its own: {translated:?}");
        for (Container { name, .. }, process) in self.containers.iter().zip(running) {
            self.podman.remove(name);
            process.wait();
        }
        agreement
    }
}
