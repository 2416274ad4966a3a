//! The model, and the conversion with it.

use crate::Refusal;

/// 1 as a fraction: [`Model::rate`] and [`Model::growth`] are multiples of 2^-36.
///
/// With this scale a product with any time in range fits 63 bits, and the rounding of a rate (at most 2^-37) is below 0.5 ns
/// over the whole range.
pub const ONE: u64 = 1 << SHIFT;
const SHIFT: u32 = 36;

/// How far from the reference a time can be converted: 2^36 ns, 68.7 s.
pub const MAX_RANGE_NS: u64 = 1 << 36;

/// Rates are smaller than this: 2^-10 as a fraction, 976 ppm.
pub const MAX_RATE: i64 = 1 << (SHIFT - 10);

/// Growths are smaller than this: 2^-9 as a fraction, which a wrong rate cannot exceed.
pub const MAX_GROWTH: u64 = 1 << (SHIFT - 9);

/// Errors are smaller than this: 2^40 ns, 18 minutes.
pub const MAX_ERROR_NS: u64 = 1 << 40;

/// Reference times are smaller than this: 2^62 ns, 146 years.
const MAX_TIME_NS: u64 = 1 << 62;

/// What a clock is known to be, as one process measured it and all others use it.
///
/// *Device time* is that of the card, *system time* is `CLOCK_MONOTONIC` of the initial time namespace: the clock that
/// `bpf_ktime_get_ns` reads. All are nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Model {
    /// How good the model is.
    pub state: State,
    /// Changes whenever a model does not continue the one before.
    pub epoch: u64,
    /// A device time.
    pub device_ref_ns: u64,
    /// The system time at [`device_ref_ns`](Self::device_ref_ns).
    pub system_ref_ns: u64,
    /// How much faster the system's clock runs than the device's, in 2^-36: system seconds per device second, less one.
    pub rate: i64,
    /// How far the system time at the reference can be off.
    pub error_ns: u64,
    /// By how much the error grows with the distance from the reference, in either direction, in 2^-36 ns per ns.
    pub growth: u64,
    /// The first device time that the model holds for.
    pub valid_from_ns: u64,
    /// The last device time that the model holds for.
    pub valid_until_ns: u64,
    /// The system time after which nobody may use the model any more, so that none outlives its writer.
    pub void_after_ns: u64,
    /// The device time of the last reading that agreed with the model: see [`confirms`](Self::confirms).
    pub as_of_ns: u64,
    /// What to add to the bound for one without any assumption on asymmetry: how much of half the shortest reading is not in
    /// the error already.
    pub unassumed_ns: u64,
    /// The system time at which the model was published, or withdrawn.
    pub published_ns: u64,
}

/// How good a model is. What is unknown here is refused, as a later version may mean anything by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State(pub u64);

impl State {
    /// There is no valid model.
    pub const WITHDRAWN: Self = Self(0);
    /// Readings come, and none contradicts the model.
    pub const LOCKED: Self = Self(1);
    /// Readings fail or are late: the model goes on alone, and its error grows.
    pub const HOLDOVER: Self = Self(2);
}

/// A device time in the system's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Converted {
    /// System time.
    pub time_ns: u64,
    /// The true time is at most this far from it, to either side.
    pub bound_ns: u64,
}

impl Model {
    /// What is published where there is no model.
    pub const NONE: Self = Self {
        state: State::WITHDRAWN,
        epoch: 0,
        device_ref_ns: 0,
        system_ref_ns: 0,
        rate: 0,
        error_ns: 0,
        growth: 0,
        valid_from_ns: 0,
        valid_until_ns: 0,
        void_after_ns: 0,
        as_of_ns: 0,
        unassumed_ns: 0,
        published_ns: 0,
    };

    /// Converts a time of the device to the system's. `now_ns` is the system's time now.
    ///
    /// The same integers come out everywhere: times are rounded to the nearest nanosecond, halves up, and the bound is
    /// rounded up, with one more nanosecond for the rounding of the time.
    ///
    /// # Errors
    ///
    /// Why the time cannot be converted; the first that holds, in the order in which they are listed here:
    /// [`Withdrawn`](Refusal::Withdrawn), [`Malformed`](Refusal::Malformed), [`Stale`](Refusal::Stale),
    /// [`OutOfRange`](Refusal::OutOfRange), [`Future`](Refusal::Future).
    #[inline(always)]
    pub fn convert(&self, device_ns: u64, now_ns: u64) -> Result<Converted, Refusal> {
        if self.state == State::WITHDRAWN {
            return Err(Refusal::Withdrawn);
        }
        if !self.is_well_formed() {
            return Err(Refusal::Malformed);
        }
        if now_ns > self.void_after_ns {
            return Err(Refusal::Stale);
        }
        if device_ns < self.valid_from_ns || device_ns > self.valid_until_ns {
            return Err(Refusal::OutOfRange);
        }
        let is_before = device_ns < self.device_ref_ns;
        let distance = if is_before { self.device_ref_ns - device_ns } else { device_ns - self.device_ref_ns };
        if distance > MAX_RANGE_NS {
            return Err(Refusal::OutOfRange);
        }
        // All of this fits: |elapsed| <= 2^36, |rate| < 2^26 and growth < 2^27.
        let elapsed = if is_before { -distance.cast_signed() } else { distance.cast_signed() };
        let drift = (elapsed.wrapping_mul(self.rate).wrapping_add(1 << (SHIFT - 1))) >> SHIFT;
        let time = self.system_ref_ns.cast_signed().wrapping_add(elapsed).wrapping_add(drift);
        if time < 0 {
            return Err(Refusal::OutOfRange);
        }
        let grown = distance.wrapping_mul(self.growth).wrapping_add(ONE - 1) >> SHIFT;
        let converted =
            Converted { time_ns: time.cast_unsigned(), bound_ns: self.error_ns.wrapping_add(grown).wrapping_add(1) };
        if converted.time_ns.saturating_sub(converted.bound_ns) > now_ns {
            return Err(Refusal::Future);
        }
        Ok(converted)
    }

    /// Whether this model confirms that an earlier one of that `epoch`, which converted `device_ns` at `now_ns`, was right:
    /// readings before and after it agree with one line, so no clock was disturbed before the time that was converted.
    ///
    /// These three numbers are what a caller keeps. They have to be of the first conversion, made right after the stamp was
    /// taken: a device that was set back shows times again, and no number tells a stamp of before from one of after.
    ///
    /// That is also why `as_of_ns >= device_ns` alone says nothing. The reading of [`as_of_ns`](Self::as_of_ns) has to be later
    /// than the conversion, and by its own time: a publisher that is interrupted publishes, after the conversion, a reading
    /// from before it. If it is later, then the device was not set back in between, or the reading would have ended the epoch.
    pub fn confirms(&self, epoch: u64, device_ns: u64, now_ns: u64) -> bool {
        self.epoch == epoch
            && self.as_of_ns >= device_ns
            && self
                .convert(self.as_of_ns, self.void_after_ns)
                .is_ok_and(|reading| reading.time_ns.saturating_sub(reading.bound_ns) > now_ns)
    }

    /// Whether the numbers are ones that a writer publishes.
    #[inline(always)]
    pub fn is_well_formed(&self) -> bool {
        self.state.0 <= State::HOLDOVER.0
            && self.rate > -MAX_RATE
            && self.rate < MAX_RATE
            && self.growth < MAX_GROWTH
            && self.error_ns < MAX_ERROR_NS
            && self.system_ref_ns < MAX_TIME_NS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 10 ppm, and 10 ppb.
    const TEN_PPM: i64 = 687_195;
    const TEN_PPB: u64 = 687;

    const DEVICE_NS: u64 = 1_700_000_000_000_000_000;
    const SYSTEM_NS: u64 = 86_400_000_000_000;
    const EXACT: Model = Model {
        state: State::LOCKED,
        device_ref_ns: DEVICE_NS,
        system_ref_ns: SYSTEM_NS,
        error_ns: 150,
        valid_from_ns: DEVICE_NS - 10_000_000_000,
        valid_until_ns: DEVICE_NS + 60_000_000_000,
        void_after_ns: SYSTEM_NS + 60_000_000_000,
        ..Model::NONE
    };
    const SLOW: Model = Model { rate: TEN_PPM, growth: TEN_PPB, ..EXACT };
    const FAST: Model = Model { rate: -TEN_PPM, growth: TEN_PPB, ..EXACT };
    const WORST: Model = Model { rate: MAX_RATE - 1, growth: MAX_GROWTH - 1, error_ns: MAX_ERROR_NS - 1, ..EXACT };
    const NOW_NS: u64 = SYSTEM_NS + 50_000_000_000;

    fn ok(time_ns: u64, bound_ns: u64) -> Result<Converted, Refusal> {
        Ok(Converted { time_ns, bound_ns })
    }

    /// The numbers were made by another program, with integers of any size.
    #[test]
    fn golden_vectors() {
        for (model, offset_ns, expected) in [
            (EXACT, 0, ok(86_400_000_000_000, 151)),
            (EXACT, 1_000_000_000, ok(86_401_000_000_000, 151)),
            (EXACT, -1_000_000_000, ok(86_399_000_000_000, 151)),
            (EXACT, -10_000_000_001, Err(Refusal::OutOfRange)),
            (SLOW, 1_000_000_000, ok(86_401_000_010_000, 161)),
            (SLOW, -1_000_000_000, ok(86_398_999_990_000, 161)),
            (SLOW, 50_000, ok(86_400_000_050_001, 152)),
            (SLOW, 49_999, ok(86_400_000_049_999, 152)),
            (SLOW, -50_000, ok(86_399_999_949_999, 152)),
            (SLOW, -50_001, ok(86_399_999_949_998, 152)),
            (FAST, 1_000_000_000, ok(86_400_999_990_000, 161)),
            (FAST, -1_000_000_000, ok(86_399_000_010_000, 161)),
            (FAST, 50_000, ok(86_400_000_049_999, 152)),
            (FAST, 50_001, ok(86_400_000_050_000, 152)),
            (WORST, 30_000_000_000, ok(86_430_029_296_875, 1_099_570_221_526)),
            (WORST, -10_000_000_000, ok(86_389_990_234_375, 1_099_531_159_026)),
        ] {
            let device_ns = DEVICE_NS.checked_add_signed(offset_ns).expect("in range");
            assert_eq!(model.convert(device_ns, NOW_NS), expected, "{offset_ns} from the reference of {model:?}");
        }
    }

    #[test]
    fn a_time_is_refused_with_the_first_reason_that_holds() {
        let until = EXACT.valid_until_ns;
        let void = EXACT.void_after_ns;
        for (model, device_ns, now_ns, expected) in [
            (Model::NONE, DEVICE_NS, NOW_NS, Refusal::Withdrawn),
            (Model { state: State(3), ..EXACT }, DEVICE_NS, void + 1, Refusal::Malformed),
            (Model { rate: MAX_RATE, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (Model { rate: -MAX_RATE, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (Model { rate: i64::MIN, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (Model { growth: MAX_GROWTH, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (Model { error_ns: MAX_ERROR_NS, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (Model { system_ref_ns: MAX_TIME_NS, ..EXACT }, DEVICE_NS, NOW_NS, Refusal::Malformed),
            (EXACT, until + 1, void + 1, Refusal::Stale),
            (EXACT, until + 1, void, Refusal::OutOfRange),
            (EXACT, EXACT.valid_from_ns - 1, void, Refusal::OutOfRange),
            (Model { valid_until_ns: u64::MAX, ..EXACT }, DEVICE_NS + MAX_RANGE_NS + 1, void, Refusal::OutOfRange),
            (Model { valid_from_ns: 0, ..EXACT }, DEVICE_NS - MAX_RANGE_NS - 1, void, Refusal::OutOfRange),
            (Model { system_ref_ns: 0, ..EXACT }, DEVICE_NS - 1, 0, Refusal::OutOfRange),
            (EXACT, until, SYSTEM_NS + 59_999_999_848, Refusal::Future),
        ] {
            assert_eq!(model.convert(device_ns, now_ns), Err(expected), "{device_ns} at {now_ns} by {model:?}");
        }
        assert_eq!(EXACT.convert(until, SYSTEM_NS + 59_999_999_849), ok(86_460_000_000_000, 151));
    }

    #[test]
    fn later_models_of_the_same_epoch_confirm_what_they_have_seen() {
        let later = Model { as_of_ns: DEVICE_NS + 100_000_000, ..EXACT };
        let read_ns = SYSTEM_NS + 100_000_000;
        assert!(later.confirms(EXACT.epoch, DEVICE_NS, SYSTEM_NS + 1_000));
        assert!(!later.confirms(EXACT.epoch, later.as_of_ns + 1, SYSTEM_NS + 1_000), "a time that no reading has seen");
        assert!(!later.confirms(EXACT.epoch + 1, DEVICE_NS, SYSTEM_NS + 1_000), "another line");
        assert!(!Model { state: State::WITHDRAWN, ..later }.confirms(EXACT.epoch, DEVICE_NS, SYSTEM_NS + 1_000));
        // However late it is published: the device may have been set back between the reading and the stamp.
        assert!(later.confirms(EXACT.epoch, DEVICE_NS, read_ns - 152));
        assert!(!later.confirms(EXACT.epoch, DEVICE_NS, read_ns - 151));
        assert!(!Model { published_ns: u64::MAX, ..later }.confirms(EXACT.epoch, DEVICE_NS, read_ns));
    }

    prop_compose! {
        fn arbitrary()(words in any::<[u64; 12]>(), state in 0_u64..4) -> Model {
            let [epoch, device_ref_ns, system_ref_ns, rate, error_ns, growth, from, until, void, as_of, unassumed, published] = words;
            Model {
                state: State(state),
                epoch,
                device_ref_ns,
                system_ref_ns,
                rate: rate.cast_signed(),
                error_ns,
                growth,
                valid_from_ns: from,
                valid_until_ns: until,
                void_after_ns: void,
                as_of_ns: as_of,
                unassumed_ns: unassumed,
                published_ns: published,
            }
        }
    }

    prop_compose! {
        fn well_formed()(
            model in arbitrary(),
            device_ref_ns in MAX_RANGE_NS..u64::MAX - MAX_RANGE_NS,
            system_ref_ns in 2 * MAX_RANGE_NS..MAX_TIME_NS,
            rate in -MAX_RATE + 1..MAX_RATE,
            error_ns in 0..MAX_ERROR_NS,
            growth in 0..MAX_GROWTH,
        ) -> Model {
            Model {
                state: State::HOLDOVER,
                device_ref_ns,
                system_ref_ns,
                rate,
                error_ns,
                growth,
                valid_from_ns: 0,
                valid_until_ns: u64::MAX,
                void_after_ns: u64::MAX,
                ..model
            }
        }
    }

    proptest! {
        /// In debug builds, which the tests are, nothing overflows either.
        #[test]
        fn nothing_panics(model in arbitrary(), device_ns: u64, now_ns: u64, offset in -1_000_000_i64..1_000_000) {
            let _ = model.convert(device_ns, now_ns);
            let _ = model.convert(model.device_ref_ns.wrapping_add_signed(offset), now_ns);
        }

        #[test]
        fn the_arithmetic_is_that_of_integers_of_any_size(
            model in well_formed(),
            offset in -MAX_RANGE_NS.cast_signed()..=MAX_RANGE_NS.cast_signed(),
        ) {
            let (offset_wide, rate, growth) = (i128::from(offset), i128::from(model.rate), i128::from(model.growth));
            let one = i128::from(ONE);
            let time = i128::from(model.system_ref_ns) + offset_wide + (offset_wide * rate + one / 2).div_euclid(one);
            let bound = i128::from(model.error_ns) + (offset_wide.abs() * growth + one - 1) / one + 1;
            let converted = model.convert(model.device_ref_ns.wrapping_add_signed(offset), u64::MAX);
            let converted = converted.map(|Converted { time_ns, bound_ns }| (i128::from(time_ns), i128::from(bound_ns)));
            prop_assert_eq!(converted, Ok((time, bound)));
        }

        #[test]
        fn time_goes_on_as_the_device_goes_on(model in well_formed(), offset in 0..MAX_RANGE_NS.cast_signed()) {
            let at = |offset| model.convert(model.device_ref_ns.wrapping_add_signed(offset), u64::MAX).expect("in range");
            prop_assert!(at(offset).time_ns <= at(offset + 1).time_ns);
            prop_assert!(at(-offset - 1).time_ns <= at(-offset).time_ns);
        }
    }
}
