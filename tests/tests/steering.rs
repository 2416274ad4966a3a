//! Which replies the XDP programs redirect to a socket, and that everything else passes as it would without one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{os::fd::AsFd as _, process::Command};

use instamp_hooks::Objects;
use instamp_tests::{
    packets::{Frame, PROBER4, PROBER6, TARGET4, TARGET6},
    privilege::{root, tool},
    programs::{Loaded, Run, objects, site},
};
use instamp_trailer::{Bound, Clock, Hook, Phase, Record, Refusal, RunKey, Site, Standing, Trailer};
use instamp_xsk::{Channel, Config};
use nix::sched::{CloneFlags, unshare};

const XDP_PASS: i32 = 2;
const XDP_REDIRECT: i32 = 4;
const PROGRAMS: [&str; 2] = ["xdp_ingress", "xdp_steer"];

fn run() -> RunKey {
    RunKey::new(0x0001_0203).unwrap()
}

/// The reply to a probe of the run.
fn reply(records: usize) -> Frame {
    let sent = Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1);
    let mut all = vec![Record::EMPTY; records];
    all[0] = sent;
    Frame { nonce: run().nonce(5), records: all, used: 1, ..Frame::request(PROBER4, TARGET4) }.reply()
}

/// A program on a host that has the probers' addresses, whose replies of the run are steered.
fn loaded(objects: &Objects, program: &str) -> Loaded {
    let mut loaded = Loaded::named(objects, Hook::XDP_INGRESS, program);
    loaded.set_site(Site { keeps_sent: 1, ..site() });
    for prober in [PROBER4, PROBER6] {
        loaded.set_standing(prober, Standing::OWN);
    }
    loaded.set_run(0, run());
    loaded
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

/// The records of a frame whose trailer begins behind the headers of IPv4 and ICMP.
fn records(frame: &[u8]) -> Vec<Record> {
    Trailer::parse(&frame[42..]).unwrap().records.to_vec()
}

/// Each test has its own thread, and so its own network namespace.
fn with_objects(check: impl Fn(&Objects)) {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    for (_, objects) in objects() {
        check(&objects);
    }
}

#[test]
fn a_steered_reply_is_stamped_and_goes_to_the_socket() {
    with_objects(|objects| {
        let socket = socket();
        for program in PROGRAMS {
            let mut loaded = loaded(objects, program);
            let before = reply(4).bytes();
            let Run { frame, verdict } = loaded.run(&before);
            assert_eq!(verdict, XDP_PASS, "{program}: no socket");
            assert_eq!(records(&frame)[1].hook(), Hook::XDP_INGRESS, "{program}: no socket");

            loaded.set_socket(0, socket.as_fd());
            let Run { frame, verdict } = loaded.run(&before);
            assert_eq!(verdict, XDP_REDIRECT, "{program}");
            let records = records(&frame);
            let stamp = records[1];
            assert_eq!((records.len(), stamp.phase(), stamp.hook()), (2, Phase::Reply, Hook::XDP_INGRESS), "{program}");
            assert_eq!((stamp.node(), stamp.point(), stamp.clock()), (site().node, site().point, Clock::MONOTONIC));
            // Nothing was looked for in the table of requests that have left by the stack.
            assert!(loaded.counts_of(Hook::DRIVER_TX).iter().all(|(_, count)| *count == 0), "{program}");
            assert_eq!(counted(&loaded), [(Ok(()), 2)], "{program}");
        }
    });
}

#[test]
fn a_reply_without_room_goes_to_the_socket_and_says_so() {
    with_objects(|objects| {
        let socket = socket();
        for program in PROGRAMS {
            let mut loaded = loaded(objects, program);
            loaded.set_socket(0, socket.as_fd());
            let before = Frame { used: 2, ..reply(2) }.bytes();
            let Run { frame, verdict } = loaded.run(&before);
            assert_eq!(verdict, XDP_REDIRECT, "{program}");
            assert!(Trailer::parse(&frame[42..]).unwrap().footer.state().is_full(), "{program}");
            assert_eq!(counted(&loaded), [(Err(Refusal::Full), 1)], "{program}");
        }
    });
}

#[test]
fn everything_else_passes_as_it_would_without_a_socket() {
    with_objects(|objects| {
        let socket = socket();
        let steered = reply(4);
        let stack = Record::new(Phase::Request, 3, Hook::TC_EGRESS, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1);
        let others = [
            ("another run's", Frame { nonce: RunKey::new(0x0001_0204).unwrap().nonce(5), ..steered.clone() }),
            ("of no run", Frame { nonce: 5, ..steered.clone() }),
            ("a request", Frame { phase: Phase::Request, ..steered.clone() }),
            ("our request that came back", Frame { source: PROBER4, phase: Phase::Request, ..steered.clone() }),
            ("no record", Frame { used: 0, ..steered.clone() }),
            ("sent by the stack", Frame { records: vec![stack; 4], ..steered.clone() }),
            ("a stranger's reply", Frame { destination: TARGET4, ..steered.clone() }),
            ("a stranger's IPv6 reply", Frame { source: PROBER6, destination: TARGET6, ..steered.clone() }),
            // Test runs put what is longer than a page into several buffers, which the socket would not take.
            ("in several buffers", Frame { application: vec![0x55; 5000], ..steered.clone() }),
            ("in several buffers, the trailer in the first", Frame { padding: 6000, ..steered.clone() }),
        ];
        for (name, other) in others {
            let before = other.bytes();
            let mut steering = loaded(objects, "xdp_ingress");
            let mut plain = Loaded::new(objects, Hook::XDP_INGRESS);
            plain.set_site(Site { keeps_sent: 1, ..site() });
            plain.set_standing(PROBER4, Standing::OWN);
            plain.set_standing(PROBER6, Standing::OWN);
            steering.set_socket(0, socket.as_fd());
            let [with, without] = [&steering, &plain].map(|program| without_times(program.run(&before)));
            assert_eq!(with, without, "{name}");
            assert_eq!(with.verdict, XDP_PASS, "{name}");
            assert_eq!(counted(&steering), counted(&plain), "{name}");

            let mut steer = loaded(objects, "xdp_steer");
            steer.set_socket(0, socket.as_fd());
            assert_eq!(steer.run(&before), Run { frame: before, verdict: XDP_PASS }, "{name}");
            assert_eq!(counted(&steer), [], "{name}");
        }
    });
}

#[test]
fn without_a_run_nothing_is_steered() {
    with_objects(|objects| {
        let socket = socket();
        for program in PROGRAMS {
            let mut loaded = Loaded::named(objects, Hook::XDP_INGRESS, program);
            loaded.set_site(site());
            loaded.set_standing(PROBER4, Standing::OWN);
            loaded.set_socket(0, socket.as_fd());
            assert_eq!(loaded.run(&reply(4).bytes()).verdict, XDP_PASS, "{program}");
        }
    });
}

/// What was counted, and how often.
fn counted(loaded: &Loaded) -> Vec<(Result<(), Refusal>, u64)> {
    loaded.counts().into_iter().filter(|(_, count)| *count > 0).collect()
}

/// With zeros in the place of what differs between two runs: the time of the stamp, and the complement, which absorbs it.
fn without_times(mut run: Run) -> Run {
    let Ok(probe) = instamp_trailer::locate(run.frame.as_slice()) else { return run };
    let footer = usize::try_from(probe.footer_offset).unwrap();
    let (used, cap) = (usize::from(run.frame[footer + 10] >> 4), usize::from(run.frame[footer + 10] & 0xf));
    if used > 0 {
        let newest = footer - (cap - used + 1) * 12;
        run.frame[newest + 4..newest + 12].fill(0);
        run.frame[footer + 8..footer + 10].fill(0);
    }
    run
}
