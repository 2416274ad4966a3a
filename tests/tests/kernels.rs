//! The programs load, agree with the native routine and stamp on other kernels than this machine's: each boots in a virtual machine.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use instamp_tests::{
    lab::instamp,
    vm::{Initramfs, machine},
};

/// For the whole of it, on a machine with two processors that also boots the other kernel.
const LIMIT: Duration = Duration::from_secs(240);

/// What the lab, clsact and the network cards need. The first is asked for by the name of its algorithm.
const MODULES: [&str; 10] = [
    "crc32c_generic",
    "veth",
    "bridge",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
    "nft_ct",
    "sch_ingress",
    "cls_bpf",
    "igb",
];

fn passes_on(suite: &str, is_expected: fn(&str) -> bool) {
    let Some((emulator, kernel)) = machine(suite) else { return };
    assert!(is_expected(&kernel.release), "{suite} has {}", kernel.release);
    let mut initramfs = Initramfs::default();
    initramfs.program(Path::new(env!("CARGO_BIN_EXE_guest")), "/init");
    initramfs.program(Path::new(instamp().get_program()), "/bin/instamp");
    for tool in ["ethtool", "ip", "nft", "tc"] {
        initramfs.tool(tool);
    }
    initramfs.modules(&kernel, &MODULES);
    let mechanism = if kernel.has_tcx() { "tcx" } else { "clsact" };
    let mut variables = vec![("PATH", "/bin"), ("INSTAMP_BIN", "/bin/instamp"), ("TC_MECHANISM", mechanism)];
    if let Some(objects) = env::var_os("INSTAMP_BPF_OBJECTS").map(PathBuf::from) {
        for name in ["xdp.o", "tc.o"] {
            initramfs.file(&objects.join(name), &format!("/objects/{name}"));
        }
        variables.push(("INSTAMP_BPF_OBJECTS", "/objects"));
    }

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("initramfs");
    initramfs.write(&file).expect("write the initramfs");
    emulator.run(&kernel, &file, &variables, LIMIT);
}

/// The oldest that is supported.
#[test]
fn linux_6_1() {
    passes_on("bookworm", |release| release.starts_with("6.1."));
}

/// One that has TCX.
#[test]
fn linux_6_12_or_later() {
    passes_on("bookworm-backports", |release| !release.starts_with("6.1."));
}
