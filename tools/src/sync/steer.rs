//! Steering one clock after another, and finding out that somebody else does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hwtstamp::{Frequency, Monotonic, Phc, PhcDevice, Reading, Realtime, Span, SystemClock as _, Time, system};
use instamp_sync::servo::{Action, Gains, Limits, LinearRegression, Pi, SanityCheck, Servo};

use super::{options, owner::Processes, source::Source, told};

/// Looking at all processes takes milliseconds on a large machine; a daemon that starts is found this late at most.
const LOOK: Duration = Duration::from_secs(1);

/// Frequencies that were set and read back are equal; this is less than a unit of the kernel's.
const SAME_PPB: f64 = 0.01;

/// The discipline of one clock.
pub(super) struct Steering {
    sink: Sink,
    /// How far the sink shall be ahead.
    ahead: Span,
    /// The sink's frequency as it was last set, or found at the start.
    frequency_ppb: f64,
    processes: Processes,
    looked: Instant,
}

enum Sink {
    Phc(Loop<Phc>),
    System(Loop<Realtime>),
}

/// The control of a clock whose times are marked with `C`.
struct Loop<C> {
    servo: Box<dyn Servo<C>>,
    sanity: Option<SanityCheck>,
}

/// What is to be done, and why.
#[derive(Clone, Copy)]
pub(super) struct Decision {
    offset: Span,
    action: Action,
}

impl Decision {
    pub(super) fn steps(self) -> bool {
        matches!(self.action, Action::Step { .. })
    }

    /// Whether anything is changed.
    pub(super) fn adjusts(self) -> bool {
        !matches!(self.action, Action::Wait)
    }
}

impl Steering {
    /// Refuses where somebody else steers the clock.
    pub(super) fn new(sink: options::Steer, options: &options::Options, source: &Source) -> anyhow::Result<Self> {
        let processes = Processes::new();
        refuse_other(sink, &processes, source.phc())?;
        let Some(phc) = source.phc() else {
            bail!("--steer needs a card's clock: the one that stands in for it can neither follow nor lead");
        };
        let sink = match sink {
            options::Steer::Phc => Sink::Phc(Loop::new(options, phc.frequency()?, phc.max_frequency()?)),
            options::Steer::System => {
                Sink::System(Loop::new(options, system::discipline()?.frequency, system::max_frequency()?))
            }
        };
        let mut steering = Self {
            sink,
            ahead: Span::from_ns(options.steering.offset.unwrap_or(0)),
            frequency_ppb: 0.0,
            processes,
            looked: Instant::now(),
        };
        steering.frequency_ppb = steering.frequency(phc)?;
        Ok(steering)
    }

    /// Whether the card's clock is the one that is changed.
    pub(super) fn is_of_phc(&self) -> bool {
        matches!(self.sink, Sink::Phc(_))
    }

    /// What is to be done after a reading. `None` where the time of day was set during the readings.
    ///
    /// # Errors
    ///
    /// Somebody else steers the clock.
    pub(super) fn decide(&mut self, source: &Source, reading: &Reading<Monotonic>) -> anyhow::Result<Option<Decision>> {
        self.refuse_meddling(source)?;
        let Some(realtime) = source.realtime(reading.midpoint()) else { return Ok(None) };
        let phc = reading.device;
        let phc_ahead = Span::from_ns(phc.as_ns().saturating_sub(realtime.as_ns()));
        let (offset, action) = match &mut self.sink {
            Sink::Phc(control) => {
                let offset = phc_ahead - self.ahead;
                (offset, control.sample(offset, phc))
            }
            Sink::System(control) => {
                let offset = -phc_ahead - self.ahead;
                (offset, control.sample(offset, realtime))
            }
        };
        Ok(Some(Decision { offset, action }))
    }

    /// Does it. A model of the card's clock does not outlive a step of it: withdraw it before.
    pub(super) fn carry_out(&mut self, source: &Source, decision: Decision) -> anyhow::Result<()> {
        let phc = phc(source)?;
        let done = match decision.action {
            Action::Wait => return Ok(()),
            Action::Step { by, frequency } => self.step(phc, by).and_then(|()| self.set_frequency(phc, frequency)),
            Action::Adjust { frequency } => self.set_frequency(phc, frequency),
        };
        if done.is_err() {
            self.sink.reset();
        }
        done
    }

    /// What is told of it.
    pub(super) fn told<'a>(&self, clock: &'a str, decision: Decision) -> told::Steered<'a> {
        let (sink, source) = match self.sink {
            Sink::Phc(_) => (clock, "sys"),
            Sink::System(_) => ("CLOCK_REALTIME", "phc"),
        };
        let servo = match decision.action {
            Action::Wait => told::Servo::Measuring,
            Action::Step { .. } => told::Servo::Stepped,
            Action::Adjust { .. } => told::Servo::Locked,
        };
        // The adjustment undoes what the clock does by itself.
        told::Steered { sink, source, offset_ns: decision.offset.as_ns(), servo, frequency_ppb: -self.frequency_ppb }
    }

    fn refuse_meddling(&mut self, source: &Source) -> anyhow::Result<()> {
        let phc = phc(source)?;
        let now = self.frequency(phc)?;
        if (now - self.frequency_ppb).abs() > SAME_PPB {
            bail!(
                "somebody else steers the {} clock: its frequency is {now:+.3} ppb, and was {:+.3} ppb; stop that one, or leave out --steer",
                if self.is_of_phc() { "card's" } else { "system's" },
                self.frequency_ppb
            );
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            let sink = if self.is_of_phc() { options::Steer::Phc } else { options::Steer::System };
            refuse_other(sink, &self.processes, Some(phc))?;
        }
        Ok(())
    }

    fn frequency(&self, phc: &PhcDevice) -> anyhow::Result<f64> {
        Ok(match self.sink {
            Sink::Phc(_) => phc.frequency()?,
            Sink::System(_) => {
                let discipline = system::discipline()?;
                if discipline.kernel_loop || discipline.slew != Span::ZERO {
                    bail!("the kernel's own loop steers the system's clock, which ntpd feeds: stop that, or leave out --steer");
                }
                discipline.frequency
            }
        }
        .ppb())
    }

    fn set_frequency(&mut self, phc: &PhcDevice, ppb: f64) -> anyhow::Result<()> {
        let frequency = Frequency::from_ppb(ppb);
        match &mut self.sink {
            Sink::Phc(control) => {
                phc.set_frequency(frequency)?;
                control.adjusted(frequency.ppb());
            }
            Sink::System(control) => {
                system::set_frequency(frequency)?;
                control.adjusted(frequency.ppb());
            }
        }
        self.frequency_ppb = self.frequency(phc)?;
        Ok(())
    }

    fn step(&mut self, phc: &PhcDevice, by: Span) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::Phc(control) => {
                phc.step(by)?;
                control.stepped(by);
            }
            Sink::System(control) => {
                system::step(by)?;
                control.stepped(by);
            }
        }
        Ok(())
    }
}

impl Sink {
    fn reset(&mut self) {
        match self {
            Self::Phc(control) => control.servo.reset(),
            Self::System(control) => control.servo.reset(),
        }
    }
}

impl<C: 'static> Loop<C> {
    fn new(options: &options::Options, frequency: Frequency, max_frequency: Frequency) -> Self {
        let steering = &options.steering;
        let limits = Limits {
            step_threshold: steering.step_threshold.into(),
            first_step_threshold: steering.first_step_threshold.into(),
            max_frequency: max_frequency.ppb(),
        };
        let (interval, frequency) = (options.interval().into(), frequency.ppb());
        let servo: Box<dyn Servo<C>> = match steering.servo {
            options::Servo::Pi => Box::new(Pi::new(gains(steering), limits, interval, frequency)),
            options::Servo::Linreg => Box::new(LinearRegression::new(limits, interval, frequency)),
        };
        let sanity = (steering.freq_limit > 0).then(|| SanityCheck::new(steering.freq_limit.into()));
        Self { servo, sanity }
    }

    fn sample(&mut self, offset: Span, at: Time<C>) -> Action {
        if self.sanity.as_mut().is_some_and(|sanity| !sanity.check(at, Monotonic::now())) {
            eprintln!("instamp: the steered clock runs faster or slower than it can, or was stepped: beginning anew");
            self.servo.reset();
        }
        self.servo.sample(offset, at)
    }

    fn adjusted(&mut self, ppb: f64) {
        if let Some(sanity) = &mut self.sanity {
            sanity.adjusted(ppb);
        }
    }

    fn stepped(&mut self, by: Span) {
        if let Some(sanity) = &mut self.sanity {
            sanity.stepped(by);
        }
    }
}

fn gains(steering: &options::Steering) -> Gains {
    let Gains { proportional, integral } = Gains::default();
    Gains { proportional: steering.kp.unwrap_or(proportional), integral: steering.ki.unwrap_or(integral) }
}

fn phc(source: &Source) -> anyhow::Result<&PhcDevice> {
    source.phc().context("no card's clock")
}

/// Fails where a process steers the clock.
fn refuse_other(sink: options::Steer, processes: &Processes, phc: Option<&PhcDevice>) -> anyhow::Result<()> {
    match (sink, phc) {
        (options::Steer::System, _) => {
            if let Some(owner) = processes.steering_system().context("cannot tell who steers the system's clock")? {
                bail!("{owner} steers the system's clock: stop it, or leave out --steer");
            }
        }
        (options::Steer::Phc, Some(phc)) => {
            let other = hwtstamp::holders(phc.index()).into_iter().find(|holder| holder.pid != std::process::id());
            if let Some(holder) = other {
                // It may only read the clock, to follow it: who then steers it after what follows it makes a circle.
                bail!(
                    "{holder} has {} open, and may steer it or follow it: stop it, or leave out --steer",
                    phc.path().display()
                );
            }
        }
        (options::Steer::Phc, None) => {}
    }
    Ok(())
}
