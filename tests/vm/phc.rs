//! What the crate `hwtstamp` asks of a driver and its card.

use std::{fs, time::Instant};

use hwtstamp::{Access, CrossClock, Error, Frequency, Method, Monotonic, MonotonicRaw, PhcDevice, Reading, Realtime};
use instamp_tests::vm::figure;
use nix::errno::Errno;

const CALLS: usize = 200;
const READINGS: u32 = 10;

/// Each PHC is read next to each clock of the system by each method; what the kernel or the card cannot is refused as such.
pub(crate) fn check() {
    for index in 0..2 {
        let phc = PhcDevice::open_index(index, Access::Write).expect("open");
        let capabilities = phc.capabilities().expect("capabilities");
        assert!(!capabilities.precise && capabilities.max_frequency > Frequency::ZERO, "{capabilities:?}");
        assert_eq!(phc.frequency().expect("its frequency"), Frequency::ZERO);
        let first = phc.read().expect("its time");
        assert!(phc.read().expect("its time") > first);

        read::<Realtime>(&phc, Method::Extended).expect("every kernel has it");
        read::<Realtime>(&phc, Method::Basic).expect("every kernel has it");
        let monotonic = [read::<Monotonic>(&phc, Method::Extended), read::<MonotonicRaw>(&phc, Method::Extended)];
        for read in monotonic {
            match read {
                Ok(()) => assert!(!is_old(), "Linux 6.12 brought it"),
                Err(error) => assert!(is_old() && error.is_unsupported(), "{error}"),
            }
        }
        for error in [
            read::<Monotonic>(&phc, Method::Basic).expect_err("there is no such call"),
            read::<Realtime>(&phc, Method::Precise).expect_err("igb cannot"),
        ] {
            assert!(error.is_unsupported(), "{error}");
            println!("guest: refused: {error}");
        }
        for readings in [0, 26] {
            let error = phc.cross_read::<Realtime>(Method::Extended, readings).expect_err("not what one call takes");
            assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{error}");
        }
        let best = phc.best_method::<Monotonic>().expect("readable");
        assert_eq!(best, (!is_old()).then_some(Method::Extended));
    }
    let reader = PhcDevice::open_index(0, Access::Read).expect("open");
    let error = reader.set_frequency(Frequency::ZERO).expect_err("not opened for writing");
    assert!(error.is_not_permitted(), "{error}");
}

/// Whether this kernel is the oldest that is supported, 6.1, and not the other one, 6.12 or later.
pub(crate) fn is_old() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs").starts_with("6.1.")
}

/// Reads a PHC many times: the readings are in order, lie among those of the system's clock itself, and do not take long.
fn read<S: CrossClock>(phc: &PhcDevice, method: Method) -> Result<(), Error> {
    let mut times = Vec::new();
    let mut windows = Vec::new();
    let mut last: Option<Reading<S>> = None;
    for _ in 0..CALLS {
        let (earliest, start) = (S::now(), Instant::now());
        let readings = phc.cross_read::<S>(method, READINGS)?;
        times.push(start.elapsed());
        let latest = S::now();
        assert_eq!(readings.len(), READINGS as usize);
        for reading in readings {
            assert!(earliest <= reading.before && reading.before <= reading.after && reading.after <= latest);
            if let Some(last) = last {
                assert!(reading.before >= last.after && reading.device > last.device, "{last:?}, {reading:?}");
            }
            windows.push(reading.window());
            last = Some(reading);
        }
    }
    let [time, window] = [median(&mut times).as_nanos(), median(&mut windows).unsigned_ns().into()];
    figure(format_args!(
        "{} {method:?} {}: {READINGS} readings in {} us, window {window} ns (medians)",
        phc.path().display(),
        S::NAME,
        time / 1000
    ));
    Ok(())
}

/// The middle one of some values.
pub(crate) fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
