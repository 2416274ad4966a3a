//! The BPF maps of published clocks: one publisher each, and there for as long as they are needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use instamp_clockmap::{
    Device, Model, Refusal, State,
    layout::{SEQUENCE, WORDS},
};
use instamp_hooks::{BPFFS_VARIABLE, Error, Hooks, Objects, Request};
use world::{NIC, World, mechanisms, ways};

const DEVICE: Device = Device::Phc(3);
const LOCKED: Model = Model { state: State::LOCKED, ..Model::NONE };

/// Words of a map.
const VERSION: usize = 1;
const CLOCK: usize = 3;
const EPOCH: usize = SEQUENCE + 2;

/// A world, and the right to be the only test here that has one: a process that another forks has copies of our
/// descriptors, and so uses our programs, until it executes its own.
fn world() -> Option<(MutexGuard<'static, ()>, World)> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    World::new().map(|world| (alone, world))
}

fn pin(world: &World) -> PathBuf {
    world.bpffs.path().join("instamp/clock/ptp3")
}

fn id(world: &World) -> u32 {
    MapData::from_pin(pin(world)).unwrap().info().unwrap().id()
}

/// What a program sees, which gets at the same bytes as this system call.
fn words(world: &World) -> [u64; WORDS] {
    let map: Array<_, _> = Map::Array(MapData::from_pin(pin(world)).unwrap()).try_into().unwrap();
    map.get(&0, 0).unwrap()
}

fn state(words: &[u64; WORDS]) -> State {
    State(words[SEQUENCE + 1])
}

fn attach(hooks: &Hooks) {
    hooks.attach(&Objects::built_in(), &Request::new(NIC)).unwrap();
}

#[test]
fn one_process_publishes() {
    let Some((_alone, world)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let mut writer = hooks.clock_writer(DEVICE).unwrap();
        assert!(matches!(hooks.clock_writer(DEVICE), Err(Error::AlreadyPublished { device: DEVICE, .. })));
        let _another = hooks.clock_writer(Device::Phc(4)).unwrap();
        writer.publish(&LOCKED).unwrap();
        assert_eq!(state(&words(&world)), State::LOCKED);
        drop(writer);
        assert_eq!(state(&words(&world)), State::WITHDRAWN);
    });
}

#[test]
fn a_map_is_there_while_it_is_published_to() {
    let Some((_alone, world)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let writer = hooks.clock_writer(DEVICE).unwrap();
        let published = id(&world);
        attach(&hooks);
        hooks.detach(NIC).unwrap();
        hooks.sweep().unwrap();
        assert_eq!(id(&world), published);
        drop(writer);
        hooks.sweep().unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_map_stays_for_the_programs_that_use_it() {
    let Some((_alone, world)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let mut writer = hooks.clock_writer(DEVICE).unwrap();
        let object = include_bytes!("../../tests/bpf/clock.o");
        let mut ebpf = EbpfLoader::new().map_pin_path("CLOCK", pin(&world)).load(object).unwrap();
        let program: &mut SchedClassifier = ebpf.program_mut("convert_time").unwrap().try_into().unwrap();
        program.load().unwrap();
        // A packet without a hardware timestamp, whose time is 0, at the time 0.
        let run = || {
            let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::default() };
            program.test_run(options).unwrap().return_value
        };
        assert_eq!(run(), Refusal::Withdrawn as u32);
        writer.publish(&LOCKED).unwrap();
        assert_eq!(run(), 0);
        drop(writer);
        assert_eq!(run(), Refusal::Withdrawn as u32);

        hooks.sweep().unwrap();
        let (first, left) = (id(&world), words(&world));
        let mut writer = hooks.clock_writer(DEVICE).unwrap();
        assert_eq!(id(&world), first, "the program keeps the map that it was loaded with");
        let found = words(&world);
        assert!(found[SEQUENCE] > left[SEQUENCE]);
        assert_ne!(found[EPOCH], left[EPOCH], "another publisher is another epoch");
        writer.publish(&LOCKED).unwrap();
        assert_eq!(run(), 0, "the program goes on with the next publisher");
        drop((writer, ebpf));
        hooks.sweep().unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_map_of_another_version_or_clock_is_replaced() {
    let Some((_alone, world)) = world() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        for changed in [VERSION, CLOCK] {
            let mut writer = hooks.clock_writer(DEVICE).unwrap();
            writer.publish(&LOCKED).unwrap();
            let (before, mut foreign) = (id(&world), words(&world));
            drop(writer);
            foreign[changed] += 1;
            let map = Map::Array(MapData::from_pin(pin(&world)).unwrap());
            let mut map: Array<_, [u64; WORDS]> = map.try_into().unwrap();
            map.set(0, foreign, 0).unwrap();
            let writer = hooks.clock_writer(DEVICE).unwrap();
            assert_ne!(id(&world), before, "it was claimed");
            assert_eq!(map.get(&0, 0).unwrap(), foreign, "it was written to");
            assert!(words(&world)[EPOCH] > foreign[EPOCH], "an epoch comes again");
            drop(writer);
        }
        hooks.sweep().unwrap();
    });
    world.assert_clean(NIC);
}

/// The environment variable that makes tasks more than empty tests.
const TASK: &str = "INSTAMP_TEST_TASK";

/// Not a test but the task of a process that a test has started: it may make no map.
#[test]
fn fail_to_publish() {
    if env::var_os(TASK).is_some() {
        let hooks = Hooks::open(None, |_| {}).unwrap();
        assert!(matches!(hooks.clock_writer(DEVICE), Err(Error::Privilege { .. })));
    }
}

#[test]
fn a_publisher_that_may_make_no_map_leaves_nothing() {
    let Some((_alone, world)) = world() else { return };
    world.host.enter(|| as_task(&world, "-all", "fail_to_publish"));
    world.assert_clean(NIC);
}

/// Runs a task of this program with these capabilities.
fn as_task(world: &World, capabilities: &str, task: &str) {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", capabilities]).arg(env::current_exe().unwrap()).args([task, "--exact"]);
    let output = command.env(TASK, "").env(BPFFS_VARIABLE, world.bpffs.path()).output().unwrap();
    assert!(output.status.success(), "{task}: {}", String::from_utf8_lossy(&output.stdout));
}

/// Not a test but the task of a process that a test has started.
#[test]
fn publish_and_sweep() {
    if env::var_os(TASK).is_some() {
        let hooks = Hooks::open(None, |_| {}).unwrap();
        drop(hooks.clock_writer(DEVICE).unwrap());
        hooks.sweep().unwrap();
    }
}

#[test]
fn a_publisher_that_may_not_look_leaves_alone_what_is_attached() {
    let Some((_alone, world)) = world() else { return };
    for (request, expected) in ways() {
        world.host.enter(|| {
            let hooks = world.hooks();
            hooks.attach(&Objects::built_in(), &request).unwrap();
            // May make maps, but see neither programs nor what TCX runs.
            as_task(&world, "-all,+bpf", "publish_and_sweep");
            let status = hooks.status().unwrap();
            let [status] = status.as_slice() else { panic!("{status:?}") };
            assert_eq!(mechanisms(status), expected.map(Some), "{request:?}");
            hooks.detach(NIC).unwrap();
        });
        world.assert_clean(NIC);
    }
}
