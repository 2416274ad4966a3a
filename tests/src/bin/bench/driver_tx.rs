//! The time that driver-tx takes for a packet that a device sends: a probe, or none.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    process::Command,
};

use aya::{
    Btf, Ebpf,
    programs::BtfTracePoint,
    sys::{Stats, enable_stats},
};
use instamp_tests::{
    built::DRIVER_TX,
    packets::{Frame, PROBER4, PROBER6, TARGET4, TARGET6},
    programs::{ASSEMBLED, assembled, site, verdict},
    wire::Wire,
};
use instamp_trailer::{
    Bound, Clock, Hook, Phase, Record, Site,
    in_flight::{Device, SETS, Set},
    locate,
};
use libbpf_rs::{Link, MapCore as _, MapFlags, Object, ObjectBuilder};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use zerocopy::IntoBytes as _;

use instamp_tests::quantiles::median;

const TRACEPOINT: &str = "net_dev_start_xmit";
const RUNS: usize = 31;
/// Packets of a run, a sixteenth of what the table holds.
const PACKETS: u32 = 4_096;
/// So many that the table has no room left.
const MANY: u32 = 300_000;

/// Prints a line for each kind of packet; for probes with an empty table, and with a full one.
pub(crate) fn measure() {
    // A namespace of this thread's own, which goes with it.
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        for arguments in ["link add out0 type veth peer name in0", "link set out0 up", "link set in0 up"] {
            let status = Command::new("ip").args(arguments.split(' ')).status();
            assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
        }
        let stats = enable_stats(Stats::RunTime).expect("statistics of programs");
        let wire = Wire::open("out0");
        measure_on(&wire);
        drop(stats);
    })
    .join()
    .expect("the measuring thread");
}

fn measure_on(wire: &Wire) {
    let mut bench = Bench::new(wire);
    for (name, frame) in probes() {
        bench.print(name, "empty", &frame);
    }
    let (_, probe) = probes().into_iter().next().expect("one");
    bench.send(&probe, MANY);
    bench.print("probe-ipv4", "full", &probe);
    for (name, frame) in others() {
        bench.print(name, "full", &frame);
    }
}

fn stamped(source: std::net::IpAddr, destination: std::net::IpAddr) -> Frame {
    let Site { node, point, .. } = site();
    let bound = Bound::from_exponent(6);
    let record = Record::new(Phase::Request, point, Hook::TC_EGRESS, node, Clock::MONOTONIC, bound, 1);
    let mut frame = Frame { used: 1, ..Frame::request(source, destination) };
    frame.records[0] = record;
    frame
}

fn probes() -> [(&'static str, Vec<u8>); 2] {
    [("probe-ipv4", stamped(PROBER4, TARGET4).bytes()), ("probe-ipv6", stamped(PROBER6, TARGET6).bytes())]
}

fn others() -> [(&'static str, Vec<u8>); 6] {
    let probe = Frame::request(PROBER4, TARGET4).bytes();
    let with = |change: fn(&mut Vec<u8>)| {
        let mut frame = probe.clone();
        change(&mut frame);
        frame
    };
    [
        ("probe-not-stamped", probe.clone()),
        ("icmp-without-trailer", with(|frame| *frame.last_mut().expect("bytes") ^= 0xff)),
        ("udp", with(|frame| frame[23] = 17)),
        ("tcp", with(|frame| frame[23] = 6)),
        ("tcp-ipv6", {
            let mut frame = Frame::request(PROBER6, TARGET6).bytes();
            frame[20] = 6;
            frame
        }),
        ("not-ip", with(|frame| frame[12..14].copy_from_slice(&[0x08, 0x06]))),
    ]
}

/// The program, and an empty one beside it.
struct Bench<'a> {
    wire: &'a Wire,
    object: Object,
    _link: Link,
    empty: Ebpf,
    /// The number of the next probe.
    next: u32,
}

impl<'a> Bench<'a> {
    fn new(wire: &'a Wire) -> Self {
        let open = ObjectBuilder::default().open_memory(&DRIVER_TX.newest()).expect("the object");
        let object = open.load().expect("load");
        let namespace = File::open("/proc/thread-self/ns/net").and_then(|file| file.metadata()).expect("a namespace");
        let namespace = u32::try_from(namespace.ino()).expect("a number");
        let Site { node, point, .. } = site();
        let device = Device { namespace, ifindex: wire.ifindex(), node, point, ..Device::NONE };
        let number = Device::numbers(device.namespace, device.ifindex).next().expect("some");
        let devices = map(&object, "DEVICES");
        devices.update(&number.to_ne_bytes(), device.as_bytes(), MapFlags::ANY).expect("write DEVICES");
        let link = object.progs_mut().next().expect("a program").attach().expect("attach");

        let mut empty = Ebpf::load(&assembled(&format!("tp_btf/{TRACEPOINT}"), &verdict(0))).expect("an empty program");
        let program: &mut BtfTracePoint =
            empty.program_mut(ASSEMBLED).expect("in the object").try_into().expect("a tracing program");
        program.load(TRACEPOINT, &Btf::from_sys_fs().expect("the types of the kernel")).expect("load");
        program.attach().expect("attach");
        Self { wire, object, _link: link, empty, next: 0 }
    }

    /// Sends a frame so many times: if it is a probe, with a nonce of its own each.
    fn send(&mut self, frame: &[u8], times: u32) {
        let footer = locate(frame).ok().map(|probe| usize::try_from(probe.footer_offset).expect("an offset"));
        let mut frame = frame.to_vec();
        for _ in 0..times {
            if let Some(footer) = footer {
                frame[footer..footer + 4].copy_from_slice(&self.next.to_ne_bytes());
                self.next += 1;
            }
            self.wire.send(&frame);
        }
    }

    /// What both programs took for a packet, in tenths of a nanosecond.
    fn run(&mut self, frame: &[u8]) -> [i64; 2] {
        let before = self.spent();
        self.send(frame, PACKETS);
        let behind = self.spent();
        [0, 1].map(|of| {
            let [time, count] = [0, 1].map(|which| behind[of][which] - before[of][which]);
            (time * 10 / count).cast_signed()
        })
    }

    fn spent(&self) -> [[u64; 2]; 2] {
        let program = self.object.progs().next().expect("a program");
        let empty: &BtfTracePoint =
            self.empty.program(ASSEMBLED).expect("in the object").try_into().expect("a tracing program");
        [spent(&program), spent(empty.fd().expect("loaded"))]
    }

    /// Forgets all requests.
    fn empty_table(&self) {
        let keys: Vec<u8> = (0..SETS).flat_map(u32::to_ne_bytes).collect();
        let sets = vec![0; SETS as usize * size_of::<Set>()];
        let table = map(&self.object, "IN_FLIGHT");
        table.update_batch(&keys, &sets, SETS, MapFlags::ANY, MapFlags::ANY).expect("write IN_FLIGHT");
    }

    fn print(&mut self, packet: &str, table: &str, frame: &[u8]) {
        let (mut hook, mut empty) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            if table == "empty" {
                self.empty_table();
            }
            let [hook_tenths, empty_tenths] = self.run(frame);
            hook.push(hook_tenths);
            empty.push(empty_tenths);
        }
        let (hook, empty) = (median(&hook), median(&empty));
        println!(
            "{}",
            json!({
                "type": "cost", "hook": "driver-tx", "packet": packet, "table": table,
                "cost_ns": (hook - empty) / 10, "hook_ns": hook / 10, "empty_ns": empty / 10, "runs": RUNS,
            })
        );
    }
}

fn map<'a>(object: &'a Object, name: &str) -> libbpf_rs::Map<'a> {
    object.maps().find(|map| map.name() == name).expect("a map")
}

/// For how long, in nanoseconds, and how often a program has run.
fn spent(program: &impl AsFd) -> [u64; 2] {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd())).expect("a program");
    ["run_time_ns:", "run_cnt:"].map(|name| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)).expect("statistics");
        value.trim().parse().expect("a number")
    })
}
