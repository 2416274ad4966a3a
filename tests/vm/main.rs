//! The first program of a virtual machine: checks what works on its kernel and with its network cards.

mod adjusting;
mod bound;
mod card;
mod clocks;
mod comparison;
mod hardware;
mod lab;
mod modelling;
mod phc;
mod phc2sys;
mod ptp4l;
mod settings;
mod stamping;
mod steering;
mod steering_phc;
mod sync;
mod uplink;

use std::{env, fs, panic, path::Path, time::Instant};

use aya::{Ebpf, programs::Program};
use instamp_tests::{
    agreement, conversion,
    programs::{HOOKS, objects},
    vm::{Initramfs, PASSED, STARTED},
};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sys::reboot::{RebootMode, reboot},
};

/// The variable that names the way in which TC programs attach on this kernel.
const TC: &str = "TC_MECHANISM";

/// What can be checked, by the names in the variable `CHECKS`.
const CHECKS: &[(&str, fn())] = &[
    ("agreement", agreement),
    ("lab", lab::check),
    ("card", card::check),
    ("hardware", hardware::check),
    ("conversion", conversion),
    ("clocks", clocks::check),
    ("phc", phc::check),
    ("settings", settings::check),
    ("stamping", stamping::check),
    ("steering", steering::check),
    ("steering-phc", steering_phc::check),
    ("adjusting", adjusting::check),
    ("modelling", modelling::check),
    ("comparison", comparison::check),
];

/// Packets at each hook: enough for everything that can become of one.
const PACKETS: usize = 5_000;
/// Times and models.
const CONVERSIONS: usize = 20_000;

fn main() {
    println!("{STARTED}");
    // A panic has said what failed.
    if panic::catch_unwind(run).is_ok() {
        println!("{PASSED}");
    }
    reboot(RebootMode::RB_POWER_OFF).expect("power off");
}

fn run() {
    for (kind, folder) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]
    {
        mount_new(kind, folder);
    }
    mount_new("bpf", instamp_hooks::BPFFS);
    load_modules();
    for wanted in env::var("CHECKS").expect("what to check").split(',') {
        let (name, check) = CHECKS.iter().find(|(name, _)| *name == wanted).expect("a check of this name");
        let start = Instant::now();
        check();
        println!("guest: {name}: {:.1?}", start.elapsed());
    }
}

/// The programs load, and those that stamp alone do what the native routine does.
fn agreement() {
    for (origin, objects) in objects() {
        for object in [&objects.xdp, &objects.tc] {
            load(object);
        }
        for (seed, hook) in (1..).zip(HOOKS) {
            agreement::compare(origin, &objects, hook, PACKETS, seed);
        }
        agreement::compare_large(&objects, (3000..9000).step_by(50));
    }
}

/// Loads every program of an object.
fn load(object: &[u8]) {
    let mut ebpf = Ebpf::load(object).expect("load the object");
    for (name, program) in ebpf.programs_mut() {
        let loaded = if let Program::Xdp(program) = program {
            program.load()
        } else if let Program::SchedClassifier(program) = program {
            program.load()
        } else {
            panic!("{name} is of type {:?}", program.prog_type())
        };
        loaded.unwrap_or_else(|error| panic!("load {name}: {error:#?}"));
    }
}

/// A program in the kernel converts times as the library does, also while the model is written.
fn conversion() {
    for (origin, object) in conversion::objects() {
        let outcomes = conversion::compare(origin, &object, CONVERSIONS, 1);
        let written = conversion::compare_while_written(&object, CONVERSIONS);
        println!(
            "guest: converted {} and refused {} as natively, {written} while the model was written ({origin})",
            outcomes[0],
            outcomes[1..].iter().sum::<usize>()
        );
    }
}

fn mount_new(kind: &str, folder: &str) {
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("make {folder}: {error}"));
    mount(Some(kind), folder, Some(kind), MsFlags::empty(), None::<&Path>)
        .unwrap_or_else(|error| panic!("mount {folder}: {error}"));
}

fn load_modules() {
    let entries = fs::read_dir(Initramfs::MODULES).expect("modules");
    let mut modules: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    modules.sort_unstable();
    for module in modules {
        let file = fs::File::open(&module).expect("a file");
        finit_module(&file, c"", ModuleInitFlags::empty())
            .unwrap_or_else(|error| panic!("{}: {error}", module.display()));
    }
}
