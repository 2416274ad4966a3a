//! What runs in virtual machines: the hooks on other kernels than this machine's, and clocks of network cards that it lacks.

use std::{
    env,
    path::{Path, PathBuf},
    sync::RwLock,
    time::Duration,
};

use instamp_tests::{
    lab::instamp,
    vm::{Initramfs, machine},
};

/// For the whole of a machine's run, on a computer with two processors that also boots another.
const LIMIT: Duration = Duration::from_secs(300);

/// What the lab, clsact, a wire that takes time and the network cards need. The first is asked for by the name of its algorithm.
const MODULES: [&str; 11] = [
    "crc32c_generic",
    "veth",
    "bridge",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_ct",
    "sch_ingress",
    "cls_bpf",
    "sch_netem",
    "igb",
];

/// A suite of Debian that has the oldest kernel which is supported.
const OLD: Suite = Suite { name: "bookworm", is_expected: |release| release.starts_with("6.1.") };
/// One whose kernel has TCX, and hardware clocks that are read against any of the system's.
const NEW: Suite = Suite { name: "bookworm-backports", is_expected: |release| !release.starts_with("6.1.") };

#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    is_expected: fn(&str) -> bool,
}

/// Boots the kernel of a suite, and runs these checks of `tests/vm` on it.
fn passes(suite: Suite, checks: &str) {
    let Some((emulator, kernel)) = machine(suite.name) else { return };
    assert!((suite.is_expected)(&kernel.release), "{} has {}", suite.name, kernel.release);
    let mut initramfs = Initramfs::default();
    initramfs.program(Path::new(env!("CARGO_BIN_EXE_guest")), "/init");
    initramfs.program(Path::new(instamp().get_program()), "/bin/instamp");
    for name in ["hwstamp_ctl", "phc2sys", "ptp4l"] {
        initramfs.program(&emulator.linuxptp(name), &format!("/bin/{name}"));
    }
    for tool in ["ethtool", "ip", "nft", "tc"] {
        initramfs.tool(tool);
    }
    initramfs.modules(&kernel, &MODULES);
    let mechanism = if kernel.has_tcx() { "tcx" } else { "clsact" };
    let mut variables =
        vec![("PATH", "/bin"), ("INSTAMP_BIN", "/bin/instamp"), ("TC_MECHANISM", mechanism), ("CHECKS", checks)];
    if let Some(objects) = env::var_os("INSTAMP_BPF_OBJECTS").map(PathBuf::from) {
        for name in ["xdp.o", "tc.o", "clock.o"] {
            initramfs.file(&objects.join(name), &format!("/objects/{name}"));
        }
        variables.push(("INSTAMP_BPF_OBJECTS", "/objects"));
    }

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("initramfs");
    initramfs.write(&file).expect("write the initramfs");
    emulator.run(&kernel, &file, &variables, LIMIT);
}

/// Machines side by side take each other's processors: a comparison of clocks would measure that, and a card's time would come
/// later than its reply.
static PROCESSORS: RwLock<()> = RwLock::new(());

fn shared(suite: Suite, checks: &str) {
    let _lock = PROCESSORS.read();
    passes(suite, checks);
}

fn alone(suite: Suite, checks: &str) {
    let _lock = PROCESSORS.write();
    passes(suite, checks);
}

/// The hooks in a lab, and at a card.
const HOOKS: &str = "agreement,lab,card";
/// A card's times in the replies to probes.
const HARDWARE: &str = "hardware";
/// The clocks of two cards: what the library makes of them, and the command.
const CLOCKS: &str = "conversion,clocks,phc,settings,stamping,modelling,steering,steering-phc,adjusting";

#[test]
fn hooks_on_linux_6_1() {
    shared(OLD, HOOKS);
}

#[test]
fn hooks_on_linux_6_12_or_later() {
    shared(NEW, HOOKS);
}

#[test]
fn hardware_on_linux_6_1() {
    alone(OLD, HARDWARE);
}

#[test]
fn hardware_on_linux_6_12_or_later() {
    alone(NEW, HARDWARE);
}

#[test]
fn clocks_on_linux_6_1() {
    shared(OLD, CLOCKS);
}

#[test]
fn clocks_on_linux_6_12_or_later() {
    shared(NEW, CLOCKS);
}

#[test]
fn sync_scatters_no_more_than_phc2sys() {
    alone(NEW, "comparison");
}
