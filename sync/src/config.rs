//! What a tracker can be told.

use hwtstamp::Span;

/// How far a precise reading (`PTP_SYS_OFFSET_PRECISE`) can be off.
pub const PRECISE_ERROR: Span = Span::from_ns(50);

/// Fewer intervals of readings make no good line, however long they are.
const FEWEST_INTERVALS: i64 = 16;

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
    /// How far a reading can be off though its window does not show it: [`PRECISE_ERROR`] for precise readings, which have
    /// none, and zero for others.
    pub reading_error: Span,
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

impl Config {
    /// The defaults where cycles are expected so often: readings are used further back, and missed for longer, where these are
    /// few.
    pub fn for_interval(interval: Span) -> Self {
        let at_least = |span: Span, intervals: i64| span.max(Span::from_ns(intervals.saturating_mul(interval.as_ns())));
        let Self { window, holdover, .. } = Self::default();
        Self {
            interval,
            window: at_least(window, FEWEST_INTERVALS),
            holdover: at_least(holdover, 3),
            ..Self::default()
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Span::from_ms(100),
            window: Span::from_s(8),
            capacity: 200,
            asymmetry: 0.1,
            reading_error: Span::from_ns(0),
            drift: 2.0,
            unannounced: f64::INFINITY,
            validity: Span::from_s(1),
            holdover: Span::from_s(60),
            max_error: Span::from_ms(1),
            first_epoch: 1,
        }
    }
}
