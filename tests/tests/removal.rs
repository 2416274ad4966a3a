//! Nothing is left behind: by the lab, by devices and namespaces that go, and by commands that are killed.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    cell::RefCell,
    env,
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use instamp_tests::{
    lab::{Lab, instamp},
    ping::Run,
    privilege::{root, tool},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where the pins of a namespace's hooks are.
#[derive(Debug)]
struct Pins {
    path: PathBuf,
    /// Open, so that the kernel gives its number to no other as long as somebody looks for the pins.
    namespace: File,
}

impl Pins {
    fn of(lab: &Lab, role: &str) -> Self {
        let namespace = File::open(Path::new("/run/netns").join(lab.namespace(role))).unwrap();
        let number = namespace.metadata().unwrap().ino();
        let bpffs = env::var_os("INSTAMP_BPFFS").map_or_else(|| PathBuf::from("/sys/fs/bpf"), PathBuf::from);
        Self { path: bpffs.join("instamp").join(number.to_string()), namespace }
    }

    fn exist(&self) -> bool {
        self.path.exists()
    }
}

/// Hooks on three devices of two namespaces. Returns where their pins are.
fn attach(lab: &Lab) -> [Pins; 2] {
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    lab.attach("host", &["--dev", "veth-c1", "--point", "1", "--tc", "clsact"]);
    lab.attach("remote", &["--dev", "eth0"]);
    let pins = ["host", "remote"].map(|role| Pins::of(lab, role));
    assert!(pins.iter().all(Pins::exist), "{pins:?}");
    pins
}

#[track_caller]
fn gone(pins: &Pins) {
    assert!(!pins.exist(), "{}", pins.path.display());
}

#[track_caller]
fn status(mut command: Command) -> String {
    let output = command.arg("status").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn down_takes_the_hooks_with_it() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let pins = attach(&lab);
    assert!(lab.down().status.success());
    pins.iter().for_each(gone);
}

#[test]
fn a_removed_device_is_swept_by_the_next_command() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = Lab::up(&[]);
    let [host, remote] = attach(&lab);
    // The other end goes with it.
    lab.run("host", "ip", &["link", "delete", Lab::NIC]);
    let text = status(lab.instamp("host"));
    assert!(text.contains("veth-c1") && !text.contains(Lab::NIC), "{text}");
    gone(&remote);
    lab.run("host", "ip", &["link", "delete", "veth-c1"]);
    assert_eq!(status(lab.instamp("host")), "nothing is attached in this network namespace\n");
    gone(&host);
}

#[test]
fn a_removed_namespace_is_swept_by_a_command_elsewhere() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = Lab::up(&[]);
    let paths = attach(&lab).map(|Pins { path, namespace }| {
        drop(namespace);
        path
    });
    for role in ["host", "remote"] {
        assert!(Command::new("ip").args(["netns", "delete", &lab.namespace(role)]).status().unwrap().success());
    }
    // The kernel takes a namespace apart after the command has returned.
    let deadline = Instant::now() + Duration::from_secs(20);
    while paths.iter().any(|path| path.exists()) {
        assert!(Instant::now() < deadline, "{paths:?}");
        status(instamp());
    }
}

/// Runs `command` to its end, then again and again, killed at so many moments, spread over the time that it takes.
/// `check` is called after each.
fn killed(moments: u32, mut command: impl FnMut() -> Command, mut check: impl FnMut()) {
    let mut start = || command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let wait = |mut child: Child| child.wait().unwrap().success();
    assert!(wait(start()), "unharmed it succeeds");
    let duration = begin.elapsed();
    check();
    let mut deaths = 0;
    for moment in 0..moments {
        let mut child = start();
        thread::sleep(duration * moment / moments);
        child.kill().unwrap();
        deaths += u32::from(!wait(child));
        check();
    }
    assert!(deaths > 0, "it was always faster than its death");
}

/// Every change to the kernel's state has its test beside the code. This is the command as a whole.
#[test]
fn attach_killed_at_any_moment() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let pins = Pins::of(&lab, "host");
    let attach = || {
        let mut command = lab.instamp("host");
        command.args(["attach", "--dev", Lab::NIC, "--ingress", "xdp"]);
        command
    };
    killed(30, attach, || {
        // Both hooks or none, and the next commands work.
        let text = status(lab.instamp("host"));
        let is_whole = text.contains("tc-egress ") && text.contains("xdp-ingress ") && !text.contains(" off ");
        assert!(text.starts_with("nothing") || is_whole, "{text}");
        let output = lab.instamp("host").args(["detach", "--all"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        gone(&pins);
    });
    // The last death may be swept by the lab's end alone.
    let mut child = attach().stdout(Stdio::null()).spawn().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lab.down().status.success());
    gone(&pins);
}

#[test]
fn down_killed_at_any_moment() {
    let Some(()) = root() else { return };
    let lab = Lab::of_name(&Lab::unique_name());
    let pins = RefCell::new(None);
    let down = || {
        assert!(instamp().args(["lab", "up", "--name", lab.name()]).stdout(Stdio::null()).status().unwrap().success());
        pins.replace(Some(attach(&lab)));
        let mut command = instamp();
        command.args(["lab", "down", "--name", lab.name()]);
        command
    };
    killed(8, down, || {
        assert!(lab.down().status.success());
        pins.take().unwrap().iter().for_each(gone);
    });
}

/// How often hooks come and go.
const TIMES: usize = 5;

/// Hooks come and go beneath a running ping: no probe is lost, and its replies are corrected or not.
#[test]
fn attaching_and_detaching_disturbs_nobody() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let ping = lab
        .instamp("c1")
        .args(["ping", "--json", "-i", "2ms", "-W", "5", Lab::REMOTE])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(ping.id().cast_signed());
    let run = thread::scope(|scope| {
        let ping = scope.spawn(|| Run::from(ping.wait_with_output().unwrap()));
        for _ in 0..TIMES {
            lab.attach("host", &["--dev", Lab::NIC, "--ingress", "tc"]);
            lab.detach("host", Lab::NIC);
        }
        kill(pid, Signal::SIGINT).unwrap();
        ping.join().unwrap()
    });
    let [sent, received, corrected] = ["sent", "received", "corrected"].map(|name| run.count(name));
    assert!(sent - received <= 1, "the last one can be under way: {}", run.summary());
    assert!(corrected > 0 && corrected < received, "hooks came and went: {}", run.summary());
    for reply in run.replies() {
        let reason = &reply["uncorrected"];
        let reasons = ["no-stamps", "no-request-stamp", "no-reply-stamp"];
        assert!(reason.is_null() || reasons.contains(&reason.as_str().unwrap()), "{reply}");
    }
}
