//! A witness of driver-tx that is not ours: the kernel's own software transmit stamp, which a driver takes on behalf of the socket.
//! A veth takes it right behind the place of driver-tx.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::IoSliceMut,
    net::Ipv4Addr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use hwtstamp::{Realtime, SystemClock as _};
use instamp_tests::{
    lab::Lab,
    privilege::root,
    prober::{Prober, now_ns},
};
use instamp_trailer::Hook;
use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt::Timestamping,
    },
};

const PROBES: u16 = 1_000;

/// How much `CLOCK_REALTIME` is ahead of `CLOCK_MONOTONIC`, and how far that may be off: half the time that the best of some readings
/// took.
fn realtime_ahead_ns() -> (i64, i64) {
    let reading = || {
        let before = now_ns().cast_signed();
        let realtime = Realtime::now().as_ns();
        let behind = now_ns().cast_signed();
        (behind - before, realtime - (before + behind) / 2)
    };
    let (took, ahead) = (0..20).map(|_| reading()).min().unwrap();
    (ahead, took / 2 + 1)
}

/// A transmit stamp from the socket's error queue, in `CLOCK_REALTIME`, if there is one: it comes before the reply does.
fn transmit_stamp_ns(prober: &Prober) -> Option<i64> {
    let mut bytes = [0; 256];
    let mut control = [0; 256];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let socket = prober.as_fd().as_raw_fd();
    let message = match recvmsg::<SockaddrStorage>(socket, &mut parts, Some(&mut control), flags) {
        Err(Errno::EAGAIN) => return None,
        message => message.unwrap(),
    };
    let stamp = message.cmsgs().unwrap().find_map(|message| {
        if let ControlMessageOwned::ScmTimestampsns(times) = message { Some(times.system) } else { None }
    });
    let stamp = stamp.expect("a transmit stamp");
    Some(stamp.tv_sec() * 1_000_000_000 + stamp.tv_nsec())
}

fn median(mut numbers: Vec<i64>) -> i64 {
    let middle = numbers.len() / 2;
    *numbers.select_nth_unstable(middle).1
}

#[test]
fn driver_tx_is_what_the_kernel_tells_a_socket() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let prober = lab.enter("host", Prober::open);
    let wanted = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(&prober, Timestamping, &wanted).unwrap();
    let target: Ipv4Addr = Lab::REMOTE.parse().unwrap();

    let (mut differences, mut round_trips) = (Vec::new(), Vec::new());
    for sequence in 0..PROBES {
        let nonce = 0x736f_636b_6574_0000 | u64::from(sequence);
        let sent_ns = prober.send(target, sequence, nonce);
        let answer = prober.receive();
        assert_eq!(answer.sequence(), sequence);
        let (ahead_ns, error_ns) = realtime_ahead_ns();
        let witness_ns = transmit_stamp_ns(&prober).expect("before the reply") - ahead_ns;
        let [left_ns, driver_ns] =
            [Hook::TC_EGRESS, Hook::DRIVER_TX].map(|hook| answer.time_ns(nonce, hook).unwrap().cast_signed());
        assert!(left_ns <= driver_ns, "tc-egress at {left_ns}, driver-tx at {driver_ns}");
        assert!(driver_ns <= witness_ns + error_ns, "driver-tx at {driver_ns}, the kernel's at {witness_ns}");
        differences.push(witness_ns - driver_ns);
        round_trips.push(answer.received_ns.cast_signed() - sent_ns.cast_signed());
    }
    assert_eq!(transmit_stamp_ns(&prober), None, "one stamp for each");
    let (difference, round_trip) = (median(differences), median(round_trips));
    println!("medians: the kernel's stamp is {difference} ns behind driver-tx, the RTT is {round_trip} ns");
    assert!(difference * 5 <= round_trip, "{difference} ns behind driver-tx, the RTT is {round_trip} ns");
}
