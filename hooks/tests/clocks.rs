//! The BPF maps of published clocks: one publisher each, and there for as long as they are needed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::path::PathBuf;

use aya::{
    EbpfLoader,
    maps::{Array, Map, MapData},
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use instamp_clockmap::{
    Device, Model, Refusal, State,
    layout::{SEQUENCE, WORDS},
};
use instamp_hooks::{Error, Hooks, Objects, Request};
use world::{NIC, World};

const DEVICE: Device = Device::Phc(3);

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
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        let mut writer = hooks.clock_writer(DEVICE).unwrap();
        assert!(matches!(hooks.clock_writer(DEVICE), Err(Error::AlreadyPublished { device: DEVICE, .. })));
        let _another = hooks.clock_writer(Device::Phc(4)).unwrap();
        writer.publish(&Model { state: State::LOCKED, ..Model::NONE }).unwrap();
        assert_eq!(state(&words(&world)), State::LOCKED);
        drop(writer);
        assert_eq!(state(&words(&world)), State::WITHDRAWN);
    });
}

#[test]
fn a_map_is_there_while_it_is_published_to() {
    let Some(world) = World::new() else { return };
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
fn a_map_stays_for_what_is_attached() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let hooks = world.hooks();
        attach(&hooks);
        drop(hooks.clock_writer(DEVICE).unwrap());
        hooks.sweep().unwrap();
        let first = (id(&world), words(&world));
        let writer = hooks.clock_writer(DEVICE).unwrap();
        let second = (id(&world), words(&world));
        assert_eq!(first.0, second.0, "programs keep the map that they were loaded with");
        assert!(second.1[SEQUENCE] > first.1[SEQUENCE]);
        assert_ne!(first.1[SEQUENCE + 2], second.1[SEQUENCE + 2], "another publisher is another epoch");
        drop(writer);
        hooks.detach(NIC).unwrap();
    });
    world.assert_clean(NIC);
}

#[test]
fn a_program_that_is_loaded_with_the_pin_converts_with_what_is_published() {
    let Some(world) = World::new() else { return };
    world.host.enter(|| {
        let mut writer = world.hooks().clock_writer(DEVICE).unwrap();
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
        writer.publish(&Model { state: State::LOCKED, ..Model::NONE }).unwrap();
        assert_eq!(run(), 0);
        drop(writer);
        assert_eq!(run(), Refusal::Withdrawn as u32);
    });
}
