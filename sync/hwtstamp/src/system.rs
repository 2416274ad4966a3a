//! The discipline of the system's clock, `CLOCK_REALTIME`: what NTP daemons change and everybody may read.
//!
//! A change of frequency is one of all the system's clocks but `CLOCK_MONOTONIC_RAW`; a step moves `CLOCK_REALTIME` and
//! `CLOCK_TAI` alone.

use nix::unistd::{SysconfVar, sysconf};

use crate::{
    Cause, Error, Frequency, Operation, Realtime, Span, Timescale as _,
    error::Context as _,
    sys::clock::{self, Clock},
};

/// The frequency that the kernel's own adjustment reaches; beyond it the length of a tick is changed.
const FINE: Frequency = Frequency::from_scaled_ppm(500 << 16);

/// The discipline in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discipline {
    /// How much faster than its oscillator the clock runs: the tick and the fine adjustment together.
    pub frequency: Frequency,
    /// What the kernel has yet to add by slewing (`adjtime`, or its own loop): while it is not zero, the frequency is not
    /// all that moves the clock.
    pub slew: Span,
    /// Whether somebody claims to keep the clock synchronized: not `STA_UNSYNC`.
    pub synchronized: bool,
    /// Whether the kernel's own loop is on, which NTP daemons feed: `STA_PLL` or `STA_FLL`.
    pub kernel_loop: bool,
    /// The status bits of `adjtimex(2)`, all of them.
    pub status: i32,
    /// The largest error that the daemon declares.
    pub max_error: Span,
    /// The error that it estimates.
    pub estimated_error: Span,
    /// `CLOCK_TAI` minus `CLOCK_REALTIME` in seconds: 0 where nobody has set it, since when 37 are right.
    pub tai_offset: i32,
}

/// What is in force. No privilege is needed.
///
/// # Errors
///
/// Where the kernel does not answer.
pub fn discipline() -> Result<Discipline, Error> {
    let ask = |modes| {
        let asked = Clock::REALTIME.adjust(libc::timex { modes, ..clock::no_change() });
        asked.context(Operation::GetFrequency, Realtime::NAME)
    };
    let now = ask(0)?;
    // What is left of `adjtime` is told apart from the rest, in microseconds always.
    let adjtime = Span::from_us(ask(libc::ADJ_OFFSET_SS_READ)?.offset);
    Ok(Discipline {
        frequency: ticks()?.frequency(now.tick, now.freq),
        slew: adjtime + loop_offset(now.offset, now.status),
        synchronized: now.status & libc::STA_UNSYNC == 0,
        kernel_loop: now.status & (libc::STA_PLL | libc::STA_FLL) != 0,
        status: now.status,
        max_error: Span::from_us(now.maxerror),
        estimated_error: Span::from_us(now.esterror),
        tai_offset: now.tai,
    })
}

/// What the kernel's loop has yet to add: in nanoseconds or microseconds, as the status says.
fn loop_offset(offset: i64, status: i32) -> Span {
    if status & libc::STA_NANO != 0 {
        return Span::from_ns(offset);
    }
    // Some kernels cut the nanoseconds off to 32 bits, without their sign, before they make microseconds of them. As they are
    // half a second at most, the sign comes back with the same cut.
    #[expect(clippy::cast_possible_truncation, reason = "the cut that is meant")]
    let ns = offset.saturating_mul(1_000) as i32;
    Span::from_ns(ns.into())
}

/// The largest frequency adjustment, of either sign: a tenth, by the length of the tick.
///
/// # Errors
///
/// Where the kernel does not tell how long a tick is.
pub fn max_frequency() -> Result<Frequency, Error> {
    let ticks = ticks()?;
    Ok(ticks.frequency(ticks.nominal() / 10 * 11, FINE.scaled_ppm()))
}

/// Makes the system's clocks run faster than the oscillator, or slower: the fine adjustment up to 500 ppm, the length of the
/// tick beyond.
///
/// # Errors
///
/// Beyond [`max_frequency`]; without `CAP_SYS_TIME`.
pub fn set_frequency(frequency: Frequency) -> Result<(), Error> {
    let (tick, freq) = ticks()?.split(frequency).ok_or_else(|| {
        Error::new(Operation::SetFrequency, Realtime::NAME, Cause::Unsupported("beyond a tenth of its frequency"))
    })?;
    let change = libc::timex { modes: libc::ADJ_FREQUENCY | libc::ADJ_TICK, tick, freq, ..clock::no_change() };
    Clock::REALTIME.adjust(change).context(Operation::SetFrequency, Realtime::NAME)?;
    Ok(())
}

/// Moves `CLOCK_REALTIME` and `CLOCK_TAI` forward, or back where `span` is negative, at once.
///
/// # Errors
///
/// Without `CAP_SYS_TIME`; before the beginning of the year 1970.
pub fn step(span: Span) -> Result<(), Error> {
    Clock::REALTIME.adjust(clock::step(span)).context(Operation::Step, Realtime::NAME)?;
    Ok(())
}

/// Says that the system's clock is kept synchronized, for those who ask the kernel, and for the kernel, which then keeps the
/// hardware clock of the machine right. It holds for 9 hours: until the error, which the kernel lets grow by 500 ppm, is 16 s.
///
/// # Errors
///
/// Without `CAP_SYS_TIME`.
pub fn declare_synchronized() -> Result<(), Error> {
    let failed = Operation::DeclareSynchronized;
    let now = Clock::REALTIME.adjust(clock::no_change()).context(failed, Realtime::NAME)?;
    // All else stays, an announced leap second among it.
    let change = libc::timex {
        modes: libc::ADJ_STATUS | libc::ADJ_MAXERROR,
        status: now.status & !libc::STA_UNSYNC,
        maxerror: 0,
        ..clock::no_change()
    };
    Clock::REALTIME.adjust(change).context(failed, Realtime::NAME)?;
    Ok(())
}

/// The ticks of the kernel's interface to user space, whatever those of its timer are.
#[derive(Clone, Copy)]
struct Ticks {
    per_second: i64,
}

fn ticks() -> Result<Ticks, Error> {
    let per_second = sysconf(SysconfVar::CLK_TCK).context(Operation::GetFrequency, Realtime::NAME)?;
    let per_second = per_second.filter(|number| (1..=1_000_000).contains(number)).ok_or_else(|| {
        Error::new(Operation::GetFrequency, Realtime::NAME, Cause::Malformed("no number of ticks per second"))
    })?;
    Ok(Ticks { per_second })
}

impl Ticks {
    /// The length of a tick in microseconds, when nobody has changed it.
    fn nominal(self) -> i64 {
        1_000_000 / self.per_second
    }

    /// One microsecond more per tick are as many parts per million as there are ticks in a second.
    fn step(self) -> i64 {
        self.per_second << 16
    }

    fn frequency(self, tick: i64, freq: i64) -> Frequency {
        Frequency::from_scaled_ppm((tick - self.nominal()).saturating_mul(self.step()).saturating_add(freq))
    }

    /// The length of the tick, and the fine adjustment beside it; `None` beyond what the kernel takes.
    fn split(self, frequency: Frequency) -> Option<(i64, i64)> {
        let scaled_ppm = frequency.scaled_ppm();
        // The nearest whole number of microseconds, but none where the fine adjustment alone will do.
        let microseconds = match frequency.abs() <= FINE {
            true => 0,
            false => (scaled_ppm.checked_add(self.step() / 2)?).div_euclid(self.step()),
        };
        let fine = scaled_ppm - microseconds.checked_mul(self.step())?;
        let within = microseconds.abs() <= self.nominal() / 10 && fine.abs() <= FINE.scaled_ppm();
        within.then_some((self.nominal() + microseconds, fine))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKS: Ticks = Ticks { per_second: 100 };

    #[test]
    fn a_microsecond_per_tick_is_a_hundred_ppm() {
        assert_eq!(TICKS.frequency(10_001, 0), Frequency::from_ppb(100_000.0));
        assert_eq!(TICKS.frequency(9_999, 50 << 16), Frequency::from_ppb(-50_000.0));
    }

    #[test]
    fn the_tick_stays_while_the_fine_adjustment_does() {
        assert_eq!(TICKS.split(Frequency::from_ppb(500_000.0)), Some((10_000, 500 << 16)));
        assert_eq!(TICKS.split(Frequency::from_ppb(-500_000.0)), Some((10_000, -500 << 16)));
        assert_eq!(TICKS.split(Frequency::from_ppb(540_000.0)), Some((10_005, 40 << 16)));
        assert_eq!(TICKS.split(Frequency::from_ppb(-560_000.0)), Some((9_994, 40 << 16)));
        assert_eq!(TICKS.split(Frequency::from_ppb(100_000_000.0)), Some((11_000, 0)));
        assert_eq!(TICKS.split(Frequency::from_ppb(101_000_000.0)), None);
        assert_eq!(TICKS.split(Frequency::from_scaled_ppm(i64::MAX)), None);
        assert_eq!(TICKS.split(Frequency::from_scaled_ppm(i64::MIN)), None);
    }

    proptest! {
        #[test]
        fn what_is_set_is_what_is_read(scaled_ppm in -(100_000_i64 << 16)..=100_000 << 16, per_second in prop::sample::select(&[100_i64, 1000, 1024])) {
            let (ticks, frequency) = (Ticks { per_second }, Frequency::from_scaled_ppm(scaled_ppm));
            if let Some((tick, freq)) = ticks.split(frequency) {
                prop_assert_eq!(ticks.frequency(tick, freq), frequency);
            } else {
                prop_assert!(per_second != 100, "the kernel's own number of ticks reaches a tenth");
            }
        }
    }

    #[test]
    fn what_the_loop_has_yet_to_add_keeps_its_sign() {
        for us in [0, 1, -1, 500_000, -500_000] {
            assert_eq!(loop_offset(us, 0), Span::from_us(us));
            assert_eq!(loop_offset(us, libc::STA_NANO), Span::from_ns(us));
        }
        // (2^32 - 500,000,000) / 1000, rounded down.
        let back = loop_offset(3_794_967, 0);
        assert!((back - Span::from_ms(-500)).abs() < Span::from_us(1), "{back}");
    }

    #[test]
    fn anybody_may_read_the_discipline() {
        let discipline = discipline().unwrap();
        assert!(discipline.frequency.abs() <= max_frequency().unwrap());
        assert_eq!(discipline.synchronized, discipline.status & libc::STA_UNSYNC == 0);
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused_before() {
        let error = set_frequency(Frequency::from_ppb(2e8)).unwrap_err();
        assert_eq!(error.to_string(), "set the frequency of CLOCK_REALTIME: beyond a tenth of its frequency");
    }
}
