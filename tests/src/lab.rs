//! A lab for one test, made by the command itself.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    panic,
    path::Path,
    process::{self, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

pub use crate::commands::instamp;

/// A lab of its own name. Dropping it removes it.
#[derive(Debug)]
pub struct Lab {
    name: String,
}

impl Lab {
    /// The address of the remote.
    pub const REMOTE: &str = "10.99.0.2";
    /// The IPv6 address of the remote.
    pub const REMOTE6: &str = "fd10:99::2";
    /// The network card of the host.
    pub const NIC: &str = "nic0";

    /// A name that no other test has.
    pub fn unique_name() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a lab, with options of `lab up`.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub fn up(options: &[&str]) -> Self {
        let lab = Self { name: Self::unique_name() };
        let output = instamp().args(["lab", "up", "--name", &lab.name]).args(options).output().expect("instamp");
        assert!(output.status.success(), "lab up: {output:?}");
        lab
    }

    /// The lab of this name, whatever there is of it: to be removed when it is dropped.
    pub fn of_name(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Its name, for `--name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the network namespace of `host`, `remote` or `c1` and so on.
    pub fn namespace(&self, role: &str) -> String {
        format!("instamp-{}-{role}", self.name)
    }

    /// `program`, to be run in the namespace of `host`, `remote` or `c1` and so on, without standard input.
    pub fn command(&self, role: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = instamp();
        command.args(["lab", "exec", "--name", &self.name, role, "--"]).arg(program).stdin(Stdio::null());
        command
    }

    /// The `instamp` command, to be run in a namespace.
    pub fn instamp(&self, role: &str) -> Command {
        self.command(role, instamp().get_program())
    }

    /// Runs `task` on a thread in a namespace. Sockets that it opens stay there.
    ///
    /// # Panics
    ///
    /// There is no such namespace, or the task panics.
    pub fn enter<T: Send>(&self, role: &str, task: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(role))).expect("a namespace");
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter");
                task()
            });
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Runs a tool in a namespace and returns what it wrote.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn run(&self, role: &str, program: &str, arguments: &[&str]) -> String {
        let output = self.command(role, program).args(arguments).output().expect("a program");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {}: {text}{messages}", output.status);
        text
    }

    /// Runs `instamp attach` with `options` in a namespace.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn attach(&self, role: &str, options: &[&str]) {
        let output = self.instamp(role).arg("attach").args(options).output().expect("instamp");
        assert!(output.status.success(), "attach: {output:?}");
    }

    /// Runs `instamp detach` for `device` in a namespace.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn detach(&self, role: &str, device: &str) {
        let output = self.instamp(role).args(["detach", "--dev", device]).output().expect("instamp");
        assert!(output.status.success(), "detach: {output:?}");
    }

    /// What the hooks of `device` have counted of the packets that passed it, those on the way out first.
    ///
    /// # Panics
    ///
    /// It is not attached.
    #[track_caller]
    pub fn counters(&self, role: &str, device: &str) -> Vec<Counters> {
        let mut counters = self.all_counters(role, device);
        counters.retain(|counters| !counters.is_of_late_stamps());
        counters
    }

    /// Likewise, with what they have counted of late stamps.
    ///
    /// # Panics
    ///
    /// It is not attached.
    #[track_caller]
    pub fn all_counters(&self, role: &str, device: &str) -> Vec<Counters> {
        let output = self.instamp(role).args(["status", "--json"]).output().expect("instamp");
        assert!(output.status.success(), "status: {output:?}");
        let lines = str::from_utf8(&output.stdout).expect("text").lines();
        let status = lines
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .find(|status| status["device"] == device)
            .unwrap_or_else(|| panic!("{device} is not attached: {output:?}"));
        status["hooks"].as_array().expect("hooks").iter().map(Counters::from).collect()
    }

    /// Removes the lab, as dropping it does.
    pub fn down(&self) -> Output {
        instamp().args(["lab", "down", "--name", &self.name]).output().expect("instamp")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = self.down();
        if !output.status.success() {
            eprintln!("lab down: {output:?}");
        }
    }
}

/// What one hook has counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Its name.
    pub hook: String,
    /// Probes that it stamped.
    pub stamped: u64,
    /// Packets that it did not, by the name of the reason.
    pub refused: BTreeMap<String, u64>,
}

impl Counters {
    /// Whether it counts stamps that others write, of what they know besides, and not the packets that pass it.
    pub fn is_of_late_stamps(&self) -> bool {
        matches!(&*self.hook, "driver-tx" | "nic-tx" | "nic-rx")
    }
}

impl From<&Value> for Counters {
    fn from(hook: &Value) -> Self {
        let refused = hook["refused"].as_object().expect("refusals");
        Self {
            hook: hook["hook"].as_str().expect("a name").to_owned(),
            stamped: hook["stamped"].as_u64().expect("a count"),
            refused: refused.iter().map(|(name, count)| (name.clone(), count.as_u64().expect("a count"))).collect(),
        }
    }
}
