//! The loaded programs and the native routine do the same to the same packets, byte for byte.

use instamp_tests::{
    agreement::{both, compare, loaded},
    packets::{Frame, PROBER4, TARGET4},
    privilege,
    programs::{HOOKS, objects},
};
use instamp_trailer::Hook;

/// Packets at each hook; three hooks, and every build of them, see as many.
const PACKETS: usize = 100_000;

#[test]
fn the_kernel_and_the_native_routine_agree() {
    let Some(()) = privilege::root() else { return };
    for (origin, objects) in objects() {
        for (seed, hook) in (1..).zip(HOOKS) {
            compare(origin, &objects, hook, PACKETS, seed);
        }
    }
}

#[test]
fn large_and_fragmented_buffers_are_stamped() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        let program = loaded(&objects, Hook::XDP_INGRESS);
        // Around the ends of the pages that the buffers of a packet lie in.
        for length in (3000..9000).step_by(2) {
            let mut frame = Frame::request(PROBER4, TARGET4);
            frame.application = vec![0x55; length];
            let (outcome, behind) = both(&program, &frame.bytes());
            assert_eq!(outcome, Ok(()), "{length} bytes before the trailer");
            assert_ne!(frame.bytes(), behind);
        }
    }
}
