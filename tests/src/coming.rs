//! Containers of podman that come, are attached to, and go: one after the other.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{bpffs::Bpffs, kernel_objects::Objects, podman::Podman};

/// How long the kernel may take to let go of what nobody holds any more.
const LIMIT: Duration = Duration::from_secs(20);

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// `podman run`.
    pub start: Duration,
    /// `instamp attach --container`.
    pub attach: Duration,
    /// `podman rm`.
    pub remove: Duration,
    /// The next command of `instamp`, which removes the pins.
    pub sweep: Duration,
}

/// One after the other comes and goes, so many times. After each nothing is left of it: no link, program, map or pin, and no network
/// namespace.
///
/// # Panics
///
/// Something is, or a command fails.
pub fn come_and_go(podman: &Podman<'_>, bpffs: &Bpffs, times: usize) -> Vec<Took> {
    (0..times).map(|time| one(podman, bpffs, &format!("passing{time}"))).collect()
}

fn one(podman: &Podman<'_>, bpffs: &Bpffs, name: &str) -> Took {
    let instamp = |arguments: &[&str]| {
        let mut command = podman.instamp();
        succeed(command.env("INSTAMP_BPFFS", bpffs.path()).args(arguments));
    };
    let start = took(|| podman.start(name));
    let attach = took(|| instamp(&["attach", "--container", name, "--ingress", "xdp"]));
    let objects = Objects::pinned(bpffs.path());
    assert!(objects.links.len() >= 4 && objects.programs.len() >= 4 && !objects.maps.is_empty(), "{objects:?}");
    let namespace = podman.inspect(name, "{{.NetworkSettings.SandboxKey}}");
    let remove = took(|| podman.remove(name));
    let sweep = took(|| instamp(&["status"]));

    assert!(!namespace.is_empty() && !Path::new(&namespace).exists(), "{namespace} is left of {name}");
    let pins = bpffs.pins();
    assert!(pins.is_empty(), "{pins:?} are left of {name}");
    let begin = Instant::now();
    while !objects.left().is_empty() {
        assert!(begin.elapsed() < LIMIT, "{:?} are left of {name}", objects.left());
    }
    Took { start, attach, remove, sweep }
}

fn took(task: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    task();
    begin.elapsed()
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("a command");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
