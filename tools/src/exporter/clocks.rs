//! The published models of clocks: `instamp clock` as metrics.

use std::{fmt, sync::Mutex};

use anyhow::Context as _;
use instamp::time_namespace::MonotonicOffset;
use instamp_clockmap::Directory;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Unit};

use super::{problem::Problem, read::gauges};
use crate::clock::{Values, View, view};

/// Reads them at each scrape.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    problem: Mutex<Problem>,
}

impl Collector for Clocks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let found = self.problem.lock().map_err(|_| fmt::Error)?.note("no models of clocks", read());
        write(&mut encoder, &found.unwrap_or_default())
    }
}

fn read() -> anyhow::Result<Vec<View>> {
    let directory = Directory::from_environment();
    let offset = MonotonicOffset::of_this_process().context("cannot tell the host's time")?;
    directory.devices()?.into_iter().map(|device| view(&directory, device, offset)).collect()
}

type Figure = fn(&Values) -> f64;

fn write(encoder: &mut DescriptorEncoder<'_>, views: &[View]) -> fmt::Result {
    let states = views.iter().map(|view| ([("clock", view.clock.as_str()), ("state", view.state)], 1_i64));
    gauges(encoder, "clock_state", "How the published model of the clock stands", None, states)?;
    let models = || views.iter().filter_map(|view| Some((view.clock.as_str(), view.model.as_ref()?)));
    let offsets = models().flat_map(|(clock, values)| {
        let Values { offset_ns, offset_realtime_ns, offset_tai_ns, .. } = *values;
        let against = [("monotonic", Some(offset_ns)), ("realtime", offset_realtime_ns), ("tai", offset_tai_ns)];
        let known = against.into_iter().filter_map(|(against, ns)| Some((against, ns?)));
        known.map(move |(against, ns)| ([("clock", clock), ("against", against)], signed_seconds(ns)))
    });
    gauges(encoder, "clock_offset", "How far the clock is ahead of the system's", Some(Unit::Seconds), offsets)?;
    let of_each = |value: Figure| models().map(move |(clock, values)| ([("clock", clock)], value(values)));
    let help = "How much faster than CLOCK_MONOTONIC the clock runs, less 1";
    gauges(encoder, "clock_rate_offset", help, Some(Unit::Ratios), of_each(|values| values.rate_ppb / 1e9))?;
    let all: [(_, _, Figure); _] = [
        ("clock_bound", "The largest error of a conversion now", |values| seconds(values.bound_ns)),
        ("clock_bound_without_assumption", "Likewise, however asymmetric readings are", |values| {
            seconds(values.bound_without_assumption_ns)
        }),
        ("clock_age", "Since the last reading that agreed with the model", |values| seconds(values.age_ns)),
        ("clock_void_in", "Until the model is void unless it is renewed", |values| seconds(values.void_in_ns)),
    ];
    for (name, help, value) in all {
        gauges(encoder, name, help, Some(Unit::Seconds), of_each(value))?;
    }
    let epochs = models().map(|(clock, values)| ([("clock", clock)], values.epoch));
    gauges(
        encoder,
        "clock_epoch",
        "The number of the model's epoch: another one means that a clock was stepped",
        None,
        epochs,
    )
}

#[expect(clippy::cast_precision_loss, reason = "a double's 53 bits: offsets to the time of day are exact to 240 ns")]
fn signed_seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "exact below 104 days")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
