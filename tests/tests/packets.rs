//! The loaded programs and the native routine do the same to the same packets, byte for byte.

use instamp_tests::{
    agreement::{LateProgram, compare, compare_large, compare_late},
    privilege,
    programs::{HOOKS, objects},
};

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
fn the_kernel_and_the_native_routine_agree_on_late_stamps() {
    let Some(()) = privilege::root() else { return };
    for (origin, objects) in objects() {
        for (seed, program) in (1..).zip(LateProgram::ALL) {
            compare_late(origin, &objects, program, PACKETS, seed);
        }
    }
}

#[test]
fn large_and_fragmented_buffers_are_stamped() {
    let Some(()) = privilege::root() else { return };
    for (_, objects) in objects() {
        // Around the ends of the pages that the buffers of a packet lie in.
        compare_large(&objects, (3000..9000).step_by(2));
    }
}
