//! A container of podman that measures, beside others that flood.

use std::{process::Command, vec};

use crate::{
    commands,
    dialogue::Dialogue,
    flood::{self, Flood},
    lab::Lab,
    ping::Run,
    podman::{IMAGE, Podman},
};

/// The containers: of all of them veth and uplink are attached to, with XDP. They end with their podman.
#[derive(Debug)]
pub struct Neighbours<'a> {
    podman: &'a Podman<'a>,
    waiting: vec::IntoIter<Dialogue>,
    flooding: Vec<Flood>,
}

impl<'a> Neighbours<'a> {
    const PROBER: &'static str = "prober";

    /// Starts them, so many that are to flood, in a podman whose image has `instamp`.
    ///
    /// # Panics
    ///
    /// One cannot be started, or attached to.
    pub fn start(podman: &'a Podman<'a>, neighbours: usize) -> Self {
        let attach = |name: &str| {
            commands::text(podman.instamp().args(["attach", "--container", name, "--ingress", "xdp"]));
        };
        podman.start(Self::PROBER);
        attach(Self::PROBER);
        // A container gets its network before its program is started, and is attached to before that pings.
        let script = format!("echo ready; read go && exec /bin/instamp {} {}", flood::OPTIONS.join(" "), Lab::REMOTE);
        let start = |number| {
            let name = format!("neighbour{number}");
            let run = ["run", "--interactive", "--name", &name, IMAGE, "/bin/busybox", "sh", "-c", &script];
            let mut process = Dialogue::start(&mut podman.command(&run));
            process.wait_for("ready");
            attach(&name);
            process
        };
        let waiting: Vec<Dialogue> = (0..neighbours).map(start).collect();
        Self { podman, waiting: waiting.into_iter(), flooding: Vec::new() }
    }

    /// Has more of them flood, until these are so many.
    ///
    /// # Panics
    ///
    /// There are fewer, more flood already, or one fails.
    pub fn flood(&mut self, neighbours: usize) {
        let more = neighbours - self.flooding.len();
        let mut beginning: Vec<Flood> = self.waiting.by_ref().take(more).map(Flood::go).collect();
        assert_eq!(beginning.len(), more, "so many were started");
        beginning.iter_mut().for_each(Flood::wait);
        self.flooding.append(&mut beginning);
    }

    /// The `instamp` of the container that measures, with these arguments.
    pub fn prober(&self, arguments: &[&str]) -> Command {
        self.podman.command(&[&["exec", Self::PROBER, "/bin/instamp"], arguments].concat())
    }

    /// Ends the floods, and returns what each has counted.
    ///
    /// # Panics
    ///
    /// One has ended before, or by a signal.
    pub fn stop(&mut self) -> Vec<Run> {
        flood::stop(self.flooding.drain(..))
    }
}
