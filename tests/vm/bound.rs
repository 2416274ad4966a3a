//! Whether conversions are as right as they say: compared with readings that this program makes itself.

use std::{
    thread,
    time::{Duration, Instant},
};

use hwtstamp::{Access, Method, Monotonic, Phc, PhcDevice, Realtime, Span, SystemClock as _, Time};
use instamp_clockmap::{Conversion, Device, Directory, Reader, Refusal, State};
use instamp_tests::vm::figure;

use crate::phc::{is_old, median};

const DURATION: Duration = Duration::from_secs(2);
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
const READINGS: u32 = 5;
/// Refusals that may come before as many conversions: with the pauses ten seconds of them at least, in which a daemon has made the
/// next model several times over.
const MOST_REFUSED: usize = 10_000;
/// Sandwiches of `CLOCK_REALTIME` between two readings of `CLOCK_MONOTONIC`, of which some are short.
const SANDWICHES: usize = 200;

/// A time of the card's clock, and two of `CLOCK_MONOTONIC` between which it was read.
struct Witness {
    before: Time<Monotonic>,
    device: Time<Phc>,
    after: Time<Monotonic>,
}

/// While a daemon publishes the model of a card's clock, in the `circumstances`, every conversion agrees with a reading: what
/// it gives, widened by its bound, meets the time in which the reading was made.
pub(crate) fn holds(index: u32, circumstances: &str) {
    let directory = Directory::new(Directory::DEFAULT);
    let phc = PhcDevice::open_index(index, Access::Read).expect("open");
    let mut reader = Reader::open(&directory, Device::Phc(index)).expect("a model");
    let [mut bounds, mut distances] = [Vec::new(), Vec::new()];
    let mut refused = 0;
    let start = Instant::now();
    while start.elapsed() < DURATION || are_most(refused, bounds.len()) {
        for Witness { before, device, after } in witnesses(&phc) {
            let Some(converted) = convert(&mut reader, device) else {
                refused += 1;
                continue;
            };
            assert!(
                converted.time - converted.bound <= after && before <= converted.time + converted.bound,
                "read from {before:?} to {after:?}, but {converted:?} by {:?}",
                reader.model()
            );
            bounds.push(converted.bound.unsigned_ns());
            distances.push((before.midpoint(after) - converted.time).unsigned_ns());
        }
        thread::sleep(PAUSE);
    }
    figure(format_args!(
        "sync: /dev/ptp{index}, {circumstances}: {} conversions within their bounds, {refused} refused: bound {} ns, {} ns from the middle of a reading (medians)",
        bounds.len(),
        median(&mut bounds),
        median(&mut distances)
    ));
}

/// Whether most of what was tried was refused, as while a model is withdrawn: then the comparison goes on until it is not, or that
/// takes too long.
pub(crate) fn are_most(refused: usize, converted: usize) -> bool {
    assert!(refused <= converted.max(MOST_REFUSED), "{refused} refused, and only {converted} converted");
    refused >= converted
}

/// Converts a time of a card's clock that was just read. An emulated clock can look as if it were disturbed: `None` where there
/// is no model for a moment, or one that vouches only for what was read later.
pub(crate) fn convert(reader: &mut Reader, device: Time<Phc>) -> Option<Conversion> {
    match reader.convert(device, Monotonic::now()) {
        Ok(converted) => Some(converted),
        Err(Refusal::Withdrawn) => None,
        Err(refusal) => {
            // Perhaps not the one that has refused: that may have been withdrawn since.
            let model = reader.model();
            let vouches_later = model.is_ok_and(|model| {
                model.state == State::WITHDRAWN || i128::from(model.valid_from_ns) > i128::from(device.as_ns())
            });
            assert!(refusal == Refusal::OutOfRange && vouches_later, "{device:?}: {refusal}: {model:?}");
            None
        }
    }
}

/// Some readings of a card's clock, in `CLOCK_MONOTONIC` also where the kernel reads only `CLOCK_REALTIME` next to it.
fn witnesses(phc: &PhcDevice) -> Vec<Witness> {
    if is_old() {
        let (least, most) = realtime_ahead();
        let readings = phc.cross_read::<Realtime>(Method::Extended, READINGS).expect("readable");
        let monotonic = |time: Time<Realtime>, ahead: Span| Time::from_ns(time.as_ns()) - ahead;
        let witness = readings.into_iter().map(|reading| Witness {
            before: monotonic(reading.before, most),
            device: reading.device,
            after: monotonic(reading.after, least),
        });
        return witness.collect();
    }
    let readings = phc.cross_read::<Monotonic>(Method::Extended, READINGS).expect("readable");
    let witness = readings.into_iter().map(|reading| Witness {
        before: reading.before,
        device: reading.device,
        after: reading.after,
    });
    witness.collect()
}

/// The least and the most that `CLOCK_REALTIME` can be ahead of `CLOCK_MONOTONIC`, which is the same until it is stepped.
fn realtime_ahead() -> (Span, Span) {
    let (mut least, mut most) = (Span::from_ns(i64::MIN), Span::MAX);
    for _ in 0..SANDWICHES {
        let (before, time, after) = (Monotonic::now(), Realtime::now(), Monotonic::now());
        let ahead = |monotonic: Time<Monotonic>| Span::from_ns(time.as_ns()) - Span::from_ns(monotonic.as_ns());
        least = least.max(ahead(after));
        most = most.min(ahead(before));
    }
    assert!(least <= most, "CLOCK_REALTIME was stepped");
    (least, most)
}
