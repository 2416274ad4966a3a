//! `cargo xtask demo`: the main job, shown on real packets.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    packages::as_root,
    process::{cargo, line, run, target},
    setup,
};

/// Beside labs that were made by hand.
const LAB: &str = "demo";
const REMOTE: &str = "10.99.0.2";

/// Installs what is missing, builds, makes a lab, attaches to its network card, sends 20 probes from a container and
/// removes everything: also where a step fails or is interrupted.
pub(crate) fn demo() -> Result<()> {
    setup::runtime()?;
    step("build the command");
    run(cargo().args(["build", "--release", "--quiet", "--package", "instamp-tools"]))?;

    let interrupted = Interrupted::watch()?;
    let demo = Demo { instamp: target().join("release/instamp").display().to_string(), interrupted };
    // What a demo that was killed has left.
    demo.lab("down", &[])?;
    let cleanup = Cleanup(&demo);
    step("make a lab of network namespaces: a container c1, a host with a network card nic0, a remote");
    demo.lab("up", &[])?;
    step("stamp probes at the host's card");
    demo.exec("host", &["attach", "--dev", "nic0", "--ingress", "xdp"])?;
    step("send 20 probes from the container, through bridge and NAT, to the remote");
    demo.exec("c1", &["ping", "--stages", "-c", "20", "-i", "0.1", REMOTE])?;
    step("stop stamping");
    demo.exec("host", &["detach", "--dev", "nic0"])?;
    drop(cleanup);
    demo.interrupted.check()
}

fn step(what: &str) {
    eprintln!("\n== {what}");
}

struct Demo {
    instamp: String,
    interrupted: Interrupted,
}

impl Demo {
    fn lab(&self, verb: &str, arguments: &[&str]) -> Result<()> {
        run(as_root(&self.instamp).args(["lab", verb, "--name", LAB]).args(arguments))?;
        self.interrupted.check()
    }

    /// Runs `instamp` in a namespace of the lab, and shows how.
    fn exec(&self, role: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("instamp");
        command.args(["lab", "exec", "--name", LAB, role, "--", "instamp"]).args(arguments);
        eprintln!("$ {}", line(&command));
        self.lab("exec", &[&[role, "--", &self.instamp], arguments].concat())
    }
}

/// Removes the lab when it is dropped, with what is attached in it.
struct Cleanup<'a>(&'a Demo);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        step("remove the lab");
        if let Err(error) = run(as_root(&self.0.instamp).args(["lab", "down", "--name", LAB])) {
            eprintln!("xtask: {error:#}");
        }
    }
}

/// Whether someone wants an end, with Ctrl-C for example. The program that runs at that time ends by the same signal;
/// this process goes on, in order to remove what was made.
struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot watch for signals")?;
        }
        Ok(Self(flag))
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}
