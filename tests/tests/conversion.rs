//! The kernel converts hardware times as user space does.

use instamp_tests::{
    conversion::{compare, compare_while_written, objects},
    privilege,
};

const TIMES: usize = 100_000;

#[test]
fn the_kernel_and_user_space_convert_alike() {
    let Some(()) = privilege::root() else { return };
    for (origin, object) in objects() {
        compare(origin, &object, TIMES, 1);
    }
}

#[test]
fn no_conversion_is_of_a_torn_model() {
    let Some(()) = privilege::root() else { return };
    for (_, object) in objects() {
        let converted = compare_while_written(&object, TIMES);
        assert!(converted > 0, "every model was met half written");
    }
}
