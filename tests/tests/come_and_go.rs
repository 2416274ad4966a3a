//! Many containers, one after the other. Nothing runs beside them: they are alike from the first to the last.

use instamp_tests::{
    bpffs::Bpffs,
    coming::{come_and_go_with_the_plugin, quarters},
    lab::Lab,
    privilege::{root, tool},
};

/// Where something grew with each container that has gone, the last ones would take several times as long.
const SLOWER: u32 = 2;

#[test]
fn two_hundred_leave_nothing_and_the_last_are_as_fast_as_the_first() {
    const TIMES: usize = 200;
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    let called = come_and_go_with_the_plugin(&lab, &Bpffs::mount(), TIMES);
    for (command, times) in
        [("ADD", quarters(&called, |called| called.add)), ("DEL", quarters(&called, |called| called.delete))]
    {
        assert!(times[3] < times[0] * SLOWER, "{command}, by quarters of all: {times:?}");
    }
}
