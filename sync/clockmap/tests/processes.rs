//! Readers and writers in processes of their own: many at once, stopped and killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    fs::Permissions,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use instamp_clockmap::{Device, Directory, Model, Reader, Refusal, State, Writer};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

const DEVICE: Device = Device::Phc(0);

/// What a process is to do, for [`do_task`].
const TASK: &str = "INSTAMP_TEST_TASK";
const READ: &str = "read";
const WRITE: &str = "write";

/// A model, all numbers of which follow from one.
fn model(number: u64) -> Model {
    Model {
        state: State::LOCKED,
        epoch: 0,
        device_ref_ns: number,
        system_ref_ns: number << 1,
        rate: -(number.cast_signed() & 0xf_ffff),
        error_ns: number & 0xffff,
        growth: number & 0xff_ffff,
        valid_from_ns: !number,
        valid_until_ns: number.rotate_left(32),
        void_after_ns: number.wrapping_mul(3),
        as_of_ns: number.wrapping_mul(5),
        unassumed_ns: number.wrapping_mul(7),
        published_ns: number,
    }
}

/// The number that a model follows from; 0 for a withdrawn one.
///
/// # Panics
///
/// The model is not one that was written.
fn number(read: Model) -> u64 {
    let number = read.published_ns;
    let expected =
        Model { state: read.state, epoch: read.epoch, ..if number == 0 { Model::NONE } else { model(number) } };
    assert_eq!(read, expected, "torn");
    if read.state == State::WITHDRAWN { 0 } else { number }
}

/// A directory that everybody can look into.
fn place() -> (TempDir, Directory) {
    let parent = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let directory = Directory::new(parent.path().join("clock"));
    (parent, directory)
}

/// Not a test but the task of a process that a test has started.
#[test]
fn do_task() {
    match env::var(TASK).as_deref() {
        Ok(READ) => read_until_the_last(),
        Ok(WRITE) => write_for_ever(),
        _ => {}
    }
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start(task: &str, directory: &Directory) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["do_task", "--exact", "--nocapture"]).stdout(Stdio::piped());
    command.env(TASK, task).env(Directory::VARIABLE, directory.path());
    command
}

/// The first line that a process says in answer to us.
fn answer(process: &mut Process) -> String {
    let lines = BufReader::new(process.0.stdout.as_mut().unwrap()).lines();
    // The harness has its own lines; the first of ours may follow on one of them.
    lines.map(Result::unwrap).find_map(|line| Some(line.split_once("answer: ")?.1.to_owned())).expect("an answer")
}

const PROCESSES: usize = 8;
const THREADS: usize = 25;
const UPDATES: u64 = 300;
const PERIOD: Duration = Duration::from_millis(10);
/// More models, written while all readers are stopped.
const LAST: u64 = UPDATES + 1000;

fn read_until_the_last() {
    assert!(!geteuid().is_root(), "readers have no privilege");
    let directory = Directory::from_environment();
    let refused = AtomicU64::new(0);
    let readers: Vec<Reader> = (0..THREADS).map(|_| Reader::open(&directory, DEVICE).unwrap()).collect();
    println!("answer: ready");
    let read = thread::scope(|scope| {
        let readers: Vec<_> = readers.into_iter().map(|reader| scope.spawn(|| follow(reader, &refused))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    println!("answer: {read} {}", refused.load(Relaxed));
}

/// Reads without a pause until the last model is there, and returns how often.
fn follow(mut reader: Reader, refused: &AtomicU64) -> u64 {
    let mut newest = 0;
    let mut count = 0;
    while newest < LAST {
        match reader.model().map(number) {
            Ok(number) => {
                assert!(number >= newest, "{number} after {newest}");
                newest = number;
                count += 1;
            }
            Err(Refusal::Unfinished) => drop(refused.fetch_add(1, Relaxed)),
            Err(refusal) => panic!("{refusal}"),
        }
    }
    count
}

fn signal(readers: &[Process], signal: Signal) {
    for reader in readers {
        kill(Pid::from_raw(reader.0.id().try_into().unwrap()), signal).unwrap();
    }
}

#[test]
fn two_hundred_readers_see_whole_models_and_hold_up_no_writer() {
    if !geteuid().is_root() {
        assert!(env::var_os("CI").is_none_or(|value| value != "true"), "needs root, and CI=true skips nothing");
        eprintln!("SKIP: needs root, to start readers as another user");
        return;
    }
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    let mut readers: Vec<Process> =
        (0..PROCESSES).map(|_| Process(start(READ, &directory).uid(65534).gid(65534).spawn().unwrap())).collect();
    for reader in &mut readers {
        assert_eq!(answer(reader), "ready");
    }
    let mut longest = Duration::ZERO;
    for number in 1..=UPDATES {
        // This is the rate, not a wait for somebody.
        thread::sleep(PERIOD);
        let start = Instant::now();
        writer.publish(&model(number)).unwrap();
        longest = longest.max(start.elapsed());
    }
    // Wherever the readers are, they hold nothing that the writer needs.
    signal(&readers, Signal::SIGSTOP);
    for number in UPDATES + 1..=LAST {
        writer.publish(&model(number)).unwrap();
    }
    signal(&readers, Signal::SIGCONT);
    let mut total = [0_u64; 2];
    for mut reader in readers {
        let answer = answer(&mut reader);
        for (total, count) in total.iter_mut().zip(answer.split(' ')) {
            *total += count.parse::<u64>().unwrap();
        }
        assert!(reader.0.wait().unwrap().success());
    }
    let [read, refused] = total;
    println!("{read} models read, {refused} refused as unfinished, the longest of {UPDATES} writes took {longest:?}");
    assert!(read > UPDATES * 200, "{read} reads");
}

const KILLS: u64 = 300;

fn write_for_ever() {
    let mut writer = Writer::create(&Directory::from_environment(), DEVICE).unwrap();
    for number in 1.. {
        writer.publish(&model(number)).unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_a_whole_model_or_none_and_the_next_one_mends_it() {
    let (_parent, directory) = place();
    drop(Writer::create(&directory, DEVICE).unwrap());
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    let (mut whole, mut unfinished) = (0, 0);
    for round in 0..KILLS {
        let left = reader.model().map(|model| model.epoch);
        let mut child = Process(start(WRITE, &directory).spawn().unwrap());
        // Each dies after another number of writes of its own, at whatever instruction it has come to.
        while !reader.model().is_ok_and(|model| Ok(model.epoch) != left && number(model) > round * 7) {
            assert_eq!(child.0.try_wait().unwrap(), None, "the writer has ended");
        }
        drop(child);
        match reader.model().map(number) {
            Ok(number) => {
                assert!(number > round * 7);
                whole += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Unfinished);
                unfinished += 1;
            }
        }
        // Half of them go on from what was left, half find it mended.
        if round % 2 == 0 {
            let mut writer = Writer::create(&directory, DEVICE).unwrap();
            assert_eq!(reader.model().map(number), Ok(0), "withdrawn until there is a new one");
            writer.publish(&model(1)).unwrap();
            assert_eq!(reader.model().map(number), Ok(1));
        }
    }
    println!("{KILLS} writers killed: {whole} left a whole model, {unfinished} one that is refused");
    assert!(whole > 0, "none was killed between two writes");
}
