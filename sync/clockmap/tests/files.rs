//! The files of a published clock: who may write them, what a predecessor or a stranger may have left.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
    process,
};

use hwtstamp::{Span, Time};
use instamp_clockmap::{
    Conversion, Device, Directory, Error, Model, Reader, Refusal, State, Writer,
    layout::{SEQUENCE, SIZE},
};
use nix::sys::stat::{Mode, umask};
use tempfile::TempDir;

const DEVICE: Device = Device::Phc(0);
const LOCKED: Model = Model { state: State::LOCKED, void_after_ns: 1 << 40, valid_until_ns: 1 << 40, ..Model::NONE };

/// A directory that is not there yet, below one that goes with the test.
fn place() -> (TempDir, Directory) {
    let parent = tempfile::tempdir().unwrap();
    let directory = Directory::new(parent.path().join("instamp/clock"));
    (parent, directory)
}

fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn state(reader: &mut Reader) -> State {
    reader.model().unwrap().state
}

fn convert(reader: &mut Reader, device_ns: i64, now_ns: i64) -> Result<Conversion, Refusal> {
    reader.convert(Time::from_ns(device_ns), Time::from_ns(now_ns))
}

#[test]
fn everybody_may_read_and_nobody_else_may_write_or_lock() {
    let (parent, directory) = place();
    // The mask is the whole process's; the other tests here do not look at modes.
    let before = umask(Mode::from_bits_truncate(0o077));
    let writer = Writer::create(&directory, DEVICE).unwrap();
    umask(before);
    assert_eq!(mode(parent.path().join("instamp")), 0o755);
    assert_eq!(mode(directory.path().to_owned()), 0o755);
    assert_eq!(mode(directory.file(DEVICE)), 0o644);
    assert_eq!(mode(directory.path().join("ptp0_lock")), 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    drop(writer);
}

#[test]
fn a_model_is_there_from_publishing_to_withdrawing() {
    let (_parent, directory) = place();
    assert_eq!(directory.devices().unwrap(), []);
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    assert_eq!(convert(&mut reader, 1, 1), Err(Refusal::Withdrawn));
    writer.publish(&LOCKED).unwrap();
    let conversion = convert(&mut reader, 1, 1).unwrap();
    assert_eq!((conversion.time, conversion.bound), (Time::from_ns(1), Span::from_ns(1)));
    assert_eq!(convert(&mut reader, 1, (1 << 40) + 1), Err(Refusal::Stale));
    writer.withdraw(77);
    assert_eq!(convert(&mut reader, 1, 1), Err(Refusal::Withdrawn));
    assert_eq!(reader.model().unwrap().published_ns, 77);
    writer.publish(&Model { published_ns: 88, ..LOCKED }).unwrap();
    drop(writer);
    assert_eq!(convert(&mut reader, 1, 1), Err(Refusal::Withdrawn));
    assert_eq!(reader.model().unwrap().published_ns, 88);
    assert_eq!(directory.devices().unwrap(), [DEVICE]);
}

#[test]
fn the_time_of_a_withdrawal_stays_until_there_is_a_model() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    let mut withdrawn = |writer: &mut Writer, now_ns| {
        writer.withdraw(now_ns);
        assert_eq!(state(&mut reader), State::WITHDRAWN);
        reader.model().unwrap().published_ns
    };
    assert_eq!(withdrawn(&mut writer, 55), 0, "before the first");
    for published_ns in [66, 88] {
        writer.publish(&Model { published_ns, ..LOCKED }).unwrap();
        let at = [1, 2, 3].map(|later| withdrawn(&mut writer, published_ns + later));
        assert_eq!(at, [published_ns + 1; 3]);
    }
    drop(writer);
    assert_eq!(reader.model().unwrap().published_ns, 89, "the end is no withdrawal");
}

#[test]
fn times_from_before_a_beginning_are_out_of_range() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    writer.publish(&LOCKED).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    assert!(convert(&mut reader, 0, 0).is_ok());
    for (device_ns, now_ns) in [(-1, 0), (0, -1), (i64::MIN, i64::MIN)] {
        assert_eq!(convert(&mut reader, device_ns, now_ns), Err(Refusal::OutOfRange));
    }
}

#[test]
fn a_conversion_is_confirmed_by_a_later_reading_of_the_same_publisher() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    writer.publish(&Model { as_of_ns: 90, ..LOCKED }).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    let conversion = convert(&mut reader, 100, 105).unwrap();
    assert_eq!(reader.confirms(&conversion), Ok(false));
    // Read before the conversion, whenever it was published.
    writer.publish(&Model { as_of_ns: 103, ..LOCKED }).unwrap();
    assert_eq!(reader.confirms(&conversion), Ok(false));
    writer.publish(&Model { as_of_ns: 110, ..LOCKED }).unwrap();
    assert_eq!(reader.confirms(&conversion), Ok(true));
    drop(writer);
    assert_eq!(reader.confirms(&conversion), Ok(false));
    for is_cleaned_up in [false, true] {
        if is_cleaned_up {
            fs::remove_file(directory.file(DEVICE)).unwrap();
        }
        let mut writer = Writer::create(&directory, DEVICE).unwrap();
        writer.publish(&Model { as_of_ns: 110, ..LOCKED }).unwrap();
        assert_eq!(state(&mut reader), State::LOCKED);
        assert_eq!(reader.confirms(&conversion), Ok(false), "another publisher, cleaned up: {is_cleaned_up}");
    }
}

#[test]
fn a_model_that_no_reader_would_take_is_not_published() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    writer.publish(&LOCKED).unwrap();
    let error = writer.publish(&Model { error_ns: u64::MAX, ..LOCKED }).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }));
    assert_eq!(state(&mut Reader::open(&directory, DEVICE).unwrap()), State::LOCKED);
}

#[test]
fn epochs_change_with_every_withdrawal_and_every_writer() {
    let (_parent, directory) = place();
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let mut writer = Writer::create(&directory, DEVICE).unwrap();
        let mut reader = Reader::open(&directory, DEVICE).unwrap();
        for (epoch, by_publishing) in [(0, false), (0, true), (0, false), (1, true)] {
            writer.publish(&Model { epoch, ..LOCKED }).unwrap();
            epochs.push(reader.model().unwrap().epoch);
            if by_publishing {
                writer.publish(&Model { epoch, ..Model::NONE }).unwrap();
            } else {
                writer.withdraw(0);
            }
        }
    }
    // As if somebody had cleaned up: the next file does not begin where the first did.
    fs::remove_file(directory.file(DEVICE)).unwrap();
    let writer = Writer::create(&directory, DEVICE).unwrap();
    assert!(epochs.iter().all(|epoch| *epoch < writer.epoch()), "{} after {epochs:?}", writer.epoch());
    let distinct: std::collections::HashSet<_> = epochs.iter().collect();
    assert_eq!(distinct.len(), epochs.len(), "{epochs:?}");
}

#[test]
fn a_second_writer_is_refused_and_told_who_the_first_is() {
    let (_parent, directory) = place();
    let first = Writer::create(&directory, DEVICE).unwrap();
    let Err(error) = Writer::create(&directory, DEVICE) else { panic!("two writers") };
    assert!(matches!(error, Error::Held { holder: Some(pid), .. } if pid == process::id()), "{error}");
    assert!(error.to_string().contains(&process::id().to_string()));
    Writer::create(&directory, Device::Phc(1)).unwrap();
    drop(first);
    Writer::create(&directory, DEVICE).unwrap();
}

#[test]
fn what_a_dead_writer_left_half_written_is_refused_and_mended() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    writer.publish(&LOCKED).unwrap();
    drop(writer);
    let file = File::options().write(true).open(directory.file(DEVICE)).unwrap();
    file.write_all_at(&99_u64.to_ne_bytes(), (SEQUENCE * 8).try_into().unwrap()).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    assert_eq!(reader.model(), Err(Refusal::Unfinished));
    fs::write(directory.path().join("ptp0_partial"), "half").unwrap();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    assert_eq!(state(&mut reader), State::WITHDRAWN, "the same file goes on");
    writer.publish(&LOCKED).unwrap();
    assert_eq!(state(&mut reader), State::LOCKED);
}

#[test]
fn a_foreign_file_is_refused_by_readers_and_replaced_by_the_writer() {
    let (_parent, directory) = place();
    drop(Writer::create(&directory, Device::Phc(1)).unwrap());
    let other_device = fs::read(directory.file(Device::Phc(1))).unwrap();
    let mut other_version = other_device.clone();
    other_version[8] = 2;
    let mut longer = other_device.clone();
    longer.extend([0; 8]);
    let foreign = [
        vec![],
        vec![0; SIZE],
        vec![0xff; SIZE],
        other_device[..SIZE - 1].to_vec(),
        other_device,
        other_version,
        longer,
    ];
    for bytes in foreign {
        fs::write(directory.file(DEVICE), &bytes).unwrap();
        let Err(error) = Reader::open(&directory, DEVICE) else { panic!("read {bytes:x?}") };
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        let mut writer = Writer::create(&directory, DEVICE).unwrap();
        writer.publish(&LOCKED).unwrap();
        assert_eq!(state(&mut Reader::open(&directory, DEVICE).unwrap()), State::LOCKED);
    }
}

#[test]
fn links_are_replaced_and_not_followed() {
    let (parent, directory) = place();
    drop(Writer::create(&directory, DEVICE).unwrap());
    let target = parent.path().join("target");
    fs::write(&target, [7; SIZE]).unwrap();
    for name in ["ptp0", "ptp0_partial"] {
        let path = directory.path().join(name);
        let _: std::io::Result<()> = fs::remove_file(&path);
        symlink(&target, &path).unwrap();
        if name != "ptp0" {
            // So that the next writer makes one.
            fs::remove_file(directory.file(DEVICE)).unwrap();
        }
        drop(Writer::create(&directory, DEVICE).unwrap());
        assert!(fs::symlink_metadata(directory.file(DEVICE)).unwrap().is_file());
    }
    fs::remove_file(directory.path().join("ptp0_lock")).unwrap();
    symlink(&target, directory.path().join("ptp0_lock")).unwrap();
    assert!(Writer::create(&directory, DEVICE).is_err(), "a lock elsewhere is none");
    assert_eq!(fs::read(&target).unwrap(), [7; SIZE]);
    let link = Directory::new(parent.path().join("link"));
    symlink(directory.path(), link.path()).unwrap();
    assert!(Writer::create(&link, DEVICE).is_err());
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let (_parent, directory) = place();
    fs::create_dir_all(directory.path()).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    let Err(error) = Writer::create(&directory, DEVICE) else { panic!("published for everybody to replace") };
    assert!(matches!(error, Error::Open { .. }), "{error}");
}

#[test]
fn a_reader_follows_the_name_to_another_file() {
    let (_parent, directory) = place();
    let mut writer = Writer::create(&directory, DEVICE).unwrap();
    writer.publish(&Model { void_after_ns: 10, ..LOCKED }).unwrap();
    let mut reader = Reader::open(&directory, DEVICE).unwrap();
    // As if the directory had been cleaned, and the writer could not withdraw.
    fs::rename(directory.path(), directory.path().with_file_name("old")).unwrap();
    assert_eq!(convert(&mut reader, 1, 11), Err(Refusal::Stale), "there is no other");
    let mut other = Writer::create(&directory, DEVICE).unwrap();
    other.publish(&LOCKED).unwrap();
    assert!(convert(&mut reader, 1, 11).is_ok());
    assert!(convert(&mut reader, 1, 1).is_ok());
}

#[test]
fn names_are_those_of_clocks() {
    for device in [Device::Phc(0), Device::Phc(u32::MAX), Device::MonotonicRaw] {
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
    }
    for name in ["", "ptp", "ptp01", "ptp+1", "ptp-1", "ptp4294967296", "ptp0_lock", "ptp0_partial", "eth0", "../ptp0"]
    {
        assert!(matches!(name.parse::<Device>(), Err(Error::NotADevice { .. })), "{name}");
    }
}
