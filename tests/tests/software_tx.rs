//! A witness of driver-tx that is not ours: the kernel's own software transmit stamp, which a driver takes on behalf of the socket.
//! A veth takes it right behind the place of driver-tx.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use instamp_tests::{
    kernel_stamps::{self, realtime_ahead_ns, transmitted_ns},
    lab::Lab,
    privilege::root,
    prober::Prober,
    quantiles::median,
};
use instamp_trailer::Hook;

const PROBES: u16 = 1_000;

#[test]
fn driver_tx_is_what_the_kernel_tells_a_socket() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let prober = lab.enter("host", Prober::open);
    kernel_stamps::enable(&prober);
    let target: Ipv4Addr = Lab::REMOTE.parse().unwrap();

    let (mut differences, mut round_trips) = (Vec::new(), Vec::new());
    for sequence in 0..PROBES {
        let nonce = 0x736f_636b_6574_0000 | u64::from(sequence);
        let sent_ns = prober.send(target, sequence, nonce);
        let answer = prober.receive();
        assert_eq!(answer.sequence(), sequence);
        let (ahead_ns, error_ns) = realtime_ahead_ns();
        let witness_ns = transmitted_ns(&prober).expect("before the reply") - ahead_ns;
        let [left_ns, driver_ns] =
            [Hook::TC_EGRESS, Hook::DRIVER_TX].map(|hook| answer.time_ns(nonce, hook).unwrap().cast_signed());
        assert!(left_ns <= driver_ns, "tc-egress at {left_ns}, driver-tx at {driver_ns}");
        assert!(driver_ns <= witness_ns + error_ns, "driver-tx at {driver_ns}, the kernel's at {witness_ns}");
        differences.push(witness_ns - driver_ns);
        round_trips.push(answer.received_ns.cast_signed() - sent_ns.cast_signed());
    }
    assert_eq!(transmitted_ns(&prober), None, "one stamp for each");
    let (difference, round_trip) = (median(&differences), median(&round_trips));
    println!("medians: the kernel's stamp is {difference} ns behind driver-tx, the RTT is {round_trip} ns");
    assert!(difference * 5 <= round_trip, "{difference} ns behind driver-tx, the RTT is {round_trip} ns");
}
