//! The conversion of hardware times in the kernel: a program that does nothing else, run by `BPF_PROG_TEST_RUN`.

use std::{
    borrow::Cow,
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, Map},
    programs::{SchedClassifier, TestRun as _, TestRunOptions, TestRunResult},
};
use instamp_clockmap::{
    ClockMap, Converted, Device, MAX_ERROR_NS, MAX_GROWTH, MAX_RANGE_NS, MAX_RATE, Model, Refusal, State, Writer,
    layout::{self, WORDS, Words, WordsMut},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::built::CLOCK as BUILT;

/// The objects that the tests run on.
pub fn objects() -> Vec<(&'static str, Cow<'static, [u8]>)> {
    BUILT.objects()
}

/// The program, loaded, with its maps.
pub struct Program(Ebpf);

/// The name of the program, of the map that it converts with, and of the one that it leaves its result in.
const PROGRAM: &str = "convert_time";
const CLOCK: &str = "CLOCK";
const CONVERTED: &str = "CONVERTED";

impl Program {
    /// Loads the program.
    ///
    /// # Panics
    ///
    /// The kernel refuses it.
    pub fn new(object: &[u8]) -> Self {
        let mut ebpf = EbpfLoader::new().load(object).expect("load the object");
        let program: &mut SchedClassifier =
            ebpf.program_mut(PROGRAM).expect("in the object").try_into().expect("a TC program");
        program.load().unwrap_or_else(|error| panic!("load {PROGRAM}: {error:#?}"));
        Self(ebpf)
    }

    /// Makes the memory that it converts with the same as this.
    fn set_memory(&mut self, memory: &Memory) {
        let map = self.0.map_mut(CLOCK).expect("in the object");
        let mut map: Array<_, [u64; WORDS]> = map.try_into().expect("an array");
        map.set(0, memory.words(), 0).expect("write the map");
    }

    /// Becomes the publisher of the model that it converts with.
    ///
    /// # Panics
    ///
    /// It was taken before.
    pub fn writer(&mut self) -> Writer {
        writer(&mut self.0)
    }

    /// What it makes of a time.
    ///
    /// # Errors
    ///
    /// It refuses the time.
    ///
    /// # Panics
    ///
    /// The kernel does not run it, or it returns what it should not.
    pub fn convert(&self, device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
        match self.run(device_ns, now_ns, 1).return_value {
            0 => {
                let map: Array<_, [u64; 2]> =
                    self.0.map(CONVERTED).expect("in the object").try_into().expect("an array");
                let [time_ns, bound_ns] = map.get(&0, 0).expect("read the map");
                Ok(Converted { time_ns, bound_ns })
            }
            number => Err(REFUSALS.into_iter().find(|refusal| *refusal as u32 == number).expect("a refusal")),
        }
    }

    /// The mean time of one of `repeat` conversions, in whole nanoseconds.
    ///
    /// # Panics
    ///
    /// The kernel does not run it.
    pub fn time(&self, device_ns: u64, now_ns: u64, repeat: u32) -> Duration {
        self.run(device_ns, now_ns, repeat).duration
    }

    fn run(&self, device_ns: u64, now_ns: u64, repeat: u32) -> TestRunResult {
        let program: &SchedClassifier =
            self.0.program(PROGRAM).expect("in the object").try_into().expect("a TC program");
        let context = context(device_ns, now_ns);
        // Of an EtherType for experiments, in which the kernel looks for no headers.
        let mut frame = [0; 64];
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        let options =
            TestRunOptions { data_in: Some(&frame), ctx_in: Some(&context), repeat, ..TestRunOptions::default() };
        program.test_run(options).unwrap_or_else(|error| panic!("run {PROGRAM}: {error:#?}"))
    }
}

/// Becomes the publisher of the model with which loaded programs convert.
pub(crate) fn writer(programs: &mut Ebpf) -> Writer {
    let Map::Array(map) = programs.take_map(CLOCK).expect("taken once") else { panic!("{CLOCK} is no array") };
    let nobody_else = tempfile::tempfile().expect("a file");
    ClockMap::adopt(map, Device::Phc(0)).expect("map the model").writer(nobody_else)
}

/// The context of a packet (`struct __sk_buff` in linux/bpf.h) in which the program finds the time of the device, as its
/// hardware timestamp, and the time now, in its control block.
pub(crate) fn context(device_ns: u64, now_ns: u64) -> [u8; 192] {
    let mut context = [0; 192];
    // Two words, the low one first.
    let [a, b, c, d, e, f, g, h] = now_ns.to_le_bytes();
    context[48..52].copy_from_slice(&u32::from_le_bytes([a, b, c, d]).to_ne_bytes());
    context[52..56].copy_from_slice(&u32::from_le_bytes([e, f, g, h]).to_ne_bytes());
    context[184..].copy_from_slice(&device_ns.to_ne_bytes());
    context
}

const REFUSALS: [Refusal; 7] = [
    Refusal::Foreign,
    Refusal::Unfinished,
    Refusal::Withdrawn,
    Refusal::Stale,
    Refusal::OutOfRange,
    Refusal::Future,
    Refusal::Malformed,
];

/// The memory of a model in this process.
struct Memory([Cell<u64>; WORDS]);

impl Memory {
    fn new(model: &Model) -> Self {
        let memory = Self(Default::default());
        let header = [layout::MAGIC, layout::VERSION, layout::SIZE as u64];
        for (word, value) in memory.0.iter().zip(header) {
            word.set(value);
        }
        layout::write(&memory, model);
        memory
    }

    fn words(&self) -> [u64; WORDS] {
        self.0.each_ref().map(Cell::get)
    }

    fn convert(&self, device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
        layout::read(self, 1)?.convert(device_ns, now_ns)
    }
}

impl Words for Memory {
    fn load(&self, index: usize) -> u64 {
        self.0[index].get()
    }

    fn fence(&self) {}
}

impl WordsMut for Memory {
    fn store(&self, index: usize, value: u64) {
        self.0[index].set(value);
    }
}

/// Compares the program with the native conversion on as many times and models, which `seed` decides; some of them are
/// models that nobody publishes. Returns how often each refusal came, in the order of their numbers, after the conversions.
///
/// # Panics
///
/// They differ, or one of the outcomes did not come.
pub fn compare(origin: &str, object: &[u8], times: usize, seed: u64) -> [usize; REFUSALS.len() + 1] {
    let mut program = Program::new(object);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut outcomes = [0; REFUSALS.len() + 1];
    for _ in 0..times {
        let model = model(&mut random);
        let memory = Memory::new(&model);
        if random.random_bool(0.2) {
            memory.store(random.random_range(0..WORDS), number(&mut random));
        }
        program.set_memory(&memory);
        let (device_ns, now_ns) = case(&mut random, &model);
        let native = memory.convert(device_ns, now_ns);
        assert_eq!(
            program.convert(device_ns, now_ns),
            native,
            "{origin}: device time {device_ns}, now {now_ns}, words {:x?}",
            memory.words()
        );
        outcomes[native.err().map_or(0, |refusal| refusal as usize)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{origin}: an outcome that never came: {outcomes:?}");
    outcomes
}

/// Converts as often while another thread publishes models without a pause, all numbers of which follow from one.
/// Returns how many times were converted; the others met a model that was half written.
///
/// # Panics
///
/// A conversion is of no model that was published.
pub fn compare_while_written(object: &[u8], times: usize) -> usize {
    let mut program = Program::new(object);
    let mut writer = program.writer();
    let now_ns = sequel(0).void_after_ns;
    let is_needed = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..SEQUELS).cycle() {
                writer.publish(&sequel(number)).expect("a model that may be published");
                if !is_needed.load(Relaxed) {
                    return;
                }
            }
        });
        let _end = Unset(&is_needed);
        (0..times)
            .filter_map(|_| match program.convert(DEVICE_NS, now_ns) {
                Ok(converted) => Some(converted),
                Err(Refusal::Unfinished | Refusal::Withdrawn) => None,
                Err(refusal) => panic!("{refusal}"),
            })
            .inspect(|converted| {
                let number = converted.bound_ns - 1;
                assert_eq!(Ok(*converted), sequel(number).convert(DEVICE_NS, now_ns), "of no model that was published");
            })
            .count()
    })
}

/// Ends a thread when this one is through, also by a panic.
struct Unset<'a>(&'a AtomicBool);

impl Drop for Unset<'_> {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}

/// The time that is converted with models that follow from one number.
const DEVICE_NS: u64 = 1 << 50;
const SEQUELS: u64 = 1 << 20;

/// A model, all numbers of which follow from one, which its bound tells.
fn sequel(number: u64) -> Model {
    Model {
        state: State::LOCKED,
        epoch: number,
        device_ref_ns: DEVICE_NS - (number << 10),
        system_ref_ns: (1 << 40) + (number << 12),
        rate: number.cast_signed() << 4,
        error_ns: number,
        growth: 0,
        valid_from_ns: DEVICE_NS - number,
        valid_until_ns: DEVICE_NS + number,
        void_after_ns: 1 << 60,
        as_of_ns: number,
        unassumed_ns: number,
        published_ns: number,
    }
}

/// A model that may be published.
fn model(random: &mut SmallRng) -> Model {
    let device_ref_ns = 1 << random.random_range(30..62);
    let device_ref_ns = random.random_range(device_ref_ns / 2..device_ref_ns);
    let system_ref_ns = random.random_range(MAX_RANGE_NS / 2..1 << 61);
    let validity = random.random_range(0..2 * MAX_RANGE_NS);
    Model {
        state: if random.random_bool(0.02) { State::WITHDRAWN } else { State::LOCKED },
        epoch: random.random(),
        device_ref_ns,
        system_ref_ns,
        rate: random.random_range(-MAX_RATE + 1..MAX_RATE),
        error_ns: random.random_range(0..MAX_ERROR_NS) >> random.random_range(0..40),
        growth: random.random_range(0..MAX_GROWTH),
        valid_from_ns: device_ref_ns.saturating_sub(validity),
        valid_until_ns: device_ref_ns + validity,
        void_after_ns: system_ref_ns + random.random_range(0..2 * MAX_RANGE_NS),
        as_of_ns: device_ref_ns,
        unassumed_ns: random.random_range(0..1 << 20),
        published_ns: system_ref_ns,
    }
}

/// A time of the device around what the model holds for, and the time now.
fn case(random: &mut SmallRng, model: &Model) -> (u64, u64) {
    let near = random.random_range(0..2 * MAX_RANGE_NS + 100) >> random.random_range(0..37);
    let ahead = random.random_bool(0.5);
    let shifted = |time: u64| if ahead { time.wrapping_add(near) } else { time.wrapping_sub(near) };
    let device_ns = if random.random_bool(0.05) { number(random) } else { shifted(model.device_ref_ns) };
    let now_ns = match random.random_range(0..10) {
        0 => number(random),
        1 => shifted(model.system_ref_ns),
        2 => model.void_after_ns + 1,
        _ => model.void_after_ns,
    };
    (device_ns, now_ns)
}

/// A number, often one at which something may go wrong.
fn number(random: &mut SmallRng) -> u64 {
    match random.random_range(0..4) {
        0 => random.random(),
        1 => u64::MAX - random.random_range(0..3),
        2 => (1 << random.random_range(0..64)) - random.random_range(0..2),
        _ => random.random_range(0..10),
    }
}
