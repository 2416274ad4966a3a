//! Steering one clock after another.

use anyhow::{bail, ensure};
use hwtstamp::{Monotonic, Phc, Realtime, Span, Time};
use instamp_sync::{
    Clock,
    servo::{Action, Gains, Limits, LinearRegression, Pi, SanityCheck, Servo},
};

use super::{
    options::{self, Options, Steer},
    told,
};

/// A frequency that was set is read back as it was, but for the unit of the kernel, which is larger.
const SAME_PPB: f64 = 0.01;

/// The discipline of one clock.
pub(super) struct Steering {
    which: Steer,
    sink: Box<dyn Clock<Error = anyhow::Error>>,
    servo: Box<dyn Servo<Sink>>,
    sanity: Option<SanityCheck>,
    /// How far the sink shall be ahead.
    ahead: Span,
    /// The sink's frequency as it was last set, or found at the start.
    frequency_ppb: f64,
}

/// Marks times of the clock that is steered, whichever that is.
enum Sink {}

/// What is to be done, and why.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Decision {
    offset: Span,
    action: Action,
    begins_anew: bool,
}

impl Steering {
    /// Of the clock `sink`.
    pub(super) fn new(
        which: Steer,
        sink: Box<dyn Clock<Error = anyhow::Error>>,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let frequency_ppb = sink.frequency()?;
        let steering = &options.steering;
        let max_frequency = sink.max_frequency();
        ensure!(max_frequency > 0.0, "the frequency of {} cannot be adjusted: leave out --steer", which.clock());
        let limits = Limits {
            step_threshold: steering.step_threshold.into(),
            first_step_threshold: steering.first_step_threshold.into(),
            max_frequency,
        };
        let interval = options.interval().into();
        let servo: Box<dyn Servo<Sink>> = match steering.servo {
            options::Servo::Pi => Box::new(Pi::new(gains(options), limits, interval, frequency_ppb)),
            options::Servo::Linreg => Box::new(LinearRegression::new(limits, interval, frequency_ppb)),
        };
        let sanity = (steering.freq_limit > 0).then(|| SanityCheck::new(steering.freq_limit.into()));
        Ok(Self { which, sink, servo, sanity, ahead: Span::from_ns(steering.offset.unwrap_or(0)), frequency_ppb })
    }

    /// Whether the card's clock is the one that is changed.
    pub(super) fn is_of_phc(&self) -> bool {
        self.which == Steer::Phc
    }

    /// What people call the clock that is changed.
    pub(super) fn clock(&self) -> &'static str {
        self.which.clock()
    }

    /// What is to be done where both clocks showed this at one moment, `now` at the latest.
    ///
    /// # Errors
    ///
    /// Somebody else has changed the clock's frequency.
    pub(super) fn decide(
        &mut self,
        phc: Time<Phc>,
        realtime: Time<Realtime>,
        now: Time<Monotonic>,
    ) -> anyhow::Result<Decision> {
        let frequency_ppb = self.sink.frequency()?;
        if (frequency_ppb - self.frequency_ppb).abs() > SAME_PPB {
            bail!(
                "somebody else steers {}: its frequency is {frequency_ppb:+.3} ppb, and was {:+.3} ppb; \
                 stop that one, or leave out --steer",
                self.which.clock(),
                self.frequency_ppb
            );
        }
        let (sink, source) = match self.which {
            Steer::Phc => (phc.as_ns(), realtime.as_ns()),
            Steer::System => (realtime.as_ns(), phc.as_ns()),
        };
        let (at, offset) = (Time::from_ns(sink), Span::from_ns(sink.saturating_sub(source)) - self.ahead);
        let begins_anew = self.sanity.as_mut().is_some_and(|sanity| !sanity.check(at, now));
        if begins_anew {
            self.servo.reset();
        }
        Ok(Decision { offset, action: self.servo.sample(offset, at), begins_anew })
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// The clock refuses.
    pub(super) fn carry_out(&mut self, decision: Decision) -> anyhow::Result<()> {
        let (step, frequency_ppb) = match decision.action {
            Action::Wait => return Ok(()),
            Action::Step { by, frequency } => (Some(by), frequency),
            Action::Adjust { frequency } => (None, frequency),
        };
        if let Some(by) = step {
            self.sink.step(by)?;
        }
        self.sink.set_frequency(frequency_ppb)?;
        self.frequency_ppb = self.sink.frequency()?;
        if let Some(sanity) = &mut self.sanity {
            step.into_iter().for_each(|by| sanity.stepped(by));
            sanity.adjusted(self.frequency_ppb);
        }
        Ok(())
    }

    /// What is told of it.
    pub(super) fn told<'a>(&self, card: &'a str, decision: Decision) -> told::Steered<'a> {
        let (sink, source) = match self.which {
            Steer::Phc => (card, "sys"),
            Steer::System => ("CLOCK_REALTIME", "phc"),
        };
        let servo = match decision.action {
            Action::Wait => told::Servo::Measuring,
            Action::Step { .. } => told::Servo::Stepped,
            Action::Adjust { .. } => told::Servo::Locked,
        };
        // The adjustment undoes what the clock does by itself.
        told::Steered { sink, source, offset_ns: decision.offset.as_ns(), servo, frequency_ppb: -self.frequency_ppb }
    }
}

impl Decision {
    pub(super) fn steps(self) -> bool {
        matches!(self.action, Action::Step { .. })
    }

    /// Whether the clock was not where it could be, so that nothing before counts.
    pub(super) fn begins_anew(self) -> bool {
        self.begins_anew
    }

    /// Whether anything is changed.
    pub(super) fn adjusts(self) -> bool {
        !matches!(self.action, Action::Wait)
    }
}

impl Steer {
    fn clock(self) -> &'static str {
        match self {
            Self::Phc => "the card's clock",
            Self::System => "the system's clock",
        }
    }
}

/// Those that are given hold at any rate.
fn gains(options: &Options) -> Gains {
    let Gains { proportional, integral } = Gains::for_interval(options.interval().into());
    Gains {
        proportional: options.steering.kp.unwrap_or(proportional),
        integral: options.steering.ki.unwrap_or(integral),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Command::parse_from([&["sync", "--dev", "eth0", "--steer", "phc", "-O", "1"], arguments].concat()).options
    }

    #[test]
    fn gains_that_are_given_hold_at_any_rate_and_others_depend_on_it() {
        let of = |arguments: &[&str]| gains(&options(arguments));
        let depending = Gains::for_interval(Span::from_ms(50));
        assert_eq!(of(&["-R", "20"]), depending);
        assert_eq!(of(&["-R", "20", "-P", "0.7"]), Gains { proportional: 0.7, ..depending });
        assert_eq!(of(&["-R", "20", "-P", "0.7", "-I", "0.3"]), Gains::default());
    }

    /// A clock that runs 5 ppm fast by itself. What it shows, and its adjustment, can be looked at from outside.
    #[derive(Clone)]
    struct Simulated {
        ns: Rc<Cell<f64>>,
        ppb: Rc<Cell<f64>>,
        max_ppb: f64,
    }

    impl Simulated {
        fn at(ns: f64) -> Self {
            Self { ns: Rc::new(Cell::new(ns)), ppb: Rc::default(), max_ppb: 1e6 }
        }

        fn run(&self, seconds: f64) {
            self.ns.set(self.ns.get() + seconds * (1e9 + 5_000.0 + self.ppb.get()));
        }

        #[expect(clippy::cast_possible_truncation, reason = "less than an hour")]
        fn shows(&self) -> i64 {
            self.ns.get().round() as i64
        }
    }

    impl Clock for Simulated {
        type Error = anyhow::Error;

        fn frequency(&self) -> anyhow::Result<f64> {
            Ok(self.ppb.get())
        }

        fn set_frequency(&mut self, ppb: f64) -> anyhow::Result<()> {
            self.ppb.set(ppb);
            Ok(())
        }

        fn step(&mut self, by: Span) -> anyhow::Result<()> {
            #[expect(clippy::cast_precision_loss, reason = "less than an hour")]
            self.ns.set(self.ns.get() + by.as_ns() as f64);
            Ok(())
        }

        fn max_frequency(&self) -> f64 {
            self.max_ppb
        }
    }

    /// Steers for a minute, 10 times a second. Returns the decisions.
    fn steered(which: Steer, clock: &Simulated, arguments: &[&str]) -> Vec<Decision> {
        let mut steering = Steering::new(which, Box::new(clock.clone()), &options(arguments)).expect("a clock");
        (1..=600)
            .map(|tick| {
                clock.run(0.1);
                let (other, now) = (tick * 100_000_000, Time::from_ns(tick * 100_000_000));
                let decision = match which {
                    Steer::Phc => steering.decide(Time::from_ns(clock.shows()), Time::from_ns(other), now),
                    Steer::System => steering.decide(Time::from_ns(other), Time::from_ns(clock.shows()), now),
                };
                let decision = decision.expect("nobody else steers it");
                steering.carry_out(decision).expect("a clock");
                decision
            })
            .collect()
    }

    #[test]
    fn the_clock_gets_ahead_as_far_as_asked_and_stays_there() {
        for which in [Steer::Phc, Steer::System] {
            for servo in ["pi", "linreg"] {
                // 2 ms behind of what is asked, so that it is stepped.
                let clock = Simulated::at(998e6);
                let decisions = steered(which, &clock, &["-E", servo]);
                assert_eq!(decisions.iter().filter(|decision| decision.steps()).count(), 1, "{which:?} {servo}");
                let last = decisions.last().expect("some");
                assert!(last.offset.abs() <= Span::from_ns(5), "{which:?} {servo}: {last:?}");
                assert!((clock.ppb.get() + 5_000.0).abs() < 50.0, "{which:?} {servo}: {} ppb", clock.ppb.get());
                assert!((clock.shows() - 61_000_000_000).abs() <= 5, "{which:?} {servo}: {}", clock.shows());
            }
        }
    }

    #[test]
    fn thresholds_of_zero_never_step() {
        let decisions = steered(Steer::Phc, &Simulated::at(998e6), &["-F", "0"]);
        assert!(!decisions.iter().any(|decision| decision.steps()));
    }

    #[test]
    fn a_clock_that_takes_no_adjustment_is_refused() {
        let clock = Simulated { max_ppb: 0.0, ..Simulated::at(1e9) };
        let error = Steering::new(Steer::Phc, Box::new(clock), &options(&[])).err().expect("refused");
        assert_eq!(error.to_string(), "the frequency of the card's clock cannot be adjusted: leave out --steer");
    }

    #[test]
    fn another_hand_at_the_frequency_is_told() {
        let clock = Simulated::at(1e9);
        let mut steering = Steering::new(Steer::System, Box::new(clock.clone()), &options(&[])).expect("a clock");
        let mut decide = || steering.decide(Time::from_ns(0), Time::from_ns(clock.shows()), Time::from_ns(0));
        decide().expect("nobody else steers it");
        clock.ppb.set(7.0);
        assert_eq!(
            decide().expect_err("somebody else steers it").to_string(),
            "somebody else steers the system's clock: its frequency is +7.000 ppb, and was +0.000 ppb; \
             stop that one, or leave out --steer"
        );
    }
}
