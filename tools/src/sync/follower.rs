//! One clock that is followed: read, modelled, published, and steered where that is asked for.

use std::rc::Rc;

use anyhow::bail;
use hwtstamp::{Access, Monotonic, PhcDevice, Reading, SystemClock as _};
use instamp_clockmap::Model;
use instamp_sync::{Clock, Config, CrossTimestamp as _, Cycle, Event, State, Tracker, Update};

use super::{
    events::{event_name, state_name},
    options::{Options, Steer},
    owner::Guard,
    publisher::Publisher,
    report::Report,
    sinks::{Card, System},
    source::{self, Source},
    steer::Steering,
    system_lock::SystemLock,
    text,
    told::{self, Tally},
};
use crate::{
    clock::{device_time, rate_ppb},
    clock_names::{Chosen, name},
};

/// A clock and all that is known of it.
pub(super) struct Follower {
    name: Rc<str>,
    source: Source,
    config: Config,
    tracker: Tracker,
    publisher: Publisher,
    steering: Option<(Guard, Steering)>,
    _system_lock: Option<SystemLock>,
    state: State,
    /// The one that is published.
    model: Option<Model>,
    tally: Tally,
    /// Of the updates since the last line of statistics.
    interval: (u64, told::Spread),
    /// What goes wrong, as long as it does: it is told once.
    failure: Option<String>,
    /// A clock was adjusted, and not read since.
    is_unread: bool,
    /// The device has gone and will not come back.
    is_gone: bool,
}

impl Follower {
    pub(super) fn open(chosen: &Chosen, options: &Options) -> anyhow::Result<(Self, told::Clock)> {
        let name = name(chosen.device);
        let source = Source::open(chosen.device, options)?;
        let steering = options.steer.map(|which| steering(which, options, &source)).transpose()?;
        let publisher = Publisher::new(&options.publish, chosen.device)?;
        let steers_system = options.steer == Some(Steer::System);
        let system_lock = steers_system.then(|| SystemLock::take(&options.publish)).transpose()?;
        let clock = told::Clock {
            name: name.clone(),
            devices: chosen.interfaces.clone(),
            method: source.method(),
            file: publisher.file(),
            map: publisher.map(),
        };
        let config = options.tracker();
        let tracker = Tracker::new(source.config(config.clone()));
        let follower = Self {
            name: name.into(),
            source,
            config,
            tracker,
            publisher,
            steering,
            _system_lock: system_lock,
            state: State::Acquiring,
            model: None,
            tally: Tally::default(),
            interval: Default::default(),
            failure: None,
            is_unread: false,
            is_gone: false,
        };
        Ok((follower, clock))
    }

    /// Reads the clock, and does what follows from that.
    ///
    /// # Errors
    ///
    /// Somebody else steers the clock that is to be steered, a model cannot be published, or the output cannot be written.
    pub(super) fn update(&mut self, report: &mut Report<'_>) -> anyhow::Result<()> {
        self.reconsider(report);
        let name = Rc::clone(&self.name);
        let mut steered = None;
        let cycle = match self.source.cross_timestamp() {
            Ok(cycle) => {
                steered = self.steer(&name, &cycle, report)?;
                // What is published is of after the adjustment: so it is measured after it.
                if self.is_unread { self.source.cross_timestamp() } else { Ok(cycle) }
            }
            error => error,
        };
        match cycle {
            Ok(cycle) => self.read(&name, &cycle, steered, report),
            Err(error) => self.miss(&error, report),
        }
    }

    /// Steers, where that is asked for.
    fn steer<'a>(
        &mut self,
        name: &'a str,
        cycle: &Cycle,
        report: &Report<'_>,
    ) -> anyhow::Result<Option<told::Steered<'a>>> {
        let Some((guard, steering)) = &mut self.steering else { return Ok(None) };
        let Some(shortest) = shortest(cycle) else { return Ok(None) };
        let Some(realtime) = self.source.realtime(shortest.midpoint()) else { return Ok(None) };
        guard.check()?;
        let decision = steering.decide(shortest.device, realtime, Monotonic::now())?;
        if decision.begins_anew() {
            report.notice(format_args!(
                "instamp: {} runs faster or slower than it can, or was stepped: beginning anew",
                steering.clock()
            ));
        }
        if decision.steps() && steering.is_of_phc() {
            // No model outlives a step.
            self.publisher.withdraw(now_ns());
        }
        self.is_unread = decision.adjusts();
        steering.carry_out(decision)?;
        Ok(Some(steering.told(name, decision)))
    }

    fn read(
        &mut self,
        name: &str,
        cycle: &Cycle,
        steered: Option<told::Steered<'_>>,
        report: &mut Report<'_>,
    ) -> anyhow::Result<()> {
        self.failure = None;
        self.is_unread = false;
        let update = self.tracker.update(cycle);
        self.take(&update, report)?;
        // Readings that contradict one another are told as well, or a clock that nothing can follow would seem a silent one.
        let Some(reading) = update.sample.map(|sample| sample.reading).or_else(|| shortest(cycle)) else {
            return Ok(());
        };
        let told = told::Update {
            clock: name,
            time_ns: reading.midpoint().as_ns(),
            state: state_name(update.state),
            epoch: self.publisher.epoch(),
            event: update.event.as_ref().map(event_name),
            // The residual is the system's time less the model's; told is the card's, seen through the model, less the system's.
            offset_ns: update.sample.and_then(|sample| Some(-sample.residual?.as_ns())),
            delay_ns: reading.window().as_ns(),
            rate_ppb: update.model.map(|model| rate_ppb(model.rate)),
            bound_ns: update.model.and_then(|model| bound_ns(&model, reading.device.as_ns().cast_unsigned())),
            unassumed_ns: update.model.map(|model| model.unassumed_ns),
            steered,
        };
        self.tally.updates += 1;
        self.tally.spread.count(&told);
        self.interval.0 += 1;
        self.interval.1.count(&told);
        report.update(&told)?;
        if report.is_interval(self.interval.0) {
            report.interval(name, self.interval.0, &self.interval.1)?;
            self.interval = Default::default();
        }
        Ok(())
    }

    fn miss(&mut self, error: &source::Error, report: &mut Report<'_>) -> anyhow::Result<()> {
        let message = error.to_string();
        if self.failure.as_ref() != Some(&message) {
            report.missed(&self.name, &message)?;
            self.failure = Some(message);
        }
        self.tally.missed += 1;
        if self.source.is_gone() {
            self.is_gone = true;
            self.withdraw();
            return Ok(());
        }
        let update = self.tracker.missed(Monotonic::now());
        self.take(&update, report)
    }

    /// Reads the clock in another way where that is better, and begins a new model.
    fn reconsider(&mut self, report: &Report<'_>) {
        let Some(before) = self.source.reconsider() else { return };
        report.notice(format_args!(
            "instamp: {} is read by {} from now on, not by {before}, which begins a new model",
            self.name,
            self.source.method()
        ));
        let epoch = self.tracker.missed(Monotonic::now()).epoch;
        let config = Config { first_epoch: epoch + 1, ..self.config.clone() };
        self.tracker = Tracker::new(self.source.config(config));
    }

    /// Publishes what the tracker says, and tells what happened.
    fn take(&mut self, update: &Update, report: &mut Report<'_>) -> anyhow::Result<()> {
        // The tracker does not know yet of an adjustment that no reading has followed.
        let model = update.model.filter(|_| !self.is_unread);
        let now_ns = now_ns();
        self.publisher.publish(model.as_ref(), now_ns)?;
        self.tally.acquired += u64::from(model.is_some() && self.model.is_none());
        self.model = model;
        self.state = update.state;
        if let Some(event) = update.event.filter(Event::withdraws) {
            self.tally.withdrawn += 1;
            report.withdrawn(&self.name, now_ns.cast_signed(), self.publisher.epoch(), &event)?;
        }
        Ok(())
    }

    /// Ends the model.
    pub(super) fn withdraw(&mut self) {
        self.publisher.withdraw(now_ns());
        self.model = None;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether there was a valid model at any time.
    pub(super) fn has_locked(&self) -> bool {
        self.tally.acquired > 0
    }

    pub(super) fn tally(&self) -> (&str, &Tally) {
        (&self.name, &self.tally)
    }

    /// For the service manager: what does not change with every update.
    pub(super) fn state(&self) -> String {
        format!("{} {}", self.name, self.state_name())
    }

    /// For whoever asks now.
    pub(super) fn standing(&self) -> text::Standing<'_> {
        text::Standing {
            clock: &self.name,
            state: self.state_name(),
            rate_ppb: self.model.map(|model| rate_ppb(model.rate)),
            bound_ns: self.model.and_then(|model| bound_ns(&model, device_time(&model, now_ns()))),
            tally: &self.tally,
        }
    }

    fn state_name(&self) -> &'static str {
        if self.is_gone { "gone" } else { state_name(self.state) }
    }
}

/// Refused where somebody else steers the clock.
fn steering(which: Steer, options: &Options, source: &Source) -> anyhow::Result<(Guard, Steering)> {
    let phc = source.phc();
    let mut guard = Guard::new(which, phc.map(PhcDevice::index));
    guard.check()?;
    let Some(phc) = phc else {
        bail!("--steer needs a card's clock: the one that stands in for it can neither follow nor lead");
    };
    let sink: Box<dyn Clock<Error = anyhow::Error>> = match which {
        Steer::Phc => Box::new(Card(PhcDevice::open_index(phc.index(), Access::Write)?)),
        Steer::System => Box::new(System),
    };
    Ok((guard, Steering::new(which, sink, options)?))
}

/// The reading that phc2sys takes.
fn shortest(cycle: &Cycle) -> Option<Reading<Monotonic>> {
    cycle.readings.iter().copied().min_by_key(Reading::window)
}

/// How wrong a conversion of this time is now.
fn bound_ns(model: &Model, device_ns: u64) -> Option<u64> {
    model.convert(device_ns, now_ns()).ok().map(|converted| converted.bound_ns)
}

/// `CLOCK_MONOTONIC`, which is never negative.
fn now_ns() -> u64 {
    Monotonic::now().as_ns().cast_unsigned()
}
