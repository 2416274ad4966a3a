//! Probing past the stack: every reply is told as what it is, and nobody else's packets are touched.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use instamp_tests::{
    lab::Lab,
    ping::{Run, number},
    privilege::{root, tool},
    responder::{Answer, Responder},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where the trailer of a probe with four records begins in the payload of 64 bytes, and where its nonce does.
const APP_TX_TIME: usize = 4;
const NONCE_END: usize = 55;

fn xdp_programs(lab: &Lab, role: &str, device: &str) -> bool {
    lab.run(role, "ip", &["-json", "link", "show", "dev", device]).contains("\"xdp\"")
}

#[test]
fn many_targets_of_both_versions_are_probed_in_another_order_each_round() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for last in 10..40 {
        lab.run("remote", "ip", &["address", "add", &format!("10.99.0.{last}/24"), "dev", "eth0"]);
    }
    for attached in [false, true] {
        if attached {
            lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        }
        let before = xdp_programs(&lab, "host", Lab::NIC);
        let options =
            ["-r", "2000", "-c", "3", "10.99.0.10/31", "10.99.0.12/30", "10.99.0.16/28", Lab::REMOTE, Lab::REMOTE6];
        let run = Run::probe(&lab, &options);
        run.all_probed(24 * 3);
        let orders: Vec<Vec<&str>> = (0..3)
            .map(|round| {
                let mut replies: Vec<_> =
                    run.replies().into_iter().filter(|reply| number(reply, "round") == round).collect();
                replies.sort_by_key(|reply| number(reply, "index"));
                replies.iter().map(|reply| reply["address"].as_str().expect("text")).collect()
            })
            .collect();
        let all: Vec<BTreeSet<&str>> = orders.iter().map(|order| order.iter().copied().collect()).collect();
        assert_eq!((all[0].len(), &all[0], &all[1]), (24, &all[1], &all[2]));
        // By chance once in 10^23 runs.
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        assert_eq!(xdp_programs(&lab, "host", Lab::NIC), before, "attached: {attached}");
    }
}

/// An early one: it comes back while the run still waits for those in time.
fn is_late(number: u16) -> bool {
    number == 5
}

/// What each probe, by its number, comes back as.
fn hostile(number: u16) -> Answer {
    let alter: fn(&mut [u8]) = match number % 10 {
        // Another nonce of the same run; another time of sending; the same for another target's; a bound that was not claimed.
        2 => |payload| payload[NONCE_END] ^= 1,
        3 => |payload| payload[APP_TX_TIME + 7] ^= 1,
        4 => |payload| payload[1] ^= 1,
        _ => |_| {},
    };
    Answer {
        copies: if number % 10 == 1 { 3 } else { 1 },
        delay: if is_late(number) { Duration::from_millis(2_400) } else { Duration::ZERO },
        by_other: number % 10 == 6,
        alter,
        ..Answer::PLAIN
    }
}

#[test]
fn replies_that_are_late_doubled_forged_or_of_others_are_counted_apart() {
    let Some(()) = root() else { return };
    for attached in [false, true] {
        let lab = Lab::up(&[]);
        lab.run("remote", "ip", &["address", "add", "10.99.0.3/24", "dev", "eth0"]);
        if attached {
            lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        }
        let _responder = Responder::start_with_other(&lab, [Lab::REMOTE, "10.99.0.3"], hostile);
        let run = Run::probe(&lab, &["-c", "100", "-r", "100", "-W", "2", Lab::REMOTE]);
        let counts = ["sent", "received", "corrected", "duplicates", "forged", "late", "from_others", "dropped"];
        assert_eq!(counts.map(|name| run.count(name)), [100, 69, 69, 20, 30, 1, 10, 0], "attached: {attached}");
        for reply in run.replies() {
            let index = u16::try_from(number(reply, "index")).expect("small");
            let kind = index % 10;
            assert!(![2, 3, 4].contains(&kind), "{reply}");
            assert_eq!(reply["late"] == true, is_late(index), "{reply}");
            assert_eq!(reply["from"] == "10.99.0.3", kind == 6, "{reply}");
            assert!(reply["duplicate"] == false || kind == 1, "{reply}");
        }
    }
}

#[test]
fn whoever_else_uses_the_device_is_not_disturbed() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for attached in [false, true] {
        if attached {
            lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        }
        let mut probe = lab.instamp("host");
        probe.args([
            "probe",
            "-q",
            "--json",
            "--special",
            "--dev",
            Lab::NIC,
            "-c",
            "100000",
            "--rate",
            "20000",
            Lab::REMOTE,
        ]);
        let probe = probe.stdout(Stdio::piped()).spawn().expect("instamp probe");
        let pings: Vec<Run> =
            (0..2).map(|_| Run::new(&lab, "host", &["-c", "200", "-i", "5ms", Lab::REMOTE])).collect();
        // A full queue loses packets of all alike; what would be taken away from others is all of it.
        let ping = lab.run("host", "ping", &["-q", "-c", "200", "-i", "0.002", "-s", "64", Lab::REMOTE]);
        let lost = ping.split("% packet loss").next().and_then(|text| text.rsplit(' ').next());
        assert!(lost.and_then(|lost| lost.parse::<f64>().ok()).is_some_and(|lost| lost <= 5.0), "{ping}");
        for ping in pings {
            let [received, corrected, duplicates] =
                ["received", "corrected", "duplicates"].map(|name| ping.count(name));
            assert!(received >= 190 && duplicates == 0, "{ping:?}");
            assert_eq!(corrected, if attached { received } else { 0 }, "{ping:?}");
        }
        kill(Pid::from_raw(probe.id().cast_signed()), Signal::SIGINT).expect("its own process");
        let output = probe.wait_with_output().expect("its end");
        let run = Run::from(output);
        let [sent, received, corrected] = ["sent", "received", "corrected"].map(|name| run.count(name));
        assert!(run.code == 0 && corrected == received && received * 20 >= sent * 19, "{run:?}");
        assert_eq!((run.count("forged"), run.count("duplicates")), (0, 0), "{run:?}");
    }
}

#[test]
fn a_prober_that_is_killed_leaves_the_device_as_it_was() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for attached in [false, true] {
        if attached {
            lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
        }
        let before = xdp_programs(&lab, "host", Lab::NIC);
        let mut probe = lab.instamp("host");
        probe.args(["probe", "--json", "--special", "--dev", Lab::NIC, "-c", "10000000", "--rate", "0", Lab::REMOTE]);
        let mut probe = probe.stdout(Stdio::piped()).spawn().expect("instamp probe");
        // It has begun.
        let mut first = [0; 4096];
        let stdout = probe.stdout.as_mut().expect("a pipe");
        assert!(std::io::Read::read(stdout, &mut first).expect("output") > 0);
        probe.kill().expect("its own process");
        probe.wait().expect("its end");
        assert_eq!(xdp_programs(&lab, "host", Lab::NIC), before, "attached: {attached}");
        let ping = Run::new(&lab, "host", &["-c", "20", "-i", "1ms", Lab::REMOTE]);
        assert_eq!(ping.count("received"), 20, "{ping:?}");
        // The queue is free, and what the one before has left does not matter.
        Run::probe(&lab, &["-c", "10", "-r", "1000", Lab::REMOTE]).all_probed(10);
    }
}

#[test]
fn a_second_prober_is_told_who_has_the_queue() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let mut first = lab.instamp("host");
    first.args(["probe", "--json", "--special", "--dev", Lab::NIC, "-c", "100000", Lab::REMOTE]);
    let mut first = first.stdout(Stdio::piped()).spawn().expect("instamp probe");
    let mut line = [0; 4096];
    assert!(std::io::Read::read(first.stdout.as_mut().expect("a pipe"), &mut line).expect("output") > 0);
    let second = Run::probe(&lab, &["-c", "1", Lab::REMOTE]);
    assert_eq!(second.code, 2, "{second:?}");
    assert!(second.messages.contains(&format!("process {} (instamp)", first.id())), "{}", second.messages);
    kill(Pid::from_raw(first.id().cast_signed()), Signal::SIGTERM).expect("its own process");
    assert!(first.wait_with_output().expect("its end").status.success());
}

#[test]
fn what_cannot_be_sent_is_told() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "198.51.100.0/24", "dev", "br0"]);
    // A next hop that does not answer, one behind another device, and the host itself.
    let run = Run::probe(&lab, &["-r", "0", "10.99.0.77", "198.51.100.7", "10.99.0.1", Lab::REMOTE]);
    let counts = ["sent", "received", "unroutable", "unresolved"];
    assert_eq!(counts.map(|name| run.count(name)), [1, 1, 2, 1], "{run:?}");
}

#[test]
fn several_queues_share_a_run() {
    let Some(()) = root() else { return };
    if tool("ethtool").is_none() {
        return;
    }
    let lab = Lab::up(&[]);
    lab.run("host", "ethtool", &["-L", Lab::NIC, "rx", "2", "tx", "2"]);
    for rate in ["0", "2000"] {
        let run = Run::probe(&lab, &["-c", "1000", "-r", rate, Lab::REMOTE, Lab::REMOTE6]);
        assert_eq!(run.of_type("start")[0]["queues"], 2);
        run.all_probed(2_000);
        let numbers: BTreeSet<i64> = run.replies().into_iter().map(|reply| number(reply, "index")).collect();
        assert_eq!(numbers.len(), 2_000, "each number is one probe's");
    }
}

#[test]
fn what_the_card_does_not_tell_is_missed_by_nobody() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    // More than the device's queue holds.
    Run::probe(&lab, &["--hw", "-c", "6000", "-r", "20000", Lab::REMOTE]).all_probed(6_000);
    Run::new(&lab, "host", &["--transport", "afxdp", "--hw", "-c", "5", "-i", "1ms", Lab::REMOTE]).all_corrected(5);
}

#[test]
fn packets_that_the_device_does_not_take_are_refused() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["link", "set", "dev", Lab::NIC, "mtu", "1500"]);
    let run = Run::new(&lab, "host", &["--transport", "afxdp", "-s", "1474", "-c", "1", Lab::REMOTE]);
    assert_eq!(run.code, 2);
    assert!(run.messages.contains("1502 bytes are longer than nic0 takes, 1500"), "{}", run.messages);
    Run::new(&lab, "host", &["--transport", "afxdp", "-s", "1472", "-c", "1", Lab::REMOTE]).all_corrected(1);
    // Nor are those whose replies would not come here.
    let run = Run::probe(&lab, &["-c", "1", "-I", "10.99.0.200", Lab::REMOTE]);
    assert_eq!(run.code, 2);
    assert!(run.messages.contains("10.99.0.200 is no address of this host"), "{}", run.messages);
    Run::probe(&lab, &["-c", "1", "-I", "10.99.0.1", Lab::REMOTE]).all_probed(1);
}

#[test]
fn a_next_hop_is_waited_for() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for rate in ["0", "10000"] {
        lab.run("host", "ip", &["neighbour", "flush", "dev", Lab::NIC]);
        Run::probe(&lab, &["-c", "3000", "-r", rate, Lab::REMOTE]).all_probed(3_000);
    }
}

#[test]
fn ping_goes_past_the_stack_as_probes_do() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for target in [Lab::REMOTE, Lab::REMOTE6] {
        let run = Run::new(&lab, "host", &["--transport", "afxdp", "-c", "50", "-i", "1ms", target]);
        run.all_corrected(50);
        for reply in run.replies() {
            assert_eq!(
                (&reply["net_source"], number(reply, "tx_stack_ns")),
                (&"app-tx/xdp-ingress".into(), 0),
                "{reply}"
            );
        }
    }
    assert!(!xdp_programs(&lab, "host", Lab::NIC));
}
