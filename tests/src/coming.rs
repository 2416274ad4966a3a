//! Containers that come, are attached to, and go: one after the other.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    bpffs::Bpffs, cni::Sandbox, commands, exporter::looks, kernel_objects::Objects, lab::Lab, podman::Podman,
    quantiles::median,
};

/// How long it took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// `podman run`.
    pub start: Duration,
    /// `instamp attach --container`.
    pub attach: Duration,
    /// `podman inspect`, which `attach` calls as well.
    pub inspect: Duration,
    /// `podman rm`.
    pub remove: Duration,
    /// The next command of `instamp`, which removes the pins.
    pub sweep: Duration,
}

/// One container of podman after the other comes and goes, so many times. After each nothing is left of it: no link, program, map or
/// pin, and no network namespace.
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
        commands::text(command.env("INSTAMP_BPFFS", bpffs.path()).args(arguments));
    };
    let ((), start) = took(|| podman.start(name));
    let ((), attach) = took(|| instamp(&["attach", "--container", name, "--ingress", "xdp"]));
    let objects = Objects::pinned(bpffs.path());
    assert!(objects.links.len() >= 4 && objects.programs.len() >= 4 && !objects.maps.is_empty(), "{objects:?}");
    let (namespace, inspect) = took(|| podman.inspect(name, "{{.NetworkSettings.SandboxKey}}"));
    let ((), remove) = took(|| podman.remove(name));
    let ((), sweep) = took(|| instamp(&["status"]));

    assert!(!namespace.is_empty() && !Path::new(&namespace).exists(), "{namespace} is left of {name}");
    let pins = bpffs.pins();
    assert!(pins.is_empty(), "{pins:?} are left of {name}");
    await_the_end(&objects, name);
    Took { start, attach, inspect, remove, sweep }
}

/// How long the plugin took.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    /// `ADD`.
    pub add: Duration,
    /// `DEL`.
    pub delete: Duration,
}

/// Network namespaces of the lab come and go likewise, for which the plugin is called as a runtime would, beside one that stays. After each no
/// link, program, map or pin of its own is left.
///
/// # Panics
///
/// One is, or the plugin fails.
pub fn come_and_go_with_the_plugin(lab: &Lab, bpffs: &Bpffs, times: usize) -> Vec<Called> {
    let options = json!({ "type": "instamp-cni", "bpffs": bpffs.path(), "ingress": "xdp" });
    let call = |sandbox: &Sandbox<'_>, command: &str| {
        let output = sandbox.call(command, &options);
        assert!(output.status.success(), "{output:?}");
    };
    let staying = Sandbox::new(lab, 1);
    call(&staying, "ADD");
    let (pins, objects) = (bpffs.pins(), Objects::pinned(bpffs.path()));
    let one = |time| {
        let sandbox = Sandbox::new(lab, 2);
        let ((), add) = took(|| call(&sandbox, "ADD"));
        let own = Objects::pinned(bpffs.path()).without(&objects);
        assert!(own.links.len() >= 2 && own.programs.len() >= 2 && !own.maps.is_empty(), "{own:?}");
        let ((), delete) = took(|| call(&sandbox, "DEL"));
        assert_eq!(bpffs.pins(), pins, "after number {time}");
        await_the_end(&own, &sandbox.id);
        Called { add, delete }
    };
    let called = (0..times).map(one).collect();
    call(&staying, "DEL");
    assert_eq!(bpffs.pins(), Vec::<String>::new());
    await_the_end(&objects, &staying.id);
    called
}

/// The middle of each quarter of times, in their order.
///
/// # Panics
///
/// There are none, or the quarters are not of the same length.
pub fn quarters<T>(times: &[T], part: fn(&T) -> Duration) -> [Duration; 4] {
    assert!(times.len().is_multiple_of(4), "{} times", times.len());
    let length = times.len() / 4;
    [0, 1, 2, 3].map(|quarter| {
        let times = &times[quarter * length..][..length];
        median(&times.iter().map(part).collect::<Vec<_>>())
    })
}

#[track_caller]
fn await_the_end(objects: &Objects, name: &str) {
    // The kernel lets go of them a moment later.
    let gone = looks().any(|()| objects.left().is_empty());
    assert!(gone, "{:?} are left of {name}", objects.left());
}

fn took<T>(task: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    (task(), begin.elapsed())
}
