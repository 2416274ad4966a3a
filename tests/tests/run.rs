//! `instamp run`: tools as they are, and what is added to their lines.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use instamp_tests::{
    dialogue::Dialogue,
    lab::{Lab, instamp},
    privilege::{root, tool},
    responder::{Answer, Responder},
};
use nix::sys::signal::Signal;
use serde_json::Value;

const PROBES: usize = 30;

/// What is needed besides root.
fn tools() -> Option<()> {
    root()?;
    ["ping", "busybox", "fping", "nft"].iter().try_for_each(|name| tool(name))
}

/// `instamp run` of a tool in the network of a container, or of the host.
fn run(lab: &Lab, role: &str, words: &[&str]) -> Command {
    let mut command = lab.instamp("host");
    command.args(["run", "--dev", Lab::NIC]);
    if role != "host" {
        command.args(["--netns", &format!("/run/netns/{}", lab.namespace(role))]);
    }
    command.arg("--").args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// The lines to which something was added: the tool's own part, and that.
fn told(output: &str) -> Vec<(&str, &str)> {
    let told: Vec<_> = output.lines().filter_map(|line| line.split_once(" net=")).collect();
    assert!(told.iter().all(|(line, _)| [" ms", " ms)", "loss)"].iter().any(|end| line.ends_with(end))), "{output}");
    told
}

/// A time in what was added, or in milliseconds in a line of a tool, in nanoseconds.
fn nanoseconds(text: &str) -> f64 {
    let end = text.find(|character: char| !matches!(character, '0'..='9' | '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = if unit.starts_with("us") { 1e3 } else { 1e6 };
    assert!(unit.starts_with("us") || unit.trim_start().starts_with("ms"), "{text}");
    number.parse::<f64>().unwrap() * scale
}

/// The text behind a mark.
fn behind<'a>(line: &'a str, mark: &str) -> &'a str {
    line.split_once(mark).unwrap_or_else(|| panic!("no {mark}: {line}")).1
}

/// How late the reply to a request is, by its number: so that replies come in another order than requests.
fn delay(sequence: u16) -> Duration {
    Duration::from_millis(u64::from(sequence * 7 % 11) * 4)
}

/// Asserts that each reply's line has got the times of that very reply.
fn all_are_told(output: &Output, number: &str, time: &str, has_parts: bool) {
    let text = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told = told(text);
    assert!(told.len() == PROBES && !text.contains("net=?"), "{text}");
    let mut numbers: Vec<u16> = Vec::new();
    for (line, added) in told {
        let digits = behind(line, number);
        let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap();
        let sequence = digits[..end].parse().unwrap();
        numbers.push(sequence);
        let (net, rtt) = (nanoseconds(added), nanoseconds(behind(line, time)));
        assert!(net >= delay(sequence).as_secs_f64() * 1e9, "less than the far end took: {line} net={added}");
        // The tool prints three digits at least.
        assert!(net <= rtt * 1.01, "more than the tool has seen: {line} net={added}");
        assert_eq!((added.contains(" tx="), added.contains(" rx=")), (has_parts, has_parts), "{added}");
        assert!(added.contains(" host="), "{added}");
    }
    assert!(!numbers.is_sorted(), "{numbers:?}");
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), PROBES, "{text}");
    assert!(text.contains(&format!("told in {PROBES} of {PROBES} lines")), "{text}");
}

#[test]
fn every_line_gets_its_own_times() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&["--containers", "3"]);
    let responder = Responder::start(&lab, Lab::REMOTE, |sequence| Answer { delay: delay(sequence), ..Answer::PLAIN });
    let count = PROBES.to_string();
    let iputils: &[&str] = &["ping", "-n", "-e", "77", "-i", "0.01", "-c", &count, Lab::REMOTE];
    let busybox: &[&str] = &["busybox", "ping", "-i", "0.01", "-c", &count, Lab::REMOTE];
    let fping: &[&str] = &["fping", "-p", "10", "-t", "2000", "-c", &count, Lab::REMOTE];
    let tools = [("c1", iputils), ("c2", busybox), ("c3", fping), ("c2", iputils), ("host", iputils)];
    let running: Vec<Child> = tools.iter().map(|(role, words)| run(&lab, role, words).spawn().unwrap()).collect();
    let outputs: Vec<Output> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    drop(responder);
    for ((role, words), output) in tools.iter().zip(&outputs) {
        let (number, time) = match words[0] {
            "ping" => ("icmp_seq=", "time="),
            "busybox" => (" seq=", "time="),
            _ => ("[", "bytes, "),
        };
        all_are_told(output, number, time, *role != "host");
    }
}

#[test]
fn lines_of_ipv6_and_by_names() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    for words in [
        &["ping", "-6", "-c", "2", "-i", "0.01", Lab::REMOTE6][..],
        &["busybox", "ping6", "-c", "2", "-i", "0.01", Lab::REMOTE6],
        &["fping", "-6", "-c", "2", "-p", "10", "-t", "2000", Lab::REMOTE6],
        &["fping", "-e", "-t", "2000", Lab::REMOTE, Lab::REMOTE6],
        &["ping", "-D", "-c", "2", "-i", "0.01", Lab::REMOTE],
    ] {
        let output = run(&lab, "c1", words).output().unwrap();
        let text = text(&output.stdout);
        assert_eq!(told(text).len(), 2, "{words:?}: {text}");
        assert!(!text.contains("net=?"), "{words:?}: {text}");
    }
}

/// fping has no line with a time of a reply that is too late, nor of one that never comes. Its other lines keep their own.
#[test]
fn replies_that_fping_does_not_print_shift_nothing() {
    const LATE: u16 = 3;
    const LOST: u16 = 7;
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let of = |sequence| if sequence == LATE { Duration::from_millis(2_500) } else { delay(sequence) };
    let answer = move |sequence| Answer { delay: of(sequence), ..Answer::PLAIN };
    let lose = "add table ip silence; add chain ip silence forward { type filter hook forward priority -500; }; \
        add rule ip silence forward icmp type echo-request icmp sequence 7 drop";
    lab.run("host", "nft", &[lose]);
    let responder = Responder::start(&lab, Lab::REMOTE, answer);
    let output = run(&lab, "c1", &["fping", "-p", "100", "-t", "2000", "-c", "40", Lab::REMOTE]).output().unwrap();
    drop(responder);
    let text = text(&output.stdout);
    let told = told(text);
    let mut numbers: Vec<u16> = Vec::new();
    for (line, added) in told {
        let sequence = behind(line, "[").split_once(']').unwrap().0.parse().unwrap();
        let (net, rtt) = (nanoseconds(added), nanoseconds(behind(line, "bytes, ")));
        assert!((of(sequence).as_secs_f64() * 1e9..=rtt * 1.01).contains(&net), "{line} net={added}");
        numbers.push(sequence);
    }
    let expected: Vec<u16> = (0..40).filter(|sequence| ![LATE, LOST].contains(sequence)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, expected, "{text}");
}

/// Of several targets, one of which does not answer.
#[test]
fn fping_s_lines_of_several_targets() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let targets = [Lab::REMOTE, "10.99.0.9", Lab::REMOTE6];
    let output =
        run(&lab, "c1", &[&["fping", "-p", "50", "-t", "2000", "-c", "5"], &targets[..]].concat()).output().unwrap();
    let text = text(&output.stdout);
    assert!(told(text).len() == 10 && !text.contains("net=?"), "{text}");
}

/// A first request that waits for the address of its next hop leaves while another process is running: the one that tells the address.
#[test]
fn a_request_that_waited_for_its_next_hop_is_the_tool_s() {
    const GATEWAY: &str = "172.29.0.1";
    const TRACEPOINT: &[u8] = b"\0btf_trace_sock_send_length\0";
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    // The gateway tells nobody its address.
    lab.enter("host", || std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "8").unwrap());
    let bridge: Value = serde_json::from_str(&lab.run("host", "ip", &["-j", "link", "show", "br0"])).unwrap();
    lab.run("c1", "ip", &["neigh", "flush", "all"]);
    let mut child = run(&lab, "c1", &["ping", "-n", "-c", "1", Lab::REMOTE]).spawn().unwrap();
    while !lab.run("c1", "ip", &["neigh", "show", GATEWAY]).contains("INCOMPLETE") {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before");
    }
    let address = bridge[0]["address"].as_str().unwrap();
    lab.run("c1", "ip", &["neigh", "replace", GATEWAY, "lladdr", address, "dev", "eth0", "nud", "reachable"]);
    let output = child.wait_with_output().unwrap();
    let text = text(&output.stdout);
    // Linux 6.3: before, nobody tells whose the socket is.
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let is_known = types.windows(TRACEPOINT.len()).any(|bytes| bytes == TRACEPOINT);
    assert_eq!((told(text).len(), text.contains("net=?")), (1, !is_known), "{text}");
}

/// Lines of replies that never were on the network say so, and all others are as they were.
#[test]
fn other_lines_are_untouched() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let output = run(&lab, "c1", &["ping", "-n", "-c", "2", "-i", "0.01", "172.29.0.1"]).output().unwrap();
    let text = text(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "PING 172.29.0.1 (172.29.0.1) 56(84) bytes of data.");
    assert!(lines[1..3].iter().all(|line| line.ends_with(" ms net=?")), "{text}");
    assert_eq!(lines[4], "--- 172.29.0.1 ping statistics ---");
    assert!(text.ends_with("--- where the time of 0 replies went ---\ntold in 0 of 2 lines\n"), "{text}");
}

#[test]
fn the_exit_code_is_the_tool_s() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    for (words, expected) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["ping", "-c", "1", "-W", "0.1", "10.99.0.9"], 1),
        (&["/nonexistent/ping"], 2),
    ] {
        let output = run(&lab, "c1", words).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{words:?}: {output:?}");
    }
}

/// What the tool says counts, whoever reads it.
#[test]
fn the_exit_code_is_the_tool_s_when_nobody_reads() {
    let Some(()) = tools() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("ping");
    std::fs::write(&tool, "#!/bin/sh\ntrap '' PIPE\necho first\nread answer\necho second\nexit 7\n").unwrap();
    Command::new("chmod").arg("+x").arg(&tool).status().unwrap();
    let lab = Lab::up(&[]);
    let mut child = run(&lab, "host", &[tool.to_str().unwrap()]).stdin(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    drop(output);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

/// More replies than the kernel keeps come while the tool prints nothing.
#[test]
fn a_tool_that_prints_nothing_loses_no_replies() {
    const SILENT: usize = 60_000;
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let count = SILENT.to_string();
    let words = ["ping", "-n", "-q", "-f", "-c", &count, Lab::REMOTE];
    let output = run(&lab, "c1", &words).output().unwrap();
    let text = text(&output.stdout);
    assert!(text.contains(&format!("--- where the time of {SILENT} replies went ---")), "{text}");
    assert!(text.ends_with("told in 0 of 0 lines\n"), "{text}");
}

#[test]
fn other_tools_get_a_summary_and_are_told_so() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let target = Lab::REMOTE;
    // Nobody's business.
    let words = ["ping", "-n", "-q", "-i", "0.01", target];
    let mut stranger = Dialogue::start(lab.command("c1", words[0]).args(&words[1..]));
    // The tool sends by itself; by a process for each, which ends at once; by one whose parent ends before. Before Linux 6.3 the first process
    // that sends must be there when the address of the next hop comes: the first tool's is.
    for script in [
        format!("exec ping -n -c 3 -i 0.01 {target}"),
        format!("for number in 1 2 3; do ping -n -c 1 {target}; done; echo 3 received"),
        format!("(ping -n -c 3 -i 0.2 {target} > /dev/null &); sleep 1; echo 3 received"),
    ] {
        let output = run(&lab, "c1", &["sh", "-c", &script]).output().unwrap();
        let notice = "instamp: the lines of sh are not known: its replies are in the summary alone\n";
        assert_eq!(text(&output.stderr), notice);
        let text = text(&output.stdout);
        assert!(text.contains("3 received") && !text.contains(" net="), "{text}");
        assert!(text.contains("--- where the time of 3 replies went ---\nnet p50/p90/p99 = "), "{text}");
    }
    stranger.interrupt();
    let output = stranger.wait();
    assert!(!self::text(&output.stdout).contains(" 0 received"), "{output:?}");
}

/// The kernel would have other numbers for its processes.
#[test]
fn in_another_pid_namespace_it_says_so() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    let mut command = lab.command("host", "unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(instamp().get_program());
    let output = command.args(["run", "--dev", Lab::NIC, "--", "ping", "-c", "1", Lab::REMOTE]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("start this in the machine's own PID namespace"), "{said}");
}

/// A tool that runs on until it is told to end.
#[test]
fn signals_are_passed_on() {
    let Some(()) = tools() else { return };
    let lab = Lab::up(&[]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = Dialogue::start(&mut run(&lab, "c1", &["ping", "-n", "-i", "0.01", Lab::REMOTE]));
        running.wait_for("icmp_seq=3");
        running.signal(signal);
        let output = running.wait();
        let (text, code) = (text(&output.stdout), output.status.code());
        assert!(text.contains("--- where the time of "), "{text}");
        if signal == Signal::SIGINT {
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains(" packets transmitted, "), "the tool's own end: {text}");
        } else {
            assert_eq!(code, Some(128 + 15), "{text}");
        }
    }
}

/// What comes with the tool's first line that has no end yet is not kept back.
#[test]
fn parts_of_lines_are_passed_on_at_once() {
    let Some(()) = tools() else { return };
    let folder = tempfile::tempdir().unwrap();
    // By its name it is one whose lines are known.
    let tool = folder.path().join("ping");
    std::fs::write(&tool, "#!/bin/sh\nprintf 'password: '\nread answer\necho \"$answer\"\n").unwrap();
    Command::new("chmod").arg("+x").arg(&tool).status().unwrap();
    let lab = Lab::up(&[]);
    let mut child = run(&lab, "host", &[tool.to_str().unwrap()]).stdin(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut question = [0; 10];
    output.read_exact(&mut question).unwrap();
    assert_eq!(text(&question), "password: ");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"open sesame\n").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("open sesame\n\n--- where the time of 0 replies went ---\n"), "{rest}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn options_before_the_command_are_its_own() {
    let output = instamp().args(["run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("<COMMAND>"), "{output:?}");
}
