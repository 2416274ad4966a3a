//! Network namespaces and a BPF file system of a test's own, which go with it.

#![allow(dead_code, reason = "each test binary uses its share, so that an expectation would fail in one of them")]

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use aya::programs::{SchedClassifier, TcAttachType};
use instamp_hooks::{Attachment, Hook, Hooks, Mechanism, Notice, Request};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns},
    unistd::geteuid,
};
use tempfile::TempDir;

/// The end of the wire in the namespace under test.
pub(crate) const NIC: &str = "nic";
/// Its other end, in another namespace.
pub(crate) const FAR: &str = "far";

/// A host with a NIC, which is one end of a veth, and a peer at the other end.
pub(crate) struct World {
    pub(crate) host: Namespace,
    pub(crate) peer: Namespace,
    pub(crate) bpffs: Bpffs,
}

impl World {
    /// `None`, said loudly, without the privilege to make one.
    pub(crate) fn new() -> Option<Self> {
        if !geteuid().is_root() {
            assert!(env::var_os("CI").is_none_or(|value| value != "true"), "needs root, and CI=true skips nothing");
            eprintln!("SKIP: needs root");
            return None;
        }
        let world = Self { host: Namespace::new(), peer: Namespace::new(), bpffs: Bpffs::mount() };
        world.plug(&world.host, NIC);
        Some(world)
    }

    /// Connects `device` of `namespace` to the peer.
    pub(crate) fn plug(&self, namespace: &Namespace, device: &str) {
        let ends = ["link", "add", device, "type", "veth", "peer", "name", FAR, "netns", &self.peer.name];
        namespace.ip(&ends);
        namespace.ip(&["addr", "add", "10.77.0.1/24", "dev", device]);
        namespace.ip(&["addr", "add", "fd77::1/64", "dev", device, "nodad"]);
        // No addresses of the kernel's own, which come when they come.
        namespace.ip(&["link", "set", device, "addrgenmode", "none"]);
        namespace.ip(&["link", "set", device, "up"]);
        self.peer.ip(&["addr", "add", "10.77.0.2/24", "dev", FAR]);
        self.peer.ip(&["link", "set", FAR, "addrgenmode", "none"]);
        self.peer.ip(&["link", "set", FAR, "up"]);
    }

    /// A container behind the device `veth` of the host.
    pub(crate) fn contain(&self, veth: &str, number: u8) -> Namespace {
        let inside = Namespace::new();
        self.host.ip(&["link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", &inside.name]);
        self.host.ip(&["addr", "add", &format!("10.88.{number}.1/24"), "dev", veth]);
        self.host.ip(&["link", "set", veth, "up"]);
        inside.ip(&["addr", "add", &format!("10.88.{number}.2/24"), "dev", "eth0"]);
        inside.ip(&["link", "set", "eth0", "up"]);
        inside.ip(&["route", "add", "default", "via", &format!("10.88.{number}.1")]);
        inside
    }

    pub(crate) fn hooks(&self) -> Hooks {
        Hooks::open(Some(self.bpffs.path()), |_| {}).expect("this kernel is new enough")
    }

    /// The same, and what they announce.
    pub(crate) fn telling_hooks(&self) -> (Hooks, Receiver<Notice>) {
        let (sender, notices) = mpsc::channel();
        let announce = move |notice| sender.send(notice).expect("the test still listens");
        (Hooks::open(Some(self.bpffs.path()), announce).expect("this kernel is new enough"), notices)
    }

    /// Nothing is attached to `device`, and nothing is pinned, by the word of others than us.
    pub(crate) fn assert_clean(&self, device: &str) {
        assert_eq!(self.bpffs.entries(), Vec::<PathBuf>::new());
        self.assert_bare(device);
    }

    /// Nothing is attached to `device`.
    pub(crate) fn assert_bare(&self, device: &str) {
        let link = self.host.ip(&["-details", "link", "show", device]);
        assert!(!link.contains("xdp"), "{link}");
        let qdisc = self.host.tc(&["qdisc", "show", "dev", device]);
        assert!(!qdisc.contains("clsact"), "{qdisc}");
        assert_eq!(self.host.tcx_programs(device), 0);
    }
}

/// A network namespace.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ihk-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        Self { name }
    }

    pub(crate) fn open(&self) -> File {
        File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace has a name")
    }

    /// Runs `act` in the namespace, on a thread of its own.
    pub(crate) fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = self.open();
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        self.enter(|| run("ip", arguments))
    }

    pub(crate) fn tc(&self, arguments: &[&str]) -> String {
        self.enter(|| run("tc", arguments))
    }

    pub(crate) fn tcx_programs(&self, device: &str) -> usize {
        self.enter(|| {
            [TcAttachType::Ingress, TcAttachType::Egress]
                .into_iter()
                .map(|hook| SchedClassifier::query_tcx(device, hook).map_or(0, |(_, programs)| programs.len()))
                .sum()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A test may have removed it.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// A mounted BPF file system.
pub(crate) struct Bpffs {
    directory: TempDir,
}

impl Bpffs {
    fn mount() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        mount(Some("bpf"), directory.path(), Some("bpf"), MsFlags::empty(), None::<&str>).expect("root may mount");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What is below the mount, but for the two files that the kernel keeps there.
    pub(crate) fn entries(&self) -> Vec<PathBuf> {
        let mut entries = Vec::new();
        let mut directories = vec![self.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in directory.read_dir().expect("a directory").flatten() {
                if entry.file_type().expect("a file").is_dir() {
                    directories.push(entry.path());
                }
                entries.push(entry.path());
            }
        }
        entries.retain(|path| path.extension().is_none_or(|extension| extension != "debug"));
        entries
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // A process that another test has just forked has copies of our descriptors until it executes its program.
        umount2(self.path(), MntFlags::MNT_DETACH).expect("it was mounted");
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What holds the hooks of the device: egress, then ingress.
pub(crate) fn mechanisms(attachment: &Attachment) -> Vec<Option<Mechanism>> {
    attachment.hooks.iter().filter(|hook| hook.hook != Hook::DRIVER_TX).map(|hook| hook.mechanism).collect()
}

/// Each way of attaching, with what should hold the hooks: egress, then ingress.
pub(crate) fn ways() -> [(Request, [Mechanism; 2]); 6] {
    use instamp_hooks::{IngressChoice, TcChoice, TcMode, XdpMode};

    let way = |ingress, xdp_mode, tc| Request { ingress, xdp_mode, tc, ..Request::new(NIC) };
    let (tcx, clsact) = (Mechanism::Tc(TcMode::Tcx), Mechanism::Tc(TcMode::Clsact));
    let (native, generic) = (Mechanism::Xdp(XdpMode::Native), Mechanism::Xdp(XdpMode::Generic));
    [
        (way(IngressChoice::Tc, XdpMode::Native, TcChoice::Tcx), [tcx, tcx]),
        (way(IngressChoice::Xdp, XdpMode::Native, TcChoice::Tcx), [tcx, native]),
        (way(IngressChoice::Xdp, XdpMode::Generic, TcChoice::Tcx), [tcx, generic]),
        (way(IngressChoice::Tc, XdpMode::Native, TcChoice::Clsact), [clsact, clsact]),
        (way(IngressChoice::Xdp, XdpMode::Native, TcChoice::Clsact), [clsact, native]),
        (way(IngressChoice::Xdp, XdpMode::Generic, TcChoice::Clsact), [clsact, generic]),
    ]
}
