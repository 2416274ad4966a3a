//! The command as its users meet it: its help, its exit codes, its signals.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn instamp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instamp"));
    command
        .args(arguments)
        .env_remove("COLUMNS")
        .env_remove("INSTAMP_CLOCK_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> Output {
    instamp(arguments).output().expect("the command runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Whether this process may ping. Where the tests must be complete, it must.
fn may_ping() -> bool {
    let probe = output(&["ping", "-c", "1", "127.0.0.1"]);
    if probe.status.code() == Some(0) {
        return true;
    }
    let reason = text(&probe.stderr).trim();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("SKIP: {reason}");
    false
}

#[test]
fn help_of_attach() {
    insta::assert_snapshot!(text(&output(&["attach", "--help"]).stdout));
}

#[test]
fn help_of_detach() {
    insta::assert_snapshot!(text(&output(&["detach", "--help"]).stdout));
}

#[test]
fn help_of_ping() {
    insta::assert_snapshot!(text(&output(&["ping", "--help"]).stdout));
}

#[test]
fn help_of_probe() {
    insta::assert_snapshot!(text(&output(&["probe", "--help"]).stdout));
}

#[test]
fn help_of_reflect() {
    insta::assert_snapshot!(text(&output(&["reflect", "--help"]).stdout));
}

#[test]
fn help_of_watch() {
    insta::assert_snapshot!(text(&output(&["watch", "--help"]).stdout));
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(text(&output(&["run", "--help"]).stdout));
}

#[test]
fn help_of_decode() {
    insta::assert_snapshot!(text(&output(&["decode", "--help"]).stdout));
}

#[test]
fn help_of_report() {
    insta::assert_snapshot!(text(&output(&["report", "--help"]).stdout));
}

#[test]
fn help_of_sync() {
    insta::assert_snapshot!(text(&output(&["sync", "--help"]).stdout));
}

#[test]
fn help_of_clock() {
    insta::assert_snapshot!(text(&output(&["clock", "--help"]).stdout));
}

#[test]
fn help_of_exporter() {
    insta::assert_snapshot!(text(&output(&["exporter", "--help"]).stdout));
}

#[test]
fn errors_are_told_once_and_exit_with_2() {
    for (arguments, error) in [
        (
            ["decode", "/nonexistent.pcap"].as_slice(),
            "instamp: /nonexistent.pcap: No such file or directory (os error 2)\n",
        ),
        (&["decode", "/"], "instamp: /: Is a directory (os error 21)\n"),
        (&["report", "/nonexistent.jsonl"], "instamp: /nonexistent.jsonl: No such file or directory (os error 2)\n"),
        (&["report", "-"], "instamp: standard input: no run: `instamp ping --json` writes one\n"),
        (
            &["ping", "-6", "127.0.0.1"],
            "instamp: 127.0.0.1 has no IPv6 address: leave out -4 and -6, and an address in -I, to use any\n",
        ),
        (
            &["ping", "-I", "fe80::2%lo", "127.0.0.1"],
            "instamp: 127.0.0.1 has no IPv6 address: leave out -4 and -6, and an address in -I, to use any\n",
        ),
        (
            &["ping", "--transport", "afxdp", "--socket", "raw", "127.0.0.1"],
            "instamp: --transport afxdp has no ICMP socket: leave out --socket\n",
        ),
    ] {
        let output = output(arguments);
        assert_eq!((output.status.code(), text(&output.stderr), text(&output.stdout)), (Some(2), error, ""));
    }
    for arguments in [&["ping"], ["ping", "-i", "soon", "127.0.0.1"].as_slice(), &["ping", "-4", "-6", "localhost"]] {
        assert_eq!(output(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_odd_size_is_refused_with_the_reason() {
    if may_ping() {
        let output = output(&["ping", "-c", "1", "-s", "65", "127.0.0.1"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("odd"), "{}", text(&output.stderr));
    }
}

#[test]
fn every_reply_from_loopback_is_a_line() {
    if !may_ping() {
        return;
    }
    for address in ["127.0.0.1", "::1"] {
        let output = output(&["ping", "--json", "-c", "3", "-i", "1ms", address]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let lines: Vec<serde_json::Value> =
            text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let types: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
        assert_eq!(types, ["start", "reply", "reply", "reply", "summary"]);
        assert_eq!(lines[0]["address"], address);
        for (seq, reply) in (1..).zip(&lines[1..4]) {
            assert_eq!(reply["seq"], seq);
            assert!(reply["rtt_ns"].as_i64() > Some(0), "{reply}");
            // The loopback device is never attached to.
            assert_eq!(reply["uncorrected"], "no-stamps");
        }
        let summary = &lines[4];
        assert_eq!((&summary["sent"], &summary["received"], &summary["loss"]), (&3.into(), &3.into(), &0.0.into()));
    }
}

#[test]
fn a_report_is_written_where_it_is_asked_for_and_only_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let path = |name: &str| file(name).to_str().expect("text").to_owned();
    let reply = "{\"type\":\"reply\",\"seq\":1,\"rtt_ns\":42149}\n";
    std::fs::write(file("run.jsonl"), reply).expect("a file");
    std::fs::write(file("broken.jsonl"), format!("{reply}PING\n{reply}")).expect("a file");

    let told = output(&["report", &path("run.jsonl")]);
    assert!(told.status.success() && text(&told.stdout).starts_with("<!DOCTYPE html>"), "{told:?}");
    let page = path("page.html");
    assert!(output(&["report", &path("run.jsonl"), "-o", &page, "--title", "A <b>"]).status.success());
    let before = std::fs::read_to_string(&page).expect("a page");
    assert!(before.contains("<title>A &lt;b&gt;</title>"), "{before}");

    let refused = output(&["report", &path("run.jsonl"), &path("broken.jsonl"), "-o", &page]);
    assert_eq!(refused.status.code(), Some(2));
    let error = format!("instamp: {}:2: no line of `ping`, `probe` or `watch --json`: ", path("broken.jsonl"));
    assert!(text(&refused.stderr).starts_with(&error), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&page).expect("a page"), before);
    let nowhere = output(&["report", &path("run.jsonl"), "-o", &path("none/page.html")]);
    assert!(text(&nowhere.stderr).contains("cannot write"), "{nowhere:?}");
}

#[test]
fn transmit_times_are_counted_where_they_are_asked_for() {
    if !may_ping() {
        return;
    }
    let summary = |options: &[&str]| -> serde_json::Value {
        let output = output(&[&["ping", "--json", "-c", "3", "-i", "1ms"], options, &["127.0.0.1"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        serde_json::from_str(text(&output.stdout).lines().last().expect("a summary")).expect("JSON")
    };
    let counts = |asked| serde_json::json!({ "asked": asked, "received": 0, "late": 0, "missing": asked });
    // The loopback device is no network card, and a payload without a trailer brings no time.
    assert_eq!(summary(&["--hw", "--cap", "6", "-s", "88"])["nic_tx"], counts(3));
    assert_eq!(summary(&["--hw", "-s", "38"])["nic_tx"], counts(0));
    assert_eq!(summary(&[]).get("nic_tx"), None);
}

#[test]
fn quit_tells_how_it_stands_and_interrupt_ends() {
    if !may_ping() {
        return;
    }
    let mut ping = instamp(&["ping", "-i", "10ms", "127.0.0.1"]).spawn().expect("the command runs");
    let mut lines = BufReader::new(ping.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("icmp_seq=1 ")));

    signal(&ping, Signal::SIGQUIT);
    let mut errors = BufReader::new(ping.stderr.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert!(errors.any(|line| line.contains(" packets, ")), "the status line");

    signal(&ping, Signal::SIGINT);
    let rest: Vec<String> = lines.collect();
    assert!(rest.contains(&"--- 127.0.0.1 ping statistics ---".into()), "{rest:?}");
    assert_eq!(ping.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    if !may_ping() {
        return;
    }
    let mut ping = instamp(&["ping", "-i", "1ms", "127.0.0.1"]).spawn().expect("the command runs");
    let mut line = String::new();
    BufReader::new(ping.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("PING 127.0.0.1"), "{line}");

    let mut errors = String::new();
    ping.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
    assert!(!errors.contains("instamp:"), "{errors}");
    assert_eq!(ping.wait().expect("it ends").code(), Some(0));
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().expect("a process id")), signal).expect("it runs");
}
