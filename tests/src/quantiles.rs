//! Quantiles of samples.

use serde_json::{Value, json};

/// The sample below which a share of `numerator / denominator` of the others lies.
///
/// # Panics
///
/// There is none.
pub fn quantile<T: Copy + Ord>(samples: &[T], numerator: usize, denominator: usize) -> T {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * numerator / denominator]
}

/// The middle sample.
///
/// # Panics
///
/// There is none.
pub fn median<T: Copy + Ord>(samples: &[T]) -> T {
    quantile(samples, 1, 2)
}

/// A few quantiles for people, of nanoseconds.
pub fn summary(samples: &[i64]) -> Value {
    if samples.is_empty() {
        return Value::Null;
    }
    json!({
        "p50": median(samples),
        "p95": quantile(samples, 95, 100),
        "p99": quantile(samples, 99, 100),
        "max": quantile(samples, 1, 1),
    })
}
