//! The examples of docs/clocks.md, "The published model", are what the library makes and reads.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use hwtstamp::Time;
use instamp_clockmap::{
    Conversion, Device, Directory, MAX_ERROR_NS, MAX_GROWTH, MAX_RATE, Model, Reader, State, Writer,
    layout::{MAGIC, SEQUENCE, SIZE, VERSION, WORDS},
};
use instamp_tests::privilege;
use tempfile::TempDir;

const DEVICE_NS: u64 = 1_700_000_000_000_000_000;
const SYSTEM_NS: u64 = 86_400_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// The model of the examples.
const MODEL: Model = Model {
    state: State::LOCKED,
    device_ref_ns: DEVICE_NS,
    system_ref_ns: SYSTEM_NS,
    rate: 687_195,
    error_ns: 150,
    growth: 687,
    valid_from_ns: DEVICE_NS - 10_000_000_000,
    valid_until_ns: DEVICE_NS + 60_000_000_000,
    void_after_ns: SYSTEM_NS + 60_000_000_000,
    as_of_ns: DEVICE_NS,
    unassumed_ns: 500,
    published_ns: SYSTEM_NS,
    ..Model::NONE
};
/// The epoch that it has.
const EPOCH: u64 = 1_790_000_000_000_000;
const EXACT: Model = Model { rate: 0, growth: 0, ..MODEL };
const FAST: Model = Model { rate: -687_195, ..MODEL };
const WORST: Model = Model { rate: MAX_RATE - 1, growth: MAX_GROWTH - 1, error_ns: MAX_ERROR_NS - 1, ..MODEL };

/// What is converted: by which model, and device and system time from its reference.
const CONVERSIONS: [(Model, i64, i64); 15] = [
    (EXACT, 0, SECOND),
    (MODEL, SECOND, SECOND * 2),
    (MODEL, -SECOND, SECOND * 2),
    (MODEL, 50_000, SECOND),
    (MODEL, 49_999, SECOND),
    (MODEL, -50_000, SECOND),
    (MODEL, -50_001, SECOND),
    (FAST, SECOND, SECOND * 2),
    (FAST, -SECOND, SECOND * 2),
    (WORST, SECOND * 30, SECOND * 50),
    (WORST, -SECOND * 10, SECOND * 50),
    (MODEL, -SECOND * 10 - 1, SECOND),
    (EXACT, SECOND, SECOND * 60 + 1),
    (EXACT, SECOND * 60, SECOND * 60 - 151),
    (EXACT, SECOND * 60, SECOND * 60 - 152),
];

fn from(reference_ns: u64, offset_ns: i64) -> u64 {
    reference_ns.checked_add_signed(offset_ns).expect("in range")
}

/// The document, the examples' files in a directory, and their publishers.
struct Examples {
    document: String,
    directory: Directory,
    _writers: Vec<Writer>,
    _folder: TempDir,
}

impl Examples {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clocks.md");
        let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = tempfile::tempdir().expect("a directory");
        let directory = Directory::new(folder.path());
        // What a predecessor has left, which the first publisher goes on in: new files begin with an epoch of their own.
        let mut left = [0; WORDS];
        [left[0], left[1], left[2]] = [MAGIC, VERSION, SIZE as u64];
        left[SEQUENCE + 2] = EPOCH - 1;
        fs::write(directory.file(Device::Phc(0)), left.map(u64::to_ne_bytes).concat()).expect("a file");
        let models = std::iter::once(MODEL).chain(CONVERSIONS.map(|(model, ..)| model));
        let publish = |(number, model)| {
            let mut writer = Writer::create(&directory, Device::Phc(number)).expect("publish");
            writer.publish(&model).expect("well formed");
            writer
        };
        let writers = (0..).zip(models).map(publish).collect();
        Self { document, directory, _writers: writers, _folder: folder }
    }

    /// Each conversion, the clock that it is to be done with, and the last two columns of its line.
    fn conversions(&self) -> impl Iterator<Item = (Device, (Model, i64, i64), String)> {
        (1..).map(Device::Phc).zip(CONVERSIONS).map(|(device, conversion)| {
            let (_, device_ns, now_ns) = conversion;
            let mut reader = Reader::open(&self.directory, device).expect("published");
            let [device_ns, now_ns] = [from(DEVICE_NS, device_ns), from(SYSTEM_NS, now_ns)].map(u64::cast_signed);
            let result = match reader.convert(Time::from_ns(device_ns), Time::from_ns(now_ns)) {
                Ok(Conversion { time, bound, .. }) => format!("{} | {}", time.as_ns(), bound.as_ns()),
                Err(refusal) => format!("{} |", refusal.name()),
            };
            (device, conversion, result)
        })
    }
}

#[test]
fn the_bytes_are_those_of_the_file() {
    let examples = Examples::new();
    let bytes = fs::read(examples.directory.file(Device::Phc(0))).expect("published");
    let mut dump = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(dump, "{:04x}  {}", number * 16, line.join(" ")).expect("a string grows");
    }
    assert!(cfg!(target_endian = "big") || examples.document.contains(&dump), "docs/clocks.md has not:\n{dump}");
}

#[test]
fn the_conversions_are_those_of_the_library() {
    let examples = Examples::new();
    let mut rows = String::new();
    for (_, (model, device_ns, now_ns), result) in examples.conversions() {
        let Model { rate, growth, error_ns, .. } = model;
        writeln!(rows, "| {rate} | {growth} | {error_ns} | {device_ns:+} | {now_ns:+} | {result} |")
            .expect("a string grows");
    }
    assert!(examples.document.contains(&rows), "docs/clocks.md has not:\n{rows}");
}

#[test]
fn the_reader_in_python_converts_alike() {
    let Some(()) = privilege::tool("python3") else { return };
    let examples = Examples::new();
    let start = "```python\n";
    let (_, program) = examples.document.split_once(start).expect("docs/clocks.md has a reader in Python");
    let (program, _) = program.split_once("```").expect("its end");
    let mut expected = String::new();
    let mut program = program.to_owned();
    for (device, (_, device_ns, now_ns), result) in examples.conversions() {
        let path = examples.directory.file(device);
        let (device_ns, now_ns) = (from(DEVICE_NS, device_ns), from(SYSTEM_NS, now_ns));
        writeln!(program, "print(convert({path:?}, {device_ns}, {now_ns}))").expect("a string grows");
        let result = match result.split_once(" | ") {
            Some((time, bound)) => format!("({time}, {bound})"),
            None => result.trim_end_matches(" |").to_owned(),
        };
        writeln!(expected, "{result}").expect("a string grows");
    }
    let output = Command::new("python3").args(["-c", &program]).output().expect("python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", String::from_utf8_lossy(&output.stderr));
}
