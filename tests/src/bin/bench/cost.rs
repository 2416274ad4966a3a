//! The time that a hook takes per packet.

use std::fs::File;

use instamp_tests::{
    packets::{Frame, PROBER4, PROBER6, TARGET4, TARGET6},
    programs::{HOOKS, Loaded, objects, site, verdict},
};
use instamp_trailer::{Hook, Record, Sent, SentKey, Site, Standing, locate};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use instamp_tests::quantiles::median;

/// A test run leaves its packet as it is between repeats, so a probe is full after as many stamps as it has records: one
/// fewer for requests, whose last record is kept for the reply.
const STAMPS: u32 = 14;

/// A kind of packet, and how often and how many times it is run.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    repeat: u32,
    runs: usize,
    /// What is known of a request before each run.
    sent: Option<(SentKey, Sent)>,
}

fn cases() -> [Case; 5] {
    let probe = |source, destination| Frame { records: vec![Record::EMPTY; 15], ..Frame::request(source, destination) };
    let stamped = |name, frame: Frame| Case { name, frame: frame.bytes(), repeat: STAMPS, runs: 3_001, sent: None };
    let plain = |name, frame| Case { name, frame, repeat: 100_000, runs: 31, sent: None };
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
    program.set_site(Site { keeps_sent: 1, ..site() });
    program.set_standing(PROBER4, Standing::OWN);
    program.set_standing(PROBER6, Standing::OWN);
    for case in cases().iter().chain(&replies(hook)) {
        case.print(&mut program, &empty);
    }
}

impl Case {
    fn print(&self, program: &mut Loaded, empty: &Loaded) {
        let Self { name, frame, repeat, runs, sent } = self;
        let (mut hook_ns, mut empty_ns) = (Vec::new(), Vec::new());
        // Interleaved, so that what disturbs one disturbs the other.
        for _ in 0..*runs {
            if let Some((key, sent)) = sent {
                let mut table = program.in_flight();
                table.take([*key].into_iter());
                table.keep(*key, *sent);
            }
            hook_ns.push(program.time(frame, *repeat).as_nanos());
            empty_ns.push(empty.time(frame, *repeat).as_nanos());
        }
        let (hook_ns, empty_ns) = (median(&hook_ns), median(&empty_ns));
        println!(
            "{}",
            json!({
                "type": "cost", "hook": program.hook().to_string(), "packet": name,
                "cost_ns": hook_ns.saturating_sub(empty_ns), "hook_ns": hook_ns, "empty_ns": empty_ns, "runs": runs,
            })
        );
    }
}

/// Replies, of which nothing is known of the request, or when it left. What is known is there for one run of the program: then both
/// are run once, on caches that the table's change has left.
fn replies(hook: Hook) -> Vec<Case> {
    if hook == Hook::TC_EGRESS {
        return Vec::new();
    }
    let reply = Frame { records: vec![Record::EMPTY; 15], used: 1, ..Frame::request(PROBER4, TARGET4) }.reply().bytes();
    let probe = locate(reply.as_slice()).expect("a probe");
    let bytes = |offset: u32| &reply[usize::try_from(offset).expect("an offset")..];
    let key = SentKey {
        nonce: *bytes(probe.footer_offset).first_chunk().expect("a footer"),
        namespace: site().namespace,
        point: site().point.into(),
    };
    let echo = *bytes(probe.message_offset + 4).first_chunk().expect("a header");
    let sent = Sent { driver_tx_ns: 1, nic_tx_ns: 0, echo, phc: site().phc, nic_tx_asked: 0, device: 0 };
    let elsewhere = SentKey { point: key.point + 1, ..key };
    let case = |name, repeat, sent| Case { name, frame: reply.clone(), repeat, runs: 3_001, sent };
    vec![
        case("reply-nothing-known", STAMPS, None),
        case("reply-nothing-known-once", 1, Some((elsewhere, sent))),
        case("reply-driver-tx-known-once", 1, Some((key, sent))),
        case("reply-driver-tx-nic-tx-known-once", 1, Some((key, Sent { nic_tx_asked: 1, nic_tx_ns: 1, ..sent }))),
    ]
}
