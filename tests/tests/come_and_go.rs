//! Two hundred containers, one after the other: they leave nothing, and do not slow down. Nothing else runs beside them.

use std::time::Duration;

use instamp_tests::{
    bpffs::Bpffs,
    coming::{come_and_go, come_and_go_with_the_plugin, quarters},
    lab::Lab,
    podman::{Backend, Content, Podman, podman},
    privilege::{root, tool},
};

const TIMES: usize = 200;
/// How many times as long the last quarter may take: `cargo xtask bench` tells of less, on a machine that does nothing else.
const SLOWER: u32 = 2;

#[track_caller]
fn is_steady(what: &str, quarters: [Duration; 4]) {
    let [first, .., last] = quarters;
    println!("{what}: {quarters:?}");
    assert!(last < first * SLOWER, "{what}, by quarters: {quarters:?}");
}

/// Both, one after the other: neither is to be slowed down by the other.
#[test]
fn two_hundred_leave_nothing_and_do_not_slow_down() {
    with_the_plugin();
    with_the_command();
}

/// Network namespaces, for which the plugin is called as runtimes do.
fn with_the_plugin() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    let lab = Lab::up(&[]);
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    let called = come_and_go_with_the_plugin(&lab, &Bpffs::mount(), TIMES);
    is_steady("ADD", quarters(&called, |called| called.add));
    is_steady("DEL", quarters(&called, |called| called.delete));
}

/// Containers of podman, to which the command attaches.
fn with_the_command() {
    let Some(()) = podman() else { return };
    let lab = Lab::up(&[]);
    let bpffs = Bpffs::mount();
    let podman = Podman::new(&lab, Backend::Netavark, Content::Busybox);
    let took = come_and_go(&podman, &bpffs, TIMES);
    is_steady("attach", quarters(&took, |took| took.attach));
    is_steady("the command after the removal", quarters(&took, |took| took.sweep));
}
