//! Two network namespaces of a test's own with a wire between them, which go with it.

#![allow(dead_code, reason = "each test binary uses its share, so that an expectation would fail in one of them")]

pub(crate) mod redirect;

use std::{
    env,
    fs::File,
    io::{self, Write as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns, unshare},
    unistd::{geteuid, gettid},
};

/// How long anything here may take: it takes milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The device in either namespace: one end of the wire.
pub(crate) const DEVICE: &str = "wire";

/// A network namespace.
pub(crate) struct Namespace(File);

/// Both ends of the wire.
pub(crate) struct World {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl World {
    /// A wire with two queues for each direction. `None`, said loudly, without the privilege to make one.
    pub(crate) fn new() -> Option<Self> {
        if !geteuid().is_root() {
            skip("network namespaces need root");
            return None;
        }
        let world = Self { near: Namespace::new(), far: Namespace::new() };
        // The command wants a process, or thread, that is in the other namespace.
        world.far.enter(|| {
            let other = gettid();
            let queues = "numtxqueues 2 numrxqueues 2";
            world.near.ip(&format!("link add {DEVICE} {queues} type veth peer name {DEVICE} {queues} netns {other}"));
        });
        for end in [&world.near, &world.far] {
            // No packets but the test's.
            end.ip(&format!("link set {DEVICE} addrgenmode none"));
            end.ip(&format!("link set {DEVICE} arp off multicast off up"));
        }
        Some(world)
    }
}

impl Namespace {
    fn new() -> Self {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            File::open("/proc/thread-self/ns/net").expect("every thread has one")
        };
        Self(thread::spawn(inside).join().expect("it does not panic"))
    }

    /// Runs `act` in the namespace, on a thread of its own.
    pub(crate) fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            act()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub(crate) fn ip(&self, arguments: &str) {
        self.enter(|| {
            let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip of iproute2");
            assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        });
    }

    /// The number of the device.
    pub(crate) fn device(&self) -> u32 {
        self.enter(|| if_nametoindex(DEVICE).expect("it was made"))
    }
}

/// Skipping is loud, and a failure where everything has to be there.
pub(crate) fn skip(reason: &str) {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "cannot be skipped: {reason}");
    // Past the harness, which shows what a test prints only where it fails.
    let _ = writeln!(io::stderr(), "SKIP: {reason}");
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// An Ethernet frame of no protocol, which carries a number.
pub(crate) fn number_frame(frame: &mut [u8], number: u64) {
    frame.fill(number.to_be_bytes()[7]);
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
    frame[14..22].copy_from_slice(&number.to_be_bytes());
}

/// The number of such a frame, all of which is as it was.
pub(crate) fn number_of(frame: &[u8]) -> u64 {
    let number = u64::from_be_bytes(frame[14..22].try_into().expect("8 bytes"));
    let mut expected = vec![0; frame.len()];
    number_frame(&mut expected, number);
    assert_eq!(frame, expected, "frame {number} is damaged");
    number
}

/// For local experiments.
pub(crate) const ETHER_TYPE: u16 = 0x88b5;
