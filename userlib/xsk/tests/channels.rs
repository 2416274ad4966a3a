//! Channels over a wire between two network namespaces.

mod world;

use std::{
    io::{ErrorKind, Read as _},
    os::unix::process::CommandExt as _,
    process::Command,
    time::Duration,
};

use instamp_xsk::{BusyPoll, Channel, Config, Error, Mode, queues, raise_timer_precision, wait_any};
use nix::unistd::geteuid;
use socket2::{Domain, Protocol, Socket, Type};
use world::{
    DEVICE, ETHER_TYPE, Namespace, PATIENCE, World, number_frame, number_of, redirect, redirect::Redirect, until,
};

const SMALL: Config = Config { frames: 64, ..DEFAULT };
const DEFAULT: Config = Config {
    frames: 4096,
    frame_size: instamp_xsk::FrameSize::Bytes2048,
    mode: Mode::Auto,
    busy_poll: None,
    tx_timestamps: false,
};

fn open(end: &Namespace, queue: u32, config: &Config) -> Channel {
    let device = end.device();
    // The queue of a channel that was closed is given free a moment later.
    end.enter(|| {
        until("the queue is free", || match Channel::open(device, queue, config) {
            Err(Error::Busy { .. }) => None,
            opened => Some(opened.expect("veth has this queue")),
        })
    })
}

/// A channel that gets all frames of its queue, and the program that sees to it.
fn receiver(end: &Namespace, config: &Config) -> (Channel, Redirect) {
    let device = end.device();
    let redirect = end.enter(|| Redirect::attach(device));
    let channel = open(end, 0, config);
    redirect.to(0, &channel);
    (channel, redirect)
}

/// Sends `count` frames with numbers from `first`, as long as there is room.
fn send(channel: &mut Channel, first: u64, count: u64, length: usize) -> u64 {
    let written =
        (first..first + count).take_while(|number| channel.write(length, |frame| number_frame(frame, *number)));
    let written = written.count() as u64;
    channel.submit().expect("the device is up");
    written
}

#[test]
fn frames_arrive_in_order() {
    let Some(world) = World::new() else { return };
    let mut near = open(&world.near, 0, &DEFAULT);
    let (mut far, _redirect) = receiver(&world.far, &DEFAULT);
    assert!(!near.is_zero_copy() && !far.is_zero_copy());
    assert_eq!((near.queue(), near.capacity()), (0, 2048));

    const ALL: u64 = 10_000;
    let (mut sent, mut received) = (0, 0);
    while received < ALL {
        // The wire holds 256 frames, and drops what is more.
        sent += send(
            &mut near,
            sent,
            (ALL - sent).min(128 - (sent - received)),
            60 + usize::try_from(sent % 1400).expect("a small number"),
        );
        assert!(far.wait(PATIENCE).expect("the device is up"), "{received} of {sent} have arrived");
        far.receive(64, |frame| {
            assert_eq!(number_of(frame.frame), received);
            assert_eq!(frame.before.len(), 64);
            assert_eq!(frame.before[56..], redirect::METADATA.to_ne_bytes());
            received += 1;
            // Whoever answers does so in place.
            frame.frame.fill(0);
        });
    }
    until("all have been sent", || (near.free() == 4096).then_some(()));
    let (near, far) = (near.statistics().expect("bound"), far.statistics().expect("bound"));
    assert_eq!((near.transmit_invalid, far.receive_dropped, far.receive_ring_full, far.receive_invalid), (0, 0, 0, 0));
}

#[test]
fn callers_may_poll_the_driver() {
    let Some(world) = World::new() else { return };
    let busy_poll = Some(BusyPoll { microseconds: 50, budget: 64 });
    let config = Config { busy_poll, ..SMALL };
    let mut near = open(&world.near, 0, &config);
    let (mut far, _redirect) = receiver(&world.far, &config);
    for round in 0..100 {
        assert_eq!(send(&mut near, round, 1, 60), 1);
        until("it has arrived", || {
            (far.receive(1, |frame| assert_eq!(number_of(frame.frame), round)) == 1).then_some(())
        });
    }
    send(&mut near, 0, 1, 60);
    assert!(far.wait(PATIENCE).expect("the device is up"));
}

#[test]
fn others_see_the_frames() {
    let Some(world) = World::new() else { return };
    let mut near = open(&world.near, 0, &SMALL);
    let protocol = Protocol::from(i32::from(ETHER_TYPE.to_be()));
    let mut witness = world.far.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("root may"));
    witness.set_read_timeout(Some(PATIENCE)).expect("a socket");

    let mut buffer = [0; 2048];
    for round in 0..100 {
        assert_eq!(send(&mut near, 64 * round, 64, 1514), 64);
        for number in 64 * round..64 * (round + 1) {
            let length = witness.read(&mut buffer).expect("a frame");
            assert_eq!((length, number_of(&buffer[..length])), (1514, number));
        }
        until("all have been sent", || (near.free() == 64).then_some(()));
    }
}

#[test]
fn a_queue_has_one_channel() {
    let Some(world) = World::new() else { return };
    let device = world.near.device();
    let again = |queue| world.near.enter(|| Channel::open(device, queue, &DEFAULT));
    let first = again(0).expect("nobody has it");
    let error = again(0).expect_err("it is in use");
    assert!(matches!(error, Error::Busy { queue: 0, ifindex } if ifindex == device), "{error}");
    let other = again(1).expect("nobody has it");
    assert_eq!((first.queue(), other.queue()), (0, 1));
    drop(first);
    open(&world.near, 0, &DEFAULT);
}

#[test]
fn what_cannot_be_opened_is_told() {
    let Some(world) = World::new() else { return };
    let device = world.near.device();
    let refused = |device, queue, config: &Config| {
        world.near.enter(|| Channel::open(device, queue, config)).expect_err("it cannot be opened")
    };
    for mode in [Mode::Auto, Mode::Copy, Mode::ZeroCopy] {
        let config = Config { mode, ..DEFAULT };
        let error = refused(device, 2, &config);
        assert!(matches!(error, Error::NoQueue { queue: 2, .. }), "{error}");
        let error = refused(device + 100, 0, &config);
        assert!(matches!(error, Error::NoDevice { .. }), "{error}");
    }
    let error = refused(device, 0, &Config { mode: Mode::ZeroCopy, ..DEFAULT });
    assert!(matches!(error, Error::ZeroCopy { queue: 0, .. }), "{error}");
    let error = refused(device, 0, &Config { frames: 100, ..DEFAULT });
    assert!(matches!(error, Error::Config(_)), "{error}");
}

#[test]
fn those_without_privilege_are_told() {
    const NOBODY: u32 = 65534;
    if geteuid().is_root() {
        // The link leads to the program even where nobody may not look into its folder.
        let again = Command::new("/proc/self/exe")
            .uid(NOBODY)
            .gid(NOBODY)
            .args(["--exact", "those_without_privilege_are_told"])
            .output()
            .expect("a process");
        let told = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let error = Channel::open(1, 0, &DEFAULT).expect_err("not permitted");
    assert!(matches!(error, Error::Permission { needs: "CAP_NET_RAW", .. }), "{error}");
}

#[test]
fn a_card_that_has_no_times_gives_none() {
    let Some(world) = World::new() else { return };
    let mut near = open(&world.near, 0, &Config { tx_timestamps: true, ..SMALL });
    assert!(!near.has_tx_timestamps());
    let (mut far, _redirect) = receiver(&world.far, &DEFAULT);
    for round in 0..10 {
        assert_eq!(send(&mut near, 64 * round, 100, 100), 64);
        // So nobody has to look at what was sent.
        until("all have been sent", || (near.free() == 64).then_some(()));
        let mut received = 0;
        until("all have arrived", || {
            received += far.receive(64, |frame| assert_eq!(frame.frame.len(), 100));
            (received == 64).then_some(())
        });
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let Some(world) = World::new() else { return };
    let mut near = open(&world.near, 0, &DEFAULT);
    let (mut far, _redirect) = receiver(&world.far, &SMALL);
    for round in 0..3 {
        let first = round * 1_000;
        for part in 0..2 {
            assert_eq!(send(&mut near, first + part * 100, 100, 200), 100);
            until("all have been sent", || (near.free() == 4096).then_some(()));
        }
        let mut numbers = Vec::new();
        while far.receive(10, |frame| numbers.push(number_of(frame.frame))) > 0 {}
        assert_eq!(numbers, (first..first + 64).collect::<Vec<_>>());
        let counted = far.statistics().expect("bound");
        assert_eq!(counted.receive_dropped + counted.receive_ring_full, (round + 1) * 136, "{counted:?}");
    }
}

#[test]
fn frames_are_written_until_none_is_free() {
    let Some(world) = World::new() else { return };
    let mut near = open(&world.near, 0, &SMALL);
    assert_eq!(near.free(), 64);
    for number in 0..64 {
        assert!(near.write(60, |frame| number_frame(frame, number)));
    }
    assert_eq!(near.free(), 0);
    assert!(!near.write(60, |_| unreachable!("there is no frame")));
    near.submit().expect("the device is up");
    until("all have been sent", || (near.free() == 64).then_some(()));
    // Content stays: the next to be written is one of those.
    assert!(near.write(60, |frame| assert!(number_of(frame) < 64)));
}

#[test]
fn closing_leaves_frames_in_flight_behind() {
    let Some(world) = World::new() else { return };
    let (mut far, redirect) = receiver(&world.far, &DEFAULT);
    for round in 0..20 {
        let mut near = open(&world.near, 0, &SMALL);
        send(&mut near, 0, 64, 100);
        if round % 2 == 0 {
            drop(far);
            drop(near);
            far = open(&world.far, 0, &DEFAULT);
            redirect.to(0, &far);
        } else {
            drop(near);
        }
    }
    let mut near = open(&world.near, 0, &SMALL);
    send(&mut near, 1_000_000, 1, 100);
    let mut last = 0;
    while last != 1_000_000 {
        assert!(far.wait(PATIENCE).expect("the device is up"));
        far.receive(64, |frame| last = number_of(frame.frame));
    }
}

#[test]
fn one_thread_waits_for_several() {
    let Some(world) = World::new() else { return };
    raise_timer_precision().expect("every kernel can");
    let mut near = [0, 1].map(|queue| open(&world.near, queue, &SMALL));
    let (first, redirect) = receiver(&world.far, &SMALL);
    let second = open(&world.far, 1, &SMALL);
    redirect.to(1, &second);
    let mut far = [first, second];

    for round in 0..10 {
        let short = Duration::from_nanos(1_000);
        assert!(!wait_any(&[&far[0], &far[1]], short).expect("the device is up"));
        let queue = round % 2;
        send(&mut near[queue], 7, 1, 60);
        assert!(wait_any(&[&far[0], &far[1]], PATIENCE).expect("the device is up"));
        let counts = far.each_mut().map(|far| far.receive(64, |frame| assert_eq!(number_of(frame.frame), 7)));
        assert_eq!((counts[queue], counts[1 - queue]), (1, 0));
    }
    assert!(!wait_any(&[], Duration::ZERO).expect("nothing to wait for"));
}

#[test]
fn a_device_that_goes_is_told() {
    let Some(world) = World::new() else { return };
    let (mut channel, redirect) = receiver(&world.near, &SMALL);
    world.near.ip(&format!("link set {DEVICE} down"));
    assert!(channel.write(60, |frame| number_frame(frame, 0)));
    assert_eq!(channel.submit().expect_err("it is down").kind(), ErrorKind::NetworkDown);
    assert_eq!(channel.wait(Duration::ZERO).expect_err("it is down").kind(), ErrorKind::NetworkDown);
    world.near.ip(&format!("link set {DEVICE} up"));
    channel.submit().expect("it is up");
    assert!(!channel.wait(Duration::ZERO).expect("it is up"));
    until("what was kept has been sent", || (channel.free() == 64).then_some(()));

    drop(redirect);
    world.near.ip(&format!("link delete {DEVICE}"));
    assert!(channel.wait(Duration::ZERO).is_err());
    assert!(channel.write(60, |frame| number_frame(frame, 0)));
    assert!(channel.submit().is_err());
}

/// A frame that the device drops is told, and those behind it are kept for the next call.
#[test]
fn a_device_that_drops_is_told() {
    let Some(world) = World::new() else { return };
    let mut channel = open(&world.near, 0, &SMALL);
    world.far.ip(&format!("link set {DEVICE} down"));
    for number in 0..3 {
        assert!(channel.write(60, |frame| number_frame(frame, number)));
    }
    let taken: Vec<_> = (0..4).map(|_| channel.submit().expect("the device itself is up")).collect();
    assert_eq!(taken, [false, false, false, true], "one frame each, until there are none");
    assert_eq!(channel.free(), 64);
}

#[test]
fn devices_tell_their_queues() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.near.enter(|| queues(DEVICE)).expect("it exists"), 2);
}
