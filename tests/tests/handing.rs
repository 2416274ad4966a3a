//! What the program that hands on times does with a frame: it puts them in front of probes, and gives to sockets what the programs that
//! stamp give to them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    process::Command,
};

use instamp_hooks::Objects;
use instamp_tests::{
    built::METADATA,
    packets::{Frame, Generator, PROBER4, PROBER6, TARGET4, TARGET6},
    privilege::{root, tool},
    prober::now_ns,
    programs::{Loaded, Run, objects, site},
};
use instamp_trailer::{Bound, Clock, Handed, Hook, Phase, Record, RunKey, Standing, locate};
use instamp_xsk::{Channel, Config};
use nix::sched::{CloneFlags, unshare};
use rand::{SeedableRng as _, rngs::SmallRng};

const XDP_PASS: i32 = 2;
const XDP_REDIRECT: i32 = 4;
const FRAMES: usize = 50_000;
/// `CARD_AHEAD_NS` of tests/bpf/metadata.bpf.c, the program here: that of nic-rx but for the driver, whose programs cannot be test-run.
const CARD_AHEAD_NS: u64 = 1 << 60;
const HANDED: usize = size_of::<Handed>();
/// [`PROBER4`] as the policy has it, and as no packet may.
const MAPPED: IpAddr = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());

fn run() -> RunKey {
    RunKey::new(0x00f1_0203).unwrap()
}

/// With the policy and the run of a prober, and what gives its replies to this socket.
fn steering(mut program: Loaded, socket: Option<&Channel>) -> Loaded {
    program.set_standing(PROBER4, Standing::OWN);
    program.set_standing(PROBER6, Standing::OWN.and(Standing::RESPOND));
    program.set_standing(TARGET6, Standing::RESPOND);
    program.set_run(0, run());
    if let Some(socket) = socket {
        program.set_socket(0, socket.as_fd());
    }
    program
}

fn handing(object: &[u8], socket: Option<&Channel>) -> Loaded {
    steering(Loaded::load(object, Hook::XDP_INGRESS, "hand_times"), socket)
}

fn stamping(objects: &Objects, socket: Option<&Channel>) -> Loaded {
    let mut program = Loaded::new(objects, Hook::XDP_INGRESS);
    program.set_site(site());
    steering(program, socket)
}

/// A socket on one end of a wire in a network namespace of this thread's own.
fn socket() -> Channel {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    for arguments in ["link add near type veth peer name far", "link set near up", "link set far up"] {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }
    let ifindex = nix::net::if_::if_nametoindex("near").unwrap();
    Channel::open(ifindex, 0, &Config { frames: 64, ..Config::default() }).unwrap()
}

/// Runs the program on a frame, and returns the verdict. A probe has times in front of it then, and is as it was; so is all else.
fn handed(program: &Loaded, frame: &[u8]) -> i32 {
    let before_ns = now_ns();
    let Run { frame: behind, verdict } = program.run(frame);
    if locate(frame).is_err() {
        assert_eq!((behind.as_slice(), verdict), (frame, XDP_PASS), "no probe");
        return verdict;
    }
    let (front, rest) = behind.split_at(HANDED);
    assert_eq!(rest, frame);
    let Handed { xdp_ns, nic_rx_ns, .. } = Handed::in_front(front).unwrap();
    let times = [before_ns, xdp_ns, nic_rx_ns - CARD_AHEAD_NS, now_ns()];
    assert!(times.is_sorted(), "{times:?}");
    verdict
}

#[test]
fn what_goes_to_a_socket_is_what_the_program_that_stamps_gives_there() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let socket = socket();
    for ((origin, objects), (_, object)) in objects().into_iter().zip(METADATA.objects()) {
        let (stamping, handing) = (stamping(&objects, Some(&socket)), handing(&object, Some(&socket)));
        let mut generator = Generator {
            random: SmallRng::seed_from_u64(1),
            addresses: vec![PROBER4, PROBER6, TARGET4, TARGET6, MAPPED],
            lengths: 14..=3000,
            run: Some(run()),
        };
        let mut redirected = 0;
        for _ in 0..FRAMES {
            let frame = generator.frame();
            let verdict = handed(&handing, &frame);
            assert_eq!(verdict, stamping.run(&frame).verdict, "{origin}: {frame:02x?}");
            redirected += usize::from(verdict == XDP_REDIRECT);
        }
        println!("{origin}: {redirected} of {FRAMES} frames go to the socket");
        assert!((FRAMES / 100..FRAMES / 5).contains(&redirected), "{redirected}");
    }
}

/// The reply to a probe of the run.
fn reply() -> Frame {
    let sent = Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1);
    let records = vec![sent, Record::EMPTY, Record::EMPTY, Record::EMPTY];
    Frame { nonce: run().nonce(5), records, used: 1, ..Frame::request(PROBER4, TARGET4) }.reply()
}

#[test]
fn what_no_socket_takes_goes_to_the_stack_with_its_times() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let socket = socket();
    let steered = reply();
    let stack = Record::new(Phase::Request, 3, Hook::TC_EGRESS, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1);
    let others = [
        ("another run's", Frame { nonce: RunKey::new(0x00f1_0204).unwrap().nonce(5), ..steered.clone() }),
        ("of no run", Frame { nonce: 5, ..steered.clone() }),
        ("a request", Frame { phase: Phase::Request, ..steered.clone() }),
        ("no record", Frame { used: 0, ..steered.clone() }),
        ("sent by the stack", Frame { records: vec![stack; 4], ..steered.clone() }),
        ("a stranger's reply", Frame { destination: TARGET4, ..steered.clone() }),
        ("the reply to one that is responded to", Frame { source: PROBER6, destination: TARGET6, ..steered.clone() }),
        ("to an IPv4 address mapped into IPv6", Frame { source: TARGET6, destination: MAPPED, ..steered.clone() }),
        // Test runs put what is longer than a page into several buffers, which the socket would not take.
        ("in several buffers", Frame { application: vec![0x55; 5000], ..steered.clone() }),
        ("in several buffers, the trailer in the first", Frame { padding: 6000, ..steered.clone() }),
    ];
    for (origin, object) in METADATA.objects() {
        let mut program = handing(&object, Some(&socket));
        assert_eq!(handed(&program, &steered.bytes()), XDP_REDIRECT, "{origin}");
        for (name, other) in &others {
            assert_eq!(handed(&program, &other.bytes()), XDP_PASS, "{origin}: {name}");
        }
        assert_eq!(handed(&handing(&object, None), &steered.bytes()), XDP_PASS, "{origin}: no socket");
        program.clear_run(0);
        let of_zero = Frame { nonce: 5, ..steered.clone() };
        for reply in [&steered, &of_zero] {
            assert_eq!(handed(&program, &reply.bytes()), XDP_PASS, "{origin}: no run");
        }
    }
}
