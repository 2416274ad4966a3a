//! Containers: what a prober in a real one tells beside one of the host's own, how much of that flooding neighbours change, what `instamp watch`
//! tells of other people's pings in them, and what it takes to attach to them as they come and go.

use std::{process::Command, time::Duration};

use instamp_tests::{
    bpffs::Bpffs,
    capture::{Capture, ECHOES, echoes},
    coming::{Called, Took, come_and_go, come_and_go_with_the_plugin, quarters},
    commands::text,
    comparison::Comparison,
    kernel_objects::Objects,
    lab::Lab,
    neighbours::Neighbours,
    podman::{Backend, Content, Podman, podman},
    quantiles::{median, quantile, summary},
    unmodified::Pinging,
    watching::Agreement,
};
use serde_json::{Value, json};

use crate::{
    accuracy::differences,
    run::{of_type, records},
};

const ROUNDS: usize = 5;
const WATCHED_ROUNDS: usize = 7;
const FLOODING: [usize; 5] = [0, 5, 10, 20, 25];
/// Those that measure send longer probes, so that the capture can leave out the flood.
const PAYLOAD: &str = "512";
const FILTER: &str = "icmp and greater 500";
/// How many containers come and go.
const TIMES: usize = 200;

pub(crate) fn measure() {
    real();
    flooded();
    watched();
}

pub(crate) fn coming() {
    with_the_plugin();
    with_podman();
}

/// Prints a line for a prober in a container of podman, and one for a prober of the host, whose runs take turns.
fn real() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Instamp);
    podman.start("web");
    text(podman.instamp().args(["attach", "--container", "web", "--ingress", "xdp"]));
    let options = ["ping", "--json", "-c", "1000", "-i", "2ms", "--cap", "6", "-s", "88", Lab::REMOTE];
    let mut inside = podman.command(&[&["exec", "web", "/bin/instamp"], &options[..]].concat());
    let mut outside = lab.instamp("host");
    outside.args(options);
    let mut probers = [("container", Vec::new(), Comparison::default()), ("host", Vec::new(), Comparison::default())];
    for _ in 0..ROUNDS {
        for (command, (_, replies, comparison)) in [&mut inside, &mut outside].into_iter().zip(&mut probers) {
            let (mut more, compared) = beside_a_capture(&lab, command, ECHOES);
            replies.append(&mut more);
            comparison.add(compared);
        }
    }
    for (prober, replies, comparison) in probers {
        println!(
            "{}",
            json!({
                "type": "container", "prober": prober, "rounds": ROUNDS,
                "net_ns": of(&replies, "net_ns"), "rtt_ns": of(&replies, "rtt_ns"), "result": differences(&comparison),
            })
        );
    }
}

/// Prints a line for each number of flooding containers of podman, with a container's prober and the host's, which take turns beside
/// them; and one for the floods.
fn flooded() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Instamp);
    let most = FLOODING.into_iter().max().unwrap_or_default();
    let mut neighbours = Neighbours::start(&podman, most);
    let options = ["ping", "--json", "-c", "1000", "-i", "3ms", "--cap", "6", "-s", PAYLOAD, Lab::REMOTE];
    for flooding in FLOODING {
        neighbours.flood(flooding);
        let [container, native] = [neighbours.prober(&options), with(lab.instamp("host"), &options)].map(|mut prober| {
            let (replies, comparison) = beside_a_capture(&lab, &mut prober, FILTER);
            json!({
                "rtt_ns": of(&replies, "rtt_ns"), "net_ns": of(&replies, "net_ns"), "result": differences(&comparison),
            })
        });
        println!("{}", json!({ "type": "flooded", "flooding": flooding, "container": container, "native": native }));
    }
    let floods = neighbours.stop();
    let total = |name| floods.iter().map(|flood| flood.count(name)).sum::<u64>();
    println!(
        "{}",
        json!({
            "type": "floods", "containers": floods.len(),
            "sent": total("sent"), "received": total("received"), "corrected": total("corrected"),
        })
    );
}

/// The replies to a prober, and how they compare with a capture.
fn beside_a_capture(lab: &Lab, prober: &mut Command, filter: &str) -> (Vec<Value>, Comparison) {
    let capture = Capture::start(lab, "host", Lab::NIC, filter);
    let records = records(prober);
    let seen = echoes(&capture.stop());
    let replies = of_type(&records, "reply");
    let comparison = Comparison::of(&replies, &seen);
    (replies.into_iter().cloned().collect(), comparison)
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// Prints how far `instamp watch` is from a capture, beside six containers of podman with other people's pings.
fn watched() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Pings);
    let rounds: Vec<Agreement> = (0..WATCHED_ROUNDS).map(|_| Pinging::new(&podman, 1000, 2).watched(&lab)).collect();
    let of_all = |part: fn(&Agreement) -> &[i64]| summary(&rounds.iter().flat_map(part).copied().collect::<Vec<_>>());
    let of_each: Vec<i64> = rounds.iter().map(|round| median(&round.differences)).collect();
    println!(
        "{}",
        json!({
            "type": "watch-containers", "rounds": WATCHED_ROUNDS, "p50_of_each_ns": of_each,
            "difference_ns": of_all(|round| &round.differences), "total_ns": of_all(|round| &round.totals),
        })
    );
}

/// Prints the time that the plugin takes to add and to delete a container, from the first to the last of many.
fn with_the_plugin() {
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    let called = come_and_go_with_the_plugin(&lab, &Bpffs::mount(), TIMES);
    let of = |part: fn(&Called) -> Duration| medians(&called, part);
    println!(
        "{}",
        json!({
            "type": "come-and-go", "times": TIMES, "add_us": of(|called| called.add), "delete_us": of(|called| called.delete),
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
    let took = come_and_go(&podman, &bpffs, TIMES);
    let after = Objects::all();
    let of = |part: fn(&Took) -> Duration| medians(&took, part);
    println!(
        "{}",
        json!({
            "type": "come-and-go-podman", "times": TIMES,
            "start_us": of(|took| took.start), "attach_us": of(|took| took.attach), "inspect_us": of(|took| took.inspect),
            "remove_us": of(|took| took.remove), "sweep_us": of(|took| took.sweep),
            "links": { "before": before.links.len(), "after": after.links.len() },
            "programs": { "before": before.programs.len(), "after": after.programs.len() },
            "maps": { "before": before.maps.len(), "after": after.maps.len() },
            "pins_left": bpffs.pins().len(),
        })
    );
}

/// Of each quarter of the times, in their order, in microseconds.
fn medians<T>(times: &[T], part: fn(&T) -> Duration) -> [u128; 4] {
    quarters(times, part).map(|time| time.as_micros())
}

/// Quantiles of a number of replies.
fn of(replies: &[Value], name: &str) -> Value {
    let numbers: Vec<i64> = replies.iter().filter_map(|reply| reply[name].as_i64()).collect();
    let mut summary = summary(&numbers);
    if !numbers.is_empty() {
        summary["p5"] = quantile(&numbers, 5, 100).into();
    }
    summary
}
