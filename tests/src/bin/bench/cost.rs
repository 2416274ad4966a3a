//! The time that a hook takes per packet.

use std::fs::File;

use instamp_tests::{
    packets::{Frame, PROBER4, PROBER6, TARGET4, TARGET6},
    programs::{HOOKS, Loaded, objects, site, verdict},
};
use instamp_trailer::{Hook, Record, Standing};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::quantiles::median;

/// A test run leaves its packet as it is between repeats, so a probe is full after as many stamps as it has records: one
/// fewer for requests, whose last record is kept for the reply.
const STAMPS: u32 = 14;

/// A kind of packet, and how often and how many times it is run.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    repeat: u32,
    runs: usize,
}

fn cases() -> [Case; 5] {
    let probe = |source, destination| Frame { records: vec![Record::EMPTY; 15], ..Frame::request(source, destination) };
    let stamped = |name, frame: Frame| Case { name, frame: frame.bytes(), repeat: STAMPS, runs: 3_001 };
    let plain = |name, frame| Case { name, frame, repeat: 100_000, runs: 31 };
    let mut ping = probe(PROBER4, TARGET4).bytes();
    *ping.last_mut().expect("bytes") ^= 0xff;
    *ping.iter_mut().rev().nth(3).expect("bytes") ^= 0xff;
    let mut tcp = probe(PROBER4, TARGET4).bytes();
    tcp[23] = 6;
    [
        stamped("stamped-ipv4", probe(PROBER4, TARGET4)),
        stamped("stamped-ipv6", probe(PROBER6, TARGET6)),
        plain("refused-by-policy", probe(TARGET4, PROBER4).bytes()),
        plain("icmp-without-trailer", ping),
        plain("not-icmp", tcp),
    ]
}

/// Prints a line for each hook and kind of packet.
pub(crate) fn measure() {
    // A namespace of this thread's own, which goes with it.
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        for hook in HOOKS {
            measure_hook(hook);
        }
    })
    .join()
    .expect("the measuring thread");
}

fn measure_hook(hook: Hook) {
    // Freshly built ones, where there are any.
    let (_, objects) = objects().pop().expect("those in the tree");
    let mut program = Loaded::new(&objects, hook);
    let mut empty = Loaded::assembled(hook, &verdict(if hook == Hook::XDP_INGRESS { 2 } else { -1 }));
    let mut _first = None;
    if hook == Hook::XDP_INGRESS {
        // A test run of an XDP program that is attached nowhere patches the kernel's dispatcher before and behind, and
        // so runs on cold caches: hundreds of nanoseconds for a few repeats (bpf_prog_change_xdp in kernel/bpf/dispatcher.c).
        program.attach_xdp("lo");
        // A device takes one: the other is attached in another namespace, while a file keeps the first alive.
        _first = File::open("/proc/thread-self/ns/net").ok();
        unshare(CloneFlags::CLONE_NEWNET).expect("a second network namespace");
        empty.attach_xdp("lo");
    }
    program.set_site(site());
    program.set_standing(PROBER4, Standing::OWN);
    program.set_standing(PROBER6, Standing::OWN);
    for Case { name, frame, repeat, runs } in cases() {
        // Interleaved, so that what disturbs one disturbs the other.
        let (hook_ns, empty_ns): (Vec<_>, Vec<_>) =
            (0..runs).map(|_| (program.time(&frame, repeat).as_nanos(), empty.time(&frame, repeat).as_nanos())).unzip();
        let (hook_ns, empty_ns) = (median(&hook_ns), median(&empty_ns));
        println!(
            "{}",
            json!({
                "type": "cost", "hook": hook.to_string(), "packet": name,
                "cost_ns": hook_ns.saturating_sub(empty_ns), "hook_ns": hook_ns, "empty_ns": empty_ns, "runs": runs,
            })
        );
    }
}
