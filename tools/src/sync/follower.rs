//! One clock that is followed: read, modelled, published, and steered where that is asked for.

use std::rc::Rc;

use hwtstamp::{Access, Monotonic, SystemClock as _};
use instamp_clockmap::Model;
use instamp_sync::{CrossTimestamp as _, Cycle, Event, State, Tracker, Update};

use super::{
    events::{event_name, state_name},
    options::{Options, Steer},
    publisher::Publisher,
    report::Report,
    source::Source,
    steer::Steering,
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
    tracker: Tracker,
    publisher: Publisher,
    steering: Option<Steering>,
    state: State,
    /// The one that is published.
    model: Option<Model>,
    tally: Tally,
    /// Of the updates since the last line of statistics.
    interval: (u64, told::Spread),
    /// What goes wrong, as long as it does: it is told once.
    failure: Option<String>,
    /// The device has gone and will not come back.
    is_gone: bool,
}

impl Follower {
    pub(super) fn open(chosen: &Chosen, options: &Options) -> anyhow::Result<(Self, told::Clock)> {
        let access = if options.steer == Some(Steer::Phc) { Access::Write } else { Access::Read };
        let name = name(chosen.device);
        let source = Source::open(chosen.device, access, options)?;
        let steering = options.steer.map(|sink| Steering::new(sink, options, &source)).transpose()?;
        let publisher = Publisher::new(&options.publish, chosen.device)?;
        let clock = told::Clock {
            name: name.clone(),
            devices: chosen.interfaces.clone(),
            method: source.way().name(),
            file: publisher.file(),
            map: publisher.map(),
        };
        let tracker = source.config(options.tracker());
        let follower = Self {
            name: name.into(),
            source,
            tracker: Tracker::new(tracker),
            publisher,
            steering,
            state: State::Acquiring,
            model: None,
            tally: Tally::default(),
            interval: Default::default(),
            failure: None,
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
        match self.source.cross_timestamp() {
            Ok(cycle) => {
                self.failure = None;
                self.read(&cycle, report)
            }
            Err(error) => {
                let message = error.to_string();
                if self.failure.as_ref() != Some(&message) {
                    report.missed(&self.name, &message)?;
                    self.failure = Some(message);
                }
                self.tally.missed += 1;
                self.is_gone = self.source.is_gone();
                if self.is_gone {
                    self.end();
                    return Ok(());
                }
                let update = self.tracker.missed(Monotonic::now());
                self.take(&update, report)
            }
        }
    }

    fn read(&mut self, cycle: &Cycle, report: &mut Report<'_>) -> anyhow::Result<()> {
        let name = Rc::clone(&self.name);
        let update = self.tracker.update(cycle);
        self.take(&update, report)?;
        let Some(sample) = update.sample else { return Ok(()) };
        let steered = self.steer(&name, &update, report)?;
        let told = told::Update {
            clock: &name,
            time_ns: sample.reading.midpoint().as_ns(),
            state: state_name(update.state),
            epoch: self.publisher.epoch(),
            event: update.event.as_ref().map(event_name),
            // The residual is the system's time less the model's; told is the card's, seen through the model, less the system's.
            offset_ns: sample.residual.map(|residual| -residual.as_ns()),
            delay_ns: sample.delay().as_ns(),
            rate_ppb: update.model.map(|model| rate_ppb(model.rate)),
            bound_ns: update.model.and_then(|model| bound_ns(&model, sample.reading.device.as_ns())),
            asymmetry_ns: update.model.map(|model| model.asymmetry_ns),
            steered,
        };
        self.tally.updates += 1;
        self.tally.spread.count(&told);
        self.interval.0 += 1;
        self.interval.1.count(&told);
        report.update(&told)?;
        if report.is_interval(self.interval.0) {
            report.interval(&name, self.interval.0, &self.interval.1)?;
            self.interval = Default::default();
        }
        Ok(())
    }

    /// Publishes what the tracker says, and tells what happened.
    fn take(&mut self, update: &Update, report: &mut Report<'_>) -> anyhow::Result<()> {
        let now = Monotonic::now().as_ns();
        self.publisher.publish(update.model.as_ref(), now.cast_unsigned())?;
        self.tally.acquired += u64::from(update.model.is_some() && self.model.is_none());
        self.model = update.model;
        self.state = update.state;
        if let Some(event) = update.event.filter(Event::withdraws) {
            self.tally.withdrawn += 1;
            report.withdrawn(&self.name, now, self.publisher.epoch(), &event)?;
        }
        Ok(())
    }

    fn steer<'a>(
        &mut self,
        name: &'a str,
        update: &Update,
        report: &mut Report<'_>,
    ) -> anyhow::Result<Option<told::Steered<'a>>> {
        let (Some(steering), Some(sample)) = (&mut self.steering, update.sample) else { return Ok(None) };
        let Some(decision) = steering.decide(&self.source, &sample.reading)? else { return Ok(None) };
        if decision.steps() && steering.is_of_phc() {
            self.withdraw();
        }
        let Some(steering) = &mut self.steering else { return Ok(None) };
        steering.carry_out(&self.source, decision)?;
        let told = steering.told(name, decision);
        if decision.adjusts() {
            // Read again at once: so the tracker knows when the frequency changed, and what is published is of after it.
            match self.source.cross_timestamp() {
                Ok(cycle) => {
                    let update = self.tracker.update(&cycle);
                    self.take(&update, report)?;
                }
                Err(_) => self.withdraw(),
            }
        }
        Ok(Some(told))
    }

    fn withdraw(&mut self) {
        self.publisher.withdraw(Monotonic::now().as_ns().cast_unsigned());
        self.model = None;
    }

    /// Ends it: its model is no longer valid.
    pub(super) fn end(&mut self) {
        self.withdraw();
        self.state = State::Acquiring;
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
        let now_ns = Monotonic::now().as_ns().cast_unsigned();
        text::Standing {
            clock: &self.name,
            state: self.state_name(),
            rate_ppb: self.model.map(|model| rate_ppb(model.rate)),
            bound_ns: self.model.and_then(|model| bound_ns(&model, device_time(&model, now_ns).cast_signed())),
            tally: &self.tally,
        }
    }

    fn state_name(&self) -> &'static str {
        if self.is_gone { "gone" } else { state_name(self.state) }
    }
}

/// How wrong a conversion of this time is now.
fn bound_ns(model: &Model, device_ns: i64) -> Option<u64> {
    let now_ns = Monotonic::now().as_ns().cast_unsigned();
    model.convert(device_ns.cast_unsigned(), now_ns).ok().map(|converted| converted.bound_ns)
}
