//! Containers: what a prober in a real one tells beside one of the host's own, how much of that flooding neighbours change, and what it
//! takes to attach to them as they come and go.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use instamp_tests::{
    bpffs::Bpffs,
    capture::{Capture, ECHOES, echoes},
    cni::Sandbox,
    coming::{self, Took},
    kernel_objects::Objects,
    lab::Lab,
    podman::{Backend, Content, Podman, podman},
};
use serde_json::{Value, json};

use crate::{
    accuracy::Comparison,
    quantiles::{median, quantile, summary},
    run::{Ping, of_type, records},
};

const ROUNDS: usize = 5;
const FLOODING: [usize; 5] = [0, 5, 10, 20, 25];
/// Those that measure send longer probes, so that the capture can leave out the flood.
const PAYLOAD: &str = "512";
const FILTER: &str = "icmp and greater 500";
/// How many containers come and go, and of how many at the beginning and at the end the times are told.
const TIMES: usize = 200;
const SHOWN: usize = 20;

pub(crate) fn measure() {
    real();
    flooded();
}

pub(crate) fn come_and_go() {
    with_the_plugin();
    with_podman();
}

/// Prints a line for a prober in a container of podman, and one for a prober of the host, whose runs take turns.
fn real() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Instamp);
    podman.start("web");
    succeed(podman.instamp().args(["attach", "--container", "web", "--ingress", "xdp"]));
    let options = ["ping", "--json", "-c", "1000", "-i", "2ms", "--cap", "6", "-s", "88", Lab::REMOTE];
    let mut inside = podman.command(&[&["exec", "web", "/bin/instamp"], &options[..]].concat());
    let mut outside = lab.instamp("host");
    outside.args(options);
    let mut results = [("container", Vec::new()), ("host", Vec::new())];
    for _ in 0..ROUNDS {
        for (command, (_, results)) in [&mut inside, &mut outside].into_iter().zip(&mut results) {
            let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
            let records = records(command);
            results.push((records, echoes(&capture.stop())));
        }
    }
    for (prober, results) in results {
        let replies: Vec<&Value> = results.iter().flat_map(|(records, _)| of_type(records, "reply")).collect();
        let differences: Vec<_> = results.iter().map(|(records, seen)| Comparison::of(records, seen)).collect();
        println!(
            "{}",
            json!({
                "type": "container", "prober": prober, "rounds": ROUNDS,
                "net_ns": of(&replies, "net_ns"), "rtt_ns": of(&replies, "rtt_ns"),
                "result": Comparison::together(differences).json(),
            })
        );
    }
}

/// Prints a line for each number of flooding containers: a container's prober and the host's, which take turns beside them.
fn flooded() {
    let most = FLOODING.into_iter().max().unwrap_or_default();
    let lab = Lab::up(&["--containers", &(most + 1).to_string()]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    for number in 1..=most + 1 {
        let namespace = format!("/run/netns/{}", lab.namespace(&format!("c{number}")));
        succeed(lab.instamp("host").args(["attach", "--netns", &namespace, "--ingress", "xdp"]));
    }
    for flooding in FLOODING {
        let floods: Vec<Ping> =
            (0..flooding).map(|n| Ping::start(&lab, &format!("c{}", n + 2), &["-i", "0", "-w", "20", "-q"])).collect();
        let probers = ["c1", "host"].map(|prober| {
            let capture = Capture::start(&lab, "host", Lab::NIC, FILTER);
            let records =
                Ping::start(&lab, prober, &["-c", "1000", "-i", "3ms", "--cap", "6", "-s", PAYLOAD]).records();
            let comparison = Comparison::of(&records, &echoes(&capture.stop()));
            let replies = of_type(&records, "reply");
            json!({
                "rtt_ns": of(&replies, "rtt_ns"), "net_ns": of(&replies, "net_ns"),
                "result": comparison.json(),
            })
        });
        let floods: Vec<Vec<Value>> = floods.into_iter().map(Ping::records).collect();
        let summaries = || floods.iter().flat_map(|records| of_type(records, "summary"));
        let total = |field: &str| -> u64 { summaries().filter_map(|summary| summary[field].as_u64()).sum() };
        let [container, native] = probers;
        println!(
            "{}",
            json!({
                "type": "flooded", "flooding": flooding, "container": container, "native": native,
                "flood_received": total("received"), "flood_corrected": total("corrected"),
            })
        );
    }
}

/// Prints the time that the plugin takes to add and to delete a container, at the beginning and at the end of many.
fn with_the_plugin() {
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    let bpffs = Bpffs::mount();
    let options = json!({ "type": "instamp-cni", "bpffs": bpffs.path(), "ingress": "tc" });
    let (mut adding, mut deleting) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let sandbox = Sandbox::new(&lab, 1);
        for (command, times) in [("ADD", &mut adding), ("DEL", &mut deleting)] {
            let begin = Instant::now();
            let output = sandbox.call(command, &options);
            times.push(begin.elapsed().as_micros());
            assert!(output.status.success(), "{output:?}");
        }
    }
    println!(
        "{}",
        json!({
            "type": "come-and-go", "times": TIMES, "add_us": medians(&adding), "delete_us": medians(&deleting),
            "pins_left": bpffs.pins().len(),
        })
    );
}

/// Prints likewise the times of podman's containers that are attached to by the command, and what the kernel has afterwards that it had
/// not before, whosever: after each container nothing of its own is left, or this fails.
fn with_podman() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let bpffs = Bpffs::mount();
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    let before = Objects::all();
    let took = coming::come_and_go(&podman, &bpffs, TIMES);
    let after = Objects::all();
    let of = |part: fn(&Took) -> Duration| medians(&took.iter().map(|took| part(took).as_micros()).collect::<Vec<_>>());
    println!(
        "{}",
        json!({
            "type": "come-and-go-podman", "times": TIMES,
            "start_us": of(|took| took.start), "attach_us": of(|took| took.attach),
            "remove_us": of(|took| took.remove), "sweep_us": of(|took| took.sweep),
            "links": { "before": before.links.len(), "after": after.links.len() },
            "programs": { "before": before.programs.len(), "after": after.programs.len() },
            "maps": { "before": before.maps.len(), "after": after.maps.len() },
            "pins_left": bpffs.pins().len(),
        })
    );
}

/// Of the first ones, and of the last.
fn medians(times: &[u128]) -> Value {
    let [first, last] = [&times[..SHOWN], &times[times.len() - SHOWN..]].map(median);
    json!({ "first": u64::try_from(first).ok(), "last": u64::try_from(last).ok() })
}

/// Quantiles of a number of replies.
fn of(replies: &[&Value], name: &str) -> Value {
    let numbers: Vec<i64> = replies.iter().filter_map(|reply| reply[name].as_i64()).collect();
    let mut summary = summary(&numbers);
    if !numbers.is_empty() {
        summary["p5"] = quantile(&numbers, 5, 100).into();
    }
    summary
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("a command");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
