//! What `hwtstamp` changes of clocks: those of cards, and the system's.

use hwtstamp::{
    Access, Frequency, Holders, Monotonic, PhcDevice, Realtime, Span, StepWatch, SystemClock as _, Time, holders,
    system,
};

/// Moves what this may move, and puts it back.
pub(crate) fn check() {
    system_clock();
    // The second card's, of which nobody wants the time: under emulation it jumps when its frequency is adjusted.
    card(1);
}

/// By how much a clock moves that is stepped.
const STEP: Span = Span::from_ms(-1500);
/// More than these calls take.
const CALLS: Span = Span::from_ms(500);

fn system_clock() {
    let found = system::discipline().expect("an answer");
    // More than the kernel adjusts without changing the length of a tick.
    for frequency in [Frequency::from_ppb(600_000.0), Frequency::from_ppb(-1.0), found.frequency] {
        system::set_frequency(frequency).expect("this may");
        assert_eq!(system::discipline().expect("an answer").frequency, frequency);
    }
    let watch = StepWatch::new().expect("a timer");
    for step in [STEP, -STEP] {
        assert!(!watch.stepped().expect("an answer"));
        let before = Realtime::now() - since_boot(Monotonic::now());
        system::step(step).expect("this may");
        let moved = (Realtime::now() - since_boot(Monotonic::now())) - before;
        assert!((moved - step).abs() < CALLS, "moved by {moved}, not by {step}");
        assert!(watch.stepped().expect("an answer"));
    }
}

fn since_boot(time: Time<Monotonic>) -> Span {
    Span::from_ns(time.as_ns())
}

fn card(index: u32) {
    let reader = PhcDevice::open_index(index, Access::Read).expect("open");
    match reader.frequency() {
        Ok(frequency) => assert_eq!(frequency, Frequency::ZERO),
        Err(error) => assert!(error.is_not_permitted(), "{error}"),
    }
    println!("guest: of a card opened for reading: {:?}", reader.frequency().map_err(|error| error.to_string()));
    for result in [reader.set_frequency(Frequency::ZERO), reader.step(STEP), reader.set(Time::from_ns(0))] {
        let error = result.expect_err("not opened for writing");
        assert!(error.is_not_permitted(), "{error}");
    }

    let phc = PhcDevice::open_index(index, Access::Write).expect("open");
    for step in [STEP, -STEP] {
        let before = phc.read().expect("readable");
        phc.step(step).expect("opened for writing");
        let moved = phc.read().expect("readable") - before;
        assert!((moved - step).abs() < CALLS, "moved by {moved}, not by {step}");
    }
    let most = phc.max_frequency().expect("an answer");
    for frequency in [Frequency::from_ppb(1000.0), -most, most, Frequency::ZERO] {
        phc.set_frequency(frequency).expect("within its limits");
        assert_eq!(phc.frequency().expect("an answer"), frequency);
    }
    let error = phc.set_frequency(Frequency::from_ppb(most.ppb() + 1000.0)).expect_err("beyond its limits");
    assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ERANGE as i32), "{error}");
    phc.set(Time::from_ns(0)).expect("opened for writing");
    assert!(phc.read().expect("readable") - Time::from_ns(0) < CALLS);

    let own = std::process::id();
    let ourselves = holders(index).seen.into_iter().find(|holder| holder.pid == own);
    assert!(ourselves.is_some_and(|holder| holder.may_steer), "{:?}", holders(index));
    drop((reader, phc));
    assert_eq!(holders(index), Holders::default());
}
