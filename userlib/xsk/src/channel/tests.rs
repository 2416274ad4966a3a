//! What only the inside can ask for.

use nix::time::{ClockId, clock_gettime};

use super::*;

#[path = "../../tests/world/mod.rs"]
mod world;

use world::{World, number_frame, number_of, skip, until};

fn tai() -> i128 {
    let time = clock_gettime(ClockId::CLOCK_TAI).expect("every kernel has it");
    i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
}

/// In copy mode the kernel answers with its own clock, at the place where a driver with zero copy puts the card's.
#[test]
fn a_timestamp_is_asked_for_and_found() {
    const SLACK: i128 = 1_000_000;

    let Some(world) = World::new() else { return };
    let device = world.near.device();
    let config = Config { frames: 64, tx_timestamps: true, ..Config::default() };
    let mut channel = world.near.enter(|| Channel::open(device, 0, &config)).expect("nobody has it");
    if channel.layout.tx_headroom() == 0 {
        return skip("transmit metadata need Linux 6.8");
    }
    channel.requests_timestamps = true;
    for round in 0..10 {
        let before = tai();
        for number in 0..64 {
            let length = 100 + usize::try_from(number).expect("a small number") * round;
            assert!(channel.write(length, |frame| number_frame(frame, number)));
        }
        channel.submit().expect("the device is up");
        let mut numbers = Vec::new();
        until("all have been sent", || {
            channel.completed(|frame, time| {
                let time = time.expect("the kernel has stamped it").into();
                assert!(((before - SLACK)..(tai() + SLACK)).contains(&time));
                numbers.push(number_of(frame));
            });
            (numbers.len() == 64).then_some(())
        });
        assert_eq!(numbers, (0..64).collect::<Vec<_>>());
    }
    assert_eq!(channel.statistics().expect("bound").transmit_invalid, 0);
}
