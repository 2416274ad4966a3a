//! What a tracker can be told.

use hwtstamp::Span;

/// What a tracker can be told. The defaults fit a network card that is read ten times a second.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often cycles are expected.
    pub interval: Span,
    /// How far back readings are used.
    pub window: Span,
    /// How many readings are used at most.
    pub capacity: usize,
    /// How far from the middle of the shortest possible reading the device's time can be latched, as a part of half of that
    /// reading. No software can see it. 1 needs no assumption.
    pub asymmetry: f64,
    /// The granularity of the device's clock. Less than the nanosecond that times are told in counts as one.
    pub resolution: Span,
    /// How far a precise reading can be off.
    pub precise_error: Span,
    /// How fast the rate can change by itself, in parts per billion per second: temperature and wander of the oscillators.
    pub drift: f64,
    /// The largest change of a rate that nothing announces, in parts per billion: somebody slews or steers a clock whose
    /// setting is not known. Infinite needs no assumption: the error then grows by what the last two readings leave open.
    pub unannounced: f64,
    /// How long a model may be used without a new one; at least three intervals.
    pub validity: Span,
    /// How long a model goes on without readings.
    pub holdover: Span,
    /// The largest error of a model that is still published.
    pub max_error: Span,
    /// The epoch of the first model.
    pub first_epoch: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Span::from_ms(100),
            window: Span::from_s(8),
            capacity: 200,
            asymmetry: 0.1,
            resolution: Span::from_ns(1),
            precise_error: Span::from_ns(50),
            drift: 2.0,
            unannounced: f64::INFINITY,
            validity: Span::from_s(1),
            holdover: Span::from_s(60),
            max_error: Span::from_ms(1),
            first_epoch: 1,
        }
    }
}
