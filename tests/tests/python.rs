//! The Python package: its own tests, its types, and its examples on real packets.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use instamp_tests::{
    capture::{Capture, ECHOES},
    commands::text,
    lab::{Lab, instamp},
    podman::{Backend, Content, Podman, podman},
    privilege::{root, tool},
    python::interpreter,
};
use serde_json::Value;

const PROBES: usize = 50;

/// The interpreter that has the package installed, to be started in the package's folder. It leaves nothing there.
fn python() -> Option<Command> {
    let mut python = Command::new(interpreter()?);
    python.current_dir(package()).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(python)
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../userlib/python")
}

fn example(name: &str) -> String {
    package().join("examples").join(name).display().to_string()
}

/// Appends the example that pings the remote.
fn ping<'a>(pinger: &'a mut Command, python: &Command, address: &str, options: &[&str]) -> &'a mut Command {
    pinger.env("PYTHONDONTWRITEBYTECODE", "1").arg(python.get_program()).arg(example("ping.py"));
    pinger.args(options).arg(address)
}

/// Asserts that every probe was answered, and that the sum of the parts is the whole for each.
#[track_caller]
fn all_corrected(output: &str) {
    let replies: Vec<_> = output.lines().filter(|line| line.contains("icmp_seq=")).collect();
    assert_eq!(replies.len(), PROBES, "{output}");
    for line in replies {
        let microseconds = |key: &str, unit: &str| -> f64 {
            let word = line.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or_else(|| panic!("{line}"));
            word.trim_end_matches(unit).parse().unwrap()
        };
        let parts = ["net=", "tx=", "rx="].map(|key| microseconds(key, "us"));
        assert!(parts.iter().all(|part| *part > 0.0), "{line}");
        // The time has three decimals of a millisecond.
        assert!((microseconds("time=", "ms") * 1e3 - parts.iter().sum::<f64>()).abs() < 0.6, "{line}");
    }
    assert!(output.ends_with(&format!("{PROBES} sent, {PROBES} received\n")), "{output}");
}

#[test]
fn its_own_tests_pass() {
    let Some(mut python) = python() else { return };
    println!("{}", text(python.args(["-m", "pytest", "--quiet"])));
}

#[test]
fn its_types_hold() {
    let Some(mut python) = python() else { return };
    let mypy = ["-m", "mypy", "--cache-dir", "/dev/null"];
    text(python.args(mypy).args(["--package", "instamp"]));
    for files in
        [&["tests", "bench.py"][..], &["examples/ping.py"], &["examples/scapy_decode.py"], &["examples/analyse.py"]]
    {
        text(self::python().unwrap().args(mypy).args(files));
    }
    // What is said of the compiled part is what it is.
    let folder = tempfile::tempdir().unwrap();
    text(self::python().unwrap().current_dir(&folder).args(["-m", "mypy.stubtest", "instamp._instamp"]));
}

#[test]
fn the_example_prober_is_corrected_throughout_without_privilege() {
    let (Some(()), Some(()), Some(())) = (root(), tool("setpriv"), tool("tcpdump")) else { return };
    let Some(python) = python() else { return };
    let lab = Lab::up(&[]);
    // A capture is taken in front of TC, and behind XDP.
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
    let mut pinger = lab.command("c1", "setpriv");
    pinger.args(["--bounding-set=-all", "--inh-caps=-all"]);
    let count = PROBES.to_string();
    all_corrected(&text(ping(&mut pinger, &python, Lab::REMOTE, &["-c", &count, "-i", "0.01", "-W", "20"])));
    let file = capture.stop_with_file();

    let nobody =
        ping(&mut lab.command("c1", "env"), &python, "10.99.0.77", &["-c", "1", "-W", "0.1"]).output().unwrap();
    // A crash ends with 1, too.
    let told = String::from_utf8_lossy(&nobody.stdout);
    assert_eq!((nobody.status.code(), told.lines().last()), (Some(1), Some("1 sent, 0 received")), "{nobody:?}");

    the_examples_decode(&file);
}

/// What scapy's example shows of the records is what the command does, and the quantiles' example finds every reply.
fn the_examples_decode(capture: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probes.pcap");
    fs::write(&path, capture).unwrap();
    let shown = text(python().unwrap().arg(example("scapy_decode.py")).arg(&path));
    let told = text(instamp().args(["decode", "--json"]).arg(&path));
    let mut expected = String::new();
    for line in told.lines() {
        let probe: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let of = |key: &str| text(&probe[key]);
        let [packet, source, destination] = ["packet", "source", "destination"].map(of);
        expected += &format!("{packet} {source} > {destination} {} nonce={}\n", of("phase"), of("nonce"));
        for stamp in probe["stamps"].as_array().unwrap() {
            let of = |key: &str| text(&stamp[key]);
            let [phase, point, hook, node] = ["phase", "point", "hook", "node"].map(of);
            let bound = if stamp["bound_ns"].is_null() { "?".to_owned() } else { of("bound_ns") };
            expected += &format!(
                "    {phase} point={point} {hook} node={node} {} {} +-{bound}ns\n",
                of("clock"),
                of("time_ns")
            );
        }
    }
    assert_eq!(shown, expected);
    assert_eq!(told.lines().count(), 2 * PROBES);

    let quantiles = text(python().unwrap().arg(example("analyse.py")).arg(&path));
    let expected = format!("{}: {PROBES} replies, network p50 ", Lab::REMOTE);
    assert!(quantiles.starts_with(&expected) && quantiles.lines().count() == 1, "{quantiles}");
}

#[test]
fn the_example_prober_is_corrected_throughout_behind_podman_s_translation() {
    let (Some(()), Some(())) = (podman(), tool("nsenter")) else { return };
    let Some(python) = python() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    podman.start("web");
    text(podman.instamp().args(["attach", "--container", "web"]));
    // The network is the container's; its image has no Python.
    let mut pinger = Command::new("nsenter");
    pinger.arg(format!("--net=/proc/{}/ns/net", podman.inspect("web", "{{.State.Pid}}")));
    let count = PROBES.to_string();
    all_corrected(&text(ping(&mut pinger, &python, Lab::REMOTE, &["-c", &count, "-i", "0.01", "-W", "20"])));
}
