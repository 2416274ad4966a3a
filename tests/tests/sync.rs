//! `instamp sync` and `instamp clock` on this machine, with a clock of the kernel that stands in for a card's.
//!
//! No test steers a clock. Steering, and a card's clock, are shown in a virtual machine.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    os::unix::{fs::symlink, net::UnixDatagram, process::CommandExt as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
    time::Duration,
};

use hwtstamp::{Monotonic, MonotonicRaw, Reading, SystemClock as _, system};
use instamp_clockmap::{Device, Directory, Reader};
use instamp_tests::{
    lab::instamp,
    privilege::{root, skip, tool},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

const CLOCK: &str = "CLOCK_MONOTONIC_RAW";

/// Where one test publishes.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Others may look into it, as into /run.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn published(&self) -> Directory {
        Directory::new(self.0.path().join("clock"))
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = instamp();
        command.arg(subcommand).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command.arg("--publish").arg(self.published().path());
        // No BPF file system: what is pinned is global to the machine, and tests run side by side.
        command.env("INSTAMP_BPFFS", self.0.path());
        command
    }

    fn sync(&self, options: &[&str]) -> Command {
        let mut command = self.command("sync");
        command.args(["--phc", CLOCK]).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What `instamp clock` says of the clock, and what it exits with.
    fn clock(&self) -> (Value, i32) {
        let output = self.command("clock").args(["--phc", CLOCK, "--json"]).output().unwrap();
        assert_eq!(text(&output.stderr), "");
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code().unwrap())
    }

    /// Waits until nobody may use any more what nobody renews.
    fn becomes_stale(&self) {
        // An update may come between the signal that ends them and its effect, and so after a look.
        while let Some(void_in_ns) = self.clock().0["model"]["void_in_ns"].as_u64() {
            thread::sleep(Duration::from_nanos(void_in_ns + 1));
        }
        let (view, code) = self.clock();
        assert_eq!((&view["state"], code), (&"stale".into(), 1));
    }
}

/// A running `instamp sync`, which is killed where a test fails.
struct Sync {
    child: Child,
    /// `None` where nobody reads them any more.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Sync {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines) }
    }

    fn lines(&mut self) -> impl Iterator<Item = String> {
        self.lines.iter_mut().flatten().map(Result::unwrap)
    }

    /// The next line for which this holds.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let line = self.lines().find(|line| wanted(line));
        line.unwrap_or_else(|| panic!("no such line: {}", self.errors()))
    }

    /// The next JSON object for which this holds.
    fn record(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        json(&self.line(|line| wanted(&json(line))))
    }

    /// Waits until the model is valid.
    fn locked(&mut self) -> Value {
        self.record(|record| record["type"] == "update" && record["state"] == "locked")
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Waits for its end. Returns its remaining lines and what it exits with.
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        let rest = self.lines().collect();
        (rest, self.child.wait().unwrap().code())
    }

    fn errors(&mut self) -> String {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// An independent reading of both clocks.
fn sandwich() -> Reading<Monotonic, MonotonicRaw> {
    Reading { before: Monotonic::now(), device: MonotonicRaw::now(), after: Monotonic::now() }
}

#[track_caller]
fn assert_fails(output: &Output, error: &str) {
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert_eq!(text(&output.stderr), error);
}

#[test]
fn the_model_agrees_with_what_anybody_can_read() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json", "-R", "20"]));
    let start = sync.record(|_| true);
    assert_eq!((&start["type"], &start["schema"]), (&"start".into(), &1.into()));
    assert_eq!((&start["clocks"][0]["clock"], &start["clocks"][0]["method"]), (&CLOCK.into(), &"sandwich".into()));
    let first = sync.locked()["time_ns"].as_i64().unwrap();
    // Seconds of readings, for a rate that means something.
    sync.record(|record| record["time_ns"].as_i64() > Some(first + 4_000_000_000));

    let mut reader = Reader::open(&folder.published(), Device::MonotonicRaw).unwrap().marked();
    for _ in 0..1_000 {
        let reading = sandwich();
        let converted = reader.convert(reading.device, Monotonic::now()).unwrap();
        let (earliest, latest) = (converted.time - converted.bound, converted.time + converted.bound);
        assert!(latest >= reading.before && earliest <= reading.after, "{reading:?} {converted:?}");
    }

    let (view, code) = folder.clock();
    assert_eq!((&view["state"], code), (&"valid".into(), 0));
    let model = &view["model"];
    let reading = (0..10).map(|_| sandwich()).min_by_key(Reading::window).unwrap();
    let offset = reading.device.as_ns() - reading.midpoint().as_ns();
    let adjustment_ppb = system::discipline().unwrap().frequency.ppb();
    // Between the two looks at the clocks they drift apart; a second is long for that.
    let drift = Duration::from_secs_f64(adjustment_ppb.abs() * 1e-9) + Duration::from_micros(1);
    let bound = Duration::from_nanos(model["bound_ns"].as_u64().unwrap() + reading.window().unsigned_ns());
    let distance = Duration::from_nanos(offset.abs_diff(model["offset_ns"].as_i64().unwrap()));
    assert!(distance <= bound + drift, "{reading:?} {view}");
    // The raw clock is the one that is not adjusted.
    let rate_ppb = model["rate_ppb"].as_f64().unwrap();
    assert!((rate_ppb + adjustment_ppb).abs() < 200.0, "{adjustment_ppb} {view}");
    assert!(model["offset_realtime_ns"].is_null(), "it does not keep the time of day: {view}");
}

#[test]
fn lines_have_the_shape_of_phc2sys() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--count", "40", "-R", "100"]));
    let start = sync.line(|_| true);
    assert!(start.contains("]: CLOCK_MONOTONIC_RAW: read by sandwich, published at "), "{start}");
    assert!(start.contains(", not in a BPF map: "), "{start}");
    let (lines, code) = sync.end();
    assert_eq!(code, Some(0));
    let updates: Vec<_> = lines.iter().filter(|line| line.contains(" sys offset ")).collect();
    assert_eq!(updates.len(), 40);
    for line in &updates {
        let words: Vec<_> = line.split_whitespace().collect();
        let [prefix, CLOCK, "sys", "offset", offset, servo, "freq", freq, "delay", delay, "bound", bound] = words[..]
        else {
            panic!("{line}");
        };
        assert!(prefix.starts_with("instamp[") && prefix.ends_with("]:"), "{line}");
        assert!(freq == "-" || freq.starts_with(['+', '-']) && freq.parse::<f64>().is_ok(), "{line}");
        assert!(delay.parse::<u64>().is_ok(), "{line}");
        let has_model = bound != "-";
        assert_eq!((servo == "s2", bound.parse::<u64>().is_ok()), (has_model, has_model), "{line}");
        assert!(offset == "-" || offset.parse::<i64>().is_ok(), "{line}");
    }
    assert!(updates.last().unwrap().contains(" s2 "), "{updates:?}");
    assert!(lines.contains(&format!("--- {CLOCK} clock statistics ---")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("40 updates, 0 missed, 0 models withdrawn, time ")), "{lines:?}");
}

#[test]
fn statistics_instead_of_updates() {
    let folder = Folder::new();
    let sync = Sync::start(&mut folder.sync(&["--json", "--count", "25", "-R", "100", "-u", "10"]));
    let (lines, code) = sync.end();
    assert_eq!(code, Some(0));
    let records: Vec<_> = lines.iter().map(|line| json(line)).collect();
    let types: Vec<_> = records.iter().map(|record| record["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["start", "interval", "interval", "summary"]);
    assert_eq!([&records[1]["updates"], &records[3]["updates"]], [10, 25]);
    assert!(records[3]["bound_ns"]["mean"].as_i64() > Some(0), "{}", records[3]);
}

#[test]
fn whoever_ends_before_a_model_was_valid_says_so() {
    let folder = Folder::new();
    let (lines, code) = Sync::start(&mut folder.sync(&["--json", "--count", "1"])).end();
    assert_eq!((json(&lines[1])["bound_ns"].clone(), code), (Value::Null, Some(1)));
}

#[test]
fn whoever_is_told_to_end_has_not_failed() {
    let folder = Folder::new();
    // At the first update there is no model yet, and the next is 20 s away.
    let mut sync = Sync::start(&mut folder.sync(&["--json", "-R", "0.05"]));
    assert_eq!(sync.record(|record| record["type"] == "update")["state"], "acquiring");
    sync.signal(Signal::SIGTERM);
    let (lines, code) = sync.end();
    assert_eq!((&json(lines.last().unwrap())["type"], code), (&"summary".into(), Some(0)));
}

#[test]
fn the_clock_that_stands_in_has_no_methods() {
    let output = Folder::new().sync(&["--method", "basic"]).output().unwrap();
    assert_fails(
        &output,
        "instamp: CLOCK_MONOTONIC_RAW is read between two readings of CLOCK_MONOTONIC and in no other way: leave out --method\n",
    );
}

#[test]
fn quit_tells_how_it_stands_and_the_end_withdraws() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = Folder::new();
        let mut sync = Sync::start(&mut folder.sync(&["--json"]));
        sync.locked();
        assert_eq!(folder.clock().1, 0);

        sync.signal(Signal::SIGQUIT);
        let mut errors = BufReader::new(sync.child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let status = errors.next().unwrap();
        assert!(status.starts_with("CLOCK_MONOTONIC_RAW locked, bound "), "{status}");

        sync.signal(signal);
        let (lines, code) = sync.end();
        let summary = json(lines.last().unwrap());
        assert_eq!((&summary["type"], code), (&"summary".into(), Some(0)));
        assert!(summary["updates"].as_u64() > Some(1), "{summary}");
        let (view, code) = folder.clock();
        assert_eq!((&view["state"], &view["model"], code), (&"withdrawn".into(), &Value::Null, 1));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["-R", "100"]));
    sync.line(|line| line.contains(" s2 "));
    sync.lines = None;
    assert_eq!(sync.child.wait().unwrap().code(), Some(0));
    assert_eq!(sync.errors(), "");
    assert_eq!(folder.clock().0["state"], "withdrawn");
}

/// Waits until there were more updates than lines that a pipe holds and that wait for it, by asking on standard error.
fn until_output_stalls(sync: &Sync, errors: &mut impl Iterator<Item = String>) {
    let updates = |line: &str| -> Option<u64> { line.split("; ").nth(1)?.split(" updates").next()?.parse().ok() };
    let mut counts = std::iter::repeat_with(|| {
        sync.signal(Signal::SIGQUIT);
        updates(&errors.next().unwrap()).unwrap()
    });
    let start = counts.next().unwrap();
    assert!(counts.any(|count| count > start + 2_500));
}

#[test]
fn output_that_nobody_reads_stops_nothing() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json", "-R", "1000"]));
    let mut errors = BufReader::new(sync.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    sync.locked();
    until_output_stalls(&sync, &mut errors);
    assert_eq!(folder.clock().1, 0, "the model is valid");

    let dropped = sync.record(|record| record["type"] == "dropped");
    assert!(dropped["lines"].as_u64() > Some(0), "{dropped}");
    sync.record(|record| record["type"] == "update" && record["time_ns"].as_i64() >= dropped["time_ns"].as_i64());

    until_output_stalls(&sync, &mut errors);
    sync.signal(Signal::SIGTERM);
    assert_eq!(sync.child.wait().unwrap().code(), Some(0));
    assert_eq!(folder.clock().0["state"], "withdrawn");
}

#[test]
fn what_a_killed_publisher_leaves_becomes_stale_and_the_next_one_takes_over() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json"]));
    let epoch = sync.locked()["epoch"].as_u64();
    sync.signal(Signal::SIGKILL);
    assert_eq!(sync.child.wait().unwrap().code(), None);
    folder.becomes_stale();

    let mut next = Sync::start(&mut folder.sync(&["--json"]));
    assert!(next.locked()["epoch"].as_u64() > epoch);
    assert_eq!(folder.clock().1, 0);
}

#[test]
fn a_publisher_that_was_suspended_goes_on() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json"]));
    sync.locked();
    sync.signal(Signal::SIGSTOP);
    folder.becomes_stale();

    let suspended_until = Monotonic::now().as_ns();
    sync.signal(Signal::SIGCONT);
    sync.record(|record| record["time_ns"].as_i64() > Some(suspended_until) && record["bound_ns"].is_u64());
    assert_eq!(folder.clock().1, 0);
}

#[test]
fn a_second_publisher_is_refused_by_the_name_of_the_first() {
    let folder = Folder::new();
    let mut first = Sync::start(&mut folder.sync(&["--json"]));
    first.locked();
    let second = folder.sync(&[]).output().unwrap();
    let lock = folder.published().path().join("monotonic_raw_lock");
    let expected = format!(
        "instamp: monotonic_raw is already published at {} by process {}: stop that one first, or publish elsewhere\n",
        lock.display(),
        first.child.id()
    );
    assert_fails(&second, &expected);
    assert_eq!(folder.clock().1, 0, "the first goes on");
}

#[test]
fn the_service_manager_is_told() {
    let folder = Folder::new();
    let path = folder.0.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = folder.sync(&["-q"]);
    let sync =
        Sync::start(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000").env_remove("WATCHDOG_PID"));
    let told = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        text(&buffer[..length]).to_owned()
    };
    let mut before = Vec::new();
    while before.last().is_none_or(|message| message != "READY=1") {
        before.push(told());
    }
    assert!(before.contains(&format!("STATUS={CLOCK} acquiring")), "{before:?}");
    assert!(before.contains(&"WATCHDOG=1".to_owned()), "{before:?}");
    assert_eq!(folder.clock().1, 0, "the model is valid before it is told");
    assert!((0..5).any(|_| told() == format!("STATUS={CLOCK} locked")));
    assert!((0..5).any(|_| told() == "WATCHDOG=1"), "it lives on");

    sync.signal(Signal::SIGTERM);
    while told() != "STOPPING=1" {}
    assert_eq!(sync.end().1, Some(0));
}

#[test]
fn a_service_manager_that_cannot_be_reached_is_named() {
    let folder = Folder::new();
    let run = |name: &str| folder.sync(&["--count", "1"]).env("NOTIFY_SOCKET", name).output().unwrap();
    for name in ["/nowhere/notify", "vsock:2:1234", "@instamp-nobody-listens"] {
        let output = run(name);
        let error = text(&output.stderr);
        let expected = format!("instamp: cannot reach the service manager at NOTIFY_SOCKET={name}: ");
        assert!(output.status.code() == Some(2) && error.starts_with(&expected), "{error}");
    }
    let unset = run("");
    assert_eq!((unset.status.code(), text(&unset.stderr)), (Some(1), ""));
}

#[test]
fn nobody_steers_what_another_steers() {
    let Some(()) = tool("cat") else { return };
    let folder = Folder::new();
    let steer = |sink| folder.sync(&["--steer", sink, "-O", "0"]).output().unwrap();
    let no_card = "instamp: --steer needs a card's clock: the one that stands in for it can neither follow nor lead\n";
    assert_fails(&steer("phc"), no_card);
    if text(&steer("system").stderr) != no_card {
        return skip("a daemon of this machine steers its clock");
    }

    // All that is looked at is the name, which is that of the link.
    let program = folder.0.path().join("chronyd");
    symlink(find("cat"), &program).unwrap();
    let mut cat = Command::new(&program);
    let cat = cat.arg0("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut daemon = Sync::start(cat);
    // The kernel gives it its name after whoever starts it goes on.
    writeln!(daemon.child.stdin.as_ref().unwrap(), "ready").unwrap();
    daemon.line(|line| line == "ready");
    let pid = daemon.child.id();
    let expected =
        format!("instamp: chronyd (process {pid}) steers the system's clock: stop it, or leave out --steer\n");
    assert_fails(&steer("system"), &expected);
    drop(daemon);
    assert_fails(&steer("system"), no_card);
    assert_eq!(folder.clock().0["state"], "unpublished");
}

fn find(program: &str) -> std::path::PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file()).unwrap()
}

#[test]
fn anybody_may_look() {
    let Some(()) = root() else { return };
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json"]));
    sync.locked();
    // A copy: the folders of the build may be closed to others. Made by another process, since one that another test starts
    // meanwhile would have it open for writing for a moment, and nobody may run it then.
    let program = folder.0.path().join("instamp");
    assert!(Command::new("cp").arg(instamp().get_program()).arg(&program).status().unwrap().success());
    let output = Command::new(&program)
        .args(["clock", "--publish"])
        .arg(folder.published().path())
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let text = text(&output.stdout);
    assert!(text.starts_with("CLOCK_MONOTONIC_RAW: valid\n  CLOCK_MONOTONIC  "), "{text}");
}

#[test]
fn a_file_that_is_no_model_does_not_hide_the_others() {
    let folder = Folder::new();
    let mut sync = Sync::start(&mut folder.sync(&["--json"]));
    sync.locked();
    fs::write(folder.published().path().join("ptp7"), "no model").unwrap();
    let output = folder.command("clock").arg("--json").output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let states: Vec<_> =
        text(&output.stdout).lines().map(json).map(|view| (view["clock"].clone(), view["state"].clone())).collect();
    assert_eq!(states, [("/dev/ptp7".into(), "foreign".into()), (CLOCK.into(), "valid".into())]);
}

/// Executes a command that may not call bpf(2), as a service manager does by a filter of system calls: the call fails with EPERM.
const WITHOUT_BPF: &str = r#"
import ctypes, os, struct, sys
BPF, PR_SET_SECCOMP, FILTER = 321, 22, 2
# Load the call's number; where it is bpf's fail with EPERM, else allow.
code = [(0x20, 0, 0, 0), (0x15, 0, 1, BPF), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(code)))
assert ctypes.CDLL(None).prctl(PR_SET_SECCOMP, FILTER, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// Mounts a BPF file system where it is seen by nobody else, runs a command and lists what that leaves there.
const WITH_BPFFS: &str = r#"mount -t bpf -o mode=700 bpf "$INSTAMP_BPFFS" && "$@" && find "$INSTAMP_BPFFS" -mindepth 1 ! -name '*.debug' >&2"#;

#[test]
#[cfg(target_arch = "x86_64")]
fn where_no_bpf_map_may_be_made_the_file_alone_is_published() {
    let (Some(()), Some(()), Some(())) = (root(), tool("setpriv"), tool("python3")) else { return };
    for wrapper in [["setpriv", "--bounding-set", "-all"], ["python3", "-c", WITHOUT_BPF]] {
        let folder = Folder::new();
        let bpffs = folder.0.path().join("bpf");
        fs::create_dir(&bpffs).unwrap();
        let sync = folder.sync(&["--count", "40", "-R", "100"]);
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", WITH_BPFFS, "sh"]).args(wrapper);
        unshare.arg(sync.get_program()).args(sync.get_args()).env("INSTAMP_BPFFS", &bpffs);
        let output = unshare.output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{wrapper:?}");
        let lines = text(&output.stdout);
        let refused =
            format!(", not in a BPF map: publish the clock to {}/instamp/clock/monotonic_raw", bpffs.display());
        assert!(lines.contains(&format!("{refused}: not permitted: ")), "{lines}");
        assert!(lines.contains(" s2 "), "{lines}");
    }
}

#[test]
fn models_are_of_the_hosts_time_and_readers_may_be_in_another() {
    let (Some(()), Some(())) = (root(), tool("unshare")) else { return };
    let folder = Folder::new();
    let elsewhere = |command: &Command| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--time", "--monotonic", "1000", "--fork"]).arg(command.get_program()).args(command.get_args());
        unshare.env("INSTAMP_BPFFS", folder.0.path()).output().unwrap()
    };
    let refused = "instamp: models are of the host's time: run this outside of the time namespace\n";
    assert_fails(&elsewhere(&folder.sync(&[])), refused);

    let mut sync = Sync::start(&mut folder.sync(&["--json"]));
    sync.locked();
    let offset = |output: &Output| json(text(&output.stdout))["model"]["offset_ns"].as_i64().unwrap();
    let here = offset(&folder.command("clock").arg("--json").output().unwrap());
    let there = offset(&elsewhere(folder.command("clock").arg("--json")));
    assert!(here.abs_diff(there) < 1_000_000_000, "{here} {there}");
}

#[test]
fn where_nothing_is_published_that_is_said() {
    let folder = Folder::new();
    let output = folder.command("clock").output().unwrap();
    let expected = format!("no clock is published at {}: `instamp sync` does\n", folder.published().path().display());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), expected.as_str()));
    let (view, code) = folder.clock();
    assert_eq!((&view["state"], code), (&"unpublished".into(), 1));
}
